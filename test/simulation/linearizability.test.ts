// The judge of histories on histories whose verdict is known.
import { describe, expect, test } from 'vitest';
import { judge } from './checkers/linearizability.ts';

type Reply = string | number | null | undefined;

let id = 0;
/** words, reply (undefined: never answered), called, returned */
const call = (text: string, reply: Reply, calledMs: number, returnedMs = Infinity) => ({
  id: id++, words: text.split(' '), reply, calledMs, returnedMs: reply === undefined ? Infinity : returnedMs,
});

const verdict = (...calls: ReturnType<typeof call>[]): string => judge(calls, 100_000);

describe('a history is linearizable', () => {
  test('one after the other', () => {
    expect(verdict(call('SET k a', 'OK', 1, 2), call('GET k', 'a', 3, 4), call('DEL k', 1, 5, 6), call('GET k', null, 7, 8))).toBe('linearizable');
  });

  test('a read beside a write sees it or not', () => {
    expect(verdict(call('SET k a', 'OK', 1, 5), call('GET k', null, 2, 3))).toBe('linearizable');
    expect(verdict(call('SET k a', 'OK', 1, 5), call('GET k', 'a', 2, 3))).toBe('linearizable');
  });

  test('a write without an answer takes effect late, or never', () => {
    expect(verdict(call('SET k a', undefined, 1), call('GET k', null, 2, 3), call('GET k', 'a', 4, 5))).toBe('linearizable');
    expect(verdict(call('SET k a', undefined, 1), call('GET k', null, 2, 3))).toBe('linearizable');
  });

  test('calls at the very moment of a return overlap with it', () => {
    expect(verdict(call('SET k a', 'OK', 1, 2), call('GET k', null, 2, 3))).toBe('linearizable');
  });

  test('many counters in parallel', () => {
    const calls = Array.from({ length: 300 }, (_, i) => call('INCRBY k 2', 2 * (i + 1), i, i + 4));
    expect(verdict(...calls)).toBe('linearizable');
  });
});

describe('a history is not linearizable', () => {
  test('a read that is stale', () => {
    expect(verdict(call('SET k a', 'OK', 1, 2), call('SET k b', 'OK', 3, 4), call('GET k', 'a', 5, 6))).toBe('not linearizable');
  });

  test('a write that was acknowledged and is lost', () => {
    expect(verdict(call('SET k a', 'OK', 1, 2), call('GET k', null, 3, 4))).toBe('not linearizable');
  });

  test('two reads that see a write come and go', () => {
    expect(verdict(call('SET k a', 'OK', 1, 9), call('GET k', 'a', 2, 3), call('GET k', null, 4, 5))).toBe('not linearizable');
  });

  test('a value that nobody wrote', () => {
    expect(verdict(call('SET k a', 'OK', 1, 9), call('GET k', 'z', 2, 3))).toBe('not linearizable');
  });

  test('an increment that was applied twice', () => {
    expect(verdict(call('INCRBY k 2', 2, 1, 2), call('GET k', '4', 3, 4))).toBe('not linearizable');
  });
});
