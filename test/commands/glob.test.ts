import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { globMatch, globMatchText } from '../../src/commands/glob.ts';
import { Oracle, oracleMissing } from './oracle.ts';
import { parseReply } from './recorded-reply.ts';

describe('glob', () => {
  test.each([
    ['*', '', false],
    ['', '', true],
    ['', 'a', false],
    ['*', 'a', true],
    ['a*', 'a', true],
    ['a*', 'ab', true],
    ['a*b', 'a', false],
    ['a**b', 'axxb', true],
    ['*a', 'ba', true],
    ['*a*', 'xay', true],
    ['h?llo', 'hello', true],
    ['h?llo', 'hllo', false],
    ['h[ae]llo', 'hallo', true],
    ['h[ae]llo', 'hillo', false],
    ['h[^e]llo', 'hallo', true],
    ['h[^e]llo', 'hello', false],
    ['h[a-c]llo', 'hbllo', true],
    ['h[c-a]llo', 'hbllo', true],
    ['a\\*b', 'a*b', true],
    ['a\\*b', 'axb', false],
    ['a\\', 'a\\', true],
    ['[\\]]', ']', true],
    ['[a', 'a', true],
    ['[', 'a', false],
    ['[^', 'a', true],
    ['[a-]', ']', true],
    ['[a-]x', ']', true],
    ['[a-]x', 'x', true],
    ['[a-]x', 'b', false],
    ['A', 'a', false],
  ])('%s on %s: %s', (pattern, text, matches) => expect(globMatchText(pattern, text)).toBe(matches));

  test('without case', () => {
    expect(globMatchText('HeL*[A-C]', 'hELlob', true)).toBe(true);
    expect(globMatchText('maxmemory*', 'MAXMEMORY-policy', true)).toBe(true);
    expect(globMatchText('[\\A]', 'a', true)).toBe(false);
  });

  test('offsets are honoured', () => {
    const bytes = Buffer.from('..a*c..xabcx..');
    expect(globMatch(bytes, 2, 5, bytes, 8, 11)).toBe(true);
    expect(globMatch(bytes, 2, 5, bytes, 7, 12)).toBe(false);
  });

  test('many stars do not take long', () => {
    const started = performance.now();
    expect(globMatchText('a*'.repeat(40) + 'b', 'a'.repeat(20_000))).toBe(false);
    expect(globMatchText('*[a-z]'.repeat(30) + '0', 'a'.repeat(20_000))).toBe(false);
    expect(performance.now() - started).toBeLessThan(2_000);
  });
});

describe.skipIf(oracleMissing !== undefined)(`glob against redis-server${oracleMissing === undefined ? '' : ` (skipped: ${oracleMissing})`}`, () => {
  let oracle: Oracle;
  beforeAll(async () => {
    oracle = await Oracle.start();
  });
  afterAll(() => oracle.stop());

  test('KEYS with random patterns over random names', async () => {
    const seed = Math.floor(Math.random() * 2 ** 32);
    const random = new Prng(seed);
    const word = (letters: string, longest: number): string =>
      Array.from({ length: random.between(1, longest) }, () => random.pick([...letters])).join('');
    const names = [...new Set(Array.from({ length: 150 }, () => word('aab-c]^\\*[\xe9\x00', 6)))];
    const patterns = Array.from({ length: 3000 }, () => word('aabc**?[[]]^-\\\xe9\xff', 9));
    await oracle.wire(names.map((name) => ['SET', name, '1']));
    const replies = await oracle.wire(patterns.map((pattern) => ['KEYS', pattern]));
    patterns.forEach((pattern, i) => {
      const theirs = (parseReply(replies[i]!) as string[]).sort();
      const ours = names.filter((name) => globMatchText(pattern, name)).sort();
      expect(ours, `seed ${seed}, pattern ${JSON.stringify(pattern)}`).toEqual(theirs);
    });
  });
});
