// The batches that peers have forwarded to this node, as far as it must remember them.
//
// What must hold: the transport may double and reorder. A batch that is not newer than the last is dropped without a word, for its
// first copy may have been taken, or refused, and what the peer was told then must stay true.
import { soundBoot } from './batches.ts';

export class Forwarded {
  /** Peer and its boot → number of the newest batch. */
  readonly #newest = new Map<number, number>();

  /** What to do with batch `id` of this peer: unsound ones are to be refused. */
  judge(from: number, id: number, count: number, records: Uint8Array): 'new' | 'old' | 'unsound' {
    const boot = soundBoot(records, count, from);
    if (boot === undefined) return 'unsound';
    const sender = from * 2 ** 32 + boot;
    if (id <= (this.#newest.get(sender) ?? 0)) return 'old';
    this.#newest.set(sender, id);
    return 'new';
  }
}
