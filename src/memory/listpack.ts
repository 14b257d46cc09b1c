// Listpacks, byte for byte as Redis 7.0 writes them (its listpack.md and listpack.c): small strings and integers one after
// another in a run of bytes, for packed hashes, sorted sets, lists and stream blocks.
//
//   0  bytes in all, 4, little-endian      4  entries, 2, little-endian; 65535: that many or more      6  entries      0xff
// An entry: encoding and content, and then their length (backlen) in 7-bit groups, the most significant first, each
// but the first with its top bit set, so that it is read from its end backwards.
//   0xxxxxxx            integer 0–127             10xxxxxx …           string of up to 63 bytes
//   110xxxxx x          integer, 13 bits, signed  1110xxxx x …         string of up to 4095 bytes
//   f1 f2 f3 f4         integer of 2, 3, 4, 8 bytes, little-endian     f0 llll …   string, length in 4 bytes, little-endian
// A string that is a 64-bit integer in canonical form is always an integer here, in the shortest encoding.
//
// A Listpack looks at bytes that its owner keeps, with room behind them for what it adds; it keeps no bytes. A position is the
// index in `bytes` at which an entry begins; 0 is none. Any change moves the entries behind it.
// What must hold: what is opened is whole, as `isListpack` checks. Hot: indexes typed arrays directly.
import { assert } from '../base/assert.ts';
import { copyBytes } from './bytes.ts';
import { Int64, INTEGER_TEXT_BYTES_MAX } from './integer.ts';

const HEADER_BYTES = 6;
const END = 0xff;
const COUNT_UNKNOWN = 0xffff;
/** Header and end. */
export const LISTPACK_EMPTY_BYTES = HEADER_BYTES + 1;
/** Encoding, backlen and content of an entry take at most this more than the text. */
export const LISTPACK_ENTRY_EXTRA_BYTES_MAX = 10;

const INT_13 = 0xc0;
const STRING_12 = 0xe0;
const STRING_32 = 0xf0;
const INT_16 = 0xf1;
const INT_24 = 0xf2;
const INT_64 = 0xf4;

/** Bytes that the length of encoding and content takes. */
function backlenBytes(length: number): number {
  if (length <= 127) return 1;
  if (length < 16383) return 2;
  if (length < 2097151) return 3;
  return length < 268435455 ? 4 : 5;
}

/** Bytes of encoding and content of the entry at `p`; 1 at the end. */
function contentBytes(bytes: Uint8Array, p: number): number {
  const b = bytes[p]!;
  if (b < 0x80) return 1;
  if (b < INT_13) return 1 + (b & 0x3f);
  if (b < STRING_12) return 2;
  if (b < STRING_32) return 2 + (((b & 0xf) << 8) | bytes[p + 1]!);
  if (b === STRING_32) return 5 + uint32(bytes, p + 1);
  if (b === INT_64) return 9;
  return b === END ? 1 : b - INT_16 + 3;
}

function uint32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
}

function writeUint32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 24;
}

/** Writes an empty listpack, of LISTPACK_EMPTY_BYTES. */
export function writeEmptyListpack(bytes: Uint8Array, at: number): void {
  writeUint32(bytes, at, LISTPACK_EMPTY_BYTES);
  bytes[at + 4] = 0;
  bytes[at + 5] = 0;
  bytes[at + HEADER_BYTES] = END;
}

export class Listpack {
  bytes: Uint8Array = new Uint8Array(0);
  /** Where the listpack begins. */
  start = 0;
  /** Bytes from `start` on that it may come to take. */
  room = 0;
  /** What `read` found: the entry's text is valueBytes[valueStart, valueEnd). Good until the next `read` or change. */
  valueBytes: Uint8Array = this.bytes;
  valueStart = 0;
  valueEnd = 0;
  readonly #int = new Int64();
  readonly #wanted = new Int64();
  readonly #text = new Uint8Array(INTEGER_TEXT_BYTES_MAX + 4);

