// Snapshots with real processes: local cluster with a directory store, its snapshotter, the tools of the command line, stock Redis.
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { freePort, freePorts, tempDir } from './lib/cluster.ts';
import { HoldfastProcess, runHoldfast } from './lib/node-process.ts';
import { RespClient } from './lib/resp.ts';
import { until, within } from './lib/until.ts';

const hasRedis = spawnSync('redis-server', ['--version']).status === 0;
const READY = /ready/;

interface Local {
  readonly port: number;
  readonly process: HoldfastProcess;
  readonly client: RespClient;
}

async function local(dir: string, ...more: readonly string[]): Promise<Local> {
  const port = await freePorts(3);
  const run = new HoldfastProcess(['local', '--nodes', '3', '--port', String(port), '--dir', dir, '--enable-debug-command', 'yes', '--archive-interval-seconds', '1', ...more]);
  onTestFinished(async () => {
    run.kill('SIGTERM');
    await run.exited;
  });
  await run.says(READY, { timeoutMs: 60_000 });
  const client = await RespClient.connect(port);
  onTestFinished(() => client.close());
  await until('writes', async () => ((await client.send('SET', 'first', '1')) === 'OK' ? true : undefined), { timeoutMs: 30_000 });
  return { port, process: run, client };
}

/** DEBUG DIGEST of stock Redis with this file loaded. */
async function redisDigest(file: string): Promise<unknown> {
  const port = await freePort();
  const args = ['--port', String(port), '--save', '', '--dir', path.dirname(file), '--dbfilename', path.basename(file), '--enable-debug-command', 'yes'];
  const child: ChildProcess = spawn('redis-server', args, { stdio: 'ignore' });
  onTestFinished(() => void child.kill('SIGKILL'));
  const client = await until('redis-server', async () => {
    const dialled = await RespClient.connect(port).catch(() => undefined);
    return dialled !== undefined && (await dialled.send('PING')) === 'PONG' ? dialled : undefined;
  });
  const digest = await client.send('DEBUG', 'DIGEST');
  client.close();
  child.kill('SIGKILL');
  return digest;
}

function scratch(): string {
  const dir = tempDir();
  onTestFinished(() => fs.rmSync(dir, { recursive: true, force: true }));
  return dir;
}

async function tool(...args: readonly string[]): Promise<string> {
  const { exit, output } = await runHoldfast(args, 60_000);
  if (exit.code !== 0) throw new Error(`holdfast ${args.join(' ')} ended with ${exit.code}: ${output}`);
  return output;
}

test.skipIf(!hasRedis)('a snapshot of a local cluster loads into stock Redis with the same digest, and goes back into an empty cluster', async () => {
  const dir = scratch();
  const { port, client } = await local(path.join(dir, 'a'));
  for (let i = 0; i < 300; i++) await client.send('SET', `key:${i}`, 'v'.repeat(i));
  for (let i = 0; i < 200; i++) await client.send('HSET', `hash:${i % 7}`, `field${i}`, i);
  for (let i = 0; i < 400; i++) await client.send('ZADD', `zset:${i % 3}`, i / 3, `member${i}`);
  await client.send('PEXPIREAT', 'key:7', 4_000_000_000_000);
  // Asked of a node that has no snapshotter beside it.
  expect(await tool('snapshot', 'create', '--to', `127.0.0.1:${port + 2}`)).toContain('a snapshot with everything written so far is published');
  const store = path.join(dir, 'a', 'objects');
  expect(await tool('snapshot', 'list', '--from', store)).toMatch(/verified when it was made[\s\S]*every entry from \d+ to \d+ is in reach/);
  expect(await tool('snapshot', 'verify', '--from', store)).toMatch(/digest [0-9a-f]{16} as written[\s\S]*are whole/);
  const file = path.join(dir, 'dump.rdb');
  await tool('snapshot', 'export', '--from', store, '--out', file);
  const check = spawnSync('redis-check-rdb', [file], { encoding: 'utf8' });
  expect(check.status, check.stdout).toBe(0);
  const digest = await client.send('DEBUG', 'DIGEST');
  expect(digest).toMatch(/^[0-9a-f]{40}$/);
  expect(await redisDigest(file)).toBe(digest);

  expect((await runHoldfast(['import', file, '--to', `127.0.0.1:${port}`])).output).toContain('is not empty');
  const other = await local(path.join(dir, 'b'), '--object-store', '');
  await other.client.send('FLUSHALL');
  expect(await tool('import', file, '--to', `127.0.0.1:${other.port}`)).toContain('imported 311 keys');
  expect(await other.client.send('DEBUG', 'DIGEST')).toBe(digest);
});

