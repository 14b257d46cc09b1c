// The large form of a sorted set, encoding skiplist (Redis's name): a B+tree in order of score and member, and a hash table from
// member to record. Owns the root's words behind the header, the tree's nodes, the table's pages and the member records.
//
// Root, words behind the header: 5–8 the table (memory/member-table.ts), 9–13 the tree (memory/btree.ts).
// A member record, in 32-bit words, native order: 0 hash of the member, 1 as memory/member-table.ts says of a key, 2–3 score (a
// double); [length of the member, only if 0xfff stands for it]; the member.
//
// What must hold: tree and table have the same records; the tree has each under the score that its record has. No score is NaN.
// A member's digest is over its bytes and the bits of its score.
// Random picks go by rank, so they depend on the members and scores alone. Hot: indexes typed arrays directly.
import type { Memory } from '../memory/allocator.ts';
import { BTree, type MemberOrder, TREE_WORDS } from '../memory/btree.ts';
import { BTreeCursor } from '../memory/btree-cursor.ts';
import { copyIn } from '../memory/bytes.ts';
import type { KeyedHash } from '../memory/hash.ts';
import { KEY_LENGTH_LONG, KEY_LENGTH_SHIFT, KEY_WORD_MASK, MEMBER_TABLE_WORDS, MemberTable } from '../memory/member-table.ts';
import { SEGMENT_SHIFT, UNIT_MASK } from '../memory/segments.ts';
import { Lanes } from './digest.ts';
import type { Handle } from './types.ts';
import { ROOT_COUNT, ROOT_DIGEST_HIGH, ROOT_DIGEST_LOW, ROOT_HEADER_WORDS, type ValueKind } from './value-kinds.ts';

const TABLE = ROOT_HEADER_WORDS;
const TREE = TABLE + MEMBER_TABLE_WORDS;
const ROOT_WORDS = TREE + TREE_WORDS;
const HASH = 0;
const DESCRIPTOR = 1;
/** In 8-byte units. */
const SCORE = 1;
const PLAIN_WORDS = 4;

/** What is known of a member by its record. */
export class ZsetMembers implements MemberOrder {
  readonly #memory: Memory;
  readonly #lanes = new Lanes();

  constructor(memory: Memory) {
    this.#memory = memory;
  }

  create(score: number, hash: number, bytes: Uint8Array, start: number, end: number): Handle {
    const memory = this.#memory;
    const length = end - start;
    const header = length < KEY_LENGTH_LONG ? PLAIN_WORDS : PLAIN_WORDS + 1;
    const handle = memory.allocate(header * 4 + length);
    const words = memory.words[handle >>> SEGMENT_SHIFT]!;
    const word = (handle & UNIT_MASK) << 1;
    words[word + HASH] = hash;
    words[word + DESCRIPTOR] = header | (Math.min(length, KEY_LENGTH_LONG) << KEY_LENGTH_SHIFT);
    if (header > PLAIN_WORDS) words[word + PLAIN_WORDS] = length;
    copyIn(bytes, start, end, memory.bytes[handle >>> SEGMENT_SHIFT]!, words, (word + header) << 2);
    this.setScore(handle, score);
    return handle;
  }

  free(handle: Handle): void {
    this.#memory.free(handle);
  }

  isEvacuating(handle: Handle): boolean {
    return this.#memory.isEvacuating(handle);
  }

  hash(handle: Handle): number {
    return this.#memory.words[handle >>> SEGMENT_SHIFT]![((handle & UNIT_MASK) << 1) + HASH]! | 0;
  }

  score(handle: Handle): number {
    return this.#memory.doubles[handle >>> SEGMENT_SHIFT]![(handle & UNIT_MASK) + SCORE]!;
  }

  setScore(handle: Handle, score: number): void {
    this.#memory.doubles[handle >>> SEGMENT_SHIFT]![(handle & UNIT_MASK) + SCORE] = score;
  }

  /** The member is bytes(handle)[start(handle), end(handle)). */
  bytes(handle: Handle): Uint8Array {
    return this.#memory.bytes[handle >>> SEGMENT_SHIFT]!;
  }

