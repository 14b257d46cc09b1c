// The check of everything that a B+tree (btree.ts) must hold, for tests. Owns nothing; reads the whole tree.
import { assert } from '../base/assert.ts';
import type { Memory } from './allocator.ts';
import { LEAF_MAX, INNER_MAX, LEAF_MIN, INNER_MIN, COUNT, NEXT, PREVIOUS, LEAF_SCORES, INNER_SCORES, LEAF_HANDLES, INNER_HANDLES, CHILDREN, COUNTS } from './btree-nodes.ts';
import type { Handle } from './segments.ts';
import { SEGMENT_SHIFT, UNIT_MASK } from './segments.ts';

/** Walks a tree in order and checks it, but for the order of members with the same score, which the test's model checks. */
export class BTreeChecker {
  entries = 0;
  nodes = 0;
  leaves = 0;
  readonly #memory: Memory;
  #lastLeaf: Handle = 0;
  #lastScore = -Infinity;

  constructor(memory: Memory) {
    this.#memory = memory;
  }

  /** Returns the number of entries below. */
  node(node: Handle, depth: number, isFirst: boolean, isLast: boolean): number {
    const words = this.#memory.words[node >>> SEGMENT_SHIFT]!;
    const doubles = this.#memory.doubles[node >>> SEGMENT_SHIFT]!;
    const word = (node & UNIT_MASK) << 1;
    const count = words[word + COUNT]!;
    this.nodes++;
    const min = isFirst || isLast ? 1 : depth === 0 ? LEAF_MIN : INNER_MIN;
    assert(count >= min && count <= (depth === 0 ? LEAF_MAX : INNER_MAX), () => `a node ${depth} above the leaves has ${count} of at least ${min}`);
    if (isFirst && isLast && depth > 0) assert(count > 1, 'an inner root has two children');
    if (depth === 0) {
      this.#leafNode(node, count, isLast);
      return count;
    }
    let total = 0;
    for (let i = 0; i < count; i++) {
      const child = words[word + CHILDREN + i]!;
      const below = this.node(child, depth - 1, isFirst && i === 0, isLast && i === count - 1);
      assert(words[word + COUNTS + i] === below, () => `child ${i} has ${below} entries, not ${words[word + COUNTS + i]}`);
      total += below;
      const isLeaf = depth === 1;
      const score = this.#memory.doubles[child >>> SEGMENT_SHIFT]![(child & UNIT_MASK) + (isLeaf ? LEAF_SCORES : INNER_SCORES)]!;
      const handle = this.#memory.words[child >>> SEGMENT_SHIFT]![((child & UNIT_MASK) << 1) + (isLeaf ? LEAF_HANDLES : INNER_HANDLES)]!;
      assert(Object.is(doubles[(node & UNIT_MASK) + INNER_SCORES + i], score), 'an inner node knows the first score of a child');
      assert(words[word + INNER_HANDLES + i] === handle, 'an inner node knows the first handle of a child');
    }
    return total;
  }

  #leafNode(leaf: Handle, count: number, isLast: boolean): void {
    const words = this.#memory.words[leaf >>> SEGMENT_SHIFT]!;
    const doubles = this.#memory.doubles[leaf >>> SEGMENT_SHIFT]!;
    const word = (leaf & UNIT_MASK) << 1;
    this.leaves++;
    this.entries += count;
    assert(words[word + PREVIOUS] === this.#lastLeaf, 'a leaf knows the one before it');
    if (this.#lastLeaf !== 0) {
      const before = this.#memory.words[this.#lastLeaf >>> SEGMENT_SHIFT]![((this.#lastLeaf & UNIT_MASK) << 1) + NEXT];
      assert(before === leaf, 'a leaf knows the one after it');
    }
    if (isLast) assert(words[word + NEXT] === 0, 'nothing follows the last leaf');
    this.#lastLeaf = leaf;
    for (let i = 0; i < count; i++) {
      const score = doubles[(leaf & UNIT_MASK) + LEAF_SCORES + i]!;
      assert(score >= this.#lastScore, () => `score ${score} stands after ${this.#lastScore}`);
      this.#lastScore = score;
    }
  }
}
