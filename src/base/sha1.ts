// SHA-1 (FIPS 180-4) over bytes, synchronously: for DEBUG DIGEST, which Redis defines by it. Nothing is kept secret or trusted by it.
// Hot: indexes typed arrays directly; allocates nothing.

export const SHA1_BYTES = 20;
const BLOCK_BYTES = 64;

export class Sha1 {
  readonly #state = new Int32Array(5);
  readonly #block = new Uint8Array(BLOCK_BYTES);
  readonly #words = new Int32Array(80);

  /** Writes the hash of bytes[start, end) to out[0, 20). `out` may be the bytes themselves. */
  hash(bytes: Uint8Array, start: number, end: number, out: Uint8Array): void {
    const state = this.#state;
    state[0] = 0x67452301;
    state[1] = 0xefcdab89;
    state[2] = 0x98badcfe;
    state[3] = 0x10325476;
    state[4] = 0xc3d2e1f0;
    let at = start;
    for (; at + BLOCK_BYTES <= end; at += BLOCK_BYTES) this.#take(bytes, at);
    const block = this.#block.fill(0);
    let filled = 0;
    while (at < end) block[filled++] = bytes[at++]!;
    block[filled++] = 0x80;
    if (filled > BLOCK_BYTES - 8) {
      this.#take(block, 0);
      block.fill(0);
    }
    const bits = (end - start) * 8;
    writeBigEndian(block, BLOCK_BYTES - 8, Math.floor(bits / 0x1_0000_0000));
    writeBigEndian(block, BLOCK_BYTES - 4, bits);
    this.#take(block, 0);
    for (let i = 0; i < 5; i++) writeBigEndian(out, i * 4, state[i]!);
  }

  #take(bytes: Uint8Array, at: number): void {
    const words = this.#words;
    for (let i = 0, p = at; i < 16; i++, p += 4) {
      words[i] = (bytes[p]! << 24) | (bytes[p + 1]! << 16) | (bytes[p + 2]! << 8) | bytes[p + 3]!;
    }
    for (let i = 16; i < 80; i++) {
      const w = words[i - 3]! ^ words[i - 8]! ^ words[i - 14]! ^ words[i - 16]!;
      words[i] = (w << 1) | (w >>> 31);
    }
    const state = this.#state;
    let a = state[0]!;
    let b = state[1]!;
    let c = state[2]!;
    let d = state[3]!;
    let e = state[4]!;
    for (let i = 0; i < 80; i++) {
      let f: number;
      if (i < 20) f = ((b & c) | (~b & d)) + 0x5a827999;
      else if (i < 40) f = (b ^ c ^ d) + 0x6ed9eba1;
      else if (i < 60) f = ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc;
      else f = (b ^ c ^ d) + 0xca62c1d6;
      const next = (((a << 5) | (a >>> 27)) + e + words[i]! + f) | 0;
      e = d;
      d = c;
      c = (b << 30) | (b >>> 2);
      b = a;
      a = next;
    }
    state[0]! += a;
    state[1]! += b;
    state[2]! += c;
    state[3]! += d;
    state[4]! += e;
  }
}

function writeBigEndian(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}
