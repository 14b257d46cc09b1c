// What the engine proposed to this node as leader: where each stands in the log, and when it was taken up and persisted, for INFO.
// What must hold: the engine is told the place of each before it may be lost, or hears of it as committed.
import type { ConsensusLink } from '../ports/link.ts';
import type { Entry } from '../raft/types.ts';

export interface OwnProposal {
  readonly term: number;
  readonly id: number;
  readonly takenMs: number;
  /** Infinity until then. */
  persistedMs: number;
  /** The engine knows its place in the log. */
  told: boolean;
}

export class OwnProposals {
  readonly #link: ConsensusLink;
  /** Not yet committed, by index. */
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

  /** What was proposed for this place, for it is committed now. */
  take(index: number): OwnProposal | undefined {
    const own = this.#byIndex.get(index);
    if (own !== undefined) this.#byIndex.delete(index);
    return own;
  }

  /** The engine will see no entry up to `index` any more. */
  forget(index: number): void {
    for (const at of [...this.#byIndex.keys()]) if (at <= index) this.#byIndex.delete(at);
  }

  /** The engine needs the place of a proposal only once it may be lost; a committed one comes with its name. */
  tellPlaces(): void {
    for (const [index, proposal] of this.#byIndex) {
      if (proposal.told) continue;
      proposal.told = true;
      this.#link.send({ type: 'appended', id: proposal.id, term: proposal.term, index });
    }
  }
}
