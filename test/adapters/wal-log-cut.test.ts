// Cutting the log and starting it behind a snapshot: what is readable, what a crash leaves, that the space comes back.
import * as fs from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { createWalLog, openWalLog } from '../../src/adapters/wal-log.ts';
import type { LogFailpoints, WalLog } from '../../src/adapters/wal-log.ts';
import { entryIndex } from '../../src/base/entry.ts';
import type { LogBase } from '../../src/base/log-base.ts';
import { KiB, MiB } from '../../src/base/limits.ts';
import { Prng } from '../../src/base/prng.ts';
import type { HardState } from '../../src/ports/log-store.ts';
import { killOverAndOver } from './killed-log.ts';
import { appended, copyLog, freshSeed, sealed, segmentsOf, tempDir } from './temp-dir.ts';

const identity = { clusterId: 'c1', incarnation: '0123456789abcdef0123456789abcdef' };
const opened: WalLog[] = [];

afterEach(() => {
  for (const log of opened.splice(0)) log.close();
});

function open(path: string, failpoints?: LogFailpoints): WalLog {
  const log = openWalLog({ path, identity, segmentBytes: 256 * KiB, ...(failpoints === undefined ? {} : { failpoints }) });
  opened.push(log);
  return log;
}

function fresh(failpoints?: LogFailpoints): { path: string; log: WalLog } {
  const path = join(tempDir(), 'log');
  createWalLog(path, identity);
  return { path, log: open(path, failpoints) };
}

function reset(log: WalLog, base: LogBase, hardState: HardState): Promise<void> {
  return new Promise((resolve, reject) => log.reset(base, hardState, (error) => (error === undefined ? resolve() : reject(error))));
}

const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 1));

async function trimmed(log: WalLog): Promise<void> {
  while (!log.isTrimmed) await turn();
}

async function fill(log: WalLog, from: number, to: number, bytes = 1000, term = 1): Promise<void> {
  for (let index = from; index <= to; index += 50) {
    const last = Math.min(to, index + 49);
    await appended(log, { hardState: { term, vote: 1, commit: from - 1 }, entries: Array.from({ length: last - index + 1 }, (_, i) => sealed(index + i, term, bytes)) });
  }
}

const indexes = (log: WalLog): number[] => (log.lastIndex < log.firstIndex ? [] : log.read(log.firstIndex, log.lastIndex, Infinity).map(entryIndex));
const timeOf = (index: number): number => 1_700_000_000_000 + index;

/** Bytes of the files of the log. */
const bytesOf = (path: string): number => fs.readdirSync(path).reduce((sum, name) => sum + fs.statSync(join(path, name)).size, 0);

describe('a cut', () => {
  test('is so at once for readers, on disk after a while, and after the next open', async () => {
    const { path, log } = fresh();
    await fill(log, 1, 30);
    await fill(log, 31, 60, 1000, 3);
    log.cut(40);
    const check = (l: WalLog): void => {
      expect(l.base).toEqual({ index: 40, term: 3, timeMs: timeOf(40) });
      expect([l.firstIndex, l.lastIndex]).toEqual([41, 60]);
      expect([39, 40, 41, 60, 61].map((index) => l.term(index))).toEqual([undefined, 3, 3, 3, undefined]);
      expect(indexes(l)).toEqual(Array.from({ length: 20 }, (_, i) => 41 + i));
      expect(() => l.read(40, 41, 1)).toThrow(/read of/);
    };
    check(log);
    await fill(log, 61, 61, 10, 3);
    expect(log.lastIndex).toBe(61);
    await trimmed(log);
    log.close();
    const again = open(path);
    expect(again.base).toEqual({ index: 40, term: 3, timeMs: timeOf(40) });
    expect(again.lastIndex).toBe(61);
    expect(() => again.append({ entries: [sealed(40, 9, 1)] }, () => undefined)).toThrow(/does not follow/);
  });

  test('up to the end leaves an empty log that goes on, and whose end stays known', async () => {
    const { path, log } = fresh();
    await fill(log, 1, 10, 100, 4);
    log.cut(10);
    expect([log.firstIndex, log.lastIndex, log.term(10), log.term(9)]).toEqual([11, 10, 4, undefined]);
    await trimmed(log);
    log.close();
    const again = open(path);
    expect([again.firstIndex, again.lastIndex, again.term(10)]).toEqual([11, 10, 4]);
    await fill(again, 11, 12, 10, 5);
    expect(indexes(again)).toEqual([11, 12]);
    expect(() => again.cut(13)).toThrow(/a cut up to 13/);
    expect(() => again.cut(9)).toThrow(/a cut up to 9/);
  });

  test('gives the space back, a segment at a time, beside the turns of the event loop', async () => {
    const { path, log } = fresh();
    await fill(log, 1, 3000, 30_000);
    expect(log.sizeBytes()).toBeGreaterThan(85 * MiB);
    await trimmed(log);
    expect(Math.abs(log.sizeBytes() - bytesOf(path))).toBeLessThan(8 * KiB);
    log.cut(2950);
    const before = segmentsOf(path);
    const first: string[] = [];
    while (!log.isTrimmed) {
      first.push(segmentsOf(path)[0]!);
      await turn();
    }
    // The oldest goes first, so that a crash in between leaves no gap.
    expect(first).toEqual([...first].sort());
    expect(segmentsOf(path)).toEqual(before.slice(-segmentsOf(path).length));
    expect(bytesOf(path)).toBeLessThan(4 * MiB);
    expect(Math.abs(log.sizeBytes() - bytesOf(path))).toBeLessThan(8 * KiB);
    await fill(log, 3001, 3001, 10);
    log.close();
    expect(indexes(open(path))).toEqual(Array.from({ length: 51 }, (_, i) => 2951 + i));
  });

  test('keeps what is asked for', async () => {
    const { log } = fresh();
    await fill(log, 1, 100, MiB / 4 - 40);
    const keeping = log.cutKeeping(10 * MiB);
    expect(keeping).toBeGreaterThanOrEqual(56);
    expect(keeping).toBeLessThanOrEqual(60);
    expect(log.cutKeeping(100 * MiB)).toBe(0);
    log.cut(keeping);
    expect(log.cutKeeping(10 * MiB)).toBeLessThanOrEqual(keeping + 4);
    expect(log.cutKeeping(0)).toBe(100);
    log.close();
  });

  test('a failure in the middle is for ever; everything that was handed over stays readable', async () => {
    let failing = false;
    const { path, log } = fresh({ beforeSync: () => { if (failing) throw new Error('EIO'); } });
    await fill(log, 1, 100);
    failing = true;
    log.cut(50);
    await trimmed(log);
    failing = false;
    await expect(appended(log, { entries: [sealed(101, 1, 1)] })).rejects.toMatchObject({ code: 'LOG_WRITE' });
    expect(indexes(log)).toEqual(Array.from({ length: 51 }, (_, i) => 51 + i));
    log.close();
    expect(indexes(open(path)).slice(-50)).toEqual(Array.from({ length: 50 }, (_, i) => 51 + i));
  });
});

