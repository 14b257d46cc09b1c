import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Oracle, oracleMissing } from './oracle.ts';
import { SessionHarness } from './session-harness.ts';

describe('connection commands', () => {
  test('PING and ECHO answer what they are given, byte for byte', () => {
    const node = new SessionHarness();
    expect(node.wire('PING')).toBe('+PONG\r\n');
    expect(node.wire('ping', 'a\r\n\xff')).toBe('$4\r\na\r\n\xff\r\n');
    expect(node.fail('ping', 'a', 'b')).toBe("ERR wrong number of arguments for 'ping' command");
    expect(node.wire('echo', '')).toBe('$0\r\n\r\n');
  });

  test('HELLO describes the server as a map and switches the protocol', () => {
    const node = new SessionHarness({ protocol: 3 });
    expect(node.wire('hello', '3').startsWith('%7\r\n')).toBe(true);
    expect(node.session.protocol).toBe(3);
    expect(node.run('hello')).toEqual(
      ['server', 'redis', 'version', '7.0.15', 'proto', 3, 'id', 1, 'mode', 'standalone', 'role', 'master', 'modules', []],
    );
    node.server.status = { ...node.server.status, role: 'follower' };
    expect(node.run('hello', '2')).toContain('replica');
    expect(node.session.protocol).toBe(2);
  });

  test('HELLO refuses other protocols and changes nothing then', () => {
    const node = new SessionHarness();
    expect(node.fail('hello', '4')).toBe('NOPROTO unsupported protocol version');
    expect(node.fail('hello', '1')).toBe('NOPROTO unsupported protocol version');
    expect(node.fail('hello', 'x')).toBe('ERR Protocol version is not an integer or out of range');
    expect(node.fail('hello', '3', 'setname', 'a b')).toMatch(/^ERR Client names cannot contain spaces/);
    expect(node.fail('hello', '3', 'auth', 'default')).toBe("ERR Syntax error in HELLO option 'auth'");
    expect(node.session.protocol).toBe(2);
    node.run('hello', '3', 'setname', 'worker');
    expect(node.session.name).toBe('worker');
  });

  test('a password guards the connection', () => {
    const node = new SessionHarness();
    node.server.requirePass = 'geheim';
    node.session.authenticated = false;
    expect(node.fail('hello', '3')).toMatch(/^NOAUTH HELLO must be called with the client already authenticated/);
    expect(node.session.protocol).toBe(2);
    const wrong = 'WRONGPASS invalid username-password pair or user is disabled.';
    expect(node.fail('auth', 'x')).toBe(wrong);
    expect(node.fail('auth', 'other', 'geheim')).toBe(wrong);
    expect(node.fail('hello', '3', 'auth', 'default', 'x')).toBe(wrong);
    expect(node.fail('auth', 'a', 'b', 'c')).toBe('ERR syntax error');
    expect(node.session.authenticated).toBe(false);
    expect(node.run('auth', 'geheim')).toBe('OK');
    expect(node.session.authenticated).toBe(true);
    node.session.authenticated = false;
    node.run('hello', '3', 'auth', 'default', 'geheim');
    expect(node.session.authenticated).toBe(true);
  });

  test('a password that is not UTF-8 never matches, not even the replacement character', () => {
    const node = new SessionHarness();
    node.server.requirePass = '\ufffd';
    expect(node.fail('auth', Uint8Array.of(0xff))).toMatch(/^WRONGPASS/);
    expect(node.run('auth', Buffer.from('\ufffd', 'utf8'))).toBe('OK');
  });

  test('AUTH with one argument says that there is no password', () => {
    const node = new SessionHarness();
    expect(node.fail('auth', 'x')).toMatch(/^ERR AUTH <password> called without any password configured/);
    expect(node.run('auth', 'default', 'anything')).toBe('OK');
  });

  test('SELECT moves the connection, or refuses and leaves it', () => {
    const node = new SessionHarness();
    expect(node.run('select', '15')).toBe('OK');
    expect(node.session.db).toBe(15);
    expect(node.context.db.number).toBe(15);
    expect(node.fail('select', '16')).toBe('ERR DB index is out of range');
    expect(node.fail('select', '-1')).toBe('ERR DB index is out of range');
    expect(node.fail('select', 'x')).toBe('ERR value is not an integer or out of range');
    expect(node.session.db).toBe(15);
  });

  test('QUIT and RESET', () => {
    const node = new SessionHarness();
    expect(node.run('quit')).toBe('OK');
    expect(node.session.calls).toEqual(['closeAfterReply']);
    node.session.calls.length = 0;
    expect(node.run('reset')).toBe('RESET');
    expect(node.session.calls).toEqual(['discardMulti', 'reset']);
  });

  test('READONLY reads eventually, READWRITE ends that and nothing else', () => {
    const node = new SessionHarness();
    node.run('readonly');
    expect(node.session.readonly).toBe(true);
    expect(node.session.readConsistency.kind).toBe('eventual');
    node.run('readwrite');
    expect(node.session.readonly).toBe(false);
    expect(node.session.readConsistency.kind).toBe('linearizable');
    node.run('holdfast', 'read', 'bounded', '100');
    node.run('readwrite');
    expect(node.session.readConsistency.kind).toBe('bounded');
  });
});

