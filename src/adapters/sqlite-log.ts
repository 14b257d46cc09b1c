// The log store on SQLite (port: src/ports/log-store.ts). Owns log.db while it is open; its format, the checks at open
// and what counts as damage are in sqlite-log-file.ts.
//
// What must hold:
// - An append is one transaction, synced (synchronous=FULL, read back) before it is reported.
// - After the first failure of a write, a commit, a sync or a checkpoint nothing is written or reported persisted
//   again. Appends handed over after that stay readable from memory until the process ends.
// - SQLite's own checkpoints are off, because it ignores their errors; ours run between two turns of the event loop.
// - At open, after all checks, the WAL is written into the database, synced and restarted before anything new: so
//   nothing read from a page cache after a failed sync counts as durable, and what remains of a torn transaction has
//   salts of the past.
//
// better-sqlite3 is synchronous: an append holds its thread for about 0.1 ms. The consensus driver sends to its peers
// before it appends, so their syncs run beside ours. `done` comes as a microtask: after append() and its caller have
// returned, before any other event, in order, and without the turn of the event loop that setImmediate would cost.
// A big append (100 MB take 400 ms, about an election timeout) is written in slices instead, one a turn of the event loop,
// so that heartbeats pass between; appends behind it queue, and what is queued is read from memory. A reset goes the same
// way. What a cut leaves behind goes in slices of its own (sqlite-log-trim.ts).
import * as fs from 'node:fs';
import type Database from 'better-sqlite3';
import { assert } from '../base/assert.ts';
import { copyBytes } from '../base/bytes.ts';
import { entryFault, entryIndex, entryTimeMs } from '../base/entry.ts';
import { OperationalError, errorText } from '../base/errors.ts';
import { MiB } from '../base/limits.ts';
import type { LogBase } from '../base/log-base.ts';
import type { HardState, LogAppend, LogStore } from '../ports/log-store.ts';
import {
  BASE,
  HEAD,
  PAGE_BYTES,
  PARTS,
  PART_BYTES_MAX,
  UPSERT_META,
  USER,
  checkpoint,
  damaged,
  encodeBase,
  encodeHead,
  joinParts,
  metaCrc,
  openError,
  openLogFile,
  plainBytes,
  sqliteCode,
} from './sqlite-log-file.ts';
import type { LogIdentity, OpenedLog } from './sqlite-log-file.ts';
import { LogShape } from './sqlite-log-shape.ts';
import { LogTrimmer } from './sqlite-log-trim.ts';
import type { WalCheck } from './sqlite-wal-check.ts';

/** A checkpoint is due when the WAL has about this many frames. */
const CHECKPOINT_FRAMES = 2000;
/** … and no longer waits for the event loop at this many. */
const CHECKPOINT_FRAMES_MAX = 8 * CHECKPOINT_FRAMES;
/** An append of more bytes is written a part (PART_BYTES_MAX) a turn of the event loop. */
const UNSLICED_BYTES_MAX = 8 * MiB;

/** Called where a fault may be injected; throwing there is the fault. Empty in production. */
export interface LogFailpoints {
  readonly beforeCommit?: () => void;
  readonly beforeCheckpoint?: () => void;
}

export interface SqliteLogOptions {
  readonly path: string;
  readonly identity: LogIdentity;
  /** Called once, at the first failure, before the failed append's `done`; never from inside append(). */
  readonly onFatal?: (error: OperationalError) => void;
  readonly failpoints?: LogFailpoints;
}

export interface SqliteLog extends LogStore {
  /** What the check of the WAL found at open; `torn-tail` deserves a line in the operator's log. */
  readonly walFound: WalCheck;
  /** No work is left of a cut or reset. */
  readonly isTrimmed: boolean;
}

/** An append on its way to disk. */
interface Job {
  readonly append: LogAppend;
  readonly done: (error?: Error) => void;
  /** What the head says once this is written. */
  readonly head: Uint8Array;
  /** Rows from this index on are replaced. */
  readonly replaceFrom: number | undefined;
  /** Of a reset. */
  readonly base: LogBase | undefined;
  readonly what: string;
}

