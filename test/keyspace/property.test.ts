import { describe, expect, test } from 'vitest';
import { Memory } from '../../src/memory/allocator.ts';
import { Keyspace } from '../../src/keyspace/keyspace.ts';
import { DATABASES, Driver, HASH_KEY } from './model.ts';

const fresh = Math.floor(Math.random() * 2 ** 32);

describe('keyspace against a model of maps', () => {
  test.each([
    [1, 200, 80_000],
    [2, 5, 30_000],
    [3, 20_000, 130_000],
    [fresh, 500, 80_000],
    [fresh + 1, 3000, 100_000],
  ])('seed %i, %i keys', (seed, keyCount, steps) => {
    const driver = new Driver(seed, seed, keyCount);
    for (let i = 0; i < steps; i++) {
      driver.step();
      if (i % 50 === 0) driver.checkKey(i % DATABASES, `k${driver.local.below(keyCount)}`);
      if (i % Math.max(5000, keyCount * 4) === 0) driver.checkAll();
    }
    driver.checkAll();
    driver.keyspace.flushAll();
    expect(driver.keyspace.usedBytes).toBe(0);
    expect(driver.keyspace.reservedBytes).toBe(0);
  }, 60_000);

  test('used bytes are the sum of the keys and the tables', () => {
    const driver = new Driver(fresh, 7, 1000);
    for (let i = 0; i < 30_000; i++) driver.step();
    const { keyspace } = driver;
    while (keyspace.rehashStep(10_000));
    const keys = driver.memoryOfKeys();
    const tables = keyspace.usedBytes - keys;
    expect(tables, `seed ${fresh}`).toBeGreaterThan(0);
    expect(tables).toBeLessThan(DATABASES * (2048 * (5 + 4 + 4)));
    // Removing every key leaves the tables only.
    for (let number = 0; number < DATABASES; number++) {
      const db = keyspace.database(number);
      while (db.size > 0) db.remove(db.at(db.size >> 1));
    }
    while (keyspace.rehashStep(10_000));
    expect(keyspace.usedBytes).toBeLessThanOrEqual(DATABASES * 16 * 5 * 2);
  });

  test('order, digest and versions do not follow reads, idle work or memory', () => {
    const one = new Driver(fresh, 1, 400, `seed ${fresh}, first`);
    const other = new Driver(fresh, 2, 400, `seed ${fresh}, second`);
    for (let i = 0; i < 60_000; i++) {
      one.step();
      other.step();
      if (i % 500 === 0) expect(one.keyspace.digest(), `seed ${fresh}, step ${i}`).toEqual(other.keyspace.digest());
    }
    for (let number = 0; number < DATABASES; number++) {
      expect(one.order(number)).toEqual(other.order(number));
      expect(one.volatile(number)).toEqual(other.volatile(number));
      for (let i = 0; i < 400; i++) {
        const key = Buffer.from(`k${i}`);
        const version = one.keyspace.version(number, key, 0, key.length, 2 ** 40);
        expect(version).toBe(other.keyspace.version(number, key, 0, key.length, 2 ** 40));
      }
    }
  }, 60_000);

  test('defragmentation gives memory back and changes nothing else', () => {
    const memory = new Memory();
    const keyspace = new Keyspace({ databases: 2, hashKey: HASH_KEY, memory });
    const value = Buffer.alloc(30_000, 'v');
    for (let i = 0; i < 12_000; i++) {
      const db = keyspace.database(i & 1);
      const key = Buffer.from(`key:${i}`);
      value.writeUInt32LE(i);
      db.setString(key, 0, key.length, value, 0, 200 + (i % 30) * 1000, i % 3 === 0 ? 1e12 + i : -1);
    }
    for (const number of [0, 1]) {
      const db = keyspace.database(number);
      for (let position = db.size - 1; position >= 0; position--) if (position % 4 !== 0) db.remove(db.at(position));
    }
    const digest = keyspace.digestSlow();
    const used = keyspace.usedBytes;
    const segments = memory.segments.count;
    for (let cycle = 0; cycle < 5; cycle++) while (keyspace.defragStep(100_000));
    expect(keyspace.digestSlow()).toEqual(digest);
    expect(memory.segments.count).toBeLessThan(segments);
    expect(memory.segments.count).toBeLessThanOrEqual(Math.ceil(used / 2 ** 26) + 1);
    expect(keyspace.usedBytes).toBeLessThanOrEqual(used);
    for (const number of [0, 1]) {
      const db = keyspace.database(number);
      for (let i = 0; i < db.size; i++) {
        const { bytes, start, end } = keyspace.keySpan(db.at(i));
        expect(db.find(bytes, start, end)).toBe(db.at(i));
      }
      for (let i = 0; i < db.volatileSize; i++) expect(keyspace.expiryMs(db.volatileAt(i))).toBeGreaterThan(0);
    }
  });
});
