// Content for the tests of the object stores.
import { createHash } from 'node:crypto';
import { expect } from 'vitest';
import { OperationalError } from '../../../src/base/errors.ts';
import type { OperationalCode } from '../../../src/base/errors.ts';
import { Prng } from '../../../src/base/prng.ts';
import type { ObjectStore } from '../../../src/ports/object-store.ts';

export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** Bytes that differ everywhere, from a seed. */
export function content(bytes: number, seed = 1): Uint8Array {
  const prng = new Prng(seed);
  const words = new Uint32Array(Math.ceil(bytes / 4));
  for (let at = 0; at < words.length; at++) words[at] = prng.uint32();
  return new Uint8Array(words.buffer, 0, bytes);
}

/** `bytes` in chunks of up to `most` bytes, asynchronously; the buffer of a chunk is overwritten when the next is asked for, as a source may. */
export async function* inChunks(bytes: Uint8Array, most: number, prng = new Prng(most)): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length;) {
    const chunk = bytes.slice(at, at + prng.between(0, most));
    at += chunk.length;
    await Promise.resolve();
    yield chunk;
    chunk.fill(0xee);
  }
}

/** What `promise` is refused with: an OperationalError of that code; its text. */
export async function refusal(promise: Promise<unknown>, code: OperationalCode): Promise<string> {
  const thrown: unknown = await promise.then(() => undefined, (error: unknown) => error);
  expect(thrown, String(thrown)).toBeInstanceOf(OperationalError);
  expect(thrown, String(thrown)).toMatchObject({ code });
  return (thrown as Error).message;
}

export async function keysOf(store: ObjectStore, prefix = ''): Promise<string[]> {
  return (await store.list(prefix)).objects.map(({ key }) => key);
}
