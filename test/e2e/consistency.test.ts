// The read levels over real nodes: each sees what it promises, and goes on or stops as it promises when the majority is lost.
import { expect, test } from 'vitest';
import { startCluster } from './lib/cluster.ts';
import { ErrorReply } from './lib/resp.ts';
import { until } from './lib/until.ts';

const ROUNDS = 150;

test.each(['lease', 'quorum'])('linearizable with read-consistency %s: a write through one node is read through any other', async (level) => {
  const cluster = await startCluster({ directives: ['--read-consistency', level] });
  const clients = await Promise.all(cluster.nodes.map((node) => node.connect()));
  for (let i = 0; i < ROUNDS; i++) {
    const writer = clients[i % 3];
    expect(await writer?.ask('SET', 'k', i)).toBe('OK');
    const seen = await Promise.all(clients.map((client) => client.ask('GET', 'k')));
    expect(seen).toEqual([String(i), String(i), String(i)]);
  }
  for (const client of clients) client.close();
});

test('causal: with the index of a write, any node shows that write or a later one', async () => {
  const cluster = await startCluster();
  const clients = await Promise.all(cluster.nodes.map((node) => node.connect()));
  for (let i = 1; i <= ROUNDS; i++) {
    const writer = clients[i % 3];
    const reader = clients[(i + 1 + (i % 2)) % 3];
    await writer?.ask('SET', 'k', i);
    const index = Number(await writer?.ask('HOLDFAST', 'INDEX'));
    expect(index).toBeGreaterThan(0);
    expect(await reader?.ask('HOLDFAST', 'READ', 'causal', index)).toBe('OK');
    expect(Number(await reader?.ask('GET', 'k'))).toBeGreaterThanOrEqual(i);
    expect(await reader?.ask('HOLDFAST', 'READ', 'linearizable')).toBe('OK');
  }
  for (const client of clients) client.close();
});

test('bounded and eventual: fresh within their bound, also on a node that was frozen', async () => {
  const cluster = await startCluster();
  const leader = await cluster.leader();
  const [follower] = await cluster.followers();
  if (follower === undefined) throw new Error('three nodes');
  const bounded = await follower.connect();
  const eventual = await follower.connect();
  await bounded.ask('HOLDFAST', 'READ', 'bounded', 100);
  await eventual.ask('READONLY');
  expect(await bounded.ask('HOLDFAST', 'READ')).toBe('bounded 100');
  expect(await eventual.ask('HOLDFAST', 'READ')).toBe('eventual');
  await leader.ask('SET', 'k', 'old');
  await until('the follower to show it', async () => (await eventual.ask('GET', 'k')) === 'old');
  expect(await bounded.ask('GET', 'k')).toBe('old');
  follower.running.kill('SIGSTOP');
  await leader.ask('SET', 'k', 'new');
  const written = performance.now();
  await until('100 ms to have passed since', () => performance.now() - written > 120);
  const reply = bounded.ask('GET', 'k');
  follower.running.kill('SIGCONT');
  expect(await reply).toBe('new');
  await until('the eventual reader to see it too', async () => (await eventual.ask('GET', 'k')) === 'new');
  bounded.close();
  eventual.close();
});

test('with the majority lost: linearizable and bounded reads and writes are refused, eventual ones go on; then all is well again', async () => {
  const cluster = await startCluster();
  const [leftOver, ...lost] = cluster.nodes;
  if (leftOver === undefined) throw new Error('three nodes');
  await leftOver.ask('SET', 'k', 'v');
  await Promise.all(lost.map((node) => node.kill9()));
  const client = await leftOver.connect();
  const refusal = async (...words: string[]): Promise<string> => {
    const reply = await until(`${words.join(' ')} to be refused`, async () => {
      const one = await client.send(...words);
      return one instanceof ErrorReply && one;
    });
    return reply.text;
  };
  expect(await refusal('GET', 'k')).toMatch(/^CLUSTERDOWN /);
  expect(await refusal('SET', 'k', 'w')).toMatch(/^(CLUSTERDOWN|UNCERTAIN) /);
  await client.ask('HOLDFAST', 'READ', 'bounded', 200);
  expect(await refusal('GET', 'k')).toMatch(/^CLUSTERDOWN /);
  await client.ask('READONLY');
  expect(await client.ask('GET', 'k')).toBe('v');
  expect(await client.ask('DBSIZE')).toBe(1);
  await client.ask('READWRITE');
  for (const node of lost) node.start();
  await cluster.waitReady();
  expect(await leftOver.ask('SET', 'k', 'x')).toBe('OK');
  await cluster.agree();
  client.close();
});

test.each([
  { mode: 'moved', pattern: (port: number) => new RegExp(`^MOVED \\d+ 127\\.0\\.0\\.1:${port}$`) },
  { mode: 'error', pattern: () => /^READONLY You can't write against a read only replica\.$/ },
])('follower-writes $mode', async ({ mode, pattern }) => {
  const cluster = await startCluster({ directives: ['--follower-writes', mode] });
  const leader = await cluster.leader();
  const [follower] = await cluster.followers();
  const reply = await follower?.withClient((client) => client.send('SET', 'k', 'v'));
  expect(reply).toBeInstanceOf(ErrorReply);
  expect((reply as ErrorReply).text).toMatch(pattern(leader.port));
  expect(await leader.ask('SET', 'k', 'v')).toBe('OK');
  expect(await follower?.ask('GET', 'k')).toBe('v');
});
