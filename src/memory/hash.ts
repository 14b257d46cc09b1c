// Keyed hash over bytes: HalfSipHash-2-4 with a 32-bit tag (Aumasson and Bernstein, reference implementation's
// halfsiphash.c), so that nobody without the key can choose keys that fall into one place of a table.
// Hot: indexes typed arrays directly; allocates nothing.
import { assert } from '../base/assert.ts';

export const HASH_KEY_BYTES = 16;

export class KeyedHash {
  readonly #k0: number;
  readonly #k1: number;

  /** `key` is 16 bytes; HalfSipHash takes the first eight, the rest is kept for a wider hash. */
  constructor(key: Uint8Array) {
    assert(key.length === HASH_KEY_BYTES, () => `a hash key has ${HASH_KEY_BYTES} bytes, not ${key.length}`);
    this.#k0 = key[0]! | (key[1]! << 8) | (key[2]! << 16) | (key[3]! << 24);
    this.#k1 = key[4]! | (key[5]! << 8) | (key[6]! << 16) | (key[7]! << 24);
  }

  /** The hash of bytes[start, end), as a signed 32-bit number. */
  hash(bytes: Uint8Array, start: number, end: number): number {
    let v0 = this.#k0;
    let v1 = this.#k1;
    let v2 = 0x6c796765 ^ v0;
    let v3 = 0x74656462 ^ v1;
    const length = end - start;
    const words = end - (length & 3);
    let i = start;
    for (;;) {
      let m: number;
      const last = i >= words;
      if (last) {
        m = length << 24;
        const rest = end - i;
        if (rest > 2) m |= bytes[i + 2]! << 16;
        if (rest > 1) m |= bytes[i + 1]! << 8;
        if (rest > 0) m |= bytes[i]!;
      } else {
        m = bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24);
        i += 4;
      }
      v3 ^= m;
      // Two rounds, written out: a call that returned four numbers would allocate.
      v0 = (v0 + v1) | 0;
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
      v0 = (v0 << 16) | (v0 >>> 16);
      v2 = (v2 + v3) | 0;
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
      v0 = (v0 + v3) | 0;
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
      v2 = (v2 + v1) | 0;
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
      v2 = (v2 << 16) | (v2 >>> 16);
      v0 = (v0 + v1) | 0;
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
      v0 = (v0 << 16) | (v0 >>> 16);
      v2 = (v2 + v3) | 0;
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
      v0 = (v0 + v3) | 0;
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
      v2 = (v2 + v1) | 0;
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
      v2 = (v2 << 16) | (v2 >>> 16);
      v0 ^= m;
      if (last) break;
    }
    v2 ^= 0xff;
    for (let round = 0; round < 4; round++) {
      v0 = (v0 + v1) | 0;
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
      v0 = (v0 << 16) | (v0 >>> 16);
      v2 = (v2 + v3) | 0;
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
      v0 = (v0 + v3) | 0;
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
      v2 = (v2 + v1) | 0;
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
      v2 = (v2 << 16) | (v2 >>> 16);
    }
    return v1 ^ v3;
  }
}
