// Three kinds of error, never mixed (docs/architecture.md):
// - broken invariant: AssertionError, ends the process;
// - operational: OperationalError, a stable code for the operator and a message that says what happened, where, and what to do;
// - reply to a client: a text in Redis's own wording, written by a ReplyWriter, never thrown across modules.

export type OperationalCode =
  | 'CONFIG' // a mistake in the configuration file or on the command line
  | 'DATA_DIR' // the data directory is missing, locked, of another node or cluster, or of another format
  | 'LOG_DAMAGED' // bytes on disk fail their check
  | 'LOG_CUT' // entries are asked for that the log no longer has
  | 'LOG_WRITE' // an append or its fsync failed, or the disk is full
  | 'PEER' // a peer is refused, or refused us
  | 'SNAPSHOT' // a snapshot or an RDB file is damaged, too new, or holds what Holdfast does not have
  | 'LISTEN' // a port cannot be bound
  | 'LIMIT' // a named limit is exceeded
  | 'OBJECT_STORE_UNREACHABLE' // the object store does not answer, or fails inside; worth trying again
  | 'OBJECT_STORE_REFUSED' // the object store refuses us: credentials, permissions, no such bucket
  | 'OBJECT_STORE_FULL' // the object store has no room, or a quota is reached
  | 'OBJECT_NOT_FOUND' // the object is not there
  | 'OBJECT_DAMAGED' // an object's bytes fail their check
  | 'ENCRYPTION_KEY'; // an object is encrypted with a key that is not in the key file

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
