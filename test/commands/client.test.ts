import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Oracle, oracleMissing } from './oracle.ts';
import { FakeSession, SessionHarness } from './session-harness.ts';

function withOthers(count: number): SessionHarness {
  const node = new SessionHarness();
  for (let id = 2; id <= count + 1; id++) node.server.sessions.push(new FakeSession(id));
  return node;
}

const idsIn = (reply: unknown): number[] => [...String(reply).matchAll(/^id=(\d+)/gm)].map((match) => Number(match[1]));

describe('CLIENT about its own connection', () => {
  test('ID, SETNAME, GETNAME', () => {
    const node = new SessionHarness();
    expect(node.run('client', 'id')).toBe(1);
    expect(node.run('client', 'getname')).toBeNull();
    expect(node.run('client', 'setname', 'worker-1')).toBe('OK');
    expect(node.run('client', 'getname')).toBe('worker-1');
    expect(node.fail('client', 'setname', 'a b')).toMatch(/cannot contain spaces/);
    expect(node.fail('client', 'setname', 'é')).toMatch(/cannot contain spaces/);
    expect(node.run('client', 'getname')).toBe('worker-1');
    node.run('client', 'setname', '');
    expect(node.run('client', 'getname')).toBeNull();
  });

  test('NO-EVICT and NO-TOUCH', () => {
    const node = new SessionHarness();
    expect(node.run('client', 'no-evict', 'on')).toBe('OK');
    expect(node.run('client', 'no-touch', 'ON')).toBe('OK');
    expect([node.session.noEvict, node.session.noTouch]).toEqual([true, true]);
    expect(node.fail('client', 'no-touch', 'perhaps')).toBe('ERR syntax error');
    node.run('client', 'no-evict', 'off');
    expect([node.session.noEvict, node.session.noTouch]).toEqual([false, true]);
  });

  test('REPLY: OFF and SKIP say nothing, SKIP while off stays off', () => {
    const node = new SessionHarness();
    expect(node.run('client', 'reply', 'skip')).toBeUndefined();
    expect(node.session.replyMode).toBe('skip-next');
    expect(node.run('client', 'reply', 'off')).toBeUndefined();
    node.run('client', 'reply', 'skip');
    expect(node.session.replyMode).toBe('off');
    expect(node.run('client', 'reply', 'on')).toBe('OK');
    expect(node.session.replyMode).toBe('on');
    expect(node.fail('client', 'reply', 'x')).toBe('ERR syntax error');
  });

  test('TRACKING: off is true, on is an honest error', () => {
    const node = withOthers(1);
    expect(node.run('client', 'tracking', 'off')).toBe('OK');
    expect(node.fail('client', 'tracking', 'on')).toMatch(/^ERR client-side caching .* not supported/);
    expect(node.fail('client', 'tracking', 'maybe')).toBe('ERR syntax error');
    expect(node.fail('client', 'tracking', 'on', 'redirect', '99')).toBe('ERR The client ID you want redirect to does not exist');
    expect(node.fail('client', 'tracking', 'on', 'redirect', '2', 'redirect', '2')).toMatch(/single other client/);
    expect(node.fail('client', 'tracking', 'on', 'nonsense')).toBe('ERR syntax error');
    expect(node.run('client', 'getredir')).toBe(-1);
    expect(node.run('client', 'trackinginfo')).toEqual(['flags', ['off'], 'redirect', -1, 'prefixes', []]);
  });
});

