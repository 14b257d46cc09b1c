// The log store in segments of its own format (port: src/ports/log-store.ts; why not SQLite: docs/decisions/0008). Owns the
// directory log/ while it is open. Formats are wal-frame.ts's and wal-segment.ts's, the checks at open wal-recovery.ts's,
// the segment that comes next and those that go segment-stock.ts's.
//
// What must hold:
// - An append is one frame, written behind the last and synced before it is reported; the next one is begun after that.
// - After the first failure of a write or a sync nothing is written or reported persisted again. Appends handed over after
//   that stay readable from memory until the process ends.
// - A segment is sealed, and the seal synced, before the next one gets its first frame, which says all that the log knows: hard
//   state, base and named values. So the segments before it may go once their entries are cut.
// - A cut's base is synced before a segment goes for it, and the oldest goes first.
//
// An append holds its thread for one write past the page cache (wal-direct.ts), or a write and an fdatasync where that is not to
// be had. The consensus driver sends to its peers before it appends, so their syncs run beside ours. `done` comes as a microtask:
// after append() and its caller have returned, before any other event, in order, and without the turn of the event loop that
// setImmediate would cost. A big append goes to the thread pool in slices instead, each synced, so that heartbeats pass between;
// what comes behind it queues, and what is queued is read from memory.
import * as fs from 'node:fs';
import { assert } from '../base/assert.ts';
import { copyBytes } from '../base/bytes.ts';
import { ENTRY_HEADER_BYTES, entryFault, entryIndex, entryRecordBytes, entryTimeMs } from '../base/entry.ts';
import { OperationalError, errorText } from '../base/errors.ts';
import { ENTRY_BYTES_MAX, KiB, MiB } from '../base/limits.ts';
import { LOG_START, type LogBase } from '../base/log-base.ts';
import { LogShape } from '../base/log-shape.ts';
import type { HardState, LogAppend, LogStore } from '../ports/log-store.ts';
import { DIRECT_BLOCK_BYTES, DirectWriter } from './wal-direct.ts';
import type { EntryPlace, EntryPlaces } from './entry-places.ts';
import { SegmentReader } from './segment-reader.ts';
import { SegmentStock } from './segment-stock.ts';
import { FRAME_HEADER_BYTES, FrameFlag, NO_VALUES, aligned, bareFrame, headBytesOf, writeHead } from './wal-frame.ts';
import type { FrameState } from './wal-frame.ts';
import { recoverLog } from './wal-recovery.ts';
import type { RecoveredLog } from './wal-recovery.ts';
import { SEGMENT_HEADER_BYTES, createLogDirectory, damaged, openError, writeAll } from './wal-segment.ts';
import type { LogIdentity, Segment } from './wal-segment.ts';

const SEGMENT_BYTES = 16 * MiB;
/** Of the first segment of a log, which is made at once. */
const FIRST_SEGMENT_BYTES = 1 * MiB;
/** An append of more bytes goes to the thread pool, a slice at a time. */
const UNSLICED_BYTES_MAX = 8 * MiB;
const SLICE_BYTES = 4 * MiB;
const READ_BYTES = 256 * KiB;

/** Called where a fault may be injected; throwing there is the fault. Empty in production. */
export interface LogFailpoints {
  readonly beforeSync?: () => void;
}

export interface WalLogOptions {
  /** The directory. */
  readonly path: string;
  readonly identity: LogIdentity;
  /** Called once, at the first failure, before the failed append's `done`; never from inside append(). */
  readonly onFatal?: (error: OperationalError) => void;
  /** Called when a segment cannot be made ahead or removed: nothing is lost, and it is tried again. */
  readonly onTrouble?: (text: string) => void;
  readonly failpoints?: LogFailpoints;
  readonly segmentBytes?: number;
}

export interface WalLog extends LogStore {
  /** What was torn at the end of the log and is wiped; it deserves a line in the operator's log. */
  readonly tornTail: string | undefined;
  /** No work is left of a cut or reset. */
  readonly isTrimmed: boolean;
}

/** An append on its way to disk. */
interface Job {
  readonly entries: readonly Uint8Array[];
  readonly values: ReadonlyMap<string, Uint8Array>;
  readonly flags: number;
  readonly done: (error?: Error) => void;
  /** What the log is once this is written. */
  readonly state: FrameState;
  readonly what: string;
}

/** Failpoint `log-fsync-error-after N`: the first `count` appends succeed, all later ones fail as a failed sync does. */
export function failAfterSyncs(count: number): LogFailpoints {
  let left = count;
  return {
    beforeSync: () => {
      if (left-- <= 0) throw new Error(`failpoint: log fsync error after ${count}`);
    },
  };
}

