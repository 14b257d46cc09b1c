// Object stores that are not shared: one node alone has the snapshots, the others have an empty store of their own, or none. Who is
// too far behind starts from what a peer gives it, also where it is killed in the middle, and everybody's log is cut.
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { startCluster, tempDir } from './lib/cluster.ts';
import { runHoldfast, type TestNode } from './lib/node-process.ts';
import { until } from './lib/until.ts';

const MiB = 1024 * 1024;
const CUT = /the log is cut/;
const IN_PLACE = /the snapshot is in place/;
const WHOLE = /a snapshot is fetched from a peer, and whole/;
const KEYS = 900;
const VALUE_BYTES = 100_000;

async function holdfast(...words: string[]): Promise<string> {
  const { exit, output } = await runHoldfast(words);
  expect(exit.code, output).toBe(0);
  return output;
}

/** Bytes of the data file that is being fetched, or was. */
function fetchedBytes(node: TestNode): number {
  const root = path.join(node.dir, 'fetched');
  if (!fs.existsSync(root)) return 0;
  return fs.readdirSync(root).reduce((sum, name) => sum + (fs.statSync(path.join(root, name, 'data'), { throwIfNoEntry: false })?.size ?? 0), 0);
}

async function says(node: TestNode, pattern: RegExp, from: number): Promise<void> {
  await until(`${node.name} to say ${String(pattern)}`, () => pattern.test(node.output.slice(from)), { timeoutMs: 60_000 });
}

test('a wiped member and a new one start from a peer, through kill -9; logs are cut everywhere', { timeout: 300_000 }, async () => {
  const stores = tempDir();
  onTestFinished(() => fs.rmSync(stores, { recursive: true, force: true }));
  const common = ['--snapshot-log-bytes', '1gb', '--snapshot-interval', '3600', '--log-keep-bytes', '0', '--log-keep-bytes-max', '0'];
  const cluster = await startCluster({
    directives: common,
    nodeDirectives: (place) => ['--object-store', path.join(stores, String(place)), '--snapshotter', place === 0 ? 'yes' : 'no'],
  });
  const [first, second, third] = cluster.nodes as [TestNode, TestNode, TestNode];
  await cluster.lead(first);
  await first.withClient(async (client) => {
    for (let i = 0; i < KEYS; i++) await client.ask('SET', `key:${i}`, randomBytes(VALUE_BYTES * 0.75).toString('base64'));
  });
  const snapshot = async (): Promise<void> => {
    const from = new Map(cluster.alive.map((node) => [node, node.output.length]));
    expect(await first.ask('SAVE')).toBe('OK');
    await until('every log to be cut', () => cluster.alive.every((node) => CUT.test(node.output.slice(from.get(node)))), { timeoutMs: 90_000, everyMs: 50 });
  };
  await snapshot();
  expect(second.output).toMatch(WHOLE);
  expect(first.output).not.toMatch(WHOLE);

  // Wiped, and killed in the middle of the transfer.
  await third.kill9();
  fs.rmSync(third.dir, { recursive: true });
  await third.init('--rejoin', 'yes');
  let from = third.output.length;
  third.start();
  const whole = KEYS * VALUE_BYTES;
  const before = await until('the transfer to be under way', () => {
    const bytes = fetchedBytes(third);
    return bytes > 8 * MiB && bytes;
  });
  await third.kill9();
  expect(before).toBeLessThan(0.9 * whole);
  expect(third.output.slice(from)).not.toMatch(WHOLE);
  from = third.output.length;
  third.start();
  await says(third, /the fetch of a snapshot from a peer goes on where it was/, from);
  await says(third, IN_PLACE, from);
  await third.waitReady();
  await until('it to be a member again', () => /this node is a full member again/.test(third.output), { timeoutMs: 30_000 });
  await cluster.agree();

  // A new member, which has no object store at all; it is killed at once when it is there, and starts from what it has fetched.
  const fourth = await cluster.another('n4', common);
  await holdfast('addnode', 'n4', `127.0.0.1:${fourth.peerPort}/${fourth.port}`, '--to', `127.0.0.1:${first.port}`);
  await fourth.init('--join', `127.0.0.1:${first.port}`);
  fourth.start();
  await says(fourth, IN_PLACE, 0);
  await fourth.waitReady();
  await fourth.kill9();
  from = fourth.output.length;
  fourth.start();
  await fourth.waitReady();
  expect(fourth.output.slice(from)).toMatch(/loading a snapshot.*from=\S*fetched/);
  expect(fourth.output.slice(from)).not.toMatch(WHOLE);

  // The next snapshot: every node has it, the one before is gone, and all that was written is everywhere.
  await first.withClient(async (client) => {
    for (let i = 0; i < 100; i++) await client.ask('SET', `key:${i}`, randomBytes(VALUE_BYTES * 0.75).toString('base64'));
  });
  await snapshot();
  const newest = (await first.info('persistence')).get('snapshot_index')!.padStart(16, '0');
  for (const node of [second, third, fourth]) {
    // Some had cut a little more of their log behind the one before, meanwhile.
    await until(`${node.name} to have the newest, and no other`, () => {
      const names = fs.readdirSync(path.join(node.dir, 'fetched'));
      return names.length === 1 && names[0]!.startsWith(newest) && fs.existsSync(path.join(node.dir, 'fetched', names[0]!, 'restore.json'));
    }, { timeoutMs: 60_000, everyMs: 50 });
  }
  const { dump } = await cluster.agree();
  expect(dump.size).toBe(KEYS);
  // With the only node that has snapshots gone, each starts from its own copy.
  await Promise.all(cluster.nodes.map((node) => node.kill9()));
  fs.rmSync(stores, { recursive: true, force: true });
  const others = [second, third, fourth];
  for (const node of others) node.start();
  await Promise.all(others.map((node) => node.waitReady(60_000)));
  expect((await cluster.agree(others)).dump).toEqual(dump);
});
