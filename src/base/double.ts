// Doubles as Redis writes them: C's "%.17g" in the C locale with glibc's rounding, digit for digit.

const DIGITS = 17;
const DIGIT_0 = 0x30;

/** `value` as printf("%.17g") gives it; "inf", "-inf", "nan". Always reads back as the same double. */
export function formatDouble17(value: number): string {
  if (Number.isSafeInteger(value)) return Object.is(value, -0) ? '-0' : String(value);
  if (Number.isNaN(value)) return 'nan';
  if (value === Infinity) return 'inf';
  if (value === -Infinity) return '-inf';
  // Few binary places: the decimal expansion has 15 digits at most, and both ways give just that.
  if (Number.isInteger(value * 16) && Math.abs(value) < 1e11) return String(value);
  const sign = value < 0 ? '-' : '';
  const [digits, exponent] = roundTo17(Math.abs(value));
  const significant = digits.replace(/0+$/, '');
  if (exponent < -4 || exponent >= DIGITS) {
    const fraction = significant.length > 1 ? `.${significant.slice(1)}` : '';
    const magnitude = String(Math.abs(exponent)).padStart(2, '0');
    return `${sign}${significant.slice(0, 1)}${fraction}e${exponent < 0 ? '-' : '+'}${magnitude}`;
  }
  if (exponent < 0) return `${sign}0.${'0'.repeat(-exponent - 1)}${significant}`;
  const whole = digits.slice(0, exponent + 1);
  const fraction = significant.slice(exponent + 1);
  return fraction === '' ? `${sign}${whole}` : `${sign}${whole}.${fraction}`;
}

/**
 * The 17 digits nearest to `value` > 0 and the decimal exponent of the first. toExponential rounds a tie away from zero,
 * C to even. A tie is exact in 18 digits; no double comes nearer to one than 1e-40 of its value without being one.
 */
function roundTo17(value: number): [digits: string, exponent: number] {
  const [digits, exponent] = splitExponential(value.toExponential(DIGITS));
  const last = digits.charCodeAt(DIGITS) - DIGIT_0;
  if (last < 5) return [digits.slice(0, DIGITS), exponent];
  if (last === 5) {
    const [long, longExponent] = splitExponential(value.toExponential(60));
    const even = long.charCodeAt(DIGITS - 1) % 2 === 0;
    if (even && /^50*$/.test(long.slice(DIGITS))) return [long.slice(0, DIGITS), longExponent];
  }
  return splitExponential(value.toExponential(DIGITS - 1));
}

function splitExponential(text: string): [digits: string, exponent: number] {
  const e = text.indexOf('e');
  return [text.slice(0, 1) + text.slice(2, e), Number(text.slice(e + 1))];
}
