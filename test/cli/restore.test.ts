// `holdfast restore` as a whole, in this process: what it makes, what it refuses, and what a node makes of a restore that did not finish.
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { openDirectoryStore } from '../../src/adapters/directory-store.ts';
import { OperationalError } from '../../src/base/errors.ts';
import { init } from '../../src/cli/init.ts';
import { restore } from '../../src/cli/restore.ts';
import { digestText, type Machine } from '../../src/machine/machine.ts';
import { SnapshotRestore } from '../../src/snapshot/machine-snapshot.ts';
import { decodeRestoreMeta, RestoreFile } from '../../src/snapshot/restore-files.ts';
import { freshSeed, tempDir } from '../adapters/temp-dir.ts';
import { archived, type Archived } from '../snapshot/archived.ts';
import { silentReport, table } from '../snapshot/log-model.ts';

interface World extends Archived {
  readonly dir: string;
  readonly from: readonly string[];
}

async function world(): Promise<World> {
  const dir = tempDir();
  const objects = path.join(dir, 'objects');
  return { ...(await archived(freshSeed(), await openDirectoryStore(objects))), dir, from: ['--from', objects] };
}

/** What it printed. */
async function run(...args: readonly string[]): Promise<string> {
  const write = vi.spyOn(process.stdout, 'write').mockReturnValue(true);
  onTestFinished(() => write.mockRestore());
  await restore(args);
  const text = write.mock.calls.map(([chunk]) => String(chunk)).join('');
  write.mockRestore();
  return text;
}

async function refusal(...args: readonly string[]): Promise<string> {
  const thrown: unknown = await run(...args).then(() => undefined, (error: unknown) => error);
  expect(thrown).toBeInstanceOf(OperationalError);
  return (thrown as Error).message;
}

function load(dir: string): Machine {
  const loading = new SnapshotRestore(table, silentReport, () => 0, fs.readFileSync(path.join(dir, RestoreFile.sidecar)));
  loading.feed(fs.readFileSync(path.join(dir, RestoreFile.rdb)));
  return loading.end();
}

const refusedInit = (dir: string): string => {
  try {
    init(undefined, ['--dir', dir, '--node-id', 'n1', '--port', '7001'], false);
  } catch (thrown) {
    return (thrown as Error).message;
  }
  return '';
};

