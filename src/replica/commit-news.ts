// Whom a leader tells of a commit before entries carry it: under load the next entries do, else it goes by itself, and to those
// whose clients wait on it at once. Owns who forwarded writes lately, and the timer.
import type { Clock } from '../ports/clock.ts';
import type { RaftNode } from '../raft/raft.ts';

/** How long followers may wait to hear of a commit for entries to carry it; no longer than an entry takes. */
const COMMIT_NEWS_MS = 1;
/** A peer that forwarded writes this lately answers clients by its own apply: it hears of commits at once. */
const FORWARDING_MS = 100;

export class CommitNews {
  readonly #raft: RaftNode;
  readonly #clock: Clock;
  /** Runs one input through the core and all that follows. */
  readonly #guard: (input: () => void) => void;
  /** When each peer last forwarded writes to us. */
  readonly #forwardedAtMs = new Map<number, number>();
  #due = false;

  constructor(raft: RaftNode, clock: Clock, guard: (input: () => void) => void) {
    this.#raft = raft;
    this.#clock = clock;
    this.#guard = guard;
  }

  forwarded(peer: number): void {
    this.#forwardedAtMs.set(peer, this.#clock.monotonicMs());
  }

  /** The core holds a commit back; true if it has messages about it now. */
  held(): boolean {
    const since = this.#clock.monotonicMs() - FORWARDING_MS;
    let toldAny = false;
    for (const [peer, atMs] of this.#forwardedAtMs) {
      if (atMs < since) continue;
      this.#raft.tellCommit(peer);
      toldAny = true;
    }
    if (!this.#due) {
      this.#due = true;
      this.#clock.after(COMMIT_NEWS_MS, () => {
        this.#due = false;
        this.#guard(() => this.#raft.tellCommit());
      });
    }
    return toldAny;
  }
}
