// Limits and locks at the door: maxmemory, requirepass, maxclients, protected mode.
import os from 'node:os';
import { expect, onTestFinished, test } from 'vitest';
import { freePort, startCluster } from './lib/cluster.ts';
import { ErrorReply, RespClient, type Reply } from './lib/resp.ts';
import { until } from './lib/until.ts';

const VALUE = 'v'.repeat(10_000);
const textOf = (reply: Reply): string => (reply instanceof ErrorReply ? reply.text : JSON.stringify(reply));

test('maxmemory with noeviction: writes that may grow are refused on every node, the rest goes on', async () => {
  const cluster = await startCluster({ directives: ['--maxmemory', '4mb'] });
  for (const node of cluster.nodes) {
    await node.withClient(async (client) => {
      let refused: Reply = null;
      for (let i = 0; i < 1000 && !(refused instanceof ErrorReply); i++) refused = await client.send('SET', `${node.name}:${i}`, VALUE);
      expect(textOf(refused)).toBe("OOM command not allowed when used memory > 'maxmemory'.");
      expect(await client.ask('DBSIZE')).toBeGreaterThan(50);
      expect(await client.ask('GET', 'n1:0')).toBe(VALUE);
      expect(textOf(await client.send('APPEND', 'n1:0', 'more'))).toMatch(/^OOM /);
      expect(await client.ask('EXPIRE', 'n1:0', 1000)).toBe(1);
      // A transaction with a write that may grow is refused as a whole.
      expect(await client.pipeline([['MULTI'], ['SET', 'in', 'multi'], ['EXEC']]).then((replies) => replies.map(textOf))).toEqual([
        '"OK"',
        "OOM command not allowed when used memory > 'maxmemory'.",
        'EXECABORT Transaction discarded because of previous errors.',
      ]);
    });
  }
  const node = cluster.node(0);
  await node.ask('FLUSHALL');
  await until('room again', async () => (await node.withClient((client) => client.send('SET', 'k', 'v'))) === 'OK');
  await cluster.agree();
});

test('maxmemory with allkeys-lru: keys are evicted through the log, and all nodes agree', async () => {
  const cluster = await startCluster({ directives: ['--maxmemory', '4mb', '--maxmemory-policy', 'allkeys-lru'] });
  const leader = await cluster.leader();
  const writers = await Promise.all(cluster.nodes.map((node) => node.connect()));
  for (let i = 0; i < 1200; i++) expect(textOf((await writers[i % 3]?.send('SET', `key:${i}`, VALUE)) ?? null)).toBe('"OK"');
  for (const writer of writers) writer.close();
  await until('the memory to be below its limit', async () => Number((await leader.info('memory')).get('used_memory')) <= 4 * 1024 * 1024);
  const keys = Number(await leader.ask('DBSIZE'));
  expect(keys).toBeGreaterThan(50);
  expect(keys).toBeLessThan(600);
  expect(Number((await leader.info('stats')).get('evicted_keys'))).toBeGreaterThan(500);
  expect(await leader.ask('EXISTS', 'key:1199')).toBe(1);
  await cluster.agree();
});

test('requirepass: nothing before AUTH, on every node', async () => {
  const cluster = await startCluster({ directives: ['--requirepass', 'sesame'] });
  for (const node of cluster.nodes) {
    const client = await RespClient.connect(node.port);
    expect(textOf(await client.send('GET', 'k'))).toBe('NOAUTH Authentication required.');
    expect(textOf(await client.send('SET', 'k', 'v'))).toBe('NOAUTH Authentication required.');
    expect(textOf(await client.send('AUTH', 'open'))).toBe('WRONGPASS invalid username-password pair or user is disabled.');
    expect(textOf(await client.send('HELLO', 3))).toMatch(/^NOAUTH HELLO must be called with the client already authenticated/);
    expect(await client.ask('AUTH', 'default', 'sesame')).toBe('OK');
    expect(await client.ask('SET', 'k', node.name)).toBe('OK');
    expect(await client.ask('GET', 'k')).toBe(node.name);
    client.close();
    const hello = await RespClient.connect(node.port);
    expect(await hello.ask('HELLO', 3, 'AUTH', 'default', 'sesame')).toContain('proto');
    hello.close();
  }
});

test('maxclients: one too many is told so, and there is room again when one leaves', async () => {
  const cluster = await startCluster({ nodes: 1, directives: ['--maxclients', '5'] });
  const node = cluster.node(0);
  const clients: RespClient[] = [];
  for (let i = 0; i < 5; i++) {
    const client = await node.connect();
    expect(await client.ask('PING')).toBe('PONG');
    clients.push(client);
  }
  const tooMany = await node.connect();
  const reply = await tooMany.send('PING').catch((error: Error) => error);
  if (reply instanceof ErrorReply) expect(reply.text).toBe('ERR max number of clients reached');
  await tooMany.closed;
  expect(Number(/rejected_connections:(\d+)/.exec(String(await clients[0]?.ask('INFO', 'stats') as string))?.[1])).toBe(1);
  clients[0]?.close();
  await until('room for another', async () => (await node.ask('PING')) === 'PONG');
  for (const client of clients) client.close();
});

test('protected mode: from another address of this machine nothing without a password', async (context) => {
  const address = Object.values(os.networkInterfaces()).flat().find((one) => one !== undefined && one.family === 'IPv4' && !one.internal)?.address;
  if (address === undefined) return context.skip('this machine has no IPv4 address but loopback');
  const port = await freePort();
  // The last --bind wins.
  const cluster = await startCluster({ nodes: 1, directives: ['--port', String(port), '--bind', '*'], cold: true });
  const node = cluster.node(0);
  await node.init();
  const process = node.start();
  await process.says(/ready to serve/);
  const refused = await RespClient.connect(port, address);
  const reply = await refused.send('PING').catch((error: Error) => error);
  if (reply instanceof ErrorReply) expect(reply.text).toMatch(/^DENIED Holdfast is running in protected mode/);
  await refused.closed;
  const inside = await RespClient.connect(port);
  onTestFinished(() => inside.close());
  expect(await inside.ask('SET', 'k', 'v')).toBe('OK');
  expect(await inside.ask('CONFIG', 'SET', 'requirepass', 'sesame')).toBe('OK');
  const outside = await RespClient.connect(port, address);
  onTestFinished(() => outside.close());
  expect(textOf(await outside.send('GET', 'k'))).toBe('NOAUTH Authentication required.');
  expect(await outside.ask('AUTH', 'sesame')).toBe('OK');
  expect(await outside.ask('GET', 'k')).toBe('v');
});
