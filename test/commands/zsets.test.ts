// Sorted sets beyond what the random comparison with redis-server sees (zset-differential.test.ts): scans, random picks, packed bytes,
// large sets that are copied, moved, flushed and freed in slices.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { MEMBER_BYTES_MAX } from '../../src/commands/zset-values.ts';
import { PACKED_BYTES_MAX } from '../../src/keyspace/value-kinds.ts';
import { Harness } from './harness.ts';
import { Oracle, oracleMissing } from './oracle.ts';
import type { ReplyValue } from './recorded-reply.ts';

const list = (value: ReplyValue | undefined): ReplyValue[] => {
  if (!Array.isArray(value)) throw new Error(`not an array: ${JSON.stringify(value)}`);
  return value;
};

const text = (value: ReplyValue | undefined): string => (typeof value === 'string' ? value : JSON.stringify(value));

function filled(count: number, node = new Harness()): Harness {
  for (let from = 0; from < count; from += 500) {
    const words: (string | number)[] = [];
    for (let i = from; i < Math.min(count, from + 500); i++) words.push(i, `m${i}`);
    node.run('zadd', 'z', ...words);
  }
  return node;
}

function expectDigest(node: Harness): void {
  expect({ ...node.keyspace.digest() }).toEqual({ ...node.keyspace.digestSlow() });
}

function scanAll(node: Harness, between: (step: number) => void = () => undefined): Map<string, string> {
  const seen = new Map<string, string>();
  let cursor = '0';
  let steps = 0;
  do {
    const [next, items] = list(node.run('zscan', 'z', cursor, 'count', 20));
    const flat = list(items);
    for (let i = 0; i < flat.length; i += 2) seen.set(text(flat[i]), text(flat[i + 1]));
    cursor = text(next);
    between(steps++);
    if (steps > 10_000) throw new Error('a scan without end');
  } while (cursor !== '0');
  return seen;
}

describe('ZSCAN', () => {
  test('visits every member of either form with its score', () => {
    for (const count of [5, 128, 129, 5000]) {
      const seen = scanAll(filled(count));
      expect(seen.size).toBe(count);
      for (let i = 0; i < count; i++) expect(seen.get(`m${i}`)).toBe(String(i));
    }
  });

  test('visits whoever is there all the while, whatever else is added and removed', () => {
    const node = filled(3000);
    const random = new Prng(7);
    const seen = scanAll(node, (step) => {
      for (let k = 0; k < 30; k++) {
        if (step % 40 < 20) node.run('zadd', 'z', 5, `x${random.below(20_000)}`);
        else node.run('zrem', 'z', `x${random.below(20_000)}`);
      }
      if (step === 50) node.run('zremrangebyrank', 'z', -500, -1);
    });
    for (let i = 0; i < 2000; i++) expect(seen.has(`m${i}`), `m${i}`).toBe(true);
  });

  test('matches, and counts as asked', () => {
    const node = filled(1000);
    const [, items] = list(node.run('zscan', 'z', 0, 'match', 'm99?', 'count', 100_000));
    expect(list(items).filter((_, i) => i % 2 === 0).sort()).toEqual(Array.from({ length: 10 }, (_, i) => `m99${i}`));
    expect(node.run('zscan', 'z', 0, 'count', 0)).toEqual({ error: 'ERR syntax error' });
    expect(node.run('zscan', 'z', 0, 'type', 'x')).toEqual({ error: 'ERR syntax error' });
  });
});

