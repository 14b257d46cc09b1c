// Takes what a cut left behind out of log.db: writes the new base, deletes the entries before it, and gives pages of the
// file back. Works beside the appends, on the same connection and thread, in transactions of about SLICE_MS each with
// pauses between them, and only while no append waits.
//
// What must hold:
// - The base is on disk before the first entry behind the old one goes: whatever moment a crash comes at, the entries from
//   the base on disk on are whole (sqlite-log-file.ts says what is checked at open). What is left of a trim goes on then.
// - Each slice is a synced transaction like an append: two unsynced ones in a row could look like damage after a crash.
import type Database from 'better-sqlite3';
import { MiB } from '../base/limits.ts';
import type { LogBase } from '../base/log-base.ts';
import { BASE, PAGE_BYTES, PARTS, UPSERT_META, encodeBase, metaCrc } from './sqlite-log-file.ts';

/** A slice aims at this long. */
const SLICE_MS = 2;
/** Pause behind a slice, in units of how long it took: trimming takes a fifth of the thread at most. */
const PAUSE_FACTOR = 4;
const PAUSE_MS_MIN = 1;
/** Looked at again this much later where an append is under way. */
const BUSY_MS = 5;
const ROWS_MAX = 512;
const DELETE_BYTES_MIN = MiB / 4;
const DELETE_BYTES_MAX = 32 * MiB;
const VACUUM_PAGES_MIN = 8;
const VACUUM_PAGES_MAX = 1024;
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
  #deleteBytes = MiB;
  #vacuumPages = 64;
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
    this.#schedule(BUSY_MS);
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

  #step(): void {
    this.#timer = undefined;
    if (this.#closed) return;
    if (!this.#host.isIdle()) {
      this.#schedule(BUSY_MS);
      return;
    }
    const startedMs = performance.now();
    let goesOn: boolean;
    try {
      goesOn = this.#slice();
    } catch (thrown) {
      this.#host.failed(thrown, 'making room in the log');
      return;
    }
    if (goesOn) this.#schedule(Math.max(PAUSE_MS_MIN, PAUSE_FACTOR * (performance.now() - startedMs)));
  }

  /** False when nothing is left to do. */
  #slice(): boolean {
    if (this.#base !== undefined) {
      const base = this.#base;
      this.#transaction(() => {
        const bytes = encodeBase(base);
        this.#sql.putMeta.run(BASE, bytes, metaCrc(BASE, bytes));
        return 2;
      });
      this.#base = undefined;
      return true;
    }
    if (!this.#deleted) {
      this.#deleteSome();
      return true;
    }
    const excess = (this.#sql.freePages.get() ?? 0) - FREE_PAGES_KEPT;
    if (excess <= 0) return false;
    this.#vacuum(Math.min(excess, this.#vacuumPages));
    return true;
  }

  #deleteSome(): void {
    const below = (this.#to + 1) * PARTS;
    let bytes = 0;
    let last: number | undefined;
    for (const [key, length] of this.#sql.lengths.iterate(below)) {
      if (last !== undefined && bytes + length > this.#deleteBytes) break;
      last = key;
      bytes += length;
    }
    if (last === undefined) {
      this.#deleted = true;
      return;
    }
    const upTo = last;
    const tookMs = this.#transaction(() => {
      this.#sql.deleteTo.run(upTo);
      return 8 + bytes / PAGE_BYTES / 64;
    });
    this.#deleteBytes = adapted(this.#deleteBytes, tookMs, DELETE_BYTES_MIN, DELETE_BYTES_MAX);
  }

  /** Pages at the end of the file are moved into free ones before them, or cut off. */
  #vacuum(pages: number): void {
    const tookMs = this.#transaction(() => {
      this.#db.pragma(`incremental_vacuum(${pages})`);
      return 2 * pages;
    });
    this.#vacuumPages = adapted(this.#vacuumPages, tookMs, VACUUM_PAGES_MIN, VACUUM_PAGES_MAX);
  }

  /** How long it took, its sync included, ms. `work` says about how many frames it writes. */
  #transaction(work: () => number): number {
    const startedMs = performance.now();
    this.#sql.begin.run();
    const frames = work();
    this.#host.beforeCommit?.();
    this.#sql.commit.run();
    const tookMs = performance.now() - startedMs;
    this.#host.wrote(frames);
    return tookMs;
  }
}

function adapted(size: number, tookMs: number, min: number, max: number): number {
  if (tookMs > 1.5 * SLICE_MS) return Math.max(min, Math.floor(size / 2));
  return tookMs < SLICE_MS / 2 ? Math.min(max, size * 2) : size;
}
