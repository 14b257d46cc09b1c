// Writes replies as RESP2 or RESP3 bytes into a connection's output buffers. Owns the buffers it is filling; those that
// `take` hands over are the socket's until `recycle`. Indexes typed arrays directly.
//
// The bytes not yet taken are #full[0…] (each up to its #fullEnds) followed by #chunk[0, #at).
//
// What must always hold:
// - Everything given is copied: values live in memory that the next command may change.
// - A mark (of `mark` or `beginArray`) stays good until `take`, or until something before it is truncated.
// - A bulk that fits no pooled buffer gets one of its own size.
import { assert } from '../base/assert.ts';
import { MiB } from '../base/limits.ts';
import { formatDouble17 } from '../base/double.ts';
import type { Slices } from '../base/slices.ts';
import type { Reply } from './reply.ts';
import { REPLY_CHUNK_BYTES_MAX, ReplyPool } from './reply-pool.ts';

const CR = 0x0d;
const LF = 0x0a;
/** Both, as a word in little-endian order. */
const CR_LF = CR | (LF << 8);
const DIGIT_0 = 0x30;
const MINUS = 0x2d;
const Type = {
  simple: 0x2b,
  error: 0x2d,
  integer: 0x3a,
  bulk: 0x24,
  array: 0x2a,
  null: 0x5f,
  double: 0x2c,
  boolean: 0x23,
  verbatim: 0x3d,
  bigNumber: 0x28,
  map: 0x25,
  set: 0x7e,
  push: 0x3e,
  attribute: 0x7c,
} as const;

/** Type byte, sign, 16 digits of a safe integer, CR LF. */
const HEADER_BYTES_MAX = 20;
/** Room that beginArray leaves: type byte, ten digits, CR LF. */
const HOLE_BYTES = 13;
/** Below this a loop copies faster than making a view and calling `set`. */
const LOOP_COPY_BYTES_MAX = 32;
/** Of those that `bulks` copies itself: two digits say how long they are. */
const SLICE_BYTES_MAX = 100;
/** Strings up to this length are written char by char. */
const LOOP_TEXT_CHARS_MAX = 128;
/** Of a bulk of each such length, up to the carriage return: four bytes as a word, of which three count below ten. */
const BULK_HEADS = Uint32Array.from({ length: SLICE_BYTES_MAX }, (_, length) => {
  const digits = length < 10 ? DIGIT_0 + length : (DIGIT_0 + Math.floor(length / 10)) | ((DIGIT_0 + (length % 10)) << 8);
  return Type.bulk | (digits << 8) | (CR << (length < 10 ? 16 : 24));
});
const EMPTY = Buffer.alloc(0);

// A mark is ((takes mod 2^3) * 2^20 + buffers filled) * 2^30 + offset: 64 GiB of pooled buffers.
const MARK_OFFSET = 2 ** 30;
const MARK_INDEX = 2 ** 20;
const MARK_TAKES = 2 ** 3;
/** `raw` copies in pieces of at most this. */
const RAW_PIECE_BYTES = 64 * MiB;

/** What `sendTo` sends into: a connection, as src/ports/client-listener.ts has it. */
export interface ReplySocket {
  writeShort(bytes: Uint8Array, end: number): void;
  write(buffers: readonly Uint8Array[], done: () => void): void;
}

export class ReplyWriter implements Reply {
  /** The connection's protocol; HELLO sets it. */
  protocol: 2 | 3 = 2;
  /** Error replies written since the beginning; truncation does not take one back. */
  errors = 0;
  /** Hears the text of every error reply: for INFO errorstats. */
  onError: ((text: string) => void) | undefined = undefined;

  readonly #pool: ReplyPool;
  #full: Buffer[] = [];
  #fullEnds: number[] = [];
  /** Bytes in #full. */
  #fullBytes = 0;
  #chunk: Buffer = EMPTY;
  #at = 0;
  #openArrays = 0;
  #takes = 0;

  constructor(pool: ReplyPool = new ReplyPool()) {
    this.#pool = pool;
  }

  /** Bytes written and not taken. */
  get pendingBytes(): number {
    return this.#fullBytes + this.#at;
  }

  /** Memory held for bytes not taken. */
  get memoryBytes(): number {
    return this.#full.reduce((sum, chunk) => sum + chunk.length, this.#chunk.length);
  }

