// Takes what a cut left behind out of log.db: writes the new base, deletes the entries before it, and gives pages of the
// file back. A little at a time: along with appends, in their transactions, so that it costs no sync of its own while there is
// anybody to hold up; in transactions of its own where no append has come for a while, and for rows too big to go along.
//
// What must hold:
// - The base is on disk before the first entry behind the old one goes, or with it: whatever moment a crash comes at, the
//   entries from the base on disk on are whole (sqlite-log-file.ts says what is checked at open). What is left of a trim goes
//   on then.
// - Each slice of its own is a synced transaction like an append: two unsynced ones in a row could look like damage after a crash.
import type Database from 'better-sqlite3';
import { MiB } from '../base/limits.ts';
import type { LogBase } from '../base/log-base.ts';
import { BASE, PAGE_BYTES, PARTS, UPSERT_META, encodeBase, metaCrc } from './sqlite-log-file.ts';

/** An append waits for this much at most, a big row apart. */
const RIDE_MS = 0.3;
/** A slice of its own works for so long, and then syncs. */
const SLICE_MS = 1;
/** Pause behind either, in units of how long it took: trimming takes a tenth of the thread at most. */
const PAUSE_FACTOR = 9;
const PAUSE_MS_MIN = 1;
/** Where no append came for so long, nobody is held up. */
const QUIET_MS = 50;
/** Rows that are deleted, or pages that are moved, before the clock is looked at again. */
const ROWS_MAX = 64;
const DELETE_BYTES = MiB / 8;
const VACUUM_PAGES = 8;
/** Longer rows do not go along with an append. */
const RIDE_ROW_BYTES_MAX = MiB;
/** Free pages that the file keeps, for the next entries. */
const FREE_PAGES_KEPT = (16 * MiB) / PAGE_BYTES;

export interface TrimHost {
  /** Nothing has failed, and no append is waiting or being written. */
  isIdle(): boolean;
  /** About so many frames went to the WAL. */
  wrote(frames: number): void;
  /** Nothing is written any more. */
  failed(thrown: unknown, what: string): void;
  readonly beforeCommit: (() => void) | undefined;
}

export class LogTrimmer {
  readonly #db: Database.Database;
  readonly #host: TrimHost;
  readonly #sql;
  /** To be written; undefined when it is on disk. */
  #base: LogBase | undefined;
  /** Entries up to here go. */
  #to: number;
  #deleted = false;
  /** A row is next that is too big to go along with an append. */
  #bigRow = false;
  #appendedMs = -Infinity;
  #nextMs = 0;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  /** `baseIndex`: on disk now. What an earlier process left is looked for. */
  constructor(db: Database.Database, baseIndex: number, host: TrimHost) {
    this.#db = db;
    this.#host = host;
    this.#to = baseIndex;
    this.#sql = {
      begin: db.prepare('BEGIN IMMEDIATE'),
      commit: db.prepare('COMMIT'),
      putMeta: db.prepare<[string, Uint8Array, number]>(UPSERT_META),
      lengths: db.prepare<[number], [number, number]>(`SELECT key, length(bytes) FROM entries WHERE key < ? ORDER BY key LIMIT ${ROWS_MAX}`).raw(),
      deleteTo: db.prepare<[number]>('DELETE FROM entries WHERE key <= ?'),
      freePages: db.prepare<[], number>('PRAGMA freelist_count').pluck(),
    };
    this.#schedule(QUIET_MS);
  }

  /** The log begins behind `base` now; writing that is this file's to do, unless it is written. */
  trim(base: LogBase, isWritten: boolean): void {
    this.#base = isWritten ? undefined : base;
    this.#to = base.index;
    this.#deleted = false;
    if (this.#timer === undefined) this.#schedule(PAUSE_MS_MIN);
  }

  /** True when there is nothing more to do: for tests. */
  get isDone(): boolean {
    return this.#timer === undefined;
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #schedule(delayMs: number): void {
    if (this.#closed) return;
    this.#timer = setTimeout(() => this.#step(), delayMs);
    this.#timer.unref();
  }

  /** In the transaction of an append that is not synced yet: does a little, and says about how many frames it wrote. */
  ride(): number {
    const startedMs = performance.now();
    this.#appendedMs = startedMs;
    if (this.#timer === undefined || this.#bigRow || startedMs < this.#nextMs) return 0;
    const frames = this.#work(RIDE_MS, RIDE_ROW_BYTES_MAX);
    this.#pause(startedMs);
    return frames;
  }

  #step(): void {
    this.#timer = undefined;
    if (this.#closed || !this.#hasWork()) return;
    const startedMs = performance.now();
    const isQuiet = startedMs - this.#appendedMs >= QUIET_MS || this.#bigRow;
    if (!isQuiet || !this.#host.isIdle()) {
      this.#schedule(QUIET_MS);
      return;
    }
    try {
      this.#sql.begin.run();
      const frames = this.#work(SLICE_MS, Infinity);
      this.#host.beforeCommit?.();
      this.#sql.commit.run();
      this.#host.wrote(frames);
    } catch (thrown) {
      this.#host.failed(thrown, 'making room in the log');
      return;
    }
    this.#pause(startedMs);
    this.#schedule(Math.max(PAUSE_MS_MIN, this.#nextMs - performance.now()));
  }

  #pause(startedMs: number): void {
    const endedMs = performance.now();
    this.#nextMs = endedMs + PAUSE_FACTOR * (endedMs - startedMs);
  }

  #hasWork(): boolean {
    return this.#base !== undefined || !this.#deleted || this.#excessPages() > 0;
  }

  #excessPages(): number {
    return (this.#sql.freePages.get() ?? 0) - FREE_PAGES_KEPT;
  }

  /** For about so long, or until nothing is left or a row is next that is too big; about how many frames that wrote. */
  #work(ms: number, rowBytesMax: number): number {
    const untilMs = performance.now() + ms;
    let frames = 0;
    do {
      const done = this.#workOnce(rowBytesMax);
      if (done === 0) return frames;
      frames += done;
    } while (performance.now() < untilMs);
    return frames;
  }

  #workOnce(rowBytesMax: number): number {
    if (this.#base !== undefined) {
      const bytes = encodeBase(this.#base);
      this.#sql.putMeta.run(BASE, bytes, metaCrc(BASE, bytes));
      this.#base = undefined;
      return 2;
    }
    if (!this.#deleted) return this.#deleteSome(rowBytesMax);
    const pages = Math.min(VACUUM_PAGES, this.#excessPages());
    if (pages <= 0) return 0;
    // Pages at the end of the file are moved into free ones before them, or cut off.
    this.#db.pragma(`incremental_vacuum(${pages})`);
    return 2 * pages;
  }

  #deleteSome(rowBytesMax: number): number {
    let bytes = 0;
    let last: number | undefined;
    this.#bigRow = false;
    for (const [key, length] of this.#sql.lengths.iterate((this.#to + 1) * PARTS)) {
      if (last !== undefined && bytes + length > DELETE_BYTES) break;
      if (length > rowBytesMax) {
        this.#bigRow = true;
        return 0;
      }
      last = key;
      bytes += length;
    }
    if (last === undefined) {
      this.#deleted = true;
      return 1;
    }
    this.#sql.deleteTo.run(last);
    return 4 + bytes / PAGE_BYTES / 64;
  }
}
