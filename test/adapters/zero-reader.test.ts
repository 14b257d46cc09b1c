import fs from 'node:fs';
import { expect, test } from 'vitest';
import { ZeroReader } from '../../src/adapters/zero-reader.ts';
import type { Logger } from '../../src/ports/logger.ts';

function logger(warnings: string[]): Logger {
  const ignore = (): void => {};
  return { debug: ignore, info: ignore, error: ignore, warn: (_fields, message) => void warnings.push(message) };
}

function residentBytes(): number {
  return Number(fs.readFileSync('/proc/self/statm', 'utf8').split(' ')[1]) * 4096;
}

const touched = (reader: ZeroReader, bytes: Uint8Array, start: number, length: number): Promise<void> =>
  new Promise((resolve) => reader.touch(bytes, start, length, resolve));

test('what was touched is resident and zeros, and the rest is as it was', async () => {
  const warnings: string[] = [];
  const MiB = 1024 * 1024;
  const bytes = new Uint8Array(256 * MiB);
  bytes[0] = 7;
  bytes[255 * MiB] = 8;
  const before = residentBytes();
  await touched(new ZeroReader(logger(warnings)), bytes, 16 * MiB, 200 * MiB);
  const gained = residentBytes() - before;
  expect(gained).toBeGreaterThan(190 * MiB);
  expect(gained).toBeLessThan(240 * MiB);
  expect(bytes.subarray(16 * MiB, 216 * MiB).every((byte) => byte === 0)).toBe(true);
  expect([bytes[0], bytes[255 * MiB]]).toEqual([7, 8]);
  expect(warnings).toEqual([]);
});

test('where there is nothing to read it says so once, and never holds anybody up', async () => {
  const warnings: string[] = [];
  const bytes = new Uint8Array(4096).fill(1);
  for (const path of ['/nonexistent/zero', '/']) {
    const reader = new ZeroReader(logger(warnings), path);
    await touched(reader, bytes, 0, 4096);
    await touched(reader, bytes, 0, 4096);
  }
  expect(warnings).toHaveLength(2);
  expect(bytes[4095]).toBe(1);
});
