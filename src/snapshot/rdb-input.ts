// The bytes of an RDB file on their way in. They come in chunks of any size; a parser takes them in units (`begin`), each of which
// is there whole or is tried again from its beginning when more has come: then `EndOfInput` is thrown, one object, no fault.
// Keeps the bytes of the unit under way and no others, so memory is bounded by the longest key and string. Counts the
// CRC of what was taken. Hot: indexes typed arrays directly.
import { Crc64 } from '../base/crc64.ts';
import { KiB } from '../base/limits.ts';
import { Int64 } from '../memory/integer.ts';
import { decompressLzf } from './lzf.ts';
import { RdbError } from './rdb-error.ts';
import { CHECKSUM_BYTES, LZF_RATIO_MAX, STRING_BYTES_MAX, StringForm } from './rdb-format.ts';

export class EndOfInput extends Error {}

/** Room for the rest of a unit that is kept however little there is. */
const KEPT_BYTES_MIN = 64 * KiB;
/** Buffers above this are dropped once they are empty. */
const KEPT_BYTES_MAX = 1024 * KiB;
const INTEGER_TEXT_BYTES = 24;
const TWO_32 = 0x1_0000_0000;

/** A string that was read: bytes[start, end), good until the next chunk or the next string into the same span. */
export class StringSpan {
  bytes: Uint8Array = new Uint8Array(0);
  start = 0;
  end = 0;
  readonly integerText = new Uint8Array(INTEGER_TEXT_BYTES);
  /** Where a compressed one is unpacked. */
  unpacked = new Uint8Array(0);

  get length(): number {
    return this.end - this.start;
  }

  /** As latin1, cut off after `bytesMax`. */
  text(bytesMax: number): string {
    const end = Math.min(this.end, this.start + bytesMax);
    return Buffer.from(this.bytes.buffer, this.bytes.byteOffset + this.start, end - this.start).toString('latin1');
  }
}

export class RdbInput {
  #bytes: Uint8Array = new Uint8Array(0);
  #at = 0;
  #end = 0;
  /** Where the unit under way begins, and how far it is known to reach. */
  #unit = 0;
  #needed = 0;
  /** Offset in the file of #bytes[0]. */
  #base = 0;
  /** Bytes up to here are in the CRC. */
  #summed = 0;
  /** Our own buffer, which holds the rest of a unit; empty while none is kept. */
  #kept: Uint8Array = new Uint8Array(0);
  /** undefined: somebody else adds the CRC up. */
  readonly #crc: Crc64 | undefined;
  readonly #int = new Int64();
  readonly #double = new Float64Array(1);
  readonly #doubleBytes = new Uint8Array(this.#double.buffer);
  readonly #more = new EndOfInput('the unit goes on in the next chunk');

  constructor(isSummedHere: boolean) {
    this.#crc = isSummedHere ? new Crc64() : undefined;
  }

  /** Offset in the file of the next byte. */
  get offset(): number {
    return this.#base + this.#at;
  }

  /** Offset in the file of the unit under way. */
  get unitOffset(): number {
    return this.#base + this.#unit;
  }

  /** Bytes that have come and are not taken. */
  get left(): number {
    return this.#end - this.#at;
  }

