// Members that come and go in real processes, under write load: nothing acknowledged may be missing.
import fs from 'node:fs';
import { expect, onTestFinished, test } from 'vitest';
import { startCluster, tempDir, type Cluster } from './lib/cluster.ts';
import { Load } from './lib/load.ts';
import { runHoldfast, type TestNode } from './lib/node-process.ts';
import { until } from './lib/until.ts';

const addressOf = (node: TestNode): string => `127.0.0.1:${node.peerPort}/${node.port}`;

/** Runs `holdfast …` to its end, which must be a good one. */
async function holdfast(...words: string[]): Promise<string> {
  const { exit, output } = await runHoldfast(words);
  expect(exit.code, output).toBe(0);
  return output;
}

/** name → role, as this node knows it. */
async function roles(node: TestNode): Promise<Record<string, string>> {
  const output = await holdfast('members', '--to', `127.0.0.1:${node.port}`);
  const rows = output.trim().split('\n').slice(1).map((line) => line.split(/\s+/));
  return Object.fromEntries(rows.map(([name = '', role = '']): [string, string] => [name, role]));
}

/** Which members the node is connected to, by name. */
async function connections(node: TestNode): Promise<Map<string, boolean>> {
  const members = (await node.ask('HOLDFAST', 'MEMBERS')) as readonly unknown[][];
  return new Map(members.map((fields) => {
    const field = (name: string): unknown => fields[fields.indexOf(name) + 1];
    return [String(field('name')), Number(field('connected')) === 1];
  }));
}

async function addAndStart(cluster: Cluster, node: TestNode): Promise<void> {
  const through = cluster.alive[0]!;
  await holdfast('addnode', node.name, addressOf(node), '--to', `127.0.0.1:${through.port}`);
  await node.init('--join', `127.0.0.1:${through.port}`);
  node.start();
  await node.waitReady();
}

async function votes(through: TestNode, name: string): Promise<void> {
  await until(`${name} to vote`, async () => (await roles(through))[name] === 'voter', { timeoutMs: 30_000, everyMs: 100 });
}

/** Of its session among those of the machine; undefined where there is no such thing. */
function priorityOf(node: TestNode): number | undefined {
  const file = `/proc/${node.running.pid}/autogroup`;
  if (!fs.existsSync(file)) return undefined;
  return Number(/nice (-?\d+)/.exec(fs.readFileSync(file, 'utf8'))?.[1]);
}

async function stopsRemoved(node: TestNode): Promise<void> {
  await until(`${node.name} to stop`, () => !node.alive, { timeoutMs: 20_000 });
  expect(node.output).toMatch(/this node was removed from the cluster and stops/);
  expect(node.process?.exit?.code).toBe(0);
}

test('a fourth node comes, starts from a snapshot, votes; a follower and then the leader go', { timeout: 240_000 }, async () => {
  const store = tempDir();
  onTestFinished(() => fs.rmSync(store, { recursive: true, force: true }));
  const directives = ['--object-store', store, '--snapshot-log-bytes', '1mb', '--snapshot-interval', '3600', '--log-keep-bytes', '0', '--log-keep-bytes-max', '0'];
  const cluster = await startCluster({ directives, nodeDirectives: (place) => ['--snapshotter', place === 0 ? 'yes' : 'no'] });
  const load = new Load([...cluster.nodes], { valueBytes: 200 });
  load.start();
  await until('every node to have cut its log', () => cluster.nodes.every((node) => /the log is cut/.test(node.output)), { timeoutMs: 90_000, everyMs: 50 });

  const fourth = await cluster.another('n4', [...directives, '--snapshotter', 'no']);
  await addAndStart(cluster, fourth);
  expect(fourth.output).toMatch(/the snapshot is in place/);
  await votes(cluster.node(1), 'n4');
  await load.more(500);

  // A follower that is not the one with the snapshotter.
  await cluster.lead(cluster.node(2));
  const gone = cluster.node(1);
  await holdfast('removenode', 'n2', '--to', `127.0.0.1:${cluster.node(0).port}`);
  await stopsRemoved(gone);
  await load.more(500);

  // The leader itself. The others vote in the new member, among others.
  const leader = cluster.node(2);
  await holdfast('removenode', 'n3', '--to', `127.0.0.1:${leader.port}`);
  await stopsRemoved(leader);
  await load.flowing(cluster.alive);
  expect(await roles(fourth)).toEqual({ n1: 'voter', n4: 'voter' });

  // One that was removed and is started again is turned away, and stops again.
  gone.start();
  await stopsRemoved(gone);

  await load.more(500);
  await load.stop();
  const { dump } = await cluster.agree();
  expect(load.faults(dump)).toEqual([]);
});

