// A key's record: layout, sizes, and what can be read of it. Owns the bytes of records and of the blocks that they
// point to; which records exist, and in what order, is the databases' affair.
//
// Layout in 32-bit words; native order, never leaves memory:
//   0      hash of the key                                       (memory/member-table.ts)
//   1      position in the dense order                           (memory/dictionary.ts)
//   2      bits 0–3 word where the key begins, 4–15 its length or 0xfff, 16–31 version: record number
//   3      version: log index modulo 2^32
//   4      bits 0–2 type, 3–6 encoding, 7 external, 8–31 access clock
//   5      length of the value in bytes (8 for an int)
//   [6–8]  deadline in ms, low and high; position among the keys with a deadline. Only if there is a deadline,
//          which shows in where the key begins: word 6 or 7 without, 9 or 10 with
//   [next] length of the key, only if 0xfff stands for it
//   key    padded to a word
//   value  the bytes themselves, or if external one word: the handle of a block; above BIG_BYTES the number of a
//          buffer of its own. An int is two words, low and high. A rooted value: its root (value-kinds.ts).
// A raw string may have room behind its value. What is beyond the value's length is undefined, in blocks and in words.
// Access clocks (24 bits) are local to the node: lru seconds, or lfu minutes << 8 | counter. All else is replicated
// but for words 0, 1 and 8, which follow from it, and `external`, which depends on history.
// Hot: indexes typed arrays directly.
import { assert } from '../base/assert.ts';
import { MiB } from '../base/limits.ts';
import type { Memory } from '../memory/allocator.ts';
import { BIG_BYTES, BLOCK_BYTES_MAX } from '../memory/allocator.ts';
import { copyIn, copyWords } from '../memory/bytes.ts';
import { KEY_LENGTH_LONG, KEY_LENGTH_SHIFT, KEY_WORD_MASK } from '../memory/member-table.ts';
import { SEGMENT_SHIFT, UNIT_MASK } from '../memory/segments.ts';
import { RecordDigests, digestChunks } from './record-digest.ts';
import { Int64 } from '../memory/integer.ts';
import { Encoding, type Handle, ValueType } from './types.ts';
import {
  ROOT_BYTES_HIGH,
  ROOT_BYTES_LOW,
  ROOT_COUNT,
  type ValueKind,
  ValueKinds,
} from './value-kinds.ts';

const HASH = 0;
const KEY = 2;
const VERSION_INDEX = 3;
const META = 4;
const LENGTH = 5;
const DEADLINE = 6;
export const VOLATILE_POSITION = 8;
const PLAIN_WORDS = 6;
const VOLATILE_WORDS = 9;
const ENCODING_SHIFT = 3;
const EXTERNAL = 1 << 7;
const CLOCK_SHIFT = 8;
const TWO_32 = 0x1_0000_0000;

export const NO_EXPIRY = -1;
/** A value above this stands in a block of its own. */
export const INLINE_BYTES_MAX = 1024;
/** The longest key: it must fit in one block with its record. Callers check before the log. */
export const KEY_BYTES_MAX = BLOCK_BYTES_MAX - 1 * MiB;
/** Elements freed at a time where all are freed at once. */
const FREE_SLICE = 1024;

assert(VOLATILE_WORDS + 1 <= KEY_WORD_MASK, 'where a key begins has four bits');
assert(BIG_BYTES <= BLOCK_BYTES_MAX, 'what is not big fits in a block');

/** Bytes of a record whose value takes `valueBytes` in it. */
export function recordBytes(keyLength: number, isVolatile: boolean, valueBytes: number): number {
  const words = (isVolatile ? VOLATILE_WORDS : PLAIN_WORDS) + (keyLength >= KEY_LENGTH_LONG ? 1 : 0) + ((keyLength + 3) >>> 2);
  return words * 4 + valueBytes;
}

export class Records {
  readonly memory: Memory;
  readonly kinds = new ValueKinds();
  /** Where `locate` found a value: views and the byte offset, a multiple of 4, at which it begins. */
  valueBytes: Uint8Array;
  valueWords: Uint32Array;
  valueAt = 0;
  readonly digests: RecordDigests = new RecordDigests(this);
  readonly #int = new Int64();

