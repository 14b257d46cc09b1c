// CRC-32C against RFC 3720's vectors, and against the definition, bit by bit, at every length, offset and split.
import { expect, test } from 'vitest';
import { crc32c } from '../../src/base/crc32c.ts';
import { Prng } from '../../src/base/prng.ts';

function byDefinition(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}

test('the vectors of RFC 3720, B.4', () => {
  expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
  expect(crc32c(new Uint8Array(32).fill(0xff))).toBe(0x62a8ab43);
  expect(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i))).toBe(0x46dd794e);
  expect(crc32c(Uint8Array.from({ length: 32 }, (_, i) => 31 - i))).toBe(0x113fdb5c);
  expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283);
});

test('every length up to 300 at every offset of a word, whole and in two parts', () => {
  const seed = Math.floor(Math.random() * 2 ** 32);
  const prng = new Prng(seed);
  const memory = Uint8Array.from({ length: 320 }, () => prng.below(256));
  for (let length = 0; length <= 300; length++) {
    const expected = new Map<number, number>();
    for (let offset = 0; offset < 8; offset++) {
      const view = memory.subarray(offset, offset + length);
      expected.set(offset, byDefinition(view));
      expect(crc32c(view), `seed ${seed}, length ${length}, offset ${offset}`).toBe(expected.get(offset));
      expect(crc32c(memory, offset, offset + length)).toBe(expected.get(offset));
      const middle = offset + prng.below(length + 1);
      expect(crc32c(memory, middle, offset + length, crc32c(memory, offset, middle))).toBe(expected.get(offset));
    }
  }
});