test('SAVE waits for neither the interval of the archive nor that of checkpoints, and what it publishes was confirmed by one', async () => {
  const { process: run, client } = await local(path.join(scratch(), 'a'), '--archive-interval-seconds', '60');
  for (let round = 1; round <= 3; round++) {
    await client.send('SET', 'round', round);
    // A minute each, where it waited for them.
    await until('SAVE', async () => (await within('SAVE', 20_000, client.send('SAVE'))) === 'OK', { timeoutMs: 20_000 });
  }
  const indexes = (line: RegExp): unknown[] => [...run.output.matchAll(line)].map(([, index]) => index);
  const published = await until('three of them', () => {
    const found = indexes(/snapshot published .*?index=(\d+)/g);
    return found.length >= 3 ? found : undefined;
  });
  expect(indexes(/a checkpoint of the log confirms the snapshot .*?index=(\d+)/g)).toEqual(published);
});

test('killed again and again, the snapshotter goes on; a restore gives what was there at that index', async () => {
  const dir = scratch();
  const { process: run, client } = await local(path.join(dir, 'a'));
  const pids = (): number[] => [...run.output.matchAll(/snapshotter started .*pid=(\d+)/g)].map((match) => Number(match[1]));
  const sums = new Map<number, unknown>();
  for (let round = 0; round < 4; round++) {
    for (let i = 0; i < 100; i++) await client.send('INCR', `counter:${i % 10}`);
    sums.set(Number(await client.send('HOLDFAST', 'INDEX')), await client.send('DEBUG', 'DIGEST'));
    await until('a snapshotter', () => (pids().length > round ? true : undefined), { timeoutMs: 30_000 });
    if (round > 1) await client.send('BGSAVE');
    const pid = pids().at(-1);
    if (pid !== undefined) process.kill(pid, 'SIGKILL');
  }
  await until('a snapshotter', () => (pids().length > 4 ? true : undefined), { timeoutMs: 60_000 });
  await until('a snapshot', async () => ((await client.send('SAVE')) === 'OK' ? true : undefined), { timeoutMs: 60_000 });
  const store = path.join(dir, 'a', 'objects');
  expect(await tool('snapshot', 'verify', '--all', '--from', store)).toContain('are whole');
  for (const [index, digest] of sums) {
    const made = path.join(dir, `restored-${index}`);
    const output = await tool('restore', '--from', store, '--to-index', String(index), '--dir', made, '--nodes', '1');
    expect(output).toContain(`restored to entry ${index}`);
    expect(fs.readdirSync(path.join(made, 'n1/restore')).sort()).toEqual(['restore.json', 'sidecar', 'snapshot.rdb']);
    if (hasRedis) expect(await redisDigest(path.join(made, 'n1/restore/snapshot.rdb')), `index ${index}`).toBe(digest);
  }
  const [[index, digest] = [0, '']] = sums;
  expect(await tool('restore', '--from', store, '--to-index', String(index), '--dry-run')).toContain('dry run: nothing was written');
  expect((await runHoldfast(['restore', '--from', store, '--to-index', '999999999', '--dir', path.join(dir, 'x')])).output).toMatch(/reaches to entry \d+/);

  // The new cluster goes on from there, with an archive of its own.
  const made = path.join(dir, 'restored');
  await tool('restore', '--from', store, '--to-index', String(index), '--dir', made, '--nodes', '3');
  const again = await local(made);
  await again.client.send('DEL', 'first');
  await again.client.send('SET', 'first', '1');
  expect(await again.client.send('DEBUG', 'DIGEST')).toBe(digest);
  await until('a snapshot of the new cluster', async () => ((await again.client.send('SAVE')) === 'OK' ? true : undefined), { timeoutMs: 60_000 });
  expect(await tool('snapshot', 'verify', '--from', path.join(made, 'objects'))).toContain('are whole');
});

test('the snapshotter ends with its node, however that ends', async () => {
  const { process: run } = await local(scratch());
  const pidIn = (line: RegExp): Promise<number> => until(String(line), () => Number(line.exec(run.output)?.[1]) || undefined, { timeoutMs: 30_000 });
  const snapshotter = await pidIn(/snapshotter started .*pid=(\d+)/);
  process.kill(await pidIn(/n1 INFO engine: accepting clients .*pid=(\d+)/), 'SIGKILL');
  await until('its end', () => {
    try {
      process.kill(snapshotter, 0);
      return undefined;
    } catch {
      return true;
    }
  });
});
