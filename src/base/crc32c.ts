// CRC-32C (Castagnoli, RFC 3720 appendix B.4), reflected polynomial 0x82f63b78, slicing by 16, a word at a time (the machine is
// little-endian): 2.7 GB/s here, where slicing by 8 over bytes gives 1.7.
// Hot: runs over every byte of the log once a node. Indexes typed arrays directly.

const SLICES = 16;
const TABLES: readonly Int32Array[] = makeTables();

function makeTables(): Int32Array[] {
  const tables = Array.from({ length: SLICES }, () => new Int32Array(256));
  for (let n = 0; n < 256; n++) {
    let c = n;
    for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ 0x82f63b78 : c >>> 1;
    tables[0]![n] = c;
  }
  for (let n = 0; n < 256; n++) {
    for (let t = 1; t < SLICES; t++) {
      const c = tables[t - 1]![n]!;
      tables[t]![n] = tables[0]![c & 0xff]! ^ (c >>> 8);
    }
  }
  return tables;
}

const T0 = TABLES[0]!;
const T1 = TABLES[1]!;
const T2 = TABLES[2]!;
const T3 = TABLES[3]!;
const T4 = TABLES[4]!;
const T5 = TABLES[5]!;
const T6 = TABLES[6]!;
const T7 = TABLES[7]!;
const T8 = TABLES[8]!;
const T9 = TABLES[9]!;
const T10 = TABLES[10]!;
const T11 = TABLES[11]!;
const T12 = TABLES[12]!;
const T13 = TABLES[13]!;
const T14 = TABLES[14]!;
const T15 = TABLES[15]!;
/** Below this a view of words costs more than it saves. */
const WORDS_BYTES_MIN = 64;

/** CRC-32C of bytes[start, end) as an unsigned 32-bit number; `seed` is the CRC of what stands before, to go on from. */
export function crc32c(bytes: Uint8Array, start = 0, end = bytes.length, seed = 0): number {
  let c = ~seed;
  let i = start;
  if (end - start >= WORDS_BYTES_MIN) {
    for (; ((bytes.byteOffset + i) & 3) !== 0; i++) c = T0[(c ^ bytes[i]!) & 0xff]! ^ (c >>> 8);
    const words = new Int32Array(bytes.buffer, bytes.byteOffset + i, ((end - i) >>> 4) << 2);
    for (let k = 0; k < words.length; k += 4) {
      c ^= words[k]!;
      const d = words[k + 1]!;
      const e = words[k + 2]!;
      const f = words[k + 3]!;
      c =
        T15[c & 0xff]! ^
        T14[(c >>> 8) & 0xff]! ^
        T13[(c >>> 16) & 0xff]! ^
        T12[c >>> 24]! ^
        T11[d & 0xff]! ^
        T10[(d >>> 8) & 0xff]! ^
        T9[(d >>> 16) & 0xff]! ^
        T8[d >>> 24]! ^
        T7[e & 0xff]! ^
        T6[(e >>> 8) & 0xff]! ^
        T5[(e >>> 16) & 0xff]! ^
        T4[e >>> 24]! ^
        T3[f & 0xff]! ^
        T2[(f >>> 8) & 0xff]! ^
        T1[(f >>> 16) & 0xff]! ^
        T0[f >>> 24]!;
    }
    i += 4 * words.length;
  }
  for (; i < end; i++) c = T0[(c ^ bytes[i]!) & 0xff]! ^ (c >>> 8);
  return ~c >>> 0;
}
