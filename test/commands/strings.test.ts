import { describe, expect, test } from 'vitest';
import { ValueType } from '../../src/keyspace/types.ts';
import { Harness } from './harness.ts';

const error = (text: string): { error: string } => ({ error: text });
const SYNTAX = error('ERR syntax error');
const NOT_INTEGER = error('ERR value is not an integer or out of range');

describe('SET and GET', () => {
  test('bytes come back as they went in', () => {
    const node = new Harness();
    const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
    expect(node.run('SET', bytes, bytes)).toBe('OK');
    expect(node.run('GET', bytes)).toBe(Buffer.from(bytes).toString('latin1'));
    expect(node.run('SET', '', '')).toBe('OK');
    expect(node.run('GET', '')).toBe('');
    expect(node.run('GET', 'none')).toBe(null);
  });

  test('over a value of another type, whether it has the size of the one before or not', () => {
    const node = new Harness();
    const others = [['HSET', 'k', 'field', 'value'], ['ZADD', 'k', '1.5', 'member'], ['HSET', 'k', ...Array.from({ length: 20 }, (_, i) => `f${i}`)]];
    for (const other of others) {
      for (let length = 0; length <= 120; length++) {
        const value = '7'.repeat(length);
        node.run('DEL', 'k');
        node.run(...other);
        expect(node.run('SET', 'k', value)).toBe('OK');
        expect([node.run('TYPE', 'k'), node.run('GET', 'k'), node.run('DBSIZE')]).toEqual(['string', value, 1]);
        expect({ ...node.keyspace.digest() }).toEqual({ ...node.keyspace.digestSlow() });
      }
    }
  });

  test('NX, XX and GET', () => {
    const node = new Harness();
    expect(node.run('SET', 'k', 'a', 'XX')).toBe(null);
    expect(node.run('SET', 'k', 'a', 'NX', 'GET')).toBe(null);
    expect(node.run('GET', 'k')).toBe('a');
    expect(node.run('SET', 'k', 'b', 'NX')).toBe(null);
    expect(node.run('SET', 'k', 'b', 'NX', 'GET')).toBe('a');
    expect(node.run('GET', 'k')).toBe('a');
    expect(node.run('SET', 'k', 'b', 'xx', 'get')).toBe('a');
    expect(node.run('SET', 'k', 'b', 'XX', 'NX')).toEqual(SYNTAX);
  });

  test('deadlines are fixed by the time of the entry', () => {
    const node = new Harness();
    node.nowMs = 5_000;
    node.run('SET', 'k', 'v', 'PX', 100);
    expect(node.run('PEXPIRETIME', 'k')).toBe(5_100);
    node.run('SET', 'k', 'v', 'EX', 2);
    expect(node.run('PEXPIRETIME', 'k')).toBe(7_000);
    node.run('SET', 'k', 'v', 'PXAT', 6_543);
    expect(node.run('PEXPIRETIME', 'k')).toBe(6_543);
    node.run('SET', 'k', 'v', 'EXAT', 9);
    expect(node.run('PEXPIRETIME', 'k')).toBe(9_000);
    node.run('SET', 'k', 'w', 'KEEPTTL');
    expect(node.run('PEXPIRETIME', 'k')).toBe(9_000);
    node.run('SET', 'k', 'w');
    expect(node.run('PEXPIRETIME', 'k')).toBe(-1);
  });

  test('a key lives through its deadline, and not one millisecond more', () => {
    const node = new Harness();
    node.run('SET', 'k', 'v', 'PXAT', 2_000_000);
    node.nowMs = 2_000_000;
    expect(node.run('GET', 'k')).toBe('v');
    node.nowMs++;
    expect(node.run('GET', 'k')).toBe(null);
    expect(node.run('DBSIZE')).toBe(0);
  });

  test('a deadline that is over counts as no key: KEEPTTL, NX, INCR, APPEND', () => {
    const node = new Harness();
    const expire = (): void => {
      node.run('SET', 'k', '5', 'PX', 10);
      node.nowMs += 11;
    };
    expire();
    node.run('SET', 'k', 'v', 'KEEPTTL');
    expect(node.run('TTL', 'k')).toBe(-1);
    expire();
    expect(node.run('SET', 'k', 'v', 'NX')).toBe('OK');
    expire();
    expect(node.run('INCR', 'k')).toBe(1);
    expect(node.run('TTL', 'k')).toBe(-1);
    expire();
    expect(node.run('APPEND', 'k', 'xy')).toBe(2);
    expire();
    expect(node.run('SET', 'k', 'v', 'XX', 'GET')).toBe(null);
    expect(node.run('EXISTS', 'k')).toBe(0);
  });

  test.each([
    [['EX'], SYNTAX],
    [['EX', '1', 'PX', '1'], SYNTAX],
    [['EX', '1', 'KEEPTTL'], SYNTAX],
    [['KEEPTTL', 'EX', '1'], SYNTAX],
    [['PERSIST'], SYNTAX],
    [['EX', 'x'], NOT_INTEGER],
    [['EX', '-x'], NOT_INTEGER],
    [['EX', '0'], error("ERR invalid expire time in 'set' command")],
    [['PX', '-1'], error("ERR invalid expire time in 'set' command")],
    [['EXAT', '-9223372036854775808'], error("ERR invalid expire time in 'set' command")],
    [['EX', '9223372036854776'], error("ERR invalid expire time in 'set' command")],
    [['PX', '9223372036854775807'], error("ERR invalid expire time in 'set' command")],
    [['EX', '9223372036854775'], error("ERR invalid expire time in 'set' command")],
    [['EX', '9223372036854775808'], NOT_INTEGER],
    [['PXAT', '9223372036854775807'], 'OK'],
    [['EX', '1', 'EX', '2'], 'OK'],
  ])('SET k v %j', (options, reply) => {
    expect(new Harness().run('SET', 'k', 'v', ...options)).toEqual(reply);
  });

  test('SETEX and PSETEX say their own names', () => {
    const node = new Harness();
    expect(node.run('SETEX', 'k', 0, 'v')).toEqual(error("ERR invalid expire time in 'setex' command"));
    expect(node.run('PSETEX', 'k', -1, 'v')).toEqual(error("ERR invalid expire time in 'psetex' command"));
    expect(node.run('SETEX', 'k', 10, 'v')).toBe('OK');
    expect(node.run('TTL', 'k')).toBe(10);
  });

  test('GETEX', () => {
    const node = new Harness();
    expect(node.run('GETEX', 'k', 'EX', 'x')).toBe(null);
    node.run('SET', 'k', 'v');
    expect(node.run('GETEX', 'k', 'EX', 'x')).toEqual(NOT_INTEGER);
    expect(node.run('GETEX', 'k', 'EX', 10)).toBe('v');
    expect(node.run('TTL', 'k')).toBe(10);
    expect(node.run('GETEX', 'k')).toBe('v');
    expect(node.run('TTL', 'k')).toBe(10);
    expect(node.run('GETEX', 'k', 'PERSIST', 'EX', 1)).toEqual(SYNTAX);
    expect(node.run('GETEX', 'k', 'PERSIST')).toBe('v');
    expect(node.context.dirty).toBe(1);
    expect(node.run('GETEX', 'k', 'PERSIST')).toBe('v');
    expect(node.context.dirty).toBe(0);
    expect(node.run('GETEX', 'k', 'PXAT', node.nowMs)).toBe('v');
    expect(node.run('EXISTS', 'k')).toBe(0);
  });

  test('GETSET, GETDEL, SETNX, MSET, MSETNX, MGET', () => {
    const node = new Harness();
    expect(node.run('GETSET', 'k', '1')).toBe(null);
    expect(node.run('GETSET', 'k', '2')).toBe('1');
    expect(node.run('GETDEL', 'k')).toBe('2');
    expect(node.run('GETDEL', 'k')).toBe(null);
    expect(node.run('SETNX', 'k', '1')).toBe(1);
    expect(node.run('SETNX', 'k', '2')).toBe(0);
    expect(node.run('MSET', 'a', '1', 'b')).toEqual(error("ERR wrong number of arguments for 'mset' command"));
    expect(node.run('MSET', 'a', '1', 'b', '2', 'a', '3')).toBe('OK');
    expect(node.run('MSETNX', 'c', '1', 'a', '2')).toBe(0);
    expect(node.run('MSETNX', 'c', '1', 'd', '2')).toBe(1);
    expect(node.run('MGET', 'a', 'b', 'none', 'c', 'd')).toEqual(['3', '2', null, '1', '2']);
  });
});

