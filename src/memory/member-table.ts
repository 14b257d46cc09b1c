// A dictionary of records that lives whole in Memory, for the members of one value (a hash's fields, a set's members, a sorted
// set's): five words in the owner's root say where it is. Same records and same dense order as dictionary.ts, which is for
// the few dictionaries of keys; of a record it knows what that file says. All zeros are an empty table.
//
// Words, from index `at` of `words`:
//   0  members
//   1  places of the dense order
//   2  the order: a chunk of handles where it has up to CHUNK_PLACES, else a block of the chunks' handles
//   3  depth: the number of hash bits, from the top, that choose a page
//   4  the page if depth is 0, else a block of 2^depth handles of pages
// Extendible hashing: a page is an open-addressing table of up to PAGE_PLACES_MAX places. It grows by being made anew; at full
// size it splits in two by one more bit of the hash, so no change costs more than one page. A page is referred to by all
// 2^(depth − its own depth) entries that its members' leading bits lead to.
// Page: word 0 own depth | places << 8, word 1 live members | places not empty << 16, then a handle a place, then a tag a
// place: 0 empty, 1 dead, else 8 bits of the hash. Probing is linear from a place that all bits of the hash decide.
//
// What must hold: the order of members depends only on the order of inserts and removals (append; the last moves into the
// hole). Reading changes nothing. Hot: indexes typed arrays directly.
import { assert } from '../base/assert.ts';
import type { Memory } from './allocator.ts';
import { copyWords } from './bytes.ts';
import { KEY_LENGTH_LONG, KEY_LENGTH_SHIFT, KEY_WORD_MASK, RECORD_HASH, RECORD_KEY, RECORD_POSITION } from './dictionary.ts';
import type { Handle } from './segments.ts';
import { SEGMENT_SHIFT, UNIT_MASK } from './segments.ts';

export const MEMBER_TABLE_WORDS = 5;
const SIZE = 0;
const ORDER_PLACES = 1;
const ORDER = 2;
const DEPTH = 3;
const PAGES = 4;

const EMPTY = 0;
const DEAD = 1;
const CHUNK_SHIFT = 10;
const CHUNK_PLACES = 2 ** CHUNK_SHIFT;
const CHUNK_MASK = CHUNK_PLACES - 1;
const ORDER_PLACES_MIN = 4;
const PAGE_HEADER_WORDS = 2;
const PLACES_SHIFT = 8;
/** Fills a block of 5120 bytes: 8 bytes and 5 a place. */
const PAGE_PLACES_MAX = 1022;
const PAGE_PLACES_MIN = 8;
/** Share of places, dead ones included, above which a page is made anew. */
const LOAD_MAX = 13 / 16;
/** With more members than this share of places, it gets larger or splits; else only the dead are dropped. */
const LOAD_GROW = 0.55;
/** With fewer, it gets smaller, or joins its other half if both together fill less than LOAD_JOIN. */
const LOAD_SHRINK = 1 / 8;
const LOAD_JOIN = 0.4;
/** 2^22 pages; their handles fit in a block. */
const DEPTH_MAX = 22;

/** A page opened: the views of its segment, its first word there, and where its slots (in `table`) and tags (in `own`) begin. */
class PageView {
  table = new Uint32Array(0) as Uint32Array;
  own = new Uint8Array(0) as Uint8Array;
  places = 0;
  word = 0;
  slots = 0;
  tags = 0;
}

export class MemberTable {
  readonly #memory: Memory;
  readonly #viewed = new PageView();
  readonly #gathered = new Uint32Array(PAGE_PLACES_MAX);

  constructor(memory: Memory) {
    this.#memory = memory;
  }

  size(words: Uint32Array, at: number): number {
    return words[at + SIZE]!;
  }

  /** The member at `position` of the order. */
  at(words: Uint32Array, at: number, position: number): Handle {
    const order = words[at + ORDER]!;
    const chunk = words[at + ORDER_PLACES]! <= CHUNK_PLACES ? order : this.#word(order, position >>> CHUNK_SHIFT);
    return this.#word(chunk, position & CHUNK_MASK);
  }

