// A node's two threads and its clocks. A thread runs one event at a time and can be stalled: what arrives meanwhile waits
// in order, and runs when it is over, as after a long garbage collection. Both threads of a node share its clocks.
//
// What must hold: a timer never fires before its delay has passed on the node's own monotonic clock.
import type { Prng } from '../../src/base/prng.ts';
import type { Clock, Timer } from '../../src/ports/clock.ts';
import type { Scheduler } from './scheduler.ts';

/** 2024-01-01T00:00:00Z. */
const EPOCH_MS = 1_704_067_200_000;

/** Survives crashes of the node's process: it is the machine's clock. */
export class NodeTime {
  readonly #scheduler: Scheduler;
  /** Monotonic milliseconds for each simulated one. */
  readonly rate: number;
  readonly #originMs: number;
  #wallSkewMs: number;

  constructor(scheduler: Scheduler, rate: number, originMs: number, wallSkewMs: number) {
    this.#scheduler = scheduler;
    this.rate = rate;
    this.#originMs = originMs;
    this.#wallSkewMs = wallSkewMs;
  }

  wallMs(): number {
    return Math.floor(EPOCH_MS + this.#scheduler.nowMs + this.#wallSkewMs);
  }

  monotonicMs(): number {
    return this.#originMs + this.#scheduler.nowMs * this.rate;
  }

  jumpWall(byMs: number): void {
    this.#wallSkewMs += byMs;
  }

  /** Simulated time that surely lasts `delayMs` on this node's clock. */
  simulatedMs(delayMs: number): number {
    return delayMs / this.rate + 1e-6;
  }
}

export class SimThread {
  readonly name: string;
  readonly #scheduler: Scheduler;
  readonly #prng: Prng;
  readonly #time: NodeTime;
  alive = true;
  #stalledUntilMs = 0;
  #backlog: (() => void)[] = [];

  constructor(name: string, scheduler: Scheduler, prng: Prng, time: NodeTime) {
    this.name = name;
    this.#scheduler = scheduler;
    this.#prng = prng;
    this.#time = time;
  }

  /** Runs `task` on this thread in `delayMs`, or when it is free after that. */
  post(delayMs: number, task: () => void): Timer {
    const event = this.#scheduler.after(delayMs, () => this.#arrive(event, task));
    return { cancel: () => (event.cancelled = true) };
  }

  stall(durationMs: number): void {
    const untilMs = this.#scheduler.nowMs + durationMs;
    if (untilMs <= this.#stalledUntilMs) return;
    this.#stalledUntilMs = untilMs;
    this.#scheduler.at(untilMs, () => this.#drain());
  }

  kill(): void {
    this.alive = false;
    this.#backlog = [];
  }

  #arrive(event: { cancelled: boolean }, task: () => void): void {
    if (!this.alive) return;
    if (this.#backlog.length > 0 || this.#scheduler.nowMs < this.#stalledUntilMs) {
      this.#backlog.push(() => {
        if (!event.cancelled) task();
      });
    } else task();
  }

  #drain(): void {
    while (this.alive && this.#scheduler.nowMs >= this.#stalledUntilMs) {
      const task = this.#backlog.shift();
      if (task === undefined) return;
      task();
    }
  }

  /** The Clock port as this thread sees it. */
  get clock(): Clock {
    return {
      wallMs: () => this.#time.wallMs(),
      monotonicMs: () => this.#time.monotonicMs(),
      after: (delayMs, callback) => {
        const late = this.#prng.chance(0.2) ? this.#prng.unit() * 2 : 0;
        return this.post(this.#time.simulatedMs(delayMs) + late, callback);
      },
      endOfTurn: (callback) => {
        this.post(this.#prng.chance(0.5) ? 0 : this.#prng.unit() * 0.3, callback);
      },
    };
  }
}
