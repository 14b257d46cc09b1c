// Compares what a board's commands answer with the plain model. Only the reads of a driver are used, so that the checks
// themselves are tested on a board in memory that makes mistakes (test/e2e-model).
import type { Prng } from '../../../src/base/prng.ts';
import type { Word } from './clients.ts';
import { pairsOf, type BoardReader } from './drivers.ts';
import { Ranking, type BoardModel, type Pair } from './leaderboard-model.ts';

const SAMPLES = 10;
const AROUND = 5;
const TOP = 10;

const textOf = (value: unknown): string => String(JSON.stringify(value)).slice(0, 300);

class Differences {
  readonly found: string[] = [];

  compare(what: string, got: unknown, want: unknown): void {
    if (JSON.stringify(got) !== JSON.stringify(want)) this.found.push(`${what}: ${textOf(got)} instead of ${textOf(want)}`);
  }
}

/** Scores that members have, so that it shows whether a bound is in or out; both ends are open. */
function bucketEdges(ranking: Ranking, count = 8): string[] {
  const inner = Array.from({ length: count - 1 }, (_, i) => ranking.score(ranking.at(Math.floor((ranking.size * (i + 1)) / count))) ?? 0);
  return ['-inf', ...[...new Set(inner)].map(String), '+inf'];
}

/** [from, to), the last one closed. */
const buckets = (edges: readonly string[]): (readonly [string, string])[] =>
  edges.slice(1).map((edge, i) => [edges[i] ?? '', edge === '+inf' ? edge : `(${edge}`]);

function sample(ranking: Ranking, prng: Prng, count = SAMPLES): string[] {
  // Always the two ends; between them any.
  const places = [0, ranking.size - 1, ...Array.from({ length: count - 2 }, () => prng.below(ranking.size))];
  return places.map((place) => ranking.at(place));
}

/** What one node answers while nobody writes. Compares the whole board, then ranks, neighbours, the top and the distribution. */
export async function quietFaults(reader: BoardReader, model: BoardModel, prng: Prng): Promise<string[]> {
  const { key } = model;
  const whole = await reader.zRange(key, 0, -1);
  const ranking = new Ranking(whole);
  const faults = model.boardFaults(whole, ranking);
  const differences = new Differences();
  for (const member of sample(ranking, prng)) {
    differences.compare(`ZSCORE ${member}`, await reader.zScore(key, member), ranking.score(member));
    differences.compare(`ZREVRANK ${member}`, await reader.zRevRank(key, member), ranking.revRank(member));
    const rank = await reader.zRank(key, member);
    differences.compare(`ZRANK ${member}`, rank, ranking.rank(member));
    // Around me.
    const from = Math.max(0, (rank ?? 0) - AROUND);
    const to = (rank ?? 0) + AROUND;
    differences.compare(`ZRANGE ${from} ${to}`, await reader.zRange(key, from, to), ranking.range(from, to));
  }
  for (const absent of ['nobody', '']) differences.compare(`ZREVRANK ${absent}`, await reader.zRevRank(key, absent), null);
  const top = ranking.range(0, TOP - 1, 'down');
  differences.compare('ZREVRANGE of the top', await reader.zRevRange(key, 0, TOP - 1), top);
  differences.compare('ZRANGE REV of the top', await reader.zRangeRev(key, 0, TOP - 1), top);
  differences.compare('ZRANGE of the end', await reader.zRange(key, -TOP, -1), ranking.range(-TOP, -1));
  let counted = 0;
  for (const [min, max] of buckets(bucketEdges(ranking))) {
    const count = await reader.zCount(key, min, max);
    counted += count;
    differences.compare(`ZCOUNT ${min} ${max}`, count, ranking.count(min, max));
  }
  differences.compare('all buckets together', counted, ranking.size);
  const middle = ranking.score(ranking.at(prng.below(ranking.size))) ?? 0;
  const [min, max] = [String(middle - 5), `(${middle + 5}`];
  differences.compare(`ZRANGEBYSCORE ${min} ${max}`, await reader.zRangeByScore(key, min, max), ranking.byScore(min, max));
  return [...faults, ...differences.found.map((text) => `${key}: ${text}`)];
}

