// When the leader's next batch goes to the log. Clients that have just been answered mostly write again at once: a batch that
// waits for them is twice as large as one that leaves without, and each entry costs every node an fsync and a few messages.
//
// What must hold:
// - A batch waits only within GATHER_MS of an apply, and only for as many records as there were before: one client never
//   waits, and neither does anybody on an idle server.
// - Waiting that came to nothing is not tried again for a while, twice as long each time.

import type { Clock } from '../ports/clock.ts';

/** How long an answered client's next write is waited for. */
const GATHER_MS = 1;
/** This share of the records that may come is enough. */
const ENOUGH = 0.8;
/** An entry of this many is cheap already; its parts had better be on disk while more are read. */
export const FULL_RECORDS = 128;
const PAUSE_ROUNDS_MAX = 256;

export class Gathering {
  readonly #clock: Clock;
  /** The batch has waited long enough. */
  readonly #onEnd: () => void;
  #timerRuns = false;
  /** Records to wait for; 0 while nothing is waited for. */
  #target = 0;
  #untilMs = 0;
  #pauseRounds = 0;
  #nextPause = 1;

  constructor(clock: Clock, onEnd: () => void) {
    this.#clock = clock;
    this.#onEnd = onEnd;
  }

  /** An entry of `applied` records was answered, and `waiting` have gathered meanwhile. */
  begin(applied: number, waiting: number): void {
    this.#target = 0;
    if (this.#pauseRounds > 0) {
      this.#pauseRounds--;
      return;
    }
    const target = Math.min(Math.ceil((applied + waiting) * ENOUGH), FULL_RECORDS);
    if (waiting >= target) return;
    this.#target = target;
    this.#untilMs = this.#clock.monotonicMs() + GATHER_MS;
    if (!this.#timerRuns) this.#wake(GATHER_MS);
  }

  /** True while a batch of `count` records should wait. */
  holds(count: number): boolean {
    if (this.#target === 0) return false;
    if (count < this.#target) return true;
    this.#target = 0;
    this.#nextPause = 1;
    return false;
  }

  /** Nothing is waited for: the role has changed. */
  stop(): void {
    this.#target = 0;
  }

  #wake(afterMs: number): void {
    this.#timerRuns = true;
    this.#clock.after(afterMs, () => {
      this.#timerRuns = false;
      if (this.#target === 0) return;
      const leftMs = this.#untilMs - this.#clock.monotonicMs();
      if (leftMs > 0) {
        this.#wake(leftMs);
        return;
      }
      this.#target = 0;
      this.#pauseRounds = this.#nextPause;
      this.#nextPause = Math.min(2 * this.#nextPause, PAUSE_ROUNDS_MAX);
      this.#onEnd();
    });
  }
}
