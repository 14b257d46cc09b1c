// The file of the log store: makes log.db, checks all of it before anyone trusts it, and opens it for writing. Owns the
// format of log.db and its WAL; what is written while it is open is sqlite-log.ts's.
//
// Format 1 (user_version 1, application_id 'HOLD', WAL, 4096-byte pages, auto_vacuum=INCREMENTAL):
//   entries(key INTEGER PRIMARY KEY, bytes BLOB)         a sealed entry under 64 times the index in its header, no gaps;
//     what is longer than 32 MiB goes on under the keys behind it, cut every 32 MiB: better-sqlite3 sets SQLite's
//     largest value to V8's longest string, 2^29 − 24 bytes, which is less than our largest entry
//   meta(name TEXT PRIMARY KEY, value BLOB, crc INTEGER) WITHOUT ROWID; crc is CRC-32C of UTF-8 name and value
//     log:head      term, vote, commit, last index, last term: five whole numbers < 2^53, 8 bytes each, low word first
//     log:identity  JSON {clusterId, incarnation}: must equal identity.json's
//     log:base      index, term and time of the entry that the log begins behind: three such numbers; absent: 0, 0, 0
//     log:wal       'required' or 'optional': may the WAL be gone? See below
//     user:NAME     LogAppend.meta
// Valid: the WAL is not damaged (sqlite-wal-check.ts), the constants of the database header hold, the schema is
// letter for letter ours, quick_check passes, every CRC matches, indexes have no gaps from the base on, terms never fall,
// and log:head names the last entry. Entries up to the base are void: left of a cut, on their way out. log:head stands on another page than the entries and every append writes it, so a lost page
// write shows, and so does a lost transaction in the middle of the WAL.
//
// Torn tail or damage: a crash may tear the last transaction of the WAL; it was never reported persisted, and SQLite
// drops it. Anything else that does not verify is damage: it is reported as LOG_DAMAGED and nothing is cut, for this
// node may have acknowledged what stands behind. The caller decides: data-dir.ts sets a damaged log aside and the node
// rejoins without a vote.
//
// A WAL that somebody removed or emptied is damage too, but a clean end removes it as well, and SQLite ends cleanly on
// its own when the process exits. So each checkpoint leaves log:wal = 'required' in the database file, and the first
// commit behind it in the WAL says 'optional': whoever writes the whole WAL into the database brings that along.
import * as fs from 'node:fs';
import { dirname } from 'node:path';
import Database from 'better-sqlite3';
import { assert } from '../base/assert.ts';
import { crc32c } from '../base/crc32c.ts';
import { entryFault, entryIndex, entryTerm } from '../base/entry.ts';
import { OperationalError } from '../base/errors.ts';
import { ENTRY_BYTES_MAX, MiB } from '../base/limits.ts';
import { LOG_START, type LogBase } from '../base/log-base.ts';
import type { HardState } from '../ports/log-store.ts';
import { LogShape } from './sqlite-log-shape.ts';
import { checkWal } from './sqlite-wal-check.ts';
import type { WalCheck } from './sqlite-wal-check.ts';

const FORMAT_VERSION = 1;
const APPLICATION_ID = 0x484f4c44;
export const PAGE_BYTES = 4096;
/** Keys of one index. */
export const PARTS = 64;
export const PART_BYTES_MAX = 32 * MiB;
assert(ENTRY_BYTES_MAX <= PARTS * PART_BYTES_MAX, 'a largest entry fits in its parts');
/** The WAL file keeps its length over restarts; above this it is cut back, as after an entry of hundreds of MiB. */
const WAL_BYTES_KEPT = 64 * MiB;

const SCHEMA: readonly string[] = [
  'CREATE TABLE entries(key INTEGER PRIMARY KEY, bytes BLOB NOT NULL)',
  'CREATE TABLE meta(name TEXT PRIMARY KEY NOT NULL, value BLOB NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID',
];
export const HEAD = 'log:head';
export const BASE = 'log:base';
const IDENTITY = 'log:identity';
const WAL = 'log:wal';
type WalNeed = 'required' | 'optional';
export const USER = 'user:';
const HEAD_BYTES = 40;
const BASE_BYTES = 24;

export interface LogIdentity {
  readonly clusterId: string;
  /** 32 hex digits, new with every data directory. */
  readonly incarnation: string;
}

export function damaged(path: string, what: string, cause?: unknown): OperationalError {
  const text = `${path} is damaged: ${what}. Nothing was changed; set it aside and let this node rejoin, or restore its disk`;
  return new OperationalError('LOG_DAMAGED', text, { cause });
}

