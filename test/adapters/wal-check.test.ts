import * as fs from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { describe, expect, test } from 'vitest';
import { checkWal } from '../../src/adapters/sqlite-wal-check.ts';
import type { WalCheck } from '../../src/adapters/sqlite-wal-check.ts';
import { Prng } from '../../src/base/prng.ts';
import { flipBit, freshSeed, tempDir } from './temp-dir.ts';

const FRAME = 24 + 4096;
const frameAt = (n: number): number => 32 + (n - 1) * FRAME;

interface Sample {
  readonly db: Buffer;
  readonly wal: Buffer;
  /** Frames up to and with each commit of the WAL's last round. */
  readonly commitFrames: number[];
  /** Commits in the database file before that round. */
  readonly before: number;
  /** WAL after each commit but the last few: what a sync left, with stale frames behind. */
  readonly walBeforeLast: Buffer;
}

/** A WAL of `commits` synced transactions, behind them stale frames of an earlier, longer round when `stale`. */
function makeSample(prng: Prng, commits: number, stale: boolean, lastFrames = 1): Sample {
  const path = join(tempDir(), 'x.db');
  const db = new Database(path);
  db.pragma('auto_vacuum = INCREMENTAL');
  db.pragma('journal_mode = WAL');
  db.pragma('wal_autocheckpoint = 0');
  db.exec('CREATE TABLE t(id INTEGER PRIMARY KEY, b BLOB); CREATE TABLE head(k INTEGER PRIMARY KEY, v INTEGER)');
  const insert = db.prepare('INSERT INTO t(b) VALUES (?)');
  const head = db.prepare('INSERT INTO head(k, v) VALUES (1, ?) ON CONFLICT(k) DO UPDATE SET v = excluded.v');
  let done = 0;
  const commit = (bytes: number): void => {
    db.exec('BEGIN');
    insert.run(Buffer.alloc(bytes, prng.below(256)));
    done++;
    if (bytes > 8192 || prng.chance(0.7)) head.run(done);
    db.exec('COMMIT');
  };
  const bytes = (): number => (prng.chance(0.1) ? prng.between(5000, 30_000) : prng.between(1, 300));
  if (stale) {
    for (let i = 0; i < commits + 50; i++) commit(bytes());
    for (let i = 0; i < lastFrames; i++) commit(5000);
  }
  db.pragma('wal_checkpoint(RESTART)');
  const before = done;
  const commitFrames: number[] = [];
  let walBeforeLast = Buffer.alloc(0);
  for (let i = 0; i < commits; i++) {
    const last = i === commits - 1;
    if (last) walBeforeLast = fs.readFileSync(`${path}-wal`);
    commit(last && lastFrames > 1 ? lastFrames * 4096 : bytes());
    commitFrames.push((db.pragma('wal_checkpoint(NOOP)') as { log: number }[])[0]?.log ?? -1);
  }
  const sample = { db: fs.readFileSync(path), wal: fs.readFileSync(`${path}-wal`), commitFrames, before, walBeforeLast };
  db.close();
  return sample;
}

/** How many of the round's commits SQLite finds in these files. */
function sqliteCommits(sample: Sample, path: string): number {
  fs.writeFileSync(path, sample.db);
  fs.rmSync(`${path}-shm`, { force: true });
  const db = new Database(path, { readonly: true });
  const row = db.prepare<[], { n: number | null }>('SELECT max(id) AS n FROM t').get();
  db.close();
  return Math.max(0, (row?.n ?? 0) - sample.before);
}

const commitsIn = (sample: Sample, check: WalCheck): number => sample.commitFrames.filter((n) => n <= check.commitFrames).length;

function writeWal(wal: Uint8Array): string {
  const path = join(tempDir(), 'x.db-wal');
  fs.writeFileSync(path, wal);
  return path;
}

