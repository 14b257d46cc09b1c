// The object store fails, the log grows to its limit: writes are refused with the reason, all else goes on, and once the store is
// mended a snapshot lets the log be cut and writes come back by themselves. Nothing that was acknowledged is missing.
import fs from 'node:fs';
import path from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { startCluster, tempDir } from './lib/cluster.ts';
import type { TestNode } from './lib/node-process.ts';
import { ErrorReply } from './lib/resp.ts';
import { until } from './lib/until.ts';

const MiB = 1024 * 1024;
const LIMIT = 68 * MiB;
const FULL = /^MISCONF the leader's log has reached log-disk-bytes-max: writes are refused until a snapshot lets it be cut/;
const KEYS = 40;

/** Writes until it is refused for the full log, of which it gives the text. Of what an election left in doubt nothing is expected. */
async function fill(node: TestNode, acked: Map<string, string>, round: string): Promise<string> {
  return node.withClient(async (client) => {
    for (let i = 0; ; i++) {
      const [key, value] = [`key:${i % KEYS}`, `${round}:${i}:${'x'.repeat(100_000)}`];
      const reply = await client.send('SET', key, value);
      if (reply instanceof ErrorReply && reply.text.startsWith('MISCONF')) return reply.text;
      if (reply instanceof ErrorReply) acked.delete(key);
      else acked.set(key, value);
    }
  });
}

test('a store that fails: writes are refused at the limit, and come back when it is mended', { timeout: 240_000 }, async () => {
  const dir = tempDir();
  onTestFinished(() => fs.rmSync(dir, { recursive: true, force: true }));
  const [store, away] = [path.join(dir, 'store'), path.join(dir, 'away')];
  fs.mkdirSync(store);
  const cluster = await startCluster({
    directives: [
      '--object-store', store, '--snapshot-log-bytes', '1mb', '--snapshot-interval', '3600', '--log-keep-bytes', '0', '--log-keep-bytes-max', '0',
      '--log-disk-bytes-max', String(LIMIT), '--archive-interval-seconds', '1',
    ],
    nodeDirectives: (place) => ['--snapshotter', place === 0 ? 'yes' : 'no'],
  });
  await until('the archive to be made', () => fs.readdirSync(store).some((name) => name.startsWith('cluster-')), { timeoutMs: 30_000 });
  fs.renameSync(store, away);
  const leader = await cluster.leader();
  const [follower] = await cluster.followers();
  const acked = new Map<string, string>();
  expect(await fill(leader, acked, 'a')).toMatch(FULL);
  expect(leader.output).toMatch(/the log nears log-disk-bytes-max/);
  await leader.running.says(/the log has reached log-disk-bytes-max: writes are refused until it can be cut.*waitsFor=.*a snapshot behind entry \d+/);

  // Through a follower too; reads and settings go on, and INFO says what it is.
  expect(await fill(follower!, acked, 'b')).toMatch(FULL);
  expect((await leader.ask('GET', 'key:0')) as string).toBe(acked.get('key:0'));
  expect(await follower!.ask('CONFIG', 'SET', 'hash-max-listpack-entries', '100')).toBe('OK');
  const info = await until('INFO to say it', async () => {
    const fields = await leader.info('persistence');
    return fields.get('log_full') === '1' ? fields : undefined;
  });
  expect([info.get('log_disk_bytes_max'), info.get('log_waits_for')]).toEqual([String(LIMIT), 'snapshot']);
  expect(Number(info.get('log_disk_bytes'))).toBeGreaterThanOrEqual(LIMIT);
  expect(Number(info.get('log_entries_behind'))).toBeGreaterThan(100);
  expect(Number(info.get('archive_lag_seconds'))).toBeGreaterThan(0);

  // Raised, it takes writes at once; a leader that comes anew is under the limit too.
  await leader.ask('CONFIG', 'SET', 'log-disk-bytes-max', '1gb');
  await until('the leader to take writes', async () => (await leader.ask('SET', 'raised', '1')) === 'OK');
  await leader.ask('CONFIG', 'SET', 'log-disk-bytes-max', String(LIMIT));
  await until('the leader to refuse them', async () => FULL.test(await fill(leader, acked, 'c')));
  await leader.ask('HOLDFAST', 'TRANSFER', follower!.name);
  await until('the other to lead', async () => (await cluster.leader()) === follower);
  expect(await fill(leader, acked, 'd')).toMatch(FULL);

  fs.renameSync(away, store);
  await until('writes to come back', async () => (await leader.ask('SET', 'again', '1')) === 'OK', { timeoutMs: 120_000, everyMs: 200 });
  await leader.withClient(async (client) => {
    for (let i = 0; i < 400; i++) {
      const [key, value] = [`key:${i % KEYS}`, `e:${i}:${'x'.repeat(100_000)}`];
      if (await client.send('SET', key, value) === 'OK') acked.set(key, value);
      else acked.delete(key);
    }
  });
  expect(follower!.output).toMatch(/the log is cut/);
  expect(acked.size).toBeGreaterThan(KEYS / 2);
  const { dump } = await cluster.agree();
  for (const [key, value] of acked) expect(JSON.stringify(dump.get(`0/${key}`))).toContain(value);
});