export const sqliteCode = (thrown: unknown): string => (thrown instanceof Database.SqliteError ? thrown.code : '');

/** What SQLite threw while the log was opened, as the operator should see it. A full disk or a lock is not damage. */
export function openError(path: string, thrown: unknown): unknown {
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

export function encodeHead(head: Head): Uint8Array {
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

export function encodeBase(base: LogBase): Uint8Array {
  const bytes = new Uint8Array(BASE_BYTES);
  const view = new DataView(bytes.buffer);
  [base.index, base.term, base.timeMs].forEach((n, i) => writeNumber(view, 8 * i, n));
  return bytes;
}

function decodeBase(bytes: Uint8Array | undefined, path: string): LogBase {
  if (bytes === undefined) return LOG_START;
  if (bytes.length !== BASE_BYTES) throw damaged(path, `meta row ${BASE} has ${bytes.length} bytes`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return { index: readNumber(view, 0), term: readNumber(view, 8), timeMs: readNumber(view, 16) };
}

export const metaCrc = (name: string, value: Uint8Array): number => crc32c(value, 0, value.length, crc32c(Buffer.from(name)));
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

export const UPSERT_META = 'INSERT INTO meta(name, value, crc) VALUES (?, ?, ?) ON CONFLICT(name) DO UPDATE SET value = excluded.value, crc = excluded.crc';

export function syncDirectory(path: string): void {
  const fd = fs.openSync(path, 'r');
  try {
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}

/** Makes an empty log at `path` that begins behind `base`, whole or not at all, durable on return. Refuses to replace one. */
export function createSqliteLog(path: string, identity: LogIdentity, base: LogBase = LOG_START): void {
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
        [HEAD, encodeHead({ term: base.term, vote: 0, commit: base.index, lastIndex: base.index, lastTerm: base.term })],
        [BASE, encodeBase(base)],
        [IDENTITY, identityBytes(identity)],
        [WAL, Buffer.from('optional' satisfies WalNeed)],
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
  type Row = Record<'type' | 'name' | 'tbl_name' | 'sql', string>;
  const rows = db.prepare<[], Row>('SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY rowid').all();
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
  for (const name of [HEAD, IDENTITY, WAL]) if (!meta.has(name)) throw damaged(path, `meta row ${name} is missing`);
  return meta;
}

/** Entries from their rows, in the order of keys. A part too few or too many at the end is left to the entry's own check. */
export function* joinParts(rows: Iterable<[unknown, unknown]>, path: string): Generator<[index: number, entry: Uint8Array]> {
  let index = -1;
  let parts: Uint8Array[] = [];
  for (const [key, bytes] of rows) {
    if (typeof key !== 'number' || !(bytes instanceof Uint8Array)) throw damaged(path, `row ${String(key)} of entries has the wrong type`);
    const at = Math.floor(key / PARTS);
    if (at !== index) {
      if (parts.length > 0) yield [index, join(parts)];
      index = at;
      parts = [];
    }
    if (key !== index * PARTS + parts.length) throw damaged(path, `entry at index ${index}: part ${parts.length} is missing`);
    parts.push(bytes);
  }
  if (parts.length > 0) yield [index, join(parts)];
}

/** SQLite's Buffers as plain arrays. */
function join(parts: readonly Uint8Array[]): Uint8Array {
  if (parts.length === 1) return plainBytes(parts[0]!);
  const whole = new Uint8Array(parts.reduce((bytes, part) => bytes + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

export const plainBytes = (bytes: Uint8Array): Uint8Array => new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);

/** Every entry behind the base, in order: CRC, index and term. */
function scanEntries(db: Database.Database, path: string, base: LogBase): LogShape {
  const shape = new LogShape(base);
  const rows = db.prepare<[number], [unknown, unknown]>('SELECT key, bytes FROM entries WHERE key >= ? ORDER BY key').raw();
  for (const [idx, bytes] of joinParts(rows.iterate((base.index + 1) * PARTS), path)) {
    const at = `entry at index ${idx}`;
    const fault = entryFault(bytes);
    if (fault !== undefined) throw damaged(path, `${at}: ${fault}`);
    if (entryIndex(bytes) !== idx) throw damaged(path, `${at}: its header says index ${entryIndex(bytes)}`);
    if (idx !== shape.lastIndex + 1) throw damaged(path, `${at} follows index ${shape.lastIndex}`);
    if (entryTerm(bytes) < shape.lastTerm) throw damaged(path, `${at} has term ${entryTerm(bytes)} after term ${shape.lastTerm}`);
    shape.appended(bytes);
  }
  return shape;
}

export interface CheckedLog {
  readonly shape: LogShape;
  readonly head: Head;
  readonly meta: Map<string, Uint8Array>;
}

function checkContents(db: Database.Database, path: string, identity: LogIdentity, walFound: WalCheck): CheckedLog {
  db.pragma('cell_size_check = ON');
  checkSchema(db, path);
  const meta = loadMeta(db, path);
  const named = Buffer.from(meta.get(IDENTITY)!).toString();
  if (named !== Buffer.from(identityBytes(identity)).toString()) {
    const ours = `cluster ${identity.clusterId}, incarnation ${identity.incarnation}`;
    throw new OperationalError('DATA_DIR', `${path} belongs to ${named}, but this node is of ${ours}; a log cannot be moved between nodes`);
  }
  const noWal = walFound.state === 'absent' || walFound.state === 'empty';
  if (noWal && Buffer.from(meta.get(WAL)!).toString() !== 'optional') {
    throw damaged(path, `${path}-wal is ${walFound.state} although the log was not closed; what it held is lost`);
  }
  const headBytes = meta.get(HEAD)!;
  if (headBytes.length !== HEAD_BYTES) throw damaged(path, `meta row ${HEAD} has ${headBytes.length} bytes`);
  const head = decodeHead(headBytes);
  const shape = scanEntries(db, path, decodeBase(meta.get(BASE), path));
  if (head.lastIndex !== shape.lastIndex || head.lastTerm !== shape.lastTerm) {
    throw damaged(path, `the last entry is ${shape.lastIndex} of term ${shape.lastTerm}, but the head says ${head.lastIndex} of term ${head.lastTerm}`);
  }
  return { head, meta, shape };
}

/**
 * Checks everything through a connection that cannot write: SQLite's last writer would put the WAL into the database
 * and remove it when it closes, and so spoil what an operator may need.
 */
function checkReadOnly(path: string, identity: LogIdentity, walFound: WalCheck): CheckedLog {
  const db = new Database(path, { readonly: true, timeout: 0, fileMustExist: true });
  try {
    return checkContents(db, path, identity, walFound);
  } finally {
    db.close();
    fs.rmSync(`${path}-shm`, { force: true });
    if (walFound.state === 'absent') fs.rmSync(`${path}-wal`, { force: true }); // an empty one, SQLite's
  }
}

function putWalNeed(db: Database.Database, need: WalNeed): void {
  const value = Buffer.from(need);
  db.prepare(UPSERT_META).run(WAL, value, metaCrc(WAL, value));
}

/** Writes the WAL into the database and restarts it. `optional` is written even if that failed; nobody is told of it. */
export function checkpoint(db: Database.Database): void {
  putWalNeed(db, 'required');
  try {
    runCheckpoint(db);
  } finally {
    putWalNeed(db, 'optional');
  }
}

/** The number of frames that were in the WAL. */
function runCheckpoint(db: Database.Database): number {
  const row = (db.pragma('wal_checkpoint(RESTART)') as { busy: number; log: number; checkpointed: number }[])[0];
  assert(row?.busy === 0 && row.log === row.checkpointed, () => `a checkpoint gave ${JSON.stringify(row)}`);
  return row.log;
}

/** The one connection that writes, with the WAL that was found taken into the database. */
function openForWriting(path: string, walFound: WalCheck): Database.Database {
  const db = new Database(path, { timeout: 0, fileMustExist: true });
  try {
    configure(db);
    const frames = runCheckpoint(db);
    if (frames !== walFound.commitFrames) {
      throw damaged(path, `SQLite recovered ${frames} frames of its WAL, where ${walFound.commitFrames} verify`);
    }
    checkpoint(db);
    return db;
  } catch (thrown) {
    db.close();
    throw thrown;
  }
}

export interface OpenedLog {
  readonly db: Database.Database;
  readonly checked: CheckedLog;
  readonly walFound: WalCheck;
}

/**
 * Opens the log at `path` after checking all of it. Throws OperationalError: LOG_DAMAGED names what does not verify,
 * DATA_DIR means another node's log or one in use, LOG_WRITE a disk that does not take the first write.
 */
export function openLogFile(path: string, identity: LogIdentity): OpenedLog {
  if (!fs.existsSync(path)) throw damaged(path, 'the file is missing');
  const walFound = checkWal(`${path}-wal`, PAGE_BYTES);
  if (walFound.state === 'damaged') throw damaged(path, `${path}-wal: ${walFound.detail}`);
  checkDatabaseHeader(path);
  try {
    const checked = checkReadOnly(path, identity, walFound);
    return { db: openForWriting(path, walFound), checked, walFound };
  } catch (thrown) {
    throw openError(path, thrown);
  }
}
