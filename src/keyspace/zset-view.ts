// Reading a sorted set, whichever its form. A view is opened on a key's handle and is good until the next change of any key; it
// keeps where it stands, so several may be open at a time. Positions are ranks: ranges by score and by member are
// first turned into ranks (`countBelow…`), then walked.
//
// What must hold: a packed set is a listpack of member, score, member, score… in the tree's order (zset-tree.ts).
import { BTreeCursor } from '../memory/btree-cursor.ts';
import { Listpack } from '../memory/listpack.ts';
import type { Internals } from './internals.ts';
import { readScore } from './zset-score.ts';
import type { Handle } from './types.ts';
import type { ZsetTree } from './zset-tree.ts';

export class ZsetView {
  /** The member that the view stands on: memberBytes[memberStart, memberEnd). Of a packed set good until the next `load` or find. */
  memberBytes: Uint8Array = new Uint8Array(0);
  memberStart = 0;
  memberEnd = 0;
  readonly #internals: Internals;
  readonly #form: ZsetTree;
  readonly #list = new Listpack();
  readonly #cursor = new BTreeCursor();
  #handle: Handle = 0;
  #isTree = false;
  #size = 0;
  /** Where the view stands in a listpack: the member's entry, or 0. */
  #at = 0;

  constructor(internals: Internals, form: ZsetTree) {
    this.#internals = internals;
    this.#form = form;
  }

  /** 0 opens an empty set. */
  open(h: Handle): void {
    const { records } = this.#internals;
    this.#handle = h;
    this.#isTree = false;
    this.#size = 0;
    if (h === 0) return;
    this.#isTree = records.kind(h) !== undefined;
    if (this.#isTree) {
      this.#size = records.rootCount(h);
      return;
    }
    records.locate(h);
    this.#list.open(records.valueBytes, records.valueAt, records.length(h));
    this.#size = this.#list.count >>> 1;
  }

  get size(): number {
    return this.#size;
  }

  /** True if ranks and ranges cost O(log n), false if they walk. */
  get isTree(): boolean {
    return this.#isTree;
  }

  /** The member's score, or NaN if it is none. */
  scoreOf(bytes: Uint8Array, start: number, end: number): number {
    if (this.#size === 0) return NaN;
    if (this.#isTree) {
      const handle = this.#find(bytes, start, end);
      return handle === 0 ? NaN : this.#form.members.score(handle);
    }
    const list = this.#list;
    const p = list.find(list.first(), bytes, start, end, 1);
    return p === 0 ? NaN : readScore(list, list.next(p));
  }

  /** The number of members before this one, or -1 if it is none. */
  rankOf(bytes: Uint8Array, start: number, end: number): number {
    if (this.#size === 0) return -1;
    if (this.#isTree) {
      const handle = this.#find(bytes, start, end);
      if (handle === 0) return -1;
      this.#load();
      return this.#form.tree.rank(this.#form.members.score(handle), bytes, start, end);
    }
    const list = this.#list;
    const p = list.find(list.first(), bytes, start, end, 1);
    if (p === 0) return -1;
    let rank = 0;
    for (let q = list.first(); q !== p; q = list.next(list.next(q))) rank++;
    return rank;
  }

  /** The number of members with a score below `score`, or if `inclusive` not above it. */
  countBelowScore(score: number, inclusive: boolean): number {
    if (this.#size === 0) return 0;
    if (this.#isTree) {
      this.#load();
      return this.#form.tree.countBelowScore(score, inclusive);
    }
    const list = this.#list;
    let count = 0;
    for (let p = list.first(); p !== 0; ) {
      const scoreAt = list.next(p);
      const s = readScore(list, scoreAt);
      if (inclusive ? s > score : s >= score) break;
      count++;
      p = list.next(scoreAt);
    }
    return count;
  }

  /** From rank `from` on, how many members stand before bytes[start, end), or if `inclusive` not after it; and `from` more. All scores are the same. */
  countBelowMember(bytes: Uint8Array, start: number, end: number, inclusive: boolean, from = 0): number {
    if (this.#size === 0) return 0;
    if (this.#isTree) {
      this.#load();
      return this.#form.tree.countBelowMember(bytes, start, end, inclusive);
    }
    let rank = from;
    for (this.seek(from); this.valid; this.next()) {
      this.load();
      const order = compareBytes(this.memberBytes, this.memberStart, this.memberEnd, bytes, start, end);
      if (inclusive ? order > 0 : order >= 0) break;
      rank++;
    }
    return rank;
  }

  /** Stands on the member at `rank`; on none if there is none. */
  seek(rank: number): void {
    this.#at = 0;
    if (this.#isTree) {
      this.#load();
      this.#form.tree.seek(this.#cursor, rank);
    } else if (rank >= 0 && rank < this.#size) this.#at = this.#list.seek(rank * 2);
  }

  get valid(): boolean {
    return this.#isTree ? this.#cursor.valid : this.#at !== 0;
  }

  next(): void {
    if (this.#isTree) this.#cursor.next();
    else this.#at = this.#list.next(this.#list.next(this.#at));
  }

  previous(): void {
    if (this.#isTree) this.#cursor.previous();
    else {
      const before = this.#list.previous(this.#at);
      this.#at = before === 0 ? 0 : this.#list.previous(before);
    }
  }

  /** Finds the bytes of the member that the view stands on. */
  load(): void {
    if (this.#isTree) {
      this.#loadRecord(this.#cursor.handle);
      return;
    }
    const list = this.#list;
    list.read(this.#at);
    this.memberBytes = list.valueBytes;
    this.memberStart = list.valueStart;
    this.memberEnd = list.valueEnd;
  }

  /** The score of the member that the view stands on. Of a packed set this forgets what `load` found. */
  get score(): number {
    return this.#isTree ? this.#cursor.score : readScore(this.#list, this.#list.next(this.#at));
  }

  /**
   * ZSCAN: calls `visit` for members, with the view's member loaded and their score, `count` or a few more. Returns the cursor to
   * go on with, or 0 at the end. A packed set comes whole.
   */
  scan(cursor: number, count: number, visit: (score: number) => void): number {
    if (!this.#isTree) {
      for (this.seek(0); this.valid; this.next()) {
        const { score } = this;
        this.load();
        visit(score);
      }
      return 0;
    }
    if (cursor >= 2 ** 32) return 0;
    const { records } = this.#internals;
    const h = this.#handle;
    return this.#form.scan(records.rootWords(h), records.rootAt(h), cursor, count, (handle) => {
      this.#loadRecord(handle);
      visit(this.#form.members.score(handle));
    });
  }

  #find(bytes: Uint8Array, start: number, end: number): Handle {
    const { records } = this.#internals;
    return this.#form.find(records.rootWords(this.#handle), records.rootAt(this.#handle), bytes, start, end);
  }

  #loadRecord(handle: Handle): void {
    const { members } = this.#form;
    this.memberBytes = members.bytes(handle);
    this.memberStart = members.start(handle);
    this.memberEnd = members.end(handle);
  }

  #load(): void {
    const { records } = this.#internals;
    this.#form.open(records.rootWords(this.#handle), records.rootAt(this.#handle));
  }
}

/** As memcmp, then by length. */
export function compareBytes(a: Uint8Array, aStart: number, aEnd: number, b: Uint8Array, bStart: number, bEnd: number): number {
  const length = Math.min(aEnd - aStart, bEnd - bStart);
  for (let i = 0; i < length; i++) {
    const difference = a[aStart + i]! - b[bStart + i]!;
    if (difference !== 0) return difference;
  }
  return aEnd - aStart - (bEnd - bStart);
}
