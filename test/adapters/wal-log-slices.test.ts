// A big append is written in slices between turns of the event loop; what comes behind it waits its turn.
import { describe, expect, test } from 'vitest';
import path from 'node:path';
import { createWalLog, openWalLog, failAfterSyncs, type LogFailpoints, type WalLog } from '../../src/adapters/wal-log.ts';
import { EntryKind, makeEntry, sealEntry } from '../../src/base/entry.ts';
import { MiB } from '../../src/base/limits.ts';
import { tempDir } from './temp-dir.ts';

const identity = { clusterId: 'c', incarnation: 'ab'.repeat(16) };

function entry(index: number, term: number, bytes: number, fill = index): Uint8Array {
  const made = makeEntry(EntryKind.commands, 1, 1, 1, new Uint8Array(bytes).fill(fill));
  sealEntry(made, term, index, 0);
  return made;
}

function open(dir: string, failpoints?: LogFailpoints): WalLog {
  return openWalLog({ path: path.join(dir, 'log'), identity, ...(failpoints === undefined ? {} : { failpoints }) });
}

function append(log: WalLog, entries: readonly Uint8Array[], done: string[], name: string): Promise<void> {
  return new Promise((resolve) =>
    log.append({ entries, hardState: { term: 1, vote: 1, commit: 0 } }, (error) => {
      done.push(error === undefined ? name : `${name} failed`);
      resolve();
    }),
  );
}

describe('big appends', () => {
  test('the event loop turns meanwhile; later appends wait, and all is readable at once and after a reopen', async () => {
    const dir = tempDir();
    createWalLog(path.join(dir, 'log'), identity);
    const log = open(dir);
    const done: string[] = [];
    const big = entry(2, 1, 90 * MiB);
    const jobs = [append(log, [entry(1, 1, 10)], done, 'small'), append(log, [big], done, 'big'), append(log, [entry(3, 1, 30)], done, 'behind')];
    let turns = 0;
    const turning = setInterval(() => turns++, 0);
    expect(log.lastIndex).toBe(3);
    expect(log.read(1, 3, Infinity).map((one) => one.length)).toEqual([50, 90 * MiB + 40, 70]);
    // Replaced before it is on disk.
    jobs.push(append(log, [entry(3, 2, 31), entry(4, 2, 40)], done, 'replaced'));
    expect(log.term(3)).toBe(2);
    expect(log.read(3, 4, Infinity).map((one) => one.length)).toEqual([71, 80]);
    await Promise.all(jobs);
    clearInterval(turning);
    expect(done).toEqual(['small', 'big', 'behind', 'replaced']);
    expect(turns).toBeGreaterThan(1);
    log.close();
    const again = open(dir);
    expect(again.lastIndex).toBe(4);
    expect(Buffer.compare(again.read(2, 2, Infinity)[0] ?? new Uint8Array(0), big)).toBe(0);
    expect(again.read(3, 4, Infinity).map((one) => one.length)).toEqual([71, 80]);
    again.close();
  });

  test('what fails in the middle of one fails all that wait behind it, in order', async () => {
    const dir = tempDir();
    createWalLog(path.join(dir, 'log'), identity);
    const log = open(dir, failAfterSyncs(1));
    const done: string[] = [];
    await append(log, [entry(1, 1, 10)], done, 'first');
    await Promise.all([append(log, [entry(2, 1, 40 * MiB)], done, 'big'), append(log, [entry(3, 1, 30)], done, 'behind')]);
    expect(done).toEqual(['first', 'big failed', 'behind failed']);
    await append(log, [entry(4, 1, 30)], done, 'later');
    expect(done.at(-1)).toBe('later failed');
    // Still readable from memory, as any append that was handed over.
    expect(log.read(1, 4, Infinity).map((one) => one.length)).toEqual([50, 40 * MiB + 40, 70, 70]);
    log.close();
    // The frame is whole in the file: as after a crash, it may be there though nobody was told.
    const again = open(dir);
    expect(again.lastIndex).toBe(2);
    again.close();
  });
});
