// Blocks of memory by handle. Owns size classes, slabs and the accounting; pages come from page-runs.ts.
//
// A block of up to 32 KiB comes from a slab of its size class (steps of 8 bytes up to 256, then sixteen a doubling, and
// eight from 1 KiB on); a larger one is a run of pages; values above BIG_BYTES have a buffer of their own, found by
// number in `bigs`.
// A slab's first page in the page table: `used` blocks, `fresh` blocks handed out at least once, `freeHead` the first
// of the freed ones (0xffff: none; each holds the next one's number in its first word); `next` and `previous` link
// the slabs of the class that have room.
//
// What must hold: usedBytes is the sum over blocks handed out of their usable bytes; with every block freed it is 0.
// Contents of a new block are undefined. Metadata are typed arrays, outside the heap. Hot: indexes them directly.
import { assert } from '../base/assert.ts';
import { KiB, MiB } from '../base/limits.ts';
import type { PageToucher } from './page-toucher.ts';
import type { Handle, PageTable } from './segments.ts';
import { CLASS_MASK, PageKind, PageRuns, runLength } from './page-runs.ts';
import {
  NO_PAGE,
  PAGE_BYTES,
  PAGE_MASK,
  PAGE_SHIFT,
  PAGE_UNITS_SHIFT,
  SEGMENTS_MAX,
  SEGMENT_BYTES,
  SEGMENT_PAGES,
  SEGMENT_SHIFT,
  Segments,
  UNIT_BYTES,
  UNIT_MASK,
} from './segments.ts';

/** Largest block inside segments. */
export const BLOCK_BYTES_MAX = SEGMENT_BYTES / 2;
/** A value above this has a buffer of its own. */
export const BIG_BYTES = 16 * MiB;
const SLAB_BLOCK_BYTES_MAX = 32 * KiB;
const SLAB_PAGES_MIN = 4;
const SLAB_PAGES_MAX = 32;
const SLAB_WASTE_TARGET = 0.01;
/** Below this there are sixteen size classes a doubling, so that the many blocks of packed values waste little. */
const FINE_BYTES_MAX = 1 * KiB;
const NO_BLOCK = 0xffff;
const OFFSET_SHIFT = 9;
const OFFSET_MASK = 0x3f;
/** Segments evacuated in one cycle at most, so that its start is bounded. */
const EVACUATED_SEGMENTS_MAX = 8;
/** Share of memory that evacuation leaves free, so that it ends: new blocks must find room meanwhile. */
const EVACUATION_SLACK = 0.1;

const CLASS_UNITS: Uint16Array = makeClassUnits();
const CLASSES = CLASS_UNITS.length;
const CLASS_BY_UNITS: Uint8Array = makeClassByUnits();
const CLASS_PAGES: Uint8Array = Uint8Array.from(CLASS_UNITS, slabPages);
const CLASS_BLOCKS: Uint16Array = Uint16Array.from(CLASS_UNITS, (units, c) =>
  Math.floor((CLASS_PAGES[c]! * PAGE_BYTES) / (units * UNIT_BYTES)),
);

function makeClassUnits(): Uint16Array {
  const sizes: number[] = [];
  for (let bytes = 8; bytes <= 256; bytes += 8) sizes.push(bytes / UNIT_BYTES);
  for (let base = 256; base < SLAB_BLOCK_BYTES_MAX; base *= 2) {
    const steps = base < FINE_BYTES_MAX ? 16 : 8;
    for (let step = 1; step <= steps; step++) sizes.push((base + (base / steps) * step) / UNIT_BYTES);
  }
  return Uint16Array.from(sizes);
}

function makeClassByUnits(): Uint8Array {
  const classes = new Uint8Array(SLAB_BLOCK_BYTES_MAX / UNIT_BYTES + 1);
  let c = 0;
  for (let units = 1; units < classes.length; units++) {
    if (units > CLASS_UNITS[c]!) c++;
    classes[units] = c;
  }
  return classes;
}

