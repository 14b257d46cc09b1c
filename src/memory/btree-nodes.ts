// The nodes of a B+tree (btree.ts): layout, and what is done to one or two of them. Owns the nodes' blocks and counts them.
//
// A node is a block of 8-byte units (u), its 32-bit words (w):
//   leaf   w0 entries  w1 free  w2 next leaf  w3 previous leaf (0: none)
//          u2… scores, LEAF_MAX doubles; then handles, LEAF_MAX words
//   inner  w0 children  w1 free
//          u1… scores, INNER_MAX doubles; then INNER_MAX words each of handles, children, counts
// Child i of an inner node: its first entry (score and handle), its node, the number of entries below it.
//
// What must hold: a node has as many entries or children as w0 says, none missing between them. Links between leaves go both ways.
// Hot: indexes typed arrays directly.
import { assert } from '../base/assert.ts';
import type { Memory } from './allocator.ts';
import type { Handle } from './segments.ts';
import { SEGMENT_SHIFT, UNIT_MASK } from './segments.ts';

export const LEAF_BYTES = 512;
export const INNER_BYTES = 1024;
export const LEAF_MAX = 41;
export const INNER_MAX = 50;
export const LEAF_MIN = 14;
export const INNER_MIN = 17;

export const COUNT = 0;
export const NEXT = 2;
export const PREVIOUS = 3;
/** Units before a leaf's and an inner node's scores. */
export const LEAF_SCORES = 2;
export const INNER_SCORES = 1;
/** Words before the handles, children and counts. */
export const LEAF_HANDLES = 2 * (LEAF_SCORES + LEAF_MAX);
export const INNER_HANDLES = 2 * (INNER_SCORES + INNER_MAX);
export const CHILDREN = INNER_HANDLES + INNER_MAX;
export const COUNTS = CHILDREN + INNER_MAX;

assert((LEAF_HANDLES + LEAF_MAX) * 4 <= LEAF_BYTES, 'a leaf fits in its block');
assert((COUNTS + INNER_MAX) * 4 <= INNER_BYTES, 'an inner node fits in its block');
assert(2 * LEAF_MIN <= LEAF_MAX && 2 * INNER_MIN <= INNER_MAX, 'two nodes below their minimum fit in one');

export class BTreeNodes {
  readonly #memory: Memory;
  /** Nodes of the tree that is loaded, leaves included. */
  nodes = 0;
  leaves = 0;

  constructor(memory: Memory) {
    this.#memory = memory;
  }

  newLeaf(previous: Handle, next: Handle): Handle {
    const leaf = this.#memory.allocate(LEAF_BYTES);
    const words = this.#memory.words[leaf >>> SEGMENT_SHIFT]!;
    const word = (leaf & UNIT_MASK) << 1;
    words[word + COUNT] = 0;
    words[word + 1] = 0;
    words[word + NEXT] = next;
    words[word + PREVIOUS] = previous;
    if (previous !== 0) this.link(previous, NEXT, leaf);
    if (next !== 0) this.link(next, PREVIOUS, leaf);
    this.nodes++;
    this.leaves++;
    return leaf;
  }

  newInner(): Handle {
    const node = this.#memory.allocate(INNER_BYTES);
    const words = this.#memory.words[node >>> SEGMENT_SHIFT]!;
    const word = (node & UNIT_MASK) << 1;
    words[word + COUNT] = 0;
    words[word + 1] = 0;
    this.nodes++;
    return node;
  }

  link(leaf: Handle, which: number, other: Handle): void {
    this.#memory.words[leaf >>> SEGMENT_SHIFT]![((leaf & UNIT_MASK) << 1) + which] = other;
  }

  putInLeaf(leaf: Handle, at: number, score: number, handle: Handle): void {
    const words = this.#memory.words[leaf >>> SEGMENT_SHIFT]!;
    const doubles = this.#memory.doubles[leaf >>> SEGMENT_SHIFT]!;
    const word = (leaf & UNIT_MASK) << 1;
    const scores = (leaf & UNIT_MASK) + LEAF_SCORES;
    const handles = word + LEAF_HANDLES;
    const count = words[word + COUNT]!;
    for (let i = count; i > at; i--) {
      doubles[scores + i] = doubles[scores + i - 1]!;
      words[handles + i] = words[handles + i - 1]!;
    }
    doubles[scores + at] = score;
    words[handles + at] = handle;
    words[word + COUNT] = count + 1;
  }

