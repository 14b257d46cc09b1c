// Unions, intersections and differences of sorted sets, replied or stored. They work on copies outside the values (a char a
// byte), since a destination may be one of the sources; time and memory are those of the sources.
import type { ZsetView } from '../keyspace/zset-view.ts';
import type { Args } from '../resp/args.ts';
import type { CommandContext } from './context.ts';
import { integerClamped } from './arguments.ts';
import { Errors } from './errors.ts';
import { NO_KEYS, ONE_KEY, type CommandFlag, type CommandSpec } from './spec.ts';
import { longFrom, parseScore } from './zset-arguments.ts';
import { isZset, replyPairsHead, storeZset, viewEntry, type ZsetEntry, zsetLimits } from './zset-values.ts';

const weightNotFloat = 'ERR weight value is not a float';
const negativeLimit = "ERR LIMIT can't be negative";

type Operation = 'union' | 'inter' | 'diff';
type Aggregate = 'sum' | 'min' | 'max';
/** What becomes of the result. */
type Result = 'reply' | 'store' | 'count';

interface Form {
  readonly name: string;
  readonly operation: Operation;
  readonly result: Result;
  /** The argument with the number of keys; they follow. */
  readonly countAt: number;
}

interface Query {
  readonly keys: number;
  readonly weights: readonly number[];
  readonly aggregate: Aggregate;
  readonly withScores: boolean;
  /** 0: none. */
  readonly limit: number;
}

/** The number of keys; a string is the error text. */
function parseKeyCount(args: Args, form: Form): number | string {
  const keys = integerClamped(args, form.countAt);
  if (Number.isNaN(keys)) return Errors.notInteger;
  if (keys < 1) return `ERR at least 1 input key is needed for '${form.name}' command`;
  return keys > args.count - form.countAt - 1 ? Errors.syntax : keys;
}

function parseAggregate(args: Args, i: number): Aggregate | undefined {
  if (args.is(i, 'SUM')) return 'sum';
  if (args.is(i, 'MIN')) return 'min';
  return args.is(i, 'MAX') ? 'max' : undefined;
}

/** What follows the keys; a string is the error text. */
function parseOptions(args: Args, form: Form, keys: number): Query | string {
  let weights: number[] = new Array<number>(keys).fill(1);
  let aggregate: Aggregate | undefined = 'sum';
  let withScores = false;
  let limit: number | string = 0;
  const combines = form.operation !== 'diff' && form.result !== 'count';
  let i = form.countAt + 1 + keys;
  while (i < args.count) {
    const left = args.count - i;
    if (combines && left >= keys + 1 && args.is(i, 'WEIGHTS')) {
      weights = [];
      for (i++; weights.length < keys; i++) {
        const weight = parseScore(args, i);
        if (Number.isNaN(weight)) return weightNotFloat;
        weights.push(weight);
      }
    } else if (combines && left >= 2 && args.is(i, 'AGGREGATE')) {
      aggregate = parseAggregate(args, i + 1);
      if (aggregate === undefined) return Errors.syntax;
      i += 2;
    } else if (form.result === 'reply' && args.is(i, 'WITHSCORES')) {
      withScores = true;
      i++;
    } else if (form.result === 'count' && left >= 2 && args.is(i, 'LIMIT')) {
      limit = longFrom(args, i + 1, 0, negativeLimit);
      if (typeof limit === 'string') return limit;
      i += 2;
    } else return Errors.syntax;
  }
  return { keys, weights, aggregate, withScores, limit };
}

interface Source {
  readonly view: ZsetView;
  readonly weight: number;
  readonly handle: number;
}

/** The sources in the order of the arguments; undefined, with the reply written, if one is something else than a sorted set. */
function openSources(context: CommandContext, form: Form, keys: number): { view: ZsetView; handle: number }[] | undefined {
  const sources: { view: ZsetView; handle: number }[] = [];
  for (let i = form.countAt + 1; i <= form.countAt + keys; i++) {
    const handle = context.lookupRead(i);
    if (handle !== 0 && !isZset(context, handle)) return undefined;
    const view = context.keyspace.zsets.newView();
    view.open(handle);
    sources.push({ view, handle });
  }
  return sources;
}

const numberOr0 = (value: number): number => (Number.isNaN(value) ? 0 : value);

function combine(a: number, b: number, aggregate: Aggregate): number {
  if (aggregate === 'sum') return numberOr0(a + b);
  if (aggregate === 'min') return b < a ? b : a;
  return b > a ? b : a;
}

/** Visits every entry until `visit` says stop. */
function each(view: ZsetView, visit: (entry: ZsetEntry) => boolean): void {
  for (view.seek(0); view.valid; view.next()) if (!visit(viewEntry(view))) return;
}

function unite(sources: readonly Source[], aggregate: Aggregate): ZsetEntry[] {
  const scores = new Map<string, number>();
  for (const { view, weight } of sources) {
    each(view, ({ member, score }) => {
      const value = numberOr0(score * weight);
      const old = scores.get(member);
      scores.set(member, old === undefined ? value : combine(old, value, aggregate));
      return true;
    });
  }
  return [...scores].map(([member, score]) => ({ member, score }));
}

