import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import type { RespValue } from '../../src/resp/reply-parser.ts';
import { parseReplies, plain, ReplyParser } from '../../src/resp/reply-parser.ts';
import { bytesOf, cutAt } from './decode-helper.ts';

function parseCut(text: string, step: number): { values: RespValue[]; error: string | undefined; idle: boolean } {
  const parser = new ReplyParser();
  const values: RespValue[] = [];
  for (const piece of cutAt(bytesOf(text), step)) {
    parser.feed(piece);
    for (let value = parser.next(); value !== undefined; value = parser.next()) values.push(value);
  }
  return { values, error: parser.error, idle: parser.idle };
}

describe('reply parser', () => {
  const stream =
    '+OK\r\n-ERR x\r\n:-12\r\n$3\r\na\r\n\r\n$-1\r\n*-1\r\n_\r\n#t\r\n,1.5\r\n,inf\r\n(123\r\n=7\r\ntxt:abc\r\n!5\r\nERR y\r\n' +
    '*2\r\n*0\r\n*1\r\n%1\r\n+k\r\n~2\r\n:1\r\n:2\r\n>1\r\n+p\r\n|1\r\n+a\r\n:1\r\n$1\r\nv\r\n%0\r\n';

  test('every type, whole and cut at every byte', () => {
    const values = parseReplies(bytesOf(stream));
    expect(values.map(plain)).toEqual([
      'OK', '-ERR x', -12, 'a\r\n', null, null, null, true, 1.5, Infinity, '123', 'abc', '-ERR y',
      [[], [[['k', [1, 2]]]]], ['p'], 'v', [],
    ]);
    for (const step of [1, 2, 3, 7, 50]) expect(parseCut(stream, step)).toEqual({ values, error: undefined, idle: true });
  });

  const bad = [
    'x\r\n', '\r\n', '\n', ':1x\r\n', ':\r\n', ':01\r\n', '$1\r\nabc\r\n', '$-2\r\n', '$x\r\n', '*-2\r\n', '%-1\r\n', '*?\r\n',
    '#x\r\n', '_x\r\n', ',x\r\n', '(x\r\n', '=3\r\nabc\r\n', '+a\rb\r\n', '+a\n', '$+1\r\n', `${'*1\r\n'.repeat(200)}`,
  ];
  test.each(bad)('%j is refused', (text) => {
    for (const step of [1, 1000]) {
      const result = parseCut(`+OK\r\n${text}+OK\r\n+OK\r\n`, step);
      expect(result.error).toMatch(/^not RESP/);
      expect(result.values.length).toBe(1);
    }
  });

  test('half a reply is no reply', () => {
    for (let end = 1; end < stream.length; end++) {
      const result = parseCut(stream.slice(0, end), 1000);
      expect(result.error).toBeUndefined();
      if (!result.idle) expect(() => parseReplies(bytesOf(stream.slice(0, end)))).toThrow();
    }
  });

  test('garbage never throws, and means the same however cut', () => {
    const seed = Math.floor(Math.random() * 2 ** 32);
    const prng = new Prng(seed);
    const scraps = ['*', '$', '%', ':', '+', '-', '\r\n', '1', '2', '0', 'a', ',', '_\r\n', '*1\r\n', '$1\r\na\r\n', '|1\r\n', '\r', '\n'];
    for (let round = 0; round < 3000; round++) {
      const text = Array.from({ length: prng.below(30) }, () => prng.pick(scraps)).join('');
      expect(parseCut(text, 1), `seed ${seed} round ${round} ${JSON.stringify(text)}`).toEqual(parseCut(text, 1000));
    }
  });
});
