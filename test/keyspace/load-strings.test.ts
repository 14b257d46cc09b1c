// Strings that are loaded in batches are the strings that setString makes: same digest, orders, versions and deadlines; and keys
// that come twice are found wherever they stand.
import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { ARRIVALS_MAX } from '../../src/keyspace/internals.ts';
import { Keyspace } from '../../src/keyspace/keyspace.ts';
import { contents } from '../snapshot/files.ts';

const fresh = Math.floor(Math.random() * 2 ** 32);

function newKeyspace(): Keyspace {
  const keyspace = new Keyspace({ databases: 2, hashKey: new Uint8Array(16).fill(3) });
  keyspace.beginRecord(7, 1);
  return keyspace;
}

interface Entry {
  readonly key: Buffer;
  readonly value: Buffer;
  readonly expiryMs: number;
}

function entry(random: Prng, i: number): Entry {
  const length = random.chance(0.02) ? random.below(20_000) : random.below(120);
  const text = random.chance(0.2) ? String(random.below(2 ** 31) * (random.chance(0.5) ? -4096 : 1)) : 'v'.repeat(length);
  return {
    key: Buffer.from(`${i}${'k'.repeat(random.chance(0.01) ? 5000 : random.below(30))}`),
    value: Buffer.from(text),
    expiryMs: random.chance(0.3) ? random.below(2 ** 31) * 1000 : -1,
  };
}

describe('loaded strings', () => {
  test.each([[1, 3000, 0], [2, 10_000, 10_000], [3, 1000, 2 ** 62], [4, 257, 100], [fresh, 5000, 5000]])('are as set ones (seed %i, %i keys where %d are expected)', (seed, count, expected) => {
    const random = new Prng(seed);
    const [set, loaded] = [newKeyspace(), newKeyspace()];
    let waiting = 0;
    const settle = (number: number): void => {
      expect(loaded.database(number).settle(expected)).toBe(waiting);
      waiting = 0;
    };
    for (const number of [0, 1]) {
      for (let i = 0; i < count; i++) {
        const { key, value, expiryMs } = entry(random, i);
        set.database(number).setString(key, 0, key.length, value, 0, value.length, expiryMs);
        loaded.database(number).loadString(key, 0, key.length, value, 0, value.length, expiryMs);
        if (++waiting === ARRIVALS_MAX || random.chance(0.001)) settle(number);
      }
      settle(number);
      loaded.database(number).trim();
    }
    expect(loaded.digest()).toEqual(set.digest());
    expect(loaded.digestSlow()).toEqual(set.digest());
    expect(contents(loaded)).toEqual(contents(set));
    for (const number of [0, 1]) {
      const [a, b] = [set.database(number), loaded.database(number)];
      expect(Array.from({ length: b.volatileSize }, (_, i) => loaded.keyText(b.volatileAt(i)))).toEqual(Array.from({ length: a.volatileSize }, (_, i) => set.keyText(a.volatileAt(i))));
      for (let i = 0; i < b.size; i++) {
        const key = Buffer.from(set.keyText(a.at(i)), 'latin1');
        expect(b.find(key, 0, key.length)).toBe(b.at(i));
        expect(loaded.version(number, key, 0, key.length, 0)).toBe(set.version(number, key, 0, key.length, 0));
      }
      while (b.size > 0) b.remove(b.at(random.below(b.size)));
    }
    expect(loaded.absentVersion(5)).toBe(set.absentVersion(5));
    expect(loaded.usedBytes).toBe(0);
  });

  test('of which one comes twice are settled up to it, whether the first is in the batch or before it', () => {
    const load = (keyspace: Keyspace, ...names: string[]): void => {
      for (const name of names) keyspace.database(0).loadString(Buffer.from(name), 0, name.length, Buffer.from('v'), 0, 1, -1);
    };
    const inside = newKeyspace();
    load(inside, 'a', 'b', 'c', 'b', 'd', 'a');
    expect(inside.database(0).settle(6)).toBe(3);
    const across = newKeyspace();
    load(across, 'a', 'b');
    expect(across.database(0).settle(0)).toBe(2);
    load(across, 'a');
    expect(across.database(0).settle(0)).toBe(0);
    expect(newKeyspace().database(0).settle(5)).toBe(0);
  });

  test('of which many more are expected than come take little more memory', () => {
    const count = 20_000;
    const [wrong, right] = [2 ** 62, count].map((expected) => {
      const keyspace = newKeyspace();
      for (let i = 1; i <= count; i++) {
        const key = Buffer.from(`key:${i}`);
        keyspace.database(0).loadString(key, 0, key.length, key, 0, key.length, -1);
        if (i % ARRIVALS_MAX === 0 || i === count) keyspace.database(0).settle(expected);
      }
      const { usedBytes } = keyspace;
      keyspace.database(0).trim();
      return { usedBytes, trimmedBytes: keyspace.usedBytes };
    });
    expect(wrong!.usedBytes).toBeLessThan(right!.usedBytes * 4);
    expect(wrong!.trimmedBytes).toBeLessThan(right!.trimmedBytes * 1.4);
    expect(right!.trimmedBytes).toBe(right!.usedBytes);
  });
});
