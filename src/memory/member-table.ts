// A hash table of records that lives whole in Memory: of the keys of a database, the fields of a hash, the members of a sorted
// set. Owns its pages; four words of its owner's say where they are. All zeros are an empty table.
//
// Of a record it knows:
//   word 0  hash of the key
//   word d  (the owner says which) bits 0–3: word of the record at which the key's bytes begin; bits 4–15: length of the
//           key, or 0xfff when the length is the word before the key; the rest is the owner's
//
// Linear hashing (Litwin 1980): with n pages, 2^k ≤ n < 2^(k+1), a record is in the page of the low k+1 bits of its hash, or if
// there is none yet, of the low k. Page n − 2^k is the next to be split, in two by bit k, so the table grows and shrinks by a
// page at a time: no change costs more than a few pages, nothing is ever made anew, and there is nothing to do in idle time. What
// overflows elsewhere are chains; here a page is a block of its own that grows by itself, so most are nearly full.
//
// Words, from index `at` of `words`: 0 members, 1–3 the pages (handle-array.ts).
// Page: word 0 members | places << 16; a tag a place, the upper 8 bits of the hash; a word a place, the record's handle. Places
// are a multiple of 4, those in use come first. Looking for a tag takes four at a time.
//
// What must hold: a member stands in the page of its hash, once. Reading changes nothing. Hot: indexes typed arrays directly.
import { assert } from '../base/assert.ts';
import type { Memory } from './allocator.ts';
import { copyWords } from './bytes.ts';
import { HANDLE_ARRAY_WORDS, HandleArray } from './handle-array.ts';
import type { Handle } from './segments.ts';
import { SEGMENT_SHIFT, UNIT_MASK } from './segments.ts';

export const RECORD_HASH = 0;
export const KEY_WORD_MASK = 0xf;
export const KEY_LENGTH_SHIFT = 4;
export const KEY_LENGTH_LONG = 0xfff;

export const MEMBER_TABLE_WORDS = 1 + HANDLE_ARRAY_WORDS;
const SIZE = 0;
const PAGES = 1;

/** Members a page, over all pages, above which one is split, and below which two are joined. */
const MEMBERS_GROW = 24;
const MEMBERS_SHRINK = 8;
/**
 * Pages that are split ahead of time, in those that the members need: splitting costs little where there is little in them, and who
 * says that many more will come may be wrong.
 */
const AHEAD = 16;
/** As many at once. */
const AHEAD_PAGES_MAX = 512;
/** Places that they are given, of those that they will need by chance; most grow a little, and few have too many. */
const AHEAD_ROOM_SHARE = 0.8;
const AHEAD_ROOM_MAX = 31;
/** Records that are added together, at most: enough that their cache misses overlap, few enough that all stays in the cache. */
export const TOGETHER_MAX = 256;
/** What is fetched from memory at once. */
const LINE_WORDS = 16;
const SEGMENT_WORDS_MASK = 2 * UNIT_MASK + 1;
const COUNT_MASK = 0xffff;
const PLACES_SHIFT = 16;
const PLACES_MIN = 4;
/** Places are counted in 16 bits. A keyed hash never comes near. */
const PLACES_MAX = 0xfffc;

export class MemberTable {
  readonly #memory: Memory;
  readonly #pages: HandleArray;
  readonly #descriptor: number;
  /** Pages that `insertAll` is about to read. */
  readonly #touched = new Uint32Array(TOGETHER_MAX);

  /** `descriptor`: the word of a record that tells of its key. */
  constructor(memory: Memory, descriptor: number) {
    this.#memory = memory;
    this.#pages = new HandleArray(memory);
    this.#descriptor = descriptor;
  }

  size(words: Uint32Array, at: number): number {
    return words[at + SIZE]!;
  }

  /** The member with this key, or 0. */
  find(words: Uint32Array, at: number, hash: number, bytes: Uint8Array, start: number, end: number): Handle {
    const pages = words[at + PAGES]!;
    if (pages === 0) return 0;
    return this.#search(this.#pages.get(words, at + PAGES, pageNumber(hash, pages)), hash, bytes, start, end);
  }

