// Walking a B+tree (btree.ts) forwards and backwards over its linked leaves. Owns nothing. Hot: indexes typed arrays directly.
import type { Memory } from './allocator.ts';
import { COUNT, NEXT, PREVIOUS, LEAF_SCORES, LEAF_HANDLES } from './btree-nodes.ts';
import type { Handle } from './segments.ts';
import { SEGMENT_SHIFT, UNIT_MASK } from './segments.ts';

const NO_WORDS = new Uint32Array(0);
const NO_DOUBLES = new Float64Array(0);

/** A place in a tree, used again and again. Good until the tree changes. */
export class BTreeCursor {
  #memory: Memory | undefined = undefined;
  #leaf: Handle = 0;
  #at = 0;
  #words: Uint32Array = NO_WORDS;
  #doubles: Float64Array = NO_DOUBLES;

  /** For BTree.seek only. */
  place(memory: Memory, leaf: Handle, at: number): void {
    this.#memory = memory;
    this.#leaf = leaf;
    this.#at = at;
    this.#words = memory.words[leaf >>> SEGMENT_SHIFT]!;
    this.#doubles = memory.doubles[leaf >>> SEGMENT_SHIFT]!;
  }

  /** False before the first entry, after the last, and in an empty tree. */
  get valid(): boolean {
    return this.#leaf !== 0;
  }

  get score(): number {
    return this.#doubles[(this.#leaf & UNIT_MASK) + LEAF_SCORES + this.#at]!;
  }

  get handle(): Handle {
    return this.#words[((this.#leaf & UNIT_MASK) << 1) + LEAF_HANDLES + this.#at]!;
  }

  next(): void {
    const word = (this.#leaf & UNIT_MASK) << 1;
    if (++this.#at < this.#words[word + COUNT]!) return;
    this.#enter(this.#words[word + NEXT]!);
    this.#at = 0;
  }

  previous(): void {
    if (--this.#at >= 0) return;
    this.#enter(this.#words[((this.#leaf & UNIT_MASK) << 1) + PREVIOUS]!);
    if (this.#leaf !== 0) this.#at = this.#words[((this.#leaf & UNIT_MASK) << 1) + COUNT]! - 1;
  }

  /** Copies what entries from here on, or back from here, hold, at most `count`, and goes past them. Returns how many there were. */
  take(handles: Uint32Array, scores: Float64Array, count: number, backwards: boolean): number {
    let n = 0;
    while (n < count && this.#leaf !== 0) {
      const words = this.#words;
      const doubles = this.#doubles;
      const word = (this.#leaf & UNIT_MASK) << 1;
      const from = word + LEAF_HANDLES;
      const fromScores = (this.#leaf & UNIT_MASK) + LEAF_SCORES;
      let at = this.#at;
      if (backwards) {
        for (; at >= 0 && n < count; at--, n++) {
          handles[n] = words[from + at]!;
          scores[n] = doubles[fromScores + at]!;
        }
      } else {
        const end = words[word + COUNT]!;
        for (; at < end && n < count; at++, n++) {
          handles[n] = words[from + at]!;
          scores[n] = doubles[fromScores + at]!;
        }
      }
      // On the last one that was copied; a step from there may lead to the next leaf.
      this.#at = backwards ? at + 1 : at - 1;
      if (backwards) this.previous();
      else this.next();
    }
    return n;
  }

  #enter(leaf: Handle): void {
    this.#leaf = leaf;
    this.#words = this.#memory!.words[leaf >>> SEGMENT_SHIFT]!;
    this.#doubles = this.#memory!.doubles[leaf >>> SEGMENT_SHIFT]!;
  }
}