  /** Moves `count` entries from the place `from` (to the end) of one leaf to the place `to` (the end, or 0) of a neighbour. */
  moveEntries(leaf: Handle, from: number, target: Handle, to: number, count: number): void {
    const memory = this.#memory;
    const words = memory.words[leaf >>> SEGMENT_SHIFT]!;
    const doubles = memory.doubles[leaf >>> SEGMENT_SHIFT]!;
    const targetWords = memory.words[target >>> SEGMENT_SHIFT]!;
    const targetDoubles = memory.doubles[target >>> SEGMENT_SHIFT]!;
    const word = (leaf & UNIT_MASK) << 1;
    const targetWord = (target & UNIT_MASK) << 1;
    const scores = (leaf & UNIT_MASK) + LEAF_SCORES;
    const targetScores = (target & UNIT_MASK) + LEAF_SCORES;
    const had = words[word + COUNT]!;
    const targetHad = targetWords[targetWord + COUNT]!;
    for (let i = targetHad - 1; i >= to; i--) {
      targetDoubles[targetScores + i + count] = targetDoubles[targetScores + i]!;
      targetWords[targetWord + LEAF_HANDLES + i + count] = targetWords[targetWord + LEAF_HANDLES + i]!;
    }
    for (let i = 0; i < count; i++) {
      targetDoubles[targetScores + to + i] = doubles[scores + from + i]!;
      targetWords[targetWord + LEAF_HANDLES + to + i] = words[word + LEAF_HANDLES + from + i]!;
    }
    for (let i = from + count; i < had; i++) {
      doubles[scores + i - count] = doubles[scores + i]!;
      words[word + LEAF_HANDLES + i - count] = words[word + LEAF_HANDLES + i]!;
    }
    words[word + COUNT] = had - count;
    targetWords[targetWord + COUNT] = targetHad + count;
  }

  /** Entries below a node, from what it says itself. */
  countOf(node: Handle, isLeaf: boolean): number {
    const words = this.#memory.words[node >>> SEGMENT_SHIFT]!;
    const word = (node & UNIT_MASK) << 1;
    return isLeaf ? words[word + COUNT]! : sumOf(words, word + COUNTS, words[word + COUNT]!);
  }

  /** Makes `child` the child number `at`. */
  putChild(node: Handle, at: number, child: Handle, isLeaf: boolean): void {
    const memory = this.#memory;
    const words = memory.words[node >>> SEGMENT_SHIFT]!;
    const doubles = memory.doubles[node >>> SEGMENT_SHIFT]!;
    const word = (node & UNIT_MASK) << 1;
    const scores = (node & UNIT_MASK) + INNER_SCORES;
    const count = words[word + COUNT]!;
    for (let i = count; i > at; i--) {
      doubles[scores + i] = doubles[scores + i - 1]!;
      words[word + INNER_HANDLES + i] = words[word + INNER_HANDLES + i - 1]!;
      words[word + CHILDREN + i] = words[word + CHILDREN + i - 1]!;
      words[word + COUNTS + i] = words[word + COUNTS + i - 1]!;
    }
    words[word + COUNT] = count + 1;
    words[word + CHILDREN + at] = child;
    this.describe(node, at, isLeaf);
  }

  /** Writes what `node` says of its child number `at`: first entry and count. */
  describe(node: Handle, at: number, isLeaf: boolean): void {
    const memory = this.#memory;
    const words = memory.words[node >>> SEGMENT_SHIFT]!;
    const word = (node & UNIT_MASK) << 1;
    const child = words[word + CHILDREN + at]!;
    const childWord = (child & UNIT_MASK) << 1;
    const first = (child & UNIT_MASK) + (isLeaf ? LEAF_SCORES : INNER_SCORES);
    memory.doubles[node >>> SEGMENT_SHIFT]![(node & UNIT_MASK) + INNER_SCORES + at] = memory.doubles[child >>> SEGMENT_SHIFT]![first]!;
    words[word + INNER_HANDLES + at] =
      memory.words[child >>> SEGMENT_SHIFT]![childWord + (isLeaf ? LEAF_HANDLES : INNER_HANDLES)]!;
    words[word + COUNTS + at] = this.countOf(child, isLeaf);
  }

