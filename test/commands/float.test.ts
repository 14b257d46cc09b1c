import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { addLongDoubles, formatLongDouble, parseLongDouble } from '../../src/commands/float.ts';
import { Oracle, oracleMissing } from './oracle.ts';
import { parseReply } from './recorded-reply.ts';

const parse = (text: string): ReturnType<typeof parseLongDouble> => {
  const bytes = Buffer.from(`x${text}x`, 'latin1');
  return parseLongDouble(bytes, 1, bytes.length - 1);
};

/** What INCRBYFLOAT would answer, in Redis's words. */
function add(a: string, b: string): string {
  const left = parse(a);
  const right = parse(b);
  if (left === undefined || right === undefined) return 'ERR value is not a valid float';
  const sum = addLongDoubles(left, right);
  return sum === undefined ? 'ERR increment would produce NaN or Infinity' : formatLongDouble(sum);
}

describe('long doubles', () => {
  test.each([
    ['0', '1.5', '1.5'],
    ['3.0e3', '200', '3200'],
    ['10.5', '0.1', '10.6'],
    ['5.0e3', '2.0e2', '5200'],
    ['0.1', '0.2', '0.3'],
    ['1', '-1', '0'],
    ['-0.5', '0.5', '0'],
    ['-0', '0', '0'],
    ['0', '-1e-30', '0'],
    ['0', '1e-17', '0.00000000000000001'],
    ['0', '5e-18', '0'],
    ['0', '5.1e-18', '0.00000000000000001'],
    ['0', '1.999999999999999999', '2'],
    ['9007199254740993', '0', '9007199254740993'],
    ['18446744073709551615', '1', '18446744073709551616'],
    ['18446744073709551616', '1', '18446744073709551616'],
    ['0x1p4', '0x.8', '16.5'],
    ['1', 'inf', 'ERR increment would produce NaN or Infinity'],
    ['1', 'nan', 'ERR value is not a valid float'],
    ['1', '1e5000', 'ERR value is not a valid float'],
    ['1', '1e-5000', 'ERR value is not a valid float'],
    ['1', '1e99999999999999999999', 'ERR value is not a valid float'],
    ['1', '0e99999999999999999999', '1'],
    ['1.18e4932', '1.18e4932', 'ERR increment would produce NaN or Infinity'],
    ['1', '', 'ERR value is not a valid float'],
    ['1', ' 1', 'ERR value is not a valid float'],
    ['1', '1 ', 'ERR value is not a valid float'],
    ['1', '.', 'ERR value is not a valid float'],
    ['1', '1e', 'ERR value is not a valid float'],
    ['1', '0x', 'ERR value is not a valid float'],
    ['1', '.5', '1.5'],
    ['1', '5.', '6'],
    ['1', '+2', '3'],
  ])('%s + %s = %s', (a, b, sum) => expect(add(a, b)).toBe(sum));

  test('adding and taking away the same small decimals comes back', () => {
    for (let i = 0; i < 200; i++) expect(add(add(`${i}.01`, '0.33'), '-0.33')).toBe(`${i}.01`);
  });
});

/** Numbers as people write them, and some as nobody does. */
function randomNumber(random: Prng): string {
  const sign = random.pick(['', '', '-', '+']);
  const digits = (count: number): string => Array.from({ length: count }, () => random.below(10)).join('');
  switch (random.below(8)) {
    case 0:
      return `${sign}${random.below(1000)}`;
    case 1:
      return `${sign}${random.below(1000)}.${digits(random.between(1, 3))}`;
    case 2:
      return `${sign}${digits(random.between(1, 20))}.${digits(random.between(0, 20))}`;
    case 3:
      return `${sign}${random.below(100)}.${digits(random.between(1, 6))}e${random.between(-25, 25)}`;
    case 4:
      return `${sign}${digits(random.between(1, 4))}e${random.between(-5000, 5000)}`;
    case 5:
      return `${sign}0x${random.uint32().toString(16)}${random.uint32().toString(16)}.${random.uint32().toString(16)}p${random.between(-80, 80)}`;
    case 6:
      return String((random.unit() - 0.5) * 10 ** random.between(-10, 18));
    default:
      return random.pick(['inf', '-Infinity', 'nan', '', ' 1', '1 ', '1e', 'e1', '--1', '.', '-.5', '1.', '0x', '1_0', '0e9', '-0', '3.645e-4951', '1.1897e4932']);
  }
}

describe.skipIf(oracleMissing !== undefined)(`against redis-server${oracleMissing === undefined ? '' : ` (skipped: ${oracleMissing})`}`, () => {
  let oracle: Oracle;
  beforeAll(async () => {
    oracle = await Oracle.start();
  });
  afterAll(() => oracle.stop());

  test('INCRBYFLOAT of 20000 random pairs', async () => {
    const seed = Math.floor(Math.random() * 2 ** 32);
    const random = new Prng(seed);
    const pairs = Array.from({ length: 20_000 }, () => [randomNumber(random), randomNumber(random)] as const);
    const replies = await oracle.wire(pairs.flatMap(([a, b]) => [['SET', 'k', a], ['INCRBYFLOAT', 'k', b]]));
    const different: string[] = [];
    pairs.forEach(([a, b], i) => {
      const value = parseReply(replies[2 * i + 1]!);
      const theirs = typeof value === 'object' && value !== null && 'error' in value ? value.error : value;
      const ours = add(a, b);
      if (ours !== theirs) different.push(`${a} + ${b}: ours ${ours}, theirs ${JSON.stringify(theirs)}`);
    });
    expect(different, `seed ${seed}`).toEqual([]);
  });
});
