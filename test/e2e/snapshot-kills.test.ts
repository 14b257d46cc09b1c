// kill -9 (and SIGTERM now and then) of the snapshotter, kill -9 of its node and of `holdfast restore`, at random moments: whatever is published holds, the log is never
// cut beyond it, and every node starts. E2E_KILLS sets the rounds (3; with E2E_LONG=1 200), E2E_SEED repeats a run.
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { DirectoryStore } from '../../src/adapters/directory-store.ts';
import { Prng } from '../../src/base/prng.ts';
import { init } from '../../src/cli/init.ts';
import { allCommands } from '../../src/commands/all.ts';
import { CommandTable } from '../../src/commands/table.ts';
import { digestText } from '../../src/machine/machine.ts';
import { readObject } from '../../src/ports/object-store.ts';
import { openSegment } from '../../src/snapshot/archiver.ts';
import { readCatalog, segmentChain } from '../../src/snapshot/catalog.ts';
import { decodeRestoreMeta, RestoreFile } from '../../src/snapshot/restore-files.ts';
import { loadMachine, loadSnapshot, soundSnapshots } from '../../src/snapshot/stored-snapshot.ts';
import { startCluster, tempDir, type Cluster } from './lib/cluster.ts';
import { HoldfastProcess, runHoldfast, type TestNode } from './lib/node-process.ts';
import type { Reply, RespClient } from './lib/resp.ts';
import { pause, until, within } from './lib/until.ts';

const ROUNDS = Number(process.env['E2E_KILLS'] ?? (process.env['E2E_LONG'] === '1' ? 200 : 3));
const SEED = Number(process.env['E2E_SEED'] ?? Math.floor(Math.random() * 2 ** 32));
const SLOW_MS = 180_000;
const TIMEOUT_MS = 2 * SLOW_MS + ROUNDS * 30_000;
const KEYS = 5000;
const making = {
  table: new CommandTable(allCommands),
  report: {
    handlerThrew: (command: string) => { throw new Error(`${command} threw`); },
    diverged: (index: number) => { throw new Error(`diverged at ${index}`); },
  },
};

interface World {
  readonly cluster: Cluster;
  readonly node: TestNode;
  readonly root: string;
  readonly clusterId: string;
}

/** One node that cuts its log as far as it may, without a snapshotter; that one is the test's own. */
async function start(): Promise<World> {
  const root = tempDir();
  onTestFinished(() => fs.rmSync(root, { recursive: true, force: true }));
  const directives = [
    '--object-store', root, '--snapshotter', 'no', '--snapshot-interval', '1', '--snapshot-retention', '2', '--archive-interval-seconds', '1',
    '--log-keep-bytes', '0', '--log-keep-bytes-max', '0',
  ];
  const cluster = await startCluster({ nodes: 1, directives });
  const node = cluster.node(0);
  const { identity } = JSON.parse(fs.readFileSync(path.join(node.dir, 'identity.json'), 'utf8')) as { identity: { clusterId: string } };
  await node.withClient(async (client) => {
    for (let at = 0; at < KEYS; at += 500) await client.pipeline(Array.from({ length: 500 }, (_, i) => ['SET', `key:${at + i}`, `${at + i}:${'v'.repeat(1000)}`]));
    for (let i = 0; i < 50; i++) await client.pipeline(Array.from({ length: 50 }, (_, j) => ['ZADD', `zset:${i}`, j, `member:${j}`]));
  });
  return { cluster, node, root, clusterId: identity.clusterId };
}

/** Writes one after another, until told to stop or until the node is gone. */
class Writer {
  acknowledged = 0;
  #stopped = false;
  readonly #ended: Promise<void>;

  constructor(node: TestNode, random: Prng) {
    this.#ended = node.withClient((client) => this.#write(client, random)).catch(() => undefined);
  }

  async #write(client: RespClient, random: Prng): Promise<void> {
    while (!this.#stopped) {
      this.acknowledged = Number(await client.ask('INCR', 'counter'));
      await client.ask('SET', `key:${random.below(KEYS)}`, 'w'.repeat(random.below(2000)));
    }
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#ended;
  }
}

