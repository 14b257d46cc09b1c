import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { Harness } from './harness.ts';

const error = (text: string): { error: string } => ({ error: text });
const names = (count: number): string[] => Array.from({ length: count }, (_, i) => `k${i}`);

function scanAll(node: Harness, between: () => void, ...options: (string | number)[]): string[] {
  const found: string[] = [];
  let cursor = '0';
  do {
    const [next, batch] = node.run('SCAN', cursor, ...options) as [string, string[]];
    found.push(...batch);
    cursor = next;
    between();
  } while (cursor !== '0');
  return found;
}

describe('SCAN', () => {
  test('every key once, while nothing changes', () => {
    const node = new Harness();
    for (const name of names(1000)) node.run('SET', name, '1');
    for (const count of [1, 7, 10, 999, 1000, 5000]) {
      expect(scanAll(node, () => undefined, 'COUNT', count).sort()).toEqual(names(1000).sort());
    }
    expect(node.run('SCAN', 0, 'COUNT', '9223372036854775807')).toMatchObject(['0', { length: 1000 }]);
  });

  test('what was there all the time is found, whatever else comes and goes', () => {
    const seed = Math.floor(Math.random() * 2 ** 32);
    const random = new Prng(seed);
    for (let round = 0; round < 20; round++) {
      const node = new Harness();
      const kept = names(random.between(1, 200));
      for (const name of random.shuffle([...kept, ...names(300).map((name) => `gone:${name}`)])) node.run('SET', name, '1');
      let fresh = 0;
      const churn = (): void => {
        for (let i = random.below(40); i > 0; i--) {
          const name = random.chance(0.3) ? `new:${fresh++}` : `gone:k${random.below(300)}`;
          const roll = random.below(5);
          if (roll === 0) node.run('SET', name, 'v', 'PX', random.between(1, 50));
          else if (roll === 1) node.run('RENAME', name, `gone:k${random.below(300)}`);
          else if (roll === 2) node.run('SET', name, 'v');
          else node.run('DEL', name);
        }
        for (const name of kept) if (random.chance(0.05)) node.run('APPEND', name, 'longer and longer');
        node.nowMs += random.below(30);
      };
      const found = new Set(scanAll(node, churn, 'COUNT', random.between(1, 30)));
      expect(kept.filter((name) => !found.has(name)), `seed ${seed}, round ${round}`).toEqual([]);
    }
  });

  test('MATCH, TYPE', () => {
    const node = new Harness();
    node.run('MSET', 'aa', '1', 'ab', '2', 'b', '3');
    expect(scanAll(node, () => undefined, 'MATCH', 'a*', 'COUNT', 1).sort()).toEqual(['aa', 'ab']);
    expect(scanAll(node, () => undefined, 'match', '*', 'type', 'String')).toHaveLength(3);
    expect(scanAll(node, () => undefined, 'TYPE', 'list')).toEqual([]);
    expect(scanAll(node, () => undefined, 'TYPE', 'nope')).toEqual([]);
  });

  test.each([
    [['x'], 'ERR invalid cursor'],
    [['-'], 'ERR invalid cursor'],
    [[' 1'], 'ERR invalid cursor'],
    [['1.0'], 'ERR invalid cursor'],
    [['18446744073709551616'], 'ERR invalid cursor'],
    [['0', 'COUNT'], 'ERR syntax error'],
    [['0', 'COUNT', '0'], 'ERR syntax error'],
    [['0', 'COUNT', 'x'], 'ERR value is not an integer or out of range'],
    [['0', 'NOPE', 'x'], 'ERR syntax error'],
  ])('SCAN %j', (words, text) => expect(new Harness().run('SCAN', ...words)).toEqual(error(text)));

  test.each(['18446744073709551615', '-1', '+5', '', '007'])('cursor %j is taken', (cursor) => {
    const node = new Harness();
    node.run('SET', 'k', 'v');
    expect(node.run('SCAN', cursor)).toEqual(['0', ['k']]);
  });

  test('keys past their deadline are passed over and told of', () => {
    const node = new Harness();
    node.run('SET', 'a', '1', 'PX', 1);
    node.run('SET', 'b', '1');
    node.nowMs += 2;
    expect(node.run('DBSIZE')).toBe(2);
    expect(node.run('KEYS', '*')).toEqual(['b']);
    expect(node.run('DBSIZE')).toBe(1);
    node.run('SET', 'a', '1', 'PX', 1);
    node.nowMs += 2;
    expect(node.run('SCAN', 0)).toEqual(['0', ['b']]);
    expect(node.run('DBSIZE')).toBe(1);
  });
});

describe('RANDOMKEY', () => {
  test('every key has its turn', () => {
    const node = new Harness();
    for (const name of names(20)) node.run('SET', name, '1');
    const seen = new Set(Array.from({ length: 2000 }, () => node.run('RANDOMKEY')));
    expect(seen.size).toBe(20);
  });

  test('finds the one that lives among many that do not', () => {
    const node = new Harness();
    for (const name of names(3000)) node.run('SET', name, '1', 'PX', 1);
    node.run('SET', 'alive', '1');
    node.nowMs += 2;
    expect(node.run('RANDOMKEY')).toBe('alive');
    node.run('DEL', 'alive');
    expect(node.run('RANDOMKEY')).toBe(null);
    expect(new Harness().run('RANDOMKEY')).toBe(null);
  });
});
