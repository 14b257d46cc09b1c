// What the log store knows of its log without reading it: base, end, terms and sizes, as readers see them, handed over or on
// disk. What must hold: ranges rise in `from` and in `term`, and the first begins at the base.
import { assert, must } from './assert.ts';
import { ENTRY_HEADER_BYTES, entryIndex, entryTerm } from './entry.ts';
import { ENTRY_BYTES_MAX } from './limits.ts';
import type { LogBase } from './log-base.ts';
import { LogSizes } from './log-sizes.ts';
import { rangeAt } from './ranges.ts';

/** Consecutive entries of one term: [from, next range's from). */
interface TermRange {
  readonly from: number;
  readonly term: number;
}

export class LogShape {
  #base: LogBase;
  #lastIndex: number;
  #ranges: TermRange[];
  #sizes: LogSizes;

  /** Of an empty log that begins behind `base`. */
  constructor(base: LogBase) {
    this.#base = base;
    this.#lastIndex = base.index;
    this.#ranges = [{ from: base.index, term: base.term }];
    this.#sizes = new LogSizes(base.index);
  }

  get base(): LogBase {
    return this.#base;
  }

  get firstIndex(): number {
    return this.#base.index + 1;
  }

  get lastIndex(): number {
    return this.#lastIndex;
  }

  get lastTerm(): number {
    return this.#ranges[this.#ranges.length - 1]!.term;
  }

  term(index: number): number | undefined {
    if (index < this.#base.index || index > this.#lastIndex) return undefined;
    return must(rangeAt(this.#ranges, index)).term;
  }

  /** That these entries may be appended: they follow the log or replace its end, and terms do not fall. */
  assertFits(entries: readonly Uint8Array[]): void {
    if (entries.length === 0) return;
    let expected = entryIndex(entries[0]!);
    const follows = expected >= this.firstIndex && expected <= this.#lastIndex + 1;
    assert(follows, () => `entry ${expected} does not follow a log of [${this.firstIndex}, ${this.#lastIndex}]`);
    let term = this.term(expected - 1) ?? 0;
    for (const entry of entries) {
      assert(entry.length >= ENTRY_HEADER_BYTES && entry.length <= ENTRY_BYTES_MAX, () => `entry ${expected} has ${entry.length} bytes`);
      assert(entryIndex(entry) === expected, () => `entry ${entryIndex(entry)} where ${expected} is due`);
      assert(entryTerm(entry) >= term, () => `entry ${expected} of term ${entryTerm(entry)} after term ${term}`);
      term = entryTerm(entry);
      expected++;
    }
  }

  /** What stood at its index and behind is gone. `bytes` where `entry` is a header alone. */
  appended(entry: Uint8Array, bytes = entry.length): void {
    const index = entryIndex(entry);
    const term = entryTerm(entry);
    while (this.#ranges.length > 1 && this.#ranges[this.#ranges.length - 1]!.from >= index) this.#ranges.pop();
    if (this.lastTerm !== term) this.#ranges.push({ from: index, term });
    this.#sizes.add(index, bytes);
    this.#lastIndex = index;
  }

  cut(base: LogBase): void {
    this.#base = base;
    this.#ranges = [{ from: base.index, term: base.term }, ...this.#ranges.filter((range) => range.from > base.index)];
    this.#sizes.cut(base.index);
  }

  /** The highest index that may be cut with about `bytes` left behind it. */
  cutKeeping(bytes: number): number {
    return this.#sizes.keeping(bytes);
  }
}
