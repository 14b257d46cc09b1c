// The log store on SQLite: owns log.db and its WAL, nothing else touches them. Port: src/ports/log-store.ts.
//
// Format 1 (user_version 1, application_id 'HOLD', WAL, 4096-byte pages, auto_vacuum=INCREMENTAL):
//   entries(idx INTEGER PRIMARY KEY, bytes BLOB)         a sealed entry under the index in its header, no gaps
//   meta(name TEXT PRIMARY KEY, value BLOB, crc INTEGER) WITHOUT ROWID; crc is CRC-32C of UTF-8 name and value
//     log:head      term, vote, commit, last index, last term: five whole numbers < 2^53, 8 bytes each, low word first
//     log:identity  JSON {clusterId, incarnation}: must equal identity.json's
//     log:session   'open' while a process has the log, 'closed' after a clean end, when SQLite removes the WAL
//     user:NAME     LogAppend.meta
// Valid: the WAL is not damaged (sqlite-wal-check.ts), the constants of the database header hold, the schema is
// letter for letter ours, quick_check passes, every CRC matches, indexes have no gaps, terms never fall, and log:head
// names the last entry. log:head stands on another page than the entries and every append writes it, so a lost page
// write shows, and so does a lost transaction in the middle of the WAL.
//
// Torn tail or damage: a crash may tear the last transaction of the WAL; it was never reported persisted, and SQLite
// drops it. Anything else that does not verify is damage: it is reported as LOG_DAMAGED and nothing is cut, for this
// node may have acknowledged what stands behind. A missing WAL under an 'open' session is damage too. The caller
// decides: data-dir.ts sets a damaged log aside and the node rejoins without a vote.
//
// What must hold:
// - An append is one transaction, synced (synchronous=FULL, read back) before it is reported.
// - After the first failure of a write, a commit, a sync or a checkpoint nothing is written or reported persisted
//   again. Appends handed over after that stay readable from memory until the process ends.
// - SQLite's own checkpoints are off, because it ignores their errors; ours run between two turns of the event loop.
// - At open, after all checks, the WAL is written into the database, synced and truncated before anything new: so
//   nothing read from a page cache after a failed sync counts as durable, and no frames of a torn transaction remain.
//
// better-sqlite3 is synchronous: an append holds its thread for about 0.1 ms. The consensus driver sends to its peers
// before it appends, so their syncs run beside ours. `done` comes as a microtask: after append() and its caller have
// returned, before any other event, in order, and without the turn of the event loop that setImmediate would cost.
import * as fs from 'node:fs';
import { dirname, resolve } from 'node:path';
import Database from 'better-sqlite3';
import { assert } from '../base/assert.ts';
import { crc32c } from '../base/crc32c.ts';
import { ENTRY_HEADER_BYTES, entryFault, entryIndex, entryTerm } from '../base/entry.ts';
import { OperationalError, errorText } from '../base/errors.ts';
import { ENTRY_BYTES_MAX, MiB } from '../base/limits.ts';
import type { HardState, LogAppend, LogStore } from '../ports/log-store.ts';
import { checkWal } from './sqlite-wal-check.ts';
import type { WalCheck } from './sqlite-wal-check.ts';

const FORMAT_VERSION = 1;
const APPLICATION_ID = 0x484f4c44;
const PAGE_BYTES = 4096;
/** A checkpoint is due when the WAL has about this many frames. */
const CHECKPOINT_FRAMES = 2000;
/** … and no longer waits for the event loop at this many. */
const CHECKPOINT_FRAMES_MAX = 8 * CHECKPOINT_FRAMES;
/** The WAL file keeps its length over restarts; above this it is cut back, as after an entry of hundreds of MiB. */
const WAL_BYTES_KEPT = 64 * MiB;

const SCHEMA: readonly string[] = [
  'CREATE TABLE entries(idx INTEGER PRIMARY KEY, bytes BLOB NOT NULL)',
  'CREATE TABLE meta(name TEXT PRIMARY KEY NOT NULL, value BLOB NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID',
];
const HEAD = 'log:head';
const IDENTITY = 'log:identity';
const SESSION = 'log:session';
const USER = 'user:';
const HEAD_BYTES = 40;

