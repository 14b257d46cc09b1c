// A segment of the archived log: consecutive committed entries, as they were sealed, in one object. Never changed once written.
//
// Layout, little-endian, version 1 (u53: a whole number below 2^53 in eight bytes, low word first):
//   offset size
//    0     8   "HOLDSEG" and the format version, 1
//    8     8   u53 first index
//   16     8   u53 last index
//   24     8   u53 term of the first entry
//   32     8   u53 term of the last entry
//   40     8   u53 log time of the first entry, ms since the epoch
//   48     8   u53 log time of the last entry
//   56     1   length of the cluster id, 1 to 67
//   57    67   cluster id, ASCII, padded with zeros
//  124     4   CRC-32C of bytes [0, 124)
//  128     …   for each entry: u32 length, and the sealed entry (src/base/entry.ts)
//    …     4   zero: no entry has this length
//    …     4   u32 number of entries
//    …     4   CRC-32C of everything before it
//
// Valid: both CRCs match, each entry is valid on its own, indexes follow one another from the first to the last, terms and
// times never fall and are those of the header at both ends, and nothing follows. The reader hands an entry out as soon as
// that one is known to be good, and says at which byte anything else is wrong: nothing is to be published from a segment
// whose end was not reached.
import { assert } from '../base/assert.ts';
import { crc32c } from '../base/crc32c.ts';
import { ENTRY_HEADER_BYTES, entryFault, entryIndex, entryTerm, entryTimeMs } from '../base/entry.ts';
import { OperationalError } from '../base/errors.ts';
import { ENTRY_BYTES_MAX } from '../base/limits.ts';
import { readUint32, readUint53, writeUint32, writeUint53 } from '../base/uint.ts';
import { assertNotSealed } from './sealed.ts';

export const SEGMENT_HEADER_BYTES = 128;
const FOOTER_BYTES = 12;
const MAGIC = Uint8Array.of(0x48, 0x4f, 0x4c, 0x44, 0x53, 0x45, 0x47, 1);
const CLUSTER_ID_AT = 56;
export const CLUSTER_ID_BYTES_MAX = 67;
const HEADER_CRC_AT = 124;

export interface SegmentHeader {
  readonly clusterId: string;
  readonly firstIndex: number;
  readonly lastIndex: number;
  readonly firstTerm: number;
  readonly lastTerm: number;
  readonly firstTimeMs: number;
  readonly lastTimeMs: number;
}

/** Bytes of a segment with these entries. */
export function segmentBytes(entries: readonly Uint8Array[]): number {
  return entries.reduce((sum, entry) => sum + 4 + entry.length, SEGMENT_HEADER_BYTES + FOOTER_BYTES);
}

/** The segment's bytes, for an object store to take. Entries are handed on as they are, not copied. */
export function* encodeSegment(clusterId: string, entries: readonly Uint8Array[]): Generator<Uint8Array> {
  const [first, last] = [entries[0], entries.at(-1)];
  assert(first !== undefined && last !== undefined, 'a segment has at least one entry');
  const header = encodeHeader({
    clusterId,
    firstIndex: entryIndex(first),
    lastIndex: entryIndex(last),
    firstTerm: entryTerm(first),
    lastTerm: entryTerm(last),
    firstTimeMs: entryTimeMs(first),
    lastTimeMs: entryTimeMs(last),
  });
  let crc = crc32c(header);
  yield header;
  for (const [at, entry] of entries.entries()) {
    assert(entryIndex(entry) === entryIndex(first) + at, () => `entry ${entryIndex(entry)} where ${entryIndex(first) + at} is due`);
    const length = new Uint8Array(4);
    writeUint32(length, 0, entry.length);
    crc = crc32c(entry, 0, entry.length, crc32c(length, 0, 4, crc));
    yield length;
    yield entry;
  }
  const footer = new Uint8Array(FOOTER_BYTES);
  writeUint32(footer, 4, entries.length);
  writeUint32(footer, 8, crc32c(footer, 0, 8, crc));
  yield footer;
}

