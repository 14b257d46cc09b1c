// Time and timers, as the replica and the server see them. The real adapter is src/adapters/node-clock.ts; simulation has its own.

export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Wall clock, milliseconds since the epoch, whole. May jump either way. */
  wallMs(): number;
  /** Monotonic milliseconds with a fraction; one origin for both threads of a node, unrelated to the wall clock. */
  monotonicMs(): number;
  /** Runs `callback` once, no sooner than `delayMs` from now. */
  after(delayMs: number, callback: () => void): Timer;
  /** Runs `callback` at the end of this turn of the event loop, after the I/O that is ready has been read. */
  endOfTurn(callback: () => void): void;
}
