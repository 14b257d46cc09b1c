// The large form of a sorted set, encoding skiplist (Redis's name): a B+tree in order of score and member, and a hash table from
// member to record. Owns the root's words behind the header, the tree's nodes, the table's pages and the member records.
//
// Root, words behind the header: 5–9 the table (memory/hash-pages.ts), 10–14 the tree (memory/btree.ts).
// A member record, native order: u0 score (a double), w2 length of the member, from w3 on its bytes.
//
// What must hold: tree and table have the same records; the tree has each under the score that its record has. No score is NaN.
// A member's digest is over its bytes and the bits of its score.
// Random picks go by rank, so they depend on the members and scores alone. Hot: indexes typed arrays directly.
import type { Memory } from '../memory/allocator.ts';
import { BTree, type MemberOrder } from '../memory/btree.ts';
import { BTreeCursor } from '../memory/btree-cursor.ts';
import { copyIn } from '../memory/bytes.ts';
import type { KeyedHash } from '../memory/hash.ts';
import { HashPages, type RecordMatch, TABLE_WORDS } from '../memory/hash-pages.ts';
import { SEGMENT_SHIFT, UNIT_MASK } from '../memory/segments.ts';
import { Lanes } from './digest.ts';
import type { Handle } from './types.ts';
import { ROOT_COUNT, ROOT_DIGEST_HIGH, ROOT_DIGEST_LOW, ROOT_HEADER_WORDS, type ValueKind } from './value-kinds.ts';

const TABLE = ROOT_HEADER_WORDS;
const TREE = TABLE + TABLE_WORDS;
const ROOT_WORDS = TREE + 5;
const LENGTH = 2;
const BYTES_WORD = 3;
const BYTES_AT = BYTES_WORD * 4;

/** What is known of a member by its record. */
export class ZsetMembers implements MemberOrder, RecordMatch {
  readonly #memory: Memory;
  readonly #lanes = new Lanes();

  constructor(memory: Memory) {
    this.#memory = memory;
  }

  create(score: number, bytes: Uint8Array, start: number, end: number): Handle {
    const memory = this.#memory;
    const handle = memory.allocate(BYTES_AT + end - start);
    const words = memory.words[handle >>> SEGMENT_SHIFT]!;
    words[((handle & UNIT_MASK) << 1) + LENGTH] = end - start;
    copyIn(bytes, start, end, memory.bytes[handle >>> SEGMENT_SHIFT]!, words, this.start(handle));
    this.setScore(handle, score);
    return handle;
  }

  free(handle: Handle): void {
    this.#memory.free(handle);
  }

  isEvacuating(handle: Handle): boolean {
    return this.#memory.isEvacuating(handle);
  }

  score(handle: Handle): number {
    return this.#memory.doubles[handle >>> SEGMENT_SHIFT]![handle & UNIT_MASK]!;
  }

  setScore(handle: Handle, score: number): void {
    this.#memory.doubles[handle >>> SEGMENT_SHIFT]![handle & UNIT_MASK] = score;
  }

  /** The member is bytes(handle)[start(handle), end(handle)). */
  bytes(handle: Handle): Uint8Array {
    return this.#memory.bytes[handle >>> SEGMENT_SHIFT]!;
  }

  start(handle: Handle): number {
    return ((handle & UNIT_MASK) << 3) + BYTES_AT;
  }

  end(handle: Handle): number {
    return this.start(handle) + this.#memory.words[handle >>> SEGMENT_SHIFT]![((handle & UNIT_MASK) << 1) + LENGTH]!;
  }

  compare(handle: Handle, bytes: Uint8Array, start: number, end: number): number {
    const own = this.#memory.bytes[handle >>> SEGMENT_SHIFT]!;
    let at = ((handle & UNIT_MASK) << 3) + BYTES_AT;
    const length = this.#memory.words[handle >>> SEGMENT_SHIFT]![((handle & UNIT_MASK) << 1) + LENGTH]!;
    const stop = start + Math.min(length, end - start);
    for (let i = start; i < stop; i++, at++) {
      const difference = own[at]! - bytes[i]!;
      if (difference !== 0) return difference;
    }
    return length - (end - start);
  }

