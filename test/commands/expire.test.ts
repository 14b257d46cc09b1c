import { describe, expect, test } from 'vitest';
import { Harness } from './harness.ts';

const error = (text: string): { error: string } => ({ error: text });

describe('deadlines', () => {
  test('EXPIRE, PEXPIRE, EXPIREAT, PEXPIREAT and how they are told', () => {
    const node = new Harness();
    node.nowMs = 1_000_000;
    node.run('SET', 'k', 'v');
    expect(node.run('TTL', 'k')).toBe(-1);
    expect(node.run('TTL', 'none')).toBe(-2);
    expect(node.run('EXPIRE', 'k', 10)).toBe(1);
    expect(node.run('PTTL', 'k')).toBe(10_000);
    expect(node.run('PEXPIRE', 'k', 1_499)).toBe(1);
    expect(node.run('TTL', 'k')).toBe(1);
    expect(node.run('PEXPIRE', 'k', 1_500)).toBe(1);
    expect(node.run('TTL', 'k')).toBe(2);
    expect(node.run('EXPIREAT', 'k', 2_000)).toBe(1);
    expect(node.run('EXPIRETIME', 'k')).toBe(2_000);
    expect(node.run('PEXPIREAT', 'k', 2_000_600)).toBe(1);
    expect(node.run('EXPIRETIME', 'k')).toBe(2_001);
    expect(node.run('PEXPIRETIME', 'k')).toBe(2_000_600);
    expect(node.run('PERSIST', 'k')).toBe(1);
    expect(node.run('PERSIST', 'k')).toBe(0);
    expect(node.run('PERSIST', 'none')).toBe(0);
    expect(node.run('EXPIRE', 'none', 10)).toBe(0);
  });

  test.each([
    ['EXPIRE', '0'],
    ['EXPIRE', '-1'],
    ['PEXPIRE', '-9223372036854775808'],
    ['EXPIREAT', '1'],
    ['PEXPIREAT', '1000000'],
    ['PEXPIREAT', '-9223372036854770000'],
  ])('%s %s deletes at once', (command, time) => {
    const node = new Harness();
    node.nowMs = 1_000_000;
    node.run('SET', 'k', 'v');
    expect(node.run(command, 'k', time)).toBe(1);
    expect(node.context.dirty).toBe(1);
    expect(node.run('DBSIZE')).toBe(0);
  });

  test.each([
    ['EXPIRE', '9223372036854776', "ERR invalid expire time in 'expire' command"],
    ['EXPIRE', '-9223372036854776', "ERR invalid expire time in 'expire' command"],
    ['EXPIRE', '9223372036854775', "ERR invalid expire time in 'expire' command"],
    ['PEXPIRE', '9223372036854775807', "ERR invalid expire time in 'pexpire' command"],
    ['EXPIREAT', '9223372036854775807', "ERR invalid expire time in 'expireat' command"],
    ['EXPIRE', '9223372036854775808', 'ERR value is not an integer or out of range'],
    ['EXPIRE', '1.5', 'ERR value is not an integer or out of range'],
  ])('%s %s is refused', (command, time, text) => {
    const node = new Harness();
    node.run('SET', 'k', 'v');
    expect(node.run(command, 'k', time)).toEqual(error(text));
    expect(node.run(command, 'none', time)).toEqual(error(text));
    expect(node.run('TTL', 'k')).toBe(-1);
  });

  test('the greatest moment is taken', () => {
    const node = new Harness();
    node.run('SET', 'k', 'v');
    expect(node.run('PEXPIREAT', 'k', '9223372036854775807')).toBe(1);
    expect(node.run('TTL', 'k')).toBeGreaterThan(9_000_000_000_000);
  });

  test('NX, XX, GT, LT', () => {
    const node = new Harness();
    node.run('SET', 'k', 'v');
    expect(node.run('EXPIRE', 'k', 100, 'XX')).toBe(0);
    expect(node.run('EXPIRE', 'k', 100, 'GT')).toBe(0);
    expect(node.run('EXPIRE', 'k', 100, 'nx')).toBe(1);
    expect(node.run('EXPIRE', 'k', 200, 'NX')).toBe(0);
    expect(node.run('EXPIRE', 'k', 100, 'GT')).toBe(0);
    expect(node.run('EXPIRE', 'k', 200, 'GT', 'XX')).toBe(1);
    expect(node.run('EXPIRE', 'k', 300, 'LT')).toBe(0);
    expect(node.run('EXPIRE', 'k', 100, 'LT', 'XX')).toBe(1);
    expect(node.run('TTL', 'k')).toBe(100);
    node.run('PERSIST', 'k');
    expect(node.run('EXPIRE', 'k', 50, 'LT')).toBe(1);
    expect(node.run('EXPIRE', 'k', 1, 'NX', 'GT')).toEqual(
      error('ERR NX and XX, GT or LT options at the same time are not compatible'),
    );
    expect(node.run('EXPIRE', 'k', 1, 'GT', 'LT')).toEqual(
      error('ERR GT and LT options at the same time are not compatible'),
    );
    expect(node.run('EXPIRE', 'k', 'x', 'BAD')).toEqual(error('ERR Unsupported option BAD'));
  });

  test('a read that meets a deadline tells of it and changes nothing itself', () => {
    const node = new Harness();
    node.run('SET', 'k', 'v', 'PX', 1);
    node.nowMs += 2;
    const { context } = node;
    const met: string[] = [];
    context.mode = 'read';
    context.nowMs = node.nowMs;
    context.db = node.keyspace.database(0);
    context.onExpired = (_database, key) => met.push(node.keyspace.keyText(key));
    const bytes = Buffer.from('getk');
    context.args.reset(bytes);
    context.args.push(0, 3);
    context.args.push(3, 4);
    for (const name of ['get', 'ttl', 'exists', 'type', 'touch', 'mget']) {
      context.expiredSeen = false;
      node.table.lookupName(name)!.handler(context);
      expect(context.expiredSeen, name).toBe(true);
    }
    expect(met).toEqual(['k', 'k', 'k', 'k', 'k', 'k']);
    expect(context.db.size).toBe(1);
  });
});