describe('segments whose entries were all replaced', () => {
  test('go too, and what replaced them is the log', async () => {
    const { path, log } = fresh();
    await fill(log, 1, 600, 3000);
    const before = segmentsOf(path).length;
    expect(before).toBeGreaterThan(3);
    await fill(log, 550, 560, 3000, 2);
    await fill(log, 2, 300, 3000, 3);
    await trimmed(log);
    expect(segmentsOf(path)[0]).toMatch(/0000000001\.log$/);
    await fill(log, 1, 200, 3000, 4);
    await trimmed(log);
    expect(segmentsOf(path)[0]).not.toMatch(/0000000001\.log$/);
    for (const again of [open(copyLog(path, tempDir())), open(copyLog(path, tempDir()))]) {
      expect(indexes(again)).toEqual(Array.from({ length: 200 }, (_, i) => i + 1));
      expect([again.term(0), again.term(1), again.term(200)]).toEqual([0, 4, 4]);
    }
  });
});

describe('a reset', () => {
  const base: LogBase = { index: 500, term: 7, timeMs: 1234 };

  test('leaves an empty log behind the base, in order with appends', async () => {
    const { path, log } = fresh();
    await fill(log, 1, 20);
    const done: string[] = [];
    const jobs = [
      appended(log, { entries: [sealed(21, 1, 10)] }).then(() => done.push('before')),
      reset(log, base, { term: 8, vote: 2, commit: 500 }).then(() => done.push('reset')),
      appended(log, { entries: [sealed(501, 8, 10), sealed(502, 8, 10)] }).then(() => done.push('behind')),
    ];
    expect([log.firstIndex, log.lastIndex, log.term(500), log.term(501), log.term(20)]).toEqual([501, 502, 7, 8, undefined]);
    expect(indexes(log)).toEqual([501, 502]);
    await Promise.all(jobs);
    expect(done).toEqual(['before', 'reset', 'behind']);
    await trimmed(log);
    expect(segmentsOf(path)).toHaveLength(1);
    log.close();
    const again = open(path);
    expect(again.base).toEqual(base);
    expect(again.hardState).toEqual({ term: 8, vote: 2, commit: 500 });
    expect(indexes(again)).toEqual([501, 502]);
  });

  test('replaces entries behind the base that are not of its history', async () => {
    const { path, log } = fresh();
    await fill(log, 1, 600);
    await reset(log, base, { term: 7, vote: 0, commit: 500 });
    expect(log.lastIndex).toBe(500);
    await trimmed(log);
    expect(segmentsOf(path).length).toBeLessThanOrEqual(2);
    log.close();
    expect([open(path).lastIndex, opened.at(-1)!.term(500)]).toEqual([500, 7]);
  });

  test('a new log may begin behind a base', () => {
    const path = join(tempDir(), 'log');
    createWalLog(path, identity, base);
    const log = open(path);
    expect(log.base).toEqual(base);
    expect(log.hardState).toEqual({ term: 7, vote: 0, commit: 500 });
  });

  test('of a failed store is not reported', async () => {
    let failing = false;
    const { path, log } = fresh({ beforeSync: () => { if (failing) throw new Error('EIO'); } });
    await fill(log, 1, 5);
    failing = true;
    const jobs = [reset(log, base, { term: 7, vote: 0, commit: 500 }), appended(log, { entries: [sealed(501, 7, 10)] })];
    for (const result of await Promise.allSettled(jobs)) expect(result.status).toBe('rejected');
    expect(indexes(log)).toEqual([501]);
    await expect(reset(log, { ...base, index: 700 }, { term: 7, vote: 0, commit: 700 })).rejects.toMatchObject({ code: 'LOG_WRITE' });
    log.close();
    // As after a crash in the middle of the reset: it may have happened or not, and nothing behind it did.
    expect([[1, 2, 3, 4, 5], []]).toContainEqual(indexes(open(path)));
  });
});

