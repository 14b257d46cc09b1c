// How much of what clients have sent is dealt with in one turn of the event loop, apply apart: many clients with much to say, or
// code that is cold, would hold up everybody else for tens of milliseconds. Owns the turn's time and the sessions that had to
// leave off, nothing of theirs.
//
// What must hold: a session that left off goes on by itself, in the order in which it left off, once per turn.
import type { Clock } from '../ports/clock.ts';

/** It may be had twice between two looks at the sockets: by what they brought, and by what the turn before has left. */
const TURN_MS = 4;

export class InputTurns<Input> {
  readonly #clock: Clock;
  readonly #run: (input: Input) => void;
  readonly #flush: () => void;
  #isOpen = false;
  #untilMs = 0;
  #left: Input[] = [];

  /** `run` has the input go on; `flush` sends what was answered in a turn. */
  constructor(clock: Clock, run: (input: Input) => void, flush: () => void) {
    this.#clock = clock;
    this.#run = run;
    this.#flush = flush;
  }

  /**
   * There is input in this turn. The answers to all of it leave together at its end: a write to a peer that sleeps wakes it, which
   * costs more than the write itself, and the first of many wakes a client that has all of them open.
   */
  open(): void {
    if (this.#isOpen) return;
    this.#isOpen = true;
    this.#untilMs = this.#clock.monotonicMs() + TURN_MS;
    this.#clock.endOfTurn(this.#end);
  }

  readonly #end = (): void => {
    this.#isOpen = false;
    this.#flush();
  };

  /** Input has had its share of this turn at that time. */
  isOver(nowMs: number): boolean {
    return nowMs >= this.#untilMs;
  }

  /** This one has more, which goes on behind what other sockets have brought. */
  leave(input: Input): void {
    this.#left.push(input);
    if (this.#left.length === 1) this.#clock.endOfTurn(this.#goOn);
  }

  readonly #goOn = (): void => {
    const left = this.#left;
    this.#left = [];
    this.#untilMs = this.#clock.monotonicMs() + TURN_MS;
    for (const input of left) this.#run(input);
    this.#flush();
  };
}