  constructor(memory: Memory) {
    this.memory = memory;
    this.valueBytes = memory.bytes[0]!;
    this.valueWords = memory.words[0]!;
  }

  hash(h: Handle): number {
    return this.memory.words[h >>> SEGMENT_SHIFT]![((h & UNIT_MASK) << 1) + HASH]! | 0;
  }

  type(h: Handle): ValueType {
    return (this.#word(h, META) & 7) as ValueType;
  }

  encoding(h: Handle): Encoding {
    return ((this.#word(h, META) >>> ENCODING_SHIFT) & 0xf) as Encoding;
  }

  /** Both as one number, as the digest takes them in. */
  typeAndEncoding(h: Handle): number {
    return this.#word(h, META) & (EXTERNAL - 1);
  }

  isExternal(h: Handle): boolean {
    return (this.#word(h, META) & EXTERNAL) !== 0;
  }

  clock(h: Handle): number {
    return this.#word(h, META) >>> CLOCK_SHIFT;
  }

  setClock(h: Handle, clock: number): void {
    const words = this.memory.words[h >>> SEGMENT_SHIFT]!;
    const word = ((h & UNIT_MASK) << 1) + META;
    words[word] = (words[word]! & 0xff) | (clock << CLOCK_SHIFT);
  }

  /** Length of the value in bytes; 8 for an int. */
  length(h: Handle): number {
    return this.#word(h, LENGTH);
  }

  setLength(h: Handle, length: number): void {
    this.memory.words[h >>> SEGMENT_SHIFT]![((h & UNIT_MASK) << 1) + LENGTH] = length;
  }

  /** Of a rooted value; undefined for a packed one. */
  kind(h: Handle): ValueKind | undefined {
    return this.kinds.of(this.#word(h, META));
  }

  /** The index of the root's first word in the segment's view. */
  rootAt(h: Handle): number {
    return this.payloadAt(h) >>> 2;
  }

  rootWords(h: Handle): Uint32Array {
    return this.memory.words[h >>> SEGMENT_SHIFT]!;
  }

  /** Elements of a rooted value. */
  rootCount(h: Handle): number {
    return this.rootWords(h)[this.rootAt(h) + ROOT_COUNT]!;
  }

  /** Counts bytes that hang from the root. */
  addRootBytes(h: Handle, bytes: number): void {
    const words = this.rootWords(h);
    const root = this.rootAt(h);
    const sum = words[root + ROOT_BYTES_HIGH]! * TWO_32 + words[root + ROOT_BYTES_LOW]! + bytes;
    words[root + ROOT_BYTES_LOW] = sum >>> 0;
    words[root + ROOT_BYTES_HIGH] = Math.floor(sum / TWO_32);
  }

  isVolatile(h: Handle): boolean {
    return (this.#word(h, KEY) & KEY_WORD_MASK) >= VOLATILE_WORDS;
  }

  expiryMs(h: Handle): number {
    const words = this.memory.words[h >>> SEGMENT_SHIFT]!;
    const word = (h & UNIT_MASK) << 1;
    if ((words[word + KEY]! & KEY_WORD_MASK) < VOLATILE_WORDS) return NO_EXPIRY;
    return words[word + DEADLINE + 1]! * TWO_32 + words[word + DEADLINE]!;
  }

  setDeadline(h: Handle, expiryMs: number): void {
    const words = this.memory.words[h >>> SEGMENT_SHIFT]!;
    const word = ((h & UNIT_MASK) << 1) + DEADLINE;
    words[word] = expiryMs >>> 0;
    words[word + 1] = Math.floor(expiryMs / TWO_32);
  }

  volatilePosition(h: Handle): number {
    return this.#word(h, VOLATILE_POSITION);
  }

  setVolatilePosition(h: Handle, position: number): void {
    this.memory.words[h >>> SEGMENT_SHIFT]![((h & UNIT_MASK) << 1) + VOLATILE_POSITION] = position;
  }

  versionIndex(h: Handle): number {
    return this.#word(h, VERSION_INDEX);
  }

  versionRecord(h: Handle): number {
    return this.#word(h, KEY) >>> 16;
  }

  setVersion(h: Handle, index: number, record: number): void {
    const words = this.memory.words[h >>> SEGMENT_SHIFT]!;
    const word = (h & UNIT_MASK) << 1;
    words[word + KEY] = (words[word + KEY]! & 0xffff) | (record << 16);
    words[word + VERSION_INDEX] = index;
  }

  keyLength(h: Handle): number {
    const words = this.memory.words[h >>> SEGMENT_SHIFT]!;
    const word = (h & UNIT_MASK) << 1;
    const descriptor = words[word + KEY]!;
    const length = (descriptor >>> KEY_LENGTH_SHIFT) & KEY_LENGTH_LONG;
    return length === KEY_LENGTH_LONG ? words[word + (descriptor & KEY_WORD_MASK) - 1]! : length;
  }

  /** Byte offset of the key in the segment's view. */
  keyAt(h: Handle): number {
    return (((h & UNIT_MASK) << 1) + (this.#word(h, KEY) & KEY_WORD_MASK)) << 2;
  }

  /** Byte offset of the value, or of the word that stands for it, in the segment's view. */
  payloadAt(h: Handle): number {
    return this.keyAt(h) + ((this.keyLength(h) + 3) & ~3);
  }

  /** Bytes that the value has room for where it stands. */
  capacity(h: Handle): number {
    if (!this.isExternal(h)) return this.memory.usableBytes(h) - (this.payloadAt(h) - ((h & UNIT_MASK) << 3));
    if (this.length(h) > BIG_BYTES) return this.memory.bigBytes[this.external(h)]!.length;
    return Math.min(this.memory.usableBytes(this.external(h)), BIG_BYTES);
  }

  /** The block's handle, or the big buffer's number, of an external value. */
  external(h: Handle): number {
    return this.memory.words[h >>> SEGMENT_SHIFT]![this.payloadAt(h) >>> 2]!;
  }

  setExternal(h: Handle, block: number): void {
    this.memory.words[h >>> SEGMENT_SHIFT]![this.payloadAt(h) >>> 2] = block;
  }

  /** Points valueBytes, valueWords and valueAt at the value. Good until the next allocation or `locate`. */
  locate(h: Handle): void {
    if (this.isExternal(h)) this.locateExternal(this.external(h), this.length(h) > BIG_BYTES);
    else this.locateInline(h);
  }

  locateInline(h: Handle): void {
    this.valueBytes = this.memory.bytes[h >>> SEGMENT_SHIFT]!;
    this.valueWords = this.memory.words[h >>> SEGMENT_SHIFT]!;
    this.valueAt = this.payloadAt(h);
  }

  locateExternal(block: number, isBig: boolean): void {
    const memory = this.memory;
    if (isBig) {
      this.valueBytes = memory.bigBytes[block]!;
      this.valueWords = memory.bigWords[block]!;
      this.valueAt = 0;
      return;
    }
    this.valueBytes = memory.bytes[block >>> SEGMENT_SHIFT]!;
    this.valueWords = memory.words[block >>> SEGMENT_SHIFT]!;
    this.valueAt = (block & UNIT_MASK) << 3;
  }

  /** Takes an int's value. */
  integer(h: Handle): Int64 {
    const words = this.memory.words[h >>> SEGMENT_SHIFT]!;
    const word = this.payloadAt(h) >>> 2;
    this.#int.low = words[word]!;
    this.#int.high = words[word + 1]! | 0;
    return this.#int;
  }

  setInteger(h: Handle, value: Int64): void {
    const words = this.memory.words[h >>> SEGMENT_SHIFT]!;
    const word = this.payloadAt(h) >>> 2;
    words[word] = value.low;
    words[word + 1] = value.high;
  }

  /** Writes the value's bytes, which its length and room are for. */
  write(h: Handle, value: Uint8Array, start: number, end: number): void {
    this.locate(h);
    copyIn(value, start, end, this.valueBytes, this.valueWords, this.valueAt);
    if (end - start > BIG_BYTES) this.memory.growBig(this.external(h), end - start);
  }

  /** Writes words 0 and 2 and the key, over whatever is in the block. */
  writeKey(h: Handle, hash: number, key: Uint8Array, start: number, end: number, isVolatile: boolean): void {
    const words = this.memory.words[h >>> SEGMENT_SHIFT]!;
    const word = (h & UNIT_MASK) << 1;
    const length = end - start;
    let keyWord = isVolatile ? VOLATILE_WORDS : PLAIN_WORDS;
    let short = length;
    if (length >= KEY_LENGTH_LONG) {
      words[word + keyWord++] = length;
      short = KEY_LENGTH_LONG;
    }
    words[word + HASH] = hash;
    words[word + KEY] = keyWord | (short << KEY_LENGTH_SHIFT);
    copyIn(key, start, end, this.memory.bytes[h >>> SEGMENT_SHIFT]!, words, (word + keyWord) << 2);
  }

  /** Writes words 4 and 5. */
  writeMeta(h: Handle, type: ValueType, encoding: Encoding, isExternal: boolean, clock: number, length: number): void {
    const words = this.memory.words[h >>> SEGMENT_SHIFT]!;
    const word = (h & UNIT_MASK) << 1;
    words[word + META] = type | (encoding << ENCODING_SHIFT) | (isExternal ? EXTERNAL : 0) | (clock << CLOCK_SHIFT);
    words[word + LENGTH] = length;
  }

  /** A block (or a big buffer) with room for an external value of `capacity` bytes. */
  allocateExternal(capacity: number, isBig: boolean): number {
    return isBig ? this.memory.allocateBig(capacity) : this.memory.allocate(capacity);
  }

  freeExternal(block: number, isBig: boolean): void {
    if (isBig) this.memory.freeBig(block);
    else this.memory.free(block);
  }

  /** Frees the value's block where it has one. The record no longer says the truth about it. */
  freeValue(h: Handle): void {
    if (this.isExternal(h)) this.freeExternal(this.external(h), this.length(h) > BIG_BYTES);
  }

  /** Frees record and value, however long that takes. */
  free(h: Handle): void {
    const kind = this.kind(h);
    if (kind === undefined) this.freeValue(h);
    else while (kind.freeSome(this.rootWords(h), this.rootAt(h), FREE_SLICE) === 0);
    this.memory.free(h);
  }

  /** Frees some of record and value. What is left of the budget once both are gone; -1 while they are not. */
  freeSome(h: Handle, budget: number): number {
    const kind = this.kind(h);
    let left = budget;
    if (kind === undefined) this.freeValue(h);
    else left = kind.freeSome(this.rootWords(h), this.rootAt(h), budget);
    if (left === 0) return -1;
    this.memory.free(h);
    return left - 1;
  }

  memoryUsage(h: Handle): number {
    const own = this.memory.usableBytes(h);
    if (this.kind(h) !== undefined) {
      const words = this.rootWords(h);
      const root = this.rootAt(h);
      return own + words[root + ROOT_BYTES_HIGH]! * TWO_32 + words[root + ROOT_BYTES_LOW]!;
    }
    if (!this.isExternal(h)) return own;
    const block = this.external(h);
    return own + (this.length(h) > BIG_BYTES ? this.memory.bigUsedBytes(block) : this.memory.usableBytes(block));
  }

  /**
   * A record with the value of `h` under another key (which may be the key of `h`, in place); in no dictionary yet.
   * An external value is carried over (`h` must then be freed without it) or copied. Version is open.
   */
  derive(h: Handle, hash: number, key: Uint8Array, start: number, end: number, expiryMs: number, carry: boolean): Handle {
    const { memory } = this;
    const isExternal = this.isExternal(h);
    const length = this.length(h);
    const isBig = length > BIG_BYTES;
    const isVolatile = expiryMs !== NO_EXPIRY;
    let block = 0;
    if (isExternal) block = carry ? this.external(h) : this.#copyExternal(this.external(h), length, isBig);
    const next = memory.allocate(recordBytes(end - start, isVolatile, isExternal ? 4 : length));
    this.writeKey(next, hash, key, start, end, isVolatile);
    this.writeMeta(next, this.type(h), this.encoding(h), isExternal, this.clock(h), length);
    if (isVolatile) this.setDeadline(next, expiryMs);
    if (isExternal) this.setExternal(next, block);
    else if (!carry && this.kind(h) !== undefined) this.#copyRooted(h, next);
    else {
      const source = memory.words[h >>> SEGMENT_SHIFT]!;
      const target = memory.words[next >>> SEGMENT_SHIFT]!;
      copyWords(source, this.payloadAt(h) >>> 2, target, this.payloadAt(next) >>> 2, (length + 3) >>> 2);
    }
    return next;
  }

  /** The same record, word for word, in another block of its size; `h` is still to be freed. */
  relocate(h: Handle): Handle {
    const bytes = this.memory.usableBytes(h);
    const next = this.memory.allocate(bytes);
    this.#copyBlock(h, next, bytes);
    return next;
  }

  /** Moves an external value's block to another of its size. */
  relocateExternal(h: Handle): void {
    const block = this.external(h);
    const bytes = this.memory.usableBytes(block);
    const next = this.memory.allocate(bytes);
    this.#copyBlock(block, next, bytes);
    this.setExternal(h, next);
    this.memory.free(block);
  }

  #copyBlock(from: Handle, to: Handle, bytes: number): void {
    const { words } = this.memory;
    copyWords(words[from >>> SEGMENT_SHIFT]!, (from & UNIT_MASK) << 1, words[to >>> SEGMENT_SHIFT]!, (to & UNIT_MASK) << 1, bytes >>> 2);
  }

  #copyExternal(block: number, length: number, isBig: boolean): number {
    const next = this.allocateExternal(length, isBig);
    this.locateExternal(block, isBig);
    const source = this.valueWords;
    const from = this.valueAt >>> 2;
    this.locateExternal(next, isBig);
    copyWords(source, from, this.valueWords, this.valueAt >>> 2, (length + 3) >>> 2);
    if (isBig) this.memory.growBig(next, length);
    return next;
  }

  #copyRooted(h: Handle, next: Handle): void {
    const kind = this.kind(h)!;
    const source = this.rootWords(h);
    const from = this.rootAt(h);
    const words = this.rootWords(next);
    const root = this.rootAt(next);
    words.fill(0, root, root + (kind.rootBytes >>> 2));
    const before = this.memory.usedBytes;
    kind.copy(source, from, words, root);
    copyWords(source, from, words, root, ROOT_BYTES_LOW);
    words[root + ROOT_BYTES_LOW] = 0;
    words[root + ROOT_BYTES_HIGH] = 0;
    this.addRootBytes(next, this.memory.usedBytes - before);
  }

  /**
   * Overwrites the value, of whatever type, by a string that its block has room for, both inline and without a deadline: bytes, or `int`
   * where the encoding says so. Leaves in the digests' sum what that adds, for which the key is looked at once.
   */
  overwrite(h: Handle, encoding: Encoding, clock: number, length: number, value: Uint8Array, start: number, end: number, int: Int64): void {
    const { digests } = this;
    digests.key(h);
    digests.underKey(h, 0, digestChunks(this.length(h)));
    const { low, high } = digests.sum;
    this.writeMeta(h, ValueType.string, encoding, false, clock, length);
    if (encoding === Encoding.int) this.setInteger(h, int);
    else copyIn(value, start, end, this.valueBytes, this.valueWords, this.valueAt);
    digests.underKey(h, 0, digestChunks(length));
    digests.sum.seed(digests.sum.low - low, digests.sum.high - high);
  }

  #word(h: Handle, word: number): number {
    return this.memory.words[h >>> SEGMENT_SHIFT]![((h & UNIT_MASK) << 1) + word]!;
  }
}