/** At most `limit` entries if that is not 0. */
function intersect(sources: readonly Source[], aggregate: Aggregate, limit: number): ZsetEntry[] {
  const [first, ...rest] = sources;
  const entries: ZsetEntry[] = [];
  each(first!.view, ({ member, score }) => {
    const bytes = Buffer.from(member, 'latin1');
    let value = numberOr0(score * first!.weight);
    for (const { view, weight, handle } of rest) {
      const other = handle === first!.handle ? score : view.scoreOf(bytes, 0, bytes.length);
      if (Number.isNaN(other)) return true;
      value = combine(value, other * weight, aggregate);
    }
    entries.push({ member, score: value });
    return limit === 0 || entries.length < limit;
  });
  return entries;
}

function subtract(sources: readonly Source[]): ZsetEntry[] {
  const [first, ...rest] = sources;
  const entries: ZsetEntry[] = [];
  each(first!.view, (entry) => {
    const bytes = Buffer.from(entry.member, 'latin1');
    const isElsewhere = rest.some(
      ({ view, handle }) => handle === first!.handle || !Number.isNaN(view.scoreOf(bytes, 0, bytes.length)),
    );
    if (!isElsewhere) entries.push(entry);
    return true;
  });
  return entries;
}

function compute(sources: readonly Source[], form: Form, query: Query): ZsetEntry[] {
  if (form.operation === 'diff') return subtract(sources);
  // As in Redis, from the smallest on: with infinities and rounding the order shows.
  const sorted = [...sources].sort((a, b) => a.view.size - b.view.size);
  return form.operation === 'union' ? unite(sorted, query.aggregate) : intersect(sorted, query.aggregate, query.limit);
}

const byScoreAndMember = (a: ZsetEntry, b: ZsetEntry): number => {
  if (a.score !== b.score) return a.score < b.score ? -1 : 1;
  return a.member < b.member ? -1 : 1;
};

function handle(context: CommandContext, form: Form): void {
  const { args, reply } = context;
  const keys = parseKeyCount(args, form);
  if (typeof keys === 'string') return reply.error(keys);
  const opened = openSources(context, form, keys);
  if (opened === undefined) return;
  const query = parseOptions(args, form, keys);
  if (typeof query === 'string') return reply.error(query);
  const sources = opened.map((source, i) => ({ ...source, weight: query.weights[i]! }));
  const entries = compute(sources, form, query);
  if (form.result === 'count') return reply.integer(entries.length);
  entries.sort(byScoreAndMember);
  if (form.result === 'store') {
    const { entriesMax, valueBytesMax } = zsetLimits(context);
    const isLarge = entries.length > entriesMax || entries.some(({ member }) => member.length > valueBytesMax);
    return storeZset(context, 1, entries, isLarge);
  }
  if (query.withScores) replyPairsHead(context, entries.length);
  else reply.array(entries.length);
  for (const { member, score } of entries) {
    const bytes = Buffer.from(member, 'latin1');
    if (query.withScores && reply.protocol === 3) reply.array(2);
    reply.bulk(bytes, 0, bytes.length);
    if (query.withScores) reply.double(score);
  }
}

/** Only the number of keys: a wrong type comes before a wrong option. */
const validate = (args: Args, form: Form): string | undefined => {
  const keys = parseKeyCount(args, form);
  return typeof keys === 'string' ? keys : undefined;
};

function command(operation: Operation, result: Result, since: string, summary: string, complexity: string): CommandSpec {
  const name = `z${operation}${result === 'store' ? 'store' : result === 'count' ? 'card' : ''}`;
  const stores = result === 'store';
  const form: Form = { name, operation, result, countAt: stores ? 2 : 1 };
  const flags: readonly CommandFlag[] = stores ? ['write', 'denyoom', 'movablekeys'] : ['readonly', 'movablekeys'];
  return {
    name,
    arity: stores ? -4 : -3,
    class: stores ? 'write' : 'read',
    insideExec: 'queue',
    flags,
    keys: stores ? ONE_KEY : NO_KEYS,
    keysCountedAt: form.countAt,
    keyFlags: stores ? ['OW', 'update', '/', 'RO', 'access'] : ['RO', 'access'],
    categories: ['sortedset'],
    group: 'sorted-set',
    since,
    summary,
    complexity,
    ...(stores ? { validate: (args: Args) => validate(args, form) } : {}),
    handler: (context) => handle(context, form),
  };
}

const UNION_COST = 'O(N)+O(M*log(M)) with N members in all sets and M in the result';
const INTER_COST = 'O(N*K)+O(M*log(M)) with N members in the smallest of K sets and M in the result';
const DIFF_COST = 'O(N*K)+O(M*log(M)) with N members in the first of K sets and M in the result';

export const zsetAlgebraCommands: readonly CommandSpec[] = [
  command('union', 'reply', '6.2.0', 'Returns the union of sorted sets', UNION_COST),
  command('union', 'store', '2.0.0', 'Stores the union of sorted sets', UNION_COST),
  command('inter', 'reply', '6.2.0', 'Returns the intersection of sorted sets', INTER_COST),
  command('inter', 'store', '2.0.0', 'Stores the intersection of sorted sets', INTER_COST),
  command('inter', 'count', '7.0.0', 'Returns how many members an intersection of sorted sets has', 'O(N*K) with N members in the smallest of K sets'),
  command('diff', 'reply', '6.2.0', 'Returns what is in the first sorted set and in none of the others', DIFF_COST),
  command('diff', 'store', '6.2.0', 'Stores what is in the first sorted set and in none of the others', DIFF_COST),
];
