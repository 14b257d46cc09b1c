// Runs of 4 KiB pages inside segments. Owns the page tags and the bins of free runs. Runs tile a segment; no two free
// runs touch. A segment whose opened pages become one free run is released, but one is kept.
//
// A segment is opened from its start on. With a toucher that is done a part at a time, each once the toucher had it backed, some
// MiB ahead of what is handed out, or untouched where that was too slow; without one, whole. What is not opened is tagged as a run in
// use.
//
// Tag of a page: bits 0–1 kind.
//   interior (0)  inside a run, not its first page; or the last page of a used run
//   slab (1)      every page of a slab: bits 2–8 size class, 9–14 distance to the slab's first page
//   run (2)       first page of a used run: bits 2–16 pages
//   free (3)      first and last page of a free run: bits 2–16 pages
// Free runs are in doubly linked bins by length: exact below 32 pages, then four a doubling; those of a closed segment,
// which is being evacuated, are in none.
import { assert } from '../base/assert.ts';
import { MiB } from '../base/limits.ts';
import type { PageToucher } from './page-toucher.ts';
import type { PageTable, Segments } from './segments.ts';
import {
  letGo,
  NO_PAGE,
  PAGE_BYTES,
  PAGE_MASK,
  PAGE_SHIFT,
  PAGE_TABLE_BYTES,
  SEGMENTS_MAX,
  SEGMENT_PAGES,
} from './segments.ts';

export const PageKind = { interior: 0, slab: 1, run: 2, free: 3 } as const;

/** Of a slab's size class in a tag, above the kind. */
export const CLASS_MASK = 0x7f;

const EXACT_BINS = 32;
const BINS = EXACT_BINS + 4 * 10;
/** Free runs looked at in a bin whose runs may be too short, before going to the next bin. */
const BIN_TRIES_MAX = 16;
/** Opened at a time: a huge page of the operating system. */
const PART_PAGES = (2 * MiB) / PAGE_BYTES;
/** Free pages at the end of what is opened, below which the next part is touched: as much as is filled while that takes ten times as long as it should. */
const AHEAD_PAGES = (4 * MiB) / PAGE_BYTES;
const NO_SEGMENT = 0;

function binOf(pages: number): number {
  if (pages < EXACT_BINS) return pages;
  const log = 31 - Math.clz32(pages);
  return EXACT_BINS + (log - 5) * 4 + ((pages >>> (log - 2)) & 3);
}

assert(binOf(SEGMENT_PAGES) < BINS, 'a whole segment has a bin');

/** Pages that are being touched: [at, at + pages) of a segment. */
interface Touch {
  readonly segment: number;
  readonly at: number;
  readonly pages: number;
  /** They are a run in use, for what is behind them was opened first. */
  isPassed: boolean;
  /** Of a segment that was released meanwhile: nobody is to write to it, so it goes afterwards. */
  orphan: Uint8Array | undefined;
}

export class PageRuns {
  readonly segments: Segments;
  /** Bytes of pages ever handed out or touched in the segments that exist, and of their tables. */
  reservedBytes = 0;
  /** 1 for each segment that is closed: nothing is allocated from it. */
  readonly closed = new Uint8Array(SEGMENTS_MAX);
  toucher: PageToucher | undefined;
  /** The segment that is opened part by part, until there is another. */
  #growing = NO_SEGMENT;
  /** One at a time: what comes and goes in one turn of the event loop must not leave a queue of them. */
  #touch: Touch | undefined;
  readonly #bins = new Int32Array(BINS).fill(NO_PAGE);
  readonly #slabPages: Uint8Array;
  /** Of no pages in use. */
  #emptySegments = 0;

  /** `slabPages`: pages of a slab, by its size class. */
  constructor(segments: Segments, slabPages: Uint8Array) {
    this.segments = segments;
    this.#slabPages = slabPages;
  }

  /** The first page of a run of `pages` pages. */
  allocate(pages: number): number {
    assert(pages > 0 && pages <= SEGMENT_PAGES, () => `a run of ${pages} pages fits in a segment`);
    let page = this.#findFree(pages);
    if (page === NO_PAGE) page = this.#grow(pages);
    const table = this.segments.pages[page >>> PAGE_SHIFT]!;
    const at = page & PAGE_MASK;
    const available = table.tag[at]! >>> 2;
    if (table.pagesUsed === 0) this.#emptySegments--;
    this.#unlink(page >>> PAGE_SHIFT, table, at);
    if (available > pages) this.#putFree(page + pages, available - pages);
    table.tag[at + pages - 1] = PageKind.interior;
    table.tag[at] = PageKind.run | (pages << 2);
    table.pagesUsed += pages;
    this.#countTouched(table, at + pages);
    if (this.toucher !== undefined) this.#lookAhead(this.toucher);
    return page;
  }

