// A hash table of records in Memory, and the dense order of its members. Knows of a record only what this says:
//   word 0  hash of the key
//   word 1  position in the dense order; owned by the dictionary
//   word 2  bits 0–3: word of the record at which the key's bytes begin; bits 4–15: length of the key, or 0xfff when
//           the length is the word before the key; the rest is the owner's
// Open addressing with linear probing over two arrays: a tag of 8 bits from the hash (0 empty, 1 dead) and the handle;
// a probe touches records only where the tag agrees. Grown and shrunk incrementally: while `#oldTags` is not empty,
// a member is in the new table or in the old one; each mutation moves a few places, idle time the rest. Inserts go
// to the new table. A member taken out of the old table leaves a dead place, so probes go on past it.
//
// What must hold: the order of members depends only on the order of inserts and removals (append; the last moves into
// the hole), never on the tables. Reading changes nothing. Hot: indexes typed arrays directly.
import { assert } from '../base/assert.ts';
import type { Memory } from './allocator.ts';
import type { Meter } from './handle-list.ts';
import { HandleList } from './handle-list.ts';
import type { Handle } from './segments.ts';
import { SEGMENT_SHIFT, UNIT_MASK } from './segments.ts';

export const RECORD_HASH = 0;
export const RECORD_POSITION = 1;
export const RECORD_KEY = 2;
export const KEY_WORD_MASK = 0xf;
export const KEY_LENGTH_SHIFT = 4;
export const KEY_LENGTH_LONG = 0xfff;

const EMPTY = 0;
const DEAD = 1;
const PLACES_MIN = 16;
/** Share of places, dead ones included, above which the table is made anew. */
const LOAD_MAX = 13 / 16;
/** With more members than this share of places, the new table is twice as large; else only the dead are dropped. */
const LOAD_DOUBLE = 0.55;
const LOAD_SHRINK = 1 / 8;
/** Places of the old table that a mutation moves. Growing leaves 13/32 of them for inserts before it must be done: 8 is ample. */
const MOVE_PLACES = 8;
const MOVE_PLACES_SHRINK = 16;

const NO_TAGS = new Uint8Array(1);
const NO_SLOTS = new Uint32Array(1);

export class Dictionary {
  readonly #memory: Memory;
  readonly #meter: Meter;
  readonly #order: HandleList;
  #tags = NO_TAGS;
  #slots = NO_SLOTS;
  #mask = 0;
  /** Places of the new table that are not empty, and the number at which it is made anew. */
  #filled = 0;
  #filledMax = 0;
  #oldTags = NO_TAGS;
  #oldSlots = NO_SLOTS;
  #oldMask = 0;
  /** Places [0, moved) of the old table hold nothing any more. */
  #moved = 0;
  #movePlaces = MOVE_PLACES;
  readonly #gathered = new Uint32Array(MOVE_PLACES_SHRINK);

  constructor(memory: Memory, meter: Meter) {
    this.#memory = memory;
    this.#meter = meter;
    this.#order = new HandleList(meter);
  }

  get size(): number {
    return this.#order.length;
  }

  get rehashing(): boolean {
    return this.#oldTags !== NO_TAGS;
  }

  /** The member at `position`, 0 ≤ position < size. */
  at(position: number): Handle {
    return this.#order.at(position);
  }