/** Of a board whose members all have the same score. */
export async function lexFaults(reader: BoardReader, model: BoardModel, prng: Prng): Promise<string[]> {
  const whole = await reader.zRange(model.key, 0, -1);
  const ranking = new Ranking(whole);
  const faults = model.boardFaults(whole, ranking);
  const differences = new Differences();
  differences.compare('ZLEXCOUNT - +', await reader.zLexCount(model.key, '-', '+'), ranking.size);
  for (const member of sample(ranking, prng)) {
    for (const [min, max] of [['-', `(${member}`], [`[${member}`, '+'], [`(${member}`, '[z'], ['[player:', `[${member}`]] as const) {
      differences.compare(`ZLEXCOUNT ${min} ${max}`, await reader.zLexCount(model.key, min, max), ranking.lexCount(min, max));
    }
  }
  return [...faults, ...differences.found.map((text) => `${model.key}: ${text}`)];
}

/** A board at one moment while others write: everything in one transaction, compared with the board that it gives itself. */
export async function snapshotFaults(reader: BoardReader, key: string, members: readonly string[], edges: readonly string[]): Promise<string[]> {
  const questions: { readonly words: readonly Word[]; readonly want: (ranking: Ranking) => unknown; readonly read: (reply: unknown) => unknown }[] = [];
  const numberOf = (reply: unknown): unknown => (reply === null ? null : Number(reply));
  for (const member of members) {
    questions.push({ words: ['ZREVRANK', key, member], want: (ranking) => ranking.revRank(member), read: numberOf });
    questions.push({ words: ['ZRANK', key, member], want: (ranking) => ranking.rank(member), read: numberOf });
    questions.push({ words: ['ZSCORE', key, member], want: (ranking) => ranking.score(member), read: numberOf });
  }
  for (const [min, max] of buckets(edges)) questions.push({ words: ['ZCOUNT', key, min, max], want: (ranking) => ranking.count(min, max), read: numberOf });
  questions.push({ words: ['ZCARD', key], want: (ranking) => ranking.size, read: numberOf });
  questions.push({ words: ['ZREVRANGE', key, 0, TOP - 1, 'WITHSCORES'], want: (ranking) => ranking.range(0, TOP - 1, 'down'), read: pairsOf });
  const replies = await reader.multi([['ZRANGE', key, 0, -1, 'WITHSCORES'], ...questions.map(({ words }) => words)]);
  if (replies === null) return [`${key}: EXEC without WATCH gave nil`];
  const pairs = pairsOf(replies[0]);
  const ranking = new Ranking(pairs);
  const differences = new Differences();
  differences.compare('order', pairs, ranking.pairs);
  questions.forEach(({ words, want, read }, i) => differences.compare(words.join(' '), read(replies[i + 1]), want(ranking)));
  return differences.found.map((text) => `${key} while others write: ${text}`);
}

/** The same where the board is too large to be read whole each time: what its parts say must fit together. */
export async function partsFaults(reader: BoardReader, key: string, member: string): Promise<string[]> {
  const replies = await reader.multi([
    ['ZSCORE', key, member],
    ['ZREVRANK', key, member],
    ['ZRANK', key, member],
    ['ZCARD', key],
    ['ZREVRANGE', key, 0, TOP - 1, 'WITHSCORES'],
  ]);
  if (replies === null) return [`${key}: EXEC without WATCH gave nil`];
  const [score, revRank, rank, card] = replies.slice(0, 4).map(Number) as [number, number, number, number];
  const top: readonly Pair[] = pairsOf(replies[4]);
  const differences = new Differences();
  differences.compare(`ranks of ${member}, with ${card} members`, rank + revRank, card - 1);
  differences.compare('top', top, new Ranking(top).pairs.reverse());
  const lowest = top.at(-1)?.[1] ?? -Infinity;
  if (revRank < TOP) differences.compare(`place ${revRank}`, top[revRank], [member, score]);
  else if (score > lowest) differences.found.push(`${member} with ${score} has rank ${revRank}, and the top ends at ${lowest}`);
  return differences.found.map((text) => `${key} while others write: ${text}`);
}
