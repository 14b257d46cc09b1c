// Directories for the tests of the adapters, and copies of a log as a crash would leave it.
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach } from 'vitest';
import { EntryKind, makeEntry, sealEntry } from '../../src/base/entry.ts';
import type { SqliteLog } from '../../src/adapters/sqlite-log.ts';
import type { LogAppend } from '../../src/ports/log-store.ts';

const made: string[] = [];

/** A new directory, in memory where the machine has /dev/shm, removed after the test. */
export function tempDir(): string {
  const base = fs.existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
  const dir = fs.mkdtempSync(join(base, 'holdfast-test-'));
  made.push(dir);
  return dir;
}

afterEach(() => {
  for (const dir of made.splice(0)) fs.rmSync(dir, { recursive: true, force: true });
});

/** A fresh seed a run; every failure message must carry it. */
export const freshSeed = (): number => Math.floor(Math.random() * 0x1_0000_0000);

export function sealed(index: number, term: number, bytes: number, fill = index): Uint8Array {
  const entry = makeEntry(EntryKind.commands, 1, 1, 1_700_000_000_000 + index, new Uint8Array(bytes).fill(fill));
  sealEntry(entry, term, index, 0);
  return entry;
}

/** Resolves when the append is persisted, rejects with its error. */
export function appended(log: SqliteLog, append: LogAppend): Promise<void> {
  return new Promise((resolve, reject) => {
    log.append(append, (error) => (error === undefined ? resolve() : reject(error)));
  });
}

/** log.db and its WAL as they are now: what a killed process leaves. */
export function copyLog(from: string, toDir: string): string {
  fs.mkdirSync(toDir, { recursive: true });
  const to = join(toDir, 'log.db');
  for (const suffix of ['', '-wal']) {
    fs.rmSync(to + suffix, { force: true });
    if (fs.existsSync(from + suffix)) fs.copyFileSync(from + suffix, to + suffix);
  }
  fs.rmSync(`${to}-shm`, { force: true });
  return to;
}

export function flipBit(path: string, byte: number, bit: number): void {
  const fd = fs.openSync(path, 'r+');
  const one = Buffer.alloc(1);
  fs.readSync(fd, one, 0, 1, byte);
  one[0]! ^= 1 << bit;
  fs.writeSync(fd, one, 0, 1, byte);
  fs.closeSync(fd);
}
