import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { createWalLog, failAfterSyncs, openWalLog } from '../../src/adapters/wal-log.ts';
import type { LogFailpoints, WalLog } from '../../src/adapters/wal-log.ts';
import { OperationalError } from '../../src/base/errors.ts';
import { ENTRY_HEADER_BYTES, entryIndex } from '../../src/base/entry.ts';
import { FRAME_HEADER_BYTES } from '../../src/adapters/wal-frame.ts';
import { SEGMENT_HEADER_BYTES } from '../../src/adapters/wal-segment.ts';
import { KiB, MiB } from '../../src/base/limits.ts';
import { Prng } from '../../src/base/prng.ts';
import type { HardState } from '../../src/ports/log-store.ts';
import { startScript } from './child-script.ts';
import { killOverAndOver } from './killed-log.ts';
import { appended, copyLog, flipBit, framesIn, freshSeed, sealed, segmentsOf, tempDir, usedBytes, wipe } from './temp-dir.ts';

const identity = { clusterId: 'c1', incarnation: '0123456789abcdef0123456789abcdef' };
const opened: WalLog[] = [];

afterEach(() => {
  for (const log of opened.splice(0)) log.close();
});

function open(path: string, extra: { failpoints?: LogFailpoints; onFatal?: (error: OperationalError) => void; onTrouble?: (text: string) => void; segmentBytes?: number } = {}): WalLog {
  const log = openWalLog({ path, identity, ...extra });
  opened.push(log);
  return log;
}

function fresh(extra: Parameters<typeof open>[1] = {}): { path: string; log: WalLog } {
  const path = join(tempDir(), 'log');
  createWalLog(path, identity);
  return { path, log: open(path, extra) };
}

function openFails(path: string): OperationalError {
  try {
    open(path);
  } catch (thrown) {
    expect(thrown, String(thrown)).toBeInstanceOf(OperationalError);
    return thrown as OperationalError;
  }
  throw new Error(`${path} opened`);
}

const readAll = (log: WalLog): Uint8Array[] => (log.lastIndex === 0 ? [] : log.read(log.firstIndex, log.lastIndex, Infinity));