  /** Adds a record whose key is not a member. */
  insert(words: Uint32Array, at: number, handle: Handle): void {
    const hash = this.#hash(handle);
    if (words[at + PAGES] === 0) this.#pages.push(words, at + PAGES, this.#newPage(PLACES_MIN));
    const number = pageNumber(hash, words[at + PAGES]!);
    this.#add(words, at, number, this.#pages.get(words, at + PAGES, number), hash, handle);
  }

  /**
   * Adds records, one after another, until the key of one is a member's: returns how many. Faster than `find` and `insert` for each,
   * since the cache misses of all of them overlap. `expected`: members that there may be in the end, as somebody says; pages are
   * split ahead of time then, and `trim` is to be called when all have come.
   */
  insertAll(words: Uint32Array, at: number, handles: Uint32Array, count: number, expected: number): number {
    const { words: all, bytes } = this.#memory;
    if (words[at + PAGES] === 0) this.#pages.push(words, at + PAGES, this.#newPage(PLACES_MIN));
    this.#splitAhead(words, at, expected);
    this.#touch(words, at, handles, count);
    for (let i = 0; i < count; i++) {
      const handle = handles[i]!;
      const own = all[handle >>> SEGMENT_SHIFT]!;
      const word = (handle & UNIT_MASK) << 1;
      const hash = own[word + RECORD_HASH]! | 0;
      const keyWord = word + (own[word + this.#descriptor]! & KEY_WORD_MASK);
      let length = (own[word + this.#descriptor]! >>> KEY_LENGTH_SHIFT) & KEY_LENGTH_LONG;
      if (length === KEY_LENGTH_LONG) length = own[keyWord - 1]!;
      const start = keyWord << 2;
      const number = pageNumber(hash, words[at + PAGES]!);
      const page = this.#pages.get(words, at + PAGES, number);
      if (this.#search(page, hash, bytes[handle >>> SEGMENT_SHIFT]!, start, start + length) !== 0) return i;
      this.#add(words, at, number, page, hash, handle);
    }
    return count;
  }

  /** Joins what was split ahead of time for members that did not come. */
  trim(words: Uint32Array, at: number): void {
    while (words[at + PAGES]! > 1 && words[at + SIZE]! < words[at + PAGES]! * MEMBERS_SHRINK) this.#join(words, at);
  }

  /** Takes a member out. The record itself is the caller's to free. */
  remove(words: Uint32Array, at: number, handle: Handle): void {
    const number = pageNumber(this.#hash(handle), words[at + PAGES]!);
    const page = this.#pages.get(words, at + PAGES, number);
    const place = this.#placeOf(page, handle);
    const own = this.#memory.words[page >>> SEGMENT_SHIFT]!;
    const word = (page & UNIT_MASK) << 1;
    const places = own[word]! >>> PLACES_SHIFT;
    const last = (own[word]! & COUNT_MASK) - 1;
    const handles = word + 1 + (places >>> 2);
    const tags = this.#memory.bytes[page >>> SEGMENT_SHIFT]!;
    tags[((word + 1) << 2) + place] = tags[((word + 1) << 2) + last]!;
    own[handles + place] = own[handles + last]!;
    own[word]!--;
    const size = words[at + SIZE]! - 1;
    words[at + SIZE] = size;
    if (size === 0) this.#memory.free(this.#pages.pop(words, at + PAGES));
    else if (places > 2 * placesFor(last)) this.#pages.set(words, at + PAGES, number, this.#remake(page, placesFor(last)));
    if (words[at + PAGES]! > 1 && size < words[at + PAGES]! * MEMBERS_SHRINK) this.#join(words, at);
  }

  /** Puts `next`, another record of the same key, in the place of `handle`; both still readable. */
  replace(words: Uint32Array, at: number, handle: Handle, next: Handle): void {
    const page = this.#pages.get(words, at + PAGES, pageNumber(this.#hash(handle), words[at + PAGES]!));
    const place = this.#placeOf(page, handle);
    const own = this.#memory.words[page >>> SEGMENT_SHIFT]!;
    const word = (page & UNIT_MASK) << 1;
    own[word + 1 + (own[word]! >>> (PLACES_SHIFT + 2)) + place] = next;
  }

  /**
   * Visits records in pages, from `from` on in the order of their hashes' bits read backwards, until `count` have been visited
   * or all. Returns where to go on, or 0 at the end. Whoever is a member all the while from 0 on to the end is visited,
   * whatever is split and joined meanwhile: a page has the records of one run of this order. A few may be visited twice.
   */
  scan(words: Uint32Array, at: number, from: number, count: number, visit: (handle: Handle) => void): number {
    const pages = words[at + PAGES]!;
    let position = from;
    for (let left = count; left > 0 && pages > 0; ) {
      const number = pageNumber(reverseBits(position), pages);
      const page = this.#pages.get(words, at + PAGES, number);
      const own = this.#memory.words[page >>> SEGMENT_SHIFT]!;
      const word = (page & UNIT_MASK) << 1;
      const members = own[word]! & COUNT_MASK;
      const handles = word + 1 + (own[word]! >>> (PLACES_SHIFT + 2));
      for (let i = 0; i < members; i++) visit(own[handles + i]!);
      left -= members;
      const width = 2 ** (32 - bitsOf(number, pages));
      position = (Math.floor(position / width) + 1) * width;
      if (position >= 2 ** 32) return 0;
    }
    return pages === 0 ? 0 : position;
  }

  /**
   * Frees pages from the end on, and the records in them if `free` is given: about `budget` of both. Returns what is left of the
   * budget, at least 1 once there is nothing left. Nothing but this may be called until then; the words are zeros then.
   */
  freeSome(words: Uint32Array, at: number, budget: number, free?: (handle: Handle) => void): number {
    const memory = this.#memory;
    let left = budget;
    while (left > 0 && words[at + PAGES]! > 0) {
      const page = this.#pages.get(words, at + PAGES, words[at + PAGES]! - 1);
      const own = memory.words[page >>> SEGMENT_SHIFT]!;
      const word = (page & UNIT_MASK) << 1;
      const handles = word + 1 + (own[word]! >>> (PLACES_SHIFT + 2));
      if (free !== undefined) {
        for (; left > 0 && (own[word]! & COUNT_MASK) > 0; left--) {
          own[word]!--;
          free(own[handles + (own[word]! & COUNT_MASK)]!);
        }
        if (left === 0) return 0;
      }
      memory.free(this.#pages.pop(words, at + PAGES));
      left--;
    }
    if (left > 0) words[at + SIZE] = 0;
    return left;
  }

  /**
   * For defragmentation: moves the table's own blocks out of slabs being evacuated, of all pages the share of one member, the one
   * that the owner has at `position`. So whoever visits all members moves all pages, empty ones too.
   */
  evacuate(words: Uint32Array, at: number, position: number): void {
    const pages = words[at + PAGES]!;
    const size = words[at + SIZE]!;
    const end = Math.floor(((position + 1) * pages) / size);
    for (let number = Math.floor((position * pages) / size); number < end; number++) {
      this.#pages.evacuate(words, at + PAGES, number);
      const page = this.#pages.get(words, at + PAGES, number);
      if (!this.#memory.isEvacuating(page)) continue;
      const head = this.#memory.words[page >>> SEGMENT_SHIFT]![(page & UNIT_MASK) << 1]!;
      this.#pages.set(words, at + PAGES, number, this.#remake(page, head >>> PLACES_SHIFT));
    }
  }

  /** Checks everything that must hold. For tests: reads the whole table. */
  check(words: Uint32Array, at: number): void {
    const pages = words[at + PAGES]!;
    const seen = new Set<Handle>();
    for (let number = 0; number < pages; number++) {
      const page = this.#pages.get(words, at + PAGES, number);
      const own = this.#memory.words[page >>> SEGMENT_SHIFT]!;
      const word = (page & UNIT_MASK) << 1;
      const count = own[word]! & COUNT_MASK;
      const places = own[word]! >>> PLACES_SHIFT;
      assert(count <= places && places % 4 === 0, () => `page ${number} has ${count} members in ${places} places`);
      for (let i = 0; i < count; i++) {
        const handle = own[word + 1 + (places >>> 2) + i]!;
        const hash = this.#hash(handle);
        assert(pageNumber(hash, pages) === number, 'a member stands in the page of its hash');
        assert(((own[word + 1 + (i >>> 2)]! >>> ((i & 3) << 3)) & 0xff) === hash >>> 24, 'a tag is of its hash');
        seen.add(handle);
      }
    }
    assert(seen.size === words[at + SIZE], () => `${seen.size} members in a table that says ${words[at + SIZE]}`);
    assert(pages <= 1 || seen.size >= pages * MEMBERS_SHRINK, () => `${pages} pages for ${seen.size} members`);
    assert(seen.size <= pages * MEMBERS_GROW, () => `${pages} pages for ${seen.size} members`);
  }

  /** Some pages of those that are wanted by then, so that nobody waits for it. */
  #splitAhead(words: Uint32Array, at: number, expected: number): void {
    const pages = Math.floor(Math.min(expected, words[at + SIZE]! * AHEAD) / MEMBERS_GROW);
    const end = Math.min(pages, words[at + PAGES]! + AHEAD_PAGES_MAX);
    while (words[at + PAGES]! < end) {
      const halves = 2 ** (32 - Math.clz32(words[at + PAGES]!));
      this.#split(words, at, Math.min(AHEAD_ROOM_MAX, Math.floor((AHEAD_ROOM_SHARE * expected) / halves)));
    }
  }

  /** Reads what looking for the records and adding them will read, so that it is in the cache then. Nothing in here waits for anything. */
  #touch(words: Uint32Array, at: number, handles: Uint32Array, count: number): void {
    const { words: all } = this.#memory;
    const pages = words[at + PAGES]!;
    const touched = this.#touched;
    for (let i = 0; i < count; i++) touched[i] = this.#pages.get(words, at + PAGES, pageNumber(this.#hash(handles[i]!), pages));
    let sum = 0;
    for (let i = 0; i < count; i++) {
      const page = touched[i]!;
      const own = all[page >>> SEGMENT_SHIFT]!;
      const word = (page & UNIT_MASK) << 1;
      sum ^= own[word]! ^ own[(word + LINE_WORDS) & SEGMENT_WORDS_MASK]! ^ own[(word + 2 * LINE_WORDS) & SEGMENT_WORDS_MASK]!;
    }
    // So that what was read counts as used.
    touched[0] = sum;
  }

  #search(page: Handle, hash: number, bytes: Uint8Array, start: number, end: number): Handle {
    const own = this.#memory.words[page >>> SEGMENT_SHIFT]!;
    const word = (page & UNIT_MASK) << 1;
    const count = own[word]! & COUNT_MASK;
    const tags = word + 1;
    const handles = tags + (own[word]! >>> (PLACES_SHIFT + 2));
    const wanted = Math.imul(hash >>> 24, 0x0101_0101);
    for (let i = 0; i < count; i += 4) {
      const differences = own[tags + (i >>> 2)]! ^ wanted;
      // Not 0 if one of the four bytes is.
      if (((differences - 0x0101_0101) & ~differences & 0x8080_8080) === 0) continue;
      for (let k = 0; k < 4 && i + k < count; k++) {
        if (((differences >>> (k << 3)) & 0xff) !== 0) continue;
        const handle = own[handles + i + k]!;
        if (this.#hasKey(handle, hash, bytes, start, end)) return handle;
      }
    }
    return 0;
  }

  /** Adds a record to the page of its hash. */
  #add(words: Uint32Array, at: number, number: number, page: Handle, hash: number, handle: Handle): void {
    const head = this.#memory.words[page >>> SEGMENT_SHIFT]![(page & UNIT_MASK) << 1]!;
    let own = page;
    if ((head & COUNT_MASK) === head >>> PLACES_SHIFT) {
      own = this.#remake(page, placesFor(head & COUNT_MASK));
      this.#pages.set(words, at + PAGES, number, own);
    }
    this.#append(own, hash >>> 24, handle);
    const size = words[at + SIZE]! + 1;
    words[at + SIZE] = size;
    if (size > words[at + PAGES]! * MEMBERS_GROW) this.#split(words, at, 0);
  }

  #hash(handle: Handle): number {
    return this.#memory.words[handle >>> SEGMENT_SHIFT]![((handle & UNIT_MASK) << 1) + RECORD_HASH]!;
  }

  #hasKey(handle: Handle, hash: number, bytes: Uint8Array, start: number, end: number): boolean {
    const segment = handle >>> SEGMENT_SHIFT;
    const word = (handle & UNIT_MASK) << 1;
    const memory = this.#memory;
    const words = memory.words[segment]!;
    if ((words[word + RECORD_HASH]! | 0) !== hash) return false;
    const descriptor = words[word + this.#descriptor]!;
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

  #placeOf(page: Handle, handle: Handle): number {
    const own = this.#memory.words[page >>> SEGMENT_SHIFT]!;
    const word = (page & UNIT_MASK) << 1;
    const count = own[word]! & COUNT_MASK;
    const handles = word + 1 + (own[word]! >>> (PLACES_SHIFT + 2));
    for (let i = 0; i < count; i++) if (own[handles + i] === handle) return i;
    assert(false, () => `record ${handle} is a member`);
  }

  #newPage(places: number): Handle {
    assert(places <= PLACES_MAX, 'a keyed hash spreads members over pages');
    const page = this.#memory.allocate(4 + 5 * places);
    this.#memory.words[page >>> SEGMENT_SHIFT]![(page & UNIT_MASK) << 1] = places << PLACES_SHIFT;
    return page;
  }

  /** The page has room. */
  #append(page: Handle, tag: number, handle: Handle): void {
    const own = this.#memory.words[page >>> SEGMENT_SHIFT]!;
    const word = (page & UNIT_MASK) << 1;
    const count = own[word]! & COUNT_MASK;
    this.#memory.bytes[page >>> SEGMENT_SHIFT]![((word + 1) << 2) + count] = tag;
    own[word + 1 + (own[word]! >>> (PLACES_SHIFT + 2)) + count] = handle;
    own[word] = own[word]! + 1;
  }

  /** The page's members in a new one with so many places; the page is freed. */
  #remake(page: Handle, places: number): Handle {
    const next = this.#newPage(places);
    this.#copyMembers(page, next);
    this.#memory.free(page);
    return next;
  }

  /** Adds the members of one page to another, empty one. */
  #copyMembers(page: Handle, target: Handle): void {
    const { words } = this.#memory;
    const from = words[page >>> SEGMENT_SHIFT]!;
    const to = words[target >>> SEGMENT_SHIFT]!;
    const word = (page & UNIT_MASK) << 1;
    const targetWord = (target & UNIT_MASK) << 1;
    const count = from[word]! & COUNT_MASK;
    copyWords(from, word + 1, to, targetWord + 1, (count + 3) >>> 2);
    copyWords(
      from,
      word + 1 + (from[word]! >>> (PLACES_SHIFT + 2)),
      to,
      targetWord + 1 + (to[targetWord]! >>> (PLACES_SHIFT + 2)),
      count,
    );
    to[targetWord] = to[targetWord]! + count;
  }