  /** The member with this key, or 0. */
  find(words: Uint32Array, at: number, hash: number, bytes: Uint8Array, start: number, end: number): Handle {
    if (words[at + SIZE] === 0) return 0;
    const page = this.#pageOf(words, at, hash);
    const { table, places, slots, tags, own } = this.#view(page);
    const tag = tagOf(hash);
    for (let i = placeOf(hash, places); ; i = i + 1 === places ? 0 : i + 1) {
      const t = own[tags + i]!;
      if (t === EMPTY) return 0;
      if (t !== tag) continue;
      const handle = table[slots + i]!;
      if (this.#hasKey(handle, hash, bytes, start, end)) return handle;
    }
  }

  /** Adds a record whose key is not a member, as the last of the order; its words 0 and 2 are in place. */
  insert(words: Uint32Array, at: number, handle: Handle): void {
    const hash = this.#word(handle, RECORD_HASH) | 0;
    this.#makeRoom(words, at, hash);
    const size = words[at + SIZE]!;
    if (size === words[at + ORDER_PLACES]) this.#growOrder(words, at);
    words[at + SIZE] = size + 1;
    this.#setOrder(words, at, size, handle);
    this.#place(this.#pageOf(words, at, hash), hash, handle);
  }

  /** Takes a member out; the last of the order takes its position. The record itself is the caller's to free. */
  remove(words: Uint32Array, at: number, handle: Handle): void {
    const hash = this.#word(handle, RECORD_HASH) | 0;
    const position = this.#word(handle, RECORD_POSITION);
    const last = this.takeLast(words, at);
    if (last !== handle) this.#setOrder(words, at, position, last);
    const page = this.#pageOf(words, at, hash);
    if (words[at + SIZE] === 0) this.#freePages(words, at, Infinity);
    else if (this.#vacate(page, hash, handle)) this.#shrink(words, at, hash, page);
  }

  /** Puts `next`, another record of the same key, in the place and position of `handle`; both still readable. */
  replace(words: Uint32Array, at: number, handle: Handle, next: Handle): void {
    const hash = this.#word(handle, RECORD_HASH) | 0;
    const page = this.#pageOf(words, at, hash);
    const place = this.#placeOfMember(page, hash, handle);
    const { table, slots } = this.#view(page);
    table[slots + place] = next;
    this.#setOrder(words, at, this.#word(handle, RECORD_POSITION), next);
  }

  /** Takes the last member off the order only: for values that are freed whole, and for `remove`. */
  takeLast(words: Uint32Array, at: number): Handle {
    const size = words[at + SIZE]! - 1;
    assert(size >= 0, 'an empty table has no last member');
    const handle = this.at(words, at, size);
    words[at + SIZE] = size;
    this.#shrinkOrder(words, at);
    return handle;
  }

  /** With no member left in the order: frees up to `budget` pages. What is left of the budget, 0 if pages may be left. */
  freePages(words: Uint32Array, at: number, budget: number): number {
    assert(words[at + SIZE] === 0, 'members go before their pages');
    return this.#freePages(words, at, budget);
  }

  /** Moves the blocks that lead to the member at `position` out of slabs being evacuated; not the record. */
  evacuate(words: Uint32Array, at: number, position: number): void {
    const memory = this.#memory;
    words[at + ORDER] = this.#moved(words[at + ORDER]!);
    if (words[at + ORDER_PLACES]! > CHUNK_PLACES) {
      const order = words[at + ORDER]!;
      const chunk = this.#word(order, position >>> CHUNK_SHIFT);
      if (memory.isEvacuating(chunk)) this.#setWord(order, position >>> CHUNK_SHIFT, this.#moved(chunk));
    }
    words[at + PAGES] = this.#moved(words[at + PAGES]!);
    const depth = words[at + DEPTH]!;
    if (depth === 0) return;
    const hash = this.#word(this.at(words, at, position), RECORD_HASH) | 0;
    const page = this.#pageOf(words, at, hash);
    if (memory.isEvacuating(page)) this.#setPages(words, at, hash, this.#word(page, 0) & 0xff, this.#moved(page));
  }

  #word(handle: Handle, word: number): number {
    return this.#memory.words[handle >>> SEGMENT_SHIFT]![((handle & UNIT_MASK) << 1) + word]!;
  }

  #setWord(handle: Handle, word: number, value: number): void {
    this.#memory.words[handle >>> SEGMENT_SHIFT]![((handle & UNIT_MASK) << 1) + word] = value;
  }