const NUMBERS = ['firstIndex', 'lastIndex', 'firstTerm', 'lastTerm', 'firstTimeMs', 'lastTimeMs'] as const;

function encodeHeader(header: SegmentHeader): Uint8Array {
  const bytes = new Uint8Array(SEGMENT_HEADER_BYTES);
  bytes.set(MAGIC);
  NUMBERS.forEach((name, i) => writeUint53(bytes, 8 + 8 * i, header[name]));
  const id = Buffer.from(header.clusterId, 'latin1');
  assert(id.length > 0 && id.length <= CLUSTER_ID_BYTES_MAX && isPrintable(header.clusterId), () => `cluster id ${JSON.stringify(header.clusterId)}`);
  bytes[CLUSTER_ID_AT] = id.length;
  bytes.set(id, CLUSTER_ID_AT + 1);
  writeUint32(bytes, HEADER_CRC_AT, crc32c(bytes, 0, HEADER_CRC_AT));
  return bytes;
}

const isPrintable = (text: string): boolean => /^[\x20-\x7e]+$/.test(text);

export interface SegmentReading {
  readonly header: SegmentHeader;
  /** Sealed entries in order. Throws where the bytes stop being valid; complete only when it ends. */
  readonly entries: AsyncIterable<Uint8Array>;
  /** Lets the source go where `entries` are not read. */
  readonly stop: () => Promise<void>;
}

/** Reads the header and leaves the entries to be read. Memory: one entry. `where` begins every text: the object's key. */
export async function readSegment(source: AsyncIterable<Uint8Array>, where: string): Promise<SegmentReading> {
  const bytes = new Bytes(source, where);
  try {
    const header = decodeHeader(await bytes.take(SEGMENT_HEADER_BYTES, 'its header'), where);
    return { header, entries: readEntries(bytes, header, where), stop: () => bytes.stop() };
  } catch (thrown) {
    await bytes.stop();
    throw thrown;
  }
}

/** The header alone, of the first SEGMENT_HEADER_BYTES. */
export async function readSegmentHeader(source: AsyncIterable<Uint8Array>, where: string): Promise<SegmentHeader> {
  const { header, stop } = await readSegment(source, where);
  await stop();
  return header;
}

function fault(where: string, offset: number, what: string): OperationalError {
  return new OperationalError('OBJECT_DAMAGED', `${where}, byte ${offset}: ${what}; it was changed or cut off in the store or on the way`);
}

function decodeHeader(bytes: Uint8Array, where: string): SegmentHeader {
  assertNotSealed(bytes, where);
  if (!MAGIC.subarray(0, -1).every((byte, at) => bytes[at] === byte)) throw fault(where, 0, 'this is no log segment');
  if (bytes[7] !== MAGIC[7]) throw new OperationalError('OBJECT_DAMAGED', `${where} has segment format ${bytes[7]}, this release reads ${MAGIC[7]}; use the release that wrote it`);
  if (readUint32(bytes, HEADER_CRC_AT) !== crc32c(bytes, 0, HEADER_CRC_AT)) throw fault(where, HEADER_CRC_AT, "the header's checksum does not match");
  const [firstIndex = 0, lastIndex = 0, firstTerm = 0, lastTerm = 0, firstTimeMs = 0, lastTimeMs = 0] = NUMBERS.map((_, i) => readUint53(bytes, 8 + 8 * i));
  const length = bytes[CLUSTER_ID_AT] ?? 0;
  const clusterId = Buffer.from(bytes.subarray(CLUSTER_ID_AT + 1, CLUSTER_ID_AT + 1 + length)).toString('latin1');
  if (firstIndex < 1 || lastIndex < firstIndex || length === 0 || length > CLUSTER_ID_BYTES_MAX) throw fault(where, 8, `a header of entries ${firstIndex} to ${lastIndex}`);
  return { clusterId, firstIndex, lastIndex, firstTerm, lastTerm, firstTimeMs, lastTimeMs };
}

