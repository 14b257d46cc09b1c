import { expect, test } from 'vitest';
import { readAhead } from '../../src/snapshot/read-ahead.ts';

const chunk = (i: number): Uint8Array => Uint8Array.of(i);

test('gives the same chunks, one asked for ahead and never two', async () => {
  const asked: number[] = [];
  async function* source(): AsyncGenerator<Uint8Array> {
    for (let i = 0; i < 5; i++) {
      asked.push(i);
      yield await Promise.resolve(chunk(i));
    }
  }
  const seen: number[] = [];
  for await (const [i] of readAhead(source())) {
    await new Promise((resolve) => setImmediate(resolve));
    seen.push(i!);
    expect(asked.length).toBe(Math.min(5, i! + 2));
  }
  expect(seen).toEqual([0, 1, 2, 3, 4]);
});

test('what the source throws comes behind the chunks before it', async () => {
  async function* source(): AsyncGenerator<Uint8Array> {
    yield chunk(0);
    yield await Promise.resolve(chunk(1));
    throw new Error('the disk is gone');
  }
  const seen: number[] = [];
  const reading = (async () => {
    for await (const [i] of readAhead(source())) {
      await new Promise((resolve) => setImmediate(resolve));
      seen.push(i!);
    }
  })();
  await expect(reading).rejects.toThrow('the disk is gone');
  expect(seen).toEqual([0, 1]);
});

test('who leaves early does not wait for a source that hangs, which ends once it does not', async () => {
  let release = (): void => {};
  let isEnded = false;
  async function* source(): AsyncGenerator<Uint8Array> {
    try {
      yield chunk(0);
      await new Promise<void>((resolve) => (release = resolve));
      yield chunk(1);
    } finally {
      isEnded = true;
    }
  }
  for await (const [i] of readAhead(source())) {
    expect(i).toBe(0);
    break;
  }
  expect(isEnded).toBe(false);
  release();
  while (!isEnded) await new Promise((resolve) => setImmediate(resolve));
});