  /** The member with this key, or 0. */
  find(hash: number, bytes: Uint8Array, start: number, end: number): Handle {
    const found = this.#probe(this.#tags, this.#slots, this.#mask, hash, bytes, start, end);
    if (found !== 0 || this.#oldTags === NO_TAGS) return found;
    return this.#probe(this.#oldTags, this.#oldSlots, this.#oldMask, hash, bytes, start, end);
  }

  /** Adds a record whose key is not a member; its words 0 and 2 are in place. */
  insert(handle: Handle): void {
    if (this.#oldTags !== NO_TAGS) this.#move(this.#movePlaces);
    if (this.#filled >= this.#filledMax) this.#makeRoom();
    const words = this.#memory.words[handle >>> SEGMENT_SHIFT]!;
    const word = (handle & UNIT_MASK) << 1;
    words[word + RECORD_POSITION] = this.#order.length;
    this.#order.push(handle);
    this.#place(words[word + RECORD_HASH]! | 0, handle);
  }

  /** Takes a member out; the last of the order takes its position. The record itself is the caller's to free. */
  remove(handle: Handle): void {
    const memory = this.#memory;
    const words = memory.words[handle >>> SEGMENT_SHIFT]!;
    const word = (handle & UNIT_MASK) << 1;
    this.#vacate(words[word + RECORD_HASH]! | 0, handle);
    const position = words[word + RECORD_POSITION]!;
    const last = this.#order.pop();
    if (last !== handle) {
      this.#order.set(position, last);
      memory.words[last >>> SEGMENT_SHIFT]![((last & UNIT_MASK) << 1) + RECORD_POSITION] = position;
    }
    if (this.#oldTags !== NO_TAGS) this.#move(this.#movePlaces);
    else if (this.#order.length < (this.#mask + 1) * LOAD_SHRINK && this.#mask >= PLACES_MIN) {
      this.#movePlaces = MOVE_PLACES_SHRINK;
      this.#startRehash(this.#order.length * 2);
    }
  }

  /** Puts `next`, another record of the same key, in the place and position of `handle`; both still readable. */
  replace(handle: Handle, next: Handle): void {
    const memory = this.#memory;
    const words = memory.words[handle >>> SEGMENT_SHIFT]!;
    const word = (handle & UNIT_MASK) << 1;
    const hash = words[word + RECORD_HASH]! | 0;
    const position = words[word + RECORD_POSITION]!;
    const place = this.#placeOf(this.#tags, this.#slots, this.#mask, hash, handle);
    if (place >= 0) this.#slots[place] = next;
    else this.#oldSlots[this.#oldPlaceOf(hash, handle)] = next;
    this.#order.set(position, next);
    memory.words[next >>> SEGMENT_SHIFT]![((next & UNIT_MASK) << 1) + RECORD_POSITION] = position;
  }

  /** Makes room for so many members at once, where there was never one: for a load, which is told their number. */
  reserve(members: number): void {
    if (this.#tags === NO_TAGS) this.#startRehash(members / LOAD_MAX);
  }

  /** Moves up to `budgetPlaces` places of a table being replaced. True while there is more to move. */
  rehashStep(budgetPlaces: number): boolean {
    if (this.#oldTags !== NO_TAGS) this.#move(budgetPlaces);
    return this.#oldTags !== NO_TAGS;
  }

  /** Forgets all members, freeing no record, and hands out their order so that the caller can. */
  detach(): HandleList {
    this.clearTables();
    return this.#order;
  }

  clearTables(): void {
    this.#meter.add(-5 * (tableLength(this.#tags) + tableLength(this.#oldTags)));
    this.#tags = NO_TAGS;
    this.#slots = NO_SLOTS;
    this.#mask = 0;
    this.#filled = 0;
    this.#filledMax = 0;
    this.#dropOld();
  }

  #probe(
    tags: Uint8Array,
    slots: Uint32Array,
    mask: number,
    hash: number,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): Handle {
    const tag = tagOf(hash);
    const memory = this.#memory;
    for (let i = hash & mask; ; i = (i + 1) & mask) {
      const t = tags[i]!;
      if (t === EMPTY) return 0;
      if (t !== tag) continue;
      const handle = slots[i]!;
      const segment = handle >>> SEGMENT_SHIFT;
      const word = (handle & UNIT_MASK) << 1;
      const words = memory.words[segment]!;
      if ((words[word]! | 0) !== hash) continue;
      const descriptor = words[word + RECORD_KEY]!;
      const keyWord = word + (descriptor & KEY_WORD_MASK);
      let length = (descriptor >>> KEY_LENGTH_SHIFT) & KEY_LENGTH_LONG;
      if (length === KEY_LENGTH_LONG) length = words[keyWord - 1]!;
      if (length !== end - start) continue;
      const own = memory.bytes[segment]!;
      let at = keyWord << 2;
      let j = start;
      while (j < end && own[at] === bytes[j]) {
        at++;
        j++;
      }
      if (j === end) return handle;
    }
  }

  /** The place of a member in a table, or -1. Touches no record. */
  #placeOf(tags: Uint8Array, slots: Uint32Array, mask: number, hash: number, handle: Handle): number {
    const tag = tagOf(hash);
    for (let i = hash & mask; ; i = (i + 1) & mask) {
      const t = tags[i]!;
      if (t === EMPTY) return -1;
      if (t === tag && slots[i] === handle) return i;
    }
  }

  #oldPlaceOf(hash: number, handle: Handle): number {
    const place = this.#placeOf(this.#oldTags, this.#oldSlots, this.#oldMask, hash, handle);
    assert(place >= 0, () => `record ${handle} is a member`);
    return place;
  }

  /** Puts a handle into the new table, which has room. */
  #place(hash: number, handle: Handle): void {
    const tags = this.#tags;
    const mask = this.#mask;
    let i = hash & mask;
    while (tags[i]! > DEAD) i = (i + 1) & mask;
    if (tags[i] === EMPTY) this.#filled++;
    tags[i] = tagOf(hash);
    this.#slots[i] = handle;
  }

  #vacate(hash: number, handle: Handle): void {
    const tags = this.#tags;
    const mask = this.#mask;
    const place = this.#placeOf(tags, this.#slots, mask, hash, handle);
    if (place < 0) {
      this.#oldTags[this.#oldPlaceOf(hash, handle)] = DEAD;
      return;
    }
    if (tags[(place + 1) & mask] !== EMPTY) {
      tags[place] = DEAD;
      return;
    }
    // Nothing probes past an empty place: it and the dead ones before it can be empty too.
    let i = place;
    do {
      tags[i] = EMPTY;
      this.#filled--;
      i = (i - 1) & mask;
    } while (tags[i] === DEAD);
  }

  #makeRoom(): void {
    // Only where the table was shrunk and filled again at once.
    if (this.#oldTags !== NO_TAGS) {
      this.#move(this.#oldMask + 1);
      if (this.#filled < this.#filledMax) return;
    }
    const places = this.#tags === NO_TAGS ? 0 : this.#mask + 1;
    this.#movePlaces = MOVE_PLACES;
    this.#startRehash(this.#order.length > places * LOAD_DOUBLE ? places * 2 : places);
  }

  #startRehash(placesMin: number): void {
    let places = PLACES_MIN;
    while (places < placesMin) places *= 2;
    this.#oldTags = this.#tags;
    this.#oldSlots = this.#slots;
    this.#oldMask = this.#mask;
    this.#moved = 0;
    this.#tags = new Uint8Array(places);
    this.#slots = new Uint32Array(places);
    this.#meter.add(5 * places);
    this.#mask = places - 1;
    this.#filled = 0;
    this.#filledMax = Math.floor(places * LOAD_MAX);
    if (places <= PLACES_MIN * 2) this.#move(this.#oldMask + 1);
  }

