// `holdfast snapshot verify | export` in this process: what does not hold is named, and the command fails.
import fs from 'node:fs';
import path from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { openDirectoryStore } from '../../src/adapters/directory-store.ts';
import { OperationalError } from '../../src/base/errors.ts';
import { snapshotCommand } from '../../src/cli/snapshot-command.ts';
import { readCatalog } from '../../src/snapshot/catalog.ts';
import { flipBit, freshSeed, tempDir } from '../adapters/temp-dir.ts';
import { archived, type Archived } from '../snapshot/archived.ts';

async function world(): Promise<Archived & { readonly dir: string }> {
  const dir = tempDir();
  return { ...(await archived(freshSeed(), await openDirectoryStore(dir))), dir };
}

/** What it printed, and what it failed with. */
async function run(...args: readonly string[]): Promise<{ output: string; failure: string }> {
  const write = vi.spyOn(process.stdout, 'write').mockReturnValue(true);
  onTestFinished(() => write.mockRestore());
  let failure = '';
  try {
    await snapshotCommand(args);
  } catch (thrown) {
    expect(thrown).toBeInstanceOf(OperationalError);
    failure = (thrown as Error).message;
  }
  const output = write.mock.calls.map(([chunk]) => String(chunk)).join('');
  write.mockRestore();
  return { output, failure };
}

test('verify fails where a snapshot, a segment or the chain does not hold, and goes on to the others', async () => {
  const { dir, store } = await world();
  const { snapshots, segments } = await readCatalog(store, 'c');
  expect(await run('verify', '--all', '--from', dir)).toMatchObject({ failure: '', output: expect.stringMatching(/as written[\s\S]*are whole/) as string });
  const [first, second] = snapshots;
  const behind = segments.filter(({ firstIndex }) => firstIndex > first!.index);
  const data = first!.manifest!.parts[0]!.key;
  flipBit(path.join(dir, data), 150, 1);
  flipBit(path.join(dir, behind[0]!.key), 150, 1);
  flipBit(path.join(dir, `${second!.folder}manifest.json`), 60, 1);
  const { output, failure } = await run('verify', '--all', '--from', dir);
  expect(failure).toMatch(/^3 of the above do not hold: look after .*snapshot create/);
  expect(output).toContain(`${first!.folder}: does not hold: `);
  expect(output).toContain(`${second!.folder}: `);
  expect(output).toContain(`${behind[0]!.key}: does not hold: ${behind[0]!.key}, byte `);
  expect(output).toContain(`${snapshots[2]!.folder}: loaded`);
  fs.rmSync(path.join(dir, behind[1]!.key));
  expect((await run('verify', '--all', '--from', dir)).output).toContain(`archive: entries are missing behind ${behind[0]!.lastIndex}`);
  // The newest alone, which holds, with what is behind it.
  expect((await run('verify', '--index', String(snapshots[2]!.index), '--from', dir)).output).toContain('are whole');
});

test('export gives no name to what does not hold, and says where it cannot write', async () => {
  const { dir, store } = await world();
  const out = path.join(tempDir(), 'dump.rdb');
  expect((await run('export', '--from', dir, '--out', out)).output).toContain('dump.rdb: snapshot at index');
  expect(fs.readFileSync(out).subarray(0, 5).toString()).toBe('REDIS');
  expect((await run('export', '--from', dir, '--out', path.join(out, 'below'))).failure).toMatch(/below cannot be written: ENOTDIR/);
  const { snapshots } = await readCatalog(store, 'c');
  flipBit(path.join(dir, snapshots.at(-1)!.manifest!.parts[0]!.key), 150, 1);
  const again = `${out}.2`;
  expect((await run('export', '--from', dir, '--out', again)).failure).toContain('has SHA-256');
  expect(fs.readdirSync(path.dirname(out))).toEqual(['dump.rdb']);
});
