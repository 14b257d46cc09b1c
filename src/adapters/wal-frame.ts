// The frame: what one append is on disk. Owns its bytes; where frames stand is wal-segment.ts's, what they mean together
// wal-recovery.ts's.
//
// Layout, little-endian, version by the segment's header (u53: a whole number < 2^53, low word first):
//   offset size
//     0     4   CRC-32C of bytes [4, head bytes)
//     4     4   magic 'HLFW'
//     8     8   salt of the segment, random: bytes of a client in an entry cannot look like a frame
//    16     8   frame number, u53: one more than the frame's before it, over all segments
//    24     4   head bytes: this header, table and named values
//    28     4   entry count
//    32     4   flags: 1 the named values are all there are; 2 the log was emptied, and begins behind base; 4 seal
//    36     4   named values
//    40    40   head of the log after this frame: term, vote, commit, last index, last term (five u53)
//    80    24   base: index, term and time of the entry that the log begins behind (three u53)
//   104     8   index of the first entry, u53; what stood there and behind it is replaced. 0 without entries
//   112     8   bytes of all entries, u53
//   120     …   table: length and CRC of each entry, two u32
//     …     …   named values: length of name (u16) and value (u32), name in UTF-8, value
//     …     …   the entries, sealed, one behind the other; then zeros up to a multiple of 8
//
// Valid: magic, salt and number as expected, lengths agree, CRC matches, and every entry is whole (entry.ts), has the
// length and CRC of the table and the index of its place.
import { crc32c } from '../base/crc32c.ts';
import { entryIndex } from '../base/entry.ts';
import type { LogBase } from '../base/log-base.ts';
import { readUint32, readUint53, writeUint32, writeUint53 } from '../base/uint.ts';
import type { HardState } from '../ports/log-store.ts';

export const FRAME_HEADER_BYTES = 120;
export const FRAME_ALIGNMENT = 8;
const MAGIC = 0x57464c48;
export const SALT_AT = 8;
const TABLE_ROW_BYTES = 8;
const VALUE_HEAD_BYTES = 6;
export const NO_VALUES: ReadonlyMap<string, Uint8Array> = new Map();

export const FrameFlag = { complete: 1, emptied: 2, seal: 4 } as const;

/** What the log is after a frame. */
export interface FrameState {
  readonly hardState: HardState;
  readonly lastIndex: number;
  readonly lastTerm: number;
  readonly base: LogBase;
}

export interface FrameHead extends FrameState {
  readonly number: number;
  readonly flags: number;
  /** 0 without entries. */
  readonly firstIndex: number;
  readonly headBytes: number;
  readonly bodyBytes: number;
  readonly entryCount: number;
  /** Length and CRC of each entry, one pair after another. */
  readonly table: Uint32Array;
  readonly values: ReadonlyMap<string, Uint8Array>;
}

export const aligned = (bytes: number): number => Math.ceil(bytes / FRAME_ALIGNMENT) * FRAME_ALIGNMENT;

/** On disk, with what fills it up to the next frame. */
export const frameBytes = (head: FrameHead): number => aligned(head.headBytes + head.bodyBytes);

/** Room for the head of a frame of so many entries and these values. */
export function headBytesOf(entryCount: number, values: ReadonlyMap<string, Uint8Array>): number {
  let bytes = FRAME_HEADER_BYTES + TABLE_ROW_BYTES * entryCount;
  for (const [name, value] of values) bytes += VALUE_HEAD_BYTES + Buffer.byteLength(name) + value.length;
  return bytes;
}

