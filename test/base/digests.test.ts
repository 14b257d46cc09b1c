import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { Crc64 } from '../../src/base/crc64.ts';
import { Prng } from '../../src/base/prng.ts';
import { Sha1, SHA1_BYTES } from '../../src/base/sha1.ts';

/** Bit by bit, on one number: the definition. */
function slowCrc64(bytes: Uint8Array): string {
  let crc = 0n;
  for (const byte of bytes) {
    crc ^= BigInt(byte);
    for (let k = 0; k < 8; k++) crc = crc & 1n ? (crc >> 1n) ^ 0x95ac9329ac4bc9b5n : crc >> 1n;
  }
  return crc.toString(16).padStart(16, '0');
}

function randomBytes(random: Prng, length: number): Uint8Array {
  return Uint8Array.from({ length }, () => random.below(256));
}

describe('CRC-64', () => {
  test('has the check value that Redis names', () => {
    const crc = new Crc64();
    crc.update(Buffer.from('123456789'));
    expect(crc.text()).toBe('e9c6d914c4b8d9ca');
  });

  test('is the slow one, at every alignment, whole and in parts', () => {
    const seed = Math.floor(Math.random() * 2 ** 32);
    const random = new Prng(seed);
    for (let i = 0; i < 300; i++) {
      const bytes = randomBytes(random, random.below(100));
      const start = random.below(bytes.length + 1);
      const end = random.between(start, bytes.length);
      const cut = random.between(start, end);
      const crc = new Crc64();
      crc.update(bytes, start, cut);
      crc.update(bytes, cut, end);
      const written = new Uint8Array(10);
      crc.write(written, 1);
      expect(crc.text(), `seed ${seed}`).toBe(slowCrc64(bytes.subarray(start, end)));
      expect(Buffer.from(written.subarray(1, 9)).reverse().toString('hex')).toBe(crc.text());
      expect(crc.matches(written, 1)).toBe(true);
      written[1 + random.below(8)]! ^= 1 << random.below(8);
      expect(crc.matches(written, 1)).toBe(false);
    }
  });
});

test('SHA-1 is that of the platform, at every length around a block', () => {
  const sha1 = new Sha1();
  const random = new Prng(1);
  const out = new Uint8Array(SHA1_BYTES);
  for (let length = 0; length < 200; length++) {
    const bytes = randomBytes(random, length + 7);
    sha1.hash(bytes, 3, 3 + length, out);
    expect(Buffer.from(out).toString('hex')).toBe(createHash('sha1').update(bytes.subarray(3, 3 + length)).digest('hex'));
  }
  const own = Uint8Array.from(out);
  sha1.hash(own, 0, SHA1_BYTES, own);
  expect(Buffer.from(own).toString('hex')).toBe(createHash('sha1').update(out).digest('hex'));
});
