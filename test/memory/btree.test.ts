// The B+tree against a sorted array: random insertions, removals and changes of scores, many of them with equal scores, filling in
// order and emptying, ranks and ranges; everything that the tree must hold is checked at random moments.
import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { Memory } from '../../src/memory/allocator.ts';
import { BTree, type MemberOrder, TREE_WORDS } from '../../src/memory/btree.ts';
import { BTreeCursor } from '../../src/memory/btree-cursor.ts';

/** Seeds that failed once. */
const REGRESSIONS: readonly number[] = [];

interface Entry {
  score: number;
  readonly member: Uint8Array;
  handle: number;
}

/** `expect` costs a hundred times what it compares. */
function same(found: unknown, wanted: unknown): void {
  if (!Object.is(found, wanted)) expect(found).toBe(wanted);
}

/** Handles are numbers of members in an array here: the tree does not care. */
class Members implements MemberOrder {
  readonly list: Uint8Array[] = [new Uint8Array(0)];

  compare(handle: number, bytes: Uint8Array, start: number, end: number): number {
    return Buffer.compare(this.list[handle]!, bytes.subarray(start, end));
  }
}

class Model {
  readonly memory = new Memory();
  readonly members = new Members();
  readonly tree = new BTree(this.memory, this.members);
  readonly entries: Entry[] = [];
  readonly random: Prng;
  readonly scores: number;

  constructor(seed: number, scores: number) {
    this.random = new Prng(seed);
    this.scores = scores;
  }

  score(): number {
    const n = this.random.below(this.scores);
    if (n === 0) return this.random.chance(0.5) ? -Infinity : Infinity;
    if (n === 1) return this.random.chance(0.5) ? -0 : 0;
    return this.random.chance(0.2) ? n / 7 : n;
  }