describe('parts of strings', () => {
  test('APPEND and SETRANGE', () => {
    const node = new Harness();
    expect(node.run('APPEND', 'k', 'ab')).toBe(2);
    expect(node.run('APPEND', 'k', 'cd')).toBe(4);
    expect(node.run('SETRANGE', 'k', 6, 'x')).toBe(7);
    expect(node.run('GET', 'k')).toBe('abcd\0\0x');
    expect(node.run('SETRANGE', 'k', 1, '')).toBe(7);
    expect(node.run('SETRANGE', 'none', 5, '')).toBe(0);
    expect(node.run('EXISTS', 'none')).toBe(0);
    expect(node.run('SETRANGE', 'k', -1, 'x')).toEqual(error('ERR offset is out of range'));
    expect(node.run('SETRANGE', 'k', '9223372036854775807', 'x')).toEqual(
      error('ERR string exceeds maximum allowed size (proto-max-bulk-len)'),
    );
    expect(node.run('SETRANGE', 'new', 2, 'x')).toBe(3);
    expect(node.run('GET', 'new')).toBe('\0\0x');
  });

  test('proto-max-bulk-len is the longest string', () => {
    const node = new Harness();
    node.settings['proto-max-bulk-len'] = 10;
    const tooLong = error('ERR string exceeds maximum allowed size (proto-max-bulk-len)');
    node.run('SET', 'k', '123456789');
    expect(node.run('APPEND', 'k', 'a')).toBe(10);
    expect(node.run('APPEND', 'k', 'a')).toEqual(tooLong);
    expect(node.run('SETRANGE', 'k', 9, 'b')).toBe(10);
    expect(node.run('SETRANGE', 'k', 10, 'b')).toEqual(tooLong);
    expect(node.run('GET', 'k')).toBe('123456789b');
  });

  test.each([
    [0, 3, 'This'],
    [0, -1, 'This is a string'],
    [-6, -1, 'string'],
    [10, 100, 'string'],
    [5, 4, ''],
    [-1, -2, ''],
    [100, 200, ''],
    [-100, -50, 'T'],
    [-50, -100, ''],
    [0, '9223372036854775807', 'This is a string'],
    ['-9223372036854775808', 3, 'This'],
  ])('GETRANGE %s %s', (start, end, part) => {
    const node = new Harness();
    node.run('SET', 'k', 'This is a string');
    expect(node.run('GETRANGE', 'k', start, end)).toBe(part);
    expect(node.run('SUBSTR', 'k', start, end)).toBe(part);
  });

  test('GETRANGE and STRLEN of a number and of nothing', () => {
    const node = new Harness();
    node.run('SET', 'n', '-12345');
    expect(node.run('GETRANGE', 'n', 0, 2)).toBe('-12');
    expect(node.run('STRLEN', 'n')).toBe(6);
    expect(node.run('GETRANGE', 'none', 0, -1)).toBe('');
    expect(node.run('STRLEN', 'none')).toBe(0);
    node.run('SET', 'empty', '');
    expect(node.run('GETRANGE', 'empty', 0, -1)).toBe('');
  });
});

