import { describe, expect, test } from 'vitest';
import { KeyedHash } from '../../src/memory/hash.ts';

// From the reference implementation (veorq/SipHash, vectors.h, vectors_hsip32): key 00..07, message 00..(i-1), little-endian.
const VECTORS = [
  'a9359f5b', '27475ab8', 'fa62a603', '8afee704', '2a6e4689', 'c5fab669', '5863fc23', '8bcf63c5', 'd0b8848f',
  'f806e779', '94b07934', '08083050', '57f0872f', '77e663ff', 'd6fff87c', '74fe2b97', 'd9b5ac84', 'c474645b',
  '465b8d9b', '7befe387', 'e34d1045', '613f62b3', '70f367fe', 'e6adb8bd', '27400c63', '26787875', '4f567b5f',
];

function hex(hash: number): string {
  const out = Buffer.alloc(4);
  out.writeInt32LE(hash);
  return out.toString('hex');
}

describe('keyed hash', () => {
  test('gives the reference vectors of HalfSipHash-2-4, wherever the message lies', () => {
    const key = Uint8Array.from({ length: 16 }, (_, i) => i);
    const hasher = new KeyedHash(key);
    for (let shift = 0; shift < 4; shift++) {
      const message = Buffer.alloc(64 + shift, 0xee);
      for (let i = 0; i < 60; i++) message[i + shift] = i;
      VECTORS.forEach((vector, length) => {
        expect(hex(hasher.hash(message, shift, shift + length)), `length ${length}`).toBe(vector);
      });
    }
  });

  test('depends on the key', () => {
    const message = Buffer.from('some key');
    const hashes = new Set<number>();
    for (let i = 0; i < 64; i++) {
      const key = new Uint8Array(16);
      key[i >> 3] = 1 << (i & 7);
      hashes.add(new KeyedHash(key).hash(message, 0, message.length));
    }
    expect(hashes.size).toBe(64);
  });

  test('refuses a key of another length', () => {
    expect(() => new KeyedHash(new Uint8Array(8))).toThrow('16 bytes');
  });
});
