// The model and the checks of the leaderboard tests: that they accept what is right, and find what is wrong.
import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import type { Word } from '../e2e/lib/clients.ts';
import type { BoardReader } from '../e2e/lib/drivers.ts';
import { lexFaults, partsFaults, quietFaults, snapshotFaults } from '../e2e/lib/leaderboard-check.ts';
import { applied, BoardModel, memberName, nameOp, Ranking, replyOf, ScoreHistory, scoreOp, type Pair, type Score, type ScoreOp } from '../e2e/lib/leaderboard-model.ts';

const set = (score: number): ScoreOp => ({ kind: 'set', score });
const add = (by: number): ScoreOp => ({ kind: 'add', by });
const raise = (score: number): ScoreOp => ({ kind: 'raise', score });

describe('Ranking', () => {
  // By bytes, U+FF5E (EF BD 9E) is before U+1F3C6 (F0 9F 8F 86); by UTF-16 units it is behind (FF5E, D83C DFC6).
  const ranking = new Ranking([['z', 1], ['\u{1f3c6}', 5], ['b', 5], ['a', 7], ['\uff5e', 5], ['B', 5], ['low', -2.5]]);

  test('sorts by score, then by the bytes of the member', () => {
    expect(ranking.pairs.map(([member]) => member)).toEqual(['low', 'z', 'B', 'b', '\uff5e', '\u{1f3c6}', 'a']);
    expect(['low', 'b', '\u{1f3c6}', 'a', 'none'].map((member) => ranking.rank(member))).toEqual([0, 3, 5, 6, null]);
    expect(['low', 'b', '\u{1f3c6}', 'a', 'none'].map((member) => ranking.revRank(member))).toEqual([6, 3, 1, 0, null]);
  });

  test('slices and counts as Redis does', () => {
    expect(ranking.range(-2, -1)).toEqual([['\u{1f3c6}', 5], ['a', 7]]);
    expect(ranking.range(0, 1, 'down')).toEqual([['a', 7], ['\u{1f3c6}', 5]]);
    expect(ranking.range(5, 100)).toEqual([['\u{1f3c6}', 5], ['a', 7]]);
    expect(ranking.range(-100, 0)).toEqual([['low', -2.5]]);
    expect([ranking.count('-inf', '+inf'), ranking.count('5', '7'), ranking.count('(5', '7'), ranking.count('5', '(7'), ranking.count('(5', '(7')]).toEqual([7, 5, 1, 4, 0]);
    expect(ranking.byScore('1', '(5')).toEqual(['z']);
    const names = new Ranking(['a', 'b', 'ba', 'c'].map((member): Pair => [member, 0]));
    expect([names.lexCount('-', '+'), names.lexCount('[b', '+'), names.lexCount('(b', '(c'), names.lexCount('-', '[b'), names.lexCount('+', '-')]).toEqual([4, 3, 1, 2, 0]);
  });
});

describe('ScoreHistory', () => {
  test('an unknown operation may be in force, or not, or land later', () => {
    const history = new ScoreHistory(10);
    history.begin(set(20));
    history.end('unknown');
    expect(history.possible.sort()).toEqual([10, 20]);
    history.begin(set(30));
    expect(history.end('acked', 1)).toBeUndefined();
    expect(history.possible.sort()).toEqual([20, 30]);
    history.settle();
    expect(history.observe(30)).toBeUndefined();
    expect(history.observe(20)).toBe('is 20, with 30 possible');
  });

  test('a reply decides what was unknown', () => {
    const history = new ScoreHistory(0);
    history.begin(add(5));
    history.end('unknown');
    history.begin(add(1));
    expect(history.end('acked', 6)).toBeUndefined();
    expect(history.possible).toEqual([6]);
    history.begin(add(1));
    expect(history.end('acked', 12)).toBe('{"kind":"add","by":1} was answered 12, with 6 possible before it');
  });

  test('a refused operation never happened; an acknowledged one did', () => {
    const history = new ScoreHistory(null);
    history.begin(set(1));
    history.end('refused');
    expect(history.observe(null)).toBeUndefined();
    history.begin(raise(4));
    expect(history.end('acked', 1)).toBeUndefined();
    history.begin(raise(3));
    expect(history.end('acked', 0)).toBeUndefined();
    expect(history.observe(3)).toBe('is 3, with 4 possible');
    history.begin({ kind: 'remove' });
    expect(history.end('acked', 0)).toBe('{"kind":"remove"} was answered 0, with 3 possible before it');
  });

  test('a read may see what was under way, and nothing older than what was acknowledged', () => {
    const history = new ScoreHistory(1);
    history.begin(set(2));
    const during = history.readMark();
    history.end('acked', 1);
    const after = history.readMark();
    history.begin(set(3));
    expect([1, 2, 3].map((score) => history.readFault(during, score))).toEqual([undefined, undefined, undefined]);
    expect(history.readFault(after, 2)).toBeUndefined();
    expect(history.readFault(after, 3)).toBeUndefined();
    expect(history.readFault(after, 1)).toBe('read 1, with 2 or 3 possible');
  });

  test('random histories: nothing is found in right ones, and an acknowledged write that is dropped always is', () => {
    const seed = Math.floor(Math.random() * 2 ** 32);
    const prng = new Prng(seed);
    for (let round = 0; round < 300; round++) {
      const i = prng.below(3);
      let score: Score = prng.below(100);
      const history = new ScoreHistory(score);
      const late: ScoreOp[] = [];
      for (let n = 1; n <= 25; n++) {
        const op = scoreOp(i, n, prng);
        const lands = late.length > 0 && prng.below(4) === 0 ? late.pop() : undefined;
        if (lands !== undefined) score = applied(lands, score);
        history.begin(op);
        const outcome = prng.below(10) === 0 && history.openCount < 4 ? 'unknown' : prng.below(10) === 0 ? 'refused' : 'acked';
        const reply = replyOf(op, score);
        if (outcome === 'acked') score = applied(op, score);
        if (outcome === 'unknown') late.push(op);
        expect(history.end(outcome, reply), `seed ${seed} round ${round}`).toBeUndefined();
      }
      history.settle();
      expect(history.observe(score), `seed ${seed} round ${round}`).toBeUndefined();
      // The last write, acknowledged and not carried out.
      const op = i === 2 ? add(0.125) : set(-1);
      history.begin(op);
      expect(history.end('acked', replyOf(op, score))).toBeUndefined();
      expect(history.observe(score), `seed ${seed} round ${round}`).toMatch(/possible$/);
    }
  });
});

