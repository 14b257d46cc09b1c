import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { Memory } from '../../src/memory/allocator.ts';
import { KEY_LENGTH_SHIFT } from '../../src/memory/dictionary.ts';
import { KeyedHash } from '../../src/memory/hash.ts';
import { MEMBER_TABLE_WORDS, MemberTable } from '../../src/memory/member-table.ts';
import { SEGMENT_SHIFT, UNIT_MASK } from '../../src/memory/segments.ts';

const KEY_WORD = 3;
const AT = 2;
const fresh = Math.floor(Math.random() * 2 ** 32);
const hasher = new KeyedHash(Uint8Array.from({ length: 16 }, (_, i) => i * 7));

class Table {
  readonly memory = new Memory();
  readonly words = new Uint32Array(AT + MEMBER_TABLE_WORDS + 1);
  readonly table = new MemberTable(this.memory);

  record(key: Buffer): number {
    const handle = this.memory.allocate(4 * KEY_WORD + key.length);
    const words = this.memory.words[handle >>> SEGMENT_SHIFT]!;
    const word = (handle & UNIT_MASK) << 1;
    words[word] = hasher.hash(key, 0, key.length);
    words[word + 2] = KEY_WORD | (key.length << KEY_LENGTH_SHIFT) | 0xabcd0000;
    this.memory.bytes[handle >>> SEGMENT_SHIFT]!.set(key, (word + KEY_WORD) * 4);
    return handle;
  }

  find(text: string): number {
    const key = Buffer.from(text);
    return this.table.find(this.words, AT, hasher.hash(key, 0, key.length), key, 0, key.length);
  }

  get size(): number {
    return this.table.size(this.words, AT);
  }

  at(position: number): number {
    return this.table.at(this.words, AT, position);
  }

  add(text: string): number {
    const handle = this.record(Buffer.from(text));
    this.table.insert(this.words, AT, handle);
    return handle;
  }

  remove(handle: number): void {
    this.table.remove(this.words, AT, handle);
    this.memory.free(handle);
  }
}

describe('table of members', () => {
  test.each([
    [1, 20],
    [2, 3000],
    [3, 30_000],
    [fresh, 300],
    [fresh + 1, 12_000],
  ])('agrees with a Map and swap-remove (seed %i, up to %i members)', (seed, sizeMax) => {
    const random = new Prng(seed);
    const table = new Table();
    const model = new Map<string, number>();
    const order: string[] = [];
    let target = sizeMax;
    for (let i = 0; i < 200_000; i++) {
      if (i % 20_000 === 0) target = random.chance(0.2) ? 0 : random.below(sizeMax) + 1;
      const text = random.chance(0.5) && order.length > 0 ? random.pick(order) : `k${random.below(2 * target + 2)}`;
      const known = model.get(text);
      const found = table.find(text);
      if (found !== (known ?? 0)) expect.fail(`seed ${seed}, step ${i}: ${text} is ${found}, not ${known}`);
      if (known === undefined) {
        if (order.length >= target) continue;
        model.set(text, table.add(text));
        order.push(text);
      } else if (random.chance(order.length > target ? 0.95 : 0.4)) {
        const position = table.memory.words[known >>> SEGMENT_SHIFT]![((known & UNIT_MASK) << 1) + 1]!;
        if (order[position] !== text) expect.fail(`seed ${seed}, step ${i}: ${text} stands at ${position}`);
        table.remove(known);
        model.delete(text);
        const last = order.pop()!;
        if (last !== text) order[position] = last;
      } else if (random.chance(0.2)) {
        const next = table.record(Buffer.from(text));
        table.table.replace(table.words, AT, known, next);
        table.memory.free(known);
        model.set(text, next);
      }
      if (table.size !== order.length) expect.fail(`seed ${seed}: ${table.size} members, not ${order.length}`);
    }
    expect(order.map((_text, position) => table.at(position)), `seed ${seed}`).toEqual(order.map((text) => model.get(text)));
    for (let i = 0; i < 2 * sizeMax; i++) if (table.find(`k${i}`) !== (model.get(`k${i}`) ?? 0)) expect.fail(`seed ${seed}: k${i}`);
    for (const text of random.shuffle([...order])) table.remove(model.get(text)!);
    expect(table.memory.usedBytes, `seed ${seed}`).toBe(0);
    expect([...table.words], 'nothing of it is left, nor around it').toEqual(Array.from(table.words, () => 0));
  }, 30_000);

  test('no insert costs more than a page, members cost few bytes, and most of it comes back with them', () => {
    const table = new Table();
    const count = 200_000;
    let records = 0;
    let longest = 0;
    let before = table.memory.usedBytes;
    for (let i = 0; i < count; i++) {
      const handle = table.add(`key:${i}`);
      records += table.memory.usableBytes(handle);
      longest = Math.max(longest, table.memory.usedBytes - before);
      before = table.memory.usedBytes;
    }
    // A directory of twice the size, for less than two handles a page, and a page more.
    expect(longest).toBeLessThan(16_000);
    const perMember = (table.memory.usedBytes - records) / count;
    expect(perMember).toBeGreaterThan(9);
    expect(perMember).toBeLessThan(17);
    for (let i = 0; i < count - 500; i++) {
      const handle = table.find(`key:${i}`);
      records -= table.memory.usableBytes(handle);
      table.remove(handle);
    }
    expect(table.memory.usedBytes - records).toBeLessThan(60_000);
    for (let i = count - 500; i < count; i++) expect(table.find(`key:${i}`)).not.toBe(0);
  });

  test('a table that is freed in slices leaves nothing', () => {
    for (const size of [1, 7, 500, 40_000]) {
      const table = new Table();
      for (let i = 0; i < size; i++) table.add(`k${i}`);
      while (table.size > 0) table.memory.free(table.table.takeLast(table.words, AT));
      let slices = 1;
      while (table.table.freePages(table.words, AT, 3) === 0) slices++;
      expect(slices).toBeGreaterThanOrEqual(size > 20_000 ? 10 : 1);
      expect(table.memory.usedBytes).toBe(0);
      expect([...table.words]).toEqual(Array.from(table.words, () => 0));
    }
  });
});
