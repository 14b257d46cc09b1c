// The batches that this node has forwarded to the leader, until it is known what became of them. Only who waits is kept,
// not the records. What must hold: each ends in exactly one of applied, failed (known not to be in the log), uncertain.
import { must } from '../base/assert.ts';

export interface Forward {
  readonly id: number;
  readonly term: number;
  readonly bytes: number;
  /** (session, sequence) pairs. */
  readonly waiters: Uint32Array;
  /** When its clients are told UNCERTAIN. */
  deadlineMs: number;
}

export class Forwards {
  #list: Forward[] = [];
  /** Bytes of records forwarded and not settled. */
  bytes = 0;

  get isEmpty(): boolean {
    return this.#list.length === 0;
  }

  add(forward: Forward): void {
    this.#list.push(forward);
    this.bytes += forward.bytes;
  }

  /** Those whose leader is gone wait no longer than until `atMs`. */
  hurry(atMs: number, term: number, leader: number): void {
    for (const forward of this.#list) {
      if (forward.term !== term || leader === 0) forward.deadlineMs = Math.min(forward.deadlineMs, atMs);
    }
  }

  takeOne(id: number): Forward | undefined {
    return this.#take((forward) => forward.id === id)[0];
  }

  takeLate(nowMs: number): Forward[] {
    return this.#take((forward) => forward.deadlineMs <= nowMs);
  }

  /** An entry of `term` is applied: what was forwarded to a leader of an earlier term is in the log before it, or nowhere. */
  takeBefore(term: number): Forward[] {
    return this.#take((forward) => forward.term < term);
  }

  /**
   * One of this node's own records is about to be applied. If it is the last of a forward, that one is done; so are those
   * before it, for the leader takes them in order: what is left of them was lost on its way, and is returned.
   */
  applied(session: number, sequence: number): Forward[] {
    const at = this.#list.findIndex(({ waiters }) => waiters.at(-2) === session && waiters.at(-1) === sequence);
    if (at < 0) return [];
    const { id } = must(this.#list[at]);
    return this.#take((forward) => forward.id <= id).filter((forward) => forward.id !== id);
  }

  #take(which: (forward: Forward) => boolean): Forward[] {
    const taken = this.#list.filter(which);
    if (taken.length === 0) return taken;
    this.#list = this.#list.filter((forward) => !which(forward));
    for (const forward of taken) this.bytes -= forward.bytes;
    return taken;
  }
}
