// INFO commandstats and errorstats, and EXEC's refusals, on a node in this process.
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CommandStat } from '../../src/server/stats.ts';
import { OneNode, type Connection } from '../commands/one-node.ts';

let node: OneNode;
let client: Connection;

beforeEach(async () => {
  node = await OneNode.start('--maxmemory-policy', 'noeviction');
  client = node.connect();
});
afterEach(() => node.stop());

async function info(section: string): Promise<Map<string, string>> {
  const [text = ''] = await client.wire([['info', section]]);
  return new Map(text.split('\r\n').flatMap((line) => (line.includes(':') ? [[line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)] as const] : [])));
}

const counts = (line: string | undefined): string => (line ?? '').replace(/usec=\d+,usec_per_call=[\d.]+,/, '');

describe('INFO commandstats', () => {
  test('calls, refusals and failures, of writes, reads, session commands and what EXEC runs', async () => {
    await client.wire([
      ['set', 'a', 'x'], ['incr', 'a'], ['incr', 'n'], ['get', 'a'], ['get'], ['incrby', 'n', 'x'], ['client', 'getname'],
      ['multi'], ['set', 'b', 1], ['get', 'b'], ['exec'],
      ['multi'], ['get', 'b'], ['exec'],
    ]);
    const stats = await info('commandstats');
    expect(counts(stats.get('cmdstat_set'))).toBe('calls=2,rejected_calls=0,failed_calls=0');
    expect(counts(stats.get('cmdstat_incr'))).toBe('calls=2,rejected_calls=0,failed_calls=1');
    expect(counts(stats.get('cmdstat_get'))).toBe('calls=2,rejected_calls=1,failed_calls=0');
    expect(counts(stats.get('cmdstat_incrby'))).toBe('calls=0,rejected_calls=1,failed_calls=0');
    expect(counts(stats.get('cmdstat_client|getname'))).toBe('calls=1,rejected_calls=0,failed_calls=0');
    expect(counts(stats.get('cmdstat_exec'))).toBe('calls=2,rejected_calls=0,failed_calls=0');
    expect((await info('errorstats')).get('errorstat_ERR')).toBe('count=3');
    await client.wire([['config', 'resetstat']]);
    expect((await info('commandstats')).has('cmdstat_set')).toBe(false);
    expect((await info('errorstats')).size).toBe(0);
  });

  test('after enough calls one in so many is timed, for as many', () => {
    const stat = new CommandStat();
    let timed = 0;
    for (let i = 0; i < 64 * 11; i++) {
      const times = stat.timesNext;
      if (times) timed++;
      stat.count(times ? 0.001 : -1, false);
    }
    expect(timed).toBe(64 + 10);
    expect(stat.usec).toBeCloseTo(64 * 11, 6);
  });

  test('many pipelined writes are each counted once', async () => {
    await client.wire(Array.from({ length: 10_000 }, (_, i) => ['incrby', 'n', i % 2 === 0 ? 1 : 2]));
    await client.wire([['append', 'n', 'x'], ['incr', 'n']]);
    const stats = await info('commandstats');
    expect(counts(stats.get('cmdstat_incrby'))).toBe('calls=10000,rejected_calls=0,failed_calls=0');
    expect(counts(stats.get('cmdstat_append'))).toBe('calls=1,rejected_calls=0,failed_calls=0');
    expect(counts(stats.get('cmdstat_incr'))).toBe('calls=1,rejected_calls=0,failed_calls=1');
  });
});

describe('EXEC', () => {
  test('is refused where memory is short and a queued command may need more; reads are not', async () => {
    const other = node.connect();
    await other.wire([['set', 'x', 'value'], ['multi'], ['set', 'y', 1], ['get', 'x']]);
    await client.wire([['multi'], ['get', 'x'], ['del', 'nosuch']]);
    const third = node.connect();
    await third.wire([['config', 'set', 'maxmemory', 1]]);
    expect(await other.wire([['exec'], ['get', 'y'], ['exec']])).toEqual([
      "-EXECABORT Transaction discarded because of: OOM command not allowed when used memory > 'maxmemory'.\r\n",
      '$-1\r\n',
      '-ERR EXEC without MULTI\r\n',
    ]);
    expect(await client.wire([['exec']])).toEqual(['*2\r\n$5\r\nvalue\r\n:0\r\n']);
  });

  test('with SELECT in it holds up what is pipelined behind it until the database is known', async () => {
    const replies = await client.wire([
      ['multi'], ['select', 1], ['set', 'a', 'one'], ['exec'], ['set', 'b', 'one'], ['get', 'a'],
      ['multi'], ['select', 2], ['get', 'a'], ['exec'], ['dbsize'], ['set', 'c', 'two'],
      ['select', 1], ['mget', 'a', 'b', 'c'], ['select', 2], ['mget', 'a', 'b', 'c'],
    ]);
    expect(replies[5]).toBe('$3\r\none\r\n');
    expect(replies[10]).toBe(':0\r\n');
    expect(replies[13]).toBe('*3\r\n$3\r\none\r\n$3\r\none\r\n$-1\r\n');
    expect(replies[15]).toBe('*3\r\n$-1\r\n$-1\r\n$3\r\ntwo\r\n');
  });
});
