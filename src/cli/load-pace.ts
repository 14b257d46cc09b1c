// The pace at which a snapshot is loaded in the thread of the clients: never long at a time, and where nobody waits for it, in what
// the other processes of the machine leave.
import type { Clock } from '../ports/clock.ts';

/** Loading holds the event loop no longer than this at a time, and goes on in the next turn. */
const SLICE_MS = 4;
/** Who waited so much for a CPU in a slice shares them with others that are busy. */
const CROWDED_MS = 0.2;
/** Then it rests after each slice, so that no more than a fifth of a CPU goes to it. */
const REST_MS = 16;

export class LoadPace {
  readonly #clock: Clock;
  readonly #queuedMs: (() => number) | undefined;
  #sliceMs: number;
  #queuedBeforeMs: number;

  /** `queuedMs`: how long this thread has waited for a CPU, ever; without it nobody else is looked at. */
  constructor(clock: Clock, queuedMs: (() => number) | undefined) {
    this.#clock = clock;
    this.#queuedMs = queuedMs;
    this.#sliceMs = clock.monotonicMs();
    this.#queuedBeforeMs = queuedMs?.() ?? 0;
  }

  /** When the last slice began. */
  get sliceMs(): number {
    return this.#sliceMs;
  }

  async breathe(): Promise<void> {
    if (this.#clock.monotonicMs() - this.#sliceMs < SLICE_MS) return;
    const isCrowded = this.#isCrowded();
    await new Promise<void>((resolve) => {
      if (isCrowded) this.#clock.after(REST_MS, resolve);
      else this.#clock.endOfTurn(resolve);
    });
    this.#sliceMs = this.#clock.monotonicMs();
  }

  #isCrowded(): boolean {
    if (this.#queuedMs === undefined) return false;
    const queuedMs = this.#queuedMs();
    const isCrowded = queuedMs - this.#queuedBeforeMs >= CROWDED_MS;
    this.#queuedBeforeMs = queuedMs;
    return isCrowded;
  }
}
