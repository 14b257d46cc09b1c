// Logs that are cut behind published snapshots, in real processes: nodes that restart, were away, or lost their disk start from
// a snapshot in the object store, and hold what the others hold.
import fs from 'node:fs';
import path from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { startCluster, tempDir, type Cluster } from './lib/cluster.ts';
import type { TestNode } from './lib/node-process.ts';
import { until } from './lib/until.ts';

const CUT = /the log is cut/;
const IN_PLACE = /the snapshot is in place/;

async function start(): Promise<Cluster> {
  const store = tempDir();
  onTestFinished(() => fs.rmSync(store, { recursive: true, force: true }));
  return startCluster({
    directives: ['--object-store', store, '--snapshot-log-bytes', '1mb', '--snapshot-interval', '3600', '--log-keep-bytes', '0', '--log-keep-bytes-max', '0'],
    nodeDirectives: (place) => ['--snapshotter', place === 0 ? 'yes' : 'no'],
  });
}

/** Writes until every node that lives has cut its log again. */
async function writeUntilCut(cluster: Cluster, round: string): Promise<void> {
  const from = new Map(cluster.alive.map((node) => [node, node.output.length]));
  let batch = 0;
  await cluster.node(0).withClient(async (client) => {
    await until('every node to have cut its log', async () => {
      batch++;
      const commands = Array.from({ length: 500 }, (_, i) => ['SET', `key:${(batch * 500 + i) % 3000}`, `${round}:${batch}:${i}:${'x'.repeat(300)}`]);
      await client.pipeline(commands);
      return cluster.alive.every((node) => CUT.test(node.output.slice(from.get(node))));
    }, { timeoutMs: 60_000, everyMs: 50 });
  });
}

async function startsFromSnapshot(node: TestNode): Promise<void> {
  const from = node.output.length;
  node.start();
  await until(`${node.name} to start from a snapshot`, () => IN_PLACE.test(node.output.slice(from)), { timeoutMs: 30_000 });
  await node.waitReady();
}

test('nodes that restart, were away, or lost their disk', { timeout: 240_000 }, async () => {
  const cluster = await start();
  const [first, , third] = cluster.nodes;
  await writeUntilCut(cluster, 'a');

  await third!.kill9();
  await startsFromSnapshot(third!);
  await cluster.agree();

  // Away while the others cut their logs beyond its end.
  await third!.kill9();
  await writeUntilCut(cluster, 'b');
  await startsFromSnapshot(third!);
  await cluster.agree();

  // Without its disk: an empty log, to which the leader names a snapshot.
  await third!.kill9();
  fs.rmSync(path.join(third!.dir), { recursive: true });
  await third!.init('--rejoin', 'yes');
  await startsFromSnapshot(third!);
  await until(`${third!.name} to be a member again`, () => /this node is a full member again/.test(third!.output), { timeoutMs: 30_000 });
  await cluster.agree();

  // All at once, with kill -9, in the middle of writing.
  const writing = first!.withClient(async (client) => {
    for (let i = 0; ; i++) await client.ask('SET', `late:${i % 100}`, `${i}`);
  }).catch(() => undefined);
  await until('some late writes', async () => (await third!.ask('EXISTS', 'late:50')) === 1);
  await Promise.all(cluster.nodes.map((node) => node.kill9()));
  await writing;
  await Promise.all(cluster.nodes.map((node) => startsFromSnapshot(node)));
  const { dump } = await cluster.agree();
  expect(dump.size).toBeGreaterThan(3000);
});