function slabPages(units: number): number {
  const bytes = units * UNIT_BYTES;
  let best = 0;
  let bestWaste = 1;
  for (let pages = SLAB_PAGES_MIN; pages <= SLAB_PAGES_MAX; pages++) {
    const waste = ((pages * PAGE_BYTES) % bytes) / (pages * PAGE_BYTES);
    if (pages * PAGE_BYTES < bytes || waste >= bestWaste) continue;
    best = pages;
    bestWaste = waste;
    if (waste < SLAB_WASTE_TARGET) break;
  }
  return best;
}

assert(CLASSES <= CLASS_MASK + 1 && SLAB_PAGES_MAX <= OFFSET_MASK + 1, 'class and offset fit in a page tag');
assert(CLASS_BLOCKS.every((blocks) => blocks > 0 && blocks < NO_BLOCK), 'blocks of a slab are numbered in 16 bits');

export class Memory {
  readonly segments = new Segments();
  /** The views of the segments, for hot users: see segments.ts. */
  readonly words: Uint32Array[];
  readonly bytes: Uint8Array[];
  readonly doubles: Float64Array[];
  /** Views of the values with a buffer of their own, by number; number 0 is none. */
  readonly bigBytes: Uint8Array[] = [new Uint8Array(0)];
  readonly bigWords: Uint32Array[] = [new Uint32Array(0)];
  readonly #runs: PageRuns;
  readonly #pages: PageTable[];
  /** The first slab with room, of each class. */
  readonly #partial = new Int32Array(CLASSES).fill(NO_PAGE);
  readonly #slabs = new Int32Array(CLASSES);
  readonly #blocks = new Int32Array(CLASSES);
  /** [0] bytes in use in segments, [1] in buffers of their own; an array, since doubles in fields cost allocations. */
  readonly #counts = new Float64Array(2);
  readonly #bigTouched: number[] = [0];
  readonly #bigFree: number[] = [];
  /** Bytes in use in each segment. */
  readonly #live = new Int32Array(SEGMENTS_MAX);

  constructor() {
    this.words = this.segments.words;
    this.bytes = this.segments.bytes;
    this.doubles = this.segments.doubles;
    this.#runs = new PageRuns(this.segments, CLASS_PAGES);
    this.#pages = this.segments.pages;
  }

  /** Has memory touched ahead of its use from now on. */
  touchAhead(toucher: PageToucher): void {
    this.#runs.toucher = toucher;
  }

  /** Bytes of the blocks handed out, each counted by its size class or its pages. */
  get usedBytes(): number {
    return this.#counts[0]! + this.#counts[1]!;
  }

  /** Bytes that the operating system backs for us: pages ever handed out or touched ahead, their tables, and buffers of big values. */
  get reservedBytes(): number {
    return this.#runs.reservedBytes + this.#counts[1]!;
  }

  /** A block of at least `bytes`, 1 ≤ bytes ≤ BLOCK_BYTES_MAX. */
  allocate(bytes: number): Handle {
    if (bytes > SLAB_BLOCK_BYTES_MAX) return this.#allocateRun(bytes);
    const c = CLASS_BY_UNITS[(bytes + 7) >>> 3]!;
    let page = this.#partial[c]!;
    if (page === NO_PAGE) page = this.#addSlab(c);
    const table = this.#pages[page >>> PAGE_SHIFT]!;
    const at = page & PAGE_MASK;
    const units = CLASS_UNITS[c]!;
    let block = table.freeHead[at]!;
    let unit: number;
    if (block !== NO_BLOCK) {
      unit = (at << PAGE_UNITS_SHIFT) + block * units;
      table.freeHead[at] = this.words[page >>> PAGE_SHIFT]![unit << 1]!;
    } else {
      block = table.fresh[at]!;
      table.fresh[at] = block + 1;
      unit = (at << PAGE_UNITS_SHIFT) + block * units;
    }
    if (++table.used[at]! === CLASS_BLOCKS[c]!) this.#unlinkSlab(c, table, at);
    this.#counts[0]! += units << 3;
    this.#live[page >>> PAGE_SHIFT]! += units << 3;
    this.#blocks[c]!++;
    return (((page >>> PAGE_SHIFT) << SEGMENT_SHIFT) | unit) >>> 0;
  }

