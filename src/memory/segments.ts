// The memory that lives outside the V8 heap: 64 MiB segments, each with a table of its pages. This file owns which
// segments exist and the arithmetic of handles and pages; what a page is used for belongs to page-runs and allocator.
//
// A handle counts units of 8 bytes: segment number in the upper 9 bits, unit in the segment in the lower 23; 32 GiB in
// all. Segment 0 is never made, so that 0 is no handle. Hot users write
//   words = segments.words[h >>> SEGMENT_SHIFT]!;  word = (h & UNIT_MASK) << 1
// A segment that does not exist has empty views in its place, so that the arrays keep one shape.
import { assert } from '../base/assert.ts';
import { MiB } from '../base/limits.ts';

/** Of a block; 0 is none. */
export type Handle = number;

export const UNIT_BYTES = 8;
export const SEGMENT_BYTES = 64 * MiB;
export const SEGMENT_SHIFT = 23;
export const UNIT_MASK = 0x7fffff;
export const SEGMENTS_MAX = 512;
export const PAGE_BYTES = 4096;
export const PAGE_UNITS_SHIFT = 9;
export const SEGMENT_PAGES = SEGMENT_BYTES / PAGE_BYTES;
export const PAGE_SHIFT = 14;
export const PAGE_MASK = SEGMENT_PAGES - 1;
/** Stands for "no page" in links. Page numbers count over all segments. */
export const NO_PAGE = -1;

assert(SEGMENT_BYTES / UNIT_BYTES === 2 ** SEGMENT_SHIFT, 'units of a segment fill the low bits of a handle');
assert(SEGMENT_PAGES === 2 ** PAGE_SHIFT, 'pages of a segment fill the low bits of a page number');
assert(SEGMENTS_MAX * 2 ** SEGMENT_SHIFT === 2 ** 32, 'handles have 32 bits');

const EMPTY_BUFFER = new ArrayBuffer(0);
const NO_BYTES = new Uint8Array(EMPTY_BUFFER);
const NO_WORDS = new Uint32Array(EMPTY_BUFFER);
const NO_DOUBLES = new Float64Array(EMPTY_BUFFER);

/** What each page of a segment is; 18 bytes a page. Meanings: `tag` in page-runs.ts, the rest of a slab's first page in allocator.ts. */
export class PageTable {
  readonly tag: Uint32Array;
  readonly next: Int32Array;
  readonly previous: Int32Array;
  readonly used: Uint16Array;
  readonly fresh: Uint16Array;
  readonly freeHead: Uint16Array;
  /** Pages [0, touched) have been handed out or touched at some time, so the operating system backs them. */
  touched = 0;
  /** Pages [0, opened) are in runs, in use or free: see page-runs.ts. */
  opened = 0;
  /** Pages in use: of slabs and runs. */
  pagesUsed = 0;

  constructor(pages: number) {
    this.tag = new Uint32Array(pages);
    this.next = new Int32Array(pages);
    this.previous = new Int32Array(pages);
    this.used = new Uint16Array(pages);
    this.fresh = new Uint16Array(pages);
    this.freeHead = new Uint16Array(pages);
  }
}

export const PAGE_TABLE_BYTES = SEGMENT_PAGES * 18;
const NO_PAGES = new PageTable(0);

const newSegment = () => ({ buffer: new ArrayBuffer(SEGMENT_BYTES), pages: new PageTable(SEGMENT_PAGES) });

/** Gives the memory of a released segment back. Views of it that anybody has kept are empty from now on. */
export function letGo(bytes: Uint8Array): void {
  const { buffer } = bytes;
  // The garbage collector alone gives memory back, and of old objects it does so only in major collections, which may not come
  // for long. Moved to a young object, the memory goes with the next minor one.
  structuredClone(buffer, { transfer: [buffer as ArrayBuffer] });
}

export class Segments {
  readonly bytes: Uint8Array[] = [];
  readonly words: Uint32Array[] = [];
  /** A handle's unit is the index here. */
  readonly doubles: Float64Array[] = [];
  readonly pages: PageTable[] = [];
  count = 0;
  /** Of the next segment, with its table. */
  #prepared: { readonly buffer: ArrayBuffer; readonly pages: PageTable } | undefined;

  constructor() {
    for (let i = 0; i < SEGMENTS_MAX; i++) {
      this.bytes.push(NO_BYTES);
      this.words.push(NO_WORDS);
      this.doubles.push(NO_DOUBLES);
      this.pages.push(NO_PAGES);
    }
  }

  /**
   * Gets the next segment ready, for idle time. The garbage collector takes so large a buffer for a reason to collect: 3 to 15 ms,
   * which would come on top of the command that needs the room.
   */
  prepare(): void {
    this.#prepared ??= newSegment();
  }

  /** The number of a new segment, the lowest that is free. Its pages are zero until first written. */
  add(): number {
    let number = 1;
    while (number < SEGMENTS_MAX && this.words[number] !== NO_WORDS) number++;
    assert(number < SEGMENTS_MAX, 'memory is limited to 32 GiB of segments');
    const { buffer, pages } = this.#prepared ?? newSegment();
    this.#prepared = undefined;
    this.bytes[number] = new Uint8Array(buffer);
    this.words[number] = new Uint32Array(buffer);
    this.doubles[number] = new Float64Array(buffer);
    this.pages[number] = pages;
    this.count++;
    return number;
  }

  /** The segment is no more. Its bytes are the caller's, to give to `letGo` when nothing writes to them any more. */
  release(number: number): Uint8Array {
    assert(this.words[number] !== NO_WORDS, () => `segment ${number} exists`);
    const bytes = this.bytes[number]!;
    this.bytes[number] = NO_BYTES;
    this.words[number] = NO_WORDS;
    this.doubles[number] = NO_DOUBLES;
    this.pages[number] = NO_PAGES;
    this.count--;
    return bytes;
  }

  /** Numbers of all segments that exist are below this. */
  get limit(): number {
    let number = SEGMENTS_MAX;
    while (number > 1 && !this.exists(number - 1)) number--;
    return number;
  }

  exists(number: number): boolean {
    return this.words[number] !== NO_WORDS;
  }
}