  open(bytes: Uint8Array, start: number, room: number): void {
    this.bytes = bytes;
    this.start = start;
    this.room = room;
  }

  get totalBytes(): number {
    return uint32(this.bytes, this.start);
  }

  /** Entries; counted one by one where the header does not say. */
  get count(): number {
    const known = this.#headerCount();
    if (known !== COUNT_UNKNOWN) return known;
    let count = 0;
    for (let p = this.first(); p !== 0; p = this.next(p)) count++;
    return count;
  }

  /** Where the end marker stands: the position for what is appended. */
  get end(): number {
    return this.start + this.totalBytes - 1;
  }

  first(): number {
    const p = this.start + HEADER_BYTES;
    return this.bytes[p] === END ? 0 : p;
  }

  last(): number {
    return this.#before(this.end);
  }

  /** The entry after the one at `p`. */
  next(p: number): number {
    const after = this.after(p);
    return this.bytes[after] === END ? 0 : after;
  }

  /** As `next`, but the end's position after the last one. */
  after(p: number): number {
    const length = contentBytes(this.bytes, p);
    return p + length + backlenBytes(length);
  }

  previous(p: number): number {
    return this.#before(p);
  }

  /** The entry with this index, negative ones from the end. */
  seek(index: number): number {
    const known = this.#headerCount();
    let forward = index >= 0;
    let steps = forward ? index : -index - 1;
    if (known !== COUNT_UNKNOWN) {
      const position = forward ? index : known + index;
      if (position < 0 || position >= known) return 0;
      forward = position <= known >> 1;
      steps = forward ? position : known - 1 - position;
    }
    let p = forward ? this.first() : this.last();
    for (; steps > 0 && p !== 0; steps--) p = forward ? this.next(p) : this.previous(p);
    return p;
  }

  isInteger(p: number): boolean {
    const b = this.bytes[p]!;
    return b < 0x80 || (b >= INT_13 && b < STRING_12) || (b > STRING_32 && b < END);
  }

  /** The integer of an integer entry; one object, used again. */
  integer(p: number): Int64 {
    this.#readInteger(p);
    return this.#int;
  }

  /** Finds the entry's text: where it lies, or written out if it is an integer. */
  read(p: number): void {
    const { bytes } = this;
    if (this.isInteger(p)) {
      this.#readInteger(p);
      this.valueBytes = this.#text;
      this.valueEnd = this.#text.length;
      this.valueStart = this.#int.format(this.#text, this.valueEnd);
      return;
    }
    this.valueBytes = bytes;
    this.valueStart = p + stringOffset(bytes[p]!);
    this.valueEnd = p + contentBytes(bytes, p);
  }

  /** Bytes of the entry's text. */
  textBytes(p: number): number {
    if (!this.isInteger(p)) return contentBytes(this.bytes, p) - stringOffset(this.bytes[p]!);
    this.read(p);
    return this.valueEnd - this.valueStart;
  }