  removeChild(node: Handle, at: number): void {
    const memory = this.#memory;
    const words = memory.words[node >>> SEGMENT_SHIFT]!;
    const doubles = memory.doubles[node >>> SEGMENT_SHIFT]!;
    const word = (node & UNIT_MASK) << 1;
    const scores = (node & UNIT_MASK) + INNER_SCORES;
    const count = words[word + COUNT]! - 1;
    for (let i = at; i < count; i++) {
      doubles[scores + i] = doubles[scores + i + 1]!;
      words[word + INNER_HANDLES + i] = words[word + INNER_HANDLES + i + 1]!;
      words[word + CHILDREN + i] = words[word + CHILDREN + i + 1]!;
      words[word + COUNTS + i] = words[word + COUNTS + i + 1]!;
    }
    words[word + COUNT] = count;
  }

  /** As moveEntries, of inner nodes. */
  moveChildren(node: Handle, from: number, target: Handle, to: number, count: number): void {
    const memory = this.#memory;
    const words = memory.words[node >>> SEGMENT_SHIFT]!;
    const doubles = memory.doubles[node >>> SEGMENT_SHIFT]!;
    const targetWords = memory.words[target >>> SEGMENT_SHIFT]!;
    const targetDoubles = memory.doubles[target >>> SEGMENT_SHIFT]!;
    const word = (node & UNIT_MASK) << 1;
    const targetWord = (target & UNIT_MASK) << 1;
    const had = words[word + COUNT]!;
    const targetHad = targetWords[targetWord + COUNT]!;
    const scores = (node & UNIT_MASK) + INNER_SCORES;
    const targetScores = (target & UNIT_MASK) + INNER_SCORES;
    for (let i = targetHad - 1; i >= to; i--) targetDoubles[targetScores + i + count] = targetDoubles[targetScores + i]!;
    for (let i = 0; i < count; i++) targetDoubles[targetScores + to + i] = doubles[scores + from + i]!;
    for (let i = from + count; i < had; i++) doubles[scores + i - count] = doubles[scores + i]!;
    for (let field = INNER_HANDLES; field <= COUNTS; field += INNER_MAX) {
      for (let i = targetHad - 1; i >= to; i--) targetWords[targetWord + field + i + count] = targetWords[targetWord + field + i]!;
      for (let i = 0; i < count; i++) targetWords[targetWord + field + to + i] = words[word + field + from + i]!;
      for (let i = from + count; i < had; i++) words[word + field + i - count] = words[word + field + i]!;
    }
    words[word + COUNT] = had - count;
    targetWords[targetWord + COUNT] = targetHad + count;
  }

  freeLeaf(leaf: Handle): void {
    const words = this.#memory.words[leaf >>> SEGMENT_SHIFT]!;
    const word = (leaf & UNIT_MASK) << 1;
    const next = words[word + NEXT]!;
    const previous = words[word + PREVIOUS]!;
    if (next !== 0) this.link(next, PREVIOUS, previous);
    if (previous !== 0) this.link(previous, NEXT, next);
    this.#memory.free(leaf);
    this.nodes--;
    this.leaves--;
  }

  freeInner(node: Handle): void {
    this.#memory.free(node);
    this.nodes--;
  }

  move(isLeaf: boolean, node: Handle, from: number, target: Handle, to: number, count: number): void {
    if (isLeaf) this.moveEntries(node, from, target, to, count);
    else this.moveChildren(node, from, target, to, count);
  }
}

export function sumOf(words: Uint32Array, from: number, count: number): number {
  let total = 0;
  for (let i = from; i < from + count; i++) total += words[i]!;
  return total;
}