/** A board in memory, with one mistake. */
const MISTAKES = ['none', 'dropped write', 'lost member', 'ties by UTF-16', 'rank off by one', 'reverse rank of the last', 'open bound taken as closed', 'top misses one', 'range misses one', 'lex bound', 'member twice'] as const;
type Mistake = (typeof MISTAKES)[number];

class MemoryBoard implements BoardReader {
  readonly #scores: Map<string, number>;
  readonly #mistake: Mistake;

  constructor(scores: Map<string, number>, mistake: Mistake) {
    this.#scores = new Map(scores);
    this.#mistake = mistake;
    const [first] = this.#scores.keys();
    if (mistake === 'dropped write' && first !== undefined) this.#scores.set(first, (scores.get(first) ?? 0) - 1);
    if (mistake === 'lost member' && first !== undefined) this.#scores.delete(first);
  }

  get #ranking(): Ranking {
    return new Ranking(this.#scores);
  }

  get #pairs(): Pair[] {
    const { pairs } = this.#ranking;
    if (this.#mistake === 'ties by UTF-16') pairs.sort((a, b) => a[1] - b[1] || (a[0] < b[0] ? -1 : 1));
    if (this.#mistake === 'member twice' && pairs[0] !== undefined) pairs.unshift(pairs[0]);
    return pairs;
  }

  #slice(start: number, stop: number, pairs: Pair[]): Pair[] {
    const at = (index: number): number => (index < 0 ? index + pairs.length : index);
    return pairs.slice(Math.max(0, at(start)), at(stop) + 1);
  }

