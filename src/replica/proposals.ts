// The entries that this node has proposed as leader, until they are applied or known to be lost. The entries' bytes are
// kept, for apply needs them. What must hold: an entry that may still be committed stays here until it is applied, even
// where its clients have been told UNCERTAIN.
import { must } from '../base/assert.ts';

export interface Proposal {
  readonly id: number;
  /** The entry as built, header open; for apply once it is committed. */
  readonly entry: Uint8Array;
  /** When its batch opened and left for consensus, monotonic ms. */
  readonly openedMs: number;
  readonly proposedMs: number;
  /** 0 until the place in the log is told, which is when it may be lost. */
  term: number;
  index: number;
  /** When its clients are told UNCERTAIN; Infinity while this node leads, and once they have been told. */
  deadlineMs: number;
}

export class Proposals {
  readonly #byId = new Map<number, Proposal>();
  readonly #byIndex = new Map<number, Proposal>();
  /** Bytes of entries under way. */
  bytes = 0;

  get size(): number {
    return this.#byId.size;
  }

  add(id: number, entry: Uint8Array, openedMs: number, proposedMs: number): void {
    this.#byId.set(id, { id, entry, openedMs, proposedMs, term: 0, index: 0, deadlineMs: Infinity });
    this.bytes += entry.length;
  }

  /** The proposal has its place in our log. Returns what stood at that index before: ours of an earlier term, lost since. */
  appended(id: number, term: number, index: number): Proposal | undefined {
    const proposal = must(this.#byId.get(id), 'an appended proposal is known');
    proposal.term = term;
    proposal.index = index;
    const before = this.#byIndex.get(index);
    if (before !== undefined) this.drop(before);
    this.#byIndex.set(index, proposal);
    return before;
  }

  /** The log did not take it. */
  refused(id: number): Proposal {
    const proposal = must(this.#byId.get(id), 'a refused proposal is known');
    this.drop(proposal);
    return proposal;
  }

  /** The proposal that is committed, which is done. */
  take(id: number): Proposal {
    const proposal = must(this.#byId.get(id), 'a committed proposal is known');
    this.drop(proposal);
    return proposal;
  }

  entry(id: number): Uint8Array {
    return must(this.#byId.get(id), 'a committed proposal is known').entry;
  }

  at(index: number): Proposal | undefined {
    return this.#byIndex.get(index);
  }

  drop(proposal: Proposal): void {
    this.#byId.delete(proposal.id);
    if (this.#byIndex.get(proposal.index) === proposal) this.#byIndex.delete(proposal.index);
    this.bytes -= proposal.entry.length;
  }

  /** Leadership is lost: clients wait no longer than until `atMs`. */
  hurry(atMs: number): void {
    for (const proposal of this.#byId.values()) proposal.deadlineMs = Math.min(proposal.deadlineMs, atMs);
  }

  /** Those whose clients have waited long enough. They stay, for the entry may still turn out to be committed. */
  late(nowMs: number): Proposal[] {
    const late = [...this.#byId.values()].filter((proposal) => proposal.deadlineMs <= nowMs);
    for (const proposal of late) proposal.deadlineMs = Infinity;
    return late;
  }

  /** The entries up to `index` come no more: a snapshot has them, or others in their place. Takes those out that stood there. */
  takeUpTo(index: number): Proposal[] {
    const passed = [...this.#byId.values()].filter((proposal) => proposal.term !== 0 && proposal.index <= index);
    for (const proposal of passed) this.drop(proposal);
    return passed;
  }

  /**
   * An entry of `term` is applied: what we proposed in an earlier term and has not been applied by now would stand behind
   * this entry, where it cannot be. Takes those out.
   */
  takeBefore(term: number): Proposal[] {
    const lost = [...this.#byId.values()].filter((proposal) => proposal.term !== 0 && proposal.term < term);
    for (const proposal of lost) this.drop(proposal);
    return lost;
  }
}
