// A hash table outside the heap that never makes anyone wait for its growth: extendible hashing (Fagin, Nievergelt, Pippenger,
// Strong 1979). Maps 32-bit hashes to handles of records; several records may have one hash. Owns its pages and directory;
// the records are the caller's.
//
// The directory has 2^depth page handles, by the first `depth` bits of the hash. A page holds the entries whose hashes share
// its own first bits, at most as many as the directory's; a full page is split in two by one bit more, and the directory
// doubled (one copy of 4 bytes an entry) where that needs it. A page, of 32-bit words:
//   w0 entries, its bits << 16   w1 next page of the same bits (0: none; only where the directory may not grow)
//   w2… hashes, PAGE_ENTRIES words; then handles, PAGE_ENTRIES words
//
// What must hold: every directory entry between the first and the last hash of a page is that page. The first pages of chains
// have fewer than the directory's bits, or as many, `#deep` of them.
// So pages stand in the order of hashes, and a walk by hash survives any splitting and joining (`scan`).
// Hot: indexes typed arrays directly.
import { assert } from '../base/assert.ts';
import type { Memory } from './allocator.ts';
import { copyWords } from './bytes.ts';
import type { Handle } from './segments.ts';
import { SEGMENT_SHIFT, UNIT_MASK } from './segments.ts';

/** Words in which a table is kept while no HashPages has it loaded: directory, its bits, entries, pages, pages with as many bits. */
export const TABLE_WORDS = 5;
export const HASH_PAGE_BYTES = 512;
export const HASH_PAGE_ENTRIES = 63;
/** A directory fits in a block. */
export const DIRECTORY_BITS_MAX = 22;
/** Two neighbours that have this many together become one. */
const JOIN_ENTRIES_MAX = 30;
const NEXT = 1;
const HASHES = 2;
const HANDLES = HASHES + HASH_PAGE_ENTRIES;
/** Stands for the number of deep pages while the table is being freed. */
const FREEING = 0xffff_ffff;
const COUNT_MASK = 0xffff;
const BITS_SHIFT = 16;

assert((HANDLES + HASH_PAGE_ENTRIES) * 4 === HASH_PAGE_BYTES, 'a page fills its block');

/** Tells whether a record is the one looked for. */
export interface RecordMatch {
  matches(handle: Handle, bytes: Uint8Array, start: number, end: number): boolean;
}

/** One object serves any number of tables in turn: see load and save. */
export class HashPages {
  readonly #memory: Memory;
  readonly #records: RecordMatch;
  readonly #bitsMax: number;
  #directory: Handle = 0;
  #bits = 0;
  #size = 0;
  #pages = 0;
  #deep = 0;

  constructor(memory: Memory, records: RecordMatch, bitsMax: number = DIRECTORY_BITS_MAX) {
    this.#memory = memory;
    this.#records = records;
    this.#bitsMax = bitsMax;
  }

  /** Takes up the table that these TABLE_WORDS words stand for; zeros are an empty one. */
  load(words: Uint32Array, at: number): void {
    this.#directory = words[at]!;
    this.#bits = words[at + 1]!;
    this.#size = words[at + 2]!;
    this.#pages = words[at + 3]!;
    this.#deep = words[at + 4]!;
  }

  save(words: Uint32Array, at: number): void {
    words[at] = this.#directory;
    words[at + 1] = this.#bits;
    words[at + 2] = this.#size;
    words[at + 3] = this.#pages;
    words[at + 4] = this.#deep;
  }

  get size(): number {
    return this.#size;
  }

