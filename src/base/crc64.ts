// CRC-64 as Redis's RDB files carry it: Jones's polynomial 0xad93d23594c935a9, reflected both ways, initial value 0, nothing
// xored in at the end; slicing by 8 with 32-bit halves. Check value of "123456789": 0xe9c6d914c4b8d9ca.
// Hot: runs over every byte of a snapshot. Indexes typed arrays directly; hosts are little-endian (memory/bytes.ts asserts it).

/** The polynomial with its bits reversed, as two halves. */
const POLYNOMIAL_LOW = 0xac4bc9b5 | 0;
const POLYNOMIAL_HIGH = 0x95ac9329 | 0;
const SLICES = 8;

/** Slice s of byte b: low half at (s * 256 + b) * 2, high half behind it. */
const TABLE = makeTable();

function makeTable(): Int32Array {
  const table = new Int32Array(SLICES * 512);
  for (let b = 0; b < 256; b++) {
    let low = b;
    let high = 0;
    for (let k = 0; k < 8; k++) {
      const carry = low & 1;
      low = (low >>> 1) | (high << 31);
      high = high >>> 1;
      if (carry === 1) {
        low ^= POLYNOMIAL_LOW;
        high ^= POLYNOMIAL_HIGH;
      }
    }
    table[b * 2] = low;
    table[b * 2 + 1] = high;
  }
  for (let i = 512; i < table.length; i += 2) {
    const low = table[i - 512]!;
    const high = table[i - 511]!;
    const first = (low & 0xff) * 2;
    table[i] = ((low >>> 8) | (high << 24)) ^ table[first]!;
    table[i + 1] = (high >>> 8) ^ table[first + 1]!;
  }
  return table;
}

export class Crc64 {
  /** The CRC of what was taken in, in two signed halves. */
  low = 0;
  high = 0;

  update(bytes: Uint8Array, start = 0, end = bytes.length): void {
    const table = TABLE;
    let low = this.low;
    let high = this.high;
    let i = start;
    const aligned = Math.min(end, start + ((4 - ((bytes.byteOffset + start) & 3)) & 3));
    for (; i < aligned; i++) {
      const t = ((low ^ bytes[i]!) & 0xff) << 1;
      low = ((low >>> 8) | (high << 24)) ^ table[t]!;
      high = (high >>> 8) ^ table[t | 1]!;
    }
    const pairs = (end - i) >>> 3;
    if (pairs > 0) {
      const words = new Int32Array(bytes.buffer, bytes.byteOffset + i, pairs * 2);
      for (let w = 0; w < words.length; w += 2) {
        const a = low ^ words[w]!;
        const b = high ^ words[w + 1]!;
        const t0 = 3584 + ((a & 0xff) << 1);
        const t1 = 3072 + ((a >>> 7) & 0x1fe);
        const t2 = 2560 + ((a >>> 15) & 0x1fe);
        const t3 = 2048 + ((a >>> 23) & 0x1fe);
        const t4 = 1536 + ((b & 0xff) << 1);
        const t5 = 1024 + ((b >>> 7) & 0x1fe);
        const t6 = 512 + ((b >>> 15) & 0x1fe);
        const t7 = (b >>> 23) & 0x1fe;
        low = table[t0]! ^ table[t1]! ^ table[t2]! ^ table[t3]! ^ table[t4]! ^ table[t5]! ^ table[t6]! ^ table[t7]!;
        high =
          table[t0 + 1]! ^ table[t1 + 1]! ^ table[t2 + 1]! ^ table[t3 + 1]! ^ table[t4 + 1]! ^ table[t5 + 1]! ^ table[t6 + 1]! ^ table[t7 + 1]!;
      }
      i += pairs * 8;
    }
    for (; i < end; i++) {
      const t = ((low ^ bytes[i]!) & 0xff) << 1;
      low = ((low >>> 8) | (high << 24)) ^ table[t]!;
      high = (high >>> 8) ^ table[t | 1]!;
    }
    this.low = low;
    this.high = high;
  }

  /** Writes the 8 bytes that an RDB file ends with. */
  write(bytes: Uint8Array, at: number): void {
    for (let i = 0; i < 4; i++) {
      bytes[at + i] = this.low >>> (8 * i);
      bytes[at + 4 + i] = this.high >>> (8 * i);
    }
  }

  /** True if bytes[at, at + 8) are this CRC. */
  matches(bytes: Uint8Array, at: number): boolean {
    for (let i = 0; i < 4; i++) {
      if (bytes[at + i] !== ((this.low >>> (8 * i)) & 0xff) || bytes[at + 4 + i] !== ((this.high >>> (8 * i)) & 0xff)) return false;
    }
    return true;
  }

  /** 16 hexadecimal digits. */
  text(): string {
    return (this.high >>> 0).toString(16).padStart(8, '0') + (this.low >>> 0).toString(16).padStart(8, '0');
  }
}
