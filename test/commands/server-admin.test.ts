import { describe, expect, test } from 'vitest';
import { SessionHarness } from './session-harness.ts';

describe('server commands', () => {
  test('INFO asks for the sections, none meaning default', () => {
    const node = new SessionHarness();
    expect(node.run('info')).toBe('# default\r\n');
    expect(node.run('info', 'Memory', 'CPU')).toBe('# memory,cpu\r\n');
    expect(new SessionHarness({ protocol: 3 }).wire('info').startsWith('=')).toBe(true);
  });

  test('ROLE: the leader is the master of the members that are connected', () => {
    const node = new SessionHarness();
    expect(node.run('role')).toEqual(['master', 42, [['10.0.0.2', '6380', '41']]]);
  });

  test('ROLE: anyone else is a replica of the leader, if one is known', () => {
    const node = new SessionHarness();
    node.server.status = { ...node.server.status, role: 'follower', leaderName: 'n2', leaderAddr: '[::1]:6380' };
    expect(node.run('role')).toEqual(['slave', '::1', 6380, 'connected', 40]);
    node.server.status = { ...node.server.status, role: 'candidate', leaderName: '', leaderAddr: '' };
    expect(node.run('role')).toEqual(['slave', '', 0, 'connect', 40]);
  });

  test('TIME is seconds and microseconds', () => {
    expect(new SessionHarness().run('time')).toEqual(['1700000000', '123000']);
  });

  test('WAIT answers at once when enough members have it, and inside EXEC', () => {
    const node = new SessionHarness();
    node.session.lastIndex = 41;
    expect(node.run('wait', '1', '0')).toBe(1);
    expect(node.run('wait', '0', '0')).toBe(1);
    node.session.inExec = true;
    expect(node.run('wait', '2', '0')).toBe(1);
    expect(node.server.deferring).toBe(false);
  });

  test('WAIT counts voters only: neither a learner nor one that leaves could save the write', () => {
    const node = new SessionHarness();
    node.session.lastIndex = 5;
    expect(node.run('wait', '0', '0')).toBe(2);
    const [own, second, third] = node.server.status.members;
    node.server.status = { ...node.server.status, members: [own!, { ...second!, role: 'learner' }, third!] };
    expect(node.run('wait', '0', '0')).toBe(1);
    node.server.status = { ...node.server.status, members: [own!, { ...second!, role: 'learner' }, { ...third!, role: 'leaving' }] };
    expect(node.run('wait', '0', '0')).toBe(0);
    expect(node.run('wait', '1', '100')).toBeUndefined();
  });

  test('WAIT waits for more, then gives the number it got', () => {
    const node = new SessionHarness();
    node.session.lastIndex = 42;
    expect(node.run('wait', '2', '250')).toBeUndefined();
    expect(node.server.calls).toEqual(['wait 2 250']);
    expect(node.server.deferring).toBe(true);
    node.server.onWaited!(1);
    expect(node.deferred()).toBe(1);
  });

  test('WAIT on a node that does not know the others leaves it to the server', () => {
    const node = new SessionHarness();
    const members = node.server.status.members.map((member) => ({ ...member, matchIndex: -1 }));
    node.server.status = { ...node.server.status, role: 'follower', nodeName: 'n2', members };
    expect(node.run('wait', '1', '10')).toBeUndefined();
    node.server.onWaited!(2);
    expect(node.deferred()).toBe(2);
  });

  test('SHUTDOWN has no reply unless it is aborted', () => {
    const node = new SessionHarness();
    expect(node.fail('shutdown', 'abort')).toBe('ERR No shutdown in progress.');
    expect(node.run('shutdown', 'nosave', 'now', 'force')).toBeUndefined();
    expect(node.server.shutdownUnderWay).toBe(true);
    expect(node.server.deferring).toBe(true);
    expect(node.run('shutdown', 'abort')).toBe('OK');
    expect(node.deferred()).toEqual({ error: 'ERR Errors trying to SHUTDOWN. Check logs.' });
  });

  test('REPLICAOF says how replication works here', () => {
    expect(new SessionHarness().fail('replicaof', 'no', 'one')).toMatch(/^ERR REPLICAOF .* Raft/);
    expect(new SessionHarness().fail('slaveof', 'h', '1')).toMatch(/Raft/);
  });
});

