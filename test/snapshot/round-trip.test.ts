// What we write, we load again to the same digest, orders and encodings, however the file is cut.
import { describe, expect, test } from 'vitest';
import { ReplicatedSettings } from '../../src/commands/replicated-settings.ts';
import { Prng } from '../../src/base/prng.ts';
import { encodingName } from '../../src/keyspace/types.ts';
import { RdbWriter } from '../../src/snapshot/rdb-writer.ts';
import { CHUNK_BYTES } from '../../src/snapshot/rdb-format.ts';
import { Harness } from '../commands/harness.ts';
import { contents, load, newKeyspace, write } from './files.ts';
import { fill } from './fill.ts';

const SEEDS = 6;

describe('what is written is loaded again', () => {
  test('keys, orders, elements, deadlines; whole and in pieces of any length', () => {
    for (let i = 0; i < SEEDS; i++) {
      const seed = Math.floor(Math.random() * 2 ** 32);
      const random = new Prng(seed);
      const harness = new Harness();
      fill(harness, random, random.pick([0, 1, 30, 200]));
      const { keyspace } = harness;
      const file = write(keyspace, [['a', 'b']]);
      // A raw string that could have another encoding is the sidecar's affair.
      const expected = contents(keyspace).map((line) => line.replace('"raw"', '"?"').replace('"embstr"', '"?"').replace('"int"', '"?"'));
      for (const pieceMax of [Infinity, 7, 100_000]) {
        const { keyspace: loaded, report } = load(file, {}, pieceMax, pieceMax === Infinity ? undefined : random);
        const got = contents(loaded).map((line) => line.replace('"raw"', '"?"').replace('"embstr"', '"?"').replace('"int"', '"?"'));
        expect(got, `seed ${seed}`).toEqual(expected);
        expect(report).toMatchObject({ version: 10, bytes: file.length, keys: expected.length, expiredKeys: 0, emptyKeys: 0, checked: true });
        expect([...report.aux]).toEqual([['a', 'b']]);
        expect(loaded.digest(), `seed ${seed}`).toEqual(loaded.digestSlow());
      }
    }
  });

  test('one byte at a time', () => {
    const harness = new Harness();
    fill(harness, new Prng(5), 40);
    const file = write(harness.keyspace);
    expect(contents(load(file, {}, 1).keyspace).length).toBe(contents(harness.keyspace).length);
  });

  test('chunks have their size, and are not written to again', () => {
    const keyspace = newKeyspace();
    const value = Buffer.alloc(3_000_000, 'v');
    for (let i = 0; i < 3; i++) {
      const key = Buffer.from(`k${i}`);
      keyspace.database(0).setString(key, 0, key.length, value, 0, value.length, -1);
    }
    const chunks: Uint8Array[] = [];
    const copies: string[] = [];
    const writer = new RdbWriter(keyspace, { aux: [] });
    for (const chunk of writer.chunks()) {
      chunks.push(chunk);
      copies.push(Buffer.from(chunk).toString('latin1'));
      expect(chunk.length).toBeLessThanOrEqual(CHUNK_BYTES);
    }
    for (const chunk of chunks.slice(0, -1)) expect(chunk.length).toBeGreaterThanOrEqual(CHUNK_BYTES / 2);
    expect(chunks.map((chunk) => Buffer.from(chunk).toString('latin1'))).toEqual(copies);
    expect(writer.bytes).toBe(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
    const { keyspace: loaded } = load(Buffer.concat(chunks), {}, 1000);
    expect(loaded.digest()).toEqual(keyspace.digest());
  });

  test('values beyond a memory block, and large values element by element', () => {
    const harness = new Harness();
    harness.run('SET', 'big', Buffer.alloc(20_000_000, 'abcdefg'));
    harness.settings['hash-max-listpack-value'] = 10_000_000;
    harness.run('HSET', 'packed', 'f', Buffer.alloc(300_000, 'q'));
    for (let i = 0; i < 40; i++) harness.run('HSET', 'large', ...Array.from({ length: 2000 }, (_, k) => `${i}-${k}`));
    for (let i = 0; i < 40; i++) harness.run('ZADD', 'zlarge', ...Array.from({ length: 2000 }, (_, k) => (k % 2 === 0 ? i * k : `${i}-${k}`)));
    const file = write(harness.keyspace);
    const { keyspace } = load(file, {}, 60_000);
    expect(keyspace.digest()).toEqual(harness.keyspace.digest());
    expect(keyspace.digestSlow()).toEqual(keyspace.digest());
  });
});

describe('options of a load', () => {
  const encodings = (file: Uint8Array, settings?: Partial<ReplicatedSettings>): string[] => {
    const { keyspace } = load(file, settings === undefined ? {} : { settings: Object.assign(new ReplicatedSettings(), settings) });
    const db = keyspace.database(0);
    return Array.from({ length: db.size }, (_, i) => `${keyspace.keyText(db.at(i))}:${encodingName(keyspace.encoding(db.at(i)))}`);
  };

  test('forms by the thresholds, or as they were', () => {
    const harness = new Harness();
    harness.run('HSET', 'h', 'a', '1', 'b', '2', 'c', '3');
    harness.run('ZADD', 'z', 1, 'a', 2, 'b', 3, 'c');
    harness.run('HSET', 'hl', 'a', 'x'.repeat(100));
    harness.run('HSET', 'hl', 'a', '1');
    harness.run('ZADD', 'zl', 1, 'x'.repeat(100), 2, 'y');
    harness.run('ZREM', 'zl', 'x'.repeat(100));
    const file = write(harness.keyspace);
    expect(encodings(file)).toEqual(['h:listpack', 'z:listpack', 'hl:hashtable', 'zl:skiplist']);
    expect(encodings(file, {})).toEqual(['h:listpack', 'z:listpack', 'hl:listpack', 'zl:listpack']);
    expect(encodings(file, { 'hash-max-listpack-entries': 2, 'zset-max-listpack-entries': 2 })).toEqual([
      'h:hashtable',
      'z:skiplist',
      'hl:listpack',
      'zl:listpack',
    ]);
    expect(encodings(file, { 'hash-max-listpack-value': 0, 'zset-max-listpack-value': 0 })).toEqual([
      'h:listpack',
      'z:listpack',
      'hl:hashtable',
      'zl:skiplist',
    ]);
  });

  test('keys past a time are left out, or kept', () => {
    const harness = new Harness();
    harness.run('SET', 'a', 'x', 'PXAT', 2_000_000);
    harness.run('HSET', 'b', 'f', 'v');
    harness.run('PEXPIREAT', 'b', 3_000_000);
    harness.run('ZADD', 'c', 1, 'm');
    harness.run('PEXPIREAT', 'c', 4_000_000);
    harness.run('SET', 'd', 'y');
    const file = write(harness.keyspace);
    expect(load(file, {}).report).toMatchObject({ keys: 4, expiredKeys: 0 });
    expect(load(file, { nowMs: 3_000_000 }).report).toMatchObject({ keys: 3, expiredKeys: 1 });
    const { keyspace, report } = load(file, { nowMs: 3_000_001 });
    expect(report).toMatchObject({ keys: 2, expiredKeys: 2 });
    expect(contents(keyspace).map((line) => (JSON.parse(line) as string[])[1])).toEqual(['c', 'd']);
  });
});
