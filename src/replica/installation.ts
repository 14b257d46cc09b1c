// Starting from a snapshot, in the engine: at the node's start, where its log begins behind one, and later, where the leader
// says that this node is too far behind for the log. A machine is made beside the one that serves, and takes over when consensus says so.
//
// What must hold:
// - One snapshot at a time. Each request of consensus is answered once, by `restored` or `restore-failed`.
// - A machine that was restored is used only if consensus accepts it, and then before the next entry is applied.
// - Consensus hears of a published snapshot, behind which it cuts the log, only once this node has found it where the record
//   says: a record is anybody's word who may write, and the object store of another node may not be ours.
import type { LogBase } from '../base/log-base.ts';
import type { Machine } from '../machine/machine.ts';
import type { ConsensusMessage, EngineLink, SnapshotReference } from '../ports/link.ts';
import type { Logger } from '../ports/logger.ts';
import type { PieceAnswer, PieceRequest } from '../ports/snapshot-pieces.ts';
import { encodeReference } from './snapshot-reference.ts';

/** Makes machines of snapshots, from wherever they are kept. Real: src/cli/snapshot-installer.ts. */
export interface SnapshotInstaller {
  /** A machine of the newest snapshot that ends at `base` or behind. Goes on trying until there is one. `done` is called later. */
  start(base: LogBase, done: (machine: Machine) => void): void;
  /** A machine of this one, or why there is none; called later. */
  restore(snapshot: SnapshotReference, done: (result: Machine | string) => void): void;
  /** A piece of a snapshot that `confirm` has found, or why there is none; called later. */
  piece(request: PieceRequest, done: (answer: PieceAnswer) => void): void;
  /** Looks, again and again, for the one that `wanted` then names, and calls `done` with the first that this node could start from. */
  confirm(wanted: () => SnapshotReference, done: (found: SnapshotReference) => void): void;
}

export class Installation {
  readonly #link: EngineLink;
  readonly #logger: Logger;
  readonly #installer: SnapshotInstaller | undefined;
  #busy = false;
  #restored: Machine | undefined;
  /** The newest published, and whether one is looked for. */
  #published: SnapshotReference | undefined;
  #confirming = false;

  constructor(link: EngineLink, logger: Logger, installer: SnapshotInstaller | undefined) {
    this.#link = link;
    this.#logger = logger;
    this.#installer = installer;
  }

  /** The log begins behind `base`: the state up to there comes from a snapshot. */
  start(base: LogBase): void {
    this.#busy = true;
    this.#installer?.start(base, (machine) => this.#done(machine));
  }

  /** Consensus asks for a machine, or a peer for the bytes of one. */
  asked(message: Extract<ConsensusMessage, { type: 'restore' | 'piece-asked' }>): void {
    if (message.type === 'restore') this.#restore(message.snapshot);
    else this.#piece(message.id, message.request);
  }

  #piece(id: number, request: PieceRequest): void {
    const answer = (answered: PieceAnswer): void => this.#link.send({ type: 'piece', id, answer: answered });
    if (this.#installer === undefined) answer({ absent: 'it has no snapshots' });
    else this.#installer.piece(request, answer);
  }

  #restore(snapshot: SnapshotReference): void {
    const { index } = snapshot;
    if (this.#busy || this.#installer === undefined) {
      this.#link.send({ type: 'restore-failed', index });
      if (!this.#busy) this.#logger.warn({ index }, 'this node is too far behind for the log of its peers, and has no object store to start from: set object-store, as on the other nodes');
      return;
    }
    this.#busy = true;
    this.#logger.info({ index }, 'too far behind for the log: starting from a snapshot, while what is here goes on being served');
    this.#installer.restore(snapshot, (result) => {
      if (typeof result !== 'string') {
        this.#done(result);
        return;
      }
      this.#busy = false;
      this.#logger.error({ index, reason: result }, 'the snapshot cannot be used; the leader is asked again');
      this.#link.send({ type: 'restore-failed', index });
    });
  }

  #done(machine: Machine): void {
    this.#restored = machine;
    const { appliedIndex: index, appliedTerm: term, timeMs, configuration } = machine;
    this.#link.send({ type: 'restored', base: { index, term, timeMs }, configuration });
  }

  /** Consensus has judged: the machine that takes over now, if it does. */
  installed(accepted: boolean): Machine | undefined {
    const machine = this.#restored;
    this.#restored = undefined;
    this.#busy = false;
    this.#logger.info({ index: machine?.appliedIndex, accepted }, accepted ? 'the snapshot is in place' : 'the log has got further than the snapshot meanwhile: it is not needed');
    return accepted ? machine : undefined;
  }

  /** Tells consensus of a snapshot that was published, once, when it is found to be there. */
  tellPublished(machine: Machine): void {
    const { newest, index } = machine.publishing;
    if (newest === undefined || index <= (this.#published?.index ?? 0)) return;
    this.#published = { index, term: newest.term, reference: encodeReference(newest) };
    if (!this.#confirming) this.#confirm(this.#published);
  }

  #confirm(newest: SnapshotReference): void {
    if (this.#installer === undefined) return;
    this.#confirming = true;
    const wanted = (): SnapshotReference => this.#published ?? newest;
    this.#installer.confirm(wanted, (snapshot) => {
      this.#confirming = false;
      this.#link.send({ type: 'published', snapshot });
      if (wanted() !== snapshot) this.#confirm(wanted());
    });
  }
}
