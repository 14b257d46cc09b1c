import { expect, test } from 'vitest';
import { discard } from '../../src/adapters/discard.ts';
import { arbitraryBytes } from '../../src/base/bytes.ts';
import { MiB } from '../../src/base/limits.ts';

const heldBytes = (): number => process.memoryUsage().arrayBuffers;

test('the memory of a buffer is given back at once, not when it is collected', () => {
  const before = heldBytes();
  const bytes = arbitraryBytes(64 * MiB);
  expect(heldBytes() - before).toBeGreaterThanOrEqual(64 * MiB);
  discard(bytes);
  expect(heldBytes() - before).toBeLessThan(MiB);
  expect(bytes.length).toBe(0);
});

test('a view of a part of a buffer is left alone, for the rest may be in use', () => {
  const bytes = new Uint8Array([1, 2, 3, 4]);
  discard(bytes.subarray(1));
  discard(new Uint8Array(new SharedArrayBuffer(4)));
  expect(bytes).toEqual(new Uint8Array([1, 2, 3, 4]));
});