describe('ZRANDMEMBER', () => {
  test('picks members, different ones for a positive count', () => {
    for (const count of [10, 1000]) {
      const node = filled(count);
      expect(text(node.run('zrandmember', 'z'))).toMatch(/^m\d+$/);
      for (const wanted of [1, 7, count - 1, count, count * 2]) {
        const picks = list(node.run('zrandmember', 'z', wanted));
        expect(new Set(picks).size).toBe(Math.min(wanted, count));
        expect(picks).toHaveLength(Math.min(wanted, count));
      }
      expect(list(node.run('zrandmember', 'z', -50))).toHaveLength(50);
      const pairs = list(node.run('zrandmember', 'z', 5, 'withscores'));
      for (let i = 0; i < 10; i += 2) expect(`m${text(pairs[i + 1])}`).toBe(pairs[i]);
    }
    expect(list(filled(10, new Harness({ protocol: 3 })).run('zrandmember', 'z', 3, 'withscores')).map((pair) => list(pair).length)).toEqual([2, 2, 2]);
  });

  test('refuses to pick so often that the node would be held up', () => {
    const node = filled(3);
    expect(node.run('zrandmember', 'z', '-10000001')).toEqual({ error: 'ERR value is out of range' });
    expect(node.run('zrandmember', 'none', '-10000001')).toEqual([]);
  });

  test('picks all about as often', () => {
    const node = filled(200);
    const hits = new Map<ReplyValue, number>();
    for (let n = 0; n < 200; n++) for (const pick of list(node.run('zrandmember', 'z', 20))) hits.set(pick, (hits.get(pick) ?? 0) + 1);
    expect(hits.size).toBe(200);
    expect(Math.min(...hits.values())).toBeGreaterThan(2);
    expect(Math.max(...hits.values())).toBeLessThan(60);
  });
});

describe('forms', () => {
  test('a set becomes a tree by number and by length, as settings say, and stays one', () => {
    const node = filled(128);
    expect(node.run('object', 'encoding', 'z')).toBe('listpack');
    node.run('zadd', 'z', 1, 'one more');
    expect(node.run('object', 'encoding', 'z')).toBe('skiplist');
    node.run('zrem', 'z', 'one more', 'm1', 'm2');
    expect(node.run('object', 'encoding', 'z')).toBe('skiplist');
    node.run('zadd', 'y', 1, 'a'.repeat(64));
    expect(node.run('object', 'encoding', 'y')).toBe('listpack');
    node.run('zadd', 'y', 1, 'a'.repeat(65));
    expect(node.run('object', 'encoding', 'y')).toBe('skiplist');
    node.settings['zset-max-listpack-entries'] = 0;
    node.run('zadd', 'x', 1, 'a');
    expect(node.run('object', 'encoding', 'x')).toBe('skiplist');
    expectDigest(node);
  });

  test('a packed set that no longer takes its scores becomes a tree, whatever the settings say', () => {
    const node = new Harness();
    node.settings['zset-max-listpack-value'] = 2 ** 30;
    const long = Buffer.alloc(PACKED_BYTES_MAX - 400, 'm');
    const others = Array.from({ length: 16 }, (_, i) => `s${i}`);
    node.run('zadd', 'z', 1, long, ...others.flatMap((member) => [1, member]));
    expect(node.run('object', 'encoding', 'z')).toBe('listpack');
    for (const member of others) expect(node.run('zadd', 'z', 'ch', '-1.2345678901234567e-300', member)).toBe(1);
    expect(node.run('object', 'encoding', 'z')).toBe('skiplist');
    expect([node.run('zcard', 'z'), node.run('zscore', 'z', long), node.run('zcount', 'z', '(-1', '(0')]).toEqual([17, '1', 16]);
    expectDigest(node);
  });

  test('a member that a block does not take is refused', () => {
    const node = new Harness();
    const long = Buffer.alloc(MEMBER_BYTES_MAX + 1, 'm');
    const refused = { error: 'ERR member of a sorted set exceeds 31 MiB' };
    expect([node.run('zadd', 'z', 1, long), node.run('zadd', 'z', 'incr', 1, long), node.run('zincrby', 'z', 1, long)]).toEqual([refused, refused, refused]);
    expect(node.run('zadd', 'z', 1, long.subarray(1))).toBe(1);
    expect([node.run('zscore', 'z', long), node.run('zrem', 'z', long), node.run('zrank', 'z', long.subarray(1))]).toEqual([null, 0, 0]);
  });

  test('the same commands make the same replies, digest and order on two nodes', () => {
    const nodes = [1, 2].map(() => new Harness({ seed: 9 }));
    const replies = nodes.map((node) => {
      const random = new Prng(11);
      let text = '';
      for (let n = 0; n < 5000; n++) {
        const member = `m${random.below(400)}`;
        const score = random.below(50);
        text += random.chance(0.7)
          ? node.wire('zadd', 'z', score, member)
          : random.chance(0.5)
            ? node.wire('zrem', 'z', member)
            : node.wire('zrandmember', 'z', 3);
        if (n % 100 === 0) text += node.wire('zscan', 'z', 0, 'count', 50);
      }
      return text;
    });
    expect(replies[0]).toBe(replies[1]);
    expect({ ...nodes[0]!.keyspace.digest() }).toEqual({ ...nodes[1]!.keyspace.digest() });
  });
});