describe('CONFIG', () => {
  test('GET is a map', () => {
    const node = new SessionHarness({ protocol: 3 });
    expect(node.wire('config', 'get', 'enable-debug-command')).toBe('%1\r\n$20\r\nenable-debug-command\r\n$3\r\nyes\r\n');
    expect(node.run('config', 'get', 'nothing')).toEqual([]);
  });

  test('SET replies at once when it is in force at once', () => {
    const node = new SessionHarness();
    expect(node.run('config', 'set', 'maxmemory', '1', 'timeout', '2')).toBe('OK');
    expect(node.server.calls).toEqual(['configSet [["maxmemory","1"],["timeout","2"]]']);
    node.server.configSetError = 'ERR no';
    expect(node.fail('config', 'set', 'maxmemory', '1')).toBe('ERR no');
    expect(node.server.deferring).toBe(false);
  });

  test('SET of machine state replies when it is applied', () => {
    const node = new SessionHarness();
    node.server.configSetLater = true;
    expect(node.run('config', 'set', 'hash-max-listpack-entries', '1')).toBeUndefined();
    expect(node.server.deferring).toBe(true);
    node.server.finishConfigSet!(undefined);
    expect(node.deferred()).toBe('OK');
    node.run('config', 'set', 'hash-max-listpack-entries', '1');
    node.server.finishConfigSet!('CLUSTERDOWN x');
    expect(node.deferred()).toEqual({ error: 'CLUSTERDOWN x' });
  });

  test('SET of machine state cannot run inside EXEC, under no name; local directives can', () => {
    const node = new SessionHarness();
    node.session.inExec = true;
    expect(node.fail('config', 'set', 'maxmemory', '1', 'Hash-Max-Ziplist-Entries', '1')).toMatch(/inside a transaction/);
    expect(node.server.calls).toEqual([]);
    expect(node.run('config', 'set', 'maxmemory', '1')).toBe('OK');
  });

  test('SET takes text only', () => {
    expect(new SessionHarness().fail('config', 'set', 'requirepass', Uint8Array.of(0xff))).toMatch(/not valid UTF-8/);
  });

  test('RESETSTAT and REWRITE', () => {
    const node = new SessionHarness();
    expect(node.run('config', 'resetstat')).toBe('OK');
    expect(node.server.calls).toEqual(['resetStats']);
    expect(node.run('config', 'rewrite')).toBe('OK');
    node.server.rewriteError = 'ERR The server is running without a config file';
    expect(node.fail('config', 'rewrite')).toBe('ERR The server is running without a config file');
  });
});

