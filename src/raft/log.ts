// The log as the core sees it: the persisted part in RaftStorage, and behind it the unstable tail, which is everything
// not known to be on this node's disk. Below `#offset` storage is asked, from it on the tail.
//
// What must hold:
// - commit never goes back; nothing at or below it is ever replaced.
// - persistedIndex = #offset − 1: the log up to there is on disk here and will stay as it is when every write that is
//   still under way has ended. A write that was overtaken by a truncation therefore never counts for what replaced it,
//   not even if index and term are the same again (the ABA of etcd's asynchronous storage writes): it is bounded by
//   the first index of every write handed over after it.
// - The log begins behind its base, whose term is known: storage's, or that of a reset which storage may not show yet.
import { assert } from '../base/assert.ts';
import { entryTimeMs } from '../base/entry.ts';
import type { LogBase } from '../base/log-base.ts';
import type { Entry, RaftStorage } from './types.ts';

interface Write {
  readonly first: number;
  readonly last: number;
  readonly lastTerm: number;
}

export class RaftLog {
  readonly #storage: RaftStorage;
  /** Consecutive entries from #offset on. */
  #tail: Entry[] = [];
  #offset: number;
  /** Up to here the tail was handed over in a Ready. #offset − 1 ≤ #handed ≤ lastIndex. */
  #handed: number;
  /** Handed over and not reported persisted, in order; the disk writes in this order. */
  #writes: Write[] = [];
  #commit: number;
  #lastTimeMs: number;
  /** Of the newest reset. */
  #resetBase: LogBase | undefined;

  constructor(storage: RaftStorage, commit: number) {
    this.#storage = storage;
    this.#offset = storage.lastIndex + 1;
    this.#handed = storage.lastIndex;
    assert(commit <= storage.lastIndex, () => `commit ${commit} is beyond the log's end ${storage.lastIndex}`);
    this.#commit = Math.max(commit, storage.base.index);
    this.#lastTimeMs = storage.base.timeMs;
    if (storage.lastIndex > storage.base.index) {
      const last = storage.entries(storage.lastIndex, storage.lastIndex, 0)[0];
      if (last !== undefined) this.#lastTimeMs = entryTimeMs(last.bytes);
    }
  }

  get base(): LogBase {
    const { base } = this.#storage;
    return this.#resetBase === undefined || this.#resetBase.index <= base.index ? base : this.#resetBase;
  }

  get firstIndex(): number {
    return this.base.index + 1;
  }

  get lastIndex(): number {
    return this.#offset + this.#tail.length - 1;
  }

  get lastTerm(): number {
    return this.term(this.lastIndex) ?? 0;
  }

  get commit(): number {
    return this.#commit;
  }

  get persistedIndex(): number {
    return this.#offset - 1;
  }

  /** Leader time of the last entry. */
  get lastTimeMs(): number {
    return this.#lastTimeMs;
  }

  term(index: number): number | undefined {
    const { base } = this;
    if (index <= base.index) return index === base.index ? base.term : undefined;
    if (index > this.lastIndex) return undefined;
    return index >= this.#offset ? this.#tail[index - this.#offset]?.term : this.#storage.term(index);
  }

  matches(index: number, term: number): boolean {
    return this.term(index) === term;
  }

  /** True when a log that ends with `term` at `index` is at least as up to date as this one (Raft thesis 3.6.1). */
  isUpToDate(index: number, term: number): boolean {
    const lastTerm = this.lastTerm;
    return term > lastTerm || (term === lastTerm && index >= this.lastIndex);
  }