  zScore(_key: string, member: string): Promise<Score> {
    return Promise.resolve(this.#scores.get(member) ?? null);
  }

  zRank(_key: string, member: string): Promise<number | null> {
    const rank = this.#ranking.rank(member);
    return Promise.resolve(this.#mistake === 'rank off by one' && rank !== null && rank > 5 ? rank + 1 : rank);
  }

  zRevRank(_key: string, member: string): Promise<number | null> {
    const rank = this.#ranking.revRank(member);
    return Promise.resolve(this.#mistake === 'reverse rank of the last' && rank === this.#scores.size - 1 ? rank + 1 : rank);
  }

  zRange(_key: string, start: number, stop: number): Promise<Pair[]> {
    const pairs = this.#slice(start, stop, this.#pairs);
    return Promise.resolve(this.#mistake === 'range misses one' && stop !== -1 ? pairs.slice(1) : pairs);
  }

  zRangeRev(_key: string, start: number, stop: number): Promise<Pair[]> {
    return Promise.resolve(this.#slice(start, stop, this.#pairs.reverse()));
  }

  zRevRange(key: string, start: number, stop: number): Promise<Pair[]> {
    return this.zRangeRev(key, start + Number(this.#mistake === 'top misses one'), stop);
  }

  zRangeByScore(_key: string, min: string, max: string): Promise<string[]> {
    return Promise.resolve(this.#ranking.byScore(min, max));
  }

  zCount(_key: string, min: string, max: string): Promise<number> {
    return Promise.resolve(this.#ranking.count(min, this.#mistake === 'open bound taken as closed' ? max.replace('(', '') : max));
  }

  zLexCount(_key: string, min: string, max: string): Promise<number> {
    return Promise.resolve(this.#ranking.lexCount(this.#mistake === 'lex bound' ? min.replace('(', '[') : min, max));
  }

  async multi(commands: readonly (readonly Word[])[]): Promise<unknown[]> {
    const key = '';
    return Promise.all(
      commands.map(async ([name, , a = '', b = '']) => {
        switch (name) {
          case 'ZSCORE':
            return this.zScore(key, String(a));
          case 'ZRANK':
            return this.zRank(key, String(a));
          case 'ZREVRANK':
            return this.zRevRank(key, String(a));
          case 'ZCARD':
            return this.#scores.size;
          case 'ZCOUNT':
            return this.zCount(key, String(a), String(b));
          case 'ZRANGE':
            return (await this.zRange(key, Number(a), Number(b))).flat();
          case 'ZREVRANGE':
            return (await this.zRevRange(key, Number(a), Number(b))).flat();
          default:
            throw new Error(`no ${name} here`);
        }
      }),
    );
  }
}

/** A board after some writes, and the model that was told of them. */
function written(prng: Prng, count: number, names = false): { model: BoardModel; scores: Map<string, number> } {
  const initial = Array.from({ length: count }, (_, i): [string, number] => [memberName(i), names ? 0 : prng.below(8) * 250]);
  const scores = new Map(initial);
  const model = new BoardModel('board', initial);
  for (let n = 1; n <= count; n++) {
    const i = n === 1 ? 0 : prng.below(count);
    const member = memberName(i);
    const op = n === 1 ? set(names ? 0 : 777) : names ? nameOp(n) : scoreOp(i, n, prng);
    const before = scores.get(member) ?? null;
    const after = applied(op, before);
    model.history(member).begin(op);
    expect(model.history(member).end('acked', replyOf(op, before))).toBeUndefined();
    if (after === null) scores.delete(member);
    else scores.set(member, after);
  }
  return { model, scores };
}

describe('the checks of a board', () => {
  const seed = Math.floor(Math.random() * 2 ** 32);
  /** What a quiet check of scores, one of names, and those under load are able to see. */
  const FOUND_BY: Readonly<Record<Mistake, readonly string[]>> = {
    none: [],
    'dropped write': ['quiet'],
    'lost member': ['quiet', 'lex'],
    'ties by UTF-16': ['quiet', 'lex', 'snapshot'],
    'rank off by one': ['quiet', 'snapshot'],
    'reverse rank of the last': ['quiet', 'snapshot'],
    'open bound taken as closed': ['quiet', 'snapshot'],
    'top misses one': ['quiet', 'snapshot'],
    'range misses one': ['quiet'],
    'lex bound': ['lex'],
    'member twice': ['quiet', 'lex', 'snapshot'],
  };

  /** What each check finds on a board of this seed. */
  async function faultsOf(mistake: Mistake, boardSeed: number): Promise<Record<string, readonly string[]>> {
    const prng = new Prng(boardSeed);
    const scored = written(prng, 200);
    const named = written(prng, 200, true);
    const board = new MemoryBoard(scored.scores, mistake);
    const first = scored.scores.keys().next().value ?? '';
    const [last] = new Ranking(scored.scores).range(0, 0);
    const members = [first, last?.[0] ?? '', ...Array.from({ length: 20 }, () => memberName(prng.below(200)))];
    return {
      quiet: await quietFaults(board, scored.model, prng),
      lex: await lexFaults(new MemoryBoard(named.scores, mistake), named.model, prng),
      snapshot: await snapshotFaults(board, 'board', members, ['-inf', '500', '777', '1000', '+inf']),
    };
  }

  test.each(MISTAKES)('%s', async (mistake) => {
    if (mistake === 'none') {
      expect(await faultsOf(mistake, seed), `seed ${seed}`).toEqual({ quiet: [], lex: [], snapshot: [] });
      return;
    }
    // A board may have no tie, or no score, that a mistake needs; five in a row have.
    const finders = new Set<string>();
    for (let n = 0; n < 5; n++) {
      for (const [finder, faults] of Object.entries(await faultsOf(mistake, seed + n))) if (faults.length > 0) finders.add(finder);
    }
    for (const finder of FOUND_BY[mistake]) expect([...finders], `seed ${seed}`).toContain(finder);
  });

  test('parts of a board that do not fit together', async () => {
    const { scores } = written(new Prng(seed), 200);
    const parts = (mistake: Mistake): Promise<string[][]> => Promise.all([...scores.keys()].map((member) => partsFaults(new MemoryBoard(scores, mistake), 'board', member)));
    expect((await parts('none')).flat(), `seed ${seed}`).toEqual([]);
    for (const mistake of ['rank off by one', 'reverse rank of the last', 'top misses one'] as const) {
      expect((await parts(mistake)).flat().length, `${mistake}, seed ${seed}`).toBeGreaterThan(0);
    }
  });
});