  matches(handle: Handle, bytes: Uint8Array, start: number, end: number): boolean {
    const length = this.#memory.words[handle >>> SEGMENT_SHIFT]![((handle & UNIT_MASK) << 1) + LENGTH]!;
    if (length !== end - start) return false;
    const own = this.#memory.bytes[handle >>> SEGMENT_SHIFT]!;
    let at = ((handle & UNIT_MASK) << 3) + BYTES_AT;
    for (let i = start; i < end; i++, at++) if (own[at] !== bytes[i]) return false;
    return true;
  }

  /** The digest of member and score; one object, used again. */
  digest(handle: Handle): Lanes {
    const words = this.#memory.words[handle >>> SEGMENT_SHIFT]!;
    const word = (handle & UNIT_MASK) << 1;
    const length = words[word + LENGTH]!;
    const lanes = this.#lanes;
    lanes.seed(0xa4093822, 0x299f31d0);
    lanes.word(words[word]!);
    lanes.word(words[word + 1]!);
    lanes.bytes(words, word + BYTES_WORD, length);
    lanes.close(length);
    return lanes;
  }
}

/** Also what reads and changes a value: one at a time, `open` before, `save` after a change. */
export class ZsetTree implements ValueKind {
  readonly rootBytes = ROOT_WORDS * 4;
  readonly members: ZsetMembers;
  readonly tree: BTree;
  readonly table: HashPages;
  readonly #hasher: KeyedHash;
  readonly #cursor = new BTreeCursor();
  readonly #free = (handle: Handle): void => this.members.free(handle);

  constructor(memory: Memory, hasher: KeyedHash) {
    this.members = new ZsetMembers(memory);
    this.tree = new BTree(memory, this.members);
    this.table = new HashPages(memory, this.members);
    this.#hasher = hasher;
  }

  open(words: Uint32Array, root: number): void {
    this.table.load(words, root + TABLE);
    this.tree.load(words, root + TREE);
  }

  save(words: Uint32Array, root: number): void {
    this.table.save(words, root + TABLE);
    this.tree.save(words, root + TREE);
    words[root + ROOT_COUNT] = this.tree.size;
  }

