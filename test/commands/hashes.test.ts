import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { FIELD_AND_VALUE_BYTES_MAX } from '../../src/keyspace/field-table.ts';
import { Harness } from './harness.ts';
import type { ReplyValue } from './recorded-reply.ts';

const fresh = Math.floor(Math.random() * 2 ** 32);

function list(value: ReplyValue): ReplyValue[] {
  if (!Array.isArray(value)) throw new Error(`not an array: ${JSON.stringify(value)}`);
  return value;
}

function texts(value: ReplyValue | undefined): string[] {
  return list(value ?? null).map((text) => (typeof text === 'string' ? text : expect.fail(`not a text: ${JSON.stringify(text)}`)));
}

/** Runs to the end of an HSCAN; the pairs met. */
function scan(node: Harness, key: string, ...options: (string | number)[]): [string, string][] {
  const pairs: [string, string][] = [];
  let cursor = '0';
  do {
    const [next, flat] = list(node.run('HSCAN', key, cursor, ...options));
    const all = texts(flat);
    for (let i = 0; i < all.length; i += 2) pairs.push([all[i]!, all[i + 1]!]);
    cursor = next as string;
  } while (cursor !== '0');
  return pairs;
}

describe('hashes', () => {
  test.each([1, 2, fresh])('agree with a map, packed and large, and leave no memory (seed %i)', (seed) => {
    const random = new Prng(seed);
    const node = new Harness();
    const models = new Map<string, Map<string, string>>();
    const text = (): string => (random.chance(0.02) ? 'L'.repeat(65 + random.below(3000)) : random.chance(0.4) ? String(random.below(5000)) : `f${random.below(400)}`);
    for (let i = 0; i < 12_000; i++) {
      const key = `h${random.below(5)}`;
      const model = models.get(key) ?? new Map<string, string>();
      const kind = random.below(10);
      if (kind < 5) {
        const pairs = Array.from({ length: random.chance(0.02) ? 300 : 1 + random.below(3) }, () => [text(), text()] as const);
        const added = new Set(pairs.map(([field]) => field).filter((field) => !model.has(field))).size;
        for (const [field, value] of pairs) model.set(field, value);
        models.set(key, model);
        expect(node.run('HSET', key, ...pairs.flat()), `seed ${seed}`).toBe(added);
      } else if (kind < 8) {
        const fields = Array.from({ length: 1 + random.below(5) }, () => (model.size > 0 && random.chance(0.7) ? random.pick([...model.keys()].slice(0, 50)) : text()));
        const deleted = new Set(fields.filter((field) => model.has(field))).size;
        for (const field of fields) model.delete(field);
        if (model.size === 0) models.delete(key);
        expect(node.run('HDEL', key, ...fields), `seed ${seed}`).toBe(deleted);
      } else if (kind === 8 && random.chance(0.02)) {
        node.run('DEL', key);
        models.delete(key);
      } else if (random.chance(0.1)) {
        const to = `h${random.below(5)}`;
        if (to !== key && models.has(key)) {
          const copies = random.chance(0.5);
          if (copies) node.run('COPY', key, to, 'REPLACE');
          else node.run('RENAME', key, to);
          models.set(to, copies ? new Map(model) : model);
          if (!copies) models.delete(key);
        }
      } else if (random.chance(0.1)) node.run(...(random.chance(0.5) ? ['EXPIRE', key, 1000] : ['PERSIST', key]));
      if (i % 200 !== 0) continue;
      for (const name of ['h0', 'h1', 'h2', 'h3', 'h4']) {
        const fields = models.get(name) ?? new Map<string, string>();
        expect(node.run('HLEN', name), `seed ${seed}, step ${i}`).toBe(fields.size);
        const flat = texts(node.run('HGETALL', name));
        const pairs = flat.flatMap((field, n): [string, string][] => (n % 2 === 0 ? [[field, flat[n + 1]!]] : []));
        expect(new Map(pairs), `seed ${seed}, step ${i}`).toEqual(fields);
        expect(pairs).toHaveLength(fields.size);
        expect(node.run('HKEYS', name)).toEqual(pairs.map(([field]) => field));
        expect(node.run('HVALS', name)).toEqual(pairs.map(([, value]) => value));
        expect(new Map(scan(node, name, 'COUNT', 7))).toEqual(fields);
        for (const [field, value] of pairs.slice(0, 20)) {
          expect(node.run('HGET', name, field)).toBe(value);
          expect(node.run('HSTRLEN', name, field)).toBe(value.length);
        }
      }
      expect(node.keyspace.digest(), `seed ${seed}, step ${i}`).toEqual(node.keyspace.digestSlow());
    }
    node.run('DEL', 'h0', 'h1', 'h2', 'h3', 'h4');
    while (node.keyspace.rehashStep(1000));
    // Tables of keys keep their smallest size.
    expect(node.keyspace.usedBytes, `seed ${seed}`).toBeLessThan(1000);
    node.run('SET', 'x', '1');
    node.run('FLUSHALL');
    expect(node.keyspace.usedBytes).toBe(0);
  }, 30_000);

  test('two nodes that do the same have the same order, whatever they read and move meanwhile', () => {
    const [one, other] = [new Harness(), new Harness()];
    const random = new Prng(fresh);
    const local = new Prng(fresh + 1);
    for (let i = 0; i < 8000; i++) {
      const field = `f${random.below(1500)}`;
      const words = random.chance(0.7) ? ['HSET', 'h', field, String(random.uint32())] : ['HDEL', 'h', field];
      expect(one.wire(...words)).toBe(other.wire(...words));
      if (local.chance(0.05)) other.run('HRANDFIELD', 'h', '-5');
      if (local.chance(0.02)) other.keyspace.defragStep(local.below(20_000));
      if (local.chance(0.02)) other.keyspace.rehashStep(10);
    }
    expect(one.wire('HGETALL', 'h'), `seed ${fresh}`).toBe(other.wire('HGETALL', 'h'));
    expect(one.wire('OBJECT', 'ENCODING', 'h')).toBe('$9\r\nhashtable\r\n');
    expect(one.keyspace.digest()).toEqual(other.keyspace.digest());
  });

  test('the packed form is left at the thresholds, for good', () => {
    const node = new Harness();
    const encoding = (): ReplyValue => node.run('OBJECT', 'ENCODING', 'h');
    node.run('HSET', 'h', 'a', 'x'.repeat(64));
    expect(encoding()).toBe('listpack');
    node.run('HSET', 'h', 'a', 'x'.repeat(65));
    expect(encoding()).toBe('hashtable');
    node.run('HSET', 'h', 'a', '1');
    expect(encoding()).toBe('hashtable');
    node.run('DEL', 'h');
    for (let i = 0; i < 512; i++) node.run('HSET', 'h', i, i);
    expect(encoding()).toBe('listpack');
    node.run('HINCRBY', 'h', 'one more', 5);
    expect(encoding()).toBe('hashtable');
    expect(node.run('HKEYS', 'h')).toEqual([...Array.from({ length: 512 }, (_, i) => String(i)), 'one more']);
    node.run('DEL', 'h');
    node.run('HINCRBY', 'h', 'f'.repeat(65), 5);
    expect(encoding()).toBe('hashtable');
    node.settings['hash-max-listpack-entries'] = 0;
    node.run('HSET', 'g', 'a', '1');
    expect(node.run('OBJECT', 'ENCODING', 'g')).toBe('hashtable');
  });

  test('a packed hash beyond what a block takes becomes a large one, whatever the settings', () => {
    const node = new Harness();
    node.settings['hash-max-listpack-value'] = 2 ** 30;
    const value = Buffer.alloc(6_000_000, 'v');
    for (const field of ['a', 'b']) node.run('HSET', 'h', field, value);
    expect(node.run('OBJECT', 'ENCODING', 'h')).toBe('listpack');
    node.run('HSET', 'h', 'c', value);
    expect(node.run('OBJECT', 'ENCODING', 'h')).toBe('hashtable');
    expect([node.run('HLEN', 'h'), node.run('HSTRLEN', 'h', 'b')]).toEqual([3, value.length]);
    expect(node.wire('HSET', 'h', 'd', Buffer.alloc(33_600_000))).toContain('exceeds maximum');
    expect(node.keyspace.digest()).toEqual(node.keyspace.digestSlow());
  });

  test('a field that a block does not take is refused by whatever would make it', () => {
    const node = new Harness();
    const long = Buffer.alloc(33_600_000, 'f');
    const nearly = long.subarray(0, FIELD_AND_VALUE_BYTES_MAX - 1);
    const refused = { error: 'ERR string exceeds maximum allowed size (proto-max-bulk-len)' };
    expect(node.run('HSETNX', 'h', long, '')).toEqual(refused);
    expect(node.run('HINCRBY', 'h', long, 1)).toEqual(refused);
    expect(node.run('HINCRBYFLOAT', 'h', long, 1)).toEqual(refused);
    expect(node.run('EXISTS', 'h')).toBe(0);
    expect(node.run('HINCRBY', 'h', nearly, 1)).toBe(1);
    expect(node.run('HINCRBY', 'h', nearly, 9)).toEqual(refused);
    expect(node.run('HINCRBYFLOAT', 'h', nearly, '0.5')).toEqual(refused);
    expect(node.run('HGET', 'h', nearly)).toBe('1');
    expect([node.run('HGET', 'h', long), node.run('HDEL', 'h', long), node.run('HDEL', 'h', nearly)]).toEqual([null, 0, 1]);
  });

  test('MEMORY USAGE is what the key takes of the used bytes', () => {
    const node = new Harness();
    const usage = (): number => Number(node.run('MEMORY', 'USAGE', 'h'));
    for (let i = 0; i < 20_000; i++) node.run('HSET', 'h', `field:${i}`, `value:${i}`);
    expect(usage()).toBeGreaterThan(20_000 * 40);
    expect(node.keyspace.usedBytes - usage()).toBeLessThan(1000);
    for (let i = 0; i < 19_000; i++) node.run('HDEL', 'h', `field:${i}`);
    expect(node.keyspace.usedBytes - usage()).toBeLessThan(1000);
    node.run('RENAME', 'h', 'g');
    node.run('COPY', 'g', 'h');
    expect(Math.abs(node.keyspace.usedBytes - 2 * usage())).toBeLessThan(60_000);
    node.run('EXPIRE', 'h', 1000);
    expect(node.keyspace.digest()).toEqual(node.keyspace.digestSlow());
  });

  test('a large hash is freed in slices', () => {
    const node = new Harness();
    const count = 50_000;
    for (let i = 0; i < count; i += 1000) {
      node.run('HSET', 'h', ...Array.from({ length: 2000 }, (_, n) => `${i + (n >> 1)}:${n & 1}`));
    }
    node.run('SET', 'other', 'x');
    const full = node.keyspace.usedBytes;
    node.run('DEL', 'h');
    expect(node.run('EXISTS', 'h')).toBe(0);
    const after = node.keyspace.usedBytes;
    expect(full - after).toBeLessThan(10_000);
    // Idle time frees it, as much as it is told to.
    expect(node.keyspace.rehashStep(1000)).toBe(true);
    expect(after - node.keyspace.usedBytes).toBeGreaterThanOrEqual(1000 * 24);
    expect(after - node.keyspace.usedBytes).toBeLessThan(1000 * 60);
    // So do other keys' changes, the name's own included.
    const before = node.keyspace.usedBytes;
    for (let i = 0; i < 100; i++) node.run('HSET', 'h', 'a', i);
    expect(before - node.keyspace.usedBytes).toBeGreaterThanOrEqual(100 * 24);
    let steps = 0;
    while (node.keyspace.rehashStep(1000)) steps++;
    expect(steps).toBeGreaterThan(40);
    expect(node.run('HGETALL', 'h')).toEqual(['a', '99']);
    expect(node.keyspace.usedBytes).toBeLessThan(1000);
    // Overwritten by a string, it goes the same way.
    node.run('HSET', 'h', ...Array.from({ length: 4000 }, (_, n) => `x${n}`));
    node.run('SET', 'h', 'text');
    expect(node.run('GET', 'h')).toBe('text');
    node.run('HSET', 'g', ...Array.from({ length: 4000 }, (_, n) => `x${n}`));
    node.run('DEL', 'g');
    node.run('FLUSHALL');
    expect(node.keyspace.usedBytes).toBe(0);
  });

  test('defragmentation moves fields and tables, between changes, and changes nothing', () => {
    const [node, twin] = [new Harness(), new Harness()];
    const both = (...words: (string | number)[]): void => expect(node.wire(...words)).toBe(twin.wire(...words));
    for (let i = 0; i < 120_000; i += 500) {
      both('HSET', `h${i % 4}`, ...Array.from({ length: 1000 }, (_, n) => (n & 1 ? 'v'.repeat(700 + (n % 300)) : `f${i + (n >> 1)}`)));
    }
    both('HSET', 'g', ...Array.from({ length: 6000 }, (_, n) => `f${n}`));
    const keep = (i: number): boolean => i % 7 === 0;
    for (let i = 0; i < 120_000; i += 500) {
      both('HDEL', `h${i % 4}`, ...Array.from({ length: 500 }, (_, n) => i + n).filter((n) => !keep(n)).map((n) => `f${n}`));
    }
    const reserved = node.keyspace.reservedBytes;
    const random = new Prng(fresh);
    for (let cycle = 0; cycle < 8; cycle++) {
      while (node.keyspace.defragStep(50_000)) {
        const key = random.pick(['h0', 'h1', 'h2', 'h3', 'g']);
        const field = `f${random.below(120_000 / 7) * 7}`;
        if (random.chance(0.3)) both('HSET', key, field, `x${random.uint32()}`);
        else if (random.chance(0.3)) both('HDEL', key, field);
        else if (random.chance(0.05)) both('EXPIRE', key, 1000);
        else if (random.chance(0.05)) both('PERSIST', key);
      }
    }
    for (const key of ['h0', 'h1', 'h2', 'h3', 'g']) {
      expect(node.wire('HGETALL', key) === twin.wire('HGETALL', key), `seed ${fresh}: ${key}`).toBe(true);
      for (const field of texts(node.run('HRANDFIELD', key, 500))) expect(node.run('HEXISTS', key, field), `seed ${fresh}`).toBe(1);
    }
    expect(node.keyspace.digest()).toEqual(node.keyspace.digestSlow());
    expect(node.keyspace.digest()).toEqual(twin.keyspace.digest());
    expect(node.keyspace.reservedBytes).toBeLessThan(reserved * 0.8);
    node.run('DEL', 'h0', 'h1', 'h2', 'h3', 'g');
    while (node.keyspace.rehashStep(1000));
    expect(node.keyspace.usedBytes).toBeLessThan(1000);
  }, 60_000);

  test('HSCAN returns every field that stays, whatever comes and goes', () => {
    const random = new Prng(fresh);
    for (let round = 0; round < 30; round++) {
      const node = new Harness();
      const staying = Array.from({ length: 600 + random.below(400) }, (_, i) => `s${i}`);
      for (const field of random.shuffle([...staying, ...Array.from({ length: 500 }, (_, i) => `x${i}`)])) node.run('HSET', 'h', field, '1');
      const seen = new Set<string>();
      let cursor = '0';
      do {
        const [next, flat] = list(node.run('HSCAN', 'h', cursor, 'COUNT', 1 + random.below(40)));
        for (const field of texts(flat)) seen.add(field);
        cursor = next as string;
        for (let i = 0; i < 30; i++) node.run(...(random.chance(0.6) ? ['HDEL', 'h', `x${random.below(600)}`] : ['HSETNX', 'h', `x${random.below(600)}`, '2']));
      } while (cursor !== '0');
      expect(staying.filter((field) => !seen.has(field)), `seed ${fresh}, round ${round}`).toEqual([]);
    }
  });

  test.each([
    ['packed', 100],
    ['large', 2000],
  ])('HRANDFIELD of a %s hash', (_name, size) => {
    const node = new Harness({ seed: fresh });
    for (let i = 0; i < size; i++) node.run('HSET', 'h', `f${i}`, `v${i}`);
    expect(node.run('HRANDFIELD', 'h')).toMatch(/^f\d+$/);
    for (const count of [0, 1, 5, size / 4, size / 2, size - 1, size, size + 10]) {
      const picks = list(node.run('HRANDFIELD', 'h', count));
      expect(picks).toHaveLength(Math.min(count, size));
      expect(new Set(picks).size).toBe(picks.length);
      const pairs = texts(node.run('HRANDFIELD', 'h', count, 'WITHVALUES'));
      expect(pairs).toHaveLength(2 * Math.min(count, size));
      for (let i = 0; i < pairs.length; i += 2) expect(pairs[i + 1]).toBe(pairs[i]!.replace('f', 'v'));
    }
    const counts = new Map<string, number>();
    const picks = texts(node.run('HRANDFIELD', 'h', -size * 50));
    for (const field of picks) counts.set(field, (counts.get(field) ?? 0) + 1);
    expect(counts.size).toBe(size);
    expect(Math.max(...counts.values())).toBeLessThan(110);
    expect(Math.min(...counts.values())).toBeGreaterThan(10);
    for (let i = 0; i < 20 * size; i += 5) for (const field of texts(node.run('HRANDFIELD', 'h', 5))) counts.set(field, counts.get(field)! + 1);
    expect(Math.min(...counts.values())).toBeGreaterThan(20);
    expect(node.run('HRANDFIELD', 'h', '-10000001')).toEqual({ error: 'ERR value is out of range' });
    const three = new Harness({ protocol: 3 });
    three.run('HSET', 'h', 'a', '1');
    expect(three.wire('HRANDFIELD', 'h', '-2', 'WITHVALUES')).toBe('*2\r\n*2\r\n$1\r\na\r\n$1\r\n1\r\n*2\r\n$1\r\na\r\n$1\r\n1\r\n');
    expect(three.wire('HGETALL', 'h')).toBe('%1\r\n$1\r\na\r\n$1\r\n1\r\n');
    expect(three.wire('HGETALL', 'none')).toBe('%0\r\n');
  });
});
