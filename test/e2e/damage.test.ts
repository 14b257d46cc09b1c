// A disk that lies: flipped bits in the head of a frame and in an entry of the log of a node that is down, and a data
// directory that was wiped. What was damaged does not vote; what can be fetched from peers is.
import fs from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { startCluster, type Cluster } from './lib/cluster.ts';
import { Load } from './lib/load.ts';
import type { TestNode } from './lib/node-process.ts';
import { ErrorReply } from './lib/resp.ts';
import { until, within } from './lib/until.ts';

const MARKER = 'marker-value-in-the-pages-20-';
/** Election timeouts that a cluster without a quorum is watched for. */
const WATCH_MS = 2500;

function flipBit(file: string, at: number, bit = 3): void {
  const fd = fs.openSync(file, 'r+');
  try {
    const byte = Buffer.alloc(1);
    fs.readSync(fd, byte, 0, 1, at);
    byte[0] = (byte[0] ?? 0) ^ (1 << bit);
    fs.writeSync(fd, byte, 0, 1, at);
  } finally {
    fs.closeSync(fd);
  }
}

/** Segments of the node's log that have frames, and where those begin (by the salt in each, src/adapters/wal-frame.ts). */
function framesOf(node: TestNode): { segment: string; frames: number[] }[] {
  const dir = path.join(node.dir, 'log');
  const segments = fs.readdirSync(dir).filter((name) => name.endsWith('.log')).sort();
  return segments.map((name) => {
    const bytes = fs.readFileSync(path.join(dir, name));
    const salt = bytes.subarray(24, 32);
    const frames: number[] = [];
    for (let at = bytes.indexOf(salt, 4096); at >= 0; at = bytes.indexOf(salt, at + 1)) frames.push(at - 8);
    return { segment: path.join(dir, name), frames };
  }).filter(({ frames }) => frames.length > 0);
}

/** A bit in the head of an early frame, which synced appends stand behind. */
function flipInHead(node: TestNode): string {
  const { segment, frames } = framesOf(node)[0] ?? { segment: '', frames: [] };
  expect(frames.length).toBeGreaterThan(20);
  flipBit(segment, (frames[4] ?? 0) + 50);
  return `the head of frame 5 of ${frames.length}`;
}

/** A bit of a value in an entry. */
function flipInEntry(node: TestNode): string {
  const at = framesOf(node).map(({ segment }) => ({ segment, offset: fs.readFileSync(segment).indexOf(MARKER) })).find(({ offset }) => offset >= 0);
  if (at === undefined) throw new Error(`${node.dir} has no ${MARKER}`);
  flipBit(at.segment, at.offset + 3);
  return `byte ${at.offset + 3} of ${path.basename(at.segment)}`;
}

const KINDS = [
  { kind: 'head of a frame', flip: flipInHead },
  { kind: 'bytes of an entry', flip: flipInEntry },
] as const;

/** Values in the log of every node, from before a restart and after it. */
async function fill(cluster: Cluster): Promise<void> {
  const first = cluster.node(0);
  await first.withClient(async (client) => {
    for (let i = 0; i < 40; i++) await client.ask('SET', `page:${i}`, `marker-value-in-the-pages-${i}-${'z'.repeat(1000)}`);
  });
  for (const node of cluster.nodes) {
    await until(`${node.name} to have all of it`, async () => (await node.ask('GET', 'page:39')) !== null);
    await node.kill9();
    node.start();
    await node.waitReady();
  }
  await first.withClient(async (client) => {
    for (let i = 0; i < 60; i++) await client.ask('SET', `wal:${i}`, `value-in-the-wal-${i}-${'y'.repeat(3000)}`);
  });
}

async function rolesOf(nodes: readonly TestNode[]): Promise<string[]> {
  return Promise.all(nodes.map(async (node) => (await node.info()).get('raft_state') ?? '?'));
}