  /** The record of this member of the open value, or 0. */
  find(bytes: Uint8Array, start: number, end: number): Handle {
    return this.table.find(this.#hasher.hash(bytes, start, end), bytes, start, end);
  }

  /** Adds a member that the open value, which is the one at `root`, has not. */
  add(words: Uint32Array, root: number, score: number, bytes: Uint8Array, start: number, end: number): void {
    const handle = this.members.create(score, bytes, start, end);
    this.table.insert(this.#hasher.hash(bytes, start, end), handle);
    this.tree.insert(score, handle, bytes, start, end);
    this.#count(words, root, handle, 1);
  }

  setScore(words: Uint32Array, root: number, handle: Handle, score: number): void {
    const { members } = this;
    this.#count(words, root, handle, -1);
    this.tree.changeScore(members.score(handle), score, members.bytes(handle), members.start(handle), members.end(handle));
    members.setScore(handle, score);
    this.#count(words, root, handle, 1);
  }

  remove(words: Uint32Array, root: number, handle: Handle): void {
    const { members } = this;
    const bytes = members.bytes(handle);
    const start = members.start(handle);
    const end = members.end(handle);
    this.#count(words, root, handle, -1);
    this.table.remove(this.#hasher.hash(bytes, start, end), handle);
    this.tree.remove(members.score(handle), bytes, start, end);
    members.free(handle);
  }

  /** Takes the member at `rank` out. */
  removeAt(words: Uint32Array, root: number, rank: number): void {
    this.tree.seek(this.#cursor, rank);
    this.remove(words, root, this.#cursor.handle);
  }

  digestElements(words: Uint32Array, root: number, sum: Lanes): void {
    this.open(words, root);
    const cursor = this.#cursor;
    for (this.tree.seek(cursor, 0); cursor.valid; cursor.next()) {
      const lanes = this.members.digest(cursor.handle);
      sum.seed(sum.low + lanes.low, sum.high + lanes.high);
    }
  }

  copy(sourceWords: Uint32Array, source: number, words: Uint32Array, root: number): void {
    const { members, tree, table } = this;
    tree.load(sourceWords, source + TREE);
    const cursor = this.#cursor;
    tree.seek(cursor, 0);
    this.open(words, root);
    for (; cursor.valid; cursor.next()) {
      const from = cursor.handle;
      const bytes = members.bytes(from);
      const start = members.start(from);
      const end = members.end(from);
      const handle = members.create(members.score(from), bytes, start, end);
      table.insert(this.#hasher.hash(bytes, start, end), handle);
      tree.insert(members.score(from), handle, bytes, start, end);
    }
    this.save(words, root);
  }

  freeSome(words: Uint32Array, root: number, budget: number): number {
    this.open(words, root);
    let left = this.table.freeStep(budget, this.#free);
    if (left > 0) left = this.tree.freeStep(left);
    this.table.save(words, root + TABLE);
    this.tree.save(words, root + TREE);
    return left;
  }

  /** First the tree's nodes and the members' records, by rank; then the table's pages, from PAGES_CURSOR on by place of the directory. */
  evacuate(words: Uint32Array, root: number, cursor: number, budget: number): number {
    this.open(words, root);
    const { tree, table } = this;
    let next = 0;
    if (cursor < PAGES_CURSOR) {
      let rank = Math.max(0, cursor);
      for (let left = budget; left > 0 && rank < tree.size; left -= LEAF_STEP) {
        tree.evacuate(rank);
        this.#evacuateRecords(rank);
        rank += LEAF_STEP;
      }
      next = rank < tree.size ? rank : PAGES_CURSOR;
    } else {
      const place = table.evacuate(cursor - PAGES_CURSOR, budget);
      next = place === 0 ? 0 : PAGES_CURSOR + place;
    }
    this.table.save(words, root + TABLE);
    this.tree.save(words, root + TREE);
    return next;
  }

  /** Moves the records of LEAF_STEP members from `rank` on. */
  #evacuateRecords(rank: number): void {
    const { members, tree, table } = this;
    const cursor = this.#cursor;
    tree.seek(cursor, rank);
    for (let i = 0; i < LEAF_STEP && cursor.valid; i++, cursor.next()) {
      const { handle } = cursor;
      if (!members.isEvacuating(handle)) continue;
      const score = members.score(handle);
      const next = members.create(score, members.bytes(handle), members.start(handle), members.end(handle));
      const bytes = members.bytes(next);
      const start = members.start(next);
      const end = members.end(next);
      table.replace(this.#hasher.hash(bytes, start, end), handle, next);
      tree.replaceHandle(score, handle, next, bytes, start, end);
      members.free(handle);
    }
  }

  #count(words: Uint32Array, root: number, handle: Handle, sign: 1 | -1): void {
    const lanes = this.members.digest(handle);
    words[root + ROOT_DIGEST_LOW] = words[root + ROOT_DIGEST_LOW]! + sign * lanes.low;
    words[root + ROOT_DIGEST_HIGH] = words[root + ROOT_DIGEST_HIGH]! + sign * lanes.high;
  }
}

/** Where an evacuation's cursor stops to be a rank: ranks are handles' number at most. */
const PAGES_CURSOR = 2 ** 40;
/** Ranks from one visited leaf to the next: no leaf but those at the ends has fewer. */
const LEAF_STEP = 14;