/** Makes an empty log in the new directory `path` that begins behind `base`, whole or not at all, durable on return. */
export function createWalLog(path: string, identity: LogIdentity, base: LogBase = LOG_START): void {
  createLogDirectory(path, identity, FIRST_SEGMENT_BYTES, (first) => {
    const hardState = { term: base.term, vote: 0, commit: base.index };
    const state = { hardState, lastIndex: base.index, lastTerm: base.term, base };
    writeAll(first.fd, bareFrame(first.salt, 1, FrameFlag.complete, state), first.end);
  });
}

/** Opens the log after checking all of it; what it throws is said at recoverLog. Make a new one with createWalLog. */
export function openWalLog(options: WalLogOptions): WalLog {
  return new SegmentedLog(recoverLog(options.path, options.identity), options);
}

class SegmentedLog implements WalLog {
  readonly tornTail: string | undefined;
  readonly #path: string;
  readonly #onFatal: ((error: OperationalError) => void) | undefined;
  readonly #failpoints: LogFailpoints;
  readonly #stock: SegmentStock;
  /** Including what was handed over after a failure, like all the fields down to #values. */
  #hardState: HardState;
  #shape: LogShape;
  readonly #values: Map<string, Uint8Array>;
  /** The segment that is written, and what the segments hold: up to the last frame, not what waits. */
  #active: Segment;
  readonly #places: EntryPlaces;
  #frameNumber: number;
  #written: FrameState;
  readonly #writtenValues: Map<string, Uint8Array>;
  /** Set once, by the first failure. */
  #failure: OperationalError | undefined;
  /** Appends that wait, and at their head the one that is being written in slices. */
  readonly #queue: Job[] = [];
  /** Entries that were handed over and are not on disk (yet, or after a failure ever), by index. */
  readonly #pending = new Map<number, Uint8Array>();
  #head = new Uint8Array(4 * KiB);
  /** Undefined where the file system has no such thing. */
  readonly #direct: DirectWriter | undefined;
  #closed = false;

  constructor(found: RecoveredLog, options: WalLogOptions) {
    this.tornTail = found.tornTail;
    this.#path = options.path;
    this.#onFatal = options.onFatal;
    this.#failpoints = options.failpoints ?? {};
    this.#hardState = found.state.hardState;
    this.#shape = found.shape;
    this.#values = found.values;
    this.#active = found.segments.at(-1)!;
    this.#places = found.places;
    this.#frameNumber = found.frameNumber;
    this.#written = found.state;
    this.#writtenValues = new Map(found.values);
    this.#direct = DirectWriter.open(this.#active.path);
    this.#stock = new SegmentStock(options, options.segmentBytes ?? SEGMENT_BYTES, found.segments, found.prepared);
    this.#trim();
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
    return this.#stock.isTrimmed;
  }

  term(index: number): number | undefined {
    return this.#shape.term(index);
  }

  meta(name: string): Uint8Array | undefined {
    return this.#values.get(name);
  }

  read(from: number, to: number, bytesMax: number): Uint8Array[] {
    const within = from >= this.firstIndex && from <= to && to <= this.lastIndex;
    assert(within, () => `read of [${from}, ${to}] in [${this.firstIndex}, ${this.lastIndex}]`);
    const entries: Uint8Array[] = [];
    let bytes = 0;
    const reader = new SegmentReader(from === to ? ENTRY_HEADER_BYTES : Math.min(bytesMax, READ_BYTES));
    for (let index = from; index <= to; index++) {
      const bytesLeft = entries.length === 0 ? ENTRY_BYTES_MAX : bytesMax - bytes;
      const entry = this.#pending.get(index) ?? readEntry(reader, this.#places.find(index), index, bytesLeft);
      if (entry === undefined || entry.length > bytesLeft) break;
      bytes += entry.length;
      entries.push(entry);
    }
    return entries;
  }

