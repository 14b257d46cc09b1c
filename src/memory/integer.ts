// Strings that are 64-bit integers, as Redis's string2ll takes them: an optional minus, no leading zeros, within int64.
// A value is held as two 32-bit halves; numbers and bigints are only for the way in and out. Indexes typed arrays directly.
import { assert } from '../base/assert.ts';

const DIGIT_0 = 0x30;
const MINUS = 0x2d;
const TWO_32 = 0x1_0000_0000;
/** Minus and 19 digits. */
export const INTEGER_TEXT_BYTES_MAX = 20;

export class Int64 {
  low = 0; // unsigned
  high = 0; // signed

  /** Takes bytes[start, end) if it is an integer in canonical form; says whether it is. */
  parse(bytes: Uint8Array, start: number, end: number): boolean {
    const length = end - start;
    if (length === 0 || length > INTEGER_TEXT_BYTES_MAX) return false;
    const negative = bytes[start] === MINUS;
    let i = negative ? start + 1 : start;
    if (i === end) return false;
    if (bytes[i] === DIGIT_0) {
      this.low = 0;
      this.high = 0;
      return length === 1;
    }
    let low = 0;
    let high = 0;
    if (end - i > 19) return false;
    for (; i < end; i++) {
      const digit = bytes[i]! - DIGIT_0;
      if (digit < 0 || digit > 9) return false;
      low = low * 10 + digit;
      high = high * 10;
      if (low >= TWO_32) {
        const carry = Math.floor(low / TWO_32);
        low -= carry * TWO_32;
        high += carry;
      }
    }
    if (high >= 0x8000_0000 && !(negative && high === 0x8000_0000 && low === 0)) return false;
    this.low = low;
    this.high = high | 0;
    if (negative) {
      this.low = -low >>> 0;
      this.high = (~high + (low === 0 ? 1 : 0)) | 0;
    }
    return true;
  }

  set(value: number | bigint): void {
    if (typeof value === 'bigint') {
      assert(BigInt.asIntN(64, value) === value, () => `${value} is within 64 bits`);
      this.low = Number(value & 0xffff_ffffn);
      this.high = Number(value >> 32n);
      return;
    }
    assert(Number.isSafeInteger(value), () => `${value} is a safe integer`);
    this.low = value >>> 0;
    this.high = Math.floor(value / TWO_32);
  }

  /** The value, or NaN where a number does not hold it exactly. */
  number(): number {
    const value = this.high * TWO_32 + this.low;
    return Number.isSafeInteger(value) ? value : NaN;
  }

  bigint(): bigint {
    return (BigInt(this.high) << 32n) | BigInt(this.low);
  }

  /** Writes the decimal text so that it ends at bytes[end); returns where it begins. Needs 20 bytes before `end`. */
  format(bytes: Uint8Array, end: number): number {
    const value = this.high * TWO_32 + this.low;
    if (!Number.isSafeInteger(value)) {
      const text = this.bigint().toString();
      for (let i = 0; i < text.length; i++) bytes[end - text.length + i] = text.charCodeAt(i);
      return end - text.length;
    }
    let rest = Math.abs(value);
    let at = end;
    while (rest >= 1e9) {
      const above = Math.floor(rest / 1e9);
      let nine = (rest - above * 1e9) | 0;
      for (let i = 0; i < 9; i++) {
        bytes[--at] = DIGIT_0 + (nine % 10);
        nine = (nine / 10) | 0;
      }
      rest = above;
    }
    let head = rest | 0;
    do {
      bytes[--at] = DIGIT_0 + (head % 10);
      head = (head / 10) | 0;
    } while (head > 0);
    if (value < 0) bytes[--at] = MINUS;
    return at;
  }
}