  /** The first entry at `p`, or every `skip` + 1 entries after it, whose text is source[start, end). */
  find(p: number, source: Uint8Array, start: number, end: number, skip: number): number {
    const { bytes } = this;
    const length = end - start;
    const wanted = this.#wanted;
    const isNumber = wanted.parse(source, start, end);
    let pass = 0;
    for (let at = p; at !== 0 && bytes[at] !== END; ) {
      const content = contentBytes(bytes, at);
      if (pass > 0) pass--;
      else {
        pass = skip;
        if (this.isInteger(at)) {
          if (isNumber) {
            this.#readInteger(at);
            if (this.#int.low === wanted.low && this.#int.high === wanted.high) return at;
          }
        } else if (!isNumber) {
          let i = at + stringOffset(bytes[at]!);
          if (at + content - i === length) {
            let j = start;
            while (j < end && bytes[i] === source[j]) {
              i++;
              j++;
            }
            if (j === end) return at;
          }
        }
      }
      at += content + backlenBytes(content);
    }
    return 0;
  }

  /** Bytes of an entry for this text. */
  entryBytes(source: Uint8Array, start: number, end: number): number {
    const content = this.#contentBytesFor(source, start, end);
    return content + backlenBytes(content);
  }

  /** Bytes of the entry at `p`. */
  entryBytesAt(p: number): number {
    const content = contentBytes(this.bytes, p);
    return content + backlenBytes(content);
  }

  append(source: Uint8Array, start: number, end: number): void {
    this.insert(this.end, source, start, end);
  }

  /** Puts an entry before the one at `p`, or at the end. The text must not lie in this listpack. */
  insert(p: number, source: Uint8Array, start: number, end: number): void {
    const content = this.#contentBytesFor(source, start, end);
    this.#resize(p, 0, content + backlenBytes(content));
    this.#write(p, content, source, start, end);
    this.#addCount(1);
  }

  /** Puts another text in the place of the entry at `p`. */
  replace(p: number, source: Uint8Array, start: number, end: number): void {
    const content = this.#contentBytesFor(source, start, end);
    this.#resize(p, this.entryBytesAt(p), content + backlenBytes(content));
    this.#write(p, content, source, start, end);
  }

  /** Takes `count` entries out, the one at `p` and those after it; fewer if the end comes first. What follows stands at `p` then. */
  remove(p: number, count = 1): void {
    let removed = 0;
    let after = p;
    while (removed < count && this.bytes[after] !== END) {
      after = this.after(after);
      removed++;
    }
    if (removed === 0) return;
    this.#resize(p, after - p, 0);
    this.#addCount(-removed);
  }

  #headerCount(): number {
    return this.bytes[this.start + 4]! | (this.bytes[this.start + 5]! << 8);
  }

  #addCount(by: number): void {
    const known = this.#headerCount();
    if (known === COUNT_UNKNOWN) return;
    this.bytes[this.start + 4] = known + by;
    this.bytes[this.start + 5] = (known + by) >>> 8;
  }

  /** The entry that ends where `p` begins. */
  #before(p: number): number {
    if (p === this.start + HEADER_BYTES) return 0;
    const { bytes } = this;
    let length = 0;
    let scale = 1;
    let i = p - 1;
    for (; ; i--) {
      const b = bytes[i]!;
      length += (b & 0x7f) * scale;
      if (b < 0x80) break;
      scale *= 128;
    }
    return i - length;
  }

  /** Makes `removed` bytes at `p` into `added`, with what follows moved. */
  #resize(p: number, removed: number, added: number): void {
    if (removed === added) return;
    const total = this.totalBytes;
    const next = total - removed + added;
    assert(next <= this.room, () => `a listpack of ${next} bytes has room for ${this.room}`);
    this.bytes.copyWithin(p + added, p + removed, this.start + total);
    writeUint32(this.bytes, this.start, next);
  }

  /** Bytes of encoding and content; leaves the integer, if it is one, in `#wanted`. */
  #contentBytesFor(source: Uint8Array, start: number, end: number): number {
    if (this.#wanted.parse(source, start, end)) return integerBytes(this.#wanted.low, this.#wanted.high);
    const length = end - start;
    return length + (length < 64 ? 1 : length < 4096 ? 2 : 5);
  }

  /** Writes the entry whose encoding and content take `content` bytes. */
  #write(p: number, content: number, source: Uint8Array, start: number, end: number): void {
    const { bytes } = this;
    const length = end - start;
    if (this.#wanted.parse(source, start, end)) writeInteger(bytes, p, this.#wanted.low, this.#wanted.high, content);
    else {
      let at = p + 1;
      if (length < 64) bytes[p] = 0x80 | length;
      else if (length < 4096) {
        bytes[p] = STRING_12 | (length >>> 8);
        bytes[p + 1] = length;
        at = p + 2;
      } else {
        bytes[p] = STRING_32;
        writeUint32(bytes, p + 1, length);
        at = p + 5;
      }
      copyBytes(source, start, end, bytes, at);
    }
    writeBacklen(bytes, p + content, content);
  }

  #readInteger(p: number): void {
    const { bytes } = this;
    const int = this.#int;
    const b = bytes[p]!;
    let value: number;
    if (b < 0x80) value = b;
    else if (b < STRING_12) value = (((b & 0x1f) << 27) >> 19) | bytes[p + 1]!;
    else if (b === INT_16) value = ((bytes[p + 1]! << 16) | (bytes[p + 2]! << 24)) >> 16;
    else if (b === INT_24) value = ((bytes[p + 1]! << 8) | (bytes[p + 2]! << 16) | (bytes[p + 3]! << 24)) >> 8;
    else value = uint32(bytes, p + 1) | 0;
    int.low = value >>> 0;
    int.high = b === INT_64 ? uint32(bytes, p + 5) | 0 : value >> 31;
  }
}

