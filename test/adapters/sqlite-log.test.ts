import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, describe, expect, test } from 'vitest';
import { createSqliteLog } from '../../src/adapters/sqlite-log-file.ts';
import { failAfterCommits, openSqliteLog } from '../../src/adapters/sqlite-log.ts';
import type { LogFailpoints, SqliteLog } from '../../src/adapters/sqlite-log.ts';
import { OperationalError } from '../../src/base/errors.ts';
import { ENTRY_HEADER_BYTES, entryIndex } from '../../src/base/entry.ts';
import { MiB } from '../../src/base/limits.ts';
import { Prng } from '../../src/base/prng.ts';
import type { HardState } from '../../src/ports/log-store.ts';
import { startScript } from './child-script.ts';
import { appended, copyLog, flipBit, freshSeed, sealed, tempDir } from './temp-dir.ts';

const identity = { clusterId: 'c1', incarnation: '0123456789abcdef0123456789abcdef' };
const opened: SqliteLog[] = [];

afterEach(() => {
  for (const log of opened.splice(0)) log.close();
});

function open(path: string, extra: { failpoints?: LogFailpoints; onFatal?: (error: OperationalError) => void } = {}): SqliteLog {
  const log = openSqliteLog({ path, identity, ...extra });
  opened.push(log);
  return log;
}

