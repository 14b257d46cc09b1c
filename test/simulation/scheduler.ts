// Simulated time: one queue of events for the whole cluster. Owns "now"; nothing else in the simulation has a clock.
// Events at the same time run in the order in which they were asked for, so a run is a function of its seed.

export interface Scheduled {
  cancelled: boolean;
}

interface Event extends Scheduled {
  readonly atMs: number;
  readonly order: number;
  readonly run: () => void;
}

export class Scheduler {
  /** Simulated milliseconds since the run began. */
  nowMs = 0;
  steps = 0;
  #nextOrder = 0;
  readonly #heap: Event[] = [];

  at(atMs: number, run: () => void): Scheduled {
    const event: Event = { atMs: Math.max(atMs, this.nowMs), order: this.#nextOrder++, run, cancelled: false };
    this.#push(event);
    return event;
  }

  after(delayMs: number, run: () => void): Scheduled {
    return this.at(this.nowMs + delayMs, run);
  }

  /** Runs the next event that is due by `untilMs`; false when there is none, and then it is `untilMs`. */
  step(untilMs: number): boolean {
    for (;;) {
      const first = this.#heap[0];
      if (first === undefined || first.atMs > untilMs) {
        this.nowMs = Math.max(this.nowMs, untilMs);
        return false;
      }
      this.#pop();
      if (first.cancelled) continue;
      this.nowMs = first.atMs;
      this.steps++;
      first.run();
      return true;
    }
  }

  #before(a: Event, b: Event): boolean {
    return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.#before(event, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    const size = heap.length;
    if (size === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= size) break;
      if (child + 1 < size && this.#before(heap[child + 1]!, heap[child]!)) child++;
      if (!this.#before(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
  }
}