export interface LogIdentity {
  readonly clusterId: string;
  /** 32 hex digits, new with every data directory. */
  readonly incarnation: string;
}

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

function damaged(path: string, what: string, cause?: unknown): OperationalError {
  const text = `${path} is damaged: ${what}. Nothing was changed; set it aside and let this node rejoin, or restore its disk`;
  return new OperationalError('LOG_DAMAGED', text, { cause });
}

const sqliteCode = (thrown: unknown): string => (thrown instanceof Database.SqliteError ? thrown.code : '');

/** What SQLite threw while the log was opened, as the operator should see it. A full disk or a lock is not damage. */
function openError(path: string, thrown: unknown): unknown {
  if (!(thrown instanceof Database.SqliteError)) return thrown;
  const code = thrown.code;
  if (/^SQLITE_(CORRUPT|NOTADB|ERROR|IOERR_(READ|SHORT_READ|DATA|CORRUPTFS))/.test(code)) {
    return damaged(path, `${thrown.message} (${code})`, thrown);
  }
  if (/^SQLITE_(BUSY|LOCKED)/.test(code)) {
    return new OperationalError('DATA_DIR', `${path} is in use by another process; stop that first`, { cause: thrown });
  }
  if (/^SQLITE_(FULL|IOERR)/.test(code)) {
    return new OperationalError('LOG_WRITE', `${path} cannot be written: ${thrown.message} (${code})`, { cause: thrown });
  }
  return new OperationalError('DATA_DIR', `${path} cannot be opened: ${thrown.message} (${code})`, { cause: thrown });
}

function writeNumber(view: DataView, at: number, value: number): void {
  view.setUint32(at, value >>> 0, true);
  view.setUint32(at + 4, Math.floor(value / 0x1_0000_0000), true);
}

const readNumber = (view: DataView, at: number): number =>
  view.getUint32(at, true) + view.getUint32(at + 4, true) * 0x1_0000_0000;

interface Head extends HardState {
  readonly lastIndex: number;
  readonly lastTerm: number;
}

function encodeHead(head: Head): Uint8Array {
  const bytes = new Uint8Array(HEAD_BYTES);
  const view = new DataView(bytes.buffer);
  [head.term, head.vote, head.commit, head.lastIndex, head.lastTerm].forEach((n, i) => writeNumber(view, 8 * i, n));
  return bytes;
}

function decodeHead(bytes: Uint8Array): Head {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const [term = 0, vote = 0, commit = 0, lastIndex = 0, lastTerm = 0] = [0, 8, 16, 24, 32].map((at) => readNumber(view, at));
  return { term, vote, commit, lastIndex, lastTerm };
}

const metaCrc = (name: string, value: Uint8Array): number => crc32c(value, 0, value.length, crc32c(Buffer.from(name)));
const identityBytes = (identity: LogIdentity): Uint8Array =>
  Buffer.from(JSON.stringify({ clusterId: identity.clusterId, incarnation: identity.incarnation }));

/** Sets what is per connection and asserts everything that durability rests on. */
function configure(db: Database.Database): void {
  db.pragma('locking_mode = EXCLUSIVE');
  db.pragma('journal_mode = WAL');
  db.pragma('synchronous = FULL');
  db.pragma('fullfsync = ON');
  db.pragma('checkpoint_fullfsync = ON');
  db.pragma('wal_autocheckpoint = 0');
  db.pragma(`journal_size_limit = ${WAL_BYTES_KEPT}`);
  db.pragma('cell_size_check = ON');
  db.pragma('mmap_size = 0');
  const expected = { journal_mode: 'wal', synchronous: 2, auto_vacuum: 2, page_size: PAGE_BYTES, wal_autocheckpoint: 0, locking_mode: 'exclusive' };
  for (const [name, value] of Object.entries(expected)) {
    const found = db.pragma(name, { simple: true });
    assert(found === value, () => `PRAGMA ${name} is ${String(found)}, not ${value}`);
  }
}

const UPSERT_META = 'INSERT INTO meta(name, value, crc) VALUES (?, ?, ?) ON CONFLICT(name) DO UPDATE SET value = excluded.value, crc = excluded.crc';