async function* readEntries(bytes: Bytes, header: SegmentHeader, where: string): AsyncGenerator<Uint8Array> {
  let index = header.firstIndex;
  let term = header.firstTerm;
  let timeMs = header.firstTimeMs;
  try {
    for (;;) {
      const offset = bytes.offset;
      const length = readUint32(await bytes.take(4, 'the length of an entry'), 0);
      if (length === 0) break;
      if (length < ENTRY_HEADER_BYTES || length > ENTRY_BYTES_MAX) throw fault(where, offset, `an entry of ${length} bytes`);
      const entry = await bytes.take(length, `entry ${index}`);
      const wrong =
        entryFault(entry) ??
        (index > header.lastIndex ? `an entry behind the last one, ${header.lastIndex}` : undefined) ??
        (entryIndex(entry) === index ? undefined : `entry ${entryIndex(entry)} where ${index} is due`) ??
        (index === header.firstIndex && (entryTerm(entry) !== term || entryTimeMs(entry) !== timeMs) ? 'the first entry is not the one that the header tells of' : undefined) ??
        (entryTerm(entry) < term ? `entry ${index} of term ${entryTerm(entry)} after term ${term}` : undefined) ??
        (entryTimeMs(entry) < timeMs ? `entry ${index} of time ${entryTimeMs(entry)} after ${timeMs}` : undefined);
      if (wrong !== undefined) throw fault(where, offset, wrong);
      [index, term, timeMs] = [index + 1, entryTerm(entry), entryTimeMs(entry)];
      yield entry;
    }
    await readFooter(bytes, header, where, index - header.firstIndex);
    if (term !== header.lastTerm || timeMs !== header.lastTimeMs) throw fault(where, 0, 'the last entry is not the one that the header tells of');
  } finally {
    await bytes.stop();
  }
}

async function readFooter(bytes: Bytes, header: SegmentHeader, where: string, entries: number): Promise<void> {
  const offset = bytes.offset;
  const count = readUint32(await bytes.take(4, 'the number of entries'), 0);
  const expected = header.lastIndex - header.firstIndex + 1;
  if (entries !== expected || count !== expected) throw fault(where, offset, `${entries} entries (it says ${count}) where the header tells of ${expected}`);
  const crc = bytes.crc;
  if (readUint32(await bytes.take(4, 'the checksum'), 0) !== crc) throw fault(where, bytes.offset - 4, 'the checksum of the whole does not match');
  if (!(await bytes.isAtEnd())) throw fault(where, bytes.offset, 'bytes behind the end');
}

/** The source in pieces of the sizes asked for, with the place in it and the CRC of what was taken. */
class Bytes {
  readonly #iterator: AsyncIterator<Uint8Array>;
  readonly #where: string;
  #rest: Uint8Array = new Uint8Array(0);
  offset = 0;
  crc = 0;

  constructor(source: AsyncIterable<Uint8Array>, where: string) {
    this.#iterator = source[Symbol.asyncIterator]();
    this.#where = where;
  }

  async take(length: number, what: string): Promise<Uint8Array> {
    // Grows with what has come, so that a damaged length takes no memory that the bytes do not.
    const parts: Uint8Array[] = [];
    for (let missing = length; missing > 0;) {
      if (this.#rest.length === 0) {
        const step = await this.#iterator.next();
        if (step.done === true) throw fault(this.#where, this.offset + length - missing, `it ends in ${what}`);
        this.#rest = step.value;
      }
      const part = this.#rest.subarray(0, missing);
      parts.push(part);
      missing -= part.length;
      this.#rest = this.#rest.subarray(part.length);
    }
    const piece = Buffer.concat(parts);
    this.offset += length;
    this.crc = crc32c(piece, 0, length, this.crc);
    return piece;
  }

  async isAtEnd(): Promise<boolean> {
    while (this.#rest.length === 0) {
      const step = await this.#iterator.next();
      if (step.done === true) return true;
      this.#rest = step.value;
    }
    return false;
  }

  async stop(): Promise<void> {
    await this.#iterator.return?.();
  }
}
