// Reading zipmaps, the packed hashes of Redis before 2.6 (its zipmap.c). Indexes typed arrays directly.
//
//   count of pairs, 254 or more: unknown   (length field  length free value free-bytes)…   0xff
// A length: a byte below 254, or 254 and four bytes, little-endian. `free` is one byte: so many unused ones follow the value.
import { readUint32 } from '../base/uint.ts';
import type { EntryVisitor } from './ziplist.ts';

const LONG = 254;
const END = 255;

/**
 * Visits field, value, field, value… of bytes[start, end), checking each before it is visited. Returns what is wrong with them as a
 * zipmap, or undefined.
 */
export function readZipmap(bytes: Uint8Array, start: number, end: number, visit: EntryVisitor): string | undefined {
  if (end - start < 2 || bytes[end - 1] !== END) return 'a zipmap without an end';
  const last = end - 1;
  let pairs = 0;
  let p = start + 1;
  while (bytes[p] !== END) {
    for (const isValue of [false, true]) {
      const lengthBytes = bytes[p] === LONG ? 5 : 1;
      if (bytes[p] === END || p + lengthBytes > last) return 'a zipmap with a broken entry';
      const length = lengthBytes === 1 ? bytes[p]! : readUint32(bytes, p + 1);
      p += lengthBytes;
      if (isValue && p >= last) return 'a zipmap with a broken entry';
      const free = isValue ? bytes[p++]! : 0;
      if (p + length + free > last) return 'a zipmap with a broken entry';
      visit(bytes, p, p + length);
      p += length + free;
    }
    pairs++;
  }
  if (p !== last) return 'a zipmap with bytes behind its end';
  return bytes[start]! >= LONG || bytes[start] === pairs ? undefined : 'a zipmap with a wrong count';
}