describe('a crash', () => {
  test('at any moment of cuts and resets leaves a whole log, with everything that was reported', async () => {
    const seed = freshSeed();
    const prng = new Prng(seed);
    const { path, log } = fresh();
    const dir = tempDir();
    let last = 0;
    let term = 1;
    let crashes = 0;
    for (let round = 0; round < 150; round++) {
      const note = `seed ${seed}, round ${round}`;
      const dice = prng.below(10);
      if (dice < 5) {
        const count = prng.between(1, 40);
        await appended(log, { hardState: { term, vote: 1, commit: last }, entries: Array.from({ length: count }, (_, i) => sealed(last + 1 + i, term, prng.below(8000))) });
        last += count;
      } else if (dice < 8 && last > log.base.index) {
        log.cut(prng.between(log.base.index + 1, last));
      } else if (dice === 8) {
        term++;
        last += prng.between(1, 500);
        await reset(log, { index: last, term, timeMs: timeOf(last) }, { term, vote: 0, commit: last });
      }
      for (let turns = prng.below(6); turns > 0; turns--) await turn();
      if (!prng.chance(0.4)) continue;
      crashes++;
      const found = openWalLog({ path: copyLog(path, dir), identity });
      expect(found.lastIndex, note).toBe(last);
      expect(found.base.index, note).toBeLessThanOrEqual(log.base.index);
      expect(indexes(found), note).toEqual(Array.from({ length: last - found.base.index }, (_, i) => found.base.index + 1 + i));
      expect(found.term(found.base.index), note).toBe(found.base.term);
      // And it goes on from there: what was left of a cut goes.
      await appended(found, { entries: [sealed(last + 1, 1e6, 10)] });
      await trimmed(found);
      found.close();
      expect(bytesOf(join(dir, 'log')), note).toBeLessThan(1.5 * MiB + 2 * (last + 1 - found.base.index) * 8100);
    }
    expect(crashes).toBeGreaterThan(20);
  });

  test('a process killed at any moment of cutting has what it reported, and can be killed again', async () => {
    const seed = freshSeed();
    const prng = new Prng(seed);
    const path = join(tempDir(), 'log');
    createWalLog(path, identity);
    const script = `
      import { createWalLog, openWalLog } from './src/adapters/wal-log.ts';
      import { makeEntry, sealEntry } from './src/base/entry.ts';
      const log = openWalLog({ path: process.argv[2], identity: ${JSON.stringify(identity)} });
      let persisted = log.lastIndex;
      let rounds = 0;
      function next() {
        const index = log.lastIndex + 1;
        rounds++;
        if (rounds % 200 === 0) {
          const base = { index: index + 1000, term: 1, timeMs: 0 };
          log.reset(base, { term: 1, vote: 1, commit: base.index }, (error) => { if (error) throw error; process.stdout.write(base.index + '\\n'); });
        } else {
          const entry = makeEntry(1, 1, 1, 0, new Uint8Array(index % 7 === 0 ? 50_000 : 300));
          sealEntry(entry, 1, index, 0);
          log.append({ hardState: { term: 1, vote: 1, commit: index - 1 }, entries: [entry] }, (error) => {
            if (error) throw error;
            persisted = index;
            process.stdout.write(index + '\\n');
          });
          if (rounds % 30 === 0 && persisted > log.base.index + 10 && persisted <= log.lastIndex) log.cut(persisted - 10);
        }
        setImmediate(next);
      }
      next();
    `;
    const reported = await killOverAndOver(script, path, identity, { rounds: 8, linesMax: 700, prng, note: `seed ${seed}` }, (log, note) => {
      expect(indexes(log), note).toHaveLength(log.lastIndex - log.base.index);
    });
    expect(reported).toBeGreaterThan(1000);
  });
});