describe('the log store', () => {
  test('an empty log', () => {
    const { log } = fresh();
    expect(log.hardState).toEqual({ term: 0, vote: 0, commit: 0 });
    expect([log.firstIndex, log.lastIndex, log.term(0), log.term(1)]).toEqual([1, 0, 0, undefined]);
    expect(log.tornTail).toBeUndefined();
  });

  test('append, read back, close, open again', async () => {
    const { path, log } = fresh();
    const entries = [sealed(1, 1, 10), sealed(2, 1, 100), sealed(3, 4, 5000)];
    await appended(log, { hardState: { term: 4, vote: 2, commit: 1 }, entries, meta: new Map([['peers', new Uint8Array([1, 2])]]) });
    const check = (l: WalLog): void => {
      expect(l.hardState).toEqual({ term: 4, vote: 2, commit: 1 });
      expect([l.firstIndex, l.lastIndex]).toEqual([1, 3]);
      expect([0, 1, 2, 3, 4].map((i) => l.term(i))).toEqual([0, 1, 1, 4, undefined]);
      expect(l.meta('peers')).toEqual(new Uint8Array([1, 2]));
      expect(l.meta('head')).toBeUndefined();
      expect(readAll(l)).toEqual(entries);
      expect(l.sizeBytes()).toBeGreaterThan(5000);
    };
    check(log);
    log.close();
    check(open(path));
  });

  test('read gives as many as fit, and at least one', async () => {
    const { log } = fresh();
    await appended(log, { entries: [1, 2, 3, 4].map((i) => sealed(i, 1, 960)) });
    const count = (bytesMax: number): number => log.read(1, 4, bytesMax).length;
    expect([0, 1000, 1999, 2000, 3999, 4000].map(count)).toEqual([1, 1, 1, 2, 3, 4]);
    expect(log.read(4, 4, 0)).toHaveLength(1);
    expect(() => log.read(1, 5, 1)).toThrow(/read of/);
    expect(() => log.read(0, 1, 1)).toThrow(/read of/);
  });

  test('done comes later, in order, before the event loop turns', async () => {
    const { log } = fresh();
    const events: string[] = [];
    setImmediate(() => events.push('turn'));
    log.append({ entries: [sealed(1, 1, 1)] }, () => events.push('first'));
    log.append({ entries: [sealed(2, 1, 1)] }, () => events.push('second'));
    events.push('returned');
    expect(log.lastIndex).toBe(2);
    await new Promise((resolve) => setImmediate(resolve));
    expect(events).toEqual(['returned', 'first', 'second', 'turn']);
  });

  test('an append below the end replaces everything from there on', async () => {
    const { path, log } = fresh();
    await appended(log, { entries: [1, 2, 3, 4, 5].map((i) => sealed(i, i < 3 ? 1 : 2, 3000)) });
    const replacement = sealed(3, 7, 20, 99);
    await appended(log, { hardState: { term: 7, vote: 0, commit: 2 }, entries: [replacement] });
    const check = (l: WalLog): void => {
      expect(l.lastIndex).toBe(3);
      expect([2, 3, 4].map((i) => l.term(i))).toEqual([1, 7, undefined]);
      expect(l.read(3, 3, 1)).toEqual([replacement]);
    };
    check(log);
    log.close();
    check(open(path));
  });

  test('refuses gaps, falling terms and unsealed entries, changing nothing', async () => {
    const { log } = fresh();
    await appended(log, { entries: [sealed(1, 3, 1)] });
    const never = (): void => expect.unreachable('done');
    expect(() => log.append({ entries: [sealed(3, 3, 1)] }, never)).toThrow(/does not follow/);
    expect(() => log.append({ entries: [sealed(2, 2, 1)] }, never)).toThrow(/after term 3/);
    expect(() => log.append({ entries: [sealed(2, 3, 1), sealed(4, 3, 1)] }, never)).toThrow(/where 3 is due/);
    expect(() => log.append({ entries: [sealed(0, 3, 1)] }, never)).toThrow(/does not follow/);
    expect(log.lastIndex).toBe(1);
    await appended(log, { entries: [sealed(2, 3, 1)] });
  });

  test('entries of tens of MiB, from shared memory', async () => {
    const { path, log } = fresh();
    const big = sealed(1, 1, 48 * MiB);
    const shared = new Uint8Array(new SharedArrayBuffer(big.length));
    shared.set(big);
    await appended(log, { entries: [shared] });
    await appended(log, { entries: [sealed(2, 1, 1)] });
    const read = log.read(1, 2, 1);
    expect(read).toHaveLength(1);
    expect(Buffer.compare(read[0]!, big)).toBe(0);
    const even = sealed(2, 2, 64 * MiB - ENTRY_HEADER_BYTES);
    await appended(log, { hardState: { term: 2, vote: 1, commit: 0 }, entries: [even] });
    log.close();
    const again = open(path);
    expect(again.lastIndex).toBe(2);
    expect(Buffer.compare(again.read(1, 2, 113 * MiB)[1]!, even)).toBe(0);
    expect(again.read(1, 2, 111 * MiB)).toHaveLength(1);
    await appended(again, { entries: [sealed(1, 3, 1)] });
    again.close();
    expect(open(path).lastIndex).toBe(1);
  });

  test('rolls from segment to segment, made ahead of their use', async () => {
    const { path, log } = fresh({ segmentBytes: 256 * KiB });
    for (let i = 1; i <= 1500; i++) {
      await appended(log, { hardState: { term: 1, vote: i % 5, commit: i - 1 }, entries: [sealed(i, 1, 3000)], meta: new Map([[`m${i % 3}`, new Uint8Array([i])]]) });
      if (i % 4 === 0) await new Promise((resolve) => setTimeout(resolve, 0));
    }
    const sizes = segmentsOf(path).map((one) => fs.statSync(one).size);
    expect(sizes.length).toBeGreaterThan(12);
    expect(sizes[0]).toBe(1 * MiB);
    expect(new Set(sizes.slice(1))).toEqual(new Set([256 * KiB]));
    const again = open(copyLog(path, tempDir()));
    expect(readAll(again).map(entryIndex)).toEqual(Array.from({ length: 1500 }, (_, i) => i + 1));
    expect(again.hardState).toEqual({ term: 1, vote: 0, commit: 1499 });
    expect(['m0', 'm1', 'm2'].map((name) => again.meta(name)?.[0])).toEqual([1500 % 256, 1498 % 256, 1499 % 256]);
    expect(again.tornTail).toBeUndefined();
  });

  test('another node and another cluster are refused', () => {
    const { path, log } = fresh();
    log.close();
    for (const other of [{ ...identity, clusterId: 'c2' }, { ...identity, incarnation: 'f'.repeat(32) }]) {
      expect(() => openWalLog({ path, identity: other })).toThrow(/belongs to .*"c1"/);
    }
    expect(() => createWalLog(path, identity)).toThrow(/never overwritten/);
    expect(open(path).lastIndex).toBe(0);
  });
});