interface Published {
  readonly index: number;
  readonly manifest: string;
  readonly sha256: string;
  readonly digest: string;
}

/** The snapshot that the log says is published. */
async function published(node: TestNode): Promise<Published | undefined> {
  const [, record] = (await node.ask('HOLDFAST', 'SNAPSHOTS')) as readonly Reply[];
  if (record === null) return undefined;
  const flat = record as readonly (string | number)[];
  const at = (name: string): string | number => flat[flat.indexOf(name) + 1]!;
  return { index: Number(at('index')), manifest: String(at('manifest')), sha256: String(at('sha256')), digest: String(at('digest')) };
}

/** Everything that must hold of the store at any moment. */
async function check({ node, root, clusterId }: World, where: string): Promise<void> {
  const store = new DirectoryStore(root);
  // Before the store is read: what is published later may replace it.
  const newest = await published(node);
  const catalog = await readCatalog(store, clusterId);
  const sound = soundSnapshots(catalog);
  for (const { manifest } of sound) {
    const machine = await loadSnapshot(store, manifest, making);
    expect(digestText(machine.digest()), `${where}: snapshot ${manifest.index}`).toBe(manifest.digest);
  }
  if (newest === undefined) return;
  expect(createHash('sha256').update(await readObject(store, newest.manifest)).digest('hex'), where).toBe(newest.sha256);
  expect(sound.find(({ folder }) => newest.manifest.startsWith(folder))?.manifest, where).toMatchObject({ index: newest.index, digest: newest.digest });
  const chain = segmentChain(catalog.segments, sound.at(-1)!.index);
  expect(chain, where).toMatchObject({ hasGap: false });
  expect(chain.lastIndex, where).toBeGreaterThanOrEqual(newest.index);
  for (const segment of chain.segments) {
    const entries = await openSegment(store, clusterId, segment);
    for (let step = await entries.next(); step.done !== true; step = await entries.next());
  }
}

const MOMENTS = [/snapshotter started/, /following the log/, /a snapshot was written/, /confirms the snapshot/, /snapshot published/] as const;

test(`the snapshotter and its node, killed ${ROUNDS} times`, { timeout: TIMEOUT_MS }, async () => {
  const random = new Prng(SEED);
  const world = await start();
  const { node } = world;
  let highest = 0;
  let indexes = 0;
  for (let round = 1; round <= ROUNDS; round++) {
    const writer = new Writer(node, random);
    const run = new HoldfastProcess(['snapshotter', ...node.directives]);
    const moment = random.pick(MOMENTS);
    const delayMs = random.below(random.pick([10, 100, 1000]));
    const where = `seed ${SEED}, round ${round} of ${ROUNDS}, ${delayMs} ms behind ${String(moment)}`;
    // The snapshotter has the lowest priority there is: where others need the processor it takes its time.
    await run.says(moment, { timeoutMs: SLOW_MS });
    await pause(delayMs);
    const killsNode = random.chance(0.4);
    if (killsNode) await node.kill9();
    const signal = random.chance(0.25) ? 'SIGTERM' : 'SIGKILL';
    run.kill(signal);
    const exit = await within(`the snapshotter to end; ${where}, ${signal}`, 10_000, run.exited);
    // Whatever it is doing, it ends at once when it is asked to.
    if (signal === 'SIGTERM') expect(exit, where).toEqual({ code: 0, signal: null });
    await writer.stop();
    highest = Math.max(highest, writer.acknowledged);
    if (killsNode) {
      node.start();
      await node.waitReady();
    }
    await check(world, where);
    expect(Number(await node.ask('GET', 'counter')), where).toBeGreaterThanOrEqual(highest);
    const index = (await published(node))?.index ?? 0;
    expect(index, where).toBeGreaterThanOrEqual(indexes);
    indexes = index;
  }
  // And then one that nobody kills goes on from there.
  const last = new HoldfastProcess(['snapshotter', ...node.directives]);
  onTestFinished(() => last.kill('SIGKILL'));
  await node.ask('SET', 'after', 'all');
  await until('a snapshot at last', async () => ((await published(node))?.index ?? 0) > indexes, { timeoutMs: SLOW_MS, everyMs: 50 });
  last.kill('SIGTERM');
  expect(await last.exited).toMatchObject({ code: 0 });
  await check(world, `seed ${SEED}, at the end`);
  await node.kill9();
  node.start();
  await node.waitReady();
  expect(await node.ask('GET', 'after')).toBe('all');
});

