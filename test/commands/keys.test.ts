import { describe, expect, test } from 'vitest';
import { Harness } from './harness.ts';

const error = (text: string): { error: string } => ({ error: text });

describe('generic keys', () => {
  test('DEL, UNLINK, EXISTS, TOUCH, TYPE', () => {
    const node = new Harness();
    node.run('MSET', 'a', '1', 'b', '2', 'c', '3');
    expect(node.run('EXISTS', 'a', 'a', 'none')).toBe(2);
    expect(node.run('TOUCH', 'a', 'none', 'b')).toBe(2);
    expect(node.run('TYPE', 'a')).toBe('string');
    expect(node.run('TYPE', 'none')).toBe('none');
    expect(node.run('DEL', 'a', 'a', 'none')).toBe(1);
    expect(node.context.dirty).toBe(1);
    expect(node.run('UNLINK', 'b', 'c')).toBe(2);
    expect(node.run('DBSIZE')).toBe(0);
  });

  test('a key past its deadline is not deleted by DEL, it is gone', () => {
    const node = new Harness();
    node.run('SET', 'k', 'v', 'PX', 1);
    node.nowMs += 2;
    expect(node.run('DEL', 'k')).toBe(0);
    expect(node.context.dirty).toBe(0);
    expect(node.keyspace.expiredKeys).toBe(1);
    expect(node.run('DBSIZE')).toBe(0);
  });

  test('RENAME takes value and deadline along', () => {
    const node = new Harness();
    node.run('SET', 'a', '1', 'EX', 100);
    node.run('SET', 'b', '2');
    expect(node.run('RENAME', 'a', 'b')).toBe('OK');
    expect(node.run('MGET', 'a', 'b')).toEqual([null, '1']);
    expect(node.run('TTL', 'b')).toBe(100);
    expect(node.run('RENAME', 'a', 'b')).toEqual(error('ERR no such key'));
    expect(node.run('RENAME', 'b', 'b')).toBe('OK');
    expect(node.context.dirty).toBe(0);
    expect(node.run('RENAME', 'none', 'none')).toEqual(error('ERR no such key'));
    node.run('SET', 'c', '3');
    expect(node.run('RENAMENX', 'b', 'c')).toBe(0);
    expect(node.run('RENAMENX', 'b', 'b')).toBe(0);
    expect(node.run('RENAMENX', 'b', 'd')).toBe(1);
    expect(node.run('DBSIZE')).toBe(2);
  });

  test('RENAMENX to a key past its deadline', () => {
    const node = new Harness();
    node.run('SET', 'a', '1');
    node.run('SET', 'b', '2', 'PX', 1);
    node.nowMs += 2;
    expect(node.run('RENAMENX', 'a', 'b')).toBe(1);
    expect(node.run('GET', 'b')).toBe('1');
    expect(node.run('TTL', 'b')).toBe(-1);
  });

  test('COPY', () => {
    const node = new Harness();
    node.run('SET', 'a', '17', 'EX', 100);
    expect(node.run('COPY', 'a', 'b')).toBe(1);
    expect(node.run('COPY', 'a', 'b')).toBe(0);
    expect(node.run('COPY', 'none', 'b', 'REPLACE')).toBe(0);
    expect(node.run('INCR', 'a')).toBe(18);
    expect(node.run('GET', 'b')).toBe('17');
    expect(node.run('TTL', 'b')).toBe(100);
    expect(node.run('COPY', 'a', 'b', 'replace')).toBe(1);
    expect(node.run('GET', 'b')).toBe('18');
    expect(node.run('COPY', 'a', 'a')).toEqual(error('ERR source and destination objects are the same'));
    expect(node.run('COPY', 'a', 'a', 'DB', 3)).toBe(1);
    expect(node.run('COPY', 'a', 'a', 'DB', 16)).toEqual(error('ERR DB index is out of range'));
    expect(node.run('COPY', 'a', 'a', 'DB', 'x')).toEqual(error('ERR value is not an integer or out of range'));
    expect(node.run('COPY', 'a', 'a', 'DB', '3000000000')).toEqual(
      error('ERR value is out of range, value must between -2147483648 and 2147483647'),
    );
    expect(node.run('COPY', 'a', 'a', 'DB')).toEqual(error('ERR syntax error'));
    node.db = 3;
    expect(node.run('GET', 'a')).toBe('18');
    expect(node.run('TTL', 'a')).toBe(100);
  });

  test('MOVE', () => {
    const node = new Harness();
    node.run('SET', 'a', '1', 'EX', 100);
    expect(node.run('MOVE', 'a', 0)).toEqual(error('ERR source and destination objects are the same'));
    expect(node.run('MOVE', 'a', 16)).toEqual(error('ERR DB index is out of range'));
    expect(node.run('MOVE', 'none', 1)).toBe(0);
    expect(node.run('MOVE', 'a', 1)).toBe(1);
    expect(node.run('EXISTS', 'a')).toBe(0);
    node.run('SET', 'a', '2');
    expect(node.run('MOVE', 'a', 1)).toBe(0);
    node.db = 1;
    expect(node.run('GET', 'a')).toBe('1');
    expect(node.run('TTL', 'a')).toBe(100);
  });

  test('databases: SWAPDB, FLUSHDB, FLUSHALL', () => {
    const node = new Harness();
    node.run('MSET', 'a', '1', 'b', '2');
    expect(node.run('SWAPDB', 0, 5)).toBe('OK');
    expect(node.run('DBSIZE')).toBe(0);
    node.db = 5;
    expect(node.run('DBSIZE')).toBe(2);
    expect(node.run('SWAPDB', 'x', 0)).toEqual(error('ERR invalid first DB index'));
    expect(node.run('SWAPDB', 0, '3000000000')).toEqual(error('ERR invalid second DB index'));
    expect(node.run('SWAPDB', 0, 16)).toEqual(error('ERR DB index is out of range'));
    node.db = 1;
    node.run('SET', 'c', '3');
    expect(node.run('FLUSHDB', 'LATER')).toEqual(error('ERR syntax error'));
    expect(node.run('FLUSHDB', 'async')).toBe('OK');
    expect(node.context.dirty).toBe(1);
    expect(node.run('FLUSHALL')).toBe('OK');
    expect(node.context.dirty).toBe(2);
    node.db = 5;
    expect(node.run('DBSIZE')).toBe(0);
  });
});