describe('large sets', () => {
  test('COPY, EXPIRE, RENAME and PERSIST keep them whole', () => {
    const node = filled(3000);
    node.run('copy', 'z', 'copy');
    node.run('expire', 'z', 1000);
    node.run('rename', 'z', 'other');
    node.run('persist', 'other');
    node.run('zadd', 'other', 5.5, 'new');
    node.run('zrem', 'copy', 'm7');
    expect(node.run('zcard', 'other')).toBe(3001);
    expect(node.run('zcard', 'copy')).toBe(2999);
    expect(node.run('zrank', 'other', 'm100')).toBe(101);
    expect(node.run('zrank', 'copy', 'm100')).toBe(99);
    expect(node.run('zrange', 'other', 5, 7)).toEqual(['m5', 'new', 'm6']);
    expectDigest(node);
  });

  test('MEMORY USAGE counts members, nodes and pages', () => {
    const node = filled(5000);
    const usage = Number(node.run('memory', 'usage', 'z'));
    expect(usage).toBeGreaterThan(5000 * 30);
    expect(usage).toBeLessThan(5000 * 90);
    const key = node.keyspace.database(0).find(Buffer.from('z'), 0, 1);
    expect(node.keyspace.memoryUsage(key)).toBeLessThanOrEqual(node.keyspace.usedBytes);
  });

  test('DEL gives their memory back in slices', () => {
    const node = filled(20_000);
    const before = node.keyspace.usedBytes;
    node.run('set', 'k', 'v');
    expect(node.run('del', 'z')).toBe(1);
    expect(node.run('exists', 'z')).toBe(0);
    expect(node.keyspace.usedBytes).toBeGreaterThan(before * 0.9);
    let slices = 0;
    while (node.keyspace.rehashStep(500)) slices++;
    expect(slices).toBeGreaterThan(30);
    node.run('del', 'k');
    while (node.keyspace.rehashStep(500));
    expect(node.keyspace.usedBytes).toBeLessThan(200);
    expectDigest(node);
  });

  test('popped and removed to the last member they leave nothing', () => {
    const node = filled(5000);
    node.run('zpopmin', 'z', 1000);
    node.run('zpopmax', 'z', 1000);
    node.run('zremrangebyscore', 'z', '(1999', 2500);
    expect(node.run('zrange', 'z', 0, 0)).toEqual(['m1000']);
    expect(node.run('zcard', 'z')).toBe(2499);
    expectDigest(node);
    node.run('zremrangebyrank', 'z', 0, -1);
    expect(node.run('exists', 'z')).toBe(0);
    node.run('flushall');
    while (node.keyspace.rehashStep(500));
    expect(node.keyspace.usedBytes).toBe(0);
  });

  test('nodes move in defragmentation, and all stays as it was', () => {
    const node = new Harness();
    const random = new Prng(3);
    const filler = 'x'.repeat(3000);
    for (let i = 0; i < 60_000; i++) {
      node.run('zadd', 'z', random.below(1000), `member:${i}`);
      if (i % 2 === 0) node.run('set', `k${i}`, filler);
    }
    for (let i = 0; i < 60_000; i += 2) node.run('del', `k${i}`);
    const before = node.wire('zrange', 'z', 0, -1, 'withscores');
    const reserved = node.keyspace.reservedBytes;
    let steps = 0;
    while (node.keyspace.defragStep(1 << 20)) steps++;
    expect(steps).toBeGreaterThan(0);
    // What was kept is 60,000 members of some 70 bytes: the sparse segments went.
    expect(node.keyspace.reservedBytes).toBeLessThan(reserved * 0.7);
    expect(node.wire('zrange', 'z', 0, -1, 'withscores')).toBe(before);
    expect(scanAll(node).size).toBe(60_000);
    expectDigest(node);
    for (let i = 0; i < 60_000; i += 3) node.run('zadd', 'z', random.below(1000), `member:${i}`);
    expectDigest(node);
    expect(node.run('zcard', 'z')).toBe(60_000);
  });
});