  append(append: LogAppend, done: (error?: Error) => void): void {
    assert(!this.#closed, 'append to a closed log');
    const { entries } = append;
    this.#shape.assertFits(entries);
    if (append.hardState !== undefined) this.#hardState = append.hardState;
    const values = this.#remember(append.meta);
    for (const entry of entries) this.#shape.appended(entry);
    const what = entries.length === 0 ? 'an append' : `the append of entries ${entryIndex(entries[0]!)} to ${this.lastIndex}`;
    this.#take({ entries, values, flags: 0, done, state: this.#state(), what });
  }

  cut(to: number): void {
    assert(to >= this.base.index && to <= this.lastIndex, () => `a cut up to ${to} of a log [${this.firstIndex}, ${this.lastIndex}]`);
    if (to === this.base.index) return;
    this.#shape.cut({ index: to, term: this.term(to)!, timeMs: entryTimeMs(this.read(to, to, 0)[0]!) });
    // Once the frame that says so is synced, segments may go.
    this.#take({ entries: [], values: NO_VALUES, flags: 0, done: () => undefined, state: this.#state(), what: `a cut up to ${to}` });
  }

  reset(base: LogBase, hardState: HardState, done: (error?: Error) => void, meta?: ReadonlyMap<string, Uint8Array>): void {
    assert(!this.#closed, 'reset of a closed log');
    this.#hardState = hardState;
    this.#shape = new LogShape(base);
    const what = `the start behind a snapshot at ${base.index}`;
    this.#take({ entries: [], values: this.#remember(meta), flags: FrameFlag.emptied, done, state: this.#state(), what });
  }

  cutKeeping(bytes: number): number {
    return this.#shape.cutKeeping(bytes);
  }

  behind(index: number): number {
    return this.#shape.behind(index);
  }

  #remember(meta: ReadonlyMap<string, Uint8Array> | undefined): ReadonlyMap<string, Uint8Array> {
    if (meta === undefined) return NO_VALUES;
    const values = new Map<string, Uint8Array>();
    for (const [name, value] of meta) values.set(name, copyBytes(value));
    for (const [name, value] of values) this.#values.set(name, value);
    return values;
  }

  #state(): FrameState {
    return { hardState: this.#hardState, lastIndex: this.lastIndex, lastTerm: this.#shape.lastTerm, base: this.base };
  }

  /** Writes the job now if it is small and none waits, else queues it. */
  #take(job: Job): void {
    if (this.#failure === undefined && (this.#queue.length > 0 || bytesOf(job.entries) > UNSLICED_BYTES_MAX)) {
      this.#keepPending(job);
      this.#queue.push(job);
      if (this.#queue.length === 1) void this.#writeQueue();
      return;
    }
    let failedNow = false;
    if (this.#failure === undefined) {
      try {
        this.#write(job);
      } catch (thrown) {
        this.#fail(thrown, job.what);
        failedNow = true;
      }
    }
    const failure = this.#failure;
    if (failure !== undefined) this.#keepPending(job);
    queueMicrotask(() => {
      if (failedNow) this.#reportFatal();
      job.done(failure);
    });
  }

  #keepPending({ entries }: Job): void {
    for (const entry of entries) this.#pending.set(entryIndex(entry), entry);
  }

