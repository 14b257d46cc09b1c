// What a handler sees while it runs: the arguments, the state, the time, the reply. One context per engine, filled in
// again for every command (allocates nothing); a handler must not keep it.
//
// What must hold:
// - In `apply` mode everything a handler reads here is replicated, or derives from what is: same on every node.
// - `reply`, `session` and `server` never feed back into the state. Write handlers never touch `session` or `server`.
import type { Keyspace } from '../keyspace/keyspace.ts';
import type { Database, Handle } from '../keyspace/database.ts';
import type { Prng } from '../base/prng.ts';
import type { Args } from '../resp/args.ts';
import type { Reply } from '../resp/reply.ts';
import { Publishing } from './publishing.ts';
import type { ReplicatedSettings } from './replicated-settings.ts';
import type { ServerPort, SessionPort } from './ports.ts';
import type { CommandSpec } from './spec.ts';
import { must } from '../base/assert.ts';

export class CommandContext {
  readonly keyspace: Keyspace;
  readonly settings: ReplicatedSettings;
  /** apply: in a log entry, on every node. read: on this node only, nothing may change. */
  mode: 'apply' | 'read' = 'read';
  db: Database;
  args: Args;
  reply: Reply;
  /** The declaration of the command that runs (of the subcommand where there is one). */
  command: CommandSpec | undefined = undefined;
  /** apply: the entry's log time. read: the log time at which the read is judged. Milliseconds. */
  nowMs = 0;
  /** apply: the log index of the entry. */
  entryIndex = 0;
  /** The newest published snapshot; in apply the machine's. */
  publishing = new Publishing();
  /** The machine's own log time: a key past it is gone for good on every node, and may be called missing without more ado. */
  logTimeMs = 0;
  /** apply: seeded by term, index and record number. read: seeded from the node's entropy. */
  random: Prng;
  /** read mode: set when a lookup met a key past its deadline by `nowMs` but not yet by the log; the server then has the deletion logged and runs the read again. */
  expiredSeen = false;
  /** apply: incremented once for each change, as Redis's server.dirty. */
  dirty = 0;
  /** read mode: false for OBJECT, TTL and the like, and CLIENT NO-TOUCH: lookups leave the access clocks alone. */
  touch = true;
  /** The client's connection; absent in apply on nodes where the client is not. Session and read commands may use it. */
  #session: SessionPort | undefined = undefined;
  #server: ServerPort | undefined = undefined;
  /** Called in read mode with the key that was found past its deadline. */
  onExpired: ((database: Database, key: Handle) => void) | undefined = undefined;
  /** Keyspace hits and misses of reads, for INFO. */
  hits = 0;
  misses = 0;

  constructor(keyspace: Keyspace, settings: ReplicatedSettings, args: Args, reply: Reply, random: Prng) {
    this.keyspace = keyspace;
    this.settings = settings;
    this.db = keyspace.database(0);
    this.args = args;
    this.reply = reply;
    this.random = random;
  }

  get session(): SessionPort {
    return must(this.#session, 'only session and read commands look at the session');
  }

  get server(): ServerPort {
    return must(this.#server, 'only session and read commands look at the server');
  }

  attach(session: SessionPort | undefined, server: ServerPort | undefined): void {
    this.#session = session;
    this.#server = server;
  }

  /**
   * The live key at argument `i`, or 0, for a read. Honours the deadline by `nowMs`; touches the access clock; counts hit or miss.
   * In apply mode (a read inside EXEC or a script) a key past its deadline is simply not there.
   */
  lookupRead(i: number): Handle {
    const { args, db } = this;
    const key = db.find(args.bytes, args.starts[i]!, args.ends[i]!);
    if (key === 0) {
      this.misses++;
      return 0;
    }
    if (db.isExpired(key, this.nowMs)) {
      if (this.mode === 'read' && !db.isExpired(key, this.logTimeMs)) {
        this.expiredSeen = true;
        this.onExpired?.(db, key);
      }
      this.misses++;
      return 0;
    }
    this.hits++;
    if (this.touch) this.keyspace.touch(key);
    return key;
  }

  /** As lookupRead, but leaves the access clock alone: TTL, TYPE, EXISTS, OBJECT (Redis's LOOKUP_NOTOUCH). */
  lookupPeek(i: number): Handle {
    const touch = this.touch;
    this.touch = false;
    const key = this.lookupRead(i);
    this.touch = touch;
    return key;
  }

  /** The live key at argument `i`, or 0, for a write: a key past its deadline is deleted first. Only in apply mode. */
  lookupWrite(i: number, db: Database = this.db): Handle {
    const { args } = this;
    const key = db.find(args.bytes, args.starts[i]!, args.ends[i]!);
    if (key === 0) return 0;
    if (db.isExpired(key, this.nowMs)) {
      db.remove(key);
      this.keyspace.expiredKeys++;
      return 0;
    }
    this.keyspace.touch(key);
    return key;
  }
}
