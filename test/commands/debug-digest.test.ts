// DEBUG DIGEST and DIGEST-VALUE through the command. That they are Redis's own is shown in test/snapshot/interop.test.ts.
import { expect, test } from 'vitest';
import type { ServerPort, SessionPort } from '../../src/commands/ports.ts';
import { Harness } from './harness.ts';

function newNode(): Harness {
  const node = new Harness();
  const server = { configGet: () => [['enable-debug-command', 'yes']] } as unknown as ServerPort;
  node.context.attach({} as unknown as SessionPort, server);
  return node;
}

test('DEBUG DIGEST is of the data alone, as redis-server 7.0.15 says it', () => {
  const node = newNode();
  expect(node.run('debug', 'digest')).toBe('0'.repeat(40));
  node.run('set', 'a', '1');
  node.run('hset', 'h', 'f', 'v', 'n', '12');
  node.run('zadd', 'z', '1.5', 'm', '-inf', 'n');
  const digest = node.run('debug', 'digest');
  expect(digest).toBe('a1ba0895b135f8c2429a94105b56b0e9a52225da');
  expect(node.run('debug', 'digest-value', 'a', 'none', 'h')).toEqual(['b4fc66738120fba0b5aa500ab5c2bf89cea1c5da', '0'.repeat(40), '76d7ce7d8cb69c65ddb54b94589fa9396351461b']);
  node.run('pexpire', 'a', '100000');
  expect(node.run('debug', 'digest')).not.toBe(digest);
  node.run('persist', 'a');
  expect(node.run('debug', 'digest')).toBe(digest);
  node.run('del', 'a');
  node.run('set', 'a', '1');
  expect(node.run('debug', 'digest')).toBe(digest);
  expect(node.wire('debug', 'digest', 'x')).toMatch(/^-ERR unknown subcommand/);
});

test('DEBUG DIGEST-VALUE of no key is empty', () => {
  expect(newNode().run('debug', 'digest-value')).toEqual([]);
});

function digestOf(node: Harness, key: string): string {
  const [digest] = node.run('debug', 'digest-value', key) as [string];
  return digest;
}

test('the digest of a value does not depend on the key, on the order of changes or on the form', () => {
  const node = newNode();
  node.run('hset', 'h', 'f', '1', 'g', 'two');
  node.run('zadd', 'z', '1.5', 'm', '0', 'n');
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

test('the digest of a value depends on its type, its elements and whether there is a deadline', () => {
  const node = newNode();
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
