// Where a log begins: behind this entry, which is in a snapshot and no longer in the log.

export interface LogBase {
  readonly index: number;
  readonly term: number;
  /** Leader time of that entry, below which no later entry's is. */
  readonly timeMs: number;
}

/** Of a log that was never cut. */
export const LOG_START: LogBase = { index: 0, term: 0, timeMs: 0 };
