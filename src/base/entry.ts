// The log entry: the unit of replication, persistence and apply. This file owns its header; the records inside
// are owned by src/machine/record-codec.ts. The same bytes stand in the log store, on the wire and in the engine.
//
// Layout, little-endian, version 1:
//   offset size
//    0     4   CRC-32C of bytes [4, end)
//    4     1   format version, 1
//    5     1   kind (EntryKind)
//    6     2   machine version that the entry needs
//    8     8   term          (whole number < 2^53, low word first)
//   16     8   index         (likewise)
//   24     8   leader time   milliseconds since the epoch (likewise); never less than the entry's before it
//   32     4   record count
//   36     4   bytes of records; header + this = length
//   40     …   records
//
// Valid: length ≥ 40, version 1, lengths agree, CRC matches. Whoever makes an entry leaves term, index, time and
// CRC open (`makeEntry`); the leader's Raft core seals it once, when it appends it; nobody writes to it after that.
import { assert } from './assert.ts';
import { crc32c } from './crc32c.ts';
import { readUint32, readUint53, writeUint32, writeUint53 } from './uint.ts';

export const ENTRY_HEADER_BYTES = 40;
export const ENTRY_FORMAT_VERSION = 1;

export const EntryKind = {
  /** First entry of a leader's term; no records. */
  noop: 0,
  /** Records for the machine. */
  commands: 1,
  /** A change of membership, read by consensus, not by the machine. */
  membership: 2,
  /** The first entry of a cluster: its members, seeds and replicated settings. */
  bootstrap: 3,
} as const;
export type EntryKind = (typeof EntryKind)[keyof typeof EntryKind];

export const entryKind = (entry: Uint8Array): EntryKind => entry[5] as EntryKind;
export const entryMachineVersion = (entry: Uint8Array): number => entry[6]! | (entry[7]! << 8);
export const entryTerm = (entry: Uint8Array): number => readUint53(entry, 8);
export const entryIndex = (entry: Uint8Array): number => readUint53(entry, 16);
export const entryTimeMs = (entry: Uint8Array): number => readUint53(entry, 24);
export const entryRecordCount = (entry: Uint8Array): number => readUint32(entry, 32);
export const entryRecordBytes = (entry: Uint8Array): number => readUint32(entry, 36);

/** Raises the time of an entry that is not sealed yet. */
export function setEntryTimeMs(entry: Uint8Array, timeMs: number): void {
  writeUint53(entry, 24, timeMs);
}

/** Writes an open header over entry[0, 40). `entry` is the whole entry, its records already in place. */
export function writeEntryHeader(
  entry: Uint8Array,
  kind: EntryKind,
  machineVersion: number,
  recordCount: number,
  timeMs: number,
): void {
  assert(entry.length >= ENTRY_HEADER_BYTES, 'an entry has room for its header');
  entry.fill(0, 0, ENTRY_HEADER_BYTES);
  entry[4] = ENTRY_FORMAT_VERSION;
  entry[5] = kind;
  entry[6] = machineVersion;
  entry[7] = machineVersion >>> 8;
  writeUint53(entry, 24, timeMs);
  writeUint32(entry, 32, recordCount);
  writeUint32(entry, 36, entry.length - ENTRY_HEADER_BYTES);
}

/** A new entry with an open header around `records` (copied). */
export function makeEntry(
  kind: EntryKind,
  machineVersion: number,
  recordCount: number,
  timeMs: number,
  records: Uint8Array,
): Uint8Array {
  const entry = new Uint8Array(ENTRY_HEADER_BYTES + records.length);
  entry.set(records, ENTRY_HEADER_BYTES);
  writeEntryHeader(entry, kind, machineVersion, recordCount, timeMs);
  return entry;
}

/** Gives the entry its place in the log. Called once, by the leader; the time is raised to `timeMsMin` where it is behind. */
export function sealEntry(entry: Uint8Array, term: number, index: number, timeMsMin: number): void {
  writeUint53(entry, 8, term);
  writeUint53(entry, 16, index);
  if (entryTimeMs(entry) < timeMsMin) writeUint53(entry, 24, timeMsMin);
  writeUint32(entry, 0, crc32c(entry, 4));
}

/** What is wrong with these bytes as a sealed entry, or undefined. Never throws, whatever the bytes. */
export function entryFault(entry: Uint8Array): string | undefined {
  if (entry.length < ENTRY_HEADER_BYTES) return `entry of ${entry.length} bytes is shorter than its header`;
  if (entry[4] !== ENTRY_FORMAT_VERSION) return `entry format version ${entry[4]} is not ${ENTRY_FORMAT_VERSION}`;
  if (entryRecordBytes(entry) !== entry.length - ENTRY_HEADER_BYTES) {
    return `entry of ${entry.length} bytes says it has ${entryRecordBytes(entry)} bytes of records`;
  }
  const stored = readUint32(entry, 0);
  const computed = crc32c(entry, 4);
  if (stored !== computed) {
    return `entry CRC is 0x${stored.toString(16)}, its bytes give 0x${computed.toString(16)}`;
  }
  return undefined;
}
