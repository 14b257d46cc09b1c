// The request decoder: turns the bytes of one connection into commands. Owns the bytes of a command that has not
// wholly arrived (`#carry`) and, while its caller does not want commands, the rest of what was fed (`#source`).
// Touches nothing else. Indexes typed arrays directly.
//
// There are two ways through. A command that lies whole in the fed bytes is parsed there by `parseMultibulk`: no copy,
// no allocation, no state. Whatever that does not take (half a command, an inline command, an empty or a malformed
// one) goes through the resumable machine, which moves exactly one command's bytes, piece by piece, into the carry.
// Only the machine finds errors, and it sees every byte once, so how the bytes were cut into pieces never shows.
//
// What must always hold:
// - The carry holds bytes of at most one command; fed bytes before #at are consumed.
// - Memory is at most a constant and four times the bytes that arrived (an announced length allocates nothing).
// - After 'error' every later `next` gives 'error'.
// - As in Redis, the byte after a header's CR and the two after a bulk are skipped unread, and a NUL hides every line
//   end behind it; raw bytes of a command therefore parse again (parseRequestInto) but need not be canonical.
import { assert } from '../base/assert.ts';
import type { Args } from './args.ts';
import { parseInteger64, parseSafeInteger } from './args.ts';
import { InlineStatus, rewriteInline } from './inline.ts';

const STAR = 0x2a;
const DOLLAR = 0x24;
const CR = 0x0d;
const LF = 0x0a;
const DIGIT_0 = 0x30;

/** What a connection may send before it has authenticated, as in Redis. */
export const UNAUTHENTICATED_MULTIBULK_MAX = 10;
export const UNAUTHENTICATED_BULK_BYTES_MAX = 16384;
/** Offsets are 32-bit: no buffer of ours reaches 2 GiB. */
const OFFSET_MAX = 0x7fff_ffff;
const CARRY_BYTES_MIN = 1024;
/** A carry larger than this is given back as soon as its command is done. */
const CARRY_BYTES_KEPT = 1024;
/** The smallest bulk, `$0\r\n\r\n`. */
const BULK_ENCODED_BYTES_MIN = 6;
const EMPTY = new Uint8Array(0);

export interface DecoderLimits {
  /** proto-max-bulk-len */
  readonly bulkBytesMax: number;
  readonly multibulkMax: number;
  /** Longest inline command or header line, without its end. */
  readonly inlineMax: number;
  /** client-query-buffer-limit; below 2 GiB. */
  readonly queryBufferBytesMax: number;
}

export type DecodeResult = 'command' | 'incomplete' | 'error';

/** The machine's states. */
const Stage = {
  /** Between commands; the carry is empty. */
  idle: 0,
  inlineLine: 1,
  countLine: 2,
  lengthLine: 3,
  bulk: 4,
} as const;
type Stage = (typeof Stage)[keyof typeof Stage];

export class RequestDecoder {
  bulkBytesMax: number;
  queryBufferBytesMax: number;
  /** False: Redis's narrow limits for a connection that has yet to authenticate. */
  authenticated = true;
  /** After 'error': the reply's text behind "-ERR ", or why the connection is closed without a reply. */
  error = '';
  /** 'queryBufferLimit': close without a reply and log, as Redis does. */
  errorKind: 'protocol' | 'queryBufferLimit' = 'protocol';
  /** The last command as RESP: args.bytes[commandStart, commandEnd). */
  commandStart = 0;
  commandEnd = 0;
  /** True if the last command came inline (and was rewritten as RESP). */
  inline = false;

  readonly #multibulkMax: number;
  readonly #inlineMax: number;
  #failed = false;

  /** Fed bytes not consumed: #source[#at, #end). Ours to grow if #sourceIsOwn, else the caller's chunk. */
  #source: Uint8Array = EMPTY;
  #at = 0;
  #end = 0;
  #sourceIsOwn = false;

  #stage: Stage = Stage.idle;
  #carry: Uint8Array = EMPTY;
  #used = 0;
  /** Where in the carry the line that is being read begins. */
  #lineStart = 0;
  /** The line's CR has come; one more byte ends it. */
  #lineEndSeen = false;
  /** A NUL has come in this line: its end can no longer be found. */
  #lineHidden = false;
  /** Arguments still to come. */
  #missing = 0;
  /** Bytes still to come of the bulk that is being read, its two last included. */
  #bulkMissing = 0;
  /** The arguments read so far, as offsets into the carry. */
  #starts: Int32Array = new Int32Array(0);
  #ends: Int32Array = new Int32Array(0);
  #count = 0;

  constructor(limits: DecoderLimits) {
    assert(limits.queryBufferBytesMax <= OFFSET_MAX, 'query buffer offsets are 32-bit');
    this.bulkBytesMax = limits.bulkBytesMax;
    this.queryBufferBytesMax = limits.queryBufferBytesMax;
    this.#multibulkMax = limits.multibulkMax;
    this.#inlineMax = limits.inlineMax;
  }