  /** One frame, synced. */
  #write(job: Job): void {
    const { at, head } = this.#begin(job);
    const { fd, path } = this.#active;
    const buffers = [head, ...job.entries];
    const bytes = head.length + bytesOf(job.entries);
    // Within the file only: to make it longer is for the system's own cache.
    const fits = at + bytes + DIRECT_BLOCK_BYTES <= this.#active.bytes;
    const isDone = fits && this.#direct?.write(path, buffers, at, aligned(at + bytes)) === true;
    if (!isDone) {
      const written = fs.writevSync(fd, buffers, at);
      if (written < bytes) writeAll(fd, Buffer.concat(buffers).subarray(written), at + written);
    }
    this.#failpoints.beforeSync?.();
    if (!isDone) fs.fdatasyncSync(fd);
    this.#wrote(job, at + head.length, at + bytes);
  }

  /** The frame of a big job, in slices that the thread pool writes and syncs. */
  async #writeSlowly(job: Job): Promise<void> {
    const { at, head } = this.#begin(job);
    const { fd } = this.#active;
    let end = at;
    for (const buffer of [copyBytes(head), ...job.entries]) {
      for (let start = 0; start < buffer.length; ) {
        const slice = buffer.subarray(start, start + SLICE_BYTES);
        const written = await onPool<number>((done) => fs.write(fd, slice, 0, slice.length, end, done));
        start += written;
        end += written;
        if (slice.length === SLICE_BYTES) await onPool<void>((done) => fs.fdatasync(fd, done));
      }
    }
    this.#failpoints.beforeSync?.();
    await onPool<void>((done) => fs.fdatasync(fd, done));
    this.#wrote(job, at + head.length, end);
  }

  /** Makes room in the active segment, and the head of the frame, valid until the next job. */
  #begin(job: Job): { readonly at: number; readonly head: Uint8Array } {
    const bodyBytes = bytesOf(job.entries);
    const roomFor = (headBytes: number): boolean =>
      this.#active.end + aligned(headBytes + bodyBytes) + FRAME_HEADER_BYTES <= this.#active.bytes || this.#active.end === SEGMENT_HEADER_BYTES;
    if (!roomFor(headBytesOf(job.entries.length, job.values))) this.#roll();
    const isFirst = this.#active.end === SEGMENT_HEADER_BYTES;
    const values = isFirst ? new Map([...this.#writtenValues, ...job.values]) : job.values;
    const headBytes = headBytesOf(job.entries.length, values);
    if (headBytes > this.#head.length) this.#head = new Uint8Array(2 * headBytes);
    const head = this.#head.subarray(0, headBytes);
    const flags = job.flags | (isFirst ? FrameFlag.complete : 0);
    writeHead(head, this.#active.salt, this.#frameNumber + 1, flags, job.state, job.entries, values);
    return { at: this.#active.end, head };
  }

  /** Seals the active segment, and goes on in the next. */
  #roll(): void {
    const next = this.#stock.next();
    const { salt, fd, end } = this.#active;
    writeAll(fd, bareFrame(salt, this.#frameNumber + 1, FrameFlag.seal, this.#written), end);
    fs.fdatasyncSync(fd);
    this.#frameNumber++;
    this.#active = next;
  }

  #wrote(job: Job, bodyAt: number, end: number): void {
    const active = this.#active;
    this.#frameNumber++;
    this.#written = job.state;
    for (const [name, value] of job.values) this.#writtenValues.set(name, value);
    active.end = aligned(end);
    active.bytes = Math.max(active.bytes, active.end);
    if ((job.flags & FrameFlag.emptied) !== 0) this.#places.clear();
    let offset = bodyAt;
    for (const entry of job.entries) {
      this.#places.add(entryIndex(entry), active, offset);
      offset += entry.length;
    }
    this.#stock.used(active);
    this.#trim();
  }

  /** Lets the segments go that hold nothing behind the base. */
  #trim(): void {
    for (let oldest = this.#stock.oldest; oldest !== this.#active; oldest = this.#stock.oldest) {
      const last = this.#places.lastIn(oldest);
      if (last !== undefined && last > this.#written.base.index) return;
      this.#places.drop(oldest);
      this.#stock.removeOldest();
    }
  }

  async #writeQueue(): Promise<void> {
    for (let job = this.#queue[0]; job !== undefined; job = this.#queue[0]) {
      try {
        await this.#writeSlowly(job);
      } catch (thrown) {
        this.#fail(thrown, job.what);
        break;
      }
      if (this.#closed) break;
      for (const entry of job.entries) {
        if (this.#pending.get(entryIndex(entry)) === entry) this.#pending.delete(entryIndex(entry));
      }
      // Off the queue only after `done`: what that appends goes behind the rest.
      job.done();
      this.#queue.shift();
    }
    const jobs = this.#queue.splice(0);
    if (this.#closed) {
      this.#stock.close();
      return;
    }
    if (this.#failure === undefined) return;
    this.#reportFatal();
    for (const job of jobs) job.done(this.#failure);
  }

  #fail(thrown: unknown, what: string): void {
    const text = `${this.#path}: ${what} failed: ${errorText(thrown)}. This node acknowledges nothing more; mend the disk or free space on it, then restart`;
    this.#failure = new OperationalError('LOG_WRITE', text, { cause: thrown });
  }

  #reportFatal(): void {
    if (this.#failure !== undefined) this.#onFatal?.(this.#failure);
  }

  sizeBytes(): number {
    return this.#stock.sizeBytes();
  }

  /** What is being written in slices ends first; its `done` is not called. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#direct?.close();
    if (this.#queue.length === 0) this.#stock.close();
  }
}

/** The entry at `index` in a buffer of its own, checked; undefined, and not read, if it is longer than `bytesMax`. */
function readEntry(reader: SegmentReader, { segment, offset }: EntryPlace, index: number, bytesMax: number): Uint8Array | undefined {
  const whole = (bytes: Uint8Array, length: number): Uint8Array => {
    if (bytes.length < length) throw damaged(segment.path, `it ends at byte ${offset + bytes.length}`);
    return bytes;
  };
  try {
    const length = ENTRY_HEADER_BYTES + entryRecordBytes(whole(reader.peek(segment, offset, ENTRY_HEADER_BYTES), ENTRY_HEADER_BYTES));
    if (length > ENTRY_BYTES_MAX) throw damaged(segment.path, `entry at index ${index}: its header says ${length} bytes`);
    if (length > bytesMax) return undefined;
    const entry = copyBytes(whole(reader.bytes(segment, offset, length), length));
    const fault = entryFault(entry) ?? (entryIndex(entry) === index ? undefined : `its header says index ${entryIndex(entry)}`);
    if (fault !== undefined) throw damaged(segment.path, `entry at index ${index}: ${fault}`);
    return entry;
  } catch (thrown) {
    throw openError(segment.path, thrown);
  }
}

function onPool<T>(start: (done: (error: Error | null, result?: T) => void) => void): Promise<T> {
  return new Promise((resolve, reject) => start((error, result) => (error === null ? resolve(result as T) : reject(error))));
}

function bytesOf(entries: readonly Uint8Array[]): number {
  let bytes = 0;
  for (const entry of entries) bytes += entry.length;
  return bytes;
}