  /** Splits the next page in turn, into two that have places for `room` members at least. */
  #split(words: Uint32Array, at: number, room: number): void {
    const { words: all, bytes } = this.#memory;
    const pages = words[at + PAGES]!;
    const bit = 2 ** (31 - Math.clz32(pages));
    const number = pages - bit;
    const page = this.#pages.get(words, at + PAGES, number);
    const own = all[page >>> SEGMENT_SHIFT]!;
    const word = (page & UNIT_MASK) << 1;
    const count = own[word]! & COUNT_MASK;
    const handles = word + 1 + (own[word]! >>> (PLACES_SHIFT + 2));
    const tags = bytes[page >>> SEGMENT_SHIFT]!;
    // The records' cache misses overlap in this loop: nothing in it waits for them.
    let ones = 0;
    for (let i = 0; i < count; i++) if ((this.#hash(own[handles + i]!) & bit) !== 0) ones++;
    const upper = this.#newPage(placesFor(Math.max(ones, room)));
    const target = all[upper >>> SEGMENT_SHIFT]!;
    const targetTags = bytes[upper >>> SEGMENT_SHIFT]!;
    const targetWord = (upper & UNIT_MASK) << 1;
    const targetHandles = targetWord + 1 + (target[targetWord]! >>> (PLACES_SHIFT + 2));
    let kept = 0;
    let moved = 0;
    for (let i = 0; i < count; i++) {
      const handle = own[handles + i]!;
      const tag = tags[((word + 1) << 2) + i]!;
      if ((this.#hash(handle) & bit) !== 0) {
        targetTags[((targetWord + 1) << 2) + moved] = tag;
        target[targetHandles + moved++] = handle;
      } else {
        tags[((word + 1) << 2) + kept] = tag;
        own[handles + kept++] = handle;
      }
    }
    target[targetWord] = target[targetWord]! + moved;
    own[word] = own[word]! - moved;
    this.#pages.set(words, at + PAGES, number, this.#remake(page, placesFor(Math.max(kept, room))));
    this.#pages.push(words, at + PAGES, upper);
  }

  /** Undoes the last split. */
  #join(words: Uint32Array, at: number): void {
    const { words: all, bytes } = this.#memory;
    const upper = this.#pages.pop(words, at + PAGES);
    const pages = words[at + PAGES]!;
    const number = pages - 2 ** (31 - Math.clz32(pages));
    const lower = this.#pages.get(words, at + PAGES, number);
    const own = all[upper >>> SEGMENT_SHIFT]!;
    const word = (upper & UNIT_MASK) << 1;
    const count = own[word]! & COUNT_MASK;
    const handles = word + 1 + (own[word]! >>> (PLACES_SHIFT + 2));
    const others = all[lower >>> SEGMENT_SHIFT]![(lower & UNIT_MASK) << 1]!;
    let joined = lower;
    if ((others & COUNT_MASK) + count > others >>> PLACES_SHIFT) {
      joined = this.#remake(lower, placesFor((others & COUNT_MASK) + count));
      this.#pages.set(words, at + PAGES, number, joined);
    }
    for (let i = 0; i < count; i++) this.#append(joined, bytes[upper >>> SEGMENT_SHIFT]![((word + 1) << 2) + i]!, own[handles + i]!);
    this.#memory.free(upper);
  }
}

/** The number of the page, of so many, for a hash. */
function pageNumber(hash: number, pages: number): number {
  const bit = 1 << (31 - Math.clz32(pages));
  const number = hash & (2 * bit - 1);
  return number < pages ? number : number & (bit - 1);
}

/** How many of a hash's low bits decide that it is in page `number` of so many. */
function bitsOf(number: number, pages: number): number {
  const log = 31 - Math.clz32(pages);
  return number >= 2 ** log || number + 2 ** log < pages ? log + 1 : log;
}

/** Places of a page for so many members and one more. */
function placesFor(count: number): number {
  return (count + 4) & ~3;
}

function reverseBits(value: number): number {
  let v = value | 0;
  v = ((v >>> 1) & 0x5555_5555) | ((v & 0x5555_5555) << 1);
  v = ((v >>> 2) & 0x3333_3333) | ((v & 0x3333_3333) << 2);
  v = ((v >>> 4) & 0x0f0f_0f0f) | ((v & 0x0f0f_0f0f) << 4);
  v = ((v >>> 8) & 0x00ff_00ff) | ((v & 0x00ff_00ff) << 8);
  return (v >>> 16) | (v << 16);
}
