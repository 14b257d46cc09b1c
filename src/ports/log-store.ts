// The log store: one node's Raft log and hard state on disk. Real: src/adapters/wal-log.ts. Simulated: test/simulation.
//
// What must hold:
// - When an append's callback reports success, its entries and hard state survive a crash of process and machine.
// - Appends persist in the order given; a crash leaves a prefix of them, each whole or absent.
// - After the first failure nothing is ever reported persisted again (a failed fsync is not retried).
// - Reads are synchronous, and see every append, cut and reset that was handed over, persisted or not.
// - A log begins behind its base, whose term stays known. A cut only moves the base up within the log; a crash may undo a
//   cut, never a reset that was reported.

import type { LogBase } from '../base/log-base.ts';

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
  readonly base: LogBase;
  /** The first index that is kept, or would be: base.index + 1. */
  readonly firstIndex: number;
  /** firstIndex − 1 when the log is empty. */
  readonly lastIndex: number;
  /** Term of the entry at `index`, the base included, or undefined where there is none. */
  term(index: number): number | undefined;
  /**
   * Sealed entries [from, to], as many as fit `bytesMax` but at least one. Each was checked against its CRC; one that
   * does not match throws OperationalError LOG_DAMAGED that names the index.
   */
  read(from: number, to: number, bytesMax: number): Uint8Array[];
  meta(name: string): Uint8Array | undefined;
  /** Hands over an append. `done` is called once, later, never from inside this call; an error means: not persisted, and nothing after it will be. */
  append(append: LogAppend, done: (error?: Error) => void): void;
  /**
   * Forgets the entries up to `to`, which is in the log and committed: it becomes the base. For readers that is so at once;
   * on disk it follows in slices that never hold the thread for long, and the space is given back.
   */
  cut(to: number): void;
  /**
   * Forgets everything; the log is empty and begins behind `base`, where a snapshot ends. Written in order with the
   * appends, in one transaction with `hardState` and `meta`; `done` as for an append.
   */
  reset(base: LogBase, hardState: HardState, done: (error?: Error) => void, meta?: ReadonlyMap<string, Uint8Array>): void;
  /** The highest index that may be cut with about `bytes` of entries left behind it; the base where there are fewer. */
  cutKeeping(bytes: number): number;
  /** Bytes of entries behind `index`, a MiB more or less. */
  behind(index: number): number;
  /** Bytes on disk. Cheap: asked many times a second. */
  sizeBytes(): number;
  close(): void;
}