function fresh(extra: Parameters<typeof open>[1] = {}): { path: string; log: SqliteLog } {
  const path = join(tempDir(), 'log.db');
  createSqliteLog(path, identity);
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

const readAll = (log: SqliteLog): Uint8Array[] => (log.lastIndex === 0 ? [] : log.read(log.firstIndex, log.lastIndex, Infinity));

describe('the log store', () => {
  test('an empty log', () => {
    const { log } = fresh();
    expect(log.hardState).toEqual({ term: 0, vote: 0, commit: 0 });
    expect([log.firstIndex, log.lastIndex, log.term(0), log.term(1)]).toEqual([1, 0, 0, undefined]);
    expect(log.walFound.state).toBe('absent');
  });

  test('append, read back, close, open again', async () => {
    const { path, log } = fresh();
    const entries = [sealed(1, 1, 10), sealed(2, 1, 100), sealed(3, 4, 5000)];
    await appended(log, { hardState: { term: 4, vote: 2, commit: 1 }, entries, meta: new Map([['peers', new Uint8Array([1, 2])]]) });
    const check = (l: SqliteLog): void => {
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
    expect(fs.existsSync(`${path}-wal`)).toBe(false);
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
    const check = (l: SqliteLog): void => {
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

  test('entries of tens of MiB, in parts, from shared memory', async () => {
    const { path, log } = fresh();
    const big = sealed(1, 1, 48 * MiB);
    const shared = new Uint8Array(new SharedArrayBuffer(big.length));
    shared.set(big);
    await appended(log, { entries: [shared] });
    await new Promise((resolve) => setImmediate(resolve)); // the checkpoint
    await appended(log, { entries: [sealed(2, 1, 1)] });
    const read = log.read(1, 2, 1);
    expect(read).toHaveLength(1);
    expect(Buffer.compare(read[0]!, big)).toBe(0);
    // Exactly two parts, then one that is replaced whole.
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

  test('checkpoints keep the WAL short', async () => {
    const { path, log } = fresh();
    for (let i = 1; i <= 3000; i++) {
      await appended(log, { entries: [sealed(i, 1, 3000)] });
      if (i % 50 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    expect(fs.statSync(`${path}-wal`).size).toBeLessThan(12 * MiB);
    expect(open(copyLog(path, tempDir())).lastIndex).toBe(3000);
  });

  test('an open log is locked, another node and another cluster are refused', () => {
    const { path, log } = fresh();
    expect(openFails(path)).toMatchObject({ code: 'DATA_DIR', message: expect.stringMatching(/in use/) as string });
    log.close();
    for (const other of [{ ...identity, clusterId: 'c2' }, { ...identity, incarnation: 'f'.repeat(32) }]) {
      expect(() => openSqliteLog({ path, identity: other })).toThrow(/belongs to .*"c1"/);
    }
    expect(() => createSqliteLog(path, identity)).toThrow(/never overwritten/);
    expect(open(path).lastIndex).toBe(0);
  });
});

describe('failure', () => {
  test('is for ever, even if the disk recovers; reads go on seeing what was handed over', async () => {
    const fatal: string[] = [];
    let failing = false;
    const { path, log } = fresh({
      onFatal: (error) => fatal.push(error.code),
      failpoints: { beforeCommit: () => { if (failing) throw new Error('EIO'); } },
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
    const again = open(path);
    expect(readAll(again)).toEqual([one, two]);
    expect(again.hardState).toEqual({ term: 1, vote: 1, commit: 0 });
  });

  test('of a checkpoint stops the store too', async () => {
    let fatal: OperationalError | undefined;
    const { log } = fresh({ onFatal: (error) => { fatal = error; }, failpoints: { beforeCheckpoint: () => { throw new Error('EIO'); } } });
    for (let i = 1; i <= 600; i++) await appended(log, { entries: [sealed(i, 1, 20_000)] });
    await new Promise((resolve) => setImmediate(resolve));
    expect(fatal?.message).toMatch(/a checkpoint failed: EIO/);
    await expect(appended(log, { entries: [sealed(601, 1, 1)] })).rejects.toMatchObject({ code: 'LOG_WRITE' });
    expect(log.read(600, 601, Infinity).map(entryIndex)).toEqual([600, 601]);
  });

  test('failAfterCommits lets that many through', async () => {
    const { log } = fresh({ failpoints: failAfterCommits(2) });
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
      const path = join(dir, 'log.db');
      createSqliteLog(path, identity);
      const log = open(path);
      let persisted = 0;
      let failure: Error | undefined;
      for (let i = 1; i <= 1000 && failure === undefined; i++) {
        await appended(log, { entries: [sealed(i, 1, 10_000)] }).then(() => persisted++, (error: Error) => { failure = error; });
      }
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

interface Model {
  readonly hardState: HardState;
  readonly entries: readonly Uint8Array[];
}

describe('a crash', () => {
  test('leaves a prefix of the appends, each whole, and everything that was reported', async () => {
    const seed = freshSeed();
    const prng = new Prng(seed);
    const { path, log } = fresh();
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
      const walBytes = fs.statSync(`${path}-wal`).size;
      const copy = copyLog(path, dir);
      // A third of the crashes also tear the newest write: the file ends anywhere in its last 3 frames.
      const cut = prng.chance(0.33) ? prng.below(Math.min(walBytes, 3 * 4120)) : 0;
      fs.truncateSync(`${copy}-wal`, walBytes - cut);
      const note = `seed ${seed}, round ${round}, cut ${cut}`;
      const found = openSqliteLog({ path: copy, identity });
      const state = readAll(found);
      const matches = models.findLastIndex((m) => m.entries.length === state.length && m.entries.every((e, i) => Buffer.compare(e, state[i]!) === 0) && JSON.stringify(m.hardState) === JSON.stringify(found.hardState));
      expect(matches, note).toBeGreaterThanOrEqual(cut === 0 ? models.length - 1 : 0);
      // And it goes on from there.
      await appended(found, { entries: [sealed(found.lastIndex + 1, 1e6, 10)] });
      found.close();
      expect(openSqliteLogLast(copy), note).toBe(state.length + 1);
    }
  });

  test('a crash of the process that reopened a torn log, over and over', async () => {
    const seed = freshSeed();
    const prng = new Prng(seed);
    let path = join(tempDir(), 'log.db');
    createSqliteLog(path, identity);
    let expected = 0;
    for (let round = 0; round < 25; round++) {
      const log = openSqliteLog({ path, identity });
      expect(log.lastIndex, `seed ${seed}, round ${round}`).toBe(expected);
      const appends = prng.below(20);
      for (let i = 0; i < appends; i++) await appended(log, { entries: [sealed(++expected, 1, prng.below(9000))] });
      const whole = copyLog(path, tempDir());
      // An append that reached the file only in part.
      log.append({ entries: [sealed(expected + 1, 1, 20_000)] }, () => {});
      const torn = copyLog(path, tempDir());
      log.close();
      const from = fs.statSync(`${whole}-wal`).size;
      const to = fs.statSync(`${torn}-wal`).size;
      if (to > from) fs.truncateSync(`${torn}-wal`, from + prng.below(to - from));
      path = to > from ? torn : whole;
    }
  });

  test('a process killed at any moment has what it reported, and can be killed again', async () => {
    const seed = freshSeed();
    const prng = new Prng(seed);
    const path = join(tempDir(), 'log.db');
    createSqliteLog(path, identity);
    const script = `
      import { openSqliteLog } from './src/adapters/sqlite-log.ts';
      import { makeEntry, sealEntry } from './src/base/entry.ts';
      const log = openSqliteLog({ path: process.argv[2], identity: ${JSON.stringify(identity)} });
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
    let reported = 0;
    for (let round = 0; round < 6; round++) {
      const child = startScript(script, [path]);
      await child.lines(1 + prng.below(400));
      await child.kill('SIGKILL');
      reported = Math.max(reported, Number(child.wholeLines().at(-1)));
      const log = openSqliteLog({ path: copyLog(path, tempDir()), identity });
      expect(log.lastIndex, `seed ${seed}, round ${round}`).toBeGreaterThanOrEqual(reported);
      expect(log.hardState.vote).toBe(log.lastIndex);
      log.close();
    }
  });

  test('an exit without close loses nothing, and does not look like a lost WAL', async () => {
    const path = join(tempDir(), 'log.db');
    createSqliteLog(path, identity);
    const script = `
      import { openSqliteLog } from './src/adapters/sqlite-log.ts';
      const log = openSqliteLog({ path: process.argv[2], identity: ${JSON.stringify(identity)} });
      log.append({ hardState: { term: 5, vote: 1, commit: 0 }, entries: [] }, () => process.exit(0));
    `;
    const child = startScript(script, [path]);
    expect(await child.exited()).toEqual({ code: 0, stderr: '' });
    expect(open(path).hardState.term).toBe(5);
  });
});

function openSqliteLogLast(path: string): number {
  const log = openSqliteLog({ path, identity });
  log.close();
  return log.lastIndex;
}

describe('damage', () => {
  async function sample(log: SqliteLog): Promise<Uint8Array[]> {
    const entries = Array.from({ length: 120 }, (_, i) => sealed(i + 1, 1 + Math.floor(i / 50), i % 20 === 0 ? 30_000 : 200));
    for (const entry of entries) await appended(log, { hardState: { term: 9, vote: 2, commit: 0 }, entries: [entry] });
    await appended(log, { entries: entries.slice(100), meta: new Map([['members', new Uint8Array(50)]]) });
    return entries;
  }

  test('a flipped bit anywhere in log.db is harmless or reported, never served', async () => {
    const seed = freshSeed();
    const prng = new Prng(seed);
    const { path, log } = fresh();
    const entries = await sample(log);
    log.close();
    const bytes = fs.statSync(path).size;
    const dir = tempDir();
    let reported = 0;
    for (let round = 0; round < 400; round++) {
      const copy = copyLog(path, dir);
      const byte = round < 200 ? prng.below(bytes) : prng.chance(0.3) ? prng.below(100) : prng.below(bytes / 4096) * 4096 + prng.below(60);
      const bit = prng.below(8);
      flipBit(copy, byte, bit);
      const before = fs.readFileSync(copy);
      const note = `seed ${seed}: page ${1 + Math.floor(byte / 4096)}, byte ${byte % 4096}, bit ${bit}`;
      let found: SqliteLog;
      try {
        found = openSqliteLog({ path: copy, identity });
      } catch (thrown) {
        expect(thrown, `${note}: ${String(thrown)}`).toMatchObject({ code: 'LOG_DAMAGED' });
        expect((thrown as Error).message).toContain(copy);
        expect(fs.readFileSync(copy).equals(before), `${note}: the evidence was changed`).toBe(true);
        expect(fs.readdirSync(dir), note).toEqual(['log.db']);
        reported++;
        continue;
      }
      expect(found.hardState, note).toEqual({ term: 9, vote: 2, commit: 0 });
      expect(Buffer.compare(Buffer.concat(readAll(found)), Buffer.concat(entries)), note).toBe(0);
      expect(found.meta('members'), note).toEqual(new Uint8Array(50));
      found.close();
    }
    expect(reported).toBeGreaterThan(200);
  });

  test('in the WAL is reported, with the file and the place', async () => {
    const { path, log } = fresh();
    await sample(log);
    const copy = copyLog(path, tempDir());
    const before = fs.readFileSync(copy);
    flipBit(`${copy}-wal`, 32 + 40 * 4120 + 999, 5);
    const wal = fs.readFileSync(`${copy}-wal`);
    for (let twice = 0; twice < 2; twice++) {
      expect(openFails(copy)).toMatchObject({ code: 'LOG_DAMAGED', message: expect.stringMatching(/-wal: frame 41 at offset 164832 does not verify/) as string });
    }
    expect(fs.readFileSync(copy).equals(before) && fs.readFileSync(`${copy}-wal`).equals(wal)).toBe(true);
  });

  test('in log.db under a WAL leaves both files as they were', async () => {
    const { path, log } = fresh();
    await sample(log);
    log.close();
    const second = open(path);
    await appended(second, { entries: [sealed(121, 9, 10)] });
    const copy = copyLog(path, tempDir());
    flipBit(copy, 4096 * 8 + 500, 1);
    const before = [fs.readFileSync(copy), fs.readFileSync(`${copy}-wal`)];
    for (let twice = 0; twice < 2; twice++) expect(openFails(copy).code).toBe('LOG_DAMAGED');
    expect(fs.readFileSync(copy).equals(before[0]!) && fs.readFileSync(`${copy}-wal`).equals(before[1]!)).toBe(true);
    expect(fs.existsSync(`${copy}-shm`)).toBe(false);
  });

  test.each(['absent', 'empty'])('a WAL that somebody made %s', async (state) => {
    const { path, log } = fresh();
    const damage = (): string => {
      const copy = copyLog(path, tempDir());
      if (state === 'absent') fs.rmSync(`${copy}-wal`);
      else fs.truncateSync(`${copy}-wal`, 0);
      for (let twice = 0; twice < 2; twice++) expect(openFails(copy).code).toBe('LOG_DAMAGED');
      return openFails(copy).message;
    };
    expect(damage()).toContain(`-wal is ${state}`);
    for (let i = 1; i <= 3000; i++) {
      await appended(log, { entries: [sealed(i, 1, 3000)] });
      if (i % 250 !== 0) continue;
      await new Promise((resolve) => setImmediate(resolve)); // checkpoints among them
      expect(damage()).toContain(`-wal is ${state}`);
    }
    log.close();
    expect(open(path).lastIndex).toBe(3000);
  });

  test('a log that is missing, empty, cut short or not SQLite', async () => {
    const { path, log } = fresh();
    await sample(log);
    log.close();
    expect(openFails(join(tempDir(), 'log.db'))).toMatchObject({ code: 'LOG_DAMAGED', message: expect.stringMatching(/missing/) as string });
    for (const bytes of [0, 50, 4096, 5000, 40 * 4096]) {
      const copy = copyLog(path, tempDir());
      fs.truncateSync(copy, bytes);
      expect(openFails(copy).code, `${bytes} bytes`).toBe('LOG_DAMAGED');
    }
    const copy = copyLog(path, tempDir());
    fs.writeFileSync(copy, 'x'.repeat(8192));
    expect(openFails(copy).code).toBe('LOG_DAMAGED');
  });

  test.each([
    ['the last entry gone', 'DELETE FROM entries WHERE key = 120 * 64', /last entry is 119/],
    ['an entry gone', 'DELETE FROM entries WHERE key = 50 * 64', /index 51 follows index 49/],
    ['an entry under another index', 'UPDATE entries SET key = 121 * 64 WHERE key = 120 * 64', /header says index 120/],
    ['an entry in the place of another', 'UPDATE entries SET bytes = (SELECT bytes FROM entries WHERE key = 3 * 64) WHERE key = 4 * 64', /header says index 3/],
    ['an entry that is text', "UPDATE entries SET bytes = 'x' WHERE key = 4 * 64", /wrong type/],
    ['a first part gone', 'UPDATE entries SET key = key + 1 WHERE key = 4 * 64', /index 4: part 0 is missing/],
    ['a part too many', 'INSERT INTO entries SELECT key + 1, bytes FROM entries WHERE key = 4 * 64', /index 4: entry of 480 bytes says/],
    ['no hard state', "DELETE FROM meta WHERE name = 'log:head'", /log:head is missing/],
    ['another vote', "UPDATE meta SET value = zeroblob(40) WHERE name = 'log:head'", /log:head: CRC/],
    ['another table', 'CREATE TABLE more(x)', /schema/],
  ])('%s', async (_name, sql, text) => {
    const { path, log } = fresh();
    await sample(log);
    log.close();
    const db = new Database(path);
    db.exec(sql);
    db.close();
    expect(openFails(path)).toMatchObject({ code: 'LOG_DAMAGED', message: expect.stringMatching(text) as string });
  });

  test('met by a read after the open is thrown, not served', async () => {
    const { path, log } = fresh();
    await sample(log);
    log.close();
    const found = open(path);
    const bytes = fs.readFileSync(path);
    const at = bytes.indexOf(Buffer.alloc(200, 77));
    expect(at).toBeGreaterThan(0);
    flipBit(path, at + 100, 0);
    expect(() => found.read(77, 77, 1e9)).toThrow(/entry at index 77: entry CRC/);
    expect(found.read(76, 76, 1e9).map(entryIndex)).toEqual([76]);
    found.close();
    expect(openFails(path).message).toMatch(/entry at index 77: entry CRC/);
  });
});
