// A hash's large form: records of field and value in a Dictionary, which keeps their order. Owns those records' bytes.
//
// Root, words behind the header: a Dictionary (memory/dictionary.ts).
// Record, in 32-bit words: 0–2 as memory/dictionary.ts says, the key being the field; bits 16–31 of word 2 the value's length
// or 0xffff, and then word 3 is its length; [length of the field, only if 0xfff stands for it]; the field, at a word's begin;
// the value right behind it.
// What must hold: the root's count and digest words are those of the members. Hot: indexes typed arrays directly.
import { assert } from '../base/assert.ts';
import { KiB } from '../base/limits.ts';
import { BLOCK_BYTES_MAX, type Memory } from '../memory/allocator.ts';
import { copyBytes, copyIn, copyWords } from '../memory/bytes.ts';
import { type Dictionary, DICTIONARY_WORDS } from '../memory/dictionary.ts';
import type { KeyedHash } from '../memory/hash.ts';
import { KEY_LENGTH_LONG, KEY_LENGTH_SHIFT, KEY_WORD_MASK } from '../memory/member-table.ts';
import { SEGMENT_SHIFT, UNIT_MASK } from '../memory/segments.ts';
import { Lanes } from './digest.ts';
import type { ByteSpan, Handle } from './types.ts';
import {
  EVACUATE_FROM_START,
  ROOT_COUNT,
  ROOT_DIGEST_HIGH,
  ROOT_DIGEST_LOW,
  ROOT_HEADER_WORDS,
  type ValueKind,
} from './value-kinds.ts';

const TABLE = ROOT_HEADER_WORDS;
const HASH = 0;
const DESCRIPTOR = 2;
const PLAIN_WORDS = 3;
const VALUE_LENGTH_SHIFT = 16;
const VALUE_LENGTH_LONG = 0xffff;
/** Field and value together: they must fit in one block. Commands refuse longer ones. */
export const FIELD_AND_VALUE_BYTES_MAX = BLOCK_BYTES_MAX - 1 * KiB;

export class FieldTable implements ValueKind {
  readonly rootBytes = (ROOT_HEADER_WORDS + DICTIONARY_WORDS) * 4;
  readonly #memory: Memory;
  readonly #hasher: KeyedHash;
  readonly #table: Dictionary;
  readonly #lanes = new Lanes();

  constructor(memory: Memory, hasher: KeyedHash, dictionary: Dictionary) {
    this.#memory = memory;
    this.#hasher = hasher;
    this.#table = dictionary;
  }

  /** The record of a field, or 0. */
  find(words: Uint32Array, root: number, bytes: Uint8Array, start: number, end: number): Handle {
    return this.#table.find(words, root + TABLE, this.#hasher.hash(bytes, start, end), bytes, start, end);
  }

  at(words: Uint32Array, root: number, position: number): Handle {
    return this.#table.at(words, root + TABLE, position);
  }

  fieldSpan(record: Handle, span: ByteSpan): void {
    const { words, bytes } = this.#memory;
    const own = words[record >>> SEGMENT_SHIFT]!;
    span.bytes = bytes[record >>> SEGMENT_SHIFT]!;
    span.start = fieldAt(own, (record & UNIT_MASK) << 1);
    span.end = span.start + fieldLength(own, (record & UNIT_MASK) << 1);
  }

