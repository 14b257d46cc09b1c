// How long one thread's event loop has stood still. Real: src/adapters/stall-watch.ts. Simulations do without.

export interface StallMeter {
  /** The longest stall since the start or the last `reset`, ms; 0 where there was none. */
  readonly stallMsMax: number;
  reset(): void;
}

/** The meters of a node's two threads, both read by the engine's. */
export interface NodeStalls {
  readonly engine: StallMeter;
  readonly consensus: StallMeter;
}