describe('OBJECT and MEMORY', () => {
  test.each([
    ['12345', 'int'],
    ['-9223372036854775808', 'int'],
    ['9223372036854775808', 'embstr'],
    ['007', 'embstr'],
    ['x'.repeat(44), 'embstr'],
    ['x'.repeat(45), 'raw'],
  ])('OBJECT ENCODING of %s', (value, encoding) => {
    const node = new Harness();
    node.run('SET', 'k', value);
    expect(node.run('OBJECT', 'ENCODING', 'k')).toBe(encoding);
    node.run('COPY', 'k', 'copy');
    expect(node.run('OBJECT', 'ENCODING', 'copy')).toBe(encoding);
  });

  test('what is written in part is raw', () => {
    const node = new Harness();
    node.run('SET', 'k', '12');
    node.run('APPEND', 'k', '3');
    expect(node.run('OBJECT', 'ENCODING', 'k')).toBe('raw');
    node.run('SETRANGE', 'r', 0, '1');
    expect(node.run('OBJECT', 'ENCODING', 'r')).toBe('raw');
    node.run('APPEND', 'new', '3');
    expect(node.run('OBJECT', 'ENCODING', 'new')).toBe('int');
  });

  test('looking does not touch; reading does', () => {
    const node = new Harness();
    node.run('SET', 'k', 'v');
    node.accessClockMs = 100_000;
    for (const words of [['TTL'], ['TYPE'], ['EXISTS'], ['OBJECT', 'ENCODING'], ['PEXPIRETIME']]) node.run(...words, 'k');
    expect(node.run('OBJECT', 'IDLETIME', 'k')).toBe(100);
    node.run('TOUCH', 'k');
    expect(node.run('OBJECT', 'IDLETIME', 'k')).toBe(0);
    expect(node.context.touch).toBe(true);
  });

  test('by policy', () => {
    const node = new Harness();
    node.run('SET', 'k', 'v');
    expect(node.run('OBJECT', 'FREQ', 'k')).toMatchObject({ error: expect.stringContaining('LFU maxmemory policy is not selected') as string });
    node.keyspace.policy = 'lfu';
    expect(node.run('OBJECT', 'FREQ', 'k')).toBeTypeOf('number');
    expect(node.run('OBJECT', 'IDLETIME', 'k')).toMatchObject({ error: expect.stringContaining('An LFU maxmemory policy is selected') as string });
  });

  test('without a key, without an argument, without a meaning', () => {
    const node = new Harness();
    expect(node.run('OBJECT', 'ENCODING', 'none')).toBe(null);
    expect(node.run('OBJECT', 'ENCODING')).toEqual(error("ERR wrong number of arguments for 'object|encoding' command"));
    expect(node.run('OBJECT', 'nope', 'k')).toEqual(error("ERR unknown subcommand 'nope'. Try OBJECT HELP."));
    expect(node.run('OBJECT')).toEqual(error("ERR wrong number of arguments for 'object' command"));
    expect(node.run('MEMORY', 'USAGE', 'none')).toBe(null);
    node.run('SET', 'k', 'x'.repeat(1000));
    expect(node.run('MEMORY', 'USAGE', 'k', 'SAMPLES', 0)).toBeGreaterThan(1000);
    expect(node.run('MEMORY', 'USAGE', 'k', 'SAMPLES', -1)).toEqual(error('ERR syntax error'));
  });

  test('FUNCTION FLUSH', () => {
    const node = new Harness();
    expect(node.run('FUNCTION', 'FLUSH')).toBe('OK');
    expect(node.run('FUNCTION', 'flush', 'async')).toBe('OK');
    expect(node.run('FUNCTION', 'FLUSH', 'x')).toEqual(error('ERR FUNCTION FLUSH only supports SYNC|ASYNC option'));
  });
});
