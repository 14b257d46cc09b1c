import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { Memory } from '../../src/memory/allocator.ts';
import { Dictionary, KEY_LENGTH_LONG, KEY_LENGTH_SHIFT } from '../../src/memory/dictionary.ts';
import { Meter } from '../../src/memory/handle-list.ts';
import { SEGMENT_SHIFT, UNIT_MASK } from '../../src/memory/segments.ts';

const KEY_WORD = 3;

class Table {
  readonly memory = new Memory();
  readonly meter = new Meter();
  readonly dictionary = new Dictionary(this.memory, this.meter);
  readonly #hash: (key: Buffer) => number;

  constructor(hash: (key: Buffer) => number) {
    this.#hash = hash;
  }

  /** A record by the dictionary's convention, with or without the length in a word of its own. */
  record(key: Buffer, long = false): number {
    const handle = this.memory.allocate(4 * (KEY_WORD + 1) + key.length);
    const words = this.memory.words[handle >>> SEGMENT_SHIFT]!;
    const word = (handle & UNIT_MASK) << 1;
    const keyWord = long ? KEY_WORD + 1 : KEY_WORD;
    words[word] = this.#hash(key);
    words[word + 2] = keyWord | ((long ? KEY_LENGTH_LONG : key.length) << KEY_LENGTH_SHIFT) | 0xabcd0000;
    if (long) words[word + KEY_WORD] = key.length;
    this.memory.bytes[handle >>> SEGMENT_SHIFT]!.set(key, (word + keyWord) * 4);
    return handle;
  }

  find(key: Buffer): number {
    return this.dictionary.find(this.#hash(key), key, 0, key.length);
  }
}

/** Few different hashes and tags, so that chains are long and wrap around. */
function poorHash(key: Buffer): number {
  let h = 0;
  for (const byte of key) h = (Math.imul(h, 31) + byte) | 0;
  return (h & 0x3f) | ((h & 3) << 24) | -0x80000000;
}

function goodHash(key: Buffer): number {
  let h = 7;
  for (const byte of key) h = Math.imul(h ^ byte, 0x9e3779b1) ^ (h >>> 13);
  return h | 0;
}

const fresh = Math.floor(Math.random() * 2 ** 32);

describe('dictionary', () => {
  test.each([
    ['poor', poorHash, 1, 300],
    ['good', goodHash, 2, 20_000],
    ['poor', poorHash, fresh, 300],
    ['good', goodHash, fresh, 20_000],
  ] as const)('agrees with a Map and swap-remove ($0 hash, seed $2)', (_, hash, seed, sizeMax) => {
    const random = new Prng(seed);
    const table = new Table(hash);
    const { dictionary } = table;
    const model = new Map<string, number>();
    const order: string[] = [];
    let target = sizeMax;
    for (let i = 0; i < 150_000; i++) {
      if (i % 30_000 === 0) target = random.below(sizeMax) + 1;
      const text = `k${random.below(2 * target)}`;
      const key = Buffer.from(text);
      const known = model.get(text);
      const found = table.find(key);
      if (found !== (known ?? 0)) expect.fail(`seed ${seed}, step ${i}: ${text} is ${found}, not ${known}`);
      if (known === undefined) {
        if (order.length >= target) continue;
        const handle = table.record(key, random.chance(0.1));
        dictionary.insert(handle);
        model.set(text, handle);
        order.push(text);
      } else if (random.chance(order.length > target ? 0.9 : 0.5)) {
        dictionary.remove(known);
        table.memory.free(known);
        model.delete(text);
        const last = order.pop()!;
        if (last !== text) order[order.indexOf(text)] = last;
      } else if (random.chance(0.3)) {
        const next = table.record(key);
        dictionary.replace(known, next);
        table.memory.free(known);
        model.set(text, next);
      }
      if (random.chance(0.01)) dictionary.rehashStep(random.below(50));
    }
    expect(dictionary.size).toBe(order.length);
    expect(order.map((_text, position) => dictionary.at(position)), `seed ${seed}`).toEqual(order.map((text) => model.get(text)));
    for (let i = 0; i < 2 * sizeMax; i++) {
      if (table.find(Buffer.from(`k${i}`)) !== (model.get(`k${i}`) ?? 0)) expect.fail(`seed ${seed}: k${i}`);
    }
  });

  test('a table grows while keys are added, a few places at a time, and shrinks likewise', () => {
    const table = new Table(goodHash);
    const { dictionary } = table;
    let longest = 0;
    let run = 0;
    for (let i = 0; i < 120_000; i++) {
      dictionary.insert(table.record(Buffer.from(`k${i}`)));
      run = dictionary.rehashing ? run + 1 : 0;
      longest = Math.max(longest, run);
    }
    // The largest growth moves 131072 places, 8 a mutation; it begins at 13/16 of them, so it is cut off at the end.
    expect(longest).toBe(120_000 - Math.floor((131_072 * 13) / 16));
    while (dictionary.rehashStep(1000));
    const grown = table.meter.bytes;
    for (let i = 0; i < 119_000; i++) {
      const handle = table.find(Buffer.from(`k${i}`));
      dictionary.remove(handle);
      table.memory.free(handle);
    }
    while (dictionary.rehashStep(1000));
    expect(table.meter.bytes).toBeLessThan(grown / 4);
    for (let i = 119_000; i < 120_000; i++) expect(table.find(Buffer.from(`k${i}`))).not.toBe(0);
    dictionary.detach().clear();
    expect(table.meter.bytes).toBe(0);
    expect(dictionary.size).toBe(0);
    expect(table.find(Buffer.from('k119500'))).toBe(0);
  });

  test('adding and removing at one size for long leaves the table at its size', () => {
    const table = new Table(goodHash);
    for (let i = 0; i < 200_000; i++) {
      table.dictionary.insert(table.record(Buffer.from(`k${i}`)));
      if (i < 1000) continue;
      const handle = table.find(Buffer.from(`k${i - 1000}`));
      table.dictionary.remove(handle);
      table.memory.free(handle);
    }
    expect(table.dictionary.size).toBe(1000);
    expect(table.meter.bytes).toBeLessThan(5 * 4096 * 2 + 4 * 4096);
  });
});
