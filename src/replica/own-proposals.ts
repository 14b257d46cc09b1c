// The engine's proposals that are in the log and not yet committed, as consensus knows them, by index: where each stands, and when
// it was taken up and persisted, for INFO. What must hold: the engine is told the place of each before it may be lost, or hears of
// it as committed.
import type { ConsensusLink } from '../ports/link.ts';
import type { Entry } from '../raft/types.ts';

export interface OwnProposal {
  readonly term: number;
  readonly id: number;
  /** When consensus took it up, monotonic ms. */
  readonly takenMs: number;
  /** When it was on this node's disk; Infinity until then. */
  persistedMs: number;
  /** The engine knows its place in the log. */
  told: boolean;
}

export class OwnProposals {
  readonly #link: ConsensusLink;
  readonly #byIndex = new Map<number, OwnProposal>();

  constructor(link: ConsensusLink) {
    this.#link = link;
  }

  get isEmpty(): boolean {
    return this.#byIndex.size === 0;
  }

  add(index: number, term: number, id: number, takenMs: number): void {
    this.#byIndex.set(index, { term, id, takenMs, persistedMs: Infinity, told: false });
  }

  persisted(entries: readonly Entry[], nowMs: number): void {
    for (const entry of entries) {
      const own = this.#byIndex.get(entry.index);
      if (own !== undefined) own.persistedMs = nowMs;
    }
  }

  /** The proposal that this committed entry is, if it is one. */
  committed(entry: Entry): OwnProposal | undefined {
    const own = this.#byIndex.get(entry.index);
    if (own === undefined) return undefined;
    this.#byIndex.delete(entry.index);
    return own.term === entry.term ? own : undefined;
  }

  /** The engine will see no entry up to `index` any more: a snapshot holds them. */
  forget(index: number): void {
    for (const at of [...this.#byIndex.keys()]) if (at <= index) this.#byIndex.delete(at);
  }

  /** The engine needs the place of a proposal only once it may be lost; a committed one comes with its name. */
  tellPlaces(): void {
    for (const [index, own] of this.#byIndex) {
      if (own.told) continue;
      own.told = true;
      this.#link.send({ type: 'appended', id: own.id, term: own.term, index });
    }
  }
}