  /** Adds a chunk, which is only looked at until `rest`. False if the unit under way is still known to be incomplete. */
  add(chunk: Uint8Array): boolean {
    const before = this.#end - this.#unit;
    if (before === 0) {
      this.#bytes = chunk;
      this.#end = chunk.length;
      this.#unit = this.#at = this.#summed = 0;
    } else {
      if (this.#kept.length - this.#end < chunk.length) this.#grow(this.#end + chunk.length);
      this.#kept.set(chunk, this.#end);
      this.#end += chunk.length;
    }
    return this.#end - this.#unit >= this.#needed;
  }

  /** Ends the look at a chunk: keeps what there is of the unit under way. */
  rest(): void {
    this.#sum(this.#unit);
    this.#base += this.#unit;
    const size = this.#end - this.#unit;
    const room = this.#kept.length;
    if (this.#bytes !== this.#kept || this.#unit > 0) {
      const rest = this.#bytes.subarray(this.#unit, this.#end);
      if (room < size || (room > KEPT_BYTES_MAX && room > 4 * size)) this.#kept = new Uint8Array(Math.max(KEPT_BYTES_MIN, size));
      this.#kept.set(rest);
      this.#bytes = this.#kept;
    }
    this.#end = size;
    this.#unit = this.#at = this.#summed = 0;
  }

  /** What was taken so far is done with; a new unit begins. */
  begin(): void {
    this.#unit = this.#at;
    this.#needed = 0;
  }

  byte(): number {
    this.#need(1);
    return this.#bytes[this.#at++]!;
  }

  /** Bytes of the file as text. */
  latin1(length: number): string {
    this.#need(length);
    const at = this.#take(length);
    return Buffer.from(this.#bytes.buffer, this.#bytes.byteOffset + at, length).toString('latin1');
  }

  skip(length: number): void {
    this.#need(length);
    this.#at += length;
  }

  length(): number {
    const offset = this.offset;
    const first = this.byte();
    if (first >= 0xc0) throw new RdbError(`a length is expected, not 0x${first.toString(16)}`, offset);
    return this.#lengthAfter(first);
  }

  /** Signed, as Redis writes its times; beyond 2^53 not exact. */
  int64(): number {
    this.#need(8);
    const low = this.#uint32(this.#at);
    const high = this.#uint32(this.#at + 4) | 0;
    this.#at += 8;
    return high * TWO_32 + low;
  }

  int32(): number {
    this.#need(4);
    return this.#uint32(this.#take(4)) | 0;
  }

  double(): number {
    this.#need(8);
    for (let i = 0; i < 8; i++) this.#doubleBytes[i] = this.#bytes[this.#at++]!;
    return this.#double[0]!;
  }

  string(span: StringSpan): void {
    const offset = this.offset;
    const first = this.byte();
    if (first >= 0xc0) {
      this.#formedString(first & 0x3f, span, offset);
      return;
    }
    const length = this.#lengthAfter(first);
    checkLength(length, offset);
    this.#need(length);
    span.bytes = this.#bytes;
    span.start = this.#take(length);
    span.end = this.#at;
  }

  skipString(): void {
    this.string(this.#skipped);
  }

  readonly #skipped = new StringSpan();

  /** The CRC that follows, in hexadecimal; undefined if the writer gave none. It is not part of what it counts. */
  checksum(): string | undefined {
    this.#need(CHECKSUM_BYTES);
    this.#sum(this.#at);
    const at = this.#take(CHECKSUM_BYTES);
    this.#summed = this.#at;
    const low = this.#uint32(at);
    const high = this.#uint32(at + 4);
    if (low === 0 && high === 0) return undefined;
    if (this.#crc !== undefined && !this.#crc.matches(this.#bytes, at)) return 'wrong';
    return high.toString(16).padStart(8, '0') + low.toString(16).padStart(8, '0');
  }

  #formedString(form: number, span: StringSpan, offset: number): void {
    if (form === StringForm.lzf) {
      this.#compressedString(span, offset);
      return;
    }
    if (form > StringForm.int32) throw new RdbError(`a string of an unknown form (${form})`, offset);
    const size = 1 << form;
    this.#need(size);
    const at = this.#take(size);
    let value = 0;
    for (let i = 0; i < size; i++) value |= this.#bytes[at + i]! << (8 * i);
    const shift = 32 - 8 * size;
    this.#int.set((value << shift) >> shift);
    span.bytes = span.integerText;
    span.end = INTEGER_TEXT_BYTES;
    span.start = this.#int.format(span.integerText, INTEGER_TEXT_BYTES);
  }

  #compressedString(span: StringSpan, offset: number): void {
    const packed = this.length();
    const length = this.length();
    checkLength(packed, offset);
    checkLength(length, offset);
    this.#need(packed);
    const at = this.#take(packed);
    if (length > packed * LZF_RATIO_MAX) throw new RdbError('a compressed string that is too long for what it is packed in', offset);
    if (span.unpacked.length < length || span.unpacked.length > Math.max(length, KEPT_BYTES_MAX)) span.unpacked = new Uint8Array(length);
    if (!decompressLzf(this.#bytes, at, at + packed, span.unpacked, length)) throw new RdbError('a compressed string that is damaged', offset);
    span.bytes = span.unpacked;
    span.start = 0;
    span.end = length;
  }

  #lengthAfter(first: number): number {
    if (first < 0x40) return first;
    if (first < 0x80) return ((first & 0x3f) << 8) | this.byte();
    if (first > 0x81) throw new RdbError(`a length of an unknown form (0x${first.toString(16)})`, this.offset - 1);
    let value = 0;
    for (let i = first === 0x80 ? 4 : 8; i > 0; i--) value = value * 256 + this.byte();
    return value;
  }

  #uint32(at: number): number {
    const bytes = this.#bytes;
    return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
  }

  #take(length: number): number {
    const at = this.#at;
    this.#at = at + length;
    return at;
  }

  #need(length: number): void {
    if (this.#at + length <= this.#end) return;
    this.#needed = this.#at + length - this.#unit;
    this.#at = this.#unit;
    throw this.#more;
  }

  #sum(to: number): void {
    if (to > this.#summed) this.#crc?.update(this.#bytes, this.#summed, to);
    this.#summed = to;
  }

  /** More room for the unit under way: what has come and half as much again, but never much beyond what the unit needs. */
  #grow(size: number): void {
    const room = Math.max(size, Math.min(this.#needed + KEPT_BYTES_MIN, Math.ceil(size * 1.5)));
    const grown = new Uint8Array(room);
    grown.set(this.#kept.subarray(0, this.#end));
    this.#kept = grown;
    this.#bytes = grown;
  }
}

function checkLength(length: number, offset: number): void {
  if (length > STRING_BYTES_MAX) throw new RdbError(`a string of ${length} bytes; ${STRING_BYTES_MAX} are the most`, offset);
}
