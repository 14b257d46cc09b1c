// Records: what a log entry's body is made of. This file owns their bytes.
//
// Envelope, little-endian, 24 bytes:
//   offset size
//    0     4   length of the whole record, envelope included
//    4     1   kind (RecordKind)
//    5     1   RESP protocol of the client, 2 or 3
//    6     2   database number
//    8     2   origin: raft id of the node whose client sent it
//   10     2   0
//   12     4   boot: random number of that node's process, so that a restarted node never takes a record for its own
//   16     4   session: number of the connection on that node; 0 for the node itself
//   20     4   sequence number in the session
//   24     …   payload
// Payloads:
//   command  one command as a RESP multibulk
//   exec     u53 applied index when the first WATCH was taken (2^53 − 1 without WATCH) | u32 watched keys | u32 commands
//            | watched: (u16 db, u53 version, u32 length, key)… | commands: RESP multibulks one after another
//   expire   u53 log time at which the keys were seen expired | u32 count | (u53 deadline ms, u32 length, key)…
//   evict    u32 count | (u32 length, key)…
//   setting  u32 count | (u32 length, name, u53 value)…  values of ReplicatedSettings are whole numbers (two's complement by sign byte)
//   checkpoint  u53 index of the checkpoint before, 0 for none | u32 low | u32 high: machine digest after that entry
// Valid: lengths add up exactly. The leader wrote them and the CRC covers them, so a fault here is a broken invariant.
import { assert } from '../base/assert.ts';
import { readUint32, readUint53, writeUint32, writeUint53 } from '../base/uint.ts';

export const RECORD_HEADER_BYTES = 24;
export const NO_WATCH = Number.MAX_SAFE_INTEGER;

export const RecordKind = {
  command: 1,
  exec: 2,
  expire: 3,
  evict: 4,
  setting: 5,
  checkpoint: 6,
} as const;
export type RecordKind = (typeof RecordKind)[keyof typeof RecordKind];

/** The whole number nearest to `near` whose low 32 bits are `low`: sequence numbers in records wrap around. */
export function fullSequence(near: number, low: number): number {
  return near + ((low - near) | 0);
}

/** Who sent a record, and where its reply goes. */
export interface Origin {
  readonly node: number;
  readonly boot: number;
}

export interface WatchedKey {
  readonly db: number;
  readonly key: Uint8Array;
  readonly version: number;
}

/** Reads a record's envelope in place. Reused; allocates nothing. */
export class RecordView {
  bytes: Uint8Array = new Uint8Array(0);
  start = 0;
  end = 0;
  kind: RecordKind = RecordKind.command;
  protocol: 2 | 3 = 2;
  db = 0;
  node = 0;
  boot = 0;
  session = 0;
  sequence = 0;

  get payload(): number {
    return this.start + RECORD_HEADER_BYTES;
  }

  /** Points at the record at `start`, which must end at or before `limit`. */
  read(bytes: Uint8Array, start: number, limit: number): void {
    assert(start + RECORD_HEADER_BYTES <= limit, () => `record at ${start} of ${limit} bytes has no envelope`);
    this.bytes = bytes;
    this.start = start;
    const length = readUint32(bytes, start);
    this.end = start + length;
    assert(
      length >= RECORD_HEADER_BYTES && this.end <= limit,
      () => `record of ${length} bytes at ${start} does not fit in ${limit}`,
    );
    this.kind = bytes[start + 4]! as RecordKind;
    this.protocol = bytes[start + 5]! === 3 ? 3 : 2;
    this.db = bytes[start + 6]! | (bytes[start + 7]! << 8);
    this.node = bytes[start + 8]! | (bytes[start + 9]! << 8);
    this.boot = readUint32(bytes, start + 12);
    this.session = readUint32(bytes, start + 16);
    this.sequence = readUint32(bytes, start + 20);
  }
}

/** Buffers kept for use again: one at the log and one being filled are usual. */
const SPARES_MAX = 2;

/** Builds records one after another in a growing buffer with `headroom` bytes left free in front (the entry's header). */
export class RecordBuilder {
  bytes: Uint8Array;
  length: number;
  count = 0;
  readonly #headroom: number;
  readonly #capacity: number;
  /** Each of #capacity bytes. */
  readonly #spares: Uint8Array[] = [];
  #recordStart = 0;
  /** Where the last whole record ends: what a failure left behind it is written over. */
  #wholeLength: number;