  /** Moves the members in the next `budget` places of the old table. Reads the hashes of a few first, so that their cache misses overlap. */
  #move(budget: number): void {
    const tags = this.#oldTags;
    if (tags === NO_TAGS) return;
    const slots = this.#oldSlots;
    const gathered = this.#gathered;
    const memory = this.#memory;
    const end = Math.min(this.#moved + budget, tags.length);
    let i = this.#moved;
    while (i < end) {
      const stop = Math.min(i + MOVE_PLACES_SHRINK, end);
      for (let j = i, n = 0; j < stop; j++, n++) {
        if (tags[j]! <= DEAD) continue;
        const handle = slots[j]!;
        gathered[n] = memory.words[handle >>> SEGMENT_SHIFT]![(handle & UNIT_MASK) << 1]!;
      }
      for (let n = 0; i < stop; i++, n++) {
        if (tags[i]! <= DEAD) continue;
        this.#place(gathered[n]! | 0, slots[i]!);
        tags[i] = DEAD;
      }
    }
    this.#moved = end;
    if (end === tags.length) {
      this.#meter.add(-5 * tags.length);
      this.#dropOld();
    }
  }

  #dropOld(): void {
    this.#oldTags = NO_TAGS;
    this.#oldSlots = NO_SLOTS;
    this.#oldMask = 0;
    this.#moved = 0;
  }
}

function tagOf(hash: number): number {
  const tag = hash >>> 24;
  return tag <= DEAD ? tag + 2 : tag;
}

function tableLength(tags: Uint8Array): number {
  return tags === NO_TAGS ? 0 : tags.length;
}