describe('holdfast restore', () => {
  test('makes directories of a new cluster that has published nothing', async () => {
    const { dir, from, log } = await world();
    const index = log.published[1]!.index + 5;
    const to = path.join(dir, 'new');
    const output = await run(...from, '--to-index', String(index), '--dir', to, '--nodes', '2');
    expect(output).toContain(`restored to entry ${index}`);
    expect(output).toContain(`digest ${log.digests[index]}`);
    for (const name of ['n1', 'n2']) {
      const meta = decodeRestoreMeta(fs.readFileSync(path.join(to, name, RestoreFile.meta), 'utf8'), 'x');
      expect(meta.clusterId).not.toBe('c');
      const machine = load(path.join(to, name));
      // The old cluster's record would name an object that is not this cluster's, and be offered to its members.
      expect(machine.publishing.newest).toBeUndefined();
      expect({ index: machine.appliedIndex, digest: digestText(machine.digest()) }).toEqual({ index, digest: meta.digest });
    }
    expect(init(undefined, ['--dir', path.join(to, 'n1'), '--node-id', 'n1', '--port', '7001'], false).clusterId).not.toBe('c');
    expect(await refusal(...from, '--to-index', String(index), '--dir', to)).toContain('is there and not empty');
  });

  test('an end in the middle leaves nothing that a node begins from', async () => {
    const { dir, from, log } = await world();
    const to = path.join(dir, 'new');
    await run(...from, '--to-index', String(log.lastIndex), '--dir', to, '--nodes', '3');
    const [first, second] = [path.join(to, 'n1'), path.join(to, 'n2')];
    fs.rmSync(path.join(second, RestoreFile.meta));
    expect(refusedInit(second)).toMatch(/restore has no restore.json: .*did not finish.*would begin empty/);
    expect(await refusal(...from, '--to-index', String(log.lastIndex), '--dir', to)).toContain('holds a restore that did not finish: remove it');
    fs.rmSync(path.join(first, RestoreFile.meta));
    expect(refusedInit(first)).toContain('did not finish');
  });

  test('in the order that makes that true: all folders, all data, and then every restore.json', async () => {
    const { dir, from, log } = await world();
    const to = path.join(dir, 'new');
    const seen: string[] = [];
    const look = (): void => {
      const names = ['n1', 'n2', 'n3'];
      const has = (file: string): string => names.filter((name) => fs.existsSync(path.join(to, name, file))).join();
      seen.push(`${has(RestoreFile.folder)} | ${has(RestoreFile.sidecar)} | ${has(RestoreFile.meta)}`);
    };
    const fsync = vi.spyOn(fs, 'fsyncSync').mockImplementation(look);
    onTestFinished(() => fsync.mockRestore());
    await run(...from, '--to-index', String(log.lastIndex), '--dir', to, '--nodes', '3');
    const steps = seen.filter((step, i) => step !== seen[i - 1]);
    expect(steps[0]).toBe('n1 |  | ');
    expect(steps.filter((step) => step.includes('| n1')).every((step) => step.startsWith('n1,n2,n3 |'))).toBe(true);
    expect(steps.filter((step) => step.endsWith('n1') || step.endsWith('n1,n2')).every((step) => step.startsWith('n1,n2,n3 | n1,n2,n3 |'))).toBe(true);
    expect(steps.at(-1)).toBe('n1,n2,n3 | n1,n2,n3 | n1,n2,n3');
  });

  test('no restore.json is there before all of it is', async () => {
    const { dir, from, log } = await world();
    const to = path.join(dir, 'new');
    const metas = ['n1', 'n2', 'n3'].map((name) => path.join(to, name, RestoreFile.meta));
    let seen = 0;
    const original = fs.writeFileSync;
    const watched = vi.spyOn(fs, 'writeFileSync').mockImplementation((...args) => {
      for (const meta of metas) {
        if (!fs.existsSync(meta)) continue;
        decodeRestoreMeta(fs.readFileSync(meta, 'utf8'), meta);
        seen++;
      }
      original(...args);
    });
    onTestFinished(() => watched.mockRestore());
    await run(...from, '--to-index', String(log.lastIndex), '--dir', to, '--nodes', '3');
    // Of the first when the second is written, and of both with the third.
    expect(seen).toBe(3);
  });

  test('what it cannot write is told, and what it made is gone', async () => {
    const { dir, from, log } = await world();
    const to = path.join(dir, 'new');
    const copy = vi.spyOn(fs, 'copyFileSync').mockImplementation(() => {
      throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
    });
    onTestFinished(() => copy.mockRestore());
    expect(await refusal(...from, '--to-index', String(log.lastIndex), '--dir', to, '--nodes', '2')).toMatch(/new cannot be written: ENOSPC.*each of the 2 nodes needs room/);
    copy.mockRestore();
    expect(fs.readdirSync(to)).toEqual([]);
    fs.mkdirSync(path.join(to, 'lost+found'));
    expect(await run(...from, '--to-index', String(log.lastIndex), '--dir', to, '--nodes', '2')).toContain('made ');
  });

  test('moments that are none, and dry runs', async () => {
    const { dir, from, log } = await world();
    const to = path.join(dir, 'new');
    for (const time of ['2026-02-30T12:00:00Z', '2026-01-31T12:00:00', '2026-13-01T00:00:00Z', 'yesterday', '2026-01-31T25:00:00Z']) {
      expect(await refusal(...from, '--to-time', time, '--dir', to), time).toContain('--to-time is a moment with its zone');
    }
    expect(await refusal(...from, '--dir', to)).toContain('either --to-time');
    expect(await run(...from, '--to-time', new Date(log.timeMs).toISOString(), '--dry-run')).toContain('dry run: nothing was written');
    expect(fs.existsSync(to)).toBe(false);
  });
});