  free(handle: Handle): void {
    const segment = handle >>> SEGMENT_SHIFT;
    const unit = handle & UNIT_MASK;
    const table = this.#pages[segment]!;
    const at = unit >>> PAGE_UNITS_SHIFT;
    const tag = table.tag[at]!;
    if ((tag & 3) !== PageKind.slab) {
      assert((tag & 3) === PageKind.run, () => `handle ${handle} is of a block in use`);
      const pages = tag >>> 2;
      this.#counts[0]! -= pages * PAGE_BYTES;
      this.#live[segment]! -= pages * PAGE_BYTES;
      this.#runs.free((segment << PAGE_SHIFT) | at, pages);
      return;
    }
    const c = (tag >>> 2) & CLASS_MASK;
    const first = at - ((tag >>> OFFSET_SHIFT) & OFFSET_MASK);
    const units = CLASS_UNITS[c]!;
    const distance = unit - (first << PAGE_UNITS_SHIFT);
    const block = (distance / units) | 0;
    const used = table.used[first]!;
    assert(block * units === distance && used > 0, () => `handle ${handle} is of a block in use`);
    this.words[segment]![unit << 1] = table.freeHead[first]!;
    table.freeHead[first] = block;
    table.used[first] = used - 1;
    this.#counts[0]! -= units << 3;
    this.#live[segment]! -= units << 3;
    this.#blocks[c]!--;
    const linked = this.#runs.closed[segment] === 0;
    if (used === 1) {
      if (linked && CLASS_BLOCKS[c]! > 1) this.#unlinkSlab(c, table, first);
      this.#slabs[c]!--;
      this.#runs.free((segment << PAGE_SHIFT) | first, CLASS_PAGES[c]!);
    } else if (linked && used === CLASS_BLOCKS[c]!) this.#linkSlab(c, table, (segment << PAGE_SHIFT) | first);
  }

  /** Bytes that the block has, the same as `roundUp` of what it was allocated for. */
  usableBytes(handle: Handle): number {
    const tag = this.#pages[handle >>> SEGMENT_SHIFT]!.tag[(handle & UNIT_MASK) >>> PAGE_UNITS_SHIFT]!;
    if ((tag & 3) === PageKind.slab) return CLASS_UNITS[(tag >>> 2) & CLASS_MASK]! << 3;
    assert((tag & 3) === PageKind.run, () => `handle ${handle} is of a block in use`);
    return (tag >>> 2) * PAGE_BYTES;
  }

  /** Bytes that a block allocated for `bytes` would have. */
  roundUp(bytes: number): number {
    if (bytes <= SLAB_BLOCK_BYTES_MAX) return CLASS_UNITS[CLASS_BY_UNITS[(bytes + 7) >>> 3]!]! << 3;
    return Math.ceil(bytes / PAGE_BYTES) * PAGE_BYTES;
  }

  /** A zeroed buffer of its own for `capacity` bytes; counts as used only as far as `growBig` says. Returns its number. */
  allocateBig(capacity: number): number {
    const buffer = new ArrayBuffer(Math.ceil(capacity / PAGE_BYTES) * PAGE_BYTES);
    const number = this.#bigFree.pop() ?? this.bigBytes.length;
    this.bigBytes[number] = new Uint8Array(buffer);
    this.bigWords[number] = new Uint32Array(buffer);
    this.#bigTouched[number] = 0;
    return number;
  }

  /** Says that bytes [0, length) of a big value are in use: what is beyond was never written, so nothing backs it. */
  growBig(number: number, length: number): void {
    const touched = Math.ceil(length / PAGE_BYTES) * PAGE_BYTES;
    const before = this.#bigTouched[number]!;
    if (touched <= before) return;
    this.#bigTouched[number] = touched;
    this.#counts[1]! += touched - before;
  }