  start(handle: Handle): number {
    const word = (handle & UNIT_MASK) << 1;
    return (word + (this.#memory.words[handle >>> SEGMENT_SHIFT]![word + DESCRIPTOR]! & KEY_WORD_MASK)) << 2;
  }

  end(handle: Handle): number {
    return this.start(handle) + memberLength(this.#memory.words[handle >>> SEGMENT_SHIFT]!, (handle & UNIT_MASK) << 1);
  }

  compare(handle: Handle, bytes: Uint8Array, start: number, end: number): number {
    const own = this.#memory.bytes[handle >>> SEGMENT_SHIFT]!;
    const words = this.#memory.words[handle >>> SEGMENT_SHIFT]!;
    const word = (handle & UNIT_MASK) << 1;
    let at = (word + (words[word + DESCRIPTOR]! & KEY_WORD_MASK)) << 2;
    const length = memberLength(words, word);
    const stop = start + Math.min(length, end - start);
    for (let i = start; i < stop; i++, at++) {
      const difference = own[at]! - bytes[i]!;
      if (difference !== 0) return difference;
    }
    return length - (end - start);
  }

  /** The digest of member and score; one object, used again. */
  digest(handle: Handle): Lanes {
    const words = this.#memory.words[handle >>> SEGMENT_SHIFT]!;
    const word = (handle & UNIT_MASK) << 1;
    const length = memberLength(words, word);
    const lanes = this.#lanes;
    lanes.seed(0xa4093822, 0x299f31d0);
    lanes.word(words[word + 2 * SCORE]!);
    lanes.word(words[word + 2 * SCORE + 1]!);
    lanes.bytes(words, word + (words[word + DESCRIPTOR]! & KEY_WORD_MASK), length);
    lanes.close(length);
    return lanes;
  }
}

/** Also what reads and changes a value: one at a time, `open` before, `save` after a change. */
export class ZsetTree implements ValueKind {
  readonly rootBytes = ROOT_WORDS * 4;
  readonly members: ZsetMembers;
  readonly tree: BTree;
  readonly #table: MemberTable;
  readonly #hasher: KeyedHash;
  readonly #cursor = new BTreeCursor();
  readonly #free = (handle: Handle): void => this.members.free(handle);

  constructor(memory: Memory, hasher: KeyedHash) {
    this.members = new ZsetMembers(memory);
    this.tree = new BTree(memory, this.members);
    this.#table = new MemberTable(memory, DESCRIPTOR);
    this.#hasher = hasher;
  }

  open(words: Uint32Array, root: number): void {
    this.tree.load(words, root + TREE);
  }

  save(words: Uint32Array, root: number): void {
    this.tree.save(words, root + TREE);
    words[root + ROOT_COUNT] = this.tree.size;
  }

  /** The record of this member of the value at `root`, or 0. */
  find(words: Uint32Array, root: number, bytes: Uint8Array, start: number, end: number): Handle {
    return this.#table.find(words, root + TABLE, this.#hasher.hash(bytes, start, end), bytes, start, end);
  }

  /** Visits members in the order of the table: see `scan` there. */
  scan(words: Uint32Array, root: number, from: number, count: number, visit: (handle: Handle) => void): number {
    return this.#table.scan(words, root + TABLE, from, count, visit);
  }

  /** Adds a member that the open value, which is the one at `root`, has not. */
  add(words: Uint32Array, root: number, score: number, bytes: Uint8Array, start: number, end: number): void {
    const handle = this.members.create(score, this.#hasher.hash(bytes, start, end), bytes, start, end);
    this.#table.insert(words, root + TABLE, handle);
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
    this.#count(words, root, handle, -1);
    this.#table.remove(words, root + TABLE, handle);
    this.tree.remove(members.score(handle), members.bytes(handle), members.start(handle), members.end(handle));
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
    const { members, tree } = this;
    tree.load(sourceWords, source + TREE);
    const cursor = this.#cursor;
    tree.seek(cursor, 0);
    this.open(words, root);
    for (; cursor.valid; cursor.next()) {
      const from = cursor.handle;
      const bytes = members.bytes(from);
      const start = members.start(from);
      const end = members.end(from);
      const handle = members.create(members.score(from), members.hash(from), bytes, start, end);
      this.#table.insert(words, root + TABLE, handle);
      tree.insert(members.score(from), handle, bytes, start, end);
    }
    this.save(words, root);
  }

  freeSome(words: Uint32Array, root: number, budget: number): number {
    const left = this.#table.freeSome(words, root + TABLE, budget, this.#free);
    if (left === 0) return 0;
    this.tree.load(words, root + TREE);
    const rest = this.tree.freeStep(left);
    this.tree.save(words, root + TREE);
    return rest;
  }

  /** The cursor is a rank. */
  evacuate(words: Uint32Array, root: number, cursor: number, budget: number): number {
    const { tree } = this;
    this.open(words, root);
    let rank = Math.max(0, cursor);
    for (let left = budget; left > 0 && rank < tree.size; left -= LEAF_STEP) {
      tree.evacuate(rank);
      this.#evacuateRecords(words, root, rank);
      rank += LEAF_STEP;
    }
    tree.save(words, root + TREE);
    return rank < tree.size ? rank : 0;
  }

  /** Moves the records of LEAF_STEP members from `rank` on, and what of the table leads to them. */
  #evacuateRecords(words: Uint32Array, root: number, rank: number): void {
    const { members, tree } = this;
    const cursor = this.#cursor;
    tree.seek(cursor, rank);
    for (let i = 0; i < LEAF_STEP && cursor.valid; i++, cursor.next()) {
      const { handle } = cursor;
      this.#table.evacuate(words, root + TABLE, rank + i);
      if (!members.isEvacuating(handle)) continue;
      const score = members.score(handle);
      const next = members.create(score, members.hash(handle), members.bytes(handle), members.start(handle), members.end(handle));
      this.#table.replace(words, root + TABLE, handle, next);
      tree.replaceHandle(score, handle, next, members.bytes(next), members.start(next), members.end(next));
      members.free(handle);
    }
  }

  #count(words: Uint32Array, root: number, handle: Handle, sign: 1 | -1): void {
    const lanes = this.members.digest(handle);
    words[root + ROOT_DIGEST_LOW] = words[root + ROOT_DIGEST_LOW]! + sign * lanes.low;
    words[root + ROOT_DIGEST_HIGH] = words[root + ROOT_DIGEST_HIGH]! + sign * lanes.high;
  }
}

/** Ranks from one visited leaf to the next: no leaf but those at the ends has fewer. */
const LEAF_STEP = 14;

function memberLength(words: Uint32Array, word: number): number {
  const descriptor = words[word + DESCRIPTOR]!;
  const length = (descriptor >>> KEY_LENGTH_SHIFT) & KEY_LENGTH_LONG;
  return length === KEY_LENGTH_LONG ? words[word + PLAIN_WORDS]! : length;
}
