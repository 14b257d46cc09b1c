// A clock for tests of tasks that wait: time stands still while anything is running, and jumps to the next timer when nothing is.
import type { Clock, Timer } from '../../src/ports/clock.ts';

interface Waiting {
  readonly atMs: number;
  readonly callback: () => void;
}

export class FastClock implements Clock {
  #nowMs = 0;
  readonly #startMs: number;
  readonly #timers = new Set<Waiting>();
  #looking = false;
  #closed = false;

  constructor(startMs = 1_700_000_000_000) {
    this.#startMs = startMs;
  }

  wallMs(): number {
    return this.#startMs + Math.floor(this.#nowMs);
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, callback: () => void): Timer {
    const timer = { atMs: this.#nowMs + delayMs, callback };
    this.#timers.add(timer);
    this.#look();
    return { cancel: () => void this.#timers.delete(timer) };
  }

  endOfTurn(callback: () => void): void {
    setImmediate(callback);
  }

  /** No timer fires any more. */
  close(): void {
    this.#closed = true;
    this.#timers.clear();
  }

  /** Two turns of the event loop are enough for promises and setImmediate to have had theirs. */
  #look(): void {
    if (this.#looking || this.#closed) return;
    this.#looking = true;
    setImmediate(() => setImmediate(() => {
      this.#looking = false;
      let next: Waiting | undefined;
      for (const timer of this.#timers) if (next === undefined || timer.atMs < next.atMs) next = timer;
      if (next === undefined) return;
      this.#timers.delete(next);
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      next.callback();
      if (this.#timers.size > 0) this.#look();
    }));
  }
}