describe('CLIENT about all connections', () => {
  test('LIST shows all, those of a type, or those of given numbers', () => {
    const node = withOthers(3);
    node.server.sessions[2]!.type = 'pubsub';
    expect(idsIn(node.run('client', 'list'))).toEqual([1, 2, 3, 4]);
    expect(idsIn(node.run('client', 'list', 'type', 'PUBSUB'))).toEqual([3]);
    expect(idsIn(node.run('client', 'list', 'type', 'replica'))).toEqual([]);
    expect(idsIn(node.run('client', 'list', 'id', '4', '99', '2'))).toEqual([4, 2]);
    expect(node.fail('client', 'list', 'type', 'x')).toBe("ERR Unknown client type 'x'");
    expect(node.fail('client', 'list', 'id', 'x')).toBe('ERR Invalid client ID');
    expect(node.fail('client', 'list', 'id')).toBe('ERR syntax error');
    expect(node.run('client', 'list')).toMatch(/\n$/);
  });

  test('KILL by address: the old form can end its own connection, after the reply', () => {
    const node = withOthers(1);
    expect(node.run('client', 'kill', '127.0.0.1:50002')).toBe('OK');
    expect(node.server.sessions).toHaveLength(1);
    expect(node.fail('client', 'kill', '127.0.0.1:50002')).toBe('ERR No such client');
    expect(node.run('client', 'kill', '127.0.0.1:50001')).toBe('OK');
    expect(node.session.calls).toEqual(['closeAfterReply']);
    expect(node.server.sessions).toHaveLength(1);
  });

  test('KILL with options counts, and leaves its own connection unless told', () => {
    const node = withOthers(3);
    expect(node.run('client', 'kill', 'id', '2', 'addr', '127.0.0.1:50003')).toBe(0);
    expect(node.run('client', 'kill', 'id', '2')).toBe(1);
    expect(node.run('client', 'kill', 'id', '1')).toBe(0);
    expect(node.run('client', 'kill', 'type', 'normal', 'user', 'default')).toBe(2);
    expect(node.session.calls).toEqual([]);
    expect(node.run('client', 'kill', 'laddr', '127.0.0.1:6379', 'skipme', 'no')).toBe(1);
    expect(node.session.calls).toEqual(['closeAfterReply']);
  });

  test('PAUSE and UNPAUSE', () => {
    const node = new SessionHarness();
    node.run('client', 'pause', '100');
    node.run('client', 'pause', '200', 'write');
    node.run('client', 'unpause');
    expect(node.server.calls).toEqual(['pause 5100 false', 'pause 5200 true', 'unpause']);
  });

  test('UNBLOCK finds nobody: no command blocks', () => {
    const node = withOthers(1);
    expect(node.run('client', 'unblock', '2', 'error')).toBe(0);
  });
});

describe.skipIf(oracleMissing !== undefined)('as redis-server answers', () => {
  let redis: Oracle;
  beforeAll(async () => {
    redis = await Oracle.start();
  });
  afterAll(() => redis.stop());

  const same: ReadonlyArray<readonly string[]> = [
    ['client', 'list', 'type'],
    ['client', 'list', 'type', 'x'],
    ['client', 'list', 'id', 'x'],
    ['client', 'list', 'nonsense'],
    ['client', 'list', 'id', '999999'],
    ['client', 'kill'],
    ['client', 'kill', '1.2.3.4:5'],
    ['client', 'kill', 'id', '0'],
    ['client', 'kill', 'id', 'x'],
    ['client', 'kill', 'id', '1', 'skipme'],
    ['client', 'kill', 'id', '1', 'skipme', 'x'],
    ['client', 'kill', 'user', 'nobody'],
    ['client', 'kill', 'type', 'x'],
    ['client', 'kill', 'type', 'pubsub'],
    ['client', 'kill', 'x', 'y'],
    ['client', 'pause', 'x'],
    ['client', 'pause', '-1'],
    ['client', 'pause', '1', 'x'],
    ['client', 'pause', '1', 'all', 'y'],
    ['client', 'unpause'],
    ['client', 'unblock', 'x'],
    ['client', 'unblock', '1', 'x'],
    ['client', 'unblock', '1', 'error', 'y'],
    ['client', 'unblock', '999999'],
    ['client', 'getname'],
    ['client', 'setname', 'a b'],
    ['client', 'reply', 'x'],
    ['client', 'no-evict', 'x'],
    ['client', 'tracking', 'x'],
    ['client', 'tracking', 'on', 'x'],
    ['client', 'tracking', 'on', 'redirect', 'x'],
    ['client', 'tracking', 'on', 'redirect', '999999'],
    ['client', 'tracking', 'off'],
    ['client', 'caching', 'yes'],
    ['client', 'getredir'],
    ['client', 'trackinginfo'],
  ];
  test.each(same)('%j %j %j %j %j', async (...words) => {
    const given = words.filter((word) => word !== undefined);
    expect(new SessionHarness().wire(...given)).toBe(await redis.one(...given));
  });

  test('a line of CLIENT LIST has the same fields in the same order', async () => {
    const fields = (text: string): string[] => [...text.matchAll(/(?:^| |\n)([a-z-]+)=/g)].map((match) => match[1]!);
    const wire = await redis.one('client', 'list');
    expect(fields(new SessionHarness().wire('client', 'list'))).toEqual(fields(wire));
    expect(fields(new SessionHarness().wire('client', 'info'))).toEqual(fields(await redis.one('client', 'info')));
  });

  test('HELP has the same first line', async () => {
    for (const command of ['client', 'command', 'config']) {
      const first = (wire: string): string => wire.split('\r\n')[1]!;
      expect(first(new SessionHarness().wire(command, 'help'))).toBe(first(await redis.one(command, 'help')));
    }
  });
});