  bigUsedBytes(number: number): number {
    return this.#bigTouched[number]!;
  }

  freeBig(number: number): void {
    this.#counts[1]! -= this.#bigTouched[number]!;
    this.#bigTouched[number] = 0;
    this.bigBytes[number] = this.bigBytes[0]!;
    this.bigWords[number] = this.bigWords[0]!;
    this.#bigFree.push(number);
  }

  /** Forgets every block at once, whoever holds it. */
  reset(): void {
    this.#runs.reset();
    this.#partial.fill(NO_PAGE);
    this.#slabs.fill(0);
    this.#blocks.fill(0);
    this.#counts.fill(0);
    this.bigBytes.length = 1;
    this.bigWords.length = 1;
    this.#bigTouched.length = 1;
    this.#bigFree.length = 0;
    this.#live.fill(0);
  }

  /**
   * Starts a defragmentation cycle: closes the emptiest segments, where the room in the others makes that a gain.
   * The owner then moves every block for which `isEvacuating`, and ends the cycle; a closed segment goes with its last
   * block. False if there is nothing to gain.
   */
  beginEvacuation(): boolean {
    this.endEvacuation();
    this.#runs.openAll();
    const plan = new EvacuationPlan(this.segments, this.#live, this.#slabs, this.#blocks);
    for (const segment of plan.choose()) {
      const table = this.#pages[segment]!;
      for (let at = 0; at < SEGMENT_PAGES; at += runLength(table, at, CLASS_PAGES)) {
        const tag = table.tag[at]!;
        if ((tag & 3) !== PageKind.slab) continue;
        const c = (tag >>> 2) & CLASS_MASK;
        if (table.used[at]! < CLASS_BLOCKS[c]!) this.#unlinkSlab(c, table, at);
      }
      this.#runs.close(segment);
    }
    return plan.chosen.length > 0;
  }

  isEvacuating(handle: Handle): boolean {
    return this.#runs.closed[handle >>> SEGMENT_SHIFT] === 1;
  }

  /** Closed segments that still hold blocks are ordinary ones again. */
  endEvacuation(): void {
    for (let segment = 1; segment < SEGMENTS_MAX; segment++) {
      if (this.#runs.closed[segment] === 0) continue;
      const table = this.#pages[segment]!;
      this.#runs.open(segment);
      for (let at = 0; at < SEGMENT_PAGES; at += runLength(table, at, CLASS_PAGES)) {
        const tag = table.tag[at]!;
        if ((tag & 3) !== PageKind.slab) continue;
        const c = (tag >>> 2) & CLASS_MASK;
        if (table.used[at]! < CLASS_BLOCKS[c]!) this.#linkSlab(c, table, (segment << PAGE_SHIFT) | at);
      }
    }
  }

  #allocateRun(bytes: number): Handle {
    assert(bytes <= BLOCK_BYTES_MAX, () => `a block of ${bytes} bytes is within ${BLOCK_BYTES_MAX}`);
    const pages = Math.ceil(bytes / PAGE_BYTES);
    const page = this.#runs.allocate(pages);
    this.#counts[0]! += pages * PAGE_BYTES;
    this.#live[page >>> PAGE_SHIFT]! += pages * PAGE_BYTES;
    return (page << PAGE_UNITS_SHIFT) >>> 0;
  }

  #addSlab(c: number): number {
    const pages = CLASS_PAGES[c]!;
    const page = this.#runs.allocate(pages);
    const table = this.#pages[page >>> PAGE_SHIFT]!;
    const at = page & PAGE_MASK;
    for (let i = 0; i < pages; i++) table.tag[at + i] = PageKind.slab | (c << 2) | (i << OFFSET_SHIFT);
    table.used[at] = 0;
    table.fresh[at] = 0;
    table.freeHead[at] = NO_BLOCK;
    this.#slabs[c]!++;
    this.#linkSlab(c, table, page);
    return page;
  }

