// What becomes of this node's proposals and forwards as entries are applied: which of them an entry is, and which it shows to be
// lost. Owns the bytes that are applied and not yet told to consensus.
import { entryRecordCount } from '../base/entry.ts';
import type { Machine } from '../machine/machine.ts';
import type { Origin } from '../machine/record-codec.ts';
import type { Clock } from '../ports/clock.ts';
import type { CommittedEntry } from '../ports/link.ts';
import { waitersOfEntry } from './batches.ts';
import type { Forwards } from './forwards.ts';
import type { Proposal, Proposals } from './proposals.ts';
import type { WriteTimings } from './write-timings.ts';

export const NOT_APPLIED = 'CLUSTERDOWN the leader changed before this write was committed; it was not applied';

export class Outcomes {
  readonly #machine: Machine;
  readonly #clock: Clock;
  readonly #proposals: Proposals;
  readonly #forwards: Forwards;
  readonly #timings: WriteTimings;
  readonly #fail: (waiters: Uint32Array, error: string) => void;
  /** Of the entry that is being applied: ours, if it is; ours that is lost, where it stands now; and when it was taken up. */
  #own: Proposal | undefined;
  #lost: Proposal | undefined;
  #receivedMs = 0;
  #termBefore = 0;
  #bytes = 0;
  /** Records of own entries that were taken up, since whoever counts them last set it to 0. */
  ownRecords = 0;

  constructor(
    machine: Machine,
    clock: Clock,
    proposals: Proposals,
    forwards: Forwards,
    timings: WriteTimings,
    fail: (waiters: Uint32Array, error: string) => void,
  ) {
    this.#machine = machine;
    this.#clock = clock;
    this.#proposals = proposals;
    this.#forwards = forwards;
    this.#timings = timings;
    this.#fail = fail;
  }

  /** The entry is about to be applied: its bytes. */
  begin({ index, proposal, bytes }: CommittedEntry): Uint8Array {
    this.#lost = this.#proposals.at(index);
    const own = proposal === 0 ? undefined : this.#proposals.take(proposal);
    this.#own = own;
    this.#termBefore = this.#machine.appliedTerm;
    if (own === undefined) return bytes;
    this.#receivedMs = this.#clock.monotonicMs();
    this.ownRecords += entryRecordCount(own.entry);
    return own.entry;
  }

  /** It is applied. Returns its bytes if they are the proposer's own. */
  end(committed: CommittedEntry, origin: Origin): Uint8Array | undefined {
    const { term } = committed;
    const own = this.#own;
    const lost = this.#lost;
    const entry = own?.entry;
    this.#bytes += (entry ?? committed.bytes).length;
    if (own !== undefined) this.#timings.applied(own.openedMs, own.proposedMs, committed, this.#receivedMs, this.#clock.monotonicMs());
    if (lost !== undefined && lost !== own) {
      this.#proposals.drop(lost);
      this.#fail(waitersOfEntry(lost.entry, origin), NOT_APPLIED);
    }
    if (term > this.#termBefore) {
      for (const forward of this.#forwards.takeBefore(term)) this.#fail(forward.waiters, NOT_APPLIED);
      for (const cut of this.#proposals.takeBefore(term)) this.#fail(waitersOfEntry(cut.entry, origin), NOT_APPLIED);
    }
    return entry;
  }

  /** Bytes applied since this last returned any; 0 until they are `least`. */
  takeBytes(least: number): number {
    if (this.#bytes < least) return 0;
    const bytes = this.#bytes;
    this.#bytes = 0;
    return bytes;
  }
}
