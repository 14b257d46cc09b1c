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