/** Failpoint `log-fsync-error-after N`: the first `count` commits succeed, all later ones fail as a failed sync does. */
export function failAfterCommits(count: number): LogFailpoints {
  let left = count;
  return {
    beforeCommit: () => {
      if (left-- <= 0) throw new Error(`failpoint: log fsync error after ${count}`);
    },
  };
}

/** Opens the log after checking all of it; what it throws is said at openLogFile. Make a new one with createSqliteLog. */
export function openSqliteLog(options: SqliteLogOptions): SqliteLog {
  return new SqliteLogStore(openLogFile(options.path, options.identity), options);
}

class SqliteLogStore implements SqliteLog {
  readonly walFound: WalCheck;
  readonly #db: Database.Database;
  readonly #path: string;
  readonly #onFatal: ((error: OperationalError) => void) | undefined;
  readonly #failpoints: LogFailpoints;
  readonly #sql;
  /** Including what was handed over after a failure, like all the fields down to #meta. */
  #hardState: HardState;
  #shape: LogShape;
  readonly #meta: Map<string, Uint8Array>;
  /** Set once, by the first failure. */
  #failure: OperationalError | undefined;
  /** After a failure: entries from #unpersistedFrom on are here; the database's rows from there on are void. */
  #unpersistedFrom = Infinity;
  #unpersisted: Uint8Array[] = [];
  /** Appends that wait, and at their head the one that is being written in slices; their entries by index. */
  readonly #queue: Job[] = [];
  readonly #queued = new Map<number, Uint8Array>();
  /** About; from 0 again after a checkpoint. */
  #walFrames = 0;
  #checkpointTimer: NodeJS.Immediate | undefined;
  readonly #trimmer: LogTrimmer;
  #closed = false;

