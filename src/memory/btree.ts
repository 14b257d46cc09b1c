// An ordered set of (score, member) outside the heap: a B+tree with subtree counts, so that a position is found for a key and
// a key for a position in O(log n). Owns its nodes; the member records that its entries point to are the caller's.
//
// Order: by score (−0 equals 0, no NaN), then by the member's bytes as memcmp compares them, the shorter first. Members are
// unique. The tree learns of a member's bytes only through MemberOrder, and of an entry it keeps score and record handle.
//
// Nodes are in btree-nodes.ts, walks in btree-cursor.ts, the check of all this in btree-check.ts.
//
// What must hold:
// - Every leaf is at the same depth. Entries stand in order, in a leaf and from leaf to next leaf.
// - What an inner node says of a child is true: first entry and count.
// - A node but the root and those at either end of their level has at least its minimum; an inner root has two children.
//   (A full node at an end is split unevenly, so that filling in order leaves full nodes.)
// - The shape depends on nothing but the sequence of insertions and removals.
// Hot: indexes typed arrays directly.
import { assert } from '../base/assert.ts';
import type { Memory } from './allocator.ts';
import { BTreeChecker } from './btree-check.ts';
import type { BTreeCursor } from './btree-cursor.ts';
import { countBelowMember, countBelowScore, seekRank } from './btree-descents.ts';
import {
  BTreeNodes, LEAF_BYTES, INNER_BYTES, LEAF_MAX, INNER_MAX, LEAF_MIN, INNER_MIN, COUNT, NEXT, PREVIOUS, LEAF_SCORES,
  INNER_SCORES, LEAF_HANDLES, INNER_HANDLES, CHILDREN, COUNTS, sumOf,
} from './btree-nodes.ts';
import type { Handle } from './segments.ts';
import { SEGMENT_SHIFT, UNIT_MASK } from './segments.ts';

/** Words in which a tree is kept while no BTree has it loaded: root, levels of inner nodes, entries, nodes, leaves. */
export const TREE_WORDS = 5;
/** Levels of inner nodes that a path has room for: INNER_MIN to this power is beyond every handle. */
const DEPTH_MAX = 12;

/** How the tree sees member records. */
export interface MemberOrder {
  /** As memcmp of the record's member with bytes[start, end), then of the lengths: negative if the member is the smaller. */
  compare(handle: Handle, bytes: Uint8Array, start: number, end: number): number;
}

/** The path of the operation under way, from the root down: inner nodes, and the child taken in each. */
const pathNodes = new Uint32Array(DEPTH_MAX);
const pathIndexes = new Int32Array(DEPTH_MAX);

/** One object serves any number of trees in turn: see load and save. */
export class BTree {
  readonly #memory: Memory;
  readonly #order: MemberOrder;
  /** 0 while the tree is empty. */
  #root: Handle = 0;
  /** Levels of inner nodes. */
  #depth = 0;
  #size = 0;
  readonly #nodes: BTreeNodes;
  /** The leaf that `#find` came to. */
  #leaf: Handle = 0;

  constructor(memory: Memory, order: MemberOrder) {
    this.#memory = memory;
    this.#order = order;
    this.#nodes = new BTreeNodes(memory);
  }

  get size(): number {
    return this.#size;
  }

  /** Bytes of its nodes. */
  get bytes(): number {
    return this.#nodes.leaves * LEAF_BYTES + (this.#nodes.nodes - this.#nodes.leaves) * INNER_BYTES;
  }

  /** Takes up the tree that these TREE_WORDS words stand for; zeros are an empty one. */
  load(words: Uint32Array, at: number): void {
    this.#root = words[at]!;
    this.#depth = words[at + 1]!;
    this.#size = words[at + 2]!;
    this.#nodes.nodes = words[at + 3]!;
    this.#nodes.leaves = words[at + 4]!;
  }

  /** Writes the words that stand for the tree as it is now. */
  save(words: Uint32Array, at: number): void {
    words[at] = this.#root;
    words[at + 1] = this.#depth;
    words[at + 2] = this.#size;
    words[at + 3] = this.#nodes.nodes;
    words[at + 4] = this.#nodes.leaves;
  }

