// A table of records (member-table.ts) and the dense order of its members: the keys of a database, the fields of a hash. Owns the
// table's and the order's blocks; seven words of its owner's say where they are. All zeros are an empty dictionary.
//
// Of a record it knows what the table knows, its word 2 being the one that tells of the key, and
//   word 1  position in the dense order; owned by the dictionary
// Words, from index `at` of `words`: 0–3 the table, 4–6 the order (handle-array.ts).
//
// What must hold: the order of members depends only on the order of inserts and removals (append; the last moves into the
// hole), never on the table. Reading changes nothing. Hot: indexes typed arrays directly.
import type { Memory } from './allocator.ts';
import { HANDLE_ARRAY_WORDS, HandleArray } from './handle-array.ts';
import { MEMBER_TABLE_WORDS, MemberTable } from './member-table.ts';
import type { Handle } from './segments.ts';
import { SEGMENT_SHIFT, UNIT_MASK } from './segments.ts';

export const RECORD_POSITION = 1;
export const RECORD_KEY = 2;
export const DICTIONARY_WORDS = MEMBER_TABLE_WORDS + HANDLE_ARRAY_WORDS;
const ORDER = MEMBER_TABLE_WORDS;

/** One object serves any number of dictionaries. */
export class Dictionary {
  readonly #memory: Memory;
  readonly #table: MemberTable;
  readonly #order: HandleArray;

  constructor(memory: Memory) {
    this.#memory = memory;
    this.#table = new MemberTable(memory, RECORD_KEY);
    this.#order = new HandleArray(memory);
  }

  size(words: Uint32Array, at: number): number {
    return this.#order.length(words, at + ORDER);
  }

  /** The member at `position`, 0 ≤ position < size. */
  at(words: Uint32Array, at: number, position: number): Handle {
    return this.#order.get(words, at + ORDER, position);
  }

  /** The member with this key, or 0. */
  find(words: Uint32Array, at: number, hash: number, bytes: Uint8Array, start: number, end: number): Handle {
    return this.#table.find(words, at, hash, bytes, start, end);
  }

  /** Adds a record whose key is not a member, as the last of the order; its words 0 and 2 are in place. */
  insert(words: Uint32Array, at: number, handle: Handle): void {
    this.#setPosition(handle, this.#order.length(words, at + ORDER));
    this.#order.push(words, at + ORDER, handle);
    this.#table.insert(words, at, handle);
  }

  /**
   * The first half of `insert`, for who adds many: the record is in the order and not in the table yet. Nothing but this, `size`, `at`
   * and `settle` may be called until it is.
   */
  append(words: Uint32Array, at: number, handle: Handle): void {
    this.#setPosition(handle, this.#order.length(words, at + ORDER));
    this.#order.push(words, at + ORDER, handle);
  }

  /** The second half, for all that were appended since, in their order: see `insertAll` of the table. */
  settle(words: Uint32Array, at: number, handles: Uint32Array, count: number, expected: number): number {
    return this.#table.insertAll(words, at, handles, count, expected);
  }

  /** After the last `settle`. */
  trim(words: Uint32Array, at: number): void {
    this.#table.trim(words, at);
  }

  /** Takes a member out; the last of the order takes its position. The record itself is the caller's to free. */
  remove(words: Uint32Array, at: number, handle: Handle): void {
    this.#table.remove(words, at, handle);
    const position = this.position(handle);
    const last = this.#order.pop(words, at + ORDER);
    if (last === handle) return;
    this.#order.set(words, at + ORDER, position, last);
    this.#setPosition(last, position);
  }

  /** Puts `next`, another record of the same key, in the place and position of `handle`; both still readable. */
  replace(words: Uint32Array, at: number, handle: Handle, next: Handle): void {
    this.#table.replace(words, at, handle, next);
    const position = this.position(handle);
    this.#order.set(words, at + ORDER, position, next);
    this.#setPosition(next, position);
  }

  position(handle: Handle): number {
    return this.#memory.words[handle >>> SEGMENT_SHIFT]![((handle & UNIT_MASK) << 1) + RECORD_POSITION]!;
  }

  /** For dictionaries that are freed whole: takes the last member off the order only. Nothing but this, `size`, `at` and `freePages` may be called then. */
  takeLast(words: Uint32Array, at: number): Handle {
    return this.#order.pop(words, at + ORDER);
  }

  /** With no member left in the order: frees about `budget` pages. What is left of the budget, at least 1 once all words are zeros. */
  freePages(words: Uint32Array, at: number, budget: number): number {
    return this.#table.freeSome(words, at, budget);
  }

  /** For defragmentation: moves blocks out of slabs being evacuated, all of them if called for every position; not the records. */
  evacuate(words: Uint32Array, at: number, position: number): void {
    this.#order.evacuate(words, at + ORDER, position);
    this.#table.evacuate(words, at, position);
  }

  #setPosition(handle: Handle, position: number): void {
    this.#memory.words[handle >>> SEGMENT_SHIFT]![((handle & UNIT_MASK) << 1) + RECORD_POSITION] = position;
  }
}
