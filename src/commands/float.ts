// x87 extended floats (C's long double on x86-64), exactly: what Redis 7.0 computes with in INCRBYFLOAT and HINCRBYFLOAT.
// Whole-number arithmetic only, so that every node and platform gets the same bits and the same text.
//
// A value is ±mantissa × 2^exponent, the mantissa a whole number below 2^64. Parsing, adding and printing each round once, to
// nearest with ties to even, as glibc and the FPU do. Owns no state.
//
// What must hold: a finite value's mantissa is below 2^64; its exponent is at least LSB_EXPONENT_MIN.

/** The exponent of the last bit of the smallest denormal. */
const LSB_EXPONENT_MIN = -16445;
/** mantissa × 2^exponent is infinite where its top bit would stand at or above this power of two. */
const EXPONENT_OVERFLOW = 16384;
const MANTISSA_BITS = 64;
/** Redis's MAX_LONG_DOUBLE_CHARS: a longer text is not a float to it. */
const TEXT_BYTES_MAX = 5 * 1024 - 1;
/** Decimal places that are printed before trailing zeros are dropped. */
const PRINTED_PLACES = 17;
const PRINTED_SCALE = 10n ** BigInt(PRINTED_PLACES);

export interface LongDouble {
  readonly negative: boolean;
  readonly infinite: boolean;
  readonly mantissa: bigint;
  readonly exponent: number;
}

const INFINITE = { infinite: true, mantissa: 0n, exponent: 0 } as const;
const ZERO: LongDouble = { negative: false, infinite: false, mantissa: 0n, exponent: 0 };

export const longDoubleZero = ZERO;

function bitLength(value: bigint): number {
  const hex = value.toString(16);
  return (hex.length - 1) * 4 + (32 - Math.clz32(parseInt(hex[0]!, 16)));
}

/** Rounds magnitude × 2^exponent (a little more than that, if `sticky`) to the nearest long double. */
function round(negative: boolean, magnitude: bigint, exponent: number, sticky: boolean): LongDouble {
  if (magnitude === 0n) return { negative, infinite: false, mantissa: 0n, exponent: 0 };
  const bits = bitLength(magnitude);
  const drop = Math.max(bits - MANTISSA_BITS, LSB_EXPONENT_MIN - exponent);
  let mantissa = magnitude;
  let scale = exponent;
  if (drop > 0) {
    const shift = BigInt(drop);
    mantissa = magnitude >> shift;
    scale += drop;
    const rest = magnitude - (mantissa << shift);
    const half = 1n << (shift - 1n);
    if (rest > half || (rest === half && (sticky || (mantissa & 1n) === 1n))) mantissa++;
  }
  if (mantissa === 0n) return { negative, infinite: false, mantissa: 0n, exponent: 0 };
  if (bitLength(mantissa) + scale > EXPONENT_OVERFLOW) return { negative, ...INFINITE };
  return { negative, infinite: false, mantissa, exponent: scale };
}

const DECIMAL = /^([+-]?)(?:(\d+)(?:\.(\d*))?|\.(\d+))(?:e([+-]?\d+))?$/i;
const HEXADECIMAL = /^([+-]?)0x(?:([\da-f]+)(?:\.([\da-f]*))?|\.([\da-f]+))(?:p([+-]?\d+))?$/i;
const INFINITY_NAME = /^([+-]?)inf(?:inity)?$/i;

/** The text as a long double where Redis's string2ld takes it, else undefined. */
export function parseLongDouble(bytes: Uint8Array, start: number, end: number): LongDouble | undefined {
  const length = end - start;
  if (length === 0 || length > TEXT_BYTES_MAX) return undefined;
  const text = Buffer.from(bytes.buffer, bytes.byteOffset + start, length).toString('latin1');
  const decimal = DECIMAL.exec(text);
  if (decimal !== null) {
    const fraction = decimal[3] ?? decimal[4] ?? '';
    return fromDecimal(decimal[1] === '-', (decimal[2] ?? '') + fraction, exponentOf(decimal[5]) - fraction.length);
  }
  const hexadecimal = HEXADECIMAL.exec(text);
  if (hexadecimal !== null) {
    const fraction = hexadecimal[3] ?? hexadecimal[4] ?? '';
    const digits = BigInt('0x' + (hexadecimal[2] ?? '') + fraction);
    return fromHexadecimal(hexadecimal[1] === '-', digits, exponentOf(hexadecimal[5]) - 4 * fraction.length);
  }
  const infinity = INFINITY_NAME.exec(text);
  return infinity === null ? undefined : { negative: infinity[1] === '-', ...INFINITE };
}