describe('numbers', () => {
  const overflow = error('ERR increment or decrement would overflow');

  test('to both ends of 64 bits', () => {
    const node = new Harness();
    node.run('SET', 'k', '9223372036854775806');
    expect(node.run('INCR', 'k')).toBe(9223372036854775807n);
    expect(node.run('INCR', 'k')).toEqual(overflow);
    expect(node.run('INCRBY', 'k', '-9223372036854775808')).toBe(-1);
    expect(node.run('DECRBY', 'k', '9223372036854775807')).toBe(-9223372036854775808n);
    expect(node.run('DECR', 'k')).toEqual(overflow);
    expect(node.run('DECRBY', 'k', '-9223372036854775808')).toEqual(error('ERR decrement would overflow'));
    expect(node.run('INCRBY', 'k', '9223372036854775808')).toEqual(NOT_INTEGER);
    node.run('SET', 'k', '9007199254740991');
    expect(node.run('INCR', 'k')).toBe(9007199254740992n);
    expect(node.run('INCR', 'k')).toBe(9007199254740993n);
    expect(node.run('INCRBY', 'k', -2)).toBe(9007199254740991);
    expect(node.run('GET', 'k')).toBe('9007199254740991');
    expect(node.run('DECRBY', 'none', 0)).toBe(0);
    expect(node.run('GET', 'none')).toBe('0');
  });

  test('keeps the deadline; refuses what is no number', () => {
    const node = new Harness();
    node.run('SET', 'k', '5', 'EX', 100);
    expect(node.run('INCR', 'k')).toBe(6);
    expect(node.run('INCRBYFLOAT', 'k', '0.5')).toBe('6.5');
    expect(node.run('TTL', 'k')).toBe(100);
    expect(node.run('INCR', 'k')).toEqual(NOT_INTEGER);
    for (const text of ['', ' 1', '1 ', '+1', '01', '-0', '1e2']) {
      node.run('SET', 'k', text);
      expect(node.run('INCR', 'k')).toEqual(NOT_INTEGER);
      expect(node.run('INCRBY', 'none', text)).toEqual(NOT_INTEGER);
    }
    node.run('SET', 'k', 'x');
    expect(node.run('INCRBYFLOAT', 'k', 1)).toEqual(error('ERR value is not a valid float'));
    expect(node.run('INCRBYFLOAT', 'none', 'inf')).toEqual(error('ERR increment would produce NaN or Infinity'));
    expect(node.run('EXISTS', 'none')).toBe(0);
  });

  test('a number made by APPEND can be incremented', () => {
    const node = new Harness();
    node.run('APPEND', 'k', '1');
    node.run('APPEND', 'k', '2');
    expect(node.run('INCR', 'k')).toBe(13);
    expect(node.run('OBJECT', 'ENCODING', 'k')).toBe('int');
  });
});

