// A segment of the log: one file of the directory log/, named by its place in the order. Owns the file and its header; frames
// (wal-frame.ts) begin behind the header and follow one another.
//
// Header, 4096 bytes, little-endian, format 2: CRC-32C of the rest of the header (u32), magic 'HOLDFLOG', format (u32), place
// in the order (u53), salt (8 random bytes), bytes of the file (u53), length of the identity (u32), identity (JSON clusterId and
// incarnation), zeros. Valid: the CRC matches, the place is the name's, the identity is the data directory's, and the file is
// not shorter.
//
// What must hold: a segment is written with zeros, synced, and only then gets its name; so an append into it changes no size and
// needs no block, and its fdatasync is one write to the disk (docs/decisions/0008). What lies behind its last frame is zeros.
import { randomFillSync } from 'node:crypto';
import * as fs from 'node:fs';
import { dirname, join } from 'node:path';
import { assert } from '../base/assert.ts';
import { crc32c } from '../base/crc32c.ts';
import { OperationalError, errorText } from '../base/errors.ts';
import { MiB } from '../base/limits.ts';
import { readUint32, readUint53, writeUint32, writeUint53 } from '../base/uint.ts';
import { DIRECT_BLOCK_BYTES, alignedFor } from './wal-direct.ts';
import { syncPath } from './fsync.ts';

export const FORMAT_VERSION = 2;
export const SEGMENT_HEADER_BYTES = 4096;
export const SALT_BYTES = 8;
const MAGIC = 'HOLDFLOG';
const IDENTITY_AT = 44;
const NAME = /^(\d{10})\.log$/;
const FILL_BYTES = 1 * MiB;
const { O_CREAT, O_DIRECT, O_TRUNC, O_WRONLY } = fs.constants;

export interface LogIdentity {
  readonly clusterId: string;
  /** 32 hex digits, new with every data directory. */
  readonly incarnation: string;
}

export interface Segment {
  readonly path: string;
  /** 1, 2, 3 … */
  readonly place: number;
  readonly salt: Uint8Array;
  readonly fd: number;
  /** Of the file. A frame larger than the rest of an empty segment makes it longer. */
  bytes: number;
  /** Where the next frame goes. */
  end: number;
}

export function damaged(path: string, what: string, cause?: unknown): OperationalError {
  const text = `${path} is damaged: ${what}. Nothing was changed; set it aside and let this node rejoin, or restore its disk`;
  return new OperationalError('LOG_DAMAGED', text, { cause });
}

export const segmentPath = (dir: string, place: number): string => join(dir, `${String(place).padStart(10, '0')}.log`);

/** Places of the segments in `dir`, in order. */
export function segmentPlaces(dir: string): number[] {
  const places = fs.readdirSync(dir).flatMap((name) => NAME.exec(name)?.[1] ?? []);
  return places.map(Number).sort((a, b) => a - b);
}

/** Segments that were being made when the process ended. */
export function removeUnfinished(dir: string): void {
  for (const name of fs.readdirSync(dir)) {
    if (/\.log\.(new|prepared)$/.test(name)) fs.rmSync(join(dir, name));
  }
}

function headerOf(place: number, salt: Uint8Array, bytes: number, identity: LogIdentity): Buffer {
  const text = Buffer.from(JSON.stringify({ clusterId: identity.clusterId, incarnation: identity.incarnation }));
  assert(IDENTITY_AT + text.length <= SEGMENT_HEADER_BYTES, 'an identity fits in the header of a segment');
  const header = Buffer.alloc(SEGMENT_HEADER_BYTES);
  header.write(MAGIC, 4, 'latin1');
  writeUint32(header, 12, FORMAT_VERSION);
  writeUint53(header, 16, place);
  header.set(salt, 24);
  writeUint53(header, 32, bytes);
  writeUint32(header, 40, text.length);
  header.set(text, IDENTITY_AT);
  writeUint32(header, 0, crc32c(header, 4));
  return header;
}

/** Writes all of `bytes` at `at`; a write may take fewer than it is given. */
export function writeAll(fd: number, bytes: Uint8Array, at: number): void {
  for (let written = 0; written < bytes.length; ) written += fs.writeSync(fd, bytes, written, bytes.length - written, at + written);
}

/** Makes an empty segment of `bytes` at once, durable on return. */
export function createSegment(dir: string, place: number, identity: LogIdentity, bytes: number): Segment {
  const salt = randomFillSync(new Uint8Array(SALT_BYTES));
  const path = segmentPath(dir, place);
  const temporary = `${path}.new`;
  const fd = fs.openSync(temporary, 'w+', 0o600);
  try {
    writeAll(fd, headerOf(place, salt, bytes, identity), 0);
    const zeros = Buffer.alloc(Math.min(FILL_BYTES, bytes - SEGMENT_HEADER_BYTES));
    for (let at = SEGMENT_HEADER_BYTES; at < bytes; at += zeros.length) writeAll(fd, zeros.subarray(0, bytes - at), at);
    fs.fsyncSync(fd);
    fs.renameSync(temporary, path);
    syncPath(dir);
  } catch (thrown) {
    fs.closeSync(fd);
    fs.rmSync(temporary, { force: true });
    throw thrown;
  }
  return { path, place, salt, fd, bytes, end: SEGMENT_HEADER_BYTES };
}

/** What segments are made of, a MiB at a time; direct: past the page cache, in which nobody looks for them. */
export interface Zeros {
  readonly bytes: Uint8Array;
  readonly isDirect: boolean;
}

/** For segments beside the one at `path`. */
export function zerosFor(path: string): Zeros {
  const direct = alignedFor(path, FILL_BYTES);
  return { bytes: direct ?? new Uint8Array(FILL_BYTES), isDirect: direct !== undefined };
}

