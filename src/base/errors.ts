// Three kinds of error, never mixed (docs/architecture.md):
// - broken invariant: AssertionError, ends the process;
// - operational: OperationalError, a stable code for the operator and a message that says what happened, where, and what to do;
// - reply to a client: a text in Redis's own wording, written by a ReplyWriter, never thrown across modules.

export type OperationalCode =
  | 'CONFIG' // a mistake in the configuration file or on the command line
  | 'DATA_DIR' // the data directory is missing, locked, of another node or cluster, or of another format
  | 'LOG_DAMAGED' // bytes on disk fail their check
  | 'LOG_WRITE' // an append or its fsync failed, or the disk is full
  | 'PEER' // a peer is refused, or refused us
  | 'LISTEN' // a port cannot be bound
  | 'LIMIT'; // a named limit is exceeded

export class OperationalError extends Error {
  override readonly name = 'OperationalError';
  constructor(
    readonly code: OperationalCode,
    message: string,
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }
}

/** The text of anything that was thrown. */
export function errorText(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