describe('LCS', () => {
  const node = new Harness();
  node.run('MSET', 'a', 'ohmytext', 'b', 'mynewtext');

  test('the bytes, the length, the places', () => {
    expect(node.run('LCS', 'a', 'b')).toBe('mytext');
    expect(node.run('LCS', 'a', 'b', 'LEN')).toBe(6);
    expect(node.run('LCS', 'a', 'b', 'IDX')).toEqual(['matches', [[[4, 7], [5, 8]], [[2, 3], [0, 1]]], 'len', 6]);
    expect(node.run('LCS', 'a', 'b', 'IDX', 'MINMATCHLEN', 4, 'WITHMATCHLEN')).toEqual(['matches', [[[4, 7], [5, 8], 4]], 'len', 6]);
    expect(node.run('LCS', 'a', 'none')).toBe('');
    expect(node.run('LCS', 'a', 'a')).toBe('ohmytext');
  });

  test('faults', () => {
    expect(node.run('LCS', 'a', 'b', 'LEN', 'IDX')).toEqual(
      error('ERR If you want both the length and indexes, please just use IDX.'),
    );
    expect(node.run('LCS', 'a', 'b', 'MINMATCHLEN')).toEqual(SYNTAX);
    const small = new Harness();
    small.settings['proto-max-bulk-len'] = 100;
    small.run('MSET', 'a', 'ohmytext', 'b', 'mynewtext');
    expect(small.run('LCS', 'a', 'b')).toEqual(
      error('ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len'),
    );
  });

  test('is a map in RESP3', () => {
    const three = new Harness({ protocol: 3 });
    expect(three.wire('LCS', 'x', 'y', 'IDX')).toBe('%2\r\n$7\r\nmatches\r\n*0\r\n$3\r\nlen\r\n:0\r\n');
    expect(three.wire('GET', 'x')).toBe('_\r\n');
  });
});

describe('a key that holds something else than a string', () => {
  /** Until there are other types: a keyspace that says every value is a list. */
  function nodeWithList(): Harness {
    const node = new Harness();
    node.run('SET', 'k', '1');
    node.keyspace.type = () => ValueType.list;
    return node;
  }

  test.each([
    ['GET'],
    ['GETSET', 'v'],
    ['GETDEL'],
    ['GETEX'],
    ['GETEX', 'EX', '10'],
    ['SET', 'v', 'GET'],
    ['SET', 'v', 'NX', 'GET'],
    ['APPEND', 'v'],
    ['STRLEN'],
    ['SETRANGE', '0', 'v'],
    ['SETRANGE', '0', ''],
    ['GETRANGE', '0', '-1'],
    ['INCR'],
    ['INCRBY', '2'],
    ['DECRBY', '9223372036854775807'],
    ['INCRBYFLOAT', 'x'],
  ])('%s %s', (command, ...rest) => {
    const node = nodeWithList();
    const before = { ...node.keyspace.digest() };
    expect(node.run(command, 'k', ...rest)).toEqual(
      error('WRONGTYPE Operation against a key holding the wrong kind of value'),
    );
    expect(node.keyspace.digest()).toEqual(before);
    expect(node.context.dirty).toBe(0);
  });

  test('MGET, LCS, TYPE, SET', () => {
    const node = nodeWithList();
    expect(node.run('MGET', 'k')).toEqual([null]);
    expect(node.run('LCS', 'k', 'k')).toEqual(error('ERR The specified keys must contain string values'));
    expect(node.run('TYPE', 'k')).toBe('list');
    expect(node.run('SCAN', 0, 'TYPE', 'LIST')).toEqual(['0', ['k']]);
    expect(node.run('SET', 'k', 'v')).toBe('OK');
  });
});