describe('failure', () => {
  test('is for ever, even if the disk recovers; reads go on seeing what was handed over', async () => {
    const fatal: string[] = [];
    let failing = false;
    const { path, log } = fresh({
      onFatal: (error) => fatal.push(error.code),
      failpoints: { beforeSync: () => { if (failing) throw new Error('EIO'); } },
    });
    const one = sealed(1, 1, 10);
    const two = sealed(2, 1, 10);
    await appended(log, { hardState: { term: 1, vote: 1, commit: 0 }, entries: [one, two] });
    failing = true;
    const three = sealed(2, 2, 10, 77);
    await expect(appended(log, { hardState: { term: 2, vote: 3, commit: 1 }, entries: [three] })).rejects.toMatchObject({ code: 'LOG_WRITE' });
    failing = false;
    const four = sealed(3, 2, 10);
    await expect(appended(log, { entries: [four] })).rejects.toMatchObject({ code: 'LOG_WRITE' });
    await expect(appended(log, { entries: [] })).rejects.toMatchObject({ code: 'LOG_WRITE' });
    expect(fatal).toEqual(['LOG_WRITE']);
    expect(log.hardState.term).toBe(2);
    expect([log.term(2), log.term(3)]).toEqual([2, 2]);
    expect(readAll(log)).toEqual([one, three, four]);
    expect(log.read(1, 3, 60)).toEqual([one]);
    expect(log.read(2, 3, 60)).toEqual([three]);
    log.close();
    // What the failed sync left in the file may be there after a restart, as whole as if it had been reported.
    const again = open(path);
    expect(readAll(again)).toEqual([one, three]);
    expect(again.hardState).toEqual({ term: 2, vote: 3, commit: 1 });
  });

  test('to make the next segment ahead is said, and fails the append that needs it', async () => {
    const trouble: string[] = [];
    const { path, log } = fresh({ segmentBytes: 64 * KiB, onTrouble: (text) => trouble.push(text) });
    // A directory where the next segment is to be made, by either way.
    for (const suffix of ['prepared', 'new']) fs.mkdirSync(`${join(path, '0000000002.log')}.${suffix}`);
    let failed: Error | undefined;
    for (let i = 1; failed === undefined; i++) {
      await appended(log, { entries: [sealed(i, 1, 20_000)] }).catch((error: Error) => { failed = error; });
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    expect(trouble).toHaveLength(1);
    expect(trouble[0]).toMatch(/the next segment cannot be made ahead of its use: EISDIR/);
    expect(failed).toMatchObject({ code: 'LOG_WRITE', message: expect.stringMatching(/the append of entries \d+ to \d+ failed: EISDIR/) as string });
  });

  test('failAfterSyncs lets that many through', async () => {
    const { log } = fresh({ failpoints: failAfterSyncs(2) });
    await appended(log, { entries: [sealed(1, 1, 1)] });
    await appended(log, { entries: [sealed(2, 1, 1)] });
    await expect(appended(log, { entries: [sealed(3, 1, 1)] })).rejects.toThrow(/failpoint: log fsync error after 2.*acknowledges nothing more/);
  });

  test('a full disk', async (context) => {
    const dir = tempDir();
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', dir], { stdio: 'pipe' });
    } catch (thrown) {
      context.skip(`a tmpfs cannot be mounted here (needs root): ${String(thrown)}`);
    }
    try {
      const path = join(dir, 'log');
      createWalLog(path, identity);
      const trouble: string[] = [];
      const log = open(path, { onTrouble: (text) => trouble.push(text) });
      let persisted = 0;
      let failure: Error | undefined;
      for (let i = 1; i <= 1000 && failure === undefined; i++) {
        await appended(log, { entries: [sealed(i, 1, 10_000)] }).then(() => persisted++, (error: Error) => { failure = error; });
        await new Promise((resolve) => setTimeout(resolve, 0));
      }
      expect(trouble.join()).toMatch(/ENOSPC/);
      expect(failure).toMatchObject({ code: 'LOG_WRITE', message: expect.stringMatching(/free space/) as string });
      expect(persisted).toBeGreaterThan(20);
      await expect(appended(log, { entries: [] })).rejects.toBe(failure);
      // As after a kill, with more room.
      const copy = copyLog(path, tempDir());
      expect(open(copy).lastIndex).toBe(persisted);
      log.close();
    } finally {
      execFileSync('umount', ['-l', dir]);
    }
  });
});