  /** Gives a run back; joins it with free neighbours. */
  free(page: number, pages: number): void {
    const segment = page >>> PAGE_SHIFT;
    const table = this.segments.pages[segment]!;
    let at = page & PAGE_MASK;
    let length = pages;
    table.pagesUsed -= pages;
    const after = at + pages;
    if (after < SEGMENT_PAGES && (table.tag[after]! & 3) === PageKind.free) {
      length += table.tag[after]! >>> 2;
      this.#unlink(segment, table, after);
    }
    if (at > 0 && (table.tag[at - 1]! & 3) === PageKind.free) {
      const before = table.tag[at - 1]! >>> 2;
      at -= before;
      length += before;
      this.#unlink(segment, table, at);
    }
    if (table.pagesUsed === 0) {
      if (this.#emptySegments > 0 || this.closed[segment] === 1) {
        this.#release(segment);
        return;
      }
      this.#emptySegments++;
    }
    this.#putFree((segment << PAGE_SHIFT) | at, length);
  }

  /** Forgets everything, whatever is still in use. */
  reset(): void {
    for (let i = 1; i < SEGMENTS_MAX; i++) if (this.segments.exists(i)) this.#release(i);
    this.#bins.fill(NO_PAGE);
    this.closed.fill(0);
    this.#emptySegments = 0;
    this.reservedBytes = 0;
  }