test('a cluster of one grows to three, and survives its first node', { timeout: 120_000 }, async () => {
  const cluster = await startCluster({ nodes: 1 });
  const [first] = cluster.nodes as [TestNode];
  await first.ask('SET', 'early', 'value');
  const others = [await cluster.another('n2'), await cluster.another('n3')];
  for (const node of others) {
    node.inOwnSession = true;
    await addAndStart(cluster, node);
    await votes(first, node.name);
    if (priorityOf(node) === undefined) continue;
    expect(node.output).toMatch(/this node gives way/);
    await until(`${node.name} to have its share of the machine again`, () => priorityOf(node) === 0, { timeoutMs: 10_000 });
  }
  // All from their logs.
  await Promise.all(cluster.nodes.map((node) => node.stop()));
  for (const node of cluster.nodes) node.start();
  await cluster.waitReady();
  // One loses its disk: which id is its own, a member knows.
  const last = others[1]!;
  await last.kill9();
  fs.rmSync(last.dir, { recursive: true });
  const { exit, output } = await runHoldfast(['init', ...last.directives, '--join', `127.0.0.1:${first.port}`]);
  expect([exit.code, output]).toEqual([1, expect.stringMatching(/n3 was met with data directory .* add --rejoin yes/)]);
  await last.init('--join', `127.0.0.1:${first.port}`, '--rejoin', 'yes');
  last.start();
  await until('n3 to be a member again', () => /this node is a full member again/.test(last.output), { timeoutMs: 30_000 });
  await last.waitReady();
  await first.kill9();
  await Promise.all(others.map((node) => node.waitReady()));
  expect(await others[1]!.ask('GET', 'early')).toBe('value');
  expect(await roles(others[0]!)).toEqual({ n1: 'voter', n2: 'voter', n3: 'voter' });
});

test('what is not so is refused, with the reason', { timeout: 120_000 }, async () => {
  const cluster = await startCluster();
  const leader = await cluster.leader();
  const refusal = async (...words: string[]): Promise<string> => String(await leader.ask(...words).catch((thrown: unknown) => thrown));
  const [follower] = await cluster.followers();
  expect(await refusal('HOLDFAST', 'ADDNODE', 'n2', '127.0.0.1:19999')).toMatch(/n2 is a member already/);
  expect(await refusal('HOLDFAST', 'ADDNODE', 'n4', 'nonsense')).toMatch(/no address of a node/);
  expect(await refusal('HOLDFAST', 'ADDNODE', 'n4', addressOf(follower!))).toMatch(/is the address of/);
  expect(await refusal('HOLDFAST', 'REMOVENODE', 'n9')).toMatch(/no member is named 'n9'/);
  expect(String(await follower!.ask('HOLDFAST', 'REMOVENODE', 'n1').catch((thrown: unknown) => thrown))).toMatch(/this node does not lead: ask n\d at/);
  const fourth = await cluster.another('n4');
  const { exit, output } = await runHoldfast(['init', ...fourth.directives, '--join', `127.0.0.1:${leader.port}`]);
  expect(exit.code).toBe(1);
  expect(output).toMatch(/has no member n4.*add it first/);
  // Without one of the others the rest would be no majority.
  await follower!.kill9();
  // Asked before it has noticed, the leader would begin, and do it.
  await until('the leader to notice', async () => (await connections(leader)).get(follower!.name) === false, { timeoutMs: 15_000 });
  expect(await refusal('HOLDFAST', 'REMOVENODE', leader.name)).toMatch(/there would be no majority/);
  expect(await refusal('HOLDFAST', 'ADDNODE', 'n4', addressOf(fourth))).toBe('OK');
  expect(await refusal('HOLDFAST', 'ADDNODE', 'n5', '127.0.0.1:19998')).toMatch(/n4 still learns/);
  expect(await refusal('HOLDFAST', 'REMOVENODE', 'n4')).toBe('OK');
  expect(Object.keys(await roles(leader)).sort()).toEqual(['n1', 'n2', 'n3']);
});