/** Sectors of the last frame are zeros; at least its last one. False where that frame is the first of its segment. */
function tear(path: string, prng: Prng): boolean {
  const segment = segmentsOf(path).findLast((one) => framesIn(one).length > 0)!;
  const start = framesIn(segment).at(-1)!;
  const end = usedBytes(segment);
  for (let at = start; at < end; at += 512 - (at % 512)) {
    const next = Math.min(end, at + 512 - (at % 512));
    if (next === end || prng.chance(0.3)) wipe(segment, at, next);
  }
  return true;
}

interface Model {
  readonly hardState: HardState;
  readonly entries: readonly Uint8Array[];
}

describe('a crash', () => {
  test('leaves a prefix of the appends, each whole, and everything that was reported', async () => {
    const seed = freshSeed();
    const prng = new Prng(seed);
    const { path, log } = fresh({ segmentBytes: 128 * KiB });
    let term = 1;
    const models: Model[] = [{ hardState: log.hardState, entries: [] }];
    const dir = tempDir();
    for (let round = 0; round < 250; round++) {
      const last = models.at(-1)!;
      if (prng.chance(0.1)) term += prng.between(1, 3);
      const keep = prng.chance(0.15) ? prng.below(last.entries.length + 1) : last.entries.length;
      const entries: Uint8Array[] = [];
      const count = prng.below(4);
      for (let i = 0; i < count; i++) entries.push(sealed(keep + 1 + i, term, prng.chance(0.1) ? prng.below(60_000) : prng.below(400), prng.below(256)));
      const hardState = prng.chance(0.5) ? { term, vote: prng.below(4), commit: prng.below(keep + count + 1) } : undefined;
      await appended(log, { entries, ...(hardState === undefined ? {} : { hardState }) });
      models.push({ hardState: hardState ?? last.hardState, entries: count === 0 ? last.entries : [...last.entries.slice(0, keep), ...entries] });
      if (!prng.chance(0.25)) continue;
      await new Promise((resolve) => setTimeout(resolve, 0));
      const copy = copyLog(path, dir);
      // A third of the crashes also tear the newest write: of its sectors any may be missing.
      const torn = prng.chance(0.33) && tear(copy, prng);
      const note = `seed ${seed}, round ${round}, torn ${torn}`;
      const found = openWalLog({ path: copy, identity });
      const state = readAll(found);
      const matches = models.findLastIndex((m) => m.entries.length === state.length && m.entries.every((e, i) => Buffer.compare(e, state[i]!) === 0) && JSON.stringify(m.hardState) === JSON.stringify(found.hardState));
      expect(matches, note).toBeGreaterThanOrEqual(models.length - (torn ? 2 : 1));
      // And it goes on from there.
      await appended(found, { entries: [sealed(found.lastIndex + 1, 1e6, 10)] });
      found.close();
      expect(openLast(copy), note).toBe(state.length + 1);
    }
  });

  test('a crash of the process that reopened a torn log, over and over', async () => {
    const seed = freshSeed();
    const prng = new Prng(seed);
    let path = join(tempDir(), 'log');
    createWalLog(path, identity);
    let expected = 0;
    for (let round = 0; round < 25; round++) {
      const log = openWalLog({ path, identity });
      expect(log.tornTail === undefined, `seed ${seed}, round ${round}`).toBe(round === 0);
      expect(log.lastIndex, `seed ${seed}, round ${round}`).toBe(expected);
      const appends = prng.below(20);
      for (let i = 0; i < appends; i++) await appended(log, { entries: [sealed(++expected, 1, prng.below(9000))] });
      // An append that reached the file only in part.
      log.append({ entries: [sealed(expected + 1, 1, 20_000)] }, () => {});
      path = copyLog(path, tempDir());
      log.close();
      tear(path, prng);
    }
  });

  test('a process killed at any moment has what it reported, and can be killed again', async () => {
    const seed = freshSeed();
    const prng = new Prng(seed);
    const path = join(tempDir(), 'log');
    createWalLog(path, identity);
    const script = `
      import { openWalLog } from './src/adapters/wal-log.ts';
      import { makeEntry, sealEntry } from './src/base/entry.ts';
      const log = openWalLog({ path: process.argv[2], identity: ${JSON.stringify(identity)} });
      let persisted = log.lastIndex;
      function next() {
        const index = log.lastIndex + 1;
        const entry = makeEntry(1, 1, 1, 0, new Uint8Array(index % 7 === 0 ? 50_000 : 300));
        sealEntry(entry, 1, index, 0);
        log.append({ hardState: { term: 1, vote: index, commit: 0 }, entries: [entry] }, (error) => {
          if (error) throw error;
          process.stdout.write(index + '\\n');
        });
        setImmediate(next);
      }
      next();
    `;
    await killOverAndOver(script, path, identity, { rounds: 6, linesMax: 400, prng, note: `seed ${seed}` }, (log, note) => {
      expect(log.hardState.vote, note).toBe(log.lastIndex);
    });
  });

  test('an exit without close loses nothing, and leaves no tear', async () => {
    const path = join(tempDir(), 'log');
    createWalLog(path, identity);
    const script = `
      import { openWalLog } from './src/adapters/wal-log.ts';
      const log = openWalLog({ path: process.argv[2], identity: ${JSON.stringify(identity)} });
      log.append({ hardState: { term: 5, vote: 1, commit: 0 }, entries: [] }, () => process.exit(0));
    `;
    const child = startScript(script, [path]);
    expect(await child.exited()).toEqual({ code: 0, stderr: '' });
    const log = open(path);
    expect([log.hardState.term, log.tornTail]).toEqual([5, undefined]);
  });
});

