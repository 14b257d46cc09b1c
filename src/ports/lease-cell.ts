// The one cell that the two threads of a node share (docs/architecture.md, "The shape"): consensus publishes, the
// engine loads before it serves a read. Real: src/adapters/shared-cell.ts. Simulated: test/simulation.
//
// What must hold: a load gives the fields of one publication, never of two; loads never go back; consensus publishes
// a commit index before any message or reply carries it, and gives up a lease here before it gives up leadership.

export interface LeaseCellWriter {
  /** `leaseUntilMs` is on Clock.monotonicMs(); 0 when there is no lease. `leaderId` is 0 when none is known. */
  publish(leaseUntilMs: number, term: number, commit: number, leaderId: number, selfIsLeader: boolean): void;
}

export interface LeaseCellReader {
  /** Takes over the newest publication into the fields below. Allocates nothing and never waits for the writer. */
  load(): void;
  /** Reads may be served from memory while Clock.monotonicMs() is below this. 0 before the first publication. */
  readonly leaseUntilMs: number;
  readonly term: number;
  readonly commit: number;
  /** 0 when none is known. */
  readonly leaderId: number;
  readonly selfIsLeader: boolean;
}
