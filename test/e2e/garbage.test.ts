// Garbage on the port for clients and on the port for peers: the node stays up, serves meanwhile, and its memory returns.
import net from 'node:net';
import { expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { startCluster, type Cluster } from './lib/cluster.ts';
import type { TestNode } from './lib/node-process.ts';
import { until } from './lib/until.ts';

const CONNECTIONS = process.env['E2E_LONG'] === '1' ? 100_000 : 10_000;
const AT_A_TIME = 400;
const RSS_GROWTH_KB_MAX = 80 * 1024;

/** Sends these bytes and waits until the other side closes; what it said. Half-open when `keepOpen`: closed from here after the write. */
function send(port: number, bytes: Uint8Array, leave: boolean): Promise<Buffer> {
  return new Promise((resolve) => {
    const said: Buffer[] = [];
    const socket = net.connect({ port, host: '127.0.0.1' });
    socket.setTimeout(10_000, () => socket.destroy());
    socket.on('error', () => undefined);
    socket.on('data', (chunk) => said.push(chunk));
    socket.on('close', () => resolve(Buffer.concat(said)));
    socket.on('connect', () => {
      if (leave) socket.write(bytes, () => socket.destroy());
      else socket.end(bytes);
    });
  });
}

function randomBytes(random: Prng, length: number): Uint8Array {
  return Uint8Array.from({ length }, () => random.below(256));
}

const text = (value: string): Uint8Array => Buffer.from(value, 'latin1');

function respGarbage(random: Prng): Uint8Array {
  const key = 'k'.repeat(random.below(40));
  const choices: readonly (() => Uint8Array)[] = [
    () => randomBytes(random, 1 + random.below(4000)),
    () => text(`*${random.below(2 ** 32)}\r\n$${random.below(2 ** 32)}\r\n`),
    () => text('*99999999999999999999\r\n'),
    () => text('*1\r\n$-5\r\nPING\r\n'),
    () => text('*1048576\r\n' + '$1\r\na\r\n'.repeat(200)),
    () => text('*3\r\n$3\r\nSET\r\n$536870912\r\n'),
    () => text(`*3\r\n$3\r\nSET\r\n$${key.length}\r\n${key}\r\n$10\r\nhalf`),
    () => text('x'.repeat(70_000)),
    () => text(`SET "unbalanced ${key}\r\n`),
    () => text(`*2\r\n$3\r\nGET\r\n$3\r\nabcdef\r\nPING\r\n`),
    () => text('*0\r\n*-1\r\n\r\n\r\n*-5\r\nnonsense\r\n'),
    () => text(`GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`),
  ];
  return choices[random.below(choices.length)]?.() ?? text('');
}

function peerGarbage(random: Prng, hello: Uint8Array): Uint8Array {
  const flipped = Uint8Array.from(hello);
  if (flipped.length > 0) {
    const at = random.below(flipped.length);
    flipped[at] = (flipped[at] ?? 0) ^ (1 << random.below(8));
  }
  const choices: readonly (() => Uint8Array)[] = [
    () => randomBytes(random, 1 + random.below(4000)),
    () => new Uint8Array(random.below(5000)).fill(255),
    () => hello.subarray(0, random.below(hello.length + 1)),
    () => flipped,
    () => Buffer.concat([hello, randomBytes(random, 2000)]),
    () => Buffer.concat([hello, new Uint8Array(64).fill(255)]),
  ];
  return choices[random.below(choices.length)]?.() ?? text('');
}

/** What a node says first on its way to a peer: taken from one that dials a port of ours. */
async function helloOf(cluster: Cluster, victim: TestNode): Promise<Uint8Array> {
  await victim.kill9();
  const server = net.createServer();
  const sockets: net.Socket[] = [];
  const hello = new Promise<Uint8Array>((resolve) => server.on('connection', (socket) => {
    sockets.push(socket);
    socket.on('error', () => undefined);
    socket.once('data', (chunk) => resolve(chunk));
  }));
  await new Promise<void>((resolve) => server.listen(victim.peerPort, '127.0.0.1', resolve));
  // Whoever does not speak first gets none; then garbage from scratch does.
  const timer = new Promise<Uint8Array>((resolve) => setTimeout(() => resolve(new Uint8Array(0)), 3000));
  const bytes = await Promise.race([hello, timer]);
  await new Promise<void>((resolve) => {
    server.close(() => resolve());
    for (const socket of sockets) socket.destroy();
  });
  victim.start();
  await cluster.waitReady();
  return bytes;
}

/** Many at a time, until `count` were opened and have gone. */
async function inParallel(count: number, atATime: number, one: (i: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  await Promise.all(
    Array.from({ length: atATime }, async () => {
      while (next < count) await one(next++);
    }),
  );
}

/** Serves reads and writes on every node, the whole time. */
function watch(cluster: Cluster): { stop: () => Promise<number> } {
  let stopping = false;
  let served = 0;
  const loops = cluster.nodes.map(async (node, i) => {
    const client = await node.connect();
    for (let n = 1; !stopping; n++) {
      await client.ask('SET', `watch:${i}`, n);
      const seen = await client.ask('GET', `watch:${i}`);
      if (seen !== String(n)) throw new Error(`read ${JSON.stringify(seen)} after ${n} was acknowledged`);
      served++;
    }
    client.close();
  });
  const all = Promise.all(loops);
  all.catch(() => undefined);
  return {
    stop: async () => {
      stopping = true;
      await all;
      return served;
    },
  };
}

async function clientsOf(node: TestNode): Promise<number> {
  return Number((await node.info('clients')).get('connected_clients'));
}

async function expectMemoryBack(node: TestNode, beforeKb: number): Promise<void> {
  await until(`the clients of ${node.name} to be gone`, async () => (await clientsOf(node)) === 1);
  const afterKb = await until(
    `the memory of ${node.name} to return to ${beforeKb} KB (now ${node.rssKb()} KB)`,
    () => {
      const now = node.rssKb();
      return now < beforeKb + RSS_GROWTH_KB_MAX && now;
    },
    { timeoutMs: 20_000, everyMs: 200 },
  );
  console.log(`resident: ${Math.round(beforeKb / 1024)} MB before, ${Math.round(afterKb / 1024)} MB after`);
}

test('garbage on the RESP port', async () => {
  const seed = Math.floor(Math.random() * 2 ** 32);
  console.log(`seed ${seed}`);
  const random = new Prng(seed, 1);
  const cluster = await startCluster();
  const victim = cluster.node(0);
  const watching = watch(cluster);
  await inParallel(300, 50, () => send(victim.port, respGarbage(random), random.below(2) === 0));
  const beforeKb = victim.rssKb();
  await inParallel(3000, 50, () => send(victim.port, respGarbage(random), random.below(2) === 0));
  const served = await watching.stop();
  expect(served).toBeGreaterThan(10);
  expect(victim.process?.exit).toBeUndefined();
  await expectMemoryBack(victim, beforeKb);
  // A protocol error is answered as Redis does, and closes only its own connection.
  expect((await send(victim.port, text('*1\r\n$-5\r\n'), false)).toString()).toBe('-ERR Protocol error: invalid bulk length\r\n');
  expect((await send(victim.port, text('*99999999999999999999\r\n'), false)).toString()).toBe('-ERR Protocol error: invalid multibulk length\r\n');
});

test(`${CONNECTIONS} connections opened and dropped`, async () => {
  const cluster = await startCluster();
  const victim = cluster.node(1);
  const watching = watch(cluster);
  await inParallel(500, AT_A_TIME, () => send(victim.port, text('PING\r\n'), true));
  const beforeKb = victim.rssKb();
  await inParallel(CONNECTIONS, AT_A_TIME, (i) => send(victim.port, text(i % 3 === 0 ? '' : i % 3 === 1 ? 'PING\r\n' : '*2\r\n$3\r\nGE'), i % 2 === 0));
  expect(await watching.stop()).toBeGreaterThan(10);
  expect(victim.process?.exit).toBeUndefined();
  await expectMemoryBack(victim, beforeKb);
});

test('garbage, half messages and a wrong secret on the peer port', async () => {
  const seed = Math.floor(Math.random() * 2 ** 32);
  console.log(`seed ${seed}`);
  const random = new Prng(seed, 2);
  const cluster = await startCluster({ directives: ['--cluster-secret', 'a secret of the whole cluster'] });
  const hello = await helloOf(cluster, cluster.node(2));
  console.log(`a dialing node says ${hello.length} bytes first`);
  const victim = cluster.node(0);
  const watching = watch(cluster);
  await inParallel(200, 40, () => send(victim.peerPort, peerGarbage(random, hello), random.below(2) === 0));
  const beforeKb = victim.rssKb();
  await inParallel(2000, 40, () => send(victim.peerPort, peerGarbage(random, hello), random.below(2) === 0));
  await inParallel(CONNECTIONS / 4, AT_A_TIME, () => send(victim.peerPort, text(''), true));
  expect(await watching.stop()).toBeGreaterThan(10);
  for (const node of cluster.nodes) expect(node.process?.exit).toBeUndefined();
  await expectMemoryBack(victim, beforeKb);

  // One of the members with a wrong secret is no member; the others do without it.
  const outsider = cluster.node(2);
  await outsider.kill9();
  const from = victim.output.length;
  outsider.start('--cluster-secret', 'another secret altogether');
  await victim.running.says(/WARN.*(secret|proof|authenticat)/i, { from });
  expect(await victim.ask('SET', 'without', 'it')).toBe('OK');
  const leaderSeen = await until('the outsider to answer', async () => ({ id: (await outsider.info()).get('raft_leader_id') }));
  expect(leaderSeen.id).toMatch(/^(0|-1|none|)$/);
  await outsider.kill9();
  outsider.start();
  await outsider.waitReady();
  await cluster.agree();
});