  /** Bytes that arrived and are not part of a command returned so far. */
  get bufferedBytes(): number {
    return (this.#stage === Stage.idle ? 0 : this.#used) + this.#end - this.#at;
  }

  /** Bytes of memory held, for CLIENT LIST and INFO. */
  get memoryBytes(): number {
    return this.#carry.length + this.#starts.length * 8 + (this.#sourceIsOwn ? this.#source.length : 0);
  }

  /**
   * Hands over the next bytes. They must stay as they are until `next` has said 'incomplete' or 'error', or `detach` was
   * called; args of the last command are no longer valid.
   */
  feed(chunk: Uint8Array): void {
    if (this.#failed) return;
    if (this.bufferedBytes + chunk.length > this.queryBufferBytesMax) {
      this.errorKind = 'queryBufferLimit';
      this.#fail('query buffer limit exceeded');
      return;
    }
    if (this.#at === this.#end) {
      this.#source = chunk;
      this.#at = 0;
      this.#end = chunk.length;
      this.#sourceIsOwn = false;
    } else {
      this.#own(chunk.length);
      this.#source.set(chunk, this.#end);
      this.#end += chunk.length;
    }
  }

  /** Copies what is left of the fed chunk: for a caller that stops asking before 'incomplete'. */
  detach(): void {
    if (this.#at === this.#end) this.#dropSource();
    else if (!this.#sourceIsOwn) this.#own(0);
  }

  /** Decodes the next command into `args`, which stays valid until the next call of feed, next or detach. */
  next(args: Args): DecodeResult {
    if (this.#failed) return 'error';
    for (;;) {
      if (this.#stage === Stage.idle) {
        if (this.#carry.length > CARRY_BYTES_KEPT) this.#carry = EMPTY;
        if (this.#at === this.#end) {
          this.#dropSource();
          return 'incomplete';
        }
        if (this.#decodeWhole(args)) return 'command';
        this.#begin();
      }
      if (!this.#step()) {
        if (this.#failed) return 'error';
        this.#dropSource();
        return 'incomplete';
      }
      if (this.#finish(args)) return 'command';
      if (this.#failed) return 'error';
    }
  }

  /** The way without a copy. */
  #decodeWhole(args: Args): boolean {
    const end = parseMultibulk(
      args,
      this.#source,
      this.#at,
      this.#end,
      this.authenticated ? this.#multibulkMax : Math.min(this.#multibulkMax, UNAUTHENTICATED_MULTIBULK_MAX),
      this.authenticated ? this.bulkBytesMax : Math.min(this.bulkBytesMax, UNAUTHENTICATED_BULK_BYTES_MAX),
    );
    if (end < 0) return false;
    this.inline = false;
    this.commandStart = this.#at;
    this.commandEnd = end;
    this.#at = end;
    return true;
  }

  #begin(): void {
    this.#stage = this.#source[this.#at] === STAR ? Stage.countLine : Stage.inlineLine;
    this.#used = 0;
    this.#count = 0;
    this.#missing = 0;
    this.#beginLine();
  }

  #beginLine(): void {
    this.#lineStart = this.#used;
    this.#lineEndSeen = false;
    this.#lineHidden = false;
  }

  /** Moves bytes into the carry until the command is whole: true. False when bytes run out or on an error. */
  #step(): boolean {
    for (;;) {
      switch (this.#stage) {
        case Stage.inlineLine:
          return this.#takeInlineLine();
        case Stage.countLine:
          if (!this.#takeHeaderLine('too big mbulk count string')) return false;
          if (!this.#readCount()) return false;
          if (this.#missing === 0) return true;
          this.#stage = Stage.lengthLine;
          this.#beginLine();
          break;
        case Stage.lengthLine:
          if (!this.#takeHeaderLine('too big bulk count string')) return false;
          if (!this.#readLength()) return false;
          this.#stage = Stage.bulk;
          break;
        case Stage.bulk:
          if (!this.#takeBulk()) return false;
          if (--this.#missing === 0) return true;
          this.#stage = Stage.lengthLine;
          this.#beginLine();
          break;
        default:
          assert(false, 'the machine runs only inside a command');
      }
    }
  }

  /** Takes a whole command out of the carry; false for an empty one, which is skipped, and for an error. */
  #finish(args: Args): boolean {
    const stage = this.#stage;
    this.#stage = Stage.idle;
    if (stage === Stage.inlineLine) return this.#finishInline(args);
    if (this.#count === 0) return false;
    args.reset(this.#carry);
    args.reserve(this.#count);
    for (let i = 0; i < this.#count; i++) args.push(this.#starts[i]!, this.#ends[i]!);
    if (this.#starts.length > CARRY_BYTES_KEPT / 8) {
      this.#starts = new Int32Array(0);
      this.#ends = new Int32Array(0);
    }
    this.inline = false;
    this.commandStart = 0;
    this.commandEnd = this.#used;
    return true;
  }

  #finishInline(args: Args): boolean {
    let lineEnd = this.#used - 1;
    if (lineEnd > 0 && this.#carry[lineEnd - 1] === CR) lineEnd--;
    const status = rewriteInline(args, this.#carry, lineEnd);
    if (status === InlineStatus.unbalanced) {
      this.#protocolError('unbalanced quotes in request');
      return false;
    }
    if (status === InlineStatus.empty) return false;
    // The rewriting may have moved the line into a larger buffer; it stays ours until the next call.
    this.#carry = args.bytes;
    this.inline = true;
    this.commandStart = lineEnd;
    this.commandEnd = args.ends[args.count - 1]! + 2;
    return true;
  }

  /** Moves bytes up to and with the line feed. */
  #takeInlineLine(): boolean {
    const source = this.#source;
    let at = this.#at;
    // The line end may be the byte at inlineMax, not a later one.
    const stop = Math.min(this.#end, at + this.#inlineMax + 1 - (this.#used - this.#lineStart));
    let found = false;
    if (!this.#lineHidden) {
      for (; at < stop && !found; at++) {
        const c = source[at]!;
        if (c === LF) found = true;
        else if (c === 0) break;
      }
    }
    if (found) {
      this.#move(at - this.#at);
      return true;
    }
    if (at < stop) this.#lineHidden = true;
    this.#move(stop - this.#at);
    if (this.#used - this.#lineStart > this.#inlineMax) this.#protocolError('too big inline request');
    return false;
  }

  /** Moves bytes up to the carriage return and the one byte behind it. */
  #takeHeaderLine(tooBig: string): boolean {
    const source = this.#source;
    let at = this.#at;
    if (!this.#lineEndSeen) {
      const stop = Math.min(this.#end, at + this.#inlineMax + 1 - (this.#used - this.#lineStart));
      if (!this.#lineHidden) {
        while (at < stop && source[at] !== CR && source[at] !== 0) at++;
      }
      if (this.#lineHidden || at === stop || source[at] !== CR) {
        if (at < stop) this.#lineHidden = true;
        this.#move(stop - this.#at);
        if (this.#used - this.#lineStart > this.#inlineMax) this.#protocolError(tooBig);
        return false;
      }
      at++;
      this.#lineEndSeen = true;
    }
    const whole = at < this.#end;
    this.#move((whole ? at + 1 : at) - this.#at);
    return whole;
  }

  #readCount(): boolean {
    const count = wholeNumber(this.#carry, this.#lineStart + 1, this.#used - 2);
    if (Number.isNaN(count) || count > this.#multibulkMax) return this.#protocolError('invalid multibulk length');
    if (count > UNAUTHENTICATED_MULTIBULK_MAX && !this.authenticated) {
      return this.#protocolError('unauthenticated multibulk length');
    }
    this.#missing = Math.max(count, 0);
    return true;
  }

  #readLength(): boolean {
    const first = this.#carry[this.#lineStart]!;
    if (first !== DOLLAR) return this.#protocolError(`expected '$', got '${String.fromCharCode(first)}'`);
    const length = wholeNumber(this.#carry, this.#lineStart + 1, this.#used - 2);
    if (!(length >= 0) || length > this.bulkBytesMax) return this.#protocolError('invalid bulk length');
    if (length > UNAUTHENTICATED_BULK_BYTES_MAX && !this.authenticated) {
      return this.#protocolError('unauthenticated bulk length');
    }
    this.#bulkMissing = length + 2;
    if (this.#count === this.#starts.length) this.#growOffsets();
    this.#starts[this.#count] = this.#used;
    this.#ends[this.#count++] = this.#used + length;
    return true;
  }

  #takeBulk(): boolean {
    const bytes = Math.min(this.#bulkMissing, this.#end - this.#at);
    this.#move(bytes);
    this.#bulkMissing -= bytes;
    return this.#bulkMissing === 0;
  }

  /** Moves `bytes` bytes from the source to the carry. */
  #move(bytes: number): void {
    if (bytes === 0) return;
    const used = this.#used + bytes;
    if (used > this.#carry.length) this.#growCarry(used);
    this.#carry.set(this.#source.subarray(this.#at, this.#at + bytes), this.#used);
    this.#used = used;
    this.#at += bytes;
  }

  #growCarry(bytesMin: number): void {
    let capacity = Math.max(CARRY_BYTES_MIN, this.#carry.length * 2);
    // The last step of a big bulk fits it exactly, with room for a next header. Not from less than a quarter of it, or an
    // announced length would cost memory; not for a small bulk, or each of a thousand would copy all before it.
    const exact = this.#used + this.#bulkMissing + CARRY_BYTES_MIN;
    const length = this.#carry.length;
    if (this.#stage === Stage.bulk && exact >= length * 1.5 && exact <= length * 4) capacity = exact;
    const carry = new Uint8Array(Math.max(capacity, bytesMin));
    carry.set(this.#carry.subarray(0, this.#used));
    this.#carry = carry;
  }

  #growOffsets(): void {
    const length = Math.max(8, this.#starts.length * 2);
    const starts = new Int32Array(length);
    starts.set(this.#starts);
    this.#starts = starts;
    const ends = new Int32Array(length);
    ends.set(this.#ends);
    this.#ends = ends;
  }

  /** Makes the rest of the source our own, with room for `more` bytes behind it. */
  #own(more: number): void {
    const rest = this.#end - this.#at;
    if (!this.#sourceIsOwn || this.#end + more > this.#source.length) {
      const fits = this.#sourceIsOwn && rest + more <= this.#source.length / 2;
      const capacity = more === 0 ? rest : Math.max(CARRY_BYTES_MIN, (rest + more) * 2);
      const target = fits ? this.#source : new Uint8Array(capacity);
      if (fits) target.copyWithin(0, this.#at, this.#end);
      else target.set(this.#source.subarray(this.#at, this.#end));
      this.#source = target;
      this.#at = 0;
      this.#end = rest;
      this.#sourceIsOwn = true;
    }
  }

  #dropSource(): void {
    this.#source = EMPTY;
    this.#at = 0;
    this.#end = 0;
    this.#sourceIsOwn = false;
  }

  #protocolError(text: string): false {
    this.errorKind = 'protocol';
    return this.#fail(`Protocol error: ${text}`);
  }

  #fail(text: string): false {
    this.error = text;
    this.#failed = true;
    this.#stage = Stage.idle;
    this.#carry = EMPTY;
    this.#dropSource();
    return false;
  }
}

/**
 * Parses the RESP multibulk command that begins at `start` into `args`. The command's end, or −1 where it does not end
 * within bytes[start, end), is malformed or empty, or goes beyond a limit.
 */
export function parseMultibulk(
  args: Args,
  bytes: Uint8Array,
  start: number,
  end: number,
  countMax: number,
  bulkBytesMax: number,
): number {
  if (end - start < 4 || bytes[start] !== STAR) return -1;
  let count = bytes[start + 1]! - DIGIT_0;
  if (count < 1 || count > 9) return -1;
  let at = start + 2;
  for (;;) {
    const digit = bytes[at]! - DIGIT_0;
    if (digit < 0 || digit > 9) break;
    count = count * 10 + digit;
    if (++at === end || count > countMax) return -1;
  }
  if (count > countMax || bytes[at] !== CR) return -1;
  at += 2;
  if (count * BULK_ENCODED_BYTES_MIN > end - at) return -1;
  args.bytes = bytes;
  if (count > args.starts.length) args.reserve(count);
  const starts = args.starts;
  const ends = args.ends;
  for (let i = 0; i < count; i++) {
    if (end - at < BULK_ENCODED_BYTES_MIN || bytes[at] !== DOLLAR) return -1;
    let length = bytes[at + 1]! - DIGIT_0;
    if (length < 0 || length > 9) return -1;
    at += 2;
    let c = bytes[at]!;
    if (c !== CR) {
      if (length === 0) return -1;
      do {
        const digit = c - DIGIT_0;
        if (digit < 0 || digit > 9) return -1;
        length = length * 10 + digit;
        if (++at === end || length > bulkBytesMax) return -1;
        c = bytes[at]!;
      } while (c !== CR);
    }
    if (length > bulkBytesMax) return -1;
    at += 2;
    starts[i] = at;
    at += length;
    ends[i] = at;
    at += 2;
    if (at > end) return -1;
  }
  args.count = count;
  return at;
}

/** Parses bytes[start, end), exactly one command as `RequestDecoder` gave it out, into `args`. False if it is not one. */
export function parseRequestInto(args: Args, bytes: Uint8Array, start: number, end: number): boolean {
  return parseMultibulk(args, bytes, start, end, OFFSET_MAX, OFFSET_MAX) === end;
}

/** bytes[start, end) as string2ll reads it; NaN where it does not. Inexact beyond 2^53, which every limit refuses anyway. */
function wholeNumber(bytes: Uint8Array, start: number, end: number): number {
  const safe = parseSafeInteger(bytes, start, end);
  if (!Number.isNaN(safe)) return safe;
  const exact = parseInteger64(bytes, start, end);
  return exact === undefined ? NaN : Number(exact);
}
