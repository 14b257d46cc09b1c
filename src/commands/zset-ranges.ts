// Sorted sets by ranges of ranks, scores and members: ZRANGE and all that it replaced, counts, removals, ZRANGESTORE. Every range is
// first made into ranks [from, to); LIMIT and reversal are arithmetic on them.
import { Slices, SLICES_MAX } from '../base/slices.ts';
import type { ZsetView } from '../keyspace/zset-view.ts';
import type { Args } from '../resp/args.ts';
import { integerClamped } from './arguments.ts';
import type { CommandContext } from './context.ts';
import { Errors } from './errors.ts';
import { ONE_KEY, type CommandFlag, type CommandSpec } from './spec.ts';
import {
  type LexRange,
  notFloatRange,
  notLexRange,
  parseLexRange,
  parseScoreRange,
  type RankRange,
  ranksByIndex,
  ranksByLex,
  ranksByScore,
  type ScoreRange,
} from './zset-arguments.ts';
import { editZset, isZset, readZset, replyMember, replyPair, replyPairsHead, storeZset, viewEntry, type ZsetEntry, zsetLimits } from './zset-values.ts';

const limitByRank = 'ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX';
const scoresByLex = 'ERR syntax error, WITHSCORES not supported in combination with BYLEX';

type RangeKind = 'rank' | 'score' | 'lex';

/** What a command of the family is, before its options. */
interface RangeForm {
  /** The source key's argument; the range's ends follow. */
  readonly key: number;
  readonly store: boolean;
  /** Undefined: by option. */
  readonly kind: RangeKind | undefined;
  readonly reverse: boolean | undefined;
}

interface RangeQuery {
  readonly kind: RangeKind;
  readonly reverse: boolean;
  readonly withScores: boolean;
  readonly offset: number;
  /** Negative: no limit. */
  readonly limit: number;
  /** By rank: start and end as given. */
  readonly start: number;
  readonly end: number;
  readonly scores: ScoreRange | undefined;
  readonly lex: LexRange | undefined;
}

/** A string is the error text. */
function parseQuery(args: Args, form: RangeForm): RangeQuery | string {
  let { kind, reverse } = form;
  let withScores = false;
  let offset = 0;
  let limit = -1;
  for (let i = form.key + 3; i < args.count; i++) {
    if (!form.store && args.is(i, 'WITHSCORES')) withScores = true;
    else if (args.is(i, 'LIMIT') && i + 2 < args.count) {
      offset = integerClamped(args, i + 1);
      limit = integerClamped(args, i + 2);
      if (Number.isNaN(offset) || Number.isNaN(limit)) return Errors.notInteger;
      i += 2;
    } else if (reverse === undefined && args.is(i, 'REV')) reverse = true;
    else if (kind === undefined && args.is(i, 'BYLEX')) kind = 'lex';
    else if (kind === undefined && args.is(i, 'BYSCORE')) kind = 'score';
    else return Errors.syntax;
  }
  kind ??= 'rank';
  reverse ??= false;
  if (limit !== -1 && kind === 'rank') return limitByRank;
  if (withScores && kind === 'lex') return scoresByLex;
  const swapped = reverse && kind !== 'rank';
  const minAt = form.key + (swapped ? 2 : 1);
  const maxAt = form.key + (swapped ? 1 : 2);
  const query = { kind, reverse, withScores, offset, limit, start: 0, end: 0, scores: undefined, lex: undefined };
  if (kind === 'score') {
    const scores = parseScoreRange(args, minAt, maxAt);
    return scores === undefined ? notFloatRange : { ...query, scores };
  }
  if (kind === 'lex') {
    const lex = parseLexRange(args, minAt, maxAt);
    return lex === undefined ? notLexRange : { ...query, lex };
  }
  const start = integerClamped(args, minAt);
  const end = integerClamped(args, maxAt);
  return Number.isNaN(start) || Number.isNaN(end) ? Errors.notInteger : { ...query, start, end };
}