describe('checkWal', () => {
  test('absent, empty, header alone, zeros', () => {
    expect(checkWal(join(tempDir(), 'none')).state).toBe('absent');
    expect(checkWal(writeWal(new Uint8Array(0))).state).toBe('empty');
    const { wal } = makeSample(new Prng(1), 1, false);
    expect(checkWal(writeWal(wal.subarray(0, 32)))).toMatchObject({ state: 'intact', validFrames: 0, commitFrames: 0 });
    expect(checkWal(writeWal(wal.subarray(0, 31)))).toMatchObject({ state: 'torn-tail', commitFrames: 0 });
    expect(checkWal(writeWal(new Uint8Array(32 + 3 * FRAME)))).toMatchObject({ state: 'torn-tail', commitFrames: 0 });
  });

  test.each([false, true])('a whole WAL is intact, stale frames behind it: %s', (stale) => {
    const sample = makeSample(new Prng(2), 50, stale);
    const check = checkWal(writeWal(sample.wal));
    expect(check).toMatchObject({ state: 'intact', commitFrames: sample.commitFrames.at(-1) });
  });

  test('reads checksums of big-endian words', () => {
    const { wal } = makeSample(new Prng(3), 5, false);
    // The same frames under magic …83, with sums made over again, word by word.
    const view = new DataView(wal.buffer, wal.byteOffset, wal.length);
    let s0 = 0;
    let s1 = 0;
    const run = (from: number, to: number): void => {
      for (let i = from; i < to; i += 8) {
        s0 = (s0 + view.getUint32(i) + s1) >>> 0;
        s1 = (s1 + view.getUint32(i + 4) + s0) >>> 0;
      }
    };
    view.setUint32(0, 0x377f0683);
    run(0, 24);
    view.setUint32(24, s0);
    view.setUint32(28, s1);
    for (let at = 32; at < wal.length; at += FRAME) {
      run(at, at + 8);
      run(at + 24, at + FRAME);
      view.setUint32(at + 16, s0);
      view.setUint32(at + 20, s1);
    }
    const path = writeWal(wal);
    expect(checkWal(path)).toMatchObject({ state: 'intact', validFrames: (wal.length - 32) / FRAME });
    flipBit(path, frameAt(2) + 100, 3);
    expect(checkWal(path)).toMatchObject({ state: 'damaged', validFrames: 1, offset: frameAt(2) });
  });

  test('a flip in the last commit alone looks like a tear, and the detail says so', () => {
    const sample = makeSample(new Prng(4), 20, false);
    const path = writeWal(sample.wal);
    flipBit(path, sample.wal.length - 10, 0);
    const check = checkWal(path);
    expect(check).toMatchObject({ state: 'torn-tail', commitFrames: sample.commitFrames.at(-2) });
    expect(check.detail).toMatch(/looks the same/);
  });

  test.each([
    ['page number', 0, 31],
    ['commit field', 4, 31],
    ['salt', 8, 0],
    ['checksum', 16, 5],
    ['page', 500, 7],
  ])('a flip in the %s of the last commit but one is damage', (_name, at, bit) => {
    const sample = makeSample(new Prng(5), 20, true);
    const path = writeWal(sample.wal);
    flipBit(path, frameAt(sample.commitFrames.at(-2)!) + at + (bit >>> 3), bit & 7);
    const check = checkWal(path);
    expect(check.state).toBe('damaged');
    expect(commitsIn(sample, check)).toBe(18);
  });

  test('every bit of the commit field of the last commit but one', () => {
    const sample = makeSample(new Prng(6), 10, false);
    const path = writeWal(sample.wal);
    for (let bit = 0; bit < 32; bit++) {
      const at = frameAt(sample.commitFrames.at(-2)!) + 4 + (bit >>> 3);
      flipBit(path, at, bit & 7);
      expect(checkWal(path).state, `bit ${bit}`).toBe('damaged');
      flipBit(path, at, bit & 7);
    }
    expect(checkWal(path).state).toBe('intact');
  });

  test('a sector of the header of the last commit but one wiped is damage: a page stands on both sides', () => {
    // Two pages in each transaction, as the log store writes them.
    const path = join(tempDir(), 'x.db');
    const db = new Database(path);
    db.pragma('journal_mode = WAL');
    db.exec('CREATE TABLE head(v INTEGER); CREATE TABLE t(b BLOB); INSERT INTO head VALUES (0)');
    db.pragma('wal_checkpoint(RESTART)');
    for (let i = 0; i < 5; i++) db.exec('BEGIN; UPDATE head SET v = v + 1; INSERT INTO t VALUES (1); COMMIT');
    const wal = fs.readFileSync(`${path}-wal`);
    db.close();
    expect(checkWal(writeWal(wal))).toMatchObject({ state: 'intact', commitFrames: 10 });
    wal.fill(0, frameAt(8), frameAt(8) + 512);
    expect(checkWal(writeWal(wal))).toMatchObject({ state: 'damaged', commitFrames: 6 });
  });

  test('a flip anywhere in the header is damage when frames stand behind it', () => {
    for (const commits of [1, 20]) {
      const sample = makeSample(new Prng(7), commits, false);
      const path = writeWal(sample.wal);
      for (let bit = 0; bit < 256; bit++) {
        flipBit(path, bit >>> 3, bit & 7);
        expect(checkWal(path).state, `bit ${bit}`).toBe('damaged');
        flipBit(path, bit >>> 3, bit & 7);
      }
    }
  });
});

