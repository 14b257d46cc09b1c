// The declaration of a command: everything that the server, COMMAND, COMMAND DOCS, ACL categories, key extraction and
// the docs table know about it. One object a command, in the file of its family, checked with `satisfies CommandSpec`.
import type { Args } from '../resp/args.ts';
import type { CommandContext } from './context.ts';

/**
 * write: replicated; runs in apply on every node, nowhere else.
 * read: runs on the node that the client asked, against the applied state; never changes the state.
 * session: about this connection or this node; runs at once, on the node, outside the log.
 */
export type CommandClass = 'write' | 'read' | 'session';

/**
 * What the command does between MULTI and EXEC.
 * queue: it is queued, and runs at EXEC. (Of a queued command only `write`s and SELECT run on every node; reads and session commands only where the client is.)
 * now: it runs at once instead of being queued (EXEC, DISCARD, MULTI, WATCH, QUIT, RESET).
 * refuse: it is refused with "ERR Command not allowed inside a transaction", and the transaction is aborted.
 */
export type InsideExec = 'queue' | 'now' | 'refuse';

/** Redis's command flags (COMMAND INFO), lower case. */
export type CommandFlag =
  | 'write'
  | 'readonly'
  | 'denyoom'
  | 'admin'
  | 'pubsub'
  | 'noscript'
  | 'blocking'
  | 'loading'
  | 'stale'
  | 'skip_monitor'
  | 'skip_slowlog'
  | 'asking'
  | 'fast'
  | 'no_auth'
  | 'may_replicate'
  | 'no_async_loading'
  | 'no_multi'
  | 'allow_busy'
  | 'movablekeys';

/** Where the keys stand among the arguments: Redis's first key, last key (negative counts from the end), step. 0,0,0 for none. */
export interface KeyRange {
  readonly first: number;
  readonly last: number;
  readonly step: number;
}

export const NO_KEYS: KeyRange = { first: 0, last: 0, step: 0 };
export const ONE_KEY: KeyRange = { first: 1, last: 1, step: 1 };
export const ALL_KEYS: KeyRange = { first: 1, last: -1, step: 1 };

export interface CommandSpec {
  /** Lower case, as COMMAND prints it. A subcommand's is its own word only ("getname"). */
  readonly name: string;
  /** As in Redis: the name counts (and for a subcommand both words); negative means at least. */
  readonly arity: number;
  readonly class: CommandClass;
  readonly insideExec: InsideExec;
  readonly flags: readonly CommandFlag[];
  readonly keys: KeyRange;
  /** For commands whose keys KeyRange cannot say: pushes the argument positions of the keys. */
  readonly keysFrom?: (args: Args, push: (position: number) => void) => void;
  /** The argument that says how many keys follow it (Redis's keynum), besides those of `keys`. Malformed, it has none. */
  readonly keysCountedAt?: number;
  /** Redis's flags for the key spec: how each key is used (RO, RW, OW, RM plus access, update, insert, delete); for COMMAND INFO and GETKEYSANDFLAGS. */
  readonly keyFlags?: readonly string[];
  /** Where they depend on the arguments (Redis's variable_flags): those of these arguments' keys. */
  readonly keyFlagsFrom?: (args: Args) => readonly string[];
  /** ACL categories without @; those that follow from flags (write, read, fast, slow, admin, dangerous…) are derived in table.ts. */
  readonly categories: readonly string[];
  readonly group: string;
  readonly since: string;
  readonly summary: string;
  readonly complexity: string;
  /**
   * For writes: checks what needs no state (syntax, numbers) before the command goes to the log. Returns the error reply's
   * text, or undefined. The handler still checks everything itself; this only spares the log. Give it where it is cheap.
   */
  readonly validate?: (args: Args) => string | undefined;
  /** Of a write: it is taken also where the leader's log has reached its limit, since it helps it out. */
  readonly essential?: boolean;
  readonly handler: (context: CommandContext) => void;
  readonly subcommands?: readonly CommandSpec[];
}