/** Writes the head of a frame over `head`, whose length it is; the entries follow it in the file. */
export function writeHead(
  head: Uint8Array,
  salt: Uint8Array,
  number: number,
  flags: number,
  state: FrameState,
  entries: readonly Uint8Array[],
  values: ReadonlyMap<string, Uint8Array>,
): void {
  writeUint32(head, 4, MAGIC);
  head.set(salt, SALT_AT);
  writeUint53(head, 16, number);
  writeUint32(head, 24, head.length);
  writeUint32(head, 28, entries.length);
  writeUint32(head, 32, flags);
  writeUint32(head, 36, values.size);
  const { hardState, base } = state;
  writeUint53(head, 40, hardState.term);
  writeUint53(head, 48, hardState.vote);
  writeUint53(head, 56, hardState.commit);
  writeUint53(head, 64, state.lastIndex);
  writeUint53(head, 72, state.lastTerm);
  writeUint53(head, 80, base.index);
  writeUint53(head, 88, base.term);
  writeUint53(head, 96, base.timeMs);
  writeUint53(head, 104, entries.length === 0 ? 0 : entryIndex(entries[0]!));
  let at = FRAME_HEADER_BYTES;
  let bodyBytes = 0;
  for (const entry of entries) {
    writeUint32(head, at, entry.length);
    head.set(entry.subarray(0, 4), at + 4);
    bodyBytes += entry.length;
    at += TABLE_ROW_BYTES;
  }
  writeUint53(head, 112, bodyBytes);
  for (const [name, value] of values) {
    const nameBytes = Buffer.from(name);
    head[at] = nameBytes.length;
    head[at + 1] = nameBytes.length >>> 8;
    writeUint32(head, at + 2, value.length);
    head.set(nameBytes, at + VALUE_HEAD_BYTES);
    head.set(value, at + VALUE_HEAD_BYTES + nameBytes.length);
    at += VALUE_HEAD_BYTES + nameBytes.length + value.length;
  }
  writeUint32(head, 0, crc32c(head, 4));
}

/** A frame that only says what the log is. */
export function bareFrame(salt: Uint8Array, number: number, flags: number, state: FrameState): Uint8Array {
  const frame = new Uint8Array(FRAME_HEADER_BYTES);
  writeHead(frame, salt, number, flags, state, [], NO_VALUES);
  return frame;
}

/** Bytes of the head that begins here, if these look like the beginning of one of this segment; else undefined. */
export function headBytesAt(start: Uint8Array, salt: Uint8Array): number | undefined {
  if (start.length < FRAME_HEADER_BYTES) return undefined;
  if (readUint32(start, 4) !== MAGIC || salt.some((byte, i) => start[SALT_AT + i] !== byte)) return undefined;
  const headBytes = readUint32(start, 24);
  return headBytes >= FRAME_HEADER_BYTES ? headBytes : undefined;
}

/** The head of a frame in exactly its bytes, whose beginning passed headBytesAt, or undefined where it does not verify. */
export function readHead(bytes: Uint8Array): FrameHead | undefined {
  if (readUint32(bytes, 0) !== crc32c(bytes, 4)) return undefined;
  const entryCount = readUint32(bytes, 28);
  if (FRAME_HEADER_BYTES + TABLE_ROW_BYTES * entryCount > bytes.length) return undefined;
  const table = new Uint32Array(2 * entryCount);
  let at = FRAME_HEADER_BYTES;
  for (let i = 0; i < table.length; i++, at += 4) table[i] = readUint32(bytes, at);
  const values = new Map<string, Uint8Array>();
  for (let left = readUint32(bytes, 36); left > 0; left--) {
    const nameEnd = at + VALUE_HEAD_BYTES + (bytes[at]! | (bytes[at + 1]! << 8));
    const valueEnd = nameEnd + readUint32(bytes, at + 2);
    if (valueEnd > bytes.length) return undefined;
    values.set(Buffer.from(bytes.subarray(at + VALUE_HEAD_BYTES, nameEnd)).toString(), bytes.slice(nameEnd, valueEnd));
    at = valueEnd;
  }
  const number = (offset: number): number => readUint53(bytes, offset);
  return {
    number: number(16),
    headBytes: bytes.length,
    entryCount,
    flags: readUint32(bytes, 32),
    hardState: { term: number(40), vote: number(48), commit: number(56) },
    lastIndex: number(64),
    lastTerm: number(72),
    base: { index: number(80), term: number(88), timeMs: number(96) },
    firstIndex: number(104),
    bodyBytes: number(112),
    table,
    values,
  };
}
