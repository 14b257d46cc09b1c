// The engine's proposals that are in the log and not yet committed, as consensus knows them, by index.
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
  readonly #byIndex = new Map<number, OwnProposal>();

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

  /** Those whose place the engine does not know, with it; it does from now on. */
  *untold(): Iterable<readonly [number, OwnProposal]> {
    for (const place of this.#byIndex) {
      if (place[1].told) continue;
      place[1].told = true;
      yield place;
    }
  }
}