describe('replies', () => {
  test('members with scores are flat in RESP2, pairs in RESP3; scores are doubles there', () => {
    const two = filled(2);
    const three = filled(2, new Harness({ protocol: 3 }));
    expect(two.wire('zrange', 'z', 0, -1, 'withscores')).toBe('*4\r\n$2\r\nm0\r\n$1\r\n0\r\n$2\r\nm1\r\n$1\r\n1\r\n');
    expect(three.wire('zrange', 'z', 0, -1, 'withscores')).toBe('*2\r\n*2\r\n$2\r\nm0\r\n,0\r\n*2\r\n$2\r\nm1\r\n,1\r\n');
    expect(three.wire('zpopmin', 'z')).toBe('*2\r\n$2\r\nm0\r\n,0\r\n');
    expect(three.wire('zpopmin', 'z', 1)).toBe('*1\r\n*2\r\n$2\r\nm1\r\n,1\r\n');
    expect(three.wire('zmpop', 1, 'z', 'min')).toBe('_\r\n');
  });

  test('infinities that cancel out are refused by ZINCRBY and are 0 in a union', () => {
    const node = new Harness();
    node.run('zadd', 'a', 'inf', 'm');
    node.run('zadd', 'b', '-inf', 'm');
    expect(node.run('zincrby', 'a', '-inf', 'm')).toEqual({ error: 'ERR resulting score is not a number (NaN)' });
    expect(node.run('zadd', 'a', 'incr', '-inf', 'm')).toEqual({ error: 'ERR resulting score is not a number (NaN)' });
    expect(node.run('zunion', 2, 'a', 'b', 'withscores')).toEqual(['m', '0']);
    expectDigest(node);
  });
});

describe.skipIf(oracleMissing !== undefined)('packed bytes', () => {
  let redis: Oracle;
  beforeAll(async () => {
    redis = await Oracle.start('--rdbcompression', 'no');
  });
  afterAll(() => redis.stop());

  test('are those that redis-server dumps', async () => {
    const seed = Math.floor(Math.random() * 2 ** 32);
    const random = new Prng(seed);
    for (let round = 0; round < 40; round++) {
      const node = new Harness();
      await redis.one('del', 'z');
      for (let n = random.between(1, 200); n > 0; n--) {
        const score = random.pick([String(random.below(300) - 100), String(random.unit()), String(2 ** random.below(70)), 'inf', '-inf', '-0', '1e300', '70000.5']);
        const member = random.pick([`m${random.below(90)}`, String(random.below(100_000)), 'y'.repeat(random.below(64))]);
        const command = random.chance(0.8) ? ['zadd', 'z', score, member] : ['zrem', 'z', member];
        node.run(...command);
        await redis.one(...command);
      }
      const key = node.keyspace.database(0).find(Buffer.from('z'), 0, 1);
      if (key === 0 || node.run('object', 'encoding', 'z') !== 'listpack') continue;
      const { bytes, start, end } = node.keyspace.stringSpan(key);
      const ours = Buffer.from(bytes.subarray(start, end)).toString('latin1');
      const dump = await redis.one('dump', 'z');
      expect(dump.includes(ours), `seed ${seed}, round ${round}`).toBe(true);
    }
  });
});
