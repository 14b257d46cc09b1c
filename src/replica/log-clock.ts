// Log time: what the leader stamps entries with and judges expiry by. It is the wall clock where that is ahead, and goes
// on by the monotonic clock where the wall clock has jumped back, so it never goes back and never stands still.
import type { Clock } from '../ports/clock.ts';

export class LogClock {
  readonly #clock: Clock;
  /** The newest log time known, and when (monotonic) it was that. */
  #baseMs = 0;
  #baseAtMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#baseAtMs = clock.monotonicMs();
  }

  /** Whole milliseconds since the epoch; never less than before. */
  nowMs(): number {
    const wall = this.#clock.wallMs();
    const monotonic = this.#clock.monotonicMs();
    const continued = this.#baseMs + Math.floor(monotonic - this.#baseAtMs);
    if (wall >= continued) {
      this.#baseMs = wall;
      this.#baseAtMs = monotonic;
      return wall;
    }
    return continued;
  }

  /** A log time that somebody else stamped: ours goes on from there if it is ahead. */
  observe(timeMs: number): void {
    const monotonic = this.#clock.monotonicMs();
    if (timeMs > this.#baseMs + Math.floor(monotonic - this.#baseAtMs)) {
      this.#baseMs = timeMs;
      this.#baseAtMs = monotonic;
    }
  }
}