/**
 * Makes an empty segment of `bytes` without holding the thread: a MiB at a time, each synced, so that what the disk is given
 * at once stays small beside the log's own writes. Gives up where `isWanted` says so: undefined.
 */
export async function prepareSegment(
  dir: string,
  place: number,
  identity: LogIdentity,
  bytes: number,
  zeros: Zeros,
  isWanted: () => boolean,
): Promise<Segment | undefined> {
  const salt = randomFillSync(new Uint8Array(SALT_BYTES));
  const path = segmentPath(dir, place);
  // Not the name that createSegment takes, which may make the same segment at any moment.
  const temporary = `${path}.prepared`;
  const write = async (handle: fs.promises.FileHandle, data: Uint8Array, at: number): Promise<void> => {
    const { bytesWritten } = await handle.write(data, 0, data.length, at);
    if (bytesWritten !== data.length) throw new Error(`${temporary}: ${bytesWritten} of ${data.length} bytes were written at ${at}`);
    await handle.datasync();
  };
  const isDirect = zeros.isDirect && bytes % DIRECT_BLOCK_BYTES === 0;
  const flags = O_WRONLY | O_CREAT | O_TRUNC;
  let handle = await fs.promises.open(temporary, isDirect ? flags | O_DIRECT : flags, 0o600);
  try {
    for (let at = 0; at < bytes && isWanted(); at += FILL_BYTES) await write(handle, zeros.bytes.subarray(0, Math.min(FILL_BYTES, bytes - at)), at);
    await handle.close();
    handle = await fs.promises.open(temporary, 'r+');
    if (isWanted()) await write(handle, headerOf(place, salt, bytes, identity), 0);
    await handle.close();
    // From here on in one go, so that nobody makes the same segment meanwhile.
    if (isWanted()) {
      fs.renameSync(temporary, path);
      syncPath(dir);
      return { path, place, salt, fd: fs.openSync(path, 'r+'), bytes, end: SEGMENT_HEADER_BYTES };
    }
  } catch (thrown) {
    await handle.close();
    await fs.promises.rm(temporary, { force: true });
    throw thrown;
  }
  await fs.promises.rm(temporary, { force: true });
  return undefined;
}

/** Opens a segment for reading and writing after checking its header. `end` is where its first frame would be. */
export function openSegment(dir: string, place: number, identity: LogIdentity): Segment {
  const path = segmentPath(dir, place);
  const fd = fs.openSync(path, 'r+');
  try {
    const bytes = fs.fstatSync(fd).size;
    const header = Buffer.alloc(SEGMENT_HEADER_BYTES);
    if (fs.readSync(fd, header, 0, header.length, 0) < header.length) throw damaged(path, `it is only ${bytes} bytes long`);
    if (header.toString('latin1', 4, 12) !== MAGIC) throw damaged(path, 'it does not begin as a segment of a log');
    const crc = crc32c(header, 4);
    if (readUint32(header, 0) !== crc) throw damaged(path, `the CRC of its header is ${readUint32(header, 0)}, its bytes give ${crc}`);
    const format = readUint32(header, 12);
    if (format !== FORMAT_VERSION) {
      throw new OperationalError('DATA_DIR', `${path} has format ${format}, this release reads format ${FORMAT_VERSION}; use the release that wrote it`);
    }
    if (readUint53(header, 16) !== place) throw damaged(path, `its header says that it is segment ${readUint53(header, 16)}`);
    if (bytes < readUint53(header, 32)) throw damaged(path, `it has ${bytes} of its ${readUint53(header, 32)} bytes`);
    const text = header.toString('utf8', IDENTITY_AT, IDENTITY_AT + readUint32(header, 40));
    const expected = JSON.stringify({ clusterId: identity.clusterId, incarnation: identity.incarnation });
    if (text !== expected) throw new OperationalError('DATA_DIR', `${path} belongs to ${text}, not to ${expected}; check the path`);
    return { path, place, salt: new Uint8Array(header.subarray(24, 24 + SALT_BYTES)), fd, bytes, end: SEGMENT_HEADER_BYTES };
  } catch (thrown) {
    fs.closeSync(fd);
    throw thrown;
  }
}

/** What the system said when the log was opened, as the operator should see it. A full disk is not damage. */
export function openError(path: string, thrown: unknown): unknown {
  const code = thrown instanceof Error ? (thrown as NodeJS.ErrnoException).code : undefined;
  if (thrown instanceof OperationalError || code === undefined) return thrown;
  if (code === 'EIO') return damaged(path, errorText(thrown), thrown);
  if (code === 'ENOSPC' || code === 'EDQUOT') return new OperationalError('LOG_WRITE', `${path} cannot be written: ${errorText(thrown)}`, { cause: thrown });
  return new OperationalError('DATA_DIR', `${path} cannot be opened: ${errorText(thrown)}`, { cause: thrown });
}

/** Makes an empty log at `dir`, whole or not at all, durable on return. Refuses to replace one. `write` gives it its first frame. */
export function createLogDirectory(dir: string, identity: LogIdentity, segmentBytes: number, write: (first: Segment) => void): void {
  if (fs.existsSync(dir)) throw new OperationalError('DATA_DIR', `${dir} exists already; a log is never overwritten`);
  const temporary = `${dir}.new`;
  try {
    fs.rmSync(temporary, { recursive: true, force: true });
    fs.mkdirSync(temporary, { mode: 0o700 });
    const first = createSegment(temporary, 1, identity, segmentBytes);
    try {
      write(first);
      fs.fsyncSync(first.fd);
    } finally {
      fs.closeSync(first.fd);
    }
    fs.renameSync(temporary, dir);
    syncPath(dirname(dir));
  } catch (thrown) {
    throw openError(dir, thrown);
  }
}
