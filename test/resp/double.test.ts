import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { formatDouble17 } from '../../src/base/double.ts';

describe('formatDouble17', () => {
  // Made with printf("%.17g") of glibc.
  const cases: [value: number, text: string][] = [
    [0, '0'],
    [-0, '-0'],
    [3, '3'],
    [-42, '-42'],
    [0.1, '0.10000000000000001'],
    [0.2, '0.20000000000000001'],
    [0.3, '0.29999999999999999'],
    [1 / 3, '0.33333333333333331'],
    [-2.5, '-2.5'],
    [3.14159265358979, '3.1415926535897900'.replace(/0+$/, '')],
    [1e15 + 0.3, '1000000000000000.2'],
    [2 ** 53 + 2, '9007199254740994'],
    [2 ** 56, '72057594037927936'],
    [1e16, '10000000000000000'],
    [1e17, '1e+17'],
    [2 ** 60, '1.152921504606847e+18'],
    [1e22, '1e+22'],
    [1e23, '9.9999999999999992e+22'],
    [0.0001, '0.0001'],
    [0.00001, '1.0000000000000001e-05'],
    [0.00012345, '0.00012344999999999999'],
    [5e-324, '4.9406564584124654e-324'],
    [1.7976931348623157e308, '1.7976931348623157e+308'],
    [2.2250738585072014e-308, '2.2250738585072014e-308'],
    [Infinity, 'inf'],
    [-Infinity, '-inf'],
    [NaN, 'nan'],
    // Ties, which go to the even digit.
    [2 ** -25, '2.9802322387695312e-08'],
    [3 * 2 ** -25, '8.9406967163085938e-08'],
    [-(2 ** -25), '-2.9802322387695312e-08'],
  ];
  test.each(cases)('%d', (value, text) => {
    expect(formatDouble17(value)).toBe(text);
  });

  test('random doubles read back as themselves', () => {
    const seed = Math.floor(Math.random() * 2 ** 32);
    const prng = new Prng(seed);
    const words = new Uint32Array(2);
    const double = new Float64Array(words.buffer);
    for (let i = 0; i < 50_000; i++) {
      words[0] = prng.uint32();
      words[1] = prng.uint32();
      const value = prng.chance(0.5) ? double[0]! : (prng.unit() - 0.5) * 10 ** prng.below(25);
      if (Number.isNaN(value)) continue;
      const text = formatDouble17(value);
      if (Number.isFinite(value)) expect(Number(text), `seed ${seed}`).toBe(value);
    }
  });
});