  valueSpan(record: Handle, span: ByteSpan): void {
    this.fieldSpan(record, span);
    span.start = span.end;
    span.end += valueLength(this.#memory.words[record >>> SEGMENT_SHIFT]!, (record & UNIT_MASK) << 1);
  }

  /** True if the field is new. Neither text may lie in a record of this value. */
  set(
    words: Uint32Array,
    root: number,
    field: Uint8Array,
    fStart: number,
    fEnd: number,
    value: Uint8Array,
    vStart: number,
    vEnd: number,
  ): boolean {
    const memory = this.#memory;
    const hash = this.#hasher.hash(field, fStart, fEnd);
    const old = this.#table.find(words, root + TABLE, hash, field, fStart, fEnd);
    const bytes = recordBytes(fEnd - fStart, vEnd - vStart);
    if (old === 0) {
      const record = memory.allocate(bytes);
      this.#write(record, hash, field, fStart, fEnd, value, vStart, vEnd);
      this.#table.insert(words, root + TABLE, record);
      words[root + ROOT_COUNT]!++;
      this.#digest(words, root, record, 1);
      return true;
    }
    this.#digest(words, root, old, -1);
    let record = old;
    if (memory.usableBytes(old) === memory.roundUp(bytes)) {
      const position = memory.words[old >>> SEGMENT_SHIFT]![((old & UNIT_MASK) << 1) + 1]!;
      this.#write(old, hash, field, fStart, fEnd, value, vStart, vEnd);
      memory.words[old >>> SEGMENT_SHIFT]![((old & UNIT_MASK) << 1) + 1] = position;
    } else {
      record = memory.allocate(bytes);
      this.#write(record, hash, field, fStart, fEnd, value, vStart, vEnd);
      this.#table.replace(words, root + TABLE, old, record);
      memory.free(old);
    }
    this.#digest(words, root, record, 1);
    return false;
  }

  remove(words: Uint32Array, root: number, record: Handle): void {
    this.#digest(words, root, record, -1);
    this.#table.remove(words, root + TABLE, record);
    this.#memory.free(record);
    words[root + ROOT_COUNT]!--;
  }

  digestElements(words: Uint32Array, root: number, sum: Lanes): void {
    const lanes = this.#lanes;
    const count = this.#table.size(words, root + TABLE);
    assert(count === words[root + ROOT_COUNT], () => `a root counts ${words[root + ROOT_COUNT]} of ${count} fields`);
    for (let position = 0; position < count; position++) {
      this.#digestRecord(this.at(words, root, position));
      sum.seed(sum.low + lanes.low, sum.high + lanes.high);
    }
  }

  copy(sourceWords: Uint32Array, source: number, words: Uint32Array, root: number): void {
    const memory = this.#memory;
    const count = this.#table.size(sourceWords, source + TABLE);
    for (let position = 0; position < count; position++) {
      const record = this.at(sourceWords, source, position);
      this.#table.insert(words, root + TABLE, this.#copyRecord(record, memory.usableBytes(record)));
    }
  }

  freeSome(words: Uint32Array, root: number, budget: number): number {
    let left = budget;
    for (; left > 0 && this.#table.size(words, root + TABLE) > 0; left--) this.#memory.free(this.#table.takeLast(words, root + TABLE));
    return left === 0 ? 0 : this.#table.freePages(words, root + TABLE, left);
  }

  /** The cursor is the number of positions still to look at. */
  evacuate(words: Uint32Array, root: number, cursor: number, budget: number): number {
    const memory = this.#memory;
    const size = this.#table.size(words, root + TABLE);
    const from = cursor === EVACUATE_FROM_START ? size : Math.min(cursor, size);
    const to = Math.max(0, from - budget);
    for (let position = from - 1; position >= to; position--) {
      this.#table.evacuate(words, root + TABLE, position);
      const record = this.at(words, root, position);
      if (!memory.isEvacuating(record)) continue;
      const next = this.#copyRecord(record, memory.usableBytes(record));
      this.#table.replace(words, root + TABLE, record, next);
      memory.free(record);
    }
    return to;
  }

  #copyRecord(record: Handle, bytes: number): Handle {
    const { words } = this.#memory;
    const next = this.#memory.allocate(bytes);
    copyWords(words[record >>> SEGMENT_SHIFT]!, (record & UNIT_MASK) << 1, words[next >>> SEGMENT_SHIFT]!, (next & UNIT_MASK) << 1, bytes >>> 2);
    return next;
  }

  #write(
    record: Handle,
    hash: number,
    field: Uint8Array,
    fStart: number,
    fEnd: number,
    value: Uint8Array,
    vStart: number,
    vEnd: number,
  ): void {
    const words = this.#memory.words[record >>> SEGMENT_SHIFT]!;
    const bytes = this.#memory.bytes[record >>> SEGMENT_SHIFT]!;
    const word = (record & UNIT_MASK) << 1;
    const length = fEnd - fStart;
    const valueBytes = vEnd - vStart;
    let fieldWord = PLAIN_WORDS;
    if (valueBytes >= VALUE_LENGTH_LONG) words[word + fieldWord++] = valueBytes;
    if (length >= KEY_LENGTH_LONG) words[word + fieldWord++] = length;
    words[word + HASH] = hash;
    words[word + DESCRIPTOR] =
      fieldWord | (Math.min(length, KEY_LENGTH_LONG) << KEY_LENGTH_SHIFT) | (Math.min(valueBytes, VALUE_LENGTH_LONG) << VALUE_LENGTH_SHIFT);
    copyIn(field, fStart, fEnd, bytes, words, (word + fieldWord) << 2);
    copyBytes(value, vStart, vEnd, bytes, ((word + fieldWord) << 2) + length);
  }

  /** Adds the record's digest to the root's, or takes it away. */
  #digest(words: Uint32Array, root: number, record: Handle, sign: 1 | -1): void {
    const lanes = this.#lanes;
    this.#digestRecord(record);
    words[root + ROOT_DIGEST_LOW] = words[root + ROOT_DIGEST_LOW]! + sign * lanes.low;
    words[root + ROOT_DIGEST_HIGH] = words[root + ROOT_DIGEST_HIGH]! + sign * lanes.high;
  }

  #digestRecord(record: Handle): void {
    const words = this.#memory.words[record >>> SEGMENT_SHIFT]!;
    const word = (record & UNIT_MASK) << 1;
    const length = fieldLength(words, word);
    const total = length + valueLength(words, word);
    const lanes = this.#lanes;
    lanes.seed(0x452821e6, 0x38d01377);
    lanes.bytes(words, fieldAt(words, word) >>> 2, total);
    lanes.word(length);
    lanes.close(total);
  }
}

function recordBytes(fieldBytes: number, valueBytes: number): number {
  const words = PLAIN_WORDS + (valueBytes >= VALUE_LENGTH_LONG ? 1 : 0) + (fieldBytes >= KEY_LENGTH_LONG ? 1 : 0);
  return words * 4 + fieldBytes + valueBytes;
}

/** Byte index of the field in the segment's view. */
function fieldAt(words: Uint32Array, word: number): number {
  return (word + (words[word + DESCRIPTOR]! & KEY_WORD_MASK)) << 2;
}

function fieldLength(words: Uint32Array, word: number): number {
  const descriptor = words[word + DESCRIPTOR]!;
  const length = (descriptor >>> KEY_LENGTH_SHIFT) & KEY_LENGTH_LONG;
  return length === KEY_LENGTH_LONG ? words[word + (descriptor & KEY_WORD_MASK) - 1]! : length;
}

function valueLength(words: Uint32Array, word: number): number {
  const length = words[word + DESCRIPTOR]! >>> VALUE_LENGTH_SHIFT;
  return length === VALUE_LENGTH_LONG ? words[word + PLAIN_WORDS]! : length;
}