/** The ranks that the query is about, in the set's own order. */
function ranksOf(view: ZsetView, args: Args, query: RangeQuery): RankRange {
  const { scores, lex, reverse, offset, limit } = query;
  if (scores === undefined && lex === undefined) {
    const ranks = ranksByIndex(view.size, query.start, query.end);
    return reverse ? { from: view.size - ranks.to, to: view.size - ranks.from } : ranks;
  }
  const { from, to } = scores !== undefined ? ranksByScore(view, scores) : ranksByLex(view, args, lex!);
  // A negative offset runs past the end, as in Redis.
  const skipped = offset < 0 ? to - from : Math.min(offset, to - from);
  const left = to - from - skipped;
  const count = limit < 0 ? left : Math.min(limit, left);
  return reverse ? { from: to - skipped - count, to: to - skipped } : { from: from + skipped, to: from + skipped + count };
}

function handleRange(context: CommandContext, form: RangeForm): void {
  const { args, reply } = context;
  const query = parseQuery(args, form);
  if (typeof query === 'string') return reply.error(query);
  const view = readZset(context, form.key);
  if (view === undefined) return;
  const { from, to } = ranksOf(view, args, query);
  const count = to - from;
  if (form.store) return storeRange(context, view, query, from, to);
  if (query.withScores) replyPairsHead(context, count);
  else reply.array(count);
  view.seek(query.reverse ? to - 1 : from);
  if (view.isTree) return replyGathered(context, view, query, count);
  for (let n = 0; n < count; n++) {
    if (query.withScores) replyPair(context, view);
    else replyMember(context, view);
    if (query.reverse) view.previous();
    else view.next();
  }
}

const members = new Slices();
const scores = new Float64Array(SLICES_MAX);

/** Replies `count` members of a tree from where the view stands on. */
function replyGathered({ reply }: CommandContext, view: ZsetView, { withScores, reverse }: RangeQuery, count: number): void {
  for (let left = count; left > 0; left -= members.count) {
    view.gather(members, scores, left, reverse);
    if (!withScores) {
      reply.bulks(members);
      continue;
    }
    for (let i = 0; i < members.count; i++) {
      if (reply.protocol === 3) reply.array(2);
      reply.bulk(members.bytes[members.where[i]!]!, members.starts[i]!, members.ends[i]!);
      reply.double(scores[i]!);
    }
  }
}

function storeRange(context: CommandContext, view: ZsetView, { reverse, kind }: RangeQuery, from: number, to: number): void {
  const entries: ZsetEntry[] = [];
  view.seek(reverse ? to - 1 : from);
  for (let n = from; n < to; n++) {
    entries.push(viewEntry(view));
    if (reverse) view.previous();
    else view.next();
  }
  // By rank Redis knows the length beforehand.
  storeZset(context, 1, entries, kind === 'rank' && entries.length > zsetLimits(context).entriesMax);
}

function handleZcount(context: CommandContext): void {
  const range = parseScoreRange(context.args, 2, 3);
  if (range === undefined) return context.reply.error(notFloatRange);
  const view = readZset(context, 1);
  if (view === undefined) return;
  const { from, to } = ranksByScore(view, range);
  context.reply.integer(to - from);
}

function handleZlexcount(context: CommandContext): void {
  const range = parseLexRange(context.args, 2, 3);
  if (range === undefined) return context.reply.error(notLexRange);
  const view = readZset(context, 1);
  if (view === undefined) return;
  const { from, to } = ranksByLex(view, context.args, range);
  context.reply.integer(to - from);
}

/** What is wrong with a removal's range. */
function removalFault(args: Args, kind: RangeKind): string | undefined {
  if (kind === 'score') return parseScoreRange(args, 2, 3) === undefined ? notFloatRange : undefined;
  if (kind === 'lex') return parseLexRange(args, 2, 3) === undefined ? notLexRange : undefined;
  return Number.isNaN(integerClamped(args, 2)) || Number.isNaN(integerClamped(args, 3)) ? Errors.notInteger : undefined;
}

function removalRanks(view: ZsetView, args: Args, kind: RangeKind): RankRange {
  if (kind === 'score') return ranksByScore(view, parseScoreRange(args, 2, 3)!);
  if (kind === 'lex') return ranksByLex(view, args, parseLexRange(args, 2, 3)!);
  return ranksByIndex(view.size, integerClamped(args, 2), integerClamped(args, 3));
}

