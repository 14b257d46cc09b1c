// The log store: one node's Raft log and hard state on disk. Real: src/adapters/sqlite-log.ts. Simulated: test/simulation.
//
// What must hold:
// - When an append's callback reports success, its entries and hard state survive a crash of process and machine.
// - Appends persist in the order given; a crash leaves a prefix of them, each whole or absent.
// - After the first failure nothing is ever reported persisted again (a failed fsync is not retried).
// - Reads are synchronous, and see every append that was handed over, persisted or not.

/** Raft's persistent state besides the entries. */
export interface HardState {
  readonly term: number;
  /** The node voted for in `term`; 0 for none. */
  readonly vote: number;
  /** Highest index known committed when this was written; a hint, never ahead of the truth. */
  readonly commit: number;
}

export interface LogAppend {
  /** Written in the same transaction as the entries; absent when unchanged. */
  readonly hardState?: HardState;
  /** Sealed entries (src/base/entry.ts), consecutive. If the first index is not last + 1, all from it on are replaced. */
  readonly entries: readonly Uint8Array[];
  /** Small named values (cluster membership, peers' incarnations) to be stored in the same transaction. */
  readonly meta?: ReadonlyMap<string, Uint8Array>;
}

export interface LogStore {
  readonly hardState: HardState;
  /** 0 when the log is empty; otherwise the first index kept (1 until the log is cut). */
  readonly firstIndex: number;
  readonly lastIndex: number;
  /** Term of the entry at `index`, or undefined where there is none. 0 for index 0. */
  term(index: number): number | undefined;
  /**
   * Sealed entries [from, to], as many as fit `bytesMax` but at least one. Each was checked against its CRC; one that
   * does not match throws OperationalError LOG_DAMAGED that names the index.
   */
  read(from: number, to: number, bytesMax: number): Uint8Array[];
  meta(name: string): Uint8Array | undefined;
  /** Hands over an append. `done` is called once, later, never from inside this call; an error means: not persisted, and nothing after it will be. */
  append(append: LogAppend, done: (error?: Error) => void): void;
  /** Bytes on disk, for INFO. */
  sizeBytes(): number;
  close(): void;
}