  /** The record of this hash that matches bytes[start, end), or 0. */
  find(hash: number, bytes: Uint8Array, start: number, end: number): Handle {
    if (this.#directory === 0) return 0;
    const memory = this.#memory;
    const records = this.#records;
    const wanted = hash >>> 0;
    let page = this.#pageOf(wanted);
    do {
      const words = memory.words[page >>> SEGMENT_SHIFT]!;
      const word = (page & UNIT_MASK) << 1;
      const last = word + HASHES + (words[word]! & COUNT_MASK);
      for (let i = word + HASHES; i < last; i++) {
        if (words[i] !== wanted) continue;
        const handle = words[i + HASH_PAGE_ENTRIES]!;
        if (records.matches(handle, bytes, start, end)) return handle;
      }
      page = words[word + NEXT]!;
    } while (page !== 0);
    return 0;
  }

  /** Adds a record that is not in the table. */
  insert(hash: number, handle: Handle): void {
    const wanted = hash >>> 0;
    if (this.#directory === 0) this.#start();
    for (;;) {
      const page = this.#pageOf(wanted);
      if (this.#append(page, wanted, handle)) break;
      if (!this.#split(page, wanted)) {
        this.#extendChain(page, wanted, handle);
        break;
      }
    }
    this.#size++;
  }

  /** Takes out a record, which is in the table. */
  remove(hash: number, handle: Handle): void {
    const memory = this.#memory;
    const wanted = hash >>> 0;
    const first = this.#pageOf(wanted);
    for (let page = first; page !== 0; ) {
      const words = memory.words[page >>> SEGMENT_SHIFT]!;
      const word = (page & UNIT_MASK) << 1;
      const i = placeOf(words, word, handle);
      if (i >= 0) {
        const last = (words[word]! & COUNT_MASK) - 1;
        words[word + HASHES + i] = words[word + HASHES + last]!;
        words[word + HANDLES + i] = words[word + HANDLES + last]!;
        words[word]!--;
        this.#size--;
        if (this.#size === 0) this.freeStep(Number.MAX_SAFE_INTEGER);
        else if (page === first && last < JOIN_ENTRIES_MAX / 2) this.#join(first, wanted);
        return;
      }
      page = words[word + NEXT]!;
    }
    assert(false, () => `record ${handle} is in the table`);
  }

  /** The record is at another handle now. */
  replace(hash: number, handle: Handle, next: Handle): void {
    const memory = this.#memory;
    for (let page = this.#pageOf(hash >>> 0); page !== 0; ) {
      const words = memory.words[page >>> SEGMENT_SHIFT]!;
      const word = (page & UNIT_MASK) << 1;
      const i = placeOf(words, word, handle);
      if (i >= 0) {
        words[word + HANDLES + i] = next;
        return;
      }
      page = words[word + NEXT]!;
    }
    assert(false, () => `record ${handle} is in the table`);
  }

  /**
   * Visits the records whose hashes are at least `from`, in pages, until `count` have been visited or all. Returns where to go
   * on, or 0 at the end. Whoever is in the table all the while from 0 on to the end is visited, and few twice.
   */
  scan(from: number, count: number, visit: (handle: Handle) => void): number {
    if (this.#directory === 0) return 0;
    const memory = this.#memory;
    let at = from;
    let left = count;
    while (left > 0) {
      let page = this.#pageOf(at);
      const bits = memory.words[page >>> SEGMENT_SHIFT]![(page & UNIT_MASK) << 1]! >>> BITS_SHIFT;
      while (page !== 0) {
        const words = memory.words[page >>> SEGMENT_SHIFT]!;
        const word = (page & UNIT_MASK) << 1;
        const entries = words[word]! & COUNT_MASK;
        for (let i = 0; i < entries; i++) {
          if (words[word + HASHES + i]! < at) continue;
          visit(words[word + HANDLES + i]!);
          left--;
        }
        page = words[word + NEXT]!;
      }
      const width = 2 ** (32 - bits);
      at = (Math.floor(at / width) + 1) * width;
      if (at >= 2 ** 32) return 0;
    }
    return at;
  }

  /**
   * Frees up to `budget` pages, and the directory at last, and with them the records if `free` is given. Returns what is left of
   * the budget; each record counts as one, if they are freed. Nothing but this may be called until it is done.
   */
  freeStep(budget: number, free?: (handle: Handle) => void): number {
    const memory = this.#memory;
    let left = budget;
    if (this.#directory !== 0 && this.#deep !== FREEING) {
      this.#deep = FREEING;
      this.#freed = 0;
    }
    while (this.#directory !== 0 && left > 0) {
      const directoryWords = memory.words[this.#directory >>> SEGMENT_SHIFT]!;
      const directory = (this.#directory & UNIT_MASK) << 1;
      if (this.#pages === 0) {
        memory.free(this.#directory);
        this.#directory = this.#bits = this.#deep = this.#size = 0;
        break;
      }
      const page = directoryWords[directory + this.#freed]!;
      const words = memory.words[page >>> SEGMENT_SHIFT]!;
      const word = (page & UNIT_MASK) << 1;
      let entries = words[word]! & COUNT_MASK;
      while (free !== undefined && entries > 0 && left > 0) {
        free(words[word + HANDLES + --entries]!);
        left--;
      }
      const bits = words[word]! >>> BITS_SHIFT;
      words[word] = entries | (bits << BITS_SHIFT);
      if (entries > 0 && free !== undefined) break;
      const next = words[word + NEXT]!;
      if (next !== 0) directoryWords[directory + this.#freed] = next;
      else this.#freed += 2 ** (this.#bits - bits);
      memory.free(page);
      this.#pages--;
      left--;
    }
    return Math.max(0, left);
  }

  /**
   * For defragmentation: moves pages that stand in segments being evacuated, `budget` pages from `place` of the directory on
   * (chained ones stay). Returns the place to go on from, 0 at the end.
   */
  evacuate(place: number, budget: number): number {
    const memory = this.#memory;
    const places = this.#directory === 0 ? 0 : 2 ** this.#bits;
    let at = place;
    for (let left = budget; left > 0 && at < places; left--) {
      const page = this.#pageAt(at);
      const words = memory.words[page >>> SEGMENT_SHIFT]!;
      const word = (page & UNIT_MASK) << 1;
      const width = 2 ** (this.#bits - (words[word]! >>> BITS_SHIFT));
      at -= at % width;
      if (memory.isEvacuating(page)) {
        const next = memory.allocate(HASH_PAGE_BYTES);
        copyWords(words, word, memory.words[next >>> SEGMENT_SHIFT]!, (next & UNIT_MASK) << 1, HASH_PAGE_BYTES / 4);
        const { directoryWords, directory } = this.#directoryView();
        directoryWords.fill(next, directory + at, directory + at + width);
        memory.free(page);
      }
      at += width;
    }
    return at < places ? at : 0;
  }

  /** Checks everything that must hold. For tests: reads the whole table. */
  check(): void {
    if (this.#directory === 0) {
      assert(this.#size === 0 && this.#pages === 0 && this.#bits === 0, 'a table without a directory is empty');
      return;
    }
    const memory = this.#memory;
    let entries = 0;
    let pages = 0;
    let deep = 0;
    const places = 2 ** this.#bits;
    for (let i = 0; i < places; ) {
      const first = this.#pageAt(i);
      const bits = memory.words[first >>> SEGMENT_SHIFT]![(first & UNIT_MASK) << 1]! >>> BITS_SHIFT;
      assert(bits <= this.#bits, 'a page has no more bits than the directory');
      const width = 2 ** (this.#bits - bits);
      assert(i % width === 0, 'a page stands where its bits say');
      for (let k = i; k < i + width; k++) assert(this.#pageAt(k) === first, 'all places of a page hold it');
      if (bits === this.#bits) deep++;
      for (let page = first; page !== 0; ) {
        const words = memory.words[page >>> SEGMENT_SHIFT]!;
        const word = (page & UNIT_MASK) << 1;
        const count = words[word]! & COUNT_MASK;
        for (let k = 0; k < count; k++) assert(this.#pageOf(words[word + HASHES + k]!) === first, 'a hash stands in its page');
        entries += count;
        pages++;
        page = words[word + NEXT]!;
      }
      i += width;
    }
    assert(entries === this.#size, () => `${entries} entries in a table that says ${this.#size}`);
    assert(pages === this.#pages, () => `${pages} pages in a table that says ${this.#pages}`);
    assert(deep === this.#deep, () => `${deep} deep pages in a table that says ${this.#deep}`);
  }

  /** Places of the directory whose pages are freed, while it is being freed: the size is of no use any more. */
  get #freed(): number {
    return this.#size;
  }

  set #freed(places: number) {
    this.#size = places;
  }

  #pageAt(place: number): Handle {
    return this.#memory.words[this.#directory >>> SEGMENT_SHIFT]![((this.#directory & UNIT_MASK) << 1) + place]!;
  }

  #pageOf(hash: number): Handle {
    return this.#pageAt(this.#bits === 0 ? 0 : hash >>> (32 - this.#bits));
  }

  #newPage(bits: number): Handle {
    const page = this.#memory.allocate(HASH_PAGE_BYTES);
    const words = this.#memory.words[page >>> SEGMENT_SHIFT]!;
    const word = (page & UNIT_MASK) << 1;
    words[word] = bits << BITS_SHIFT;
    words[word + NEXT] = 0;
    this.#pages++;
    return page;
  }

  #start(): void {
    this.#directory = this.#memory.allocate(4);
    this.#bits = 0;
    this.#deep = 1;
    const page = this.#newPage(0);
    this.#memory.words[this.#directory >>> SEGMENT_SHIFT]![(this.#directory & UNIT_MASK) << 1] = page;
  }

  /** Adds to the first page of the chain that has room; false if none has. */
  #append(first: Handle, hash: number, handle: Handle): boolean {
    for (let page = first; page !== 0; ) {
      const words = this.#memory.words[page >>> SEGMENT_SHIFT]!;
      const word = (page & UNIT_MASK) << 1;
      const count = words[word]! & COUNT_MASK;
      if (count < HASH_PAGE_ENTRIES) {
        words[word + HASHES + count] = hash;
        words[word + HANDLES + count] = handle;
        words[word] = words[word]! + 1;
        return true;
      }
      page = words[word + NEXT]!;
    }
    return false;
  }

  #extendChain(first: Handle, hash: number, handle: Handle): void {
    const words = this.#memory.words[first >>> SEGMENT_SHIFT]!;
    const word = (first & UNIT_MASK) << 1;
    const page = this.#newPage(words[word]! >>> BITS_SHIFT);
    this.#memory.words[page >>> SEGMENT_SHIFT]![((page & UNIT_MASK) << 1) + NEXT] = words[word + NEXT]!;
    words[word + NEXT] = page;
    this.#append(page, hash, handle);
  }

  /** Splits a full page by one bit more. False if it may have no more bits. */
  #split(page: Handle, hash: number): boolean {
    const memory = this.#memory;
    const words = memory.words[page >>> SEGMENT_SHIFT]!;
    const word = (page & UNIT_MASK) << 1;
    const bits = words[word]! >>> BITS_SHIFT;
    if (bits === this.#bits) {
      if (bits === this.#bitsMax) return false;
      this.#resizeDirectory(bits + 1);
      this.#deep = 0;
    }
    const upper = this.#newPage(bits + 1);
    const upperWords = memory.words[upper >>> SEGMENT_SHIFT]!;
    const upperWord = (upper & UNIT_MASK) << 1;
    const bit = 2 ** (31 - bits);
    let kept = 0;
    let moved = 0;
    for (let i = 0; i < HASH_PAGE_ENTRIES; i++) {
      const h = words[word + HASHES + i]!;
      const handle = words[word + HANDLES + i]!;
      if ((h & bit) === 0) {
        words[word + HASHES + kept] = h;
        words[word + HANDLES + kept++] = handle;
      } else {
        upperWords[upperWord + HASHES + moved] = h;
        upperWords[upperWord + HANDLES + moved++] = handle;
      }
    }
    words[word] = kept | ((bits + 1) << BITS_SHIFT);
    upperWords[upperWord] = moved | ((bits + 1) << BITS_SHIFT);
    const width = 2 ** (this.#bits - bits - 1);
    const lowerPlace = Math.floor((hash >>> (32 - this.#bits)) / (2 * width)) * 2 * width;
    const { directoryWords, directory } = this.#directoryView();
    directoryWords.fill(upper, directory + lowerPlace + width, directory + lowerPlace + 2 * width);
    if (width === 1) this.#deep += 2;
    return true;
  }

  /** Joins the page with its neighbour of one bit less if both have few entries. */
  #join(page: Handle, hash: number): void {
    const memory = this.#memory;
    const words = memory.words[page >>> SEGMENT_SHIFT]!;
    const word = (page & UNIT_MASK) << 1;
    const bits = words[word]! >>> BITS_SHIFT;
    if (bits === 0 || words[word + NEXT] !== 0) return;
    const width = 2 ** (this.#bits - bits);
    const place = Math.floor((hash >>> (32 - this.#bits)) / width) * width;
    const neighbourPlace = (place ^ width) >>> 0;
    const neighbour = this.#pageAt(neighbourPlace);
    const otherWords = memory.words[neighbour >>> SEGMENT_SHIFT]!;
    const otherWord = (neighbour & UNIT_MASK) << 1;
    if (otherWords[otherWord]! >>> BITS_SHIFT !== bits || otherWords[otherWord + NEXT] !== 0) return;
    const own = words[word]! & COUNT_MASK;
    const others = otherWords[otherWord]! & COUNT_MASK;
    if (own + others > JOIN_ENTRIES_MAX) return;
    copyWords(otherWords, otherWord + HASHES, words, word + HASHES + own, others);
    copyWords(otherWords, otherWord + HANDLES, words, word + HANDLES + own, others);
    words[word] = (own + others) | ((bits - 1) << BITS_SHIFT);
    const { directoryWords, directory } = this.#directoryView();
    directoryWords.fill(page, directory + neighbourPlace, directory + neighbourPlace + width);
    memory.free(neighbour);
    this.#pages--;
    if (width === 1) {
      this.#deep -= 2;
      if (this.#deep === 0) this.#halve();
    }
  }

  #directoryView(): { directoryWords: Uint32Array; directory: number } {
    return {
      directoryWords: this.#memory.words[this.#directory >>> SEGMENT_SHIFT]!,
      directory: (this.#directory & UNIT_MASK) << 1,
    };
  }

  /** No page has as many bits as the directory: it needs fewer. */
  #halve(): void {
    this.#resizeDirectory(this.#bits - 1);
    const places = 2 ** this.#bits;
    const { directoryWords, directory } = this.#directoryView();
    for (let i = 0; i < places; ) {
      const page = directoryWords[directory + i]!;
      const bits = this.#memory.words[page >>> SEGMENT_SHIFT]![(page & UNIT_MASK) << 1]! >>> BITS_SHIFT;
      if (bits === this.#bits) this.#deep++;
      i += 2 ** (this.#bits - bits);
    }
  }

  /** Makes the directory twice or half as long. */
  #resizeDirectory(bits: number): void {
    const memory = this.#memory;
    const places = 2 ** bits;
    const next = memory.allocate(4 * places);
    const target = memory.words[next >>> SEGMENT_SHIFT]!;
    const to = (next & UNIT_MASK) << 1;
    const { directoryWords, directory } = this.#directoryView();
    if (bits > this.#bits) {
      for (let i = 0; i < places; i++) target[to + i] = directoryWords[directory + (i >>> 1)]!;
    } else {
      for (let i = 0; i < places; i++) target[to + i] = directoryWords[directory + 2 * i]!;
    }
    memory.free(this.#directory);
    this.#directory = next;
    this.#bits = bits;
  }
}

function placeOf(words: Uint32Array, word: number, handle: Handle): number {
  const count = words[word]! & COUNT_MASK;
  for (let i = 0; i < count; i++) if (words[word + HANDLES + i] === handle) return i;
  return -1;
}