describe('HOLDFAST', () => {
  test('READ reports and sets the level', () => {
    const node = new SessionHarness();
    expect(node.run('holdfast', 'read')).toBe('linearizable');
    for (const [words, shown] of [
      [['bounded', '250'], 'bounded 250'],
      [['CAUSAL', '77'], 'causal 77'],
      [['eventual'], 'eventual'],
      [['Linearizable'], 'linearizable'],
    ] as const) {
      expect(node.run('holdfast', 'read', ...words)).toBe('OK');
      expect(node.run('holdfast', 'read')).toBe(shown);
    }
  });

  test('READ refuses what is no level, and keeps the one there was', () => {
    const node = new SessionHarness();
    node.run('holdfast', 'read', 'bounded', '1');
    expect(node.fail('holdfast', 'read', 'strong')).toMatch(/^ERR unknown read level 'strong'/);
    expect(node.fail('holdfast', 'read', 'bounded')).toBe('ERR syntax error');
    expect(node.fail('holdfast', 'read', 'bounded', '-1')).toBe('ERR value is not an integer or out of range');
    expect(node.fail('holdfast', 'read', 'causal', 'x')).toBe('ERR value is not an integer or out of range');
    expect(node.fail('holdfast', 'read', 'eventual', '1')).toBe('ERR syntax error');
    expect(node.fail('holdfast', 'read', 'causal', '1', '2')).toMatch(/wrong number of arguments/);
    expect(node.run('holdfast', 'read')).toBe('bounded 1');
  });

  test('READ ends READONLY', () => {
    const node = new SessionHarness();
    node.run('readonly');
    expect(node.run('holdfast', 'read')).toBe('eventual');
    node.run('holdfast', 'read', 'linearizable');
    expect(node.session.readonly).toBe(false);
  });

  test('INDEX and STATUS', () => {
    const node = new SessionHarness();
    node.session.lastIndex = 12;
    expect(node.run('holdfast', 'index')).toBe(12);
    const status = node.run('holdfast', 'status') as unknown[];
    expect(status.slice(0, 8)).toEqual(['node', 'n1', 'state', 'leader', 'leader', 'n1', 'leader-address', '127.0.0.1:6379']);
    expect(status.slice(8, 10)).toEqual(['cluster', 'c1']);
    expect(status[19]).toHaveLength(3);
  });

  test('TRANSFER answers when another leads, and knows the members', () => {
    const node = new SessionHarness();
    expect(node.fail('holdfast', 'transfer', 'n9')).toMatch(/^ERR no member is named 'n9'; the members are n1, n2, n3/);
    expect(node.run('holdfast', 'transfer', 'n2')).toBeUndefined();
    node.server.onTransferred!(undefined);
    expect(node.deferred()).toBe('OK');
    expect(node.run('holdfast', 'transfer')).toBeUndefined();
    node.server.onTransferred!('ERR timed out');
    expect(node.deferred()).toEqual({ error: 'ERR timed out' });
    expect(node.server.calls).toEqual(['transfer n2', 'transfer any']);
  });

  test('ADDNODE, REMOVENODE and MEMBERS', () => {
    const node = new SessionHarness();
    expect(node.fail('holdfast', 'addnode', 'a b', 'h:16379')).toMatch(/^ERR 'a b' is no name of a node/);
    expect(node.fail('holdfast', 'addnode', 'n4', 'h:1')).toMatch(/^ERR 'h:1' is no address of a node/);
    expect(node.run('holdfast', 'addnode', 'n4', 'h:16379')).toBeUndefined();
    node.server.onTransferred!(undefined);
    expect(node.deferred()).toBe('OK');
    expect(node.run('holdfast', 'removenode', 'n2')).toBeUndefined();
    node.server.onTransferred!('ERR no');
    expect(node.deferred()).toEqual({ error: 'ERR no' });
    expect(node.server.calls).toEqual([
      'change {"kind":"add","name":"n4","host":"h","peerPort":16379,"clientPort":6379}', 'change {"kind":"remove","name":"n2"}',
    ]);
    expect(node.run('holdfast', 'members')).toBeUndefined();
    const members = node.deferred() as unknown[][];
    expect(members).toHaveLength(3);
    expect(members[1]).toEqual([
      'name', 'n2', 'role', 'voter', 'host', '10.0.0.2', 'directory', 'd2', 'id', 2, 'peer-port', 16380, 'client-port', 6380,
      'match-index', 41, 'lag-ms', 1, 'connected', 1,
    ]);
  });

  test('unknown subcommands', () => {
    expect(new SessionHarness().fail('holdfast', 'x')).toBe("ERR unknown subcommand 'x'. Try HOLDFAST HELP.");
  });
});

describe('DEBUG', () => {
  test('only as enable-debug-command says', () => {
    const node = new SessionHarness();
    node.server.config.set('enable-debug-command', 'no');
    expect(node.fail('debug', 'sleep', '0')).toMatch(/^ERR DEBUG command not allowed\. If the enable-debug-command option is set to "local"/);
    node.server.config.set('enable-debug-command', 'local');
    expect(node.run('debug', 'sleep', '0')).toBe('OK');
  });

  test('SLEEP answers later', () => {
    const node = new SessionHarness();
    expect(node.run('debug', 'sleep', '0.25')).toBeUndefined();
    expect(node.server.timers[0]!.delayMs).toBe(250);
    node.server.timers[0]!.callback();
    expect(node.deferred()).toBe('OK');
    node.session.inExec = true;
    expect(node.fail('debug', 'sleep', '1')).toMatch(/inside a transaction/);
  });

  test('SET-ACTIVE-EXPIRE', () => {
    const node = new SessionHarness();
    node.run('debug', 'set-active-expire', '0');
    node.run('debug', 'set-active-expire', '1');
    expect(node.server.calls).toEqual(['activeExpire false', 'activeExpire true']);
  });
});
