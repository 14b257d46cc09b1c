// Where a session's writes are counted for INFO commandstats once they are answered. Writes are numbered from 1 and
// answered in order, so they stand in an array that is cut at its front now and then.
import type { CommandStat } from './stats.ts';

/** Answered writes kept before the array is cut. */
const ANSWERED_MAX = 4096;

export class PendingStats {
  /** Of write #first + i; undefined for an EXEC, which was counted when it was sent. */
  #stats: (CommandStat | undefined)[] = [];
  #first = 1;

  /** Of the next write. */
  push(stat: CommandStat | undefined): void {
    this.#stats.push(stat);
  }

  of(sequence: number): CommandStat | undefined {
    return this.#stats[sequence - this.#first];
  }

  /** The writes up to `sequence` are answered. */
  answered(sequence: number): void {
    const done = sequence + 1 - this.#first;
    if (done < this.#stats.length && done < ANSWERED_MAX) return;
    this.#stats = done < this.#stats.length ? this.#stats.slice(done) : [];
    this.#first = sequence + 1;
  }
}