  /** Adds an entry whose member, bytes[start, end), is not in the tree. */
  insert(score: number, handle: Handle, bytes: Uint8Array, start: number, end: number): void {
    if (this.#root === 0) {
      this.#root = this.#nodes.newLeaf(0, 0);
      this.#depth = 0;
    }
    const at = this.#find(score, bytes, start, end);
    this.#addToCounts(1);
    this.#size++;
    const leaf = this.#leaf;
    const count = this.#memory.words[leaf >>> SEGMENT_SHIFT]![((leaf & UNIT_MASK) << 1) + COUNT]!;
    if (count === LEAF_MAX) {
      this.#splitLeaf(at, score, handle);
      return;
    }
    this.#nodes.putInLeaf(leaf, at, score, handle);
    if (at === 0) this.#setFirst(this.#depth, score, handle);
  }

  /** Takes out the entry, which is there. Returns its handle. */
  remove(score: number, bytes: Uint8Array, start: number, end: number): Handle {
    const at = this.#find(score, bytes, start, end);
    const handle = this.#expectAt(at, bytes, start, end);
    this.#removeFound(at);
    return handle;
  }

  /** Gives the member, which has `oldScore`, another score. */
  changeScore(oldScore: number, score: number, bytes: Uint8Array, start: number, end: number): void {
    const at = this.#find(oldScore, bytes, start, end);
    const handle = this.#expectAt(at, bytes, start, end);
    if (this.#staysAt(at, score, bytes, start, end)) {
      this.#memory.doubles[this.#leaf >>> SEGMENT_SHIFT]![(this.#leaf & UNIT_MASK) + LEAF_SCORES + at] = score;
      if (at === 0) this.#setFirst(this.#depth, score, handle);
      return;
    }
    this.#removeFound(at);
    this.insert(score, handle, bytes, start, end);
  }

  /** Says that the record of the member is at another handle now. Both may be readable or only the new one. */
  replaceHandle(score: number, handle: Handle, next: Handle, bytes: Uint8Array, start: number, end: number): void {
    const at = this.#find(score, bytes, start, end);
    const leaf = this.#leaf;
    const words = this.#memory.words[leaf >>> SEGMENT_SHIFT]!;
    const word = ((leaf & UNIT_MASK) << 1) + LEAF_HANDLES + at;
    assert(words[word] === handle, () => `record ${handle} is in the tree`);
    words[word] = next;
    if (at === 0) this.#setFirst(this.#depth, score, next);
  }

