// Directories for the tests of the adapters, and copies of a log as a crash would leave it.
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach } from 'vitest';
import { EntryKind, makeEntry, sealEntry } from '../../src/base/entry.ts';
import type { LogAppend, LogStore } from '../../src/ports/log-store.ts';

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
export function appended(log: LogStore, append: LogAppend): Promise<void> {
  return new Promise((resolve, reject) => {
    log.append(append, (error) => (error === undefined ? resolve() : reject(error)));
  });
}

/** The directory of the log as it is now: what a killed process leaves. */
export function copyLog(from: string, toDir: string): string {
  const to = join(toDir, 'log');
  fs.rmSync(to, { recursive: true, force: true });
  fs.cpSync(from, to, { recursive: true });
  return to;
}

/** Paths of the segments of the log in `path`, in order. */
export const segmentsOf = (path: string): string[] =>
  fs.readdirSync(path).filter((name) => name.endsWith('.log')).sort().map((name) => join(path, name));

/** Where frames begin in a segment, found by its salt: independent of the code that reads it. */
export function framesIn(segment: string): number[] {
  const bytes = fs.readFileSync(segment);
  const salt = bytes.subarray(24, 32);
  const frames: number[] = [];
  for (let at = bytes.indexOf(salt, 4096); at >= 0; at = bytes.indexOf(salt, at + 1)) frames.push(at - 8);
  return frames;
}

/** Where the last byte other than zero stands, plus one. */
export function usedBytes(segment: string): number {
  const bytes = fs.readFileSync(segment);
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === 0) end--;
  return end;
}

/** Zeros over bytes [from, to): what a write that did not reach the disk leaves. */
export function wipe(path: string, from: number, to: number): void {
  const fd = fs.openSync(path, 'r+');
  fs.writeSync(fd, Buffer.alloc(to - from), 0, to - from, from);
  fs.closeSync(fd);
}

export function flipBit(path: string, byte: number, bit: number): void {
  const fd = fs.openSync(path, 'r+');
  const one = Buffer.alloc(1);
  fs.readSync(fd, one, 0, 1, byte);
  one[0]! ^= 1 << bit;
  fs.writeSync(fd, one, 0, 1, byte);
  fs.closeSync(fd);
}
