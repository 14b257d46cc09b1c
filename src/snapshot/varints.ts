// Whole numbers below 2^53 in as few bytes as they need: seven bits a byte, the lowest first, the top bit set on all but the last.

const ROOM_BYTES_MIN = 256;
const NUMBER_BYTES_MAX = 8;

export class VarintWriter {
  #bytes = new Uint8Array(ROOM_BYTES_MIN);
  #length = 0;

  put(value: number): void {
    if (this.#length + NUMBER_BYTES_MAX > this.#bytes.length) {
      const grown = new Uint8Array(this.#bytes.length * 2);
      grown.set(this.#bytes);
      this.#bytes = grown;
    }
    let rest = value;
    while (rest >= 0x80) {
      this.#bytes[this.#length++] = (rest & 0x7f) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.#bytes[this.#length++] = rest;
  }

  /** What was put; good until the next put. */
  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }
}

export class VarintReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get ended(): boolean {
    return this.#at >= this.#bytes.length;
  }

  /** NaN where there is no number. */
  take(): number {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < NUMBER_BYTES_MAX; i++, scale *= 0x80) {
      const byte = this.#bytes[this.#at++] ?? NaN;
      value += (byte & 0x7f) * scale;
      if (Number.isNaN(byte)) return NaN;
      if (byte < 0x80) return value;
    }
    return NaN;
  }
}
