import { describe, expect, test } from 'vitest';
import { valueDigest } from '../../src/commands/value-digest.ts';
import { Harness } from './harness.ts';

function digestOf(node: Harness, key: string): string {
  const bytes = Buffer.from(key);
  return valueDigest(node.keyspace, node.keyspace.database(0).find(bytes, 0, bytes.length));
}

describe("the digest of a value", () => {
  test('is all zeros without a key', () => {
    expect(digestOf(new Harness(), 'k')).toBe('0'.repeat(40));
  });

  test('does not depend on the key, on the order of changes or on the form', () => {
    const node = new Harness();
    node.run('hset', 'h', 'f', '1', 'g', 'two');
    node.run('zadd', 'z', '1.5', 'm', '-0', 'n');
    node.run('set', 's', '12');
    node.settings['hash-max-listpack-entries'] = 0;
    node.settings['zset-max-listpack-entries'] = 0;
    node.run('hset', 'h2', 'g', 'two', 'f', '1');
    node.run('zadd', 'z2', '0', 'n', '1.5', 'm');
    node.run('setrange', 's2', '0', '12');
    const forms = ['h', 'h2', 'z', 'z2', 's', 's2'].map((key) => node.run('object', 'encoding', key));
    expect(forms).toEqual(['listpack', 'hashtable', 'listpack', 'skiplist', 'int', 'raw']);
    for (const key of ['h', 'z', 's']) expect(digestOf(node, `${key}2`), key).toBe(digestOf(node, key));
  });

  test('depends on type, elements and whether there is a deadline', () => {
    const node = new Harness();
    node.run('set', 'a', '');
    node.run('set', 'b', 'f1');
    node.run('hset', 'c', 'f', '1');
    node.run('hset', 'd', 'f1', '');
    node.run('hset', 'e', '1', 'f');
    node.run('zadd', 'g', '1', 'f');
    node.run('zadd', 'i', '2', 'f');
    node.run('zadd', 'j', '1', 'f', '1', 'g');
    node.run('hset', 'k', 'f', '1');
    node.run('expire', 'k', '100');
    const keys = ['a', 'b', 'c', 'd', 'e', 'g', 'i', 'j', 'k', 'none'];
    expect(new Set(keys.map((key) => digestOf(node, key))).size).toBe(keys.length);
  });
});