/** Far beyond every finite value even behind the longest text; keeps absurd exponents from making absurd numbers. */
const EXPONENT_CLAMP = 1_000_000;

function exponentOf(text: string | undefined): number {
  return Math.max(-EXPONENT_CLAMP, Math.min(EXPONENT_CLAMP, Number(text ?? '0')));
}

function fromDecimal(negative: boolean, text: string, exponent10: number): LongDouble | undefined {
  const digits = BigInt(text);
  if (digits === 0n) return { negative, infinite: false, mantissa: 0n, exponent: 0 };
  const magnitude10 = text.replace(/^0+/, '').length + exponent10;
  if (magnitude10 > 4934 || magnitude10 < -4951) return undefined;
  let value: LongDouble;
  if (exponent10 >= 0) {
    value = round(negative, digits * 10n ** BigInt(exponent10), 0, false);
  } else {
    const divisor = 10n ** BigInt(-exponent10);
    const shift = Math.max(0, MANTISSA_BITS + 2 - (bitLength(digits) - bitLength(divisor)));
    const dividend = digits << BigInt(shift);
    const quotient = dividend / divisor;
    value = round(negative, quotient, -shift, quotient * divisor !== dividend);
  }
  return inRange(value) ? value : undefined;
}

function fromHexadecimal(negative: boolean, digits: bigint, exponent: number): LongDouble | undefined {
  if (digits === 0n) return { negative, infinite: false, mantissa: 0n, exponent: 0 };
  const top = bitLength(digits) + exponent;
  if (top > EXPONENT_OVERFLOW || top < LSB_EXPONENT_MIN - 1) return undefined;
  const value = round(negative, digits, exponent, false);
  return inRange(value) ? value : undefined;
}

/** string2ld refuses what overflowed and what was not zero and became zero. */
const inRange = (value: LongDouble): boolean => !value.infinite && value.mantissa !== 0n;

/** a + b, or undefined where that is infinite or not a number. */
export function addLongDoubles(a: LongDouble, b: LongDouble): LongDouble | undefined {
  if (a.infinite || b.infinite) return undefined;
  if (a.mantissa === 0n) return b;
  if (b.mantissa === 0n) return a;
  const exponent = Math.min(a.exponent, b.exponent);
  const left = a.mantissa << BigInt(a.exponent - exponent);
  const right = b.mantissa << BigInt(b.exponent - exponent);
  const sum = (a.negative ? -left : left) + (b.negative ? -right : right);
  const negative = sum < 0n;
  const value = round(negative, negative ? -sum : sum, exponent, false);
  return value.infinite ? undefined : value;
}

/** As printf's %.17Lf, without trailing zeros, without a trailing point, and never "-0". Finite values only. */
export function formatLongDouble(value: LongDouble): string {
  const { mantissa, exponent } = value;
  let whole: bigint;
  let fraction = 0n;
  if (exponent >= 0) {
    whole = mantissa << BigInt(exponent);
  } else {
    const shift = BigInt(-exponent);
    const scaled = mantissa * PRINTED_SCALE;
    let rounded = scaled >> shift;
    const rest = scaled - (rounded << shift);
    const half = 1n << (shift - 1n);
    if (rest > half || (rest === half && (rounded & 1n) === 1n)) rounded++;
    whole = rounded / PRINTED_SCALE;
    fraction = rounded - whole * PRINTED_SCALE;
  }
  if (whole === 0n && fraction === 0n) return '0';
  const sign = value.negative ? '-' : '';
  if (fraction === 0n) return sign + whole.toString();
  return `${sign}${whole.toString()}.${fraction.toString().padStart(PRINTED_PLACES, '0').replace(/0+$/, '')}`;
}