  #linkSlab(c: number, table: PageTable, page: number): void {
    const at = page & PAGE_MASK;
    const next = this.#partial[c]!;
    table.next[at] = next;
    table.previous[at] = NO_PAGE;
    if (next !== NO_PAGE) this.#pages[next >>> PAGE_SHIFT]!.previous[next & PAGE_MASK] = page;
    this.#partial[c] = page;
  }

  #unlinkSlab(c: number, table: PageTable, at: number): void {
    const next = table.next[at]!;
    const previous = table.previous[at]!;
    if (next !== NO_PAGE) this.#pages[next >>> PAGE_SHIFT]!.previous[next & PAGE_MASK] = previous;
    if (previous !== NO_PAGE) this.#pages[previous >>> PAGE_SHIFT]!.next[previous & PAGE_MASK] = next;
    else this.#partial[c] = next;
  }
}

/** Which segments a cycle empties: so many of those with least in them that most are won, less those to be made meanwhile. */
class EvacuationPlan {
  readonly chosen: number[] = [];
  readonly #segments: Segments;
  readonly #live: Int32Array;
  /** By class: free blocks in slabs outside the chosen segments, and blocks to move. */
  readonly #room: Int32Array;
  readonly #need = new Int32Array(CLASSES);
  #runPages = 0;
  #freePages = 0;

  constructor(segments: Segments, live: Int32Array, slabs: Int32Array, blocks: Int32Array) {
    this.#segments = segments;
    this.#live = live;
    this.#room = slabs.map((count, c) => count * CLASS_BLOCKS[c]! - blocks[c]!);
    for (let i = 1; i < segments.limit; i++) {
      if (segments.exists(i)) this.#freePages += SEGMENT_PAGES - segments.pages[i]!.pagesUsed;
    }
  }

  choose(): readonly number[] {
    const existing: number[] = [];
    let live = 0;
    for (let i = 1; i < this.#segments.limit; i++) {
      if (!this.#segments.exists(i)) continue;
      existing.push(i);
      live += this.#live[i]!;
    }
    const surplus = Math.floor(existing.length * (1 - EVACUATION_SLACK) - live / SEGMENT_BYTES);
    existing.sort((a, b) => this.#live[a]! - this.#live[b]!);
    if (surplus < 1) return this.chosen;
    let best = 0;
    let gainMax = 0;
    const candidates = existing.filter((segment) => this.#live[segment]! > 0).slice(0, Math.min(surplus + 1, EVACUATED_SEGMENTS_MAX));
    candidates.forEach((segment, i) => {
      this.#count(segment);
      const gain = i + 1 - this.#newSegments();
      if (gain <= gainMax) return;
      gainMax = gain;
      best = i + 1;
    });
    this.chosen.push(...candidates.slice(0, best));
    return this.chosen;
  }

  #count(segment: number): void {
    const table = this.#segments.pages[segment]!;
    this.#freePages -= SEGMENT_PAGES - table.pagesUsed;
    for (let at = 0; at < SEGMENT_PAGES; at += runLength(table, at, CLASS_PAGES)) {
      const tag = table.tag[at]!;
      if ((tag & 3) === PageKind.run) this.#runPages += tag >>> 2;
      if ((tag & 3) !== PageKind.slab) continue;
      const c = (tag >>> 2) & CLASS_MASK;
      this.#need[c]! += table.used[at]!;
      this.#room[c]! -= CLASS_BLOCKS[c]! - table.used[at]!;
    }
  }

  /** Segments to be made for what finds no room: free blocks may be of other classes than those to move. */
  #newSegments(): number {
    let pages = this.#runPages;
    for (let c = 0; c < CLASSES; c++) {
      const short = this.#need[c]! - this.#room[c]!;
      if (short > 0) pages += Math.ceil(short / CLASS_BLOCKS[c]!) * CLASS_PAGES[c]!;
    }
    const missing = pages - this.#freePages * (1 - EVACUATION_SLACK);
    return Math.max(0, Math.ceil(missing / (SEGMENT_PAGES * (1 - EVACUATION_SLACK))));
  }
}
