// Clean stops: the leadership is handed over, nothing acknowledged is lost, and nobody is left in doubt for long.
import fs from 'node:fs';
import { expect, onTestFinished, test } from 'vitest';
import { freePorts, startCluster, tempDir } from './lib/cluster.ts';
import { Load } from './lib/load.ts';
import { HoldfastProcess, TestNode } from './lib/node-process.ts';
import { spreadText, until } from './lib/until.ts';

const STOPS = 3;
const ELECTION_TIMEOUT_MS = 500;

test(`SIGTERM to the leader under load, ${STOPS} times: leadership is handed over and no acknowledged write is lost`, async () => {
  const cluster = await startCluster();
  const load = new Load(cluster.nodes);
  load.start();
  const handovers: number[] = [];
  for (let stop = 0; stop < STOPS; stop++) {
    await load.more(700);
    const leader = await cluster.leader();
    const others = cluster.nodes.filter((node) => node !== leader);
    const unknownBefore = others.map((node) => load.unknownOn(node));
    load.mark();
    const stopped = leader.stop();
    handovers.push((await load.flowing(others)).lastMs);
    expect(await stopped).toEqual({ code: 0, signal: null });
    expect(leader.output).toMatch(/handing leadership over before stopping/);
    await load.more(300);
    // Whoever was connected to another node has a yes or a no for each write.
    expect(others.map((node) => load.unknownOn(node))).toEqual(unknownBefore);
    leader.start();
    await leader.waitReady();
  }
  await load.stop();
  console.log(`${STOPS} clean stops, ${load.summary}; writes flow again on every connection to another node: ${spreadText(handovers)}`);
  const { dump } = await cluster.agree();
  expect(load.faults(dump)).toEqual([]);
  expect(Math.min(...handovers)).toBeLessThan(2 * ELECTION_TIMEOUT_MS);
});

test('HOLDFAST TRANSFER under load: the named node leads, and no write is lost or in doubt', async () => {
  const cluster = await startCluster();
  const load = new Load(cluster.nodes);
  load.start();
  for (const target of [cluster.node(1), cluster.node(2), cluster.node(0)]) {
    await load.more(300);
    await cluster.lead(target);
    expect((await target.info()).get('raft_state')).toBe('leader');
  }
  await load.stop();
  console.log(`3 transfers, ${load.summary}`);
  const { dump } = await cluster.agree();
  expect(load.faults(dump)).toEqual([]);
  expect(load.unknown).toBe(0);
});

test('all nodes stopped cleanly and started again hold the same as before', async () => {
  const cluster = await startCluster();
  const load = new Load(cluster.nodes);
  load.start();
  await load.more(500);
  await load.stop();
  const before = await cluster.agree();
  await Promise.all(cluster.nodes.map(async (node) => expect(await node.stop()).toEqual({ code: 0, signal: null })));
  for (const node of cluster.nodes) node.start();
  await cluster.waitReady();
  const after = await cluster.agree();
  expect(after.dump).toEqual(before.dump);
  expect(load.faults(after.dump)).toEqual([]);
});

test.each([{ nodes: 3 }, { nodes: 1 }])('holdfast local with $nodes nodes: ready, Ctrl-C stops all, and the data are there again', async ({ nodes }) => {
  const dir = tempDir();
  onTestFinished(() => fs.rmSync(dir, { recursive: true, force: true }));
  const port = await freePorts(nodes);
  const places = Array.from({ length: nodes }, (_, i) => {
    return new TestNode({ name: `n${i + 1}`, host: '127.0.0.1', port: port + i, peerPort: port + 10_000 + i, dir, directives: [] });
  });
  for (let round = 0; round < 2; round++) {
    const local = new HoldfastProcess(['local', '--nodes', String(nodes), '--port', String(port), '--dir', dir]);
    onTestFinished(async () => {
      local.kill('SIGTERM');
      await local.exited;
    });
    await local.says(/holdfast: ready\. .*any of which takes reads and writes:/, { timeoutMs: 30_000 });
    const [first, last] = [places[0], places.at(-1)];
    if (round === 0) expect(await first?.ask('SET', 'kept', 'yes')).toBe('OK');
    expect(await last?.ask('GET', 'kept')).toBe('yes');
    local.kill('SIGINT');
    expect(await local.exited).toEqual({ code: 0, signal: null });
    for (const place of places) {
      const refused = await until(`${place.name} to be gone`, () => place.connect().then((client) => client.close(), () => true));
      expect(refused).toBe(true);
    }
  }
});
