// A disk that fails under the leader: an fsync that errors, and a file system that is full.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { startCluster, tempDir, type Cluster } from './lib/cluster.ts';
import { Load } from './lib/load.ts';
import { TestNode } from './lib/node-process.ts';
import { ErrorReply } from './lib/resp.ts';
import { until } from './lib/until.ts';

const CANNOT_WRITE = /ERROR.*the log cannot be written: this node acknowledges nothing from now on/;

/** The leader's disk fails under this load: it says so, acknowledges nothing more, and the others go on without it. */
async function expectToStepAside(cluster: Cluster, load: Load, failing: TestNode): Promise<TestNode[]> {
  const others = cluster.nodes.filter((node) => node !== failing);
  load.start();
  await failing.running.says(CANNOT_WRITE, { timeoutMs: 40_000 });
  const acked = load.ackedOn(failing);
  load.mark();
  const { firstMs } = await load.flowing(others);
  const leader = await until('another leader', async () => {
    const infos = await Promise.all(others.map(async (node) => ({ node, state: (await node.info()).get('raft_state') })));
    return infos.find(({ state }) => state === 'leader')?.node;
  });
  expect(leader).not.toBe(failing);
  await load.more(500);
  expect(load.ackedOn(failing)).toBe(acked);
  expect((await failing.info()).get('raft_state')).not.toBe('leader');
  const refusal = await failing.withClient((client) => client.send('SET', 'after', 'failure'));
  expect(refusal).toBeInstanceOf(ErrorReply);
  expect((refusal as ErrorReply).text).toMatch(/^MISCONF the log of this node cannot be written .*restarted$/);
  // It is still there for those who take what it has.
  expect(await failing.withClient(async (client) => [await client.ask('READONLY'), typeof (await client.ask('DBSIZE'))])).toEqual(['OK', 'number']);
  console.log(`the others took over, writes flow after ${Math.round(firstMs)} ms; ${load.summary}`);
  return others;
}

test('an fsync that fails on the leader: no acknowledgement after it, leadership given up, the others go on', async () => {
  const cluster = await startCluster({ nodeDirectives: (place) => (place === 0 ? ['--failpoint', 'log-fsync-error-after 300'] : []) });
  const failing = cluster.node(0);
  await cluster.lead(failing);
  const load = new Load(cluster.nodes);
  const others = await expectToStepAside(cluster, load, failing);
  await load.stop();
  const { dump } = await cluster.agree(others);
  expect(load.faults(dump)).toEqual([]);
  expect(dump.has('0/after')).toBe(false);
});

test('an fsync that fails on a single node: no acknowledgement after it', async () => {
  const cluster = await startCluster({ nodes: 1, directives: ['--failpoint', 'log-fsync-error-after 40'] });
  const node = cluster.node(0);
  const acked: number[] = [];
  const outcome = await node.withClient(async (client) => {
    for (let i = 0; ; i++) {
      const reply = await client.send('SET', `key:${i}`, i);
      if (reply instanceof ErrorReply) return reply;
      acked.push(i);
    }
  });
  expect(outcome.text).toMatch(/^(UNCERTAIN|MISCONF|CLUSTERDOWN) /);
  await node.running.says(CANNOT_WRITE);
  expect(acked.length).toBeGreaterThan(5);
  expect(await node.withClient((client) => client.send('SET', 'after', 1))).toBeInstanceOf(ErrorReply);
  // The disk is mended: all that was acknowledged is there.
  await node.kill9();
  const healthy = node.directives.filter((word) => !word.includes('failpoint') && !word.startsWith('log-fsync'));
  const mended = await startAgain(cluster, healthy);
  const values = await mended.withClient((client) => client.pipeline(acked.map((i) => ['GET', `key:${i}`])));
  expect(values).toEqual(acked.map(String));
});

async function startAgain(cluster: Cluster, directives: readonly string[]): Promise<TestNode> {
  const old = cluster.node(0);
  const node = new TestNode({ name: old.name, host: '127.0.0.1', port: old.port, peerPort: old.peerPort, dir: old.dir, directives });
  onTestFinished(() => node.kill9());
  node.start();
  await node.waitReady();
  return node;
}

function mountSmall(dir: string, sizeMb: number): string | undefined {
  fs.mkdirSync(dir, { recursive: true });
  const mount = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${sizeMb}m`, 'tmpfs', dir], { encoding: 'utf8' });
  if (mount.status !== 0) return (mount.error?.message ?? mount.stderr).trim();
  onTestFinished(() => {
    spawnSync('umount', ['-l', dir]);
  });
  return undefined;
}

test('a full disk under the leader: no acknowledgement after it, the others go on, and with space it comes back', async (context) => {
  const mountPoint = path.join(tempDir(), 'small');
  onTestFinished(() => fs.rmSync(path.dirname(mountPoint), { recursive: true, force: true }));
  const trouble = mountSmall(mountPoint, 12);
  if (trouble !== undefined) return context.skip(`a tmpfs cannot be mounted here: ${trouble}`);
  const cluster = await startCluster({ nodeDir: (place, dir) => (place === 0 ? path.join(mountPoint, 'n1') : path.join(dir, `n${place + 1}`)) });
  const failing = cluster.node(0);
  await cluster.lead(failing);
  const load = new Load(cluster.nodes, { valueBytes: 4000 });
  const others = await expectToStepAside(cluster, load, failing);
  expect(failing.output).toMatch(/SQLITE_FULL|ENOSPC|disk is full/);
  const remount = spawnSync('mount', ['-o', 'remount,size=400m', mountPoint], { encoding: 'utf8' });
  expect(remount.status, remount.stderr).toBe(0);
  await failing.kill9();
  failing.start();
  await failing.waitReady();
  await load.more(300);
  await load.stop();
  const { dump } = await cluster.agree([failing, ...others]);
  expect(load.faults(dump)).toEqual([]);
});