  /** The number of entries before (score, bytes[start, end)). */
  rank(score: number, bytes: Uint8Array, start: number, end: number): number {
    if (this.#root === 0) return 0;
    const at = this.#find(score, bytes, start, end);
    return this.#countBefore() + at;
  }

  /** The number of entries with a score below `score`, or if `inclusive` not above it. */
  countBelowScore(score: number, inclusive: boolean): number {
    return countBelowScore(this.#memory, this.#root, this.#depth, score, inclusive);
  }

  /** The number of entries with a member before bytes[start, end), or if `inclusive` not after it. All scores are the same. */
  countBelowMember(bytes: Uint8Array, start: number, end: number, inclusive: boolean): number {
    return countBelowMember(this.#memory, this.#order, this.#root, this.#depth, bytes, start, end, inclusive);
  }

  /** Puts the cursor on the entry at `rank`, 0 ≤ rank < size; else on none. */
  seek(cursor: BTreeCursor, rank: number): void {
    if (rank < 0 || rank >= this.#size) cursor.place(this.#memory, 0, 0);
    else seekRank(this.#memory, this.#root, this.#depth, cursor, rank);
  }

  /** Frees up to `budget` nodes of a tree that is not used otherwise any more. Returns how many of the budget are left. */
  freeStep(budget: number): number {
    const memory = this.#memory;
    this.#size = 0;
    let left = budget;
    while (left > 0 && this.#root !== 0) {
      // The last node that has no node below it.
      let parent = 0;
      let node = this.#root;
      for (let level = 0; level < this.#depth; level++) {
        const words = memory.words[node >>> SEGMENT_SHIFT]!;
        const word = (node & UNIT_MASK) << 1;
        const count = words[word + COUNT]!;
        if (count === 0) break;
        parent = node;
        node = words[word + CHILDREN + count - 1]!;
      }
      if (parent === 0) this.#root = 0;
      else memory.words[parent >>> SEGMENT_SHIFT]![((parent & UNIT_MASK) << 1) + COUNT]!--;
      memory.free(node);
      left--;
    }
    if (this.#root === 0) {
      this.#nodes.nodes = 0;
      this.#nodes.leaves = 0;
      this.#depth = 0;
    }
    return left;
  }

  /**
   * For defragmentation: moves the nodes on the way to `rank` that stand in segments being evacuated. Returns the bytes moved.
   * Visiting each leaf's first rank moves every node.
   */
  evacuate(rank: number): number {
    const memory = this.#memory;
    let moved = 0;
    if (rank >= this.#size) return 0;
    let node = this.#root;
    let rest = rank;
    for (let level = 0; level <= this.#depth; level++) {
      if (memory.isEvacuating(node)) {
        node = this.#moveNode(node, level);
        moved += level === this.#depth ? LEAF_BYTES : INNER_BYTES;
      }
      if (level === this.#depth) break;
      const words = memory.words[node >>> SEGMENT_SHIFT]!;
      const word = (node & UNIT_MASK) << 1;
      let i = 0;
      while (rest >= words[word + COUNTS + i]!) rest -= words[word + COUNTS + i++]!;
      pathNodes[level] = node;
      pathIndexes[level] = i;
      node = words[word + CHILDREN + i]!;
    }
    return moved;
  }

  /** Checks everything that must hold. For tests: reads the whole tree. */
  check(): void {
    const checker = new BTreeChecker(this.#memory);
    if (this.#root !== 0) checker.node(this.#root, this.#depth, true, true);
    assert(checker.entries === this.#size, () => `${checker.entries} entries in a tree that says ${this.#size}`);
    assert(checker.nodes === this.#nodes.nodes, () => `${checker.nodes} nodes in a tree that says ${this.#nodes.nodes}`);
    assert(checker.leaves === this.#nodes.leaves, () => `${checker.leaves} leaves in a tree that says ${this.#nodes.leaves}`);
  }

  /** Fills the path to the key's leaf; returns the position in `#leaf` of the first entry not before the key. */
  #find(score: number, bytes: Uint8Array, start: number, end: number): number {
    const memory = this.#memory;
    const order = this.#order;
    const depth = this.#depth;
    let node = this.#root;
    for (let level = 0; level < depth; level++) {
      const words = memory.words[node >>> SEGMENT_SHIFT]!;
      const doubles = memory.doubles[node >>> SEGMENT_SHIFT]!;
      const word = (node & UNIT_MASK) << 1;
      const scores = (node & UNIT_MASK) + INNER_SCORES;
      // The last child whose first entry is not after the key, or the first child.
      let low = 0;
      let high = words[word + COUNT]!;
      while (high - low > 1) {
        const middle = (low + high) >>> 1;
        const s = doubles[scores + middle]!;
        if (s < score || (s === score && order.compare(words[word + INNER_HANDLES + middle]!, bytes, start, end) <= 0)) low = middle;
        else high = middle;
      }
      pathNodes[level] = node;
      pathIndexes[level] = low;
      node = words[word + CHILDREN + low]!;
    }
    this.#leaf = node;
    const words = memory.words[node >>> SEGMENT_SHIFT]!;
    const doubles = memory.doubles[node >>> SEGMENT_SHIFT]!;
    const handles = ((node & UNIT_MASK) << 1) + LEAF_HANDLES;
    const scores = (node & UNIT_MASK) + LEAF_SCORES;
    let low = 0;
    let high = words[((node & UNIT_MASK) << 1) + COUNT]!;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const s = doubles[scores + middle]!;
      if (s < score || (s === score && order.compare(words[handles + middle]!, bytes, start, end) < 0)) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The handle at `at` of `#leaf`, whose member must be bytes[start, end). */
  #expectAt(at: number, bytes: Uint8Array, start: number, end: number): Handle {
    const leaf = this.#leaf;
    assert(leaf !== 0 && this.#root !== 0, 'a member to be found is in a tree that is not empty');
    const words = this.#memory.words[leaf >>> SEGMENT_SHIFT]!;
    const word = (leaf & UNIT_MASK) << 1;
    assert(at < words[word + COUNT]!, 'a member to be found is in the tree');
    const handle = words[word + LEAF_HANDLES + at]!;
    assert(this.#order.compare(handle, bytes, start, end) === 0, 'a member to be found is in the tree');
    return handle;
  }

  /** True if the entry at `at` of `#leaf` would keep its place in the leaf with this score. */
  #staysAt(at: number, score: number, bytes: Uint8Array, start: number, end: number): boolean {
    const leaf = this.#leaf;
    const words = this.#memory.words[leaf >>> SEGMENT_SHIFT]!;
    const doubles = this.#memory.doubles[leaf >>> SEGMENT_SHIFT]!;
    const word = (leaf & UNIT_MASK) << 1;
    const scores = (leaf & UNIT_MASK) + LEAF_SCORES;
    if (at === 0) {
      if (words[word + PREVIOUS] !== 0) return false;
    } else {
      const s = doubles[scores + at - 1]!;
      if (s > score || (s === score && this.#order.compare(words[word + LEAF_HANDLES + at - 1]!, bytes, start, end) > 0)) return false;
    }
    if (at + 1 === words[word + COUNT]!) return words[word + NEXT] === 0;
    const s = doubles[scores + at + 1]!;
    return s > score || (s === score && this.#order.compare(words[word + LEAF_HANDLES + at + 1]!, bytes, start, end) > 0);
  }

  #countBefore(): number {
    let total = 0;
    for (let level = 0; level < this.#depth; level++) {
      const node = pathNodes[level]!;
      total += sumOf(this.#memory.words[node >>> SEGMENT_SHIFT]!, ((node & UNIT_MASK) << 1) + COUNTS, pathIndexes[level]!);
    }
    return total;
  }

  #addToCounts(by: number): void {
    for (let level = 0; level < this.#depth; level++) {
      const node = pathNodes[level]!;
      this.#memory.words[node >>> SEGMENT_SHIFT]![((node & UNIT_MASK) << 1) + COUNTS + pathIndexes[level]!]! += by;
    }
  }

  /** The node at depth `level` of the path has another first entry: so have those above of which it is the first child. */
  #setFirst(level: number, score: number, handle: Handle): void {
    for (let above = level - 1; above >= 0; above--) {
      const node = pathNodes[above]!;
      const i = pathIndexes[above]!;
      this.#memory.doubles[node >>> SEGMENT_SHIFT]![(node & UNIT_MASK) + INNER_SCORES + i] = score;
      this.#memory.words[node >>> SEGMENT_SHIFT]![((node & UNIT_MASK) << 1) + INNER_HANDLES + i] = handle;
      if (i > 0) return;
    }
  }

  /** Splits `#leaf`, which is full, around a new entry at `at`. Counts above have the new entry already. */
  #splitLeaf(at: number, score: number, handle: Handle): void {
    const { words: allWords } = this.#memory;
    const leaf = this.#leaf;
    const word = (leaf & UNIT_MASK) << 1;
    const next = allWords[leaf >>> SEGMENT_SHIFT]![word + NEXT]!;
    const isLast = next === 0;
    const isFirst = allWords[leaf >>> SEGMENT_SHIFT]![word + PREVIOUS] === 0;
    let keep = (LEAF_MAX + 1) >>> 1;
    if (isLast && at === LEAF_MAX) keep = LEAF_MAX;
    else if (isFirst && at === 0) keep = 0;
    else if (at < keep) keep--;
    const right = this.#nodes.newLeaf(leaf, next);
    this.#nodes.moveEntries(leaf, keep, right, 0, LEAF_MAX - keep);
    if (at <= keep && !(at === keep && keep === LEAF_MAX)) this.#nodes.putInLeaf(leaf, at, score, handle);
    else this.#nodes.putInLeaf(right, at - keep, score, handle);
    if (at === 0) this.#setFirst(this.#depth, score, handle);
    this.#addSibling(this.#depth, leaf, right);
  }

  /** Puts `right`, split off `left` which stands at depth `level` of the path, into the parent. */
  #addSibling(level: number, left: Handle, right: Handle): void {
    const memory = this.#memory;
    if (level === 0) {
      const root = this.#nodes.newInner();
      this.#nodes.putChild(root, 0, left, this.#depth === 0);
      this.#nodes.putChild(root, 1, right, this.#depth === 0);
      assert(this.#depth + 1 < DEPTH_MAX, 'a tree is no deeper than a path');
      this.#root = root;
      this.#depth++;
      return;
    }
    const parent = pathNodes[level - 1]!;
    const at = pathIndexes[level - 1]! + 1;
    const isLeaf = level === this.#depth;
    const words = memory.words[parent >>> SEGMENT_SHIFT]!;
    const word = (parent & UNIT_MASK) << 1;
    words[word + COUNTS + at - 1] = this.#nodes.countOf(left, isLeaf);
    if (words[word + COUNT]! < INNER_MAX) {
      this.#nodes.putChild(parent, at, right, isLeaf);
      return;
    }
    let keep = (INNER_MAX + 1) >>> 1;
    if (at === INNER_MAX && this.#isLastOfLevel(level - 1)) keep = INNER_MAX;
    else if (at === 1 && this.#isFirstOfLevel(level - 1)) keep = 1;
    const sibling = this.#nodes.newInner();
    this.#nodes.moveChildren(parent, keep, sibling, 0, INNER_MAX - keep);
    if (at <= keep && keep < INNER_MAX) this.#nodes.putChild(parent, at, right, isLeaf);
    else this.#nodes.putChild(sibling, at - keep, right, isLeaf);
    this.#addSibling(level - 1, parent, sibling);
  }

  #isLastOfLevel(level: number): boolean {
    for (let above = level - 1; above >= 0; above--) {
      const node = pathNodes[above]!;
      if (pathIndexes[above]! + 1 !== this.#memory.words[node >>> SEGMENT_SHIFT]![((node & UNIT_MASK) << 1) + COUNT]!) return false;
    }
    return true;
  }

  #isFirstOfLevel(level: number): boolean {
    for (let above = level - 1; above >= 0; above--) if (pathIndexes[above] !== 0) return false;
    return true;
  }

  /** Takes the entry at `at` of `#leaf` out, the path leading there. */
  #removeFound(at: number): void {
    const memory = this.#memory;
    const leaf = this.#leaf;
    this.#addToCounts(-1);
    this.#size--;
    const words = memory.words[leaf >>> SEGMENT_SHIFT]!;
    const doubles = memory.doubles[leaf >>> SEGMENT_SHIFT]!;
    const word = (leaf & UNIT_MASK) << 1;
    const scores = (leaf & UNIT_MASK) + LEAF_SCORES;
    const count = words[word + COUNT]! - 1;
    for (let i = at; i < count; i++) {
      doubles[scores + i] = doubles[scores + i + 1]!;
      words[word + LEAF_HANDLES + i] = words[word + LEAF_HANDLES + i + 1]!;
    }
    words[word + COUNT] = count;
    if (at === 0 && count > 0) this.#setFirst(this.#depth, doubles[scores]!, words[word + LEAF_HANDLES]!);
    if (count < LEAF_MIN) this.#refill(this.#depth, leaf);
  }

  /** The node at depth `level` of the path has few entries: joins it with a neighbour under the same parent, or evens the two out. */
  #refill(level: number, node: Handle): void {
    const memory = this.#memory;
    const isLeaf = level === this.#depth;
    const own = memory.words[node >>> SEGMENT_SHIFT]![((node & UNIT_MASK) << 1) + COUNT]!;
    if (level === 0) {
      if (own === 0) {
        this.#root = 0;
        if (isLeaf) this.#nodes.freeLeaf(node);
        else this.#nodes.freeInner(node);
        this.#depth = 0;
      } else this.#lowerRoot();
      return;
    }
    const parent = pathNodes[level - 1]!;
    const parentWords = memory.words[parent >>> SEGMENT_SHIFT]!;
    const parentWord = (parent & UNIT_MASK) << 1;
    const index = pathIndexes[level - 1]!;
    const leftAt = index > 0 ? index - 1 : 0;
    if (parentWords[parentWord + COUNT]! === 1) {
      // An only child, at an end of its level: it goes when it is empty.
      if (own > 0) return;
      if (isLeaf) this.#nodes.freeLeaf(node);
      else this.#nodes.freeInner(node);
      this.#nodes.removeChild(parent, 0);
      this.#refill(level - 1, parent);
      return;
    }
    const left = parentWords[parentWord + CHILDREN + leftAt]!;
    const right = parentWords[parentWord + CHILDREN + leftAt + 1]!;
    const leftCount = memory.words[left >>> SEGMENT_SHIFT]![((left & UNIT_MASK) << 1) + COUNT]!;
    const rightCount = memory.words[right >>> SEGMENT_SHIFT]![((right & UNIT_MASK) << 1) + COUNT]!;
    const total = leftCount + rightCount;
    const max = isLeaf ? LEAF_MAX : INNER_MAX;
    const leftWanted = total <= max ? total : total >>> 1;
    if (leftWanted > leftCount) this.#nodes.move(isLeaf, right, 0, left, leftCount, leftWanted - leftCount);
    else this.#nodes.move(isLeaf, left, leftWanted, right, 0, leftCount - leftWanted);
    this.#nodes.describe(parent, leftAt, isLeaf);
    // Only an empty first child gets another first entry by this.
    if (leftAt === 0) {
      const first = memory.doubles[parent >>> SEGMENT_SHIFT]![(parent & UNIT_MASK) + INNER_SCORES]!;
      this.#setFirst(level - 1, first, parentWords[parentWord + INNER_HANDLES]!);
    }
    if (leftWanted < total) {
      this.#nodes.describe(parent, leftAt + 1, isLeaf);
      return;
    }
    if (isLeaf) this.#nodes.freeLeaf(right);
    else this.#nodes.freeInner(right);
    this.#nodes.removeChild(parent, leftAt + 1);
    if (parentWords[parentWord + COUNT]! < INNER_MIN) this.#refill(level - 1, parent);
  }

  /** An inner root with one child gives way to it. */
  #lowerRoot(): void {
    while (this.#depth > 0) {
      const root = this.#root;
      const words = this.#memory.words[root >>> SEGMENT_SHIFT]!;
      const word = (root & UNIT_MASK) << 1;
      if (words[word + COUNT]! > 1) return;
      this.#root = words[word + CHILDREN]!;
      this.#depth--;
      this.#nodes.freeInner(root);
    }
  }

  /** Moves a node at depth `level` of the path to another block. */
  #moveNode(node: Handle, level: number): Handle {
    const memory = this.#memory;
    const isLeaf = level === this.#depth;
    const bytes = isLeaf ? LEAF_BYTES : INNER_BYTES;
    const next = memory.allocate(bytes);
    const from = (node & UNIT_MASK) << 3;
    memory.bytes[next >>> SEGMENT_SHIFT]!.set(memory.bytes[node >>> SEGMENT_SHIFT]!.subarray(from, from + bytes), (next & UNIT_MASK) << 3);
    if (level === 0) this.#root = next;
    else {
      const parent = pathNodes[level - 1]!;
      memory.words[parent >>> SEGMENT_SHIFT]![((parent & UNIT_MASK) << 1) + CHILDREN + pathIndexes[level - 1]!] = next;
    }
    if (isLeaf) {
      const words = memory.words[next >>> SEGMENT_SHIFT]!;
      const word = (next & UNIT_MASK) << 1;
      if (words[word + NEXT] !== 0) this.#nodes.link(words[word + NEXT]!, PREVIOUS, next);
      if (words[word + PREVIOUS] !== 0) this.#nodes.link(words[word + PREVIOUS]!, NEXT, next);
    }
    memory.free(node);
    return next;
  }
}
