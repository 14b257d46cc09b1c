// The log as Raft reads it: the log store with its newest entries kept in memory, so that replication and apply do
// not go to disk for what was just appended. Owns the cache; the store stays the truth.
//
// What must hold:
// - The cache is a suffix of the log [first cached, lastIndex], without gaps.
// - An entry is discarded only once it is on disk and out of the cache, and if nobody can have it: no message to a peer, no
//   answer to an observer that is on its way.
import { EntryKind, entryIndex, entryKind, entryTerm } from '../base/entry.ts';
import { must } from '../base/assert.ts';
import { LOG_CACHE_ALONE_BYTES, LOG_CACHE_BYTES, LOG_READ_BYTES_MAX } from '../base/limits.ts';
import type { LogBase } from '../base/log-base.ts';
import type { HardState, LogAppend, LogStore } from '../ports/log-store.ts';
import type { Entry, RaftStorage } from '../raft/types.ts';

/** Entries that whoever has them says when it is done with; nothing is read from them after that. It may never say so. */
export interface Loan {
  readonly entries: readonly Entry[];
  end(): void;
}

/** Whom entries may go to; a part of RaftNode. */
export interface Company {
  readonly isSingleVoter: boolean;
  readonly configuration: { readonly members: readonly unknown[] };
}

export class CachedLog implements RaftStorage {
  readonly #store: LogStore;
  readonly #company: () => Company;
  readonly #discard: (bytes: Uint8Array) => void;
  /** Entries [#cache[#head].index, lastIndex]; before #head nothing, so that what was evicted is not kept. */
  #cache: (Entry | undefined)[] = [];
  #head = 0;
  #cacheBytes = 0;
  /** Up to there the store has what it was given. */
  #persistedIndex = 0;
  /** Up to there others may have entries. */
  #sharedIndex = 0;
  /** Those that have not ended; one goes with the last of its entries. */
  readonly #loans = new Set<{ readonly first: number; readonly last: number }>();

  /** `company` is asked at each append. `discard` gives the memory of an entry back at once. */
  constructor(store: LogStore, company: () => Company, discard: (bytes: Uint8Array) => void) {
    this.#store = store;
    this.#company = company;
    this.#discard = discard;
  }

  get hardState(): HardState {
    return this.#store.hardState;
  }

  get base(): LogBase {
    return this.#store.base;
  }

  get firstIndex(): number {
    return this.#store.firstIndex;
  }

  get lastIndex(): number {
    return this.#store.lastIndex;
  }

  term(index: number): number | undefined {
    return this.#store.term(index);
  }

  entries(from: number, to: number, bytesMax: number): readonly Entry[] {
    // A little at a time where it comes from disk: a MiB held this thread for up to 20 ms.
    const entries = this.look(from, to, this.#has(from) ? bytesMax : Math.min(bytesMax, LOG_READ_BYTES_MAX));
    this.#share(entries);
    return entries;
  }

  lend(from: number, to: number, bytesMax: number): Loan {
    const entries = this.look(from, to, bytesMax);
    const range = { first: from, last: from + entries.length - 1 };
    this.#loans.add(range);
    return { entries, end: () => void this.#loans.delete(range) };
  }

  /** The same, for who keeps none of them. */
  look(from: number, to: number, bytesMax: number): readonly Entry[] {
    if (!this.#has(from)) return this.#store.read(from, to, bytesMax).map(entryOf);
    const first = must(this.#cache[this.#head]);
    const result: Entry[] = [];
    let bytes = 0;
    const base = this.#head - first.index;
    for (let index = from; index <= to; index++) {
      const entry = this.#cache[base + index];
      if (entry === undefined) break;
      bytes += entry.bytes.length;
      if (result.length > 0 && bytes > bytesMax) break;
      result.push(entry);
    }
    return result;
  }

  /** False: it is read from disk, or there is none. */
  #has(index: number): boolean {
    const first = this.#cache[this.#head];
    return first !== undefined && index >= first.index;
  }

  append(append: LogAppend, entries: readonly Entry[], done: (error?: Error) => void): void {
    if (entries.length > 0) {
      this.#cut(must(entries[0]).index);
      for (const entry of entries) {
        this.#cache.push(entry);
        this.#cacheBytes += entry.bytes.length;
      }
      this.#evict();
    }
    this.#shareWithMembers(entries);
    this.#store.append(append, (error) => {
      if (error === undefined && entries.length > 0) this.#persistedIndex = must(entries.at(-1)).index;
      // Until it is on disk the core has it at hand, and a member may have come meanwhile.
      this.#shareWithMembers(entries);
      done(error);
    });
  }

  /** Entries up to `to` are no longer needed; those that are in the cache go as newer ones come. */
  cut(to: number): void {
    this.#store.cut(to);
  }

  reset(base: LogBase, hardState: HardState, done: (error?: Error) => void, meta?: ReadonlyMap<string, Uint8Array>): void {
    this.#cache = [];
    this.#head = 0;
    this.#cacheBytes = 0;
    this.#store.reset(base, hardState, done, meta);
  }

  cutKeeping(bytes: number): number {
    return this.#store.cutKeeping(bytes);
  }

  behind(index: number): number {
    return this.#store.behind(index);
  }

  sizeBytes(): number {
    return this.#store.sizeBytes();
  }

  /** Asked for one entry after another, as they leave the cache. */
  #isLent(index: number): boolean {
    let isLent = false;
    for (const loan of this.#loans) {
      if (loan.last < index) this.#loans.delete(loan);
      else if (loan.first <= index) isLent = true;
    }
    return isLent;
  }

  /** Appended where there are others, they may get them from the core's hands. */
  #shareWithMembers(entries: readonly Entry[]): void {
    if (this.#company().configuration.members.length !== 1) this.#share(entries);
  }

  #share(entries: readonly Entry[]): void {
    this.#sharedIndex = Math.max(this.#sharedIndex, entries.at(-1)?.index ?? 0);
  }

  /** Forgets cached entries from `index` on, and all of them if `index` does not follow the cache. */
  #cut(index: number): void {
    const first = this.#cache[this.#head];
    if (first === undefined) return;
    const keep = index - first.index;
    const live = this.#cache.length - this.#head;
    if (keep >= 0 && keep === live) return;
    if (keep <= 0 || keep > live) {
      this.#cache = [];
      this.#head = 0;
      this.#cacheBytes = 0;
      return;
    }
    for (const entry of this.#cache.splice(this.#head + keep)) this.#cacheBytes -= must(entry).bytes.length;
  }

  #evict(): void {
    const bytesMax = this.#company().isSingleVoter ? LOG_CACHE_ALONE_BYTES : LOG_CACHE_BYTES;
    while (this.#cacheBytes > bytesMax && this.#cache.length - this.#head > 1) {
      const { index, kind, bytes } = must(this.#cache[this.#head]);
      this.#cacheBytes -= bytes.length;
      this.#cache[this.#head++] = undefined;
      const isOurs = index > this.#sharedIndex && index <= this.#persistedIndex && !this.#isLent(index);
      // What the others say is remembered here and there, and they are rare.
      if (isOurs && kind === EntryKind.commands) this.#discard(bytes);
    }
    // Compact the array once the dead part outweighs the live one: amortised O(1).
    if (this.#head > 1024 && this.#head * 2 > this.#cache.length) {
      this.#cache = this.#cache.slice(this.#head);
      this.#head = 0;
    }
  }
}

export function entryOf(bytes: Uint8Array): Entry {
  return { term: entryTerm(bytes), index: entryIndex(bytes), kind: entryKind(bytes), bytes };
}