  constructor(opened: OpenedLog, options: SqliteLogOptions) {
    const { db, checked, walFound } = opened;
    const { head } = checked;
    this.#db = db;
    this.#path = options.path;
    this.#onFatal = options.onFatal;
    this.#failpoints = options.failpoints ?? {};
    this.walFound = walFound;
    this.#hardState = { term: head.term, vote: head.vote, commit: head.commit };
    this.#shape = checked.shape;
    this.#meta = new Map();
    for (const [name, value] of checked.meta) {
      if (name.startsWith(USER)) this.#meta.set(name.slice(USER.length), plainBytes(value));
    }
    this.#sql = {
      begin: db.prepare('BEGIN IMMEDIATE'),
      commit: db.prepare('COMMIT'),
      rollback: db.prepare('ROLLBACK'),
      insert: db.prepare<[number, Uint8Array]>('INSERT INTO entries(key, bytes) VALUES (?, ?)'),
      deleteFrom: db.prepare<[number]>('DELETE FROM entries WHERE key >= ?'),
      putMeta: db.prepare<[string, Uint8Array, number]>(UPSERT_META),
      lengths: db.prepare<[number, number], [number, number]>('SELECT key, length(bytes) FROM entries WHERE key >= ? AND key < ? ORDER BY key').raw(),
      read: db.prepare<[number, number], [unknown, unknown]>('SELECT key, bytes FROM entries WHERE key >= ? AND key < ? ORDER BY key').raw(),
    };
    this.#trimmer = new LogTrimmer(db, checked.shape.base.index, {
      isIdle: () => this.#failure === undefined && this.#queue.length === 0,
      wrote: (frames) => {
        this.#walFrames += frames;
        this.#maybeCheckpoint();
      },
      failed: (thrown, what) => this.#failIdle(thrown, what),
      beforeCommit: this.#failpoints.beforeCommit,
    });
  }

  get hardState(): HardState {
    return this.#hardState;
  }
  get base(): LogBase {
    return this.#shape.base;
  }
  get firstIndex(): number {
    return this.#shape.firstIndex;
  }
  get lastIndex(): number {
    return this.#shape.lastIndex;
  }
  get isTrimmed(): boolean {
    return this.#trimmer.isDone;
  }

  term(index: number): number | undefined {
    return this.#shape.term(index);
  }

  meta(name: string): Uint8Array | undefined {
    return this.#meta.get(name);
  }

  read(from: number, to: number, bytesMax: number): Uint8Array[] {
    const within = from >= this.firstIndex && from <= to && to <= this.lastIndex;
    assert(within, () => `read of [${from}, ${to}] in [${this.firstIndex}, ${this.lastIndex}]`);
    if (this.#queued.size > 0) return this.#readAmidQueue(from, to, bytesMax);
    const entries: Uint8Array[] = [];
    let bytesLeft = bytesMax;
    const toStored = Math.min(to, this.#unpersistedFrom - 1);
    if (from <= toStored) {
      const last = this.#lastThatFits(from, toStored, bytesMax);
      for (const entry of this.#readStored(from, last)) {
        entries.push(entry);
        bytesLeft -= entry.length;
      }
      if (last < toStored) return entries;
    }
    for (let i = Math.max(from, this.#unpersistedFrom); i <= to; i++) {
      const entry = this.#unpersisted[i - this.#unpersistedFrom]!;
      bytesLeft -= entry.length;
      if (bytesLeft < 0 && entries.length > 0) break;
      entries.push(entry);
    }
    return entries;
  }

  #readAmidQueue(from: number, to: number, bytesMax: number): Uint8Array[] {
    const entries: Uint8Array[] = [];
    let bytesLeft = bytesMax;
    for (let index = from; index <= to; index++) {
      const entry = this.#queued.get(index) ?? this.#readStored(index, index)[0]!;
      bytesLeft -= entry.length;
      if (bytesLeft < 0 && entries.length > 0) break;
      entries.push(entry);
    }
    return entries;
  }

  /** By lengths alone, which SQLite knows without reading the blobs. */
  #lastThatFits(from: number, to: number, bytesMax: number): number {
    if (from === to) return to;
    let bytes = 0;
    for (const [key, length] of this.#sql.lengths.iterate(from * PARTS, (to + 1) * PARTS)) {
      const index = Math.floor(key / PARTS);
      bytes += length;
      if (bytes > bytesMax && index > from) return index - 1;
    }
    return to;
  }

  #readStored(from: number, to: number): Uint8Array[] {
    const entries: Uint8Array[] = [];
    try {
      const rows = this.#sql.read.all(from * PARTS, (to + 1) * PARTS);
      for (const [index, entry] of joinParts(rows, this.#path)) {
        if (index !== from + entries.length) break;
        const fault = entryFault(entry) ?? (entryIndex(entry) === index ? undefined : `its header says index ${entryIndex(entry)}`);
        if (fault !== undefined) throw damaged(this.#path, `entry at index ${index}: ${fault}`);
        entries.push(entry);
      }
    } catch (thrown) {
      throw openError(this.#path, thrown);
    }
    if (entries.length !== to - from + 1) throw damaged(this.#path, `the entry at index ${from + entries.length} is missing`);
    return entries;
  }

  append(append: LogAppend, done: (error?: Error) => void): void {
    assert(!this.#closed, 'append to a closed log');
    this.#shape.assertFits(append.entries);
    const lastIndexBefore = this.lastIndex;
    this.#remember(append);
    const first = append.entries.length === 0 ? undefined : entryIndex(append.entries[0]!);
    const job: Job = {
      append,
      done,
      head: this.#head(),
      replaceFrom: first !== undefined && first <= lastIndexBefore ? first : undefined,
      base: undefined,
      what: first === undefined ? 'an append' : `the append of entries ${first} to ${this.lastIndex}`,
    };
    if (this.#failure === undefined && (this.#queue.length > 0 || bytesOf(append) > UNSLICED_BYTES_MAX)) {
      this.#enqueue(job);
      return;
    }
    let failedNow = false;
    if (this.#failure === undefined) {
      try {
        for (const _ of this.#write(job));
      } catch (thrown) {
        this.#fail(thrown, job.what);
        failedNow = true;
      }
    }
    const failure = this.#failure;
    if (failure !== undefined) this.#keepUnpersisted(job);
    queueMicrotask(() => {
      if (failedNow) this.#reportFatal();
      if (failure === undefined) done();
      else done(failure);
    });
  }

  cut(to: number): void {
    assert(to >= this.base.index && to <= this.lastIndex, () => `a cut up to ${to} of a log [${this.firstIndex}, ${this.lastIndex}]`);
    if (to === this.base.index) return;
    this.#shape.cut({ index: to, term: this.term(to)!, timeMs: entryTimeMs(this.read(to, to, 0)[0]!) });
    if (this.#failure === undefined) this.#trimmer.trim(this.base, false);
  }

  reset(base: LogBase, hardState: HardState, done: (error?: Error) => void, meta?: ReadonlyMap<string, Uint8Array>): void {
    assert(!this.#closed, 'reset of a closed log');
    this.#shape = new LogShape(base);
    const append: LogAppend = { entries: [], hardState, ...(meta === undefined ? {} : { meta }) };
    this.#remember(append);
    const job: Job = { append, done, head: this.#head(), replaceFrom: base.index + 1, base, what: `the start behind a snapshot at ${base.index}` };
    if (this.#failure === undefined) {
      this.#enqueue(job);
      return;
    }
    this.#keepUnpersisted(job);
    queueMicrotask(() => done(this.#failure));
  }

  cutKeeping(bytes: number): number {
    return this.#shape.cutKeeping(bytes);
  }

  #head(): Uint8Array {
    return encodeHead({ ...this.#hardState, lastIndex: this.lastIndex, lastTerm: this.#shape.lastTerm });
  }

  #enqueue(job: Job): void {
    for (const entry of job.append.entries) this.#queued.set(entryIndex(entry), entry);
    this.#queue.push(job);
    if (this.#queue.length === 1) setImmediate(() => this.#writeQueue(this.#write(job)));
  }

  /** Writes one slice of the first job, and goes on in the next turn until the queue is empty. */
  #writeQueue(slices: Iterator<void>): void {
    if (this.#closed) return;
    const job = this.#queue[0]!;
    try {
      if (slices.next().done !== true) {
        setImmediate(() => this.#writeQueue(slices));
        return;
      }
    } catch (thrown) {
      this.#fail(thrown, job.what);
      this.#failQueue();
      return;
    }
    for (const entry of job.append.entries) {
      if (this.#queued.get(entryIndex(entry)) === entry) this.#queued.delete(entryIndex(entry));
    }
    // Off the queue only after `done`: what that appends goes behind the rest.
    job.done();
    this.#queue.shift();
    const next = this.#queue[0];
    if (next !== undefined) setImmediate(() => this.#writeQueue(this.#write(next)));
    else if (!this.#closed) this.#checkpointTimer ??= setImmediate(() => this.#checkpointLater());
  }

  #failQueue(): void {
    const failure = this.#failure;
    const jobs = this.#queue.splice(0);
    this.#queued.clear();
    for (const job of jobs) this.#keepUnpersisted(job);
    this.#reportFatal();
    for (const job of jobs) job.done(failure);
  }

  /** The append as reads will see it. */
  #remember(append: LogAppend): void {
    if (append.hardState !== undefined) this.#hardState = append.hardState;
    for (const [name, value] of append.meta ?? []) this.#meta.set(name, copyBytes(value));
    for (const entry of append.entries) this.#shape.appended(entry);
  }

  /** One transaction; yields between its parts. */
  *#write(job: Job): Generator<void, void> {
    const sql = this.#sql;
    const { append } = job;
    let frames = 3;
    sql.begin.run();
    if (job.replaceFrom !== undefined) sql.deleteFrom.run(job.replaceFrom * PARTS);
    let sliceBytes = 0;
    for (const entry of append.entries) {
      const key = entryIndex(entry) * PARTS;
      for (let part = 0; part * PART_BYTES_MAX < entry.length; part++) {
        const bytes = entry.subarray(part * PART_BYTES_MAX, (part + 1) * PART_BYTES_MAX);
        if (sliceBytes + bytes.length > UNSLICED_BYTES_MAX) {
          yield;
          sliceBytes = 0;
        }
        sliceBytes += bytes.length;
        sql.insert.run(key + part, bytes);
      }
      frames += entry.length / PAGE_BYTES;
    }
    if (bytesOf(append) > UNSLICED_BYTES_MAX) yield;
    sql.putMeta.run(HEAD, job.head, metaCrc(HEAD, job.head));
    if (job.base !== undefined) {
      const base = encodeBase(job.base);
      sql.putMeta.run(BASE, base, metaCrc(BASE, base));
    }
    for (const [name, value] of append.meta ?? []) sql.putMeta.run(USER + name, value, metaCrc(USER + name, value));
    this.#failpoints.beforeCommit?.();
    sql.commit.run();
    if (job.base !== undefined) this.#trimmer.trim(this.base, this.base.index === job.base.index);
    this.#walFrames += frames;
    this.#maybeCheckpoint();
  }

  #maybeCheckpoint(): void {
    if (this.#queue.length > 0) return;
    // After `done`, so that the append that fills the WAL does not wait for it; at once if the event loop does not turn.
    if (this.#walFrames >= CHECKPOINT_FRAMES_MAX && this.#checkpointTimer !== undefined) this.#checkpoint();
    else if (this.#walFrames >= CHECKPOINT_FRAMES) this.#checkpointTimer ??= setImmediate(() => this.#checkpointLater());
  }

  #checkpointLater(): void {
    this.#checkpointTimer = undefined;
    if (this.#closed || this.#failure !== undefined || this.#walFrames < CHECKPOINT_FRAMES || this.#queue.length > 0) return;
    try {
      this.#checkpoint();
    } catch (thrown) {
      this.#failIdle(thrown, 'a checkpoint');
    }
  }

  /** While no append waits: everything that was handed over is persisted. */
  #failIdle(thrown: unknown, what: string): void {
    this.#fail(thrown, what);
    this.#unpersistedFrom = this.lastIndex + 1;
    this.#reportFatal();
  }

  #checkpoint(): void {
    this.#failpoints.beforeCheckpoint?.();
    checkpoint(this.#db);
    this.#walFrames = 0;
  }

  #fail(thrown: unknown, what: string): void {
    const code = sqliteCode(thrown);
    const failed = `${this.#path}: ${what} failed: ${errorText(thrown)}${code === '' ? '' : ` (${code})`}`;
    const text = `${failed}. This node acknowledges nothing more; mend the disk or free space on it, then restart`;
    this.#failure = new OperationalError('LOG_WRITE', text, { cause: thrown });
    try {
      if (this.#db.inTransaction) this.#sql.rollback.run();
    } catch {
      // The transaction stays open, unseen by any later open; reads of it are cut off by #unpersistedFrom.
    }
  }

  #reportFatal(): void {
    if (this.#failure !== undefined) this.#onFatal?.(this.#failure);
  }

  #keepUnpersisted({ append: { entries }, base }: Job): void {
    const first = base !== undefined ? base.index + 1 : entries.length === 0 ? this.lastIndex + 1 : entryIndex(entries[0]!);
    if (base !== undefined || first <= this.#unpersistedFrom) {
      this.#unpersistedFrom = first;
      this.#unpersisted = [...entries];
    } else {
      this.#unpersisted.length = first - this.#unpersistedFrom;
      for (const entry of entries) this.#unpersisted.push(entry);
    }
  }

  sizeBytes(): number {
    let bytes = 0;
    for (const path of [this.#path, `${this.#path}-wal`]) bytes += fs.statSync(path, { throwIfNoEntry: false })?.size ?? 0;
    return bytes;
  }

  /** SQLite then writes the WAL into the database and removes it, also after a failure: what it holds was synced before. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#checkpointTimer !== undefined) clearImmediate(this.#checkpointTimer);
    this.#trimmer.close();
    this.#db.close();
  }
}

function bytesOf(append: LogAppend): number {
  let bytes = 0;
  for (const entry of append.entries) bytes += entry.length;
  return bytes;
}