/** Bytes before a string entry's text. */
function stringOffset(b: number): number {
  return b < INT_13 ? 1 : b < STRING_32 ? 2 : 5;
}

function integerBytes(low: number, high: number): number {
  const value = low | 0;
  if (high !== value >> 31) return 9;
  if (value >= 0 && value <= 127) return 1;
  if (value >= -4096 && value <= 4095) return 2;
  if (value >= -32768 && value <= 32767) return 3;
  return value >= -8388608 && value <= 8388607 ? 4 : 5;
}

function writeInteger(bytes: Uint8Array, p: number, low: number, high: number, content: number): void {
  if (content === 1) bytes[p] = low;
  else if (content === 2) {
    bytes[p] = INT_13 | ((low >>> 8) & 0x1f);
    bytes[p + 1] = low;
  } else {
    bytes[p] = content === 9 ? INT_64 : INT_16 + content - 3;
    const four = Math.min(content - 1, 4);
    for (let i = 0; i < four; i++) bytes[p + 1 + i] = low >>> (8 * i);
    if (content === 9) writeUint32(bytes, p + 5, high);
  }
}

function writeBacklen(bytes: Uint8Array, at: number, length: number): void {
  const count = backlenBytes(length);
  let rest = length;
  for (let i = count - 1; i > 0; i--) {
    bytes[at + i] = (rest & 0x7f) | 0x80;
    rest = rest >>> 7;
  }
  bytes[at] = rest;
}

/** True if bytes[start, end) are a whole listpack: lengths, both ways, and count agree. For bytes that come from outside. */
export function isListpack(bytes: Uint8Array, start: number, end: number): boolean {
  const length = end - start;
  if (length < LISTPACK_EMPTY_BYTES || uint32(bytes, start) !== length || bytes[end - 1] !== END) return false;
  const known = bytes[start + 4]! | (bytes[start + 5]! << 8);
  let count = 0;
  let p = start + HEADER_BYTES;
  while (bytes[p] !== END) {
    const b = bytes[p]!;
    if (b > INT_64) return false;
    // The encoding's own length must lie inside before it is read.
    if (p + (b === STRING_32 ? 5 : b >= STRING_12 && b < STRING_32 ? 2 : 1) > end - 1) return false;
    const content = contentBytes(bytes, p);
    const back = backlenBytes(content);
    if (p + content + back > end - 1) return false;
    if (!isBacklen(bytes, p + content, content, back)) return false;
    p += content + back;
    count++;
  }
  return p === end - 1 && (known === COUNT_UNKNOWN || known === count);
}

function isBacklen(bytes: Uint8Array, at: number, length: number, count: number): boolean {
  let rest = length;
  for (let i = count - 1; i > 0; i--) {
    if (bytes[at + i] !== ((rest & 0x7f) | 0x80)) return false;
    rest = rest >>> 7;
  }
  return bytes[at] === rest;
}
