// The mixing behind the keyspace digest: two 32-bit lanes over words. It tells divergence, not forgery, so it has no
// key. Each step is a bijection of the lane for a given word and of the word for a given lane. Part of the contract
// between nodes and releases: never change it without a machine version. Hot: indexes typed arrays directly.

const A1 = 0x9e3779b1;
const A2 = 0x85ebca6b;
const B1 = 0xc2b2ae35;
const B2 = 0x27d4eb2f;

export function finish(h: number): number {
  h = Math.imul(h ^ (h >>> 16), 0x7feb352d);
  h = Math.imul(h ^ (h >>> 15), 0x846ca68b);
  return h ^ (h >>> 16);
}

/** Lanes are signed 32-bit numbers. */
export class Lanes {
  low = 0;
  high = 0;

  seed(low: number, high: number): void {
    this.low = low | 0;
    this.high = high | 0;
  }

  word(w: number): void {
    const a = Math.imul(this.low ^ w, A1);
    this.low = (a << 13) | (a >>> 19);
    const b = Math.imul((this.high + w) | 0, B1);
    this.high = ((b << 17) | (b >>> 15)) ^ B2;
  }

  /** Takes in `length` bytes that begin at words[at]. What follows them in the last word does not count. */
  bytes(words: Uint32Array, at: number, length: number): void {
    let a = this.low;
    let b = this.high;
    const end = at + (length >>> 2);
    for (let i = at; i < end; i++) {
      const w = words[i]! | 0;
      a = Math.imul(a ^ w, A1);
      a = (a << 13) | (a >>> 19);
      b = Math.imul((b + w) | 0, B1);
      b = ((b << 17) | (b >>> 15)) ^ B2;
    }
    const rest = length & 3;
    if (rest !== 0) {
      const w = words[end]! & ((1 << (rest * 8)) - 1);
      a = Math.imul(a ^ w, A1);
      a = (a << 13) | (a >>> 19);
      b = Math.imul((b + w) | 0, B1);
      b = ((b << 17) | (b >>> 15)) ^ B2;
    }
    this.low = a;
    this.high = b;
  }

  /** Ends a sequence: every bit of both lanes comes to depend on all of both, and on `length`. */
  close(length: number): void {
    const a = finish(this.low ^ Math.imul(length, A2));
    const b = finish((this.high + a) | 0);
    this.low = finish((a + Math.imul(b, B2)) | 0);
    this.high = b;
  }
}
