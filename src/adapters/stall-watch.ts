// The real StallMeter: Node's own event loop delay monitor, a timer of libuv that records from C++ when it fires late.
// Its histogram is shared memory under a lock, so a clone that was posted to another thread reads and resets the same one.
//
// What must hold: whoever watches keeps the histogram referenced; collected, it stops.
// The timer falls due at most `resolutionMs` after a stall began, so the true stall is up to that much longer than what is
// read; a stall that begins in the first `resolutionMs` after a reset is not seen, as the first firing only starts the
// measurement. Every 5 ms it costs 0.4 % of a core per thread, and wakes machines that have something better to do.
import { monitorEventLoopDelay, type Histogram } from 'node:perf_hooks';
import type { StallMeter } from '../ports/stall-meter.ts';

const NS_PER_MS = 1e6;

/** Starts watching the calling thread's event loop; the histogram may be posted to another thread. */
export function watchStalls(resolutionMs: number): Histogram {
  const histogram = monitorEventLoopDelay({ resolution: resolutionMs });
  histogram.enable();
  return histogram;
}

/** Reads what `watchStalls` records, on whichever thread. */
export class StallWatch implements StallMeter {
  readonly #histogram: Histogram;
  readonly #resolutionMs: number;

  constructor(histogram: Histogram, resolutionMs: number) {
    this.#histogram = histogram;
    this.#resolutionMs = resolutionMs;
  }

  get stallMsMax(): number {
    if (this.#histogram.count === 0) return 0;
    return Math.max(0, this.#histogram.max / NS_PER_MS - this.#resolutionMs);
  }

  reset(): void {
    this.#histogram.reset();
  }
}