describe('transactions', () => {
  test('order of MULTI, EXEC, DISCARD and WATCH is checked', () => {
    const node = new SessionHarness();
    expect(node.fail('exec')).toBe('ERR EXEC without MULTI');
    expect(node.fail('discard')).toBe('ERR DISCARD without MULTI');
    expect(node.run('watch', 'a', 'b')).toBeUndefined();
    expect(node.run('unwatch')).toBe('OK');
    expect(node.run('multi')).toBe('OK');
    expect(node.fail('multi')).toBe('ERR MULTI calls can not be nested');
    expect(node.fail('watch', 'a')).toBe('ERR WATCH inside MULTI is not allowed');
    expect(node.run('exec')).toBeUndefined();
    expect(node.run('discard')).toBe('OK');
    expect(node.session.calls).toEqual(['watch 1', 'unwatch', 'exec', 'discardMulti']);
  });
});

describe.skipIf(oracleMissing !== undefined)('as redis-server answers', () => {
  let redis: Oracle;
  beforeAll(async () => {
    redis = await Oracle.start();
  });
  afterAll(() => redis.stop());

  const same: ReadonlyArray<readonly string[]> = [
    ['ping'],
    ['ping', 'x'],
    ['ping', 'x', 'y'],
    ['echo'],
    ['echo', 'x'],
    ['hello', '9'],
    ['hello', 'x'],
    ['hello', '3x'],
    ['hello', '2', 'bad'],
    ['hello', '2', 'auth', 'a', 'b'],
    ['hello', '2', 'setname', 'a\nb'],
    ['auth', 'x'],
    ['auth'],
    ['auth', 'nobody', 'x'],
    ['auth', 'default', 'x'],
    ['auth', 'a', 'b', 'c'],
    ['select', '99999999999'],
    ['select', '-1'],
    ['select', '1.5'],
    ['select', '3'],
    ['select', '0'],
    ['reset', 'x'],
    ['reset'],
    ['exec'],
    ['discard'],
    ['watch'],
    ['unwatch'],
    ['multi', 'x'],
    ['wait', 'x', '0'],
    ['wait', '0', 'x'],
    ['wait', '0', '-1'],
    ['wait', '0', '0'],
    ['wait', '-1', '10'],
    ['shutdown', 'bad'],
    ['shutdown', 'save', 'nosave'],
    ['shutdown', 'abort', 'now'],
    ['shutdown', 'abort'],
    ['time', 'x'],
    ['role', 'x'],
    ['debug', 'nonsense'],
    ['debug', 'protocol', 'array'],
    ['debug', 'protocol', 'map'],
    ['debug', 'protocol', 'push'],
    ['debug', 'protocol', 'bignum'],
    ['debug', 'set-active-expire', '1'],
    ['debug', 'error', 'OWN text'],
    ['config'],
    ['config', 'set', 'maxmemory'],
    ['config', 'set', 'maxmemory', '0', 'timeout'],
    ['config', 'nonsense'],
    ['config', 'resetstat'],
    ['config', 'rewrite', 'x'],
    ['client'],
    ['client', 'nonsense'],
    ['client', 'getname', 'x'],
    ['command', 'nonsense'],
  ];
  test.each(same)('%j', async (...words) => {
    const node = new SessionHarness();
    node.server.status = { ...node.server.status, members: [] };
    expect(node.wire(...words)).toBe(await redis.one(...words));
  });

  test('HELLO has the same fields and kinds of values, in RESP2 and RESP3', async () => {
    for (const version of ['2', '3'] as const) {
      const node = new SessionHarness({ protocol: version === '2' ? 2 : 3 });
      const shape = (wire: string): string => wire.replace(/(id\r\n):\d+/, '$1:N');
      expect(shape(node.wire('hello', version))).toBe(shape(await redis.one('hello', version)));
    }
    await redis.one('hello', '2');
  });
});