  /** Takes the free runs of a segment out of the bins. It is released when its last run is freed. */
  close(segment: number): void {
    const table = this.segments.pages[segment]!;
    for (let at = 0; at < SEGMENT_PAGES; at += runLength(table, at, this.#slabPages)) {
      if ((table.tag[at]! & 3) === PageKind.free) this.#unbin(table, at);
    }
    this.closed[segment] = 1;
  }

  /** Puts them back. */
  open(segment: number): void {
    const table = this.segments.pages[segment]!;
    this.closed[segment] = 0;
    for (let at = 0; at < SEGMENT_PAGES; at += runLength(table, at, this.#slabPages)) {
      if ((table.tag[at]! & 3) === PageKind.free) this.#bin((segment << PAGE_SHIFT) | at, table.tag[at]! >>> 2);
    }
  }

  /** Opens all that is not, so that all pages of all segments are in runs. */
  openAll(): void {
    if (this.#growing === NO_SEGMENT) return;
    this.#passTouch();
    const { opened } = this.segments.pages[this.#growing]!;
    if (opened < SEGMENT_PAGES) this.#open(this.#growing, SEGMENT_PAGES - opened);
    this.#growing = NO_SEGMENT;
  }

  /** A free run of `pages` at least, where none is in the bins: its first page. */
  #grow(pages: number): number {
    this.#passTouch();
    if (this.#growing === NO_SEGMENT || this.segments.pages[this.#growing]!.opened + pages > SEGMENT_PAGES) {
      this.openAll();
      const page = this.#findFree(pages);
      if (page !== NO_PAGE) return page;
      this.#addSegment();
    }
    const left = SEGMENT_PAGES - this.segments.pages[this.#growing]!.opened;
    this.#open(this.#growing, this.toucher === undefined ? left : Math.min(left, Math.max(pages, PART_PAGES)));
    return this.#findFree(pages);
  }

  /** Has the next part touched, if what is opened will soon be full. */
  #lookAhead(toucher: PageToucher): void {
    if (this.#touch !== undefined || this.#growing === NO_SEGMENT) return;
    let table = this.segments.pages[this.#growing]!;
    const last = table.tag[table.opened - 1]!;
    if ((last & 3) === PageKind.free && last >>> 2 >= AHEAD_PAGES) return;
    if (table.opened === SEGMENT_PAGES) {
      if (this.#emptySegments > 0 || this.segments.count === SEGMENTS_MAX - 1) return;
      table = this.#addSegment();
    }
    const at = table.opened;
    const pages = Math.min(PART_PAGES, SEGMENT_PAGES - at);
    this.#countTouched(table, at + pages);
    const touch: Touch = { segment: this.#growing, at, pages, isPassed: false, orphan: undefined };
    this.#touch = touch;
    toucher.touch(this.segments.bytes[this.#growing]!, at * PAGE_BYTES, pages * PAGE_BYTES, () => this.#touched(touch));
  }

  #touched(touch: Touch): void {
    this.#touch = undefined;
    if (touch.orphan !== undefined) letGo(touch.orphan);
    else if (touch.isPassed) this.free((touch.segment << PAGE_SHIFT) | touch.at, touch.pages);
    else this.#open(touch.segment, touch.pages);
  }

  /** Makes what is being touched a run in use, so that what is behind it can be opened. */
  #passTouch(): void {
    const touch = this.#touch;
    if (touch === undefined || touch.isPassed || touch.orphan !== undefined) return;
    const table = this.segments.pages[touch.segment]!;
    assert(table.opened === touch.at, 'what is touched comes next');
    touch.isPassed = true;
    if (table.pagesUsed === 0) this.#emptySegments--;
    table.tag[touch.at] = PageKind.run | (touch.pages << 2);
    table.pagesUsed += touch.pages;
    this.#moveOpened(table, touch.pages);
  }

  #addSegment(): PageTable {
    this.#growing = this.segments.add();
    this.reservedBytes += PAGE_TABLE_BYTES;
    this.#emptySegments++;
    const table = this.segments.pages[this.#growing]!;
    this.#moveOpened(table, 0);
    return table;
  }

  /** Makes the next pages of a segment free. An empty one stays so. */
  #open(segment: number, pages: number): void {
    const table = this.segments.pages[segment]!;
    let at = table.opened;
    let length = pages;
    if (at > 0 && (table.tag[at - 1]! & 3) === PageKind.free) {
      const before = table.tag[at - 1]! >>> 2;
      at -= before;
      length += before;
      this.#unlink(segment, table, at);
    }
    this.#moveOpened(table, pages);
    this.#putFree((segment << PAGE_SHIFT) | at, length);
  }

  #moveOpened(table: PageTable, pages: number): void {
    table.opened += pages;
    if (table.opened < SEGMENT_PAGES) table.tag[table.opened] = PageKind.run | ((SEGMENT_PAGES - table.opened) << 2);
  }

  #countTouched(table: PageTable, pages: number): void {
    if (pages <= table.touched) return;
    this.reservedBytes += (pages - table.touched) * PAGE_BYTES;
    table.touched = pages;
  }

  #release(segment: number): void {
    this.reservedBytes -= PAGE_TABLE_BYTES + this.segments.pages[segment]!.touched * PAGE_BYTES;
    this.closed[segment] = 0;
    if (this.#growing === segment) this.#growing = NO_SEGMENT;
    const bytes = this.segments.release(segment);
    const touch = this.#touch;
    if (touch?.segment === segment && touch.orphan === undefined) touch.orphan = bytes;
    else letGo(bytes);
  }

  #findFree(pages: number): number {
    let bin = binOf(pages);
    if (bin >= EXACT_BINS) {
      let page = this.#bins[bin]!;
      for (let tries = 0; page !== NO_PAGE && tries < BIN_TRIES_MAX; tries++) {
        const table = this.segments.pages[page >>> PAGE_SHIFT]!;
        if (table.tag[page & PAGE_MASK]! >>> 2 >= pages) return page;
        page = table.next[page & PAGE_MASK]!;
      }
      bin++;
    }
    for (; bin < BINS; bin++) {
      const page = this.#bins[bin]!;
      if (page !== NO_PAGE) return page;
    }
    return NO_PAGE;
  }

  #putFree(page: number, pages: number): void {
    const table = this.segments.pages[page >>> PAGE_SHIFT]!;
    const at = page & PAGE_MASK;
    const tag = PageKind.free | (pages << 2);
    table.tag[at] = tag;
    table.tag[at + pages - 1] = tag;
    if (this.closed[page >>> PAGE_SHIFT] === 0) this.#bin(page, pages);
  }

  #bin(page: number, pages: number): void {
    const table = this.segments.pages[page >>> PAGE_SHIFT]!;
    const at = page & PAGE_MASK;
    const bin = binOf(pages);
    const next = this.#bins[bin]!;
    table.next[at] = next;
    table.previous[at] = NO_PAGE;
    if (next !== NO_PAGE) this.segments.pages[next >>> PAGE_SHIFT]!.previous[next & PAGE_MASK] = page;
    this.#bins[bin] = page;
  }

  #unbin(table: PageTable, at: number): void {
    const next = table.next[at]!;
    const previous = table.previous[at]!;
    if (next !== NO_PAGE) this.segments.pages[next >>> PAGE_SHIFT]!.previous[next & PAGE_MASK] = previous;
    if (previous !== NO_PAGE) this.segments.pages[previous >>> PAGE_SHIFT]!.next[previous & PAGE_MASK] = next;
    else this.#bins[binOf(table.tag[at]! >>> 2)] = next;
  }

  /** Takes the free run whose first page is `at` out of its bin and clears its tags. */
  #unlink(segment: number, table: PageTable, at: number): void {
    if (this.closed[segment] === 0) this.#unbin(table, at);
    const pages = table.tag[at]! >>> 2;
    table.tag[at] = PageKind.interior;
    table.tag[at + pages - 1] = PageKind.interior;
  }
}

/** Pages from the first of a run, a free run or a slab to the next such. */
export function runLength(table: PageTable, at: number, slabPages: Uint8Array): number {
  const tag = table.tag[at]!;
  return (tag & 3) === PageKind.slab ? slabPages[(tag >>> 2) & CLASS_MASK]! : tag >>> 2;
}
