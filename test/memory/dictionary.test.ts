// The dictionary against a Map and an array with swap-remove. What its table does by itself is tested in member-table.test.ts.
import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { Memory } from '../../src/memory/allocator.ts';
import { Dictionary, DICTIONARY_WORDS } from '../../src/memory/dictionary.ts';
import { goodHash, type Hash, makeRecord, poorHash } from './member-records.ts';

const AT = 1;
const fresh = Math.floor(Math.random() * 2 ** 32);

class Table {
  readonly memory = new Memory();
  readonly words = new Uint32Array(AT + DICTIONARY_WORDS + 1);
  readonly dictionary = new Dictionary(this.memory);
  readonly hash: Hash;

  constructor(hash: Hash) {
    this.hash = hash;
  }

  get size(): number {
    return this.dictionary.size(this.words, AT);
  }

  at(position: number): number {
    return this.dictionary.at(this.words, AT, position);
  }

  find(text: string): number {
    const key = Buffer.from(text);
    return this.dictionary.find(this.words, AT, this.hash(key), key, 0, key.length);
  }

  record(text: string): number {
    const key = Buffer.from(text);
    return makeRecord(this.memory, this.hash(key), key);
  }

  add(text: string): number {
    const handle = this.record(text);
    this.dictionary.insert(this.words, AT, handle);
    return handle;
  }

  remove(handle: number): void {
    this.dictionary.remove(this.words, AT, handle);
    this.memory.free(handle);
  }

  replace(handle: number, text: string): number {
    const next = this.record(text);
    this.dictionary.replace(this.words, AT, handle, next);
    this.memory.free(handle);
    return next;
  }
}

describe('dictionary', () => {
  test.each([
    ['poor', poorHash, 1, 300],
    ['good', goodHash, 2, 20],
    ['good', goodHash, 3, 20_000],
    ['poor', poorHash, fresh, 200],
    ['good', goodHash, fresh, 4000],
  ] as [string, Hash, number, number][])('agrees with a Map and swap-remove (%s hash, seed $2, up to $3 members)', (_, hash, seed, sizeMax) => {
    const random = new Prng(seed);
    const table = new Table(hash);
    const model = new Map<string, number>();
    const order: string[] = [];
    let target = sizeMax;
    for (let i = 0; i < 60_000; i++) {
      if (i % 10_000 === 0) target = random.chance(0.2) ? 0 : random.below(sizeMax) + 1;
      const text = random.chance(0.5) && order.length > 0 ? random.pick(order) : `k${random.below(2 * target + 2)}`;
      const known = model.get(text);
      const found = table.find(text);
      if (found !== (known ?? 0)) expect.fail(`seed ${seed}, step ${i}: ${text} is ${found}, not ${known}`);
      if (known === undefined) {
        if (order.length >= target) continue;
        model.set(text, table.add(text));
        order.push(text);
      } else if (random.chance(order.length > target ? 0.95 : 0.4)) {
        const position = table.dictionary.position(known);
        if (order[position] !== text) expect.fail(`seed ${seed}, step ${i}: ${text} stands at ${position}`);
        table.remove(known);
        model.delete(text);
        const last = order.pop()!;
        if (last !== text) order[position] = last;
      } else if (random.chance(0.2)) model.set(text, table.replace(known, text));
      if (table.size !== order.length) expect.fail(`seed ${seed}: ${table.size} members, not ${order.length}`);
    }
    expect(order.map((_text, position) => table.at(position)), `seed ${seed}`).toEqual(order.map((text) => model.get(text)));
    for (let i = 0; i < 2 * sizeMax; i++) if (table.find(`k${i}`) !== (model.get(`k${i}`) ?? 0)) expect.fail(`seed ${seed}: k${i}`);
    for (const text of random.shuffle([...order])) table.remove(model.get(text)!);
    expect(table.memory.usedBytes, `seed ${seed}`).toBe(0);
    expect([...table.words], 'nothing of it is left, nor around it').toEqual(Array.from(table.words, () => 0));
  });

  test('adding and removing at one size for long leaves it at its size', () => {
    const table = new Table(goodHash);
    let records = 0;
    for (let i = 0; i < 100_000; i++) {
      records += table.memory.usableBytes(table.add(`k${i}`));
      if (i < 1000) continue;
      const handle = table.find(`k${i - 1000}`);
      records -= table.memory.usableBytes(handle);
      table.remove(handle);
    }
    expect(table.size).toBe(1000);
    expect(table.memory.usedBytes - records).toBeLessThan(1000 * 6.5 + 3 * 4096);
  });

  test('one that is freed in slices leaves nothing', () => {
    for (const size of [1, 7, 500, 20_000]) {
      const table = new Table(goodHash);
      for (let i = 0; i < size; i++) table.add(`k${i}`);
      while (table.size > 0) table.memory.free(table.dictionary.takeLast(table.words, AT));
      let slices = 1;
      while (table.dictionary.freePages(table.words, AT, 3) === 0) slices++;
      expect(slices).toBeGreaterThanOrEqual(size / 24 / 3);
      expect(table.memory.usedBytes).toBe(0);
      expect([...table.words]).toEqual(Array.from(table.words, () => 0));
    }
  });

  test('its blocks move out of sparse segments, its order stays', () => {
    const table = new Table(goodHash);
    const { memory } = table;
    const ballast: number[] = [];
    const members: number[] = [];
    for (let i = 0; i < 20_000; i++) {
      members.push(table.add(`k${i}`));
      for (let k = 0; k < 12; k++) ballast.push(memory.allocate(1024));
    }
    for (const handle of ballast) memory.free(handle);
    const used = memory.usedBytes;
    expect(memory.beginEvacuation()).toBe(true);
    for (let position = 0; position < 20_000; position++) table.dictionary.evacuate(table.words, AT, position);
    memory.endEvacuation();
    expect(memory.usedBytes).toBe(used);
    for (let i = 0; i < 20_000; i++) if (table.at(i) !== members[i] || table.find(`k${i}`) !== members[i]) expect.fail(`k${i} is lost`);
  });
});
