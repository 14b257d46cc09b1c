// Where each entry of the log stands on disk. Owns the numbers, four bytes an entry; the segments are wal-log.ts's.
// What must hold: runs rise in index without gaps, and each lies in one segment.
import { must } from '../base/assert.ts';
import { rangeAt } from '../base/ranges.ts';
import type { Segment } from './wal-segment.ts';

/** Entries [from, from + count) stand in `segment`. */
interface Run {
  readonly segment: Segment;
  readonly from: number;
  count: number;
  offsets: Uint32Array;
}

export interface EntryPlace {
  readonly segment: Segment;
  readonly offset: number;
}

const RUN_ENTRIES_MIN = 64;

export class EntryPlaces {
  #runs: Run[] = [];

  /** The entry at `index` stands there; what stood at its index and behind it is gone. It follows the others or replaces one. */
  add(index: number, segment: Segment, offset: number): void {
    let run = this.#runs.at(-1);
    if (run !== undefined && index < run.from + run.count) {
      this.#truncate(index);
      run = this.#runs.at(-1);
    }
    if (run === undefined || run.segment !== segment || index !== run.from + run.count) {
      run = { segment, from: index, count: 0, offsets: new Uint32Array(RUN_ENTRIES_MIN) };
      this.#runs.push(run);
    }
    if (run.count === run.offsets.length) {
      const grown = new Uint32Array(2 * run.count);
      grown.set(run.offsets);
      run.offsets = grown;
    }
    run.offsets[run.count++] = offset;
  }

  clear(): void {
    this.#runs = [];
  }

  find(index: number): EntryPlace {
    const run = must(rangeAt(this.#runs, index), () => `entry ${index} has no place`);
    const offset = index < run.from + run.count ? run.offsets[index - run.from] : undefined;
    return { segment: run.segment, offset: must(offset, () => `entry ${index} has no place`) };
  }

  /** The last index in `segment`, or undefined where none is. */
  lastIn(segment: Segment): number | undefined {
    const run = this.#runs.findLast((one) => one.segment === segment);
    return run === undefined ? undefined : run.from + run.count - 1;
  }

  /** Forgets what stands in `segment`, the oldest. */
  drop(segment: Segment): void {
    this.#runs = this.#runs.filter((run) => run.segment !== segment);
  }

  /** Forgets the entries from `index` on. */
  #truncate(index: number): void {
    for (let last = this.#runs.at(-1); last !== undefined && last.from + last.count > index; last = this.#runs.at(-1)) {
      if (last.from < index) {
        last.count = index - last.from;
        return;
      }
      this.#runs.pop();
    }
  }
}