describe('checkWal against SQLite', () => {
  test.each([false, true])('one flipped bit: losing more than the last commit is always damage (stale frames: %s)', (stale) => {
    const seed = freshSeed();
    const prng = new Prng(seed);
    const sample = makeSample(prng, 300, stale);
    const path = join(tempDir(), 'x.db');
    const liveEnd = frameAt(sample.commitFrames.at(-1)! + 1);
    for (let round = 0; round < 200; round++) {
      // Half of the flips go to headers, which are 24 of 4120 bytes, and some to the last two transactions.
      const frames = Math.ceil(sample.wal.length / FRAME);
      const frame = prng.chance(0.3) ? sample.commitFrames.at(-1)! - prng.below(6) : 1 + prng.below(frames);
      const byte = Math.max(0, Math.min(sample.wal.length - 1, frameAt(frame) + (prng.chance(0.5) ? prng.below(24) : prng.below(FRAME))));
      const bit = prng.below(8);
      fs.writeFileSync(`${path}-wal`, sample.wal);
      flipBit(`${path}-wal`, byte, bit);
      const check = checkWal(`${path}-wal`);
      const kept = sqliteCommits(sample, path);
      const note = `seed ${seed}: byte ${byte}, bit ${bit}: SQLite keeps ${kept} of 300; ${check.state}: ${check.detail}`;
      expect(commitsIn(sample, check), note).toBe(kept);
      if (kept < 299) expect(check.state, note).toBe('damaged');
      if (byte >= liveEnd) expect(check.state, note).toBe('intact');
      if (byte < liveEnd) expect(check.state, note).not.toBe('intact');
    }
  });

  test.each([false, true])('cut at any byte it is never damage (stale frames: %s)', (stale) => {
    const seed = freshSeed();
    const prng = new Prng(seed);
    const sample = makeSample(prng, 120, stale);
    const path = join(tempDir(), 'x.db');
    fs.writeFileSync(`${path}-wal`, sample.wal);
    const cuts = new Set<number>([...Array(60).keys()]);
    for (let i = 0; i < 250; i++) cuts.add(prng.below(sample.wal.length));
    for (let i = 0; i < 50; i++) cuts.add(Math.min(sample.wal.length, Math.max(0, frameAt(1 + prng.below(150)) + prng.below(60) - 30)));
    // Downwards, so that the file need not be written anew; SQLite opens copies.
    let nth = 0;
    for (const cut of [...cuts].sort((a, b) => b - a)) {
      fs.truncateSync(`${path}-wal`, cut);
      const check = checkWal(`${path}-wal`);
      const note = `seed ${seed}: cut at ${cut}: ${check.state}: ${check.detail}`;
      expect(check.state, note).not.toBe('damaged');
      if (nth++ % 4 === 0) expect(commitsIn(sample, check), note).toBe(sqliteCommits(sample, path));
    }
  });

  // 1662691319: a sector ended between a frame's page number, of an older generation, and its salts.
  test.each([
    [false, undefined],
    [true, undefined],
    [true, 1662691319],
  ])('a last transaction of many frames torn in any order of sectors is never damage (stale frames: %s, seed: %s)', (stale, kept) => {
    const seed = kept ?? freshSeed();
    const prng = new Prng(seed);
    for (const sectorBytes of [512, 4096]) {
      const sample = makeSample(prng, 30, stale, 12);
      const start = frameAt(sample.commitFrames.at(-2)! + 1);
      const end = frameAt(sample.commitFrames.at(-1)! + 1);
      for (let round = 0; round < 150; round++) {
        const torn = Buffer.alloc(Math.max(end, sample.walBeforeLast.length));
        sample.walBeforeLast.copy(torn);
        for (let at = start - (start % sectorBytes); at < end; at += sectorBytes) {
          if (prng.chance(0.5)) sample.wal.copy(torn, at, at, Math.min(end, at + sectorBytes));
        }
        const check = checkWal(writeWal(torn));
        expect(check.state, `seed ${seed}, sectors of ${sectorBytes}, round ${round}: ${check.detail}`).not.toBe('damaged');
        expect(commitsIn(sample, check)).toBeGreaterThanOrEqual(29);
      }
    }
  });
});
