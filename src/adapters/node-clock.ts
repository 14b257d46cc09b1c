// The real Clock. Both threads of a node must agree on monotonicMs(), since a lease that consensus writes is judged by
// the engine. performance.now() is the cheap reading, but counts from the start of its own thread; so each thread
// measures once how far that is from the system's monotonic clock (process.hrtime), which has one origin for all.
import { performance } from 'node:perf_hooks';
import { assert } from '../base/assert.ts';
import type { Clock, Timer } from '../ports/clock.ts';

/** setTimeout takes anything longer for 1 ms. */
const DELAY_MS_MAX = 0x7fff_ffff;

export class NodeClock implements Clock {
  readonly #offsetMs = measureOffsetMs();
  #lastMs = performance.now() + this.#offsetMs;

  wallMs(): number {
    return Date.now();
  }

  monotonicMs(): number {
    return (this.#lastMs = performance.now() + this.#offsetMs);
  }

  /** What monotonicMs() last gave: for whoever asks at every record and needs seconds, in a thread that reads the clock all the time. */
  get lastMonotonicMs(): number {
    return this.#lastMs;
  }

  after(delayMs: number, callback: () => void): Timer {
    assert(delayMs <= DELAY_MS_MAX, () => `a timer of ${delayMs} ms is longer than a timer can be`);
    return new NodeTimer(delayMs, callback);
  }

  endOfTurn(callback: () => void): void {
    setImmediate(callback);
  }
}

/** setTimeout counts from the loop's time of last update, in whole milliseconds, so it can be early by one; this is not. */
class NodeTimer implements Timer {
  readonly #callback: () => void;
  readonly #dueMs: number;
  #handle: NodeJS.Timeout;

  constructor(delayMs: number, callback: () => void) {
    this.#callback = callback;
    this.#dueMs = performance.now() + delayMs;
    this.#handle = setTimeout(this.#fire, delayMs);
  }

  readonly #fire = (): void => {
    const leftMs = this.#dueMs - performance.now();
    if (leftMs > 0) this.#handle = setTimeout(this.#fire, Math.ceil(leftMs));
    else this.#callback();
  };

  cancel(): void {
    clearTimeout(this.#handle);
  }
}

/** The pair of readings that stood closest together is the one that no preemption fell between. */
function measureOffsetMs(): number {
  let best = 0;
  let bestGapMs = Infinity;
  for (let i = 0; i < 16; i++) {
    const beforeMs = performance.now();
    const [seconds, nanoseconds] = process.hrtime();
    const gapMs = performance.now() - beforeMs;
    if (gapMs >= bestGapMs) continue;
    bestGapMs = gapMs;
    best = seconds * 1000 + nanoseconds / 1e6 - (beforeMs + gapMs / 2);
  }
  return best;
}