  /** Hands everything written so far over, in order. Nothing touches it again until `recycle`; empty if nothing is pending. */
  take(): Uint8Array[] {
    assert(this.#openArrays === 0, 'no array is open when replies are taken');
    const taken: Uint8Array[] = [];
    for (let i = 0; i < this.#full.length; i++) taken.push(this.#full[i]!.subarray(0, this.#fullEnds[i]));
    if (this.#at > 0) taken.push(this.#chunk.subarray(0, this.#at));
    else this.#release(this.#chunk);
    if (this.#full.length > 0) {
      this.#full = [];
      this.#fullEnds = [];
      this.#fullBytes = 0;
    }
    this.#chunk = EMPTY;
    this.#at = 0;
    this.#takes = (this.#takes + 1) % MARK_TAKES;
    return taken;
  }

  /** Sends everything written so far, in order. */
  sendTo(socket: ReplySocket): void {
    if (this.#full.length > 0 || this.#at > REPLY_CHUNK_BYTES_MAX) {
      const buffers = this.take();
      socket.write(buffers, () => {
        for (const buffer of buffers) this.recycle(buffer);
      });
      return;
    }
    assert(this.#openArrays === 0, 'no array is open when replies are sent');
    socket.writeShort(this.#chunk, this.#at);
    this.#release(this.#chunk);
    this.#chunk = EMPTY;
    this.#at = 0;
    this.#takes = (this.#takes + 1) % MARK_TAKES;
  }

  /** Takes a buffer that `take` handed over back, once, when the socket is done with it. */
  recycle(buffer: Uint8Array): void {
    this.#pool.give(buffer);
  }

  /** Where the reply stands, for `truncate`. */
  mark(): number {
    assert(this.#full.length < MARK_INDEX, 'a reply has fewer buffers than a mark can count');
    return (this.#takes * MARK_INDEX + this.#full.length) * MARK_OFFSET + this.#at;
  }

  /** Discards everything written since `mark`; arrays opened since then must be closed. */
  truncate(mark: number): void {
    const index = this.#markIndex(mark);
    while (this.#full.length > index) {
      this.#release(this.#chunk);
      this.#chunk = this.#full.pop()!;
      this.#at = this.#fullEnds.pop()!;
      this.#fullBytes -= this.#at;
    }
    const offset = mark % MARK_OFFSET;
    assert(this.#full.length === index && offset <= this.#at, 'a mark lies within what is written');
    this.#at = offset;
  }

  ok(): void {
    const chunk = this.#room(5);
    const at = this.#at;
    chunk[at] = Type.simple;
    chunk[at + 1] = 0x4f;
    chunk[at + 2] = 0x4b;
    chunk[at + 3] = CR;
    chunk[at + 4] = LF;
    this.#at = at + 5;
  }

  simple(text: string): void {
    this.#line(Type.simple, text);
  }

  error(text: string): void {
    this.errors++;
    this.onError?.(text);
    // As Redis does with a formatted error: line ends at the end go, those within become spaces.
    this.#line(Type.error, /[\r\n]/.test(text) ? text.replace(/[\r\n]+$/, '').replace(/[\r\n]/g, ' ') : text);
  }

  integer(value: number): void {
    this.#header(Type.integer, value);
  }

  bigInteger(value: bigint): void {
    this.#line(Type.integer, value.toString());
  }

  bulk(bytes: Uint8Array, start: number, end: number): void {
    const length = end - start;
    const chunk = this.#room(length + HEADER_BYTES_MAX + 2);
    this.#header(Type.bulk, length);
    let at = this.#at;
    if (length < LOOP_COPY_BYTES_MAX) {
      for (let from = start; from < end; from++) chunk[at++] = bytes[from]!;
    } else {
      chunk.set(bytes.subarray(start, end), at);
      at += length;
    }
    chunk[at] = CR;
    chunk[at + 1] = LF;
    this.#at = at + 2;
  }

  bulks(slices: Slices): void {
    const { bytes, words: allWords, where, starts, ends, count } = slices;
    for (let i = 0; i < count; i++) {
      const chunk = this.#chunk;
      const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.length);
      const room = chunk.length - (HEADER_BYTES_MAX + 2);
      let at = this.#at;
      for (; i < count; i++) {
        const start = starts[i]!;
        const length = ends[i]! - start;
        if (length >= SLICE_BYTES_MAX || at + length > room) break;
        const words = allWords[where[i]!]!;
        view.setUint32(at, BULK_HEADS[length]!, true);
        at += length < 10 ? 3 : 4;
        chunk[at++] = LF;
        // The last word may write over what follows, which comes next.
        for (let from = start >>> 2, to = at; to < at + length; from++, to += 4) view.setUint32(to, words[from]!, true);
        at += length;
        view.setUint16(at, CR_LF, true);
        at += 2;
      }
      this.#at = at;
      if (i < count) this.bulk(bytes[where[i]!]!, starts[i]!, ends[i]!);
    }
  }

  bulkText(text: string): void {
    this.#textBulk(Type.bulk, '', text);
  }

  bulkInteger(value: number): void {
    this.#room(2 * HEADER_BYTES_MAX);
    this.#header(Type.bulk, value < 0 ? digitsOf(-value) + 1 : digitsOf(value));
    const chunk = this.#chunk;
    const at = writeDecimal(chunk, this.#at, value);
    chunk[at] = CR;
    chunk[at + 1] = LF;
    this.#at = at + 2;
  }

  null(): void {
    if (this.protocol === 3) this.#line(Type.null, '');
    else this.#header(Type.bulk, -1);
  }

  nullArray(): void {
    if (this.protocol === 3) this.#line(Type.null, '');
    else this.#header(Type.array, -1);
  }

  array(count: number): void {
    this.#header(Type.array, count);
  }

  map(pairs: number): void {
    if (this.protocol === 3) this.#header(Type.map, pairs);
    else this.#header(Type.array, pairs * 2);
  }

  set(count: number): void {
    this.#header(this.protocol === 3 ? Type.set : Type.array, count);
  }

  push(count: number): void {
    this.#header(this.protocol === 3 ? Type.push : Type.array, count);
  }

  attribute(pairs: number): void {
    assert(this.protocol === 3, 'RESP2 has no attributes');
    this.#header(Type.attribute, pairs);
  }

  double(value: number): void {
    const whole = value | 0;
    if (whole === value && (whole !== 0 || !Object.is(value, -0))) {
      if (this.protocol === 3) this.#header(Type.double, whole);
      else this.bulkInteger(whole);
      return;
    }
    const text = formatDouble17(value);
    if (this.protocol === 3) this.#line(Type.double, text);
    else this.bulkText(text);
  }

  boolean(value: boolean): void {
    if (this.protocol === 3) this.#line(Type.boolean, value ? 't' : 'f');
    else this.#header(Type.integer, value ? 1 : 0);
  }

  verbatim(text: string, format: 'txt' | 'mkd'): void {
    if (this.protocol === 3) this.#textBulk(Type.verbatim, `${format}:`, text);
    else this.bulkText(text);
  }

  bigNumber(text: string): void {
    if (this.protocol === 3) this.#line(Type.bigNumber, text);
    else this.bulkText(text);
  }

  beginArray(): number {
    this.#room(HOLE_BYTES);
    const mark = this.mark();
    this.#at += HOLE_BYTES;
    this.#openArrays++;
    return mark;
  }

  /** Fills the hole that beginArray left and closes up what is behind it in the same buffer. */
  endArray(mark: number, count: number): void {
    const index = this.#markIndex(mark);
    const offset = mark % MARK_OFFSET;
    const isLast = index === this.#full.length;
    assert(this.#openArrays > 0 && index <= this.#full.length, 'the array that ends is open');
    const chunk = isLast ? this.#chunk : this.#full[index]!;
    const end = isLast ? this.#at : this.#fullEnds[index]!;
    assert(offset + HOLE_BYTES <= end, 'the array that ends is within what is written');
    chunk[offset] = Type.array;
    const headerEnd = writeDecimal(chunk, offset + 1, count);
    chunk[headerEnd] = CR;
    chunk[headerEnd + 1] = LF;
    const gap = offset + HOLE_BYTES - (headerEnd + 2);
    chunk.copyWithin(headerEnd + 2, offset + HOLE_BYTES, end);
    if (isLast) {
      this.#at -= gap;
    } else {
      this.#fullEnds[index] = end - gap;
      this.#fullBytes -= gap;
    }
    this.#openArrays--;
  }

  /** Copies bytes that are RESP already: a reply that another node made, a message encoded once for many subscribers. */
  raw(bytes: Uint8Array, start: number, end: number): void {
    for (let from = start; from < end; from += RAW_PIECE_BYTES) {
      const to = Math.min(end, from + RAW_PIECE_BYTES);
      const chunk = this.#room(to - from);
      chunk.set(bytes.subarray(from, to), this.#at);
      this.#at += to - from;
    }
  }

  #markIndex(mark: number): number {
    const high = Math.floor(mark / MARK_OFFSET);
    assert(Math.floor(high / MARK_INDEX) === this.#takes, 'a mark is used before the next take');
    return high % MARK_INDEX;
  }

  /** The current buffer, with room for `bytes` more. */
  #room(bytes: number): Buffer {
    if (this.#at + bytes > this.#chunk.length) this.#nextChunk(bytes);
    return this.#chunk;
  }

  #nextChunk(bytesMin: number): void {
    assert(bytesMin <= MARK_OFFSET, () => `a reply buffer of ${bytesMin} bytes is beyond what a mark can hold`);
    if (this.#full.length === 0 && this.#at > 0 && this.#at + bytesMin <= REPLY_CHUNK_BYTES_MAX) {
      // A reply in one buffer leaves at once; copying the little there is costs less than sending two.
      const larger = this.#pool.take(this.#at + bytesMin);
      larger.set(this.#chunk.subarray(0, this.#at));
      this.#release(this.#chunk);
      this.#chunk = larger;
      return;
    }
    if (this.#at > 0) {
      this.#full.push(this.#chunk);
      this.#fullEnds.push(this.#at);
      this.#fullBytes += this.#at;
    } else {
      this.#release(this.#chunk);
    }
    this.#chunk = this.#pool.take(this.#full.length === 0 ? bytesMin : Math.max(bytesMin, REPLY_CHUNK_BYTES_MAX));
    this.#at = 0;
  }

  #release(chunk: Buffer): void {
    if (chunk !== EMPTY) this.#pool.giveBack(chunk);
  }

  /** A type byte and a whole number. */
  #header(type: number, value: number): void {
    const chunk = this.#room(HEADER_BYTES_MAX);
    let at = this.#at;
    chunk[at] = type;
    if (value >= 0 && value < 10) {
      chunk[at + 1] = DIGIT_0 + value;
      at += 2;
    } else {
      at = writeDecimal(chunk, at + 1, value);
    }
    chunk[at] = CR;
    chunk[at + 1] = LF;
    this.#at = at + 2;
  }

  /** A type byte and a text: a char up to U+00FF is one byte (Args.latin1 makes such texts), any further one makes it UTF-8. */
  #line(type: number, text: string): void {
    const chunk = this.#room(text.length * 3 + 3);
    let at = this.#at;
    chunk[at++] = type;
    if (text.length <= LOOP_TEXT_CHARS_MAX || /^[\x00-\xff]*$/.test(text)) {
      let i = 0;
      for (; i < text.length; i++) {
        const c = text.charCodeAt(i);
        if (c > 0xff) break;
        chunk[at + i] = c;
      }
      at += i === text.length ? i : chunk.write(text, at, 'utf8');
    } else {
      at += chunk.write(text, at, 'utf8');
    }
    chunk[at] = CR;
    chunk[at + 1] = LF;
    this.#at = at + 2;
  }

  /** A bulk-like type of an ASCII prefix and a text as UTF-8. */
  #textBulk(type: number, prefix: string, text: string): void {
    const length = prefix.length + Buffer.byteLength(text);
    const chunk = this.#room(length + HEADER_BYTES_MAX + 2);
    this.#header(type, length);
    let at = this.#at;
    for (let i = 0; i < prefix.length; i++) chunk[at++] = prefix.charCodeAt(i);
    if (text.length === length - prefix.length && text.length <= LOOP_TEXT_CHARS_MAX) {
      for (let i = 0; i < text.length; i++) chunk[at++] = text.charCodeAt(i);
    } else {
      at += chunk.write(text, at, 'utf8');
    }
    chunk[at] = CR;
    chunk[at + 1] = LF;
    this.#at = at + 2;
  }
}

/** Decimal digits of a whole number ≥ 0. */
function digitsOf(value: number): number {
  if (value < 10) return 1;
  if (value < 100) return 2;
  if (value < 1000) return 3;
  if (value < 10_000) return 4;
  if (value < 100_000) return 5;
  if (value < 1e6) return 6;
  if (value < 1e7) return 7;
  let digits = 8;
  for (let limit = 1e8; value >= limit; limit *= 10) digits++;
  return digits;
}

/** Writes a safe integer; where it ends. */
function writeDecimal(chunk: Uint8Array, start: number, value: number): number {
  let at = start;
  let rest = value;
  if (rest < 0) {
    chunk[at++] = MINUS;
    rest = -rest;
  }
  const end = at + digitsOf(rest);
  let k = end;
  while (rest > 0x7fff_ffff) {
    const tenth = Math.floor(rest / 10);
    chunk[--k] = DIGIT_0 + (rest - tenth * 10);
    rest = tenth;
  }
  // Of an int32 the compiler knows that it needs no floating point.
  for (let small = rest | 0; k > at; ) {
    const tenth = (small / 10) | 0;
    chunk[--k] = DIGIT_0 + (small - tenth * 10);
    small = tenth;
  }
  return end;
}