function handleRemoval(context: CommandContext, kind: RangeKind): void {
  const { args, reply, keyspace } = context;
  const fault = removalFault(args, kind);
  if (fault !== undefined) return reply.error(fault);
  const key = context.lookupWrite(1);
  if (key === 0) return reply.integer(0);
  if (!isZset(context, key)) return;
  const { view } = keyspace.zsets;
  view.open(key);
  const { from, to } = removalRanks(view, args, kind);
  const editor = editZset(context, 1, key);
  editor.removeRanks(from, to - from);
  editor.close();
  context.dirty += to - from;
  reply.integer(to - from);
}

const base = { insideExec: 'queue', categories: ['sortedset'], group: 'sorted-set', keys: ONE_KEY } as const;

function rangeCommand(name: string, kind: RangeKind | undefined, reverse: boolean | undefined, since: string, summary: string): CommandSpec {
  const form: RangeForm = { key: 1, store: false, kind, reverse };
  return {
    ...base,
    name,
    class: 'read',
    arity: -4,
    flags: ['readonly'],
    keyFlags: ['RO', 'access'],
    since,
    summary,
    complexity: 'O(log(N)+M) with N members in the set and M returned',
    handler: (context) => handleRange(context, form),
  };
}

function countCommand(name: string, since: string, summary: string, handler: (context: CommandContext) => void): CommandSpec {
  const flags: readonly CommandFlag[] = ['readonly', 'fast'];
  const keyFlags = ['RO', 'access'];
  const complexity = 'O(log(N)) where N is the number of members in the set';
  return { ...base, name, class: 'read', arity: 4, flags, keyFlags, since, summary, complexity, handler };
}

function removalCommand(name: string, kind: RangeKind, since: string, summary: string): CommandSpec {
  return {
    ...base,
    name,
    class: 'write',
    arity: 4,
    flags: ['write'],
    keyFlags: ['RW', 'delete'],
    since,
    summary,
    complexity: 'O(log(N)*M) with N members in the set and M removed',
    validate: (args) => removalFault(args, kind),
    handler: (context) => handleRemoval(context, kind),
  };
}

const STORE: RangeForm = { key: 2, store: true, kind: undefined, reverse: undefined };

export const zsetRangeCommands: readonly CommandSpec[] = [
  rangeCommand('zrange', undefined, undefined, '1.2.0', 'Returns members in a range of ranks, scores or members'),
  rangeCommand('zrangebylex', 'lex', false, '2.8.9', 'Returns members in a range of members'),
  rangeCommand('zrangebyscore', 'score', false, '1.0.5', 'Returns members in a range of scores'),
  rangeCommand('zrevrange', 'rank', true, '1.2.0', 'Returns members in a range of ranks, counted and listed from the highest score'),
  rangeCommand('zrevrangebylex', 'lex', true, '2.8.9', 'Returns members in a range of members, backwards'),
  rangeCommand('zrevrangebyscore', 'score', true, '2.2.0', 'Returns members in a range of scores, backwards'),
  countCommand('zcount', '2.0.0', 'Returns how many members have scores in a range', handleZcount),
  countCommand('zlexcount', '2.8.9', 'Returns how many members are in a range of members', handleZlexcount),
  removalCommand('zremrangebylex', 'lex', '2.8.9', 'Removes the members in a range of members'),
  removalCommand('zremrangebyrank', 'rank', '2.0.0', 'Removes the members in a range of ranks'),
  removalCommand('zremrangebyscore', 'score', '1.2.0', 'Removes the members in a range of scores'),
  {
    ...base,
    name: 'zrangestore',
    class: 'write',
    arity: -5,
    flags: ['write', 'denyoom'],
    keys: { first: 1, last: 2, step: 1 },
    keyFlags: ['OW', 'update', '/', 'RO', 'access'],
    since: '6.2.0',
    summary: 'Stores members in a range of ranks, scores or members under another key',
    complexity: 'O(log(N)+M) with N members in the set and M stored',
    validate: (args) => {
      const query = parseQuery(args, STORE);
      return typeof query === 'string' ? query : undefined;
    },
    handler: (context) => handleRange(context, STORE),
  },
];