  /** Entries [from, to], at least one, as many as fit `bytesMax`. The range must be in the log. */
  entries(from: number, to: number, bytesMax: number): readonly Entry[] {
    assert(
      from >= this.firstIndex && from <= to && to <= this.lastIndex,
      () => `entries [${from}, ${to}] are not in the log [${this.firstIndex}, ${this.lastIndex}]`,
    );
    const taken: Entry[] = [];
    let bytes = 0;
    if (from < this.#offset) {
      const end = Math.min(to, this.#offset - 1);
      for (const entry of this.#storage.entries(from, end, bytesMax)) {
        taken.push(entry);
        bytes += entry.bytes.length;
      }
      if (taken.length < end - from + 1) return taken;
    }
    for (let index = from + taken.length; index <= to; index++) {
      const entry = this.#tail[index - this.#offset]!;
      bytes += entry.bytes.length;
      if (taken.length > 0 && bytes > bytesMax) break;
      taken.push(entry);
    }
    return taken;
  }

  /** Appends consecutive entries, replacing everything from entries[0].index on. */
  append(entries: readonly Entry[]): void {
    const first = entries[0];
    if (first === undefined) return;
    assert(first.index <= this.lastIndex + 1, () => `entry ${first.index} leaves a gap after ${this.lastIndex}`);
    assert(first.index > this.#commit, () => `entry ${first.index} would replace a committed one (commit ${this.#commit})`);
    if (first.index < this.#offset) {
      this.#tail = [];
      this.#offset = first.index;
    } else if (first.index <= this.lastIndex) {
      this.#tail.length = first.index - this.#offset;
    }
    this.#handed = Math.min(this.#handed, first.index - 1);
    for (const entry of entries) this.#tail.push(entry);
    this.#lastTimeMs = entryTimeMs(entries[entries.length - 1]!.bytes);
  }

  /** The log is empty and begins behind `base`, which is committed. Writes under way end as they are, and count for nothing. */
  reset(base: LogBase): void {
    assert(base.index > this.#commit, () => `a log with commit ${this.#commit} is reset to ${base.index}`);
    this.#resetBase = base;
    this.#tail = [];
    this.#offset = base.index + 1;
    this.#handed = base.index;
    this.#commit = base.index;
    this.#lastTimeMs = base.timeMs;
  }

  /** Position in `entries` of the first one that the log does not have, or −1. */
  findConflict(entries: readonly Entry[]): number {
    return entries.findIndex((entry) => !this.matches(entry.index, entry.term));
  }

  /**
   * The largest index ≤ `index` whose term is ≤ `term`: a log that has `term` at its end can't agree with this one
   * above it. Used on both sides of a refused append to skip a whole run of terms a round trip (etcd: log.go).
   */
  findConflictByTerm(index: number, term: number): { index: number; term: number } {
    for (let at = index; at >= this.base.index; at--) {
      const own = this.term(at);
      if (own === undefined) return { index: at, term: 0 };
      if (own <= term) return { index: at, term: own };
    }
    return { index: Math.min(index, this.base.index), term: 0 };
  }

  /** True when commit advanced. */
  commitTo(index: number): boolean {
    if (index <= this.#commit) return false;
    assert(index <= this.lastIndex, () => `commit ${index} is beyond the log's end ${this.lastIndex}`);
    this.#commit = index;
    return true;
  }

  get hasEntriesToHand(): boolean {
    return this.#handed < this.lastIndex;
  }

  /** The entries for a Ready, which are from now on under way to the disk. */
  handOver(): readonly Entry[] {
    const entries = this.#tail.slice(this.#handed + 1 - this.#offset);
    const last = entries[entries.length - 1];
    if (last === undefined) return entries;
    this.#writes.push({ first: this.#handed + 1, last: last.index, lastTerm: last.term });
    this.#handed = last.index;
    return entries;
  }

  /**
   * The write that ended with this entry is on disk, and so is every one before it. Unknown writes are ignored.
   * True when persistedIndex advanced.
   */
  persisted(term: number, index: number): boolean {
    const at = this.#writes.findIndex((write) => write.last === index && write.lastTerm === term);
    if (at < 0) return false;
    this.#writes.splice(0, at + 1);
    let upTo = Math.min(index, this.#handed);
    for (const later of this.#writes) upTo = Math.min(upTo, later.first - 1);
    if (upTo < this.#offset) return false;
    this.#tail = this.#tail.slice(upTo + 1 - this.#offset);
    this.#offset = upTo + 1;
    return true;
  }
}