  lowerBound(score: number, member: Uint8Array): number {
    let low = 0;
    let high = this.entries.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const entry = this.entries[middle]!;
      if (entry.score < score || (entry.score === score && Buffer.compare(entry.member, member) < 0)) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  insert(score: number): void {
    const handle = this.members.list.length;
    const length = this.random.below(4);
    const member = Buffer.concat([Buffer.alloc(length, this.random.below(256)), Buffer.from(`:${handle}`)]);
    this.members.list.push(member);
    this.entries.splice(this.lowerBound(score, member), 0, { score, member, handle });
    this.tree.insert(score, handle, member, 0, member.length);
  }

  removeAt(i: number): void {
    const [entry] = this.entries.splice(i, 1);
    same(this.tree.remove(entry!.score, entry!.member, 0, entry!.member.length), entry!.handle);
  }

  changeAt(i: number, score: number): void {
    const entry = this.entries[i]!;
    this.tree.changeScore(entry.score, score, entry.member, 0, entry.member.length);
    this.entries.splice(i, 1);
    entry.score = score;
    this.entries.splice(this.lowerBound(score, entry.member), 0, entry);
  }

  checkOne(): void {
    const { entries, tree, random } = this;
    if (entries.length === 0) return;
    const i = random.below(entries.length);
    const { score, member } = entries[i]!;
    same(tree.rank(score, member, 0, member.length), i);
    const bound = random.chance(0.5) ? score : this.score();
    const below = entries.findIndex((e) => e.score >= bound);
    const upTo = entries.findIndex((e) => e.score > bound);
    same(tree.countBelowScore(bound, false), below < 0 ? entries.length : below);
    same(tree.countBelowScore(bound, true), upTo < 0 ? entries.length : upTo);
    const cursor = new BTreeCursor();
    tree.seek(cursor, i);
    const back = random.chance(0.5);
    for (let k = i; k >= 0 && k < entries.length && Math.abs(k - i) < 100; k += back ? -1 : 1) {
      same(cursor.valid && cursor.handle, entries[k]!.handle);
      same(cursor.score, entries[k]!.score);
      if (back) cursor.previous();
      else cursor.next();
    }
  }

  checkAll(): void {
    this.tree.check();
    expect(this.tree.size).toBe(this.entries.length);
    expect(this.tree.bytes).toBe(this.memory.usedBytes);
    const cursor = new BTreeCursor();
    this.tree.seek(cursor, 0);
    for (const entry of this.entries) {
      if (!cursor.valid || cursor.handle !== entry.handle || !Object.is(cursor.score, entry.score)) {
        expect(`${cursor.valid} ${cursor.handle} ${cursor.score}`).toBe(`true ${entry.handle} ${entry.score}`);
      }
      cursor.next();
    }
    expect(cursor.valid).toBe(false);
  }
}

/** Phases of growing, changing and shrinking with random weights. */
function run(seed: number, operations: number): void {
  const setup = new Prng(seed);
  const model = new Model(seed + 1, setup.pick([2, 3, 50, 100_000]));
  const { random, entries } = model;
  const order = setup.pick(['random', 'up', 'down']);
  let grow = 0.6;
  for (let n = 0; n < operations; n++) {
    if (n % 2500 === 0) grow = setup.pick([0.1, 0.4, 0.55, 0.9]);
    const pick = random.unit();
    if (pick < grow || entries.length === 0) {
      model.insert(order === 'random' ? model.score() : order === 'up' ? n : -n);
    } else if (pick < grow + (1 - grow) * 0.7) {
      const i = random.chance(0.2) ? 0 : random.chance(0.2) ? entries.length - 1 : random.below(entries.length);
      model.removeAt(i);
    } else model.changeAt(random.below(entries.length), random.chance(0.5) ? model.score() : entries[random.below(entries.length)]!.score);
    if (n % 50 === 0) model.checkOne();
    if (random.chance(0.0005)) model.checkAll();
  }
  model.checkAll();
  while (entries.length > 0) {
    model.removeAt(random.below(entries.length));
    if (random.chance(0.001)) model.tree.check();
  }
  model.tree.check();
  expect(model.memory.usedBytes).toBe(0);
}

describe('BTree', () => {
  const seeds = [...REGRESSIONS, ...Array.from({ length: 12 }, () => Math.floor(Math.random() * 2 ** 32))];
  test.each(seeds)('against a sorted array, seed %i', (seed) => run(seed, 20_000));

  test('filled in order and emptied from an end, at every size around full nodes', () => {
    for (const sign of [1, -1]) {
      for (const size of [1, 41, 42, 41 * 50, 41 * 50 + 1, 41 * 50 + 42, 41 * 51 * 2 + 7]) {
        for (const fromStart of [true, false]) {
          const model = new Model(1, 2);
          for (let i = 0; i < size; i++) model.insert(sign * i);
          model.checkAll();
          while (model.entries.length > 0) {
            model.removeAt(fromStart ? 0 : model.entries.length - 1);
            if (model.entries.length % 97 === 0 || model.entries.length > size - 90) model.tree.check();
          }
          model.checkAll();
          expect(model.memory.usedBytes).toBe(0);
        }
      }
    }
  });

  test('an empty tree answers, and a record may change its handle', () => {
    const model = new Model(1, 100_000);
    const nobody = Buffer.from('nobody');
    expect(model.tree.rank(1, nobody, 0, 6)).toBe(0);
    expect(model.tree.countBelowScore(1, true)).toBe(0);
    expect(model.tree.countBelowMember(nobody, 0, 6, true)).toBe(0);
    expect(model.tree.evacuate(0)).toBe(0);
    for (let i = 0; i < 3000; i++) model.insert(model.score());
    for (const entry of model.entries) {
      const next = model.members.list.push(entry.member) - 1;
      model.tree.replaceHandle(entry.score, entry.handle, next, entry.member, 0, entry.member.length);
      model.members.list[entry.handle] = Buffer.alloc(0);
      entry.handle = next;
    }
    model.checkAll();
    while (model.entries.length > 0) model.removeAt(model.random.below(model.entries.length));
  });

  test('by member where all scores are the same', () => {
    const seed = Math.floor(Math.random() * 2 ** 32);
    const model = new Model(seed, 1);
    const words = new Uint32Array(TREE_WORDS);
    for (let i = 0; i < 5000; i++) model.insert(5);
    for (let n = 0; n < 2000; n++) {
      const i = model.random.below(model.entries.length);
      const { member } = model.entries[i]!;
      expect(model.tree.countBelowMember(member, 0, member.length, false), `seed ${seed}`).toBe(i);
      expect(model.tree.countBelowMember(member, 0, member.length, true), `seed ${seed}`).toBe(i + 1);
      const other = member.slice(0, member.length - 1);
      expect(model.tree.countBelowMember(other, 0, other.length, false)).toBe(model.lowerBound(5, other));
    }
    model.tree.save(words, 0);
    const again = new BTree(model.memory, model.members);
    again.load(words, 0);
    expect(again.size).toBe(5000);
    again.check();
  });

  test('frees its nodes in slices', () => {
    const model = new Model(1, 100_000);
    for (let i = 0; i < 20_000; i++) model.insert(model.score());
    let slices = 0;
    while (model.tree.freeStep(10) === 0) slices++;
    expect(slices).toBeGreaterThan(40);
    expect(model.memory.usedBytes).toBe(0);
    expect(model.tree.bytes).toBe(0);
  });

  test('filled in order it is nearly full, either way', () => {
    for (const sign of [1, -1]) {
      const model = new Model(1, 2);
      for (let i = 0; i < 30_000; i++) model.insert(sign * i);
      model.checkAll();
      expect(model.tree.bytes / 30_000).toBeLessThan(13.5);
    }
  });

  test('nodes move out of sparse segments', () => {
    const memory = new Memory();
    const members = new Members();
    const tree = new BTree(memory, members);
    const ballast: number[] = [];
    // Leaves spread thinly over several segments.
    for (let i = 1; i <= 60_000; i++) {
      members.list.push(Buffer.from(String(i)));
      tree.insert(i, i, members.list[i]!, 0, members.list[i]!.length);
      for (let k = 0; k < 4; k++) ballast.push(memory.allocate(1024));
    }
    for (const handle of ballast) memory.free(handle);
    expect(memory.beginEvacuation()).toBe(true);
    let moved = 0;
    for (let rank = 0; rank < tree.size; rank++) moved += tree.evacuate(rank);
    memory.endEvacuation();
    expect(moved).toBeGreaterThan(0);
    tree.check();
    const cursor = new BTreeCursor();
    tree.seek(cursor, 0);
    for (let i = 1; i <= 60_000; i++, cursor.next()) expect(cursor.handle).toBe(i);
  });
});