/** Each directory is one that a node begins from, or one that it refuses, and no restore.json comes before all data are there. */
async function checkRestored(dir: string, names: readonly string[], where: string): Promise<number> {
  const has = (name: string, file: string): boolean => fs.existsSync(path.join(dir, name, file));
  const whole = names.filter((name) => has(name, RestoreFile.meta));
  if (whole.length > 0) expect(names.every((name) => has(name, RestoreFile.rdb) && has(name, RestoreFile.sidecar)), where).toBe(true);
  for (const name of names) {
    if (!has(name, RestoreFile.folder)) {
      expect(whole, where).toEqual([]);
      continue;
    }
    const make = (): unknown => init(undefined, ['--dir', path.join(dir, name), '--node-id', name, '--peers', 'n1=127.0.0.1:1/2,n2=127.0.0.1:3/4,n3=127.0.0.1:5/6'], false);
    if (!whole.includes(name)) {
      expect(make, where).toThrow('did not finish');
      continue;
    }
    const file = (one: string): string => path.join(dir, name, one);
    const meta = decodeRestoreMeta(fs.readFileSync(file(RestoreFile.meta), 'utf8'), where);
    const source = { sidecar: () => fs.promises.readFile(file(RestoreFile.sidecar)), rdb: () => fs.createReadStream(file(RestoreFile.rdb)) };
    expect((await loadMachine(source, meta, making)).publishing.newest, where).toBeUndefined();
    expect(make(), where).toMatchObject({ clusterId: meta.clusterId });
  }
  return whole.length;
}

test(`holdfast restore, killed ${ROUNDS} times`, { timeout: TIMEOUT_MS }, async () => {
  const random = new Prng(SEED);
  const { node, root } = await start();
  const run = new HoldfastProcess(['snapshotter', ...node.directives]);
  onTestFinished(() => run.kill('SIGKILL'));
  await until('a snapshot', async () => (await published(node)) !== undefined, { timeoutMs: SLOW_MS, everyMs: 50 });
  run.kill('SIGTERM');
  await run.exited;
  const dir = tempDir();
  onTestFinished(() => fs.rmSync(dir, { recursive: true, force: true }));
  const names = ['n1', 'n2', 'n3'];
  const args = (to: string): string[] => ['restore', '--from', root, '--to-time', '2999-01-01T00:00:00Z', '--dir', to, '--nodes', '3'];
  const startedMs = performance.now();
  const { exit, output } = await runHoldfast(args(path.join(dir, 'whole')), SLOW_MS);
  expect(exit, output).toMatchObject({ code: 0 });
  const wholeMs = performance.now() - startedMs;
  expect(await checkRestored(path.join(dir, 'whole'), names, 'not killed')).toBe(3);
  for (let round = 1; round <= ROUNDS; round++) {
    const to = path.join(dir, `killed-${round}`);
    const killed = new HoldfastProcess(args(to));
    // Rather when it writes than while it loads.
    const delayMs = random.below(100);
    if (random.chance(0.7)) await until('its directory, or its end', () => fs.existsSync(to) || killed.exit !== undefined, { timeoutMs: SLOW_MS, everyMs: 1 });
    else await pause(random.below(wholeMs));
    await pause(delayMs);
    killed.kill('SIGKILL');
    await killed.exited;
    await checkRestored(to, names, `seed ${SEED}, round ${round} of ${ROUNDS}`);
    fs.rmSync(to, { recursive: true, force: true });
  }
});