export function syncDirectory(path: string): void {
  const fd = fs.openSync(path, 'r');
  try {
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}

/** Makes an empty log at `path`, whole or not at all, durable on return. Refuses to replace one. */
export function createSqliteLog(path: string, identity: LogIdentity): void {
  if (fs.existsSync(path)) throw new OperationalError('DATA_DIR', `${path} exists already; a log is never overwritten`);
  const temporary = `${path}.new`;
  for (const suffix of ['', '-wal', '-shm', '-journal']) fs.rmSync(temporary + suffix, { force: true });
  try {
    const db = new Database(temporary, { timeout: 0 });
    try {
      db.pragma(`page_size = ${PAGE_BYTES}`);
      db.pragma('auto_vacuum = INCREMENTAL');
      db.pragma('synchronous = FULL');
      for (const sql of SCHEMA) db.exec(sql);
      db.pragma(`user_version = ${FORMAT_VERSION}`);
      db.pragma(`application_id = ${APPLICATION_ID}`);
      configure(db);
      const put = db.prepare(UPSERT_META);
      const rows: readonly [string, Uint8Array][] = [
        [HEAD, encodeHead({ term: 0, vote: 0, commit: 0, lastIndex: 0, lastTerm: 0 })],
        [IDENTITY, identityBytes(identity)],
        [SESSION, Buffer.from('closed')],
      ];
      for (const [name, value] of rows) put.run(name, value, metaCrc(name, value));
    } finally {
      db.close();
    }
    const fd = fs.openSync(temporary, 'r+');
    fs.fsyncSync(fd);
    fs.closeSync(fd);
    fs.renameSync(temporary, path);
    syncDirectory(dirname(path));
  } catch (thrown) {
    throw openError(path, thrown);
  }
}

/** The bytes of the database header that never change. SQLite would take some other values as another mode of work. */
function checkDatabaseHeader(path: string): void {
  const header = Buffer.alloc(100);
  const fd = fs.openSync(path, 'r');
  try {
    const bytes = fs.readSync(fd, header, 0, 100, 0);
    if (bytes < 100) throw damaged(path, `it is only ${bytes} bytes long`);
  } finally {
    fs.closeSync(fd);
  }
  const expected: readonly [string, number, number, number][] = [
    ['page size', 16, 2, PAGE_BYTES],
    ['write and read version', 18, 2, 0x0202],
    ['reserved space', 20, 1, 0],
    ['payload fractions', 21, 3, 0x402020],
    ['schema format', 44, 4, 4],
    ['text encoding', 56, 4, 1],
    ['user version', 60, 4, FORMAT_VERSION],
    ['incremental vacuum', 64, 4, 1],
    ['application id', 68, 4, APPLICATION_ID],
  ];
  if (header.toString('latin1', 0, 16) !== 'SQLite format 3\0') throw damaged(path, 'page 1 does not start as an SQLite file');
  for (const [name, at, bytes, value] of expected) {
    const found = header.readUIntBE(at, bytes);
    if (found !== value) throw damaged(path, `page 1, offset ${at}: ${name} is ${found}, not ${value}`);
  }
}

function checkSchema(db: Database.Database, path: string): void {
  const rows = db.prepare<[], { type: string; name: string; tbl_name: string; sql: string }>('SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY rowid').all();
  const found = rows.map((row) => `${row.type} ${row.name} ${row.tbl_name} ${row.sql}`);
  const expected = SCHEMA.map((sql) => {
    const name = /TABLE (\w+)/.exec(sql)?.[1];
    return `table ${name} ${name} ${sql}`;
  });
  if (found.join('\n') !== expected.join('\n')) throw damaged(path, `its schema is ${JSON.stringify(found)}`);
  const faults = db.prepare<[], { quick_check: string }>('PRAGMA quick_check(5)').all().map((row) => row.quick_check);
  if (faults.length !== 1 || faults[0] !== 'ok') throw damaged(path, `SQLite's check says: ${faults.join('; ')}`);
}

function loadMeta(db: Database.Database, path: string): Map<string, Uint8Array> {
  const meta = new Map<string, Uint8Array>();
  for (const row of db.prepare<[], { name: unknown; value: unknown; crc: unknown }>('SELECT name, value, crc FROM meta').all()) {
    const { name, value, crc } = row;
    if (typeof name !== 'string' || !(value instanceof Uint8Array)) throw damaged(path, `meta row ${String(name)} has the wrong type`);
    const computed = metaCrc(name, value);
    if (crc !== computed) throw damaged(path, `meta row ${name}: CRC is ${String(crc)}, its bytes give ${computed}`);
    meta.set(name, value);
  }
  for (const name of [HEAD, IDENTITY, SESSION]) if (!meta.has(name)) throw damaged(path, `meta row ${name} is missing`);
  return meta;
}

/** Consecutive entries of one term: [from, next range's from). */
interface TermRange {
  readonly from: number;
  readonly term: number;
}

interface Scan {
  readonly firstIndex: number;
  readonly lastIndex: number;
  readonly ranges: TermRange[];
}

/** Every entry, in order: CRC, index and term. */
function scanEntries(db: Database.Database, path: string): Scan {
  const ranges: TermRange[] = [];
  let firstIndex = 0;
  let lastIndex = 0;
  let lastTerm = 0;
  const rows = db.prepare<[], [unknown, unknown]>('SELECT idx, bytes FROM entries ORDER BY idx').raw();
  for (const [idx, bytes] of rows.iterate()) {
    const at = `entry at index ${String(idx)}`;
    if (typeof idx !== 'number' || !(bytes instanceof Uint8Array)) throw damaged(path, `${at} has the wrong type`);
    const fault = entryFault(bytes);
    if (fault !== undefined) throw damaged(path, `${at}: ${fault}`);
    if (entryIndex(bytes) !== idx) throw damaged(path, `${at}: its header says index ${entryIndex(bytes)}`);
    if (firstIndex === 0) firstIndex = idx;
    else if (idx !== lastIndex + 1) throw damaged(path, `${at} follows index ${lastIndex}`);
    const term = entryTerm(bytes);
    if (term < lastTerm) throw damaged(path, `${at} has term ${term} after term ${lastTerm}`);
    if (term > lastTerm || ranges.length === 0) ranges.push({ from: idx, term });
    lastIndex = idx;
    lastTerm = term;
  }
  return { firstIndex, lastIndex, ranges };
}

interface Checked extends Scan {
  readonly head: Head;
  readonly meta: Map<string, Uint8Array>;
}

function checkContents(db: Database.Database, options: SqliteLogOptions, walFound: WalCheck): Checked {
  const { path, identity } = options;
  db.pragma('cell_size_check = ON');
  checkSchema(db, path);
  const meta = loadMeta(db, path);
  const named = Buffer.from(meta.get(IDENTITY)!).toString();
  if (named !== Buffer.from(identityBytes(identity)).toString()) {
    const ours = `cluster ${identity.clusterId}, incarnation ${identity.incarnation}`;
    throw new OperationalError('DATA_DIR', `${path} belongs to ${named}, but this node is of ${ours}; a log cannot be moved between nodes`);
  }
  if (walFound.state === 'absent' && Buffer.from(meta.get(SESSION)!).toString() !== 'closed') {
    throw damaged(path, `${path}-wal is missing although the log was not closed; what it held is lost`);
  }
  const headBytes = meta.get(HEAD)!;
  if (headBytes.length !== HEAD_BYTES) throw damaged(path, `meta row ${HEAD} has ${headBytes.length} bytes`);
  const head = decodeHead(headBytes);
  const scan = scanEntries(db, path);
  const lastTerm = scan.ranges.at(-1)?.term ?? 0;
  if (head.lastIndex !== scan.lastIndex || head.lastTerm !== lastTerm) {
    throw damaged(path, `the last entry is ${scan.lastIndex} of term ${lastTerm}, but the head says ${head.lastIndex} of term ${head.lastTerm}`);
  }
  return { head, meta, ...scan };
}

/**
 * Checks everything through a connection that cannot write: SQLite's last writer would put the WAL into the database
 * and remove it when it closes, and so spoil what an operator may need. Without a WAL, `immutable` keeps SQLite from
 * making an empty one, whose absence is evidence.
 */
function checkReadOnly(options: SqliteLogOptions, walFound: WalCheck): Checked {
  const { path } = options;
  const noWal = walFound.state === 'absent';
  const name = noWal ? `file:${encodeURI(resolve(path)).replaceAll('?', '%3f').replaceAll('#', '%23')}?immutable=1` : path;
  const db = new Database(name, { readonly: true, timeout: 0, fileMustExist: true });
  try {
    return checkContents(db, options, walFound);
  } finally {
    db.close();
    if (!noWal) fs.rmSync(`${path}-shm`, { force: true });
  }
}

/** Closes without a clean end: SQLite removes the WAL after writing it into the database, and an empty one takes its place. */
function closeUnclean(db: Database.Database, path: string): void {
  db.close();
  fs.closeSync(fs.openSync(`${path}-wal`, 'a'));
}

/** The one connection that writes, with the WAL that was found taken into the database and the session marked open. */
function openForWriting(path: string, walFound: WalCheck): Database.Database {
  const db = new Database(path, { timeout: 0, fileMustExist: true });
  try {
    configure(db);
    const frames = (db.pragma('wal_checkpoint(PASSIVE)') as { log: number }[])[0]?.log;
    if (frames !== walFound.commitFrames) {
      throw damaged(path, `SQLite recovered ${frames} frames of its WAL, where ${walFound.commitFrames} verify`);
    }
    db.pragma('wal_checkpoint(TRUNCATE)');
    const session = Buffer.from('open');
    db.prepare(UPSERT_META).run(SESSION, session, metaCrc(SESSION, session));
    db.pragma('wal_checkpoint(TRUNCATE)');
    return db;
  } catch (thrown) {
    closeUnclean(db, path);
    throw thrown;
  }
}

/**
 * Opens the log at `path` after checking all of it. Throws OperationalError: LOG_DAMAGED names what does not verify,
 * DATA_DIR means another node's log or one in use, LOG_WRITE a disk that does not take the first write.
 */
export function openSqliteLog(options: SqliteLogOptions): SqliteLog {
  const { path } = options;
  if (!fs.existsSync(path)) throw damaged(path, 'the file is missing');
  const walFound = checkWal(`${path}-wal`, PAGE_BYTES);
  if (walFound.state === 'damaged') throw damaged(path, `${path}-wal: ${walFound.detail}`);
  checkDatabaseHeader(path);
  try {
    const checked = checkReadOnly(options, walFound);
    return new SqliteLogStore(openForWriting(path, walFound), checked, walFound, options);
  } catch (thrown) {
    throw openError(path, thrown);
  }
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
  #firstIndex: number;
  #lastIndex: number;
  /** Rising in `from` and in `term`. */
  readonly #ranges: TermRange[];
  readonly #meta: Map<string, Uint8Array>;
  /** Set once, by the first failure. */
  #failure: OperationalError | undefined;
  /** After a failure: entries from #unpersistedFrom on are here; the database's rows from there on are void. */
  #unpersistedFrom = Infinity;
  #unpersisted: Uint8Array[] = [];
  /** About; from 0 again after a checkpoint. */
  #walFrames = 0;
  #checkpointTimer: NodeJS.Immediate | undefined;
  #closed = false;

  constructor(db: Database.Database, checked: Checked, walFound: WalCheck, options: SqliteLogOptions) {
    const { head } = checked;
    this.#db = db;
    this.#path = options.path;
    this.#onFatal = options.onFatal;
    this.#failpoints = options.failpoints ?? {};
    this.walFound = walFound;
    this.#hardState = { term: head.term, vote: head.vote, commit: head.commit };
    this.#firstIndex = checked.firstIndex;
    this.#lastIndex = checked.lastIndex;
    this.#ranges = checked.ranges;
    this.#meta = new Map();
    for (const [name, value] of checked.meta) {
      if (name.startsWith(USER)) this.#meta.set(name.slice(USER.length), plainBytes(value));
    }
    this.#sql = {
      begin: db.prepare('BEGIN IMMEDIATE'),
      commit: db.prepare('COMMIT'),
      rollback: db.prepare('ROLLBACK'),
      insert: db.prepare<[number, Uint8Array]>('INSERT INTO entries(idx, bytes) VALUES (?, ?)'),
      deleteFrom: db.prepare<[number]>('DELETE FROM entries WHERE idx >= ?'),
      putMeta: db.prepare<[string, Uint8Array, number]>(UPSERT_META),
      lengths: db.prepare<[number, number], [number, number]>('SELECT idx, length(bytes) FROM entries WHERE idx BETWEEN ? AND ? ORDER BY idx').raw(),
      read: db.prepare<[number, number], [number, Uint8Array]>('SELECT idx, bytes FROM entries WHERE idx BETWEEN ? AND ? ORDER BY idx').raw(),
    };
  }

  get hardState(): HardState {
    return this.#hardState;
  }
  get firstIndex(): number {
    return this.#firstIndex;
  }
  get lastIndex(): number {
    return this.#lastIndex;
  }

  term(index: number): number | undefined {
    if (index === 0) return 0;
    if (index < this.#firstIndex || index > this.#lastIndex) return undefined;
    let low = 0;
    let high = this.#ranges.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.#ranges[middle]!.from <= index) low = middle;
      else high = middle - 1;
    }
    return this.#ranges[low]?.term;
  }

  meta(name: string): Uint8Array | undefined {
    return this.#meta.get(name);
  }

  read(from: number, to: number, bytesMax: number): Uint8Array[] {
    assert(from >= Math.max(1, this.#firstIndex) && from <= to && to <= this.#lastIndex, () => `read of [${from}, ${to}] in [${this.#firstIndex}, ${this.#lastIndex}]`);
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

  /** By lengths alone, which SQLite knows without reading the blobs. */
  #lastThatFits(from: number, to: number, bytesMax: number): number {
    if (from === to) return to;
    let last = from;
    let bytes = 0;
    for (const [index, length] of this.#sql.lengths.iterate(from, to)) {
      bytes += length;
      if (bytes > bytesMax && index > from) break;
      last = index;
    }
    return last;
  }

  #readStored(from: number, to: number): Uint8Array[] {
    let rows: [number, Uint8Array][];
    try {
      rows = this.#sql.read.all(from, to);
    } catch (thrown) {
      throw openError(this.#path, thrown);
    }
    return Array.from({ length: to - from + 1 }, (_, i) => {
      const index = from + i;
      const row = rows[i];
      if (row?.[0] !== index) throw damaged(this.#path, `the entry at index ${index} is missing`);
      const fault = entryFault(row[1]) ?? (entryIndex(row[1]) === index ? undefined : `its header says index ${entryIndex(row[1])}`);
      if (fault !== undefined) throw damaged(this.#path, `entry at index ${index}: ${fault}`);
      return plainBytes(row[1]);
    });
  }

  append(append: LogAppend, done: (error?: Error) => void): void {
    assert(!this.#closed, 'append to a closed log');
    this.#assertFits(append.entries);
    const lastIndexBefore = this.#lastIndex;
    this.#remember(append);
    let failedNow = false;
    if (this.#failure === undefined) {
      try {
        this.#write(append, lastIndexBefore);
      } catch (thrown) {
        this.#fail(thrown, append.entries.length === 0 ? 'an append' : `the append of entries ${entryIndex(append.entries[0]!)} to ${this.#lastIndex}`);
        failedNow = true;
      }
    }
    const failure = this.#failure;
    if (failure !== undefined) this.#keepUnpersisted(append.entries);
    queueMicrotask(() => {
      if (failedNow) this.#reportFatal();
      if (failure === undefined) done();
      else done(failure);
    });
  }

  #assertFits(entries: readonly Uint8Array[]): void {
    let expected = entries.length === 0 ? 0 : entryIndex(entries[0]!);
    if (entries.length > 0) {
      const first = expected;
      assert(first >= Math.max(1, this.#firstIndex) && first <= this.#lastIndex + 1, () => `entry ${first} does not follow a log of [${this.#firstIndex}, ${this.#lastIndex}]`);
    }
    let term = entries.length === 0 ? 0 : (this.term(expected - 1) ?? 0);
    for (const entry of entries) {
      assert(entry.length >= ENTRY_HEADER_BYTES && entry.length <= ENTRY_BYTES_MAX, () => `entry ${expected} has ${entry.length} bytes`);
      assert(entryIndex(entry) === expected, () => `entry ${entryIndex(entry)} where ${expected} is due`);
      assert(entryTerm(entry) >= term, () => `entry ${expected} of term ${entryTerm(entry)} after term ${term}`);
      term = entryTerm(entry);
      expected++;
    }
  }

  /** The append as reads will see it. */
  #remember(append: LogAppend): void {
    if (append.hardState !== undefined) this.#hardState = append.hardState;
    for (const [name, value] of append.meta ?? []) this.#meta.set(name, value.slice());
    for (const entry of append.entries) {
      const index = entryIndex(entry);
      while (this.#ranges.length > 0 && this.#ranges.at(-1)!.from >= index) this.#ranges.pop();
      if (this.#ranges.at(-1)?.term !== entryTerm(entry)) this.#ranges.push({ from: index, term: entryTerm(entry) });
      if (this.#firstIndex === 0) this.#firstIndex = index;
      this.#lastIndex = index;
    }
  }

  #write(append: LogAppend, lastIndexBefore: number): void {
    const sql = this.#sql;
    let frames = 3;
    sql.begin.run();
    const first = append.entries[0];
    if (first !== undefined && entryIndex(first) <= lastIndexBefore) sql.deleteFrom.run(entryIndex(first));
    for (const entry of append.entries) {
      sql.insert.run(entryIndex(entry), entry);
      frames += entry.length / PAGE_BYTES;
    }
    const head = encodeHead({ ...this.#hardState, lastIndex: this.#lastIndex, lastTerm: this.#ranges.at(-1)?.term ?? 0 });
    sql.putMeta.run(HEAD, head, metaCrc(HEAD, head));
    for (const [name, value] of append.meta ?? []) sql.putMeta.run(USER + name, value, metaCrc(USER + name, value));
    this.#failpoints.beforeCommit?.();
    sql.commit.run();
    this.#walFrames += frames;
    if (this.#walFrames >= CHECKPOINT_FRAMES_MAX) this.#checkpoint();
    else if (this.#walFrames >= CHECKPOINT_FRAMES) {
      // After `done`, so that the append that fills the WAL does not wait for it.
      this.#checkpointTimer ??= setImmediate(() => this.#checkpointLater());
    }
  }

  #checkpointLater(): void {
    this.#checkpointTimer = undefined;
    if (this.#closed || this.#failure !== undefined) return;
    try {
      this.#checkpoint();
    } catch (thrown) {
      this.#fail(thrown, 'a checkpoint');
      this.#unpersistedFrom = this.#lastIndex + 1;
      this.#reportFatal();
    }
  }

  #checkpoint(): void {
    this.#failpoints.beforeCheckpoint?.();
    this.#db.pragma('wal_checkpoint(PASSIVE)');
    this.#walFrames = 0;
  }

  #fail(thrown: unknown, what: string): void {
    const code = sqliteCode(thrown);
    const text = `${this.#path}: ${what} failed: ${errorText(thrown)}${code === '' ? '' : ` (${code})`}. This node acknowledges nothing more; mend the disk or free space on it, then restart`;
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

  #keepUnpersisted(entries: readonly Uint8Array[]): void {
    const first = entries.length === 0 ? this.#lastIndex + 1 : entryIndex(entries[0]!);
    if (first <= this.#unpersistedFrom) {
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

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#checkpointTimer !== undefined) clearImmediate(this.#checkpointTimer);
    if (this.#failure === undefined) {
      try {
        const session = Buffer.from('closed');
        this.#sql.putMeta.run(SESSION, session, metaCrc(SESSION, session));
        this.#db.close();
        return;
      } catch {
        // Whatever was reported persisted is; the next open treats this end as a crash.
      }
    }
    closeUnclean(this.#db, this.#path);
  }
}

/** SQLite's Buffers as plain arrays over the same bytes. */
const plainBytes = (bytes: Uint8Array): Uint8Array => new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
