// What stands between MULTI and EXEC on one connection: the queued commands as RESP bytes, and the watched keys with
// their versions. Owns nothing else; what EXEC does with it is the session's and the machine's business.
import { assert } from '../base/assert.ts';
import { RECORD_BYTES_MAX } from '../base/limits.ts';
import { NO_WATCH, type RecordBuilder, type WatchedKey } from '../machine/record-codec.ts';
import type { CommandSpec } from '../commands/spec.ts';

/** Queued commands, taken out by EXEC. */
export interface QueuedCommands {
  readonly hasWrite: boolean;
  /** Some are session commands: what they change (SELECT: the database) holds for what the client sends next. */
  readonly hasSession: boolean;
  /** The writes among them, for INFO commandstats. */
  readonly writes: readonly CommandSpec[];
  readonly count: number;
  /** Of the `exec` record. */
  readonly payloadBytes: number;
  /** RESP multibulks one after another. */
  readonly bytes: Uint8Array;
  readonly watched: readonly WatchedKey[];
  /** Applied index when the first key was watched. */
  readonly watchedAt: number;
  /** Writes the payload of an `exec` record. */
  fill(builder: RecordBuilder): void;
}

/** Of the `exec` payload and of each watched key in it, as `fill` writes them. */
const EXEC_HEAD_BYTES = 16;
const WATCHED_HEAD_BYTES = 14;
const EMPTY = new Uint8Array(0);

export class Transaction {
  active = false;
  /** A queued command was refused: EXEC will be too. */
  aborted = false;
  count = 0;
  bytes = 0;
  #writes: CommandSpec[] = [];
  #hasSession = false;
  /** The queued commands, one after another, in its first `bytes` bytes: an object for each would weigh ten times as much. */
  #queued: Uint8Array = EMPTY;
  #watched: WatchedKey[] = [];
  /** The watched keys again, as "number:key", for WATCH of a key that is watched already. */
  readonly #watchedNames = new Set<string>();
  #watchedAt = NO_WATCH;

  get hasWrite(): boolean {
    return this.#writes.length > 0;
  }

  /** A queued command may need more memory: EXEC is refused where that is short. */
  get mayGrow(): boolean {
    return this.#writes.some((spec) => spec.flags.includes('denyoom'));
  }

  get watchedCount(): number {
    return this.#watched.length;
  }

  begin(): void {
    assert(!this.active, 'MULTI is not nested');
    this.active = true;
  }

  abort(): void {
    this.aborted = true;
  }

  queue(spec: CommandSpec, bytes: Uint8Array, start: number, end: number): void {
    this.count++;
    if (this.aborted) return;
    if (this.bytes + end - start > RECORD_BYTES_MAX - 1024 * 1024) {
      this.aborted = true;
      return;
    }
    if (spec.class === 'write') this.#writes.push(spec);
    if (spec.class === 'session') this.#hasSession = true;
    const length = this.bytes + end - start;
    if (length > this.#queued.length) {
      const grown = new Uint8Array(Math.max(length, 2 * this.#queued.length));
      grown.set(this.#queued.subarray(0, this.bytes));
      this.#queued = grown;
    }
    this.#queued.set(bytes.subarray(start, end), this.bytes);
    this.bytes = length;
  }

  watch(db: number, key: Uint8Array, version: number, appliedIndex: number): void {
    const name = `${db}:${Buffer.from(key.buffer, key.byteOffset, key.length).toString('latin1')}`;
    if (this.#watchedNames.has(name)) return;
    this.#watchedNames.add(name);
    this.#watched.push({ db, key, version });
    if (this.#watchedAt === NO_WATCH) this.#watchedAt = appliedIndex;
  }

  unwatch(): void {
    this.#watched = [];
    this.#watchedNames.clear();
    this.#watchedAt = NO_WATCH;
  }

  /** Forgets the queue and the watched keys. */
  discard(): void {
    this.active = false;
    this.aborted = false;
    this.count = 0;
    this.bytes = 0;
    this.#writes = [];
    this.#hasSession = false;
    this.#queued = EMPTY;
    this.unwatch();
  }

  /** Hands the queue over and starts afresh. */
  take(): QueuedCommands {
    const watched = this.#watched;
    const watchedAt = this.#watchedAt;
    const bytes = this.#queued.subarray(0, this.bytes);
    const { count } = this;
    const writes = this.#writes;
    const hasSession = this.#hasSession;
    let payloadBytes = EXEC_HEAD_BYTES + bytes.length;
    for (const { key } of watched) payloadBytes += WATCHED_HEAD_BYTES + key.length;
    this.discard();
    return {
      hasWrite: writes.length > 0,
      hasSession,
      writes,
      payloadBytes,
      count,
      bytes,
      watched,
      watchedAt,
      fill(builder) {
        builder.uint53(watchedAt);
        builder.uint32(watched.length);
        builder.uint32(count);
        for (const { db, key, version } of watched) {
          builder.uint16(db);
          builder.uint53(version);
          builder.uint32(key.length);
          builder.put(key, 0, key.length);
        }
        builder.put(bytes, 0, bytes.length);
      },
    };
  }
}
