// Ways down a B+tree (btree.ts) that change nothing and need no path: how many entries stand before a bound, and which stands at a
// rank. Owns nothing. Hot: indexes typed arrays directly.
import type { Memory } from './allocator.ts';
import type { MemberOrder } from './btree.ts';
import type { BTreeCursor } from './btree-cursor.ts';
import { CHILDREN, COUNT, COUNTS, INNER_HANDLES, INNER_SCORES, LEAF_HANDLES, LEAF_SCORES, sumOf } from './btree-nodes.ts';
import type { Handle } from './segments.ts';
import { SEGMENT_SHIFT, UNIT_MASK } from './segments.ts';

/** The number of entries with a score below `score`, or if `inclusive` not above it. */
export function countBelowScore(memory: Memory, root: Handle, depth: number, score: number, inclusive: boolean): number {
  let node = root;
  if (node === 0) return 0;
  let total = 0;
  for (let level = 0; level < depth; level++) {
    const words = memory.words[node >>> SEGMENT_SHIFT]!;
    const doubles = memory.doubles[node >>> SEGMENT_SHIFT]!;
    const word = (node & UNIT_MASK) << 1;
    const scores = (node & UNIT_MASK) + INNER_SCORES;
    // The last child whose first entry is below, or the first child.
    let low = 0;
    let high = words[word + COUNT]!;
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      const s = doubles[scores + middle]!;
      if (s < score || (inclusive && s === score)) low = middle;
      else high = middle;
    }
    total += sumOf(words, word + COUNTS, low);
    node = words[word + CHILDREN + low]!;
  }
  const doubles = memory.doubles[node >>> SEGMENT_SHIFT]!;
  const scores = (node & UNIT_MASK) + LEAF_SCORES;
  let low = 0;
  let high = memory.words[node >>> SEGMENT_SHIFT]![((node & UNIT_MASK) << 1) + COUNT]!;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const s = doubles[scores + middle]!;
    if (s < score || (inclusive && s === score)) low = middle + 1;
    else high = middle;
  }
  return total + low;
}

/** The number of entries with a member before bytes[start, end), or if `inclusive` not after it. All scores are the same. */
export function countBelowMember(
  memory: Memory,
  order: MemberOrder,
  root: Handle,
  depth: number,
  bytes: Uint8Array,
  start: number,
  end: number,
  inclusive: boolean,
): number {
  const limit = inclusive ? 1 : 0;
  let node = root;
  if (node === 0) return 0;
  let total = 0;
  for (let level = 0; level < depth; level++) {
    const words = memory.words[node >>> SEGMENT_SHIFT]!;
    const word = (node & UNIT_MASK) << 1;
    let low = 0;
    let high = words[word + COUNT]!;
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      if (Math.sign(order.compare(words[word + INNER_HANDLES + middle]!, bytes, start, end)) < limit) low = middle;
      else high = middle;
    }
    total += sumOf(words, word + COUNTS, low);
    node = words[word + CHILDREN + low]!;
  }
  const words = memory.words[node >>> SEGMENT_SHIFT]!;
  const word = (node & UNIT_MASK) << 1;
  let low = 0;
  let high = words[word + COUNT]!;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (Math.sign(order.compare(words[word + LEAF_HANDLES + middle]!, bytes, start, end)) < limit) low = middle + 1;
    else high = middle;
  }
  return total + low;
}

/** Puts the cursor on the entry at `rank`, which is below the size. */
export function seekRank(memory: Memory, root: Handle, depth: number, cursor: BTreeCursor, rank: number): void {
  let node = root;
  let rest = rank;
  for (let level = 0; level < depth; level++) {
    const words = memory.words[node >>> SEGMENT_SHIFT]!;
    const word = (node & UNIT_MASK) << 1;
    let i = 0;
    for (;;) {
      const below = words[word + COUNTS + i]!;
      if (rest < below) break;
      rest -= below;
      i++;
    }
    node = words[word + CHILDREN + i]!;
  }
  cursor.place(memory, node, rest);
}
