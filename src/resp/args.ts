// One decoded command: its arguments as offsets into a byte buffer. Reused for command after command by whoever
// owns it; nobody may keep it or its `bytes` past the call that received it. Indexes typed arrays directly.

const DIGIT_0 = 0x30;
const MINUS = 0x2d;

export class Args {
  /** The buffer that the offsets point into. */
  bytes: Uint8Array = new Uint8Array(0);
  /** Number of arguments, the command's name (argument 0) included. */
  count = 0;
  /** Argument i is bytes[starts[i], ends[i]). */
  starts = new Int32Array(32);
  ends = new Int32Array(32);

  /** Forgets the arguments and points at another buffer. */
  reset(bytes: Uint8Array): void {
    this.bytes = bytes;
    this.count = 0;
  }

  /** Makes room for `count` arguments. */
  reserve(count: number): void {
    if (count > this.starts.length) this.#grow(count);
  }

  push(start: number, end: number): void {
    if (this.count === this.starts.length) this.#grow(this.count + 1);
    this.starts[this.count] = start;
    this.ends[this.count++] = end;
  }

  start(i: number): number {
    return this.starts[i]!;
  }

  end(i: number): number {
    return this.ends[i]!;
  }

  length(i: number): number {
    return this.ends[i]! - this.starts[i]!;
  }

  /** A view, not a copy. */
  view(i: number): Uint8Array {
    return this.bytes.subarray(this.starts[i], this.ends[i]);
  }

  /** A copy, also where `bytes` is a Buffer (whose own `slice` is a view). */
  copy(i: number): Uint8Array {
    return Uint8Array.prototype.slice.call(this.bytes, this.starts[i]!, this.ends[i]!);
  }

  /** The argument as a string, a char a byte. Not for the hot path. */
  latin1(i: number): string {
    return Buffer.from(this.bytes.buffer, this.bytes.byteOffset + this.starts[i]!, this.length(i)).toString('latin1');
  }

  /** True if argument i is `upper` (ASCII, upper case), letters in either case. Allocates nothing. */
  is(i: number, upper: string): boolean {
    const start = this.starts[i]!;
    if (this.ends[i]! - start !== upper.length) return false;
    for (let k = 0; k < upper.length; k++) {
      let c = this.bytes[start + k]!;
      if (c >= 0x61 && c <= 0x7a) c -= 0x20;
      if (c !== upper.charCodeAt(k)) return false;
    }
    return true;
  }

  /**
   * The argument as a whole number where Redis's string2ll takes it (no leading zeros, spaces or plus) and it is a safe
   * integer; NaN where it is not a number of that form or beyond ±(2^53 − 1). `integer64` tells those two apart.
   */
  integer(i: number): number {
    const start = this.starts[i]!;
    return parseSafeInteger(this.bytes, start, this.ends[i]!);
  }

  /** The argument as a signed 64-bit whole number in string2ll's form, or undefined. */
  integer64(i: number): bigint | undefined {
    return parseInteger64(this.bytes, this.starts[i]!, this.ends[i]!);
  }

  #grow(countMin: number): void {
    const length = Math.max(countMin, this.starts.length * 2);
    const starts = new Int32Array(length);
    starts.set(this.starts);
    this.starts = starts;
    const ends = new Int32Array(length);
    ends.set(this.ends);
    this.ends = ends;
  }
}

/** bytes[start, end) in string2ll's form as a safe integer, else NaN. */
export function parseSafeInteger(bytes: Uint8Array, start: number, end: number): number {
  let at = start;
  const negative = at < end && bytes[at] === MINUS;
  if (negative) at++;
  const digits = end - at;
  if (digits < 1 || digits > 16) return NaN;
  const first = bytes[at]! - DIGIT_0;
  if (first === 0) return digits === 1 && !negative ? 0 : NaN;
  let value = 0;
  for (; at < end; at++) {
    const digit = bytes[at]! - DIGIT_0;
    if (digit < 0 || digit > 9) return NaN;
    value = value * 10 + digit;
  }
  if (value > Number.MAX_SAFE_INTEGER) return NaN;
  return negative ? -value : value;
}

/** bytes[start, end) in string2ll's form as a signed 64-bit number, else undefined. */
export function parseInteger64(bytes: Uint8Array, start: number, end: number): bigint | undefined {
  const safe = parseSafeInteger(bytes, start, end);
  if (!Number.isNaN(safe)) return BigInt(safe);
  const length = end - start;
  if (length < 16 || length > 20) return undefined;
  const text = Buffer.from(bytes.buffer, bytes.byteOffset + start, length).toString('latin1');
  if (!/^-?[1-9][0-9]*$/.test(text)) return undefined;
  const value = BigInt(text);
  return value === BigInt.asIntN(64, value) ? value : undefined;
}