  constructor(headroom: number, capacity: number) {
    this.#headroom = headroom;
    this.#capacity = Math.max(capacity, headroom + 256);
    this.bytes = new Uint8Array(this.#capacity);
    this.length = headroom;
    this.#wholeLength = headroom;
  }

  get recordBytes(): number {
    return this.length - this.#headroom;
  }

  /** Empties the builder; keeps the buffer unless `capacityMax` is exceeded. */
  clear(capacityMax: number): void {
    if (this.bytes.length > capacityMax) this.bytes = new Uint8Array(capacityMax);
    this.length = this.#headroom;
    this.#wholeLength = this.length;
    this.count = 0;
  }

  /** The headroom and the records, not copied; the builder goes on empty with another buffer. */
  take(): Uint8Array {
    const taken = this.bytes.subarray(0, this.length);
    this.bytes = this.#spares.pop() ?? new Uint8Array(this.#capacity);
    this.clear(Infinity);
    return taken;
  }

  /** Nobody looks at what was taken any more: its buffer is used again, unless it is of another size or there are enough. */
  giveBack(taken: Uint8Array): void {
    const { buffer } = taken;
    if (buffer.byteLength === this.#capacity && this.#spares.length < SPARES_MAX) this.#spares.push(new Uint8Array(buffer));
  }

  begin(kind: RecordKind, protocol: 2 | 3, db: number, origin: Origin, session: number, sequence: number): void {
    this.length = this.#wholeLength;
    this.#reserve(RECORD_HEADER_BYTES);
    const at = (this.#recordStart = this.length);
    const bytes = this.bytes;
    bytes[at + 4] = kind;
    bytes[at + 5] = protocol;
    bytes[at + 6] = db;
    bytes[at + 7] = db >>> 8;
    bytes[at + 8] = origin.node;
    bytes[at + 9] = origin.node >>> 8;
    bytes[at + 10] = 0;
    bytes[at + 11] = 0;
    writeUint32(bytes, at + 12, origin.boot);
    writeUint32(bytes, at + 16, session);
    writeUint32(bytes, at + 20, sequence);
    this.length = at + RECORD_HEADER_BYTES;
  }

  put(source: Uint8Array, start: number, end: number): void {
    const size = end - start;
    this.#reserve(size);
    const to = this.length;
    if (size <= 64) {
      const bytes = this.bytes;
      for (let i = 0; i < size; i++) bytes[to + i] = source[start + i]!;
    } else {
      this.bytes.set(start === 0 && end === source.length ? source : source.subarray(start, end), to);
    }
    this.length = to + size;
  }

  uint16(value: number): void {
    this.#reserve(2);
    this.bytes[this.length] = value;
    this.bytes[this.length + 1] = value >>> 8;
    this.length += 2;
  }

  uint32(value: number): void {
    this.#reserve(4);
    writeUint32(this.bytes, this.length, value);
    this.length += 4;
  }

  uint53(value: number): void {
    this.#reserve(8);
    writeUint53(this.bytes, this.length, value);
    this.length += 8;
  }

  /** Closes the record that `begin` opened. */
  end(): void {
    writeUint32(this.bytes, this.#recordStart, this.length - this.#recordStart);
    this.#wholeLength = this.length;
    this.count++;
  }

  /** Appends whole records made elsewhere (a forwarded batch). */
  append(records: Uint8Array, count: number): void {
    this.length = this.#wholeLength;
    this.put(records, 0, records.length);
    this.#wholeLength = this.length;
    this.count += count;
  }

  #reserve(size: number): void {
    const need = this.length + size;
    if (need <= this.bytes.length) return;
    const grown = new Uint8Array(Math.max(need, this.bytes.length * 2));
    grown.set(this.bytes.subarray(0, this.length));
    this.bytes = grown;
  }
}

/** Walks a payload; every read is checked against the record's end. */
export class PayloadReader {
  #bytes: Uint8Array;
  #at: number;
  readonly #end: number;

  constructor(bytes: Uint8Array, start: number, end: number) {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
  }

  get position(): number {
    return this.#at;
  }

  uint16(): number {
    const at = this.#take(2);
    return this.#bytes[at]! | (this.#bytes[at + 1]! << 8);
  }

  uint32(): number {
    return readUint32(this.#bytes, this.#take(4));
  }

  uint53(): number {
    return readUint53(this.#bytes, this.#take(8));
  }

  /** Skips `length` bytes and returns where they start. */
  skip(length: number): number {
    return this.#take(length);
  }

  view(length: number): Uint8Array {
    const at = this.#take(length);
    return this.#bytes.subarray(at, at + length);
  }

  #take(length: number): number {
    const at = this.#at;
    assert(at + length <= this.#end, () => `payload ends at ${this.#end}, ${length} bytes wanted at ${at}`);
    this.#at = at + length;
    return at;
  }
}
