// Checksums of what passes: the same on this thread and on one of their own, in whatever pieces the bytes come; and what is heard
// of a thread that fails.
import { createHash } from 'node:crypto';
import { Worker } from 'node:worker_threads';
import { afterEach, describe, expect, test } from 'vitest';
import { LocalSums } from '../../src/adapters/byte-sums.ts';
import { type SumsThreadData, ThreadSums } from '../../src/adapters/sums-thread.ts';
import { Crc64 } from '../../src/base/crc64.ts';
import { Prng } from '../../src/base/prng.ts';
import type { ByteSums, Sums } from '../../src/ports/byte-sums.ts';
import { freshSeed } from './temp-dir.ts';
import { importInWorker } from './worker-import.ts';

const started: ThreadSums[] = [];
afterEach(() => {
  for (const sums of started.splice(0)) sums.close();
});

function onThread(code: string): ThreadSums {
  const sums = new ThreadSums((data: SumsThreadData) => new Worker(code, { eval: true, workerData: data }));
  started.push(sums);
  return sums;
}

const REAL = `void ${importInWorker('src/adapters/byte-sums-thread.ts')}`;

function expected(bytes: Uint8Array): Sums {
  const crc = new Crc64();
  crc.update(bytes, 0, Math.max(0, bytes.length - 8));
  return { bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex'), crc64: crc.text() };
}

function randomBytes(random: Prng, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = random.below(256);
  return bytes;
}

/** In pieces, each spoilt once it was taken: sums that look at it later show. */
async function sumOf(sums: ByteSums, bytes: Uint8Array, pieceBytes: () => number): Promise<Sums> {
  for (let at = 0; at < bytes.length; ) {
    const piece = bytes.slice(at, at + pieceBytes());
    at += piece.length;
    await sums.add(piece);
    piece.fill(0xaa);
  }
  return sums.finish();
}

describe('sums', () => {
  test('on this thread, of few bytes and in any pieces', async () => {
    const seed = freshSeed();
    const random = new Prng(seed);
    for (let length = 0; length < 30; length++) {
      const bytes = randomBytes(random, length);
      expect(await sumOf(new LocalSums(), bytes, () => 1), `seed ${seed}`).toEqual(expected(bytes));
      expect(await sumOf(new LocalSums(), bytes, () => random.between(1, 12)), `seed ${seed}`).toEqual(expected(bytes));
    }
  });

  test('on a thread, of more than its ring holds at once, in pieces that fit no slot', async () => {
    const seed = freshSeed();
    const random = new Prng(seed);
    const bytes = randomBytes(random, 9_000_000);
    expect(await sumOf(onThread(REAL), bytes, () => random.between(1, 700_000)), `seed ${seed}`).toEqual(expected(bytes));
    expect(await sumOf(onThread(REAL), bytes, () => bytes.length)).toEqual(expected(bytes));
    expect(await sumOf(onThread(REAL), new Uint8Array(0), () => 1)).toEqual(expected(new Uint8Array(0)));
  });

  test('of two at a time do not meet', async () => {
    const random = new Prng(3);
    const files = [randomBytes(random, 3_000_000), randomBytes(random, 3_000_000)];
    const sums = await Promise.all(files.map((bytes) => sumOf(onThread(REAL), bytes, () => 65_537)));
    expect(sums).toEqual(files.map(expected));
  });
});

describe('a thread that fails', () => {
  test('is heard of by whoever adds', async () => {
    const sums = onThread(`require('node:worker_threads').parentPort.once('message', () => { throw new Error('broken in here'); })`);
    await expect(sumOf(sums, new Uint8Array(50_000_000), () => 100_000)).rejects.toThrow('broken in here');
  });

  test('is heard of by whoever waits for the sums', async () => {
    const code = `require('node:worker_threads').parentPort.on('message', (request) => { if (request === undefined) process.exit(3); })`;
    await expect(sumOf(onThread(code), new Uint8Array(10), () => 1)).rejects.toThrow('ended with code 3');
  });

  test('before it has begun is heard of too', async () => {
    await expect(sumOf(onThread(''), new Uint8Array(10_000_000), () => 100_000)).rejects.toThrow('ended with code 0');
  });

  test('is not one that was closed: nothing waits for that', async () => {
    const sums = onThread(REAL);
    await sums.add(new Uint8Array(1000));
    sums.close();
    sums.close();
    await expect(sums.add(new Uint8Array(1))).rejects.toThrow('take nothing');
  });
});
