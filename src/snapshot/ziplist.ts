// Reading ziplists, the packed form before listpacks (Redis's ziplist.c). Indexes typed arrays directly.
//
//   0  bytes in all, 4, little-endian   4  where the last entry begins, 4   8  entries, 2; 65535: that many or more   10  entries   0xff
// An entry: the length of the one before (a byte, or 0xfe and four), its encoding, its content.
//   00xxxxxx, 01xxxxxx x, 10…… and four bytes big-endian: a string of so many bytes      c0, d0, e0: integer of 2, 4, 8 bytes
//   f0: 3 bytes    fe: 1 byte    f1–fd: the integer 0–12
import { readUint32 } from '../base/uint.ts';
import { Int64 } from '../memory/integer.ts';

const HEADER_BYTES = 10;
const END = 0xff;
const COUNT_UNKNOWN = 0xffff;
const TEXT_BYTES = 24;

export type EntryVisitor = (bytes: Uint8Array, start: number, end: number) => void;

/** An entry's place, as `entryAt` finds it. */
class Entry {
  /** Content, and for integers its bytes. */
  at = 0;
  end = 0;
  /** Bytes of an integer; 0 for a string, -1 for one that is in the encoding. */
  integerBytes = 0;
}

export class ZiplistReader {
  readonly #entry = new Entry();
  readonly #int = new Int64();
  readonly #text = new Uint8Array(TEXT_BYTES);

  /** Checks the whole of bytes[start, end): what is wrong with it as a ziplist, or undefined. */
  fault(bytes: Uint8Array, start: number, end: number): string | undefined {
    const length = end - start;
    if (length < HEADER_BYTES + 1 || readUint32(bytes, start) !== length || bytes[end - 1] !== END) return 'a ziplist of another length';
    const last = end - 1;
    let count = 0;
    let before = 0;
    let tail = start + HEADER_BYTES;
    let p = start + HEADER_BYTES;
    while (p < last) {
      const previous = bytes[p] === 0xfe ? (p + 5 <= last ? readUint32(bytes, p + 1) : -1) : bytes[p]!;
      if (bytes[p] === END || previous !== before || !this.#entryAt(bytes, p, last)) return 'a ziplist with a broken entry';
      tail = p;
      before = this.#entry.end - p;
      p = this.#entry.end;
      count++;
    }
    const known = bytes[start + 8]! | (bytes[start + 9]! << 8);
    if (readUint32(bytes, start + 4) !== tail - start) return 'a ziplist with a wrong tail';
    return known === COUNT_UNKNOWN || known === count ? undefined : 'a ziplist with a wrong count';
  }

  /** The entries of a ziplist without fault, in order; an integer written out. */
  forEach(bytes: Uint8Array, start: number, end: number, visit: EntryVisitor): void {
    const entry = this.#entry;
    for (let p = start + HEADER_BYTES; p < end - 1; ) {
      this.#entryAt(bytes, p, end - 1);
      const next = entry.end;
      if (entry.integerBytes === 0) visit(bytes, entry.at, next);
      else {
        this.#readInteger(bytes);
        visit(this.#text, this.#int.format(this.#text, TEXT_BYTES), TEXT_BYTES);
      }
      p = next;
    }
  }

  /** False if the entry does not fit before `limit`. */
  #entryAt(bytes: Uint8Array, p: number, limit: number): boolean {
    const entry = this.#entry;
    let at = p + (bytes[p] === 0xfe ? 5 : 1);
    if (at >= limit) return false;
    const b = bytes[at]!;
    let length: number;
    entry.integerBytes = 0;
    if (b < 0x40) {
      length = b;
      at += 1;
    } else if (b < 0x80) {
      if (at + 2 > limit) return false;
      length = ((b & 0x3f) << 8) | bytes[at + 1]!;
      at += 2;
    } else if (b < 0xc0) {
      if (b !== 0x80 || at + 5 > limit) return false;
      length = ((bytes[at + 1]! << 24) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 8) | bytes[at + 4]!) >>> 0;
      at += 5;
    } else if (b > 0xf0 && b < 0xfe) {
      entry.integerBytes = -1;
      length = 0;
      entry.at = at;
      at += 1;
    } else {
      length = b === 0xc0 ? 2 : b === 0xd0 ? 4 : b === 0xe0 ? 8 : b === 0xf0 ? 3 : b === 0xfe ? 1 : 0;
      if (length === 0) return false;
      entry.integerBytes = length;
      at += 1;
    }
    if (entry.integerBytes >= 0) entry.at = at;
    entry.end = at + length;
    return entry.end <= limit;
  }

  #readInteger(bytes: Uint8Array): void {
    const { at, integerBytes } = this.#entry;
    if (integerBytes < 0) {
      this.#int.set((bytes[at]! & 0xf) - 1);
      return;
    }
    let low = 0;
    for (let i = 0; i < Math.min(4, integerBytes); i++) low |= bytes[at + i]! << (8 * i);
    const shift = Math.max(0, 32 - 8 * integerBytes);
    low = (low << shift) >> shift;
    this.#int.low = low >>> 0;
    this.#int.high = integerBytes === 8 ? readUint32(bytes, at + 4) | 0 : low >> 31;
  }
}