test.each(KINDS)('a flipped bit in the $kind of a stopped node: it says so, does not vote from it, and is whole again from its peers', async ({ flip }) => {
  const cluster = await startCluster();
  await fill(cluster);
  const leader = await cluster.leader();
  const [damaged, other] = cluster.nodes.filter((node) => node !== leader);
  if (damaged === undefined || other === undefined) throw new Error('three nodes');
  await until('the follower to have all of it', async () => (await damaged.appliedIndex()) === (await leader.appliedIndex()));
  await damaged.kill9();
  const what = flip(damaged);
  await leader.kill9();

  // With the one healthy node alone it would have to vote for there to be a leader.
  const from = damaged.output.length;
  damaged.start();
  await damaged.running.says(/ERROR.*the log on disk is damaged: it is set aside, this node does not vote from it/);
  await damaged.running.says(/this node rejoins as a replaced member/);
  console.log(`${what}: ${/damage="?([^\n]{0,160})/.exec(damaged.output.slice(from))?.[1]}`);
  await until('both to be up', async () => (await rolesOf([damaged, other])).length === 2);
  const end = performance.now() + WATCH_MS;
  while (performance.now() < end) expect(await rolesOf([damaged, other])).not.toContain('leader');

  leader.start();
  await damaged.running.says(/this node is a full member again/, { timeoutMs: 20_000 });
  await cluster.waitReady();
  const { dump } = await cluster.agree();
  expect([...dump.keys()].filter((key) => /^0\/(page|wal):/.test(key)).length).toBe(100);

  // And it votes again: with it and the other, there is a leader.
  await leader.kill9();
  await until('a leader of the other two', async () => (await rolesOf([damaged, other])).includes('leader'));
  await other.ask('SET', 'voted', 'yes');
});

test.each(KINDS)('a flipped bit in the $kind under load: the node comes back while the others serve', async ({ flip }) => {
  const cluster = await startCluster();
  await fill(cluster);
  const [damaged] = await cluster.followers();
  if (damaged === undefined) throw new Error('three nodes');
  const load = new Load(cluster.nodes.filter((node) => node !== damaged));
  await damaged.kill9();
  flip(damaged);
  load.start();
  await load.more(200);
  damaged.start();
  await damaged.running.says(/this node is a full member again/, { timeoutMs: 20_000 });
  await damaged.waitReady();
  await load.more(200);
  await load.stop();
  const { dump } = await cluster.agree();
  expect(load.faults(dump)).toEqual([]);
});

test.each(KINDS)('a flipped bit in the $kind of a single node: it refuses to start and says why', async ({ flip }) => {
  const cluster = await startCluster({ nodes: 1 });
  await fill(cluster);
  const node = cluster.node(0);
  await node.kill9();
  flip(node);
  const { code } = await within('the node to end', 15_000, node.start().exited);
  expect(code).toBe(1);
  expect(node.running.output).toMatch(/holdfast: .*is damaged: .*This is the only node of its cluster, so there is no peer to fetch the log from: restore a backup of /);
  expect(node.running.output).not.toMatch(/\n\s+at /);
});

test('a wiped data directory under the old node id is refused with the way out, which works', async () => {
  const cluster = await startCluster();
  await fill(cluster);
  const [wiped, other] = await cluster.followers();
  if (wiped === undefined || other === undefined) throw new Error('three nodes');
  await wiped.kill9();
  fs.rmSync(wiped.dir, { recursive: true });
  await wiped.init();
  wiped.start();
  await wiped.running.says(/a peer refuses this node.*is known with data directory .* it was wiped, replaced or restored from a copy.*holdfast init --rejoin yes/);

  // It is no help towards a quorum, and the cluster does not need it.
  await other.ask('SET', 'without', 'it');
  expect((await wiped.info()).get('raft_state')).not.toBe('leader');
  const reply = await wiped.withClient((client) => client.send('GET', 'without'));
  expect(reply).toBeInstanceOf(ErrorReply);

  await wiped.stop();
  fs.rmSync(wiped.dir, { recursive: true });
  await wiped.init('--rejoin', 'yes');
  wiped.start();
  await wiped.running.says(/this node is a full member again/, { timeoutMs: 20_000 });
  await wiped.waitReady();
  const { dump } = await cluster.agree();
  expect(dump.get('0/without')).toBe('-1 it');
  expect(await wiped.ask('SET', 'through', 'it')).toBe('OK');
});
