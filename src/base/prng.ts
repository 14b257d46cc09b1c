// A small seeded generator (xoshiro128**, Blackman and Vigna 2018, https://prng.di.unimi.it/): the only source of
// randomness in replicated code and in simulation. Same seed, same sequence, on every node and release.

export class Prng {
  #a = 0;
  #b = 0;
  #c = 0;
  #d = 0;
  #seed = 0;
  #stream = 0;
  #isSeeded = false;

  constructor(seed: number, stream = 0) {
    this.reseed(seed, stream);
  }

  /** Starts again from `seed` and `stream`, both taken modulo 2^53 (two 32-bit words each). Allocates nothing, and does nothing until a number is asked for. */
  reseed(seed: number, stream = 0): void {
    this.#seed = seed;
    this.#stream = stream;
    this.#isSeeded = false;
  }

  #fill(): void {
    const seed = this.#seed;
    const stream = this.#stream;
    let state = (seed >>> 0) ^ Math.imul(Math.floor(seed / 0x1_0000_0000) >>> 0, 0x9e3779b1);
    state ^= Math.imul(stream >>> 0, 0x85ebca6b) ^ Math.imul(Math.floor(stream / 0x1_0000_0000) >>> 0, 0xc2b2ae35);
    // splitmix32 fills the four words.
    const next = (): number => {
      state = (state + 0x9e3779b9) | 0;
      let z = state;
      z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
      z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
      return (z ^ (z >>> 15)) | 0;
    };
    this.#a = next();
    this.#b = next();
    this.#c = next();
    this.#d = next() | 1;
    this.#isSeeded = true;
  }

  /** A whole number in [0, 2^32). */
  uint32(): number {
    if (!this.#isSeeded) this.#fill();
    const b = this.#b;
    const m = Math.imul(b, 5);
    const result = Math.imul((m << 7) | (m >>> 25), 9) >>> 0;
    const t = b << 9;
    this.#c ^= this.#a;
    this.#d ^= b;
    this.#b = b ^ this.#c;
    this.#a ^= this.#d;
    this.#c ^= t;
    this.#d = (this.#d << 11) | (this.#d >>> 21);
    return result;
  }

  /** A whole number in [0, bound), bound from 1 to 2^32, without modulo bias (Lemire's multiply is not exact in doubles, so reject). */
  below(bound: number): number {
    const limit = 0x1_0000_0000 - (0x1_0000_0000 % bound);
    for (;;) {
      const x = this.uint32();
      if (x < limit) return x % bound;
    }
  }

  /** A whole number in [low, high]. */
  between(low: number, high: number): number {
    return low + this.below(high - low + 1);
  }

  /** A double in [0, 1) with 53 bits. */
  unit(): number {
    return ((this.uint32() >>> 5) * 0x400_0000 + (this.uint32() >>> 6)) / 0x20_0000_0000_0000;
  }

  /** True with probability `p`. */
  chance(p: number): boolean {
    return this.unit() < p;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T;
  }

  shuffle<T>(items: T[]): T[] {
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      const t = items[i] as T;
      items[i] = items[j] as T;
      items[j] = t;
    }
    return items;
  }
}