  /** The block's handle, another one if it had to move. */
  #moved(block: Handle): Handle {
    const memory = this.#memory;
    if (block === 0 || !memory.isEvacuating(block)) return block;
    return this.#moveBlock(block, memory.usableBytes(block), memory.usableBytes(block));
  }

  /** Another block of `bytes` with the first `kept` bytes of this one, which is freed. */
  #moveBlock(block: Handle, bytes: number, kept: number): Handle {
    const { words } = this.#memory;
    const next = this.#memory.allocate(bytes);
    copyWords(words[block >>> SEGMENT_SHIFT]!, (block & UNIT_MASK) << 1, words[next >>> SEGMENT_SHIFT]!, (next & UNIT_MASK) << 1, kept >>> 2);
    this.#memory.free(block);
    return next;
  }

  // The order.

  #setOrder(words: Uint32Array, at: number, position: number, handle: Handle): void {
    const order = words[at + ORDER]!;
    const chunk = words[at + ORDER_PLACES]! <= CHUNK_PLACES ? order : this.#word(order, position >>> CHUNK_SHIFT);
    this.#setWord(chunk, position & CHUNK_MASK, handle);
    this.#setWord(handle, RECORD_POSITION, position);
  }

  #growOrder(words: Uint32Array, at: number): void {
    const memory = this.#memory;
    const places = words[at + ORDER_PLACES]!;
    const order = words[at + ORDER]!;
    if (places < CHUNK_PLACES) {
      const next = Math.max(ORDER_PLACES_MIN, places * 2);
      words[at + ORDER] = places === 0 ? memory.allocate(next * 4) : this.#moveBlock(order, next * 4, places * 4);
      words[at + ORDER_PLACES] = next;
      return;
    }
    const chunks = places >>> CHUNK_SHIFT;
    let list = order;
    if (chunks === 1) {
      list = memory.allocate(16 * 4);
      this.#setWord(list, 0, order);
    } else if (chunks * 4 === memory.usableBytes(order)) list = this.#moveBlock(order, chunks * 8, chunks * 4);
    this.#setWord(list, chunks, memory.allocate(CHUNK_PLACES * 4));
    words[at + ORDER] = list;
    words[at + ORDER_PLACES] = places + CHUNK_PLACES;
  }

  #shrinkOrder(words: Uint32Array, at: number): void {
    const memory = this.#memory;
    const size = words[at + SIZE]!;
    const places = words[at + ORDER_PLACES]!;
    const order = words[at + ORDER]!;
    if (size === 0) {
      if (places > CHUNK_PLACES) this.#dropChunks(words, at, 1);
      memory.free(words[at + ORDER]!);
      words[at + ORDER] = 0;
      words[at + ORDER_PLACES] = 0;
    } else if (places > CHUNK_PLACES) {
      if (places - size > 2 * CHUNK_PLACES) this.#dropChunks(words, at, (places >>> CHUNK_SHIFT) - 1);
    } else if (places > ORDER_PLACES_MIN && size < places / 4) {
      words[at + ORDER] = this.#moveBlock(order, places * 2, size * 4);
      words[at + ORDER_PLACES] = places >>> 1;
    }
  }

  /** Frees the chunks from number `keep` on; a single one left stands for itself. */
  #dropChunks(words: Uint32Array, at: number, keep: number): void {
    const memory = this.#memory;
    const order = words[at + ORDER]!;
    for (let chunk = (words[at + ORDER_PLACES]! >>> CHUNK_SHIFT) - 1; chunk >= keep; chunk--) memory.free(this.#word(order, chunk));
    words[at + ORDER_PLACES] = keep << CHUNK_SHIFT;
    if (keep > 1) return;
    words[at + ORDER] = this.#word(order, 0);
    memory.free(order);
  }

  // The pages.

  #pageOf(words: Uint32Array, at: number, hash: number): Handle {
    const depth = words[at + DEPTH]!;
    return depth === 0 ? words[at + PAGES]! : this.#word(words[at + PAGES]!, hash >>> (32 - depth));
  }

  /** One object, used again. */
  #view(page: Handle): PageView {
    const view = this.#viewed;
    const word = (page & UNIT_MASK) << 1;
    view.table = this.#memory.words[page >>> SEGMENT_SHIFT]!;
    view.own = this.#memory.bytes[page >>> SEGMENT_SHIFT]!;
    view.places = view.table[word]! >>> PLACES_SHIFT;
    view.word = word;
    view.slots = word + PAGE_HEADER_WORDS;
    view.tags = (word + PAGE_HEADER_WORDS + view.places) << 2;
    return view;
  }

  #hasKey(handle: Handle, hash: number, bytes: Uint8Array, start: number, end: number): boolean {
    const segment = handle >>> SEGMENT_SHIFT;
    const word = (handle & UNIT_MASK) << 1;
    const memory = this.#memory;
    const words = memory.words[segment]!;
    if ((words[word + RECORD_HASH]! | 0) !== hash) return false;
    const descriptor = words[word + RECORD_KEY]!;
    const keyWord = word + (descriptor & KEY_WORD_MASK);
    let length = (descriptor >>> KEY_LENGTH_SHIFT) & KEY_LENGTH_LONG;
    if (length === KEY_LENGTH_LONG) length = words[keyWord - 1]!;
    if (length !== end - start) return false;
    const own = memory.bytes[segment]!;
    let i = keyWord << 2;
    let j = start;
    while (j < end && own[i] === bytes[j]) {
      i++;
      j++;
    }
    return j === end;
  }

  #placeOfMember(page: Handle, hash: number, handle: Handle): number {
    const { table, own, places, slots, tags } = this.#view(page);
    const tag = tagOf(hash);
    for (let i = placeOf(hash, places); ; i = i + 1 === places ? 0 : i + 1) {
      const t = own[tags + i]!;
      assert(t !== EMPTY, () => `record ${handle} is a member`);
      if (t === tag && table[slots + i] === handle) return i;
    }
  }

  #place(page: Handle, hash: number, handle: Handle): void {
    const { table, own, places, word, slots, tags } = this.#view(page);
    let i = placeOf(hash, places);
    while (own[tags + i]! > DEAD) i = i + 1 === places ? 0 : i + 1;
    table[word + 1]! += own[tags + i] === EMPTY ? 0x1_0001 : 1;
    own[tags + i] = tagOf(hash);
    table[slots + i] = handle;
  }

  /** Takes a member out of its page. True if the page has few left. */
  #vacate(page: Handle, hash: number, handle: Handle): boolean {
    let i = this.#placeOfMember(page, hash, handle);
    const { table, own, places, word, tags } = this.#view(page);
    const live = (table[word + 1]! & 0xffff) - 1;
    table[word + 1]!--;
    own[tags + i] = DEAD;
    if (own[tags + (i + 1 === places ? 0 : i + 1)] === EMPTY) {
      // Nothing probes past an empty place: it and the dead ones before it can be empty too.
      for (; own[tags + i] === DEAD; i = i === 0 ? places - 1 : i - 1) {
        own[tags + i] = EMPTY;
        table[word + 1]! -= 0x1_0000;
      }
    }
    return live < places * LOAD_SHRINK;
  }

  /** Sees to it that the page for `hash` takes one more. */
  #makeRoom(words: Uint32Array, at: number, hash: number): void {
    if (words[at + PAGES] === 0) {
      words[at + PAGES] = this.#newPage(0, PAGE_PLACES_MIN);
      return;
    }
    for (;;) {
      const page = this.#pageOf(words, at, hash);
      const { table, word, places } = this.#view(page);
      const live = table[word + 1]! & 0xffff;
      if (table[word + 1]! >>> 16 < Math.floor(places * LOAD_MAX)) return;
      const depth = table[word]! & 0xff;
      if (live <= places * LOAD_GROW) this.#remake(words, at, hash, page, depth, places);
      else if (places < PAGE_PLACES_MAX) this.#remake(words, at, hash, page, depth, places * 2);
      else this.#split(words, at, hash, page, depth);
    }
  }

  /** Gathers the handles of a page's members; returns how many. */
  #gather(page: Handle, from: number): number {
    const { table, own, places, slots, tags } = this.#view(page);
    let n = from;
    for (let i = 0; i < places; i++) if (own[tags + i]! > DEAD) this.#gathered[n++] = table[slots + i]!;
    return n;
  }

  #newPage(depth: number, placesMin: number): Handle {
    // As many places as the block has room for.
    const bytes = this.#memory.roundUp(PAGE_HEADER_WORDS * 4 + 5 * Math.min(placesMin, PAGE_PLACES_MAX));
    const places = Math.min(PAGE_PLACES_MAX, Math.floor((bytes - PAGE_HEADER_WORDS * 4) / 5));
    const page = this.#memory.allocate(bytes);
    const { table, own, word } = this.#view(page);
    table[word] = depth | (places << PLACES_SHIFT);
    table[word + 1] = 0;
    const tags = (word + PAGE_HEADER_WORDS + places) << 2;
    own.fill(EMPTY, tags, tags + places);
    return page;
  }

  /** The members [from, to) of those gathered, in a new page. */
  #fillPage(depth: number, placesMin: number, from: number, to: number): Handle {
    const page = this.#newPage(depth, placesMin);
    for (let n = from; n < to; n++) {
      const handle = this.#gathered[n]!;
      this.#place(page, this.#word(handle, RECORD_HASH) | 0, handle);
    }
    return page;
  }

  #remake(words: Uint32Array, at: number, hash: number, page: Handle, depth: number, placesMin: number): void {
    const count = this.#gather(page, 0);
    this.#setPages(words, at, hash, depth, this.#fillPage(depth, placesMin, 0, count));
    this.#memory.free(page);
  }

  #split(words: Uint32Array, at: number, hash: number, page: Handle, depth: number): void {
    assert(depth < DEPTH_MAX, 'a keyed hash spreads members over pages');
    if (depth === words[at + DEPTH]) this.#doubleList(words, at);
    const count = this.#gather(page, 0);
    const gathered = this.#gathered;
    // Those with a 0 in the next bit come first.
    const bit = 0x8000_0000 >>> depth;
    let zeros = 0;
    for (let n = 0; n < count; n++) {
      const handle = gathered[n]!;
      if ((this.#word(handle, RECORD_HASH) & bit) !== 0) continue;
      gathered[n] = gathered[zeros]!;
      gathered[zeros++] = handle;
    }
    this.#setPages(words, at, hash & ~bit, depth + 1, this.#fillPage(depth + 1, PAGE_PLACES_MAX, 0, zeros));
    this.#setPages(words, at, hash | bit, depth + 1, this.#fillPage(depth + 1, PAGE_PLACES_MAX, zeros, count));
    this.#memory.free(page);
  }

  /** Has all entries whose first `depth` bits are those of `hash` lead to `page`. */
  #setPages(words: Uint32Array, at: number, hash: number, depth: number, page: Handle): void {
    const total = words[at + DEPTH]!;
    if (total === 0) {
      words[at + PAGES] = page;
      return;
    }
    const list = words[at + PAGES]!;
    const run = 1 << (total - depth);
    const first = (hash >>> (32 - total)) & ~(run - 1);
    for (let i = first; i < first + run; i++) this.#setWord(list, i, page);
  }

  #doubleList(words: Uint32Array, at: number): void {
    const memory = this.#memory;
    const depth = words[at + DEPTH]!;
    const old = words[at + PAGES]!;
    const length = 1 << depth;
    const list = memory.allocate(length * 8);
    for (let i = 0; i < length; i++) {
      const page = depth === 0 ? old : this.#word(old, i);
      this.#setWord(list, i * 2, page);
      this.#setWord(list, i * 2 + 1, page);
    }
    if (depth > 0) memory.free(old);
    words[at + PAGES] = list;
    words[at + DEPTH] = depth + 1;
  }

  #shrink(words: Uint32Array, at: number, hash: number, page: Handle): void {
    const { table, word, places } = this.#view(page);
    const depth = table[word]! & 0xff;
    const live = table[word + 1]! & 0xffff;
    if (depth === 0) {
      if (places >= PAGE_PLACES_MIN * 2) this.#remake(words, at, hash, page, 0, Math.max(PAGE_PLACES_MIN, live * 2));
      return;
    }
    const bit = 0x8000_0000 >>> (depth - 1);
    const other = this.#pageOf(words, at, hash ^ bit);
    const otherLive = this.#word(other, 1) & 0xffff;
    if ((this.#word(other, 0) & 0xff) !== depth || live + otherLive > PAGE_PLACES_MAX * LOAD_JOIN) return;
    const count = this.#gather(other, this.#gather(page, 0));
    this.#setPages(words, at, hash, depth - 1, this.#fillPage(depth - 1, PAGE_PLACES_MAX, 0, count));
    this.#memory.free(page);
    this.#memory.free(other);
    if (depth === words[at + DEPTH]) this.#halveList(words, at);
  }

  /** Where no page needs the last bit, and as long as that is so. */
  #halveList(words: Uint32Array, at: number): void {
    for (let depth = words[at + DEPTH]!; depth > 0; depth--) {
      const list = words[at + PAGES]!;
      const length = 1 << depth;
      for (let i = 0; i < length; i += 2) if (this.#word(list, i) !== this.#word(list, i + 1)) return;
      for (let i = 0; i < length; i += 2) this.#setWord(list, i >>> 1, this.#word(list, i));
      words[at + PAGES] = depth === 1 ? this.#word(list, 0) : this.#moveBlock(list, length * 2, length * 2);
      if (depth === 1) this.#memory.free(list);
      words[at + DEPTH] = depth - 1;
    }
  }

  /** Frees pages from the end of the list; those gone are zeros in it. */
  #freePages(words: Uint32Array, at: number, budget: number): number {
    const memory = this.#memory;
    const depth = words[at + DEPTH]!;
    const list = words[at + PAGES]!;
    if (list === 0) return budget;
    let left = budget;
    if (depth > 0) {
      // While it is freed, the places of the order, of which there are none, count the entries done.
      for (let i = (1 << depth) - 1 - words[at + ORDER_PLACES]!; i >= 0; ) {
        if (left === 0) return 0;
        const page = this.#word(list, i);
        const run = 1 << (depth - (this.#word(page, 0) & 0xff));
        memory.free(page);
        i -= run;
        words[at + ORDER_PLACES]! += run;
        left--;
      }
    }
    if (left === 0) return 0;
    memory.free(list);
    words[at + PAGES] = 0;
    words[at + DEPTH] = 0;
    words[at + ORDER_PLACES] = 0;
    return left;
  }
}

function tagOf(hash: number): number {
  const tag = hash & 0xff;
  return tag <= DEAD ? tag + 2 : tag;
}

/** The place where a member belongs: from all bits, since those of one page share their first. */
function placeOf(hash: number, places: number): number {
  return ((Math.imul(hash, 0x9e3779b1) >>> 12) * places) >>> 20;
}