function openLast(path: string): number {
  const log = openWalLog({ path, identity });
  log.close();
  return log.lastIndex;
}

describe('damage', () => {
  async function sample(log: WalLog): Promise<Uint8Array[]> {
    const entries = Array.from({ length: 120 }, (_, i) => sealed(i + 1, 1 + Math.floor(i / 50), i % 20 === 0 ? 30_000 : 200));
    for (const entry of entries) await appended(log, { hardState: { term: 9, vote: 2, commit: 0 }, entries: [entry] });
    await appended(log, { entries: entries.slice(100), meta: new Map([['members', new Uint8Array(50)]]) });
    // The frame that cannot be told from a tear.
    await appended(log, { entries: [] });
    return entries;
  }

  /** All files of a log, for comparison. */
  const bytesOf = (path: string): Buffer => Buffer.concat(fs.readdirSync(path).sort().map((name) => fs.readFileSync(join(path, name))));

  test('a flipped bit anywhere in the log is harmless or reported, never served', async () => {
    const seed = freshSeed();
    const prng = new Prng(seed);
    const { path, log } = fresh({ segmentBytes: 64 * KiB });
    const entries = await sample(log);
    for (let i = 121; i <= 600; i++) {
      entries.push(sealed(i, 9, 3000));
      await appended(log, { entries: [entries.at(-1)!] });
      if (i % 8 === 0) await new Promise((resolve) => setTimeout(resolve, 0));
    }
    await appended(log, { entries: [] });
    log.close();
    const dir = tempDir();
    let reported = 0;
    for (let round = 0; round < 300; round++) {
      const copy = copyLog(path, dir);
      const segment = prng.pick(segmentsOf(copy));
      const frames = framesIn(segment);
      const used = usedBytes(segment);
      // Half in the heads of frames and segments.
      const byte = round % 2 === 0 || frames.length === 0 ? prng.below(used) : prng.pick([0, ...frames]) + prng.below(FRAME_HEADER_BYTES);
      const bit = prng.below(8);
      flipBit(segment, byte, bit);
      const before = bytesOf(copy);
      const note = `seed ${seed}: ${segment}, byte ${byte}, bit ${bit}`;
      let found: WalLog;
      try {
        found = openWalLog({ path: copy, identity });
      } catch (thrown) {
        expect(thrown, `${note}: ${String(thrown)}`).toMatchObject({ code: 'LOG_DAMAGED' });
        expect((thrown as Error).message).toContain(copy);
        expect(bytesOf(copy).equals(before), `${note}: the evidence was changed`).toBe(true);
        reported++;
        continue;
      }
      // The last frame has no entries, so a tear of it changes nothing that is read.
      expect(found.hardState, note).toEqual({ term: 9, vote: 2, commit: 0 });
      expect(Buffer.compare(Buffer.concat(readAll(found)), Buffer.concat(entries)), note).toBe(0);
      expect(found.meta('members'), note).toEqual(new Uint8Array(50));
      found.close();
    }
    expect(reported).toBeGreaterThan(200);
  });

  test('in the middle is reported, with the file and the place', async () => {
    const { path, log } = fresh();
    await sample(log);
    const copy = copyLog(path, tempDir());
    const [segment = ''] = segmentsOf(copy);
    const frames = framesIn(segment);
    flipBit(segment, frames[40]! + FRAME_HEADER_BYTES + 99, 5);
    const before = bytesOf(copy);
    for (let twice = 0; twice < 2; twice++) {
      const text = `${segment} is damaged: the frame at byte ${frames[40]} does not verify, and a whole one stands behind it at byte ${frames[41]}`;
      expect(openFails(copy)).toMatchObject({ code: 'LOG_DAMAGED', message: expect.stringContaining(text) as string });
    }
    expect(bytesOf(copy).equals(before)).toBe(true);
  });

  test('wiped sectors in the middle, and a whole frame', async () => {
    const { path, log } = fresh();
    await sample(log);
    for (const [from, to] of [[0, 512], [512, 1024], [0, 20_000]] as const) {
      const copy = copyLog(path, tempDir());
      const [segment = ''] = segmentsOf(copy);
      const start = framesIn(segment)[60]!;
      wipe(segment, start + from, start + to);
      expect(openFails(copy).code, `${from} to ${to}`).toBe('LOG_DAMAGED');
    }
  });

  test('what a client wrote never passes for a frame', async () => {
    const { path, log } = fresh();
    await sample(log);
    // The last append is torn, and holds a copy of an earlier frame as a value would.
    const [original = ''] = segmentsOf(path);
    const frame = fs.readFileSync(original).subarray(framesIn(original)[5], framesIn(original)[6]);
    const other = fresh();
    await appended(other.log, { entries: [sealed(1, 1, 10)] });
    const entry = sealed(2, 1, 8000);
    entry.set(frame, 40 + 8 * 20);
    other.log.append({ entries: [entry] }, () => undefined);
    const copy = copyLog(other.path, tempDir());
    const [segment = ''] = segmentsOf(copy);
    wipe(segment, framesIn(segment).at(-1)!, framesIn(segment).at(-1)! + 8);
    const found = open(copy);
    expect(found.lastIndex).toBe(1);
    expect(found.tornTail).toMatch(/does not verify, and none stands behind it/);
  });

  test.each([
    ['the directory', (path: string) => fs.rmSync(path, { recursive: true }), /the directory is missing/],
    ['every segment', (path: string) => segmentsOf(path).forEach((one) => fs.rmSync(one)), /there is no segment in it/],
    ['the first segment', (path: string) => fs.rmSync(segmentsOf(path)[0]!), /begins behind entry 0, but the entries up to \d+ are missing/],
    ['a segment in the middle', (path: string) => fs.rmSync(segmentsOf(path)[1]!), /0000000002\.log is missing/],
    ['the segment that was written', (path: string) => segmentsOf(path).slice(3).forEach((one) => fs.rmSync(one)), /is sealed, and the segment behind it is missing/],
    ['the end of a segment', (path: string) => fs.truncateSync(segmentsOf(path)[1]!, 50_000), /it has 50000 of its 65536 bytes/],
    ['all of a segment', (path: string) => fs.truncateSync(segmentsOf(path)[1]!, 0), /it is only 0 bytes long/],
    ['the frames of a segment', (path: string) => wipe(segmentsOf(path)[1]!, SEGMENT_HEADER_BYTES, 65_536), /at byte 4096 does not verify, and the log goes on in/],
    ['a seal', (path: string) => wipe(segmentsOf(path)[1]!, framesIn(segmentsOf(path)[1]!).at(-1)!, 65_536), /does not verify, and the log goes on in/],
  ])('%s is gone', async (_name, damage, text) => {
    const { path, log } = fresh({ segmentBytes: 64 * KiB });
    for (let i = 1; segmentsOf(path).length < 6; i++) {
      await appended(log, { entries: [sealed(i, 1, 9000)] });
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
    log.close();
    const copy = copyLog(path, tempDir());
    damage(copy);
    for (let twice = 0; twice < 2; twice++) expect(openFails(copy)).toMatchObject({ code: 'LOG_DAMAGED', message: expect.stringMatching(text) as string });
    expect(open(path).lastIndex).toBe(log.lastIndex);
  });

  test('segments that change places, and one of another log', async () => {
    const { path, log } = fresh({ segmentBytes: 64 * KiB });
    for (let i = 1; i <= 300; i++) await appended(log, { entries: [sealed(i, 1, 9000)] });
    log.close();
    const swapped = copyLog(path, tempDir());
    const [, second = '', third = ''] = segmentsOf(swapped);
    fs.renameSync(second, `${second}.away`);
    fs.renameSync(third, second);
    fs.renameSync(`${second}.away`, third);
    expect(openFails(swapped)).toMatchObject({ code: 'LOG_DAMAGED', message: expect.stringMatching(/0000000002\.log is damaged: its header says that it is segment 3/) as string });
    const other = fresh();
    const mixed = copyLog(path, tempDir());
    fs.copyFileSync(segmentsOf(other.path)[0]!, segmentsOf(mixed)[0]!);
    expect(openFails(mixed).code).toBe('LOG_DAMAGED');
  });

  test('met by a read after the open is thrown, not served', async () => {
    const { path, log } = fresh();
    await sample(log);
    log.close();
    const found = open(path);
    const [segment = ''] = segmentsOf(path);
    const at = fs.readFileSync(segment).indexOf(Buffer.alloc(200, 77));
    expect(at).toBeGreaterThan(0);
    flipBit(segment, at + 100, 0);
    expect(() => found.read(77, 77, 1e9)).toThrow(/entry at index 77: entry CRC/);
    expect(found.read(76, 76, 1e9).map(entryIndex)).toEqual([76]);
    found.close();
    expect(openFails(path).message).toMatch(/does not verify, and a whole one stands behind it/);
  });
});
