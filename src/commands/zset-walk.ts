// Sorted sets without a range: ZSCAN and ZRANDMEMBER. A large set is scanned in the order of its hash table, whose cursor is a
// hash, its bits read backwards (memory/member-table.ts); a packed one comes whole.
import { formatDouble17 } from '../base/double.ts';
import { ScoreText } from '../keyspace/zset-score.ts';
import type { ZsetView } from '../keyspace/zset-view.ts';
import { integerClamped } from './arguments.ts';
import type { CommandContext } from './context.ts';
import { Errors } from './errors.ts';
import { globMatch } from './glob.ts';
import { PICKS_MAX } from './hashes-walk.ts';
import { invalidCursor, parseCursor, parseScanOptions } from './keys-scan.ts';
import { ONE_KEY, type CommandSpec } from './spec.ts';
import { readZset, replyMember, replyPair, replyPairsHead } from './zset-values.ts';

const outOfRange = 'ERR value is out of range';
const countRange = 'ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807';
/** LONG_MAX / 2, as near as a number comes. */
const PAIRS_MAX = 4611686018427387903n;

const packedScore = new ScoreText();

/** A score as a string: as it stands in a listpack, or as printf's %.17g, which differ for whole numbers beyond 2^53. */
function replyScoreText(context: CommandContext, view: ZsetView, score: number): void {
  if (view.isTree) return context.reply.bulkText(formatDouble17(score));
  packedScore.write(score);
  context.reply.bulk(packedScore.bytes, 0, packedScore.end);
}

function handleZscan(context: CommandContext): void {
  const { args, reply } = context;
  const cursor = parseCursor(args, 2);
  if (Number.isNaN(cursor)) return reply.error(invalidCursor);
  const view = readZset(context, 1);
  if (view === undefined) return;
  if (view.size === 0) {
    reply.array(2);
    reply.bulkInteger(0);
    return reply.array(0);
  }
  const options = parseScanOptions(args, 3, false);
  if (typeof options === 'string') return reply.error(options);
  const { pattern } = options;
  // The cursor goes before what it is the end of: what is visited is noted first.
  const found: { readonly member: Uint8Array; readonly score: number }[] = [];
  const next = view.scan(cursor, options.count, (score) => {
    const { memberBytes, memberStart, memberEnd } = view;
    if (pattern !== 0 && !globMatch(args.bytes, args.start(pattern), args.end(pattern), memberBytes, memberStart, memberEnd)) return;
    found.push({ member: memberBytes.slice(memberStart, memberEnd), score });
  });
  reply.array(2);
  reply.bulkInteger(next);
  reply.array(found.length * 2);
  for (const { member, score } of found) {
    reply.bulk(member, 0, member.length);
    replyScoreText(context, view, score);
  }
}

function replyPick(context: CommandContext, view: ZsetView, withScores: boolean): void {
  if (withScores) replyPair(context, view);
  else replyMember(context, view);
}

function replyHead(context: CommandContext, count: number, withScores: boolean): void {
  if (withScores) replyPairsHead(context, count);
  else context.reply.array(count);
}

/** `count` picks, any of which may be the same. */
function replyWithRepetition(context: CommandContext, view: ZsetView, count: number, withScores: boolean): void {
  replyHead(context, count, withScores);
  for (let n = 0; n < count; n++) {
    view.seek(context.random.below(view.size));
    replyPick(context, view, withScores);
  }
}

/** `count` different members, or all. */
function replyDistinct(context: CommandContext, view: ZsetView, wanted: number, withScores: boolean): void {
  const { size } = view;
  const count = Math.min(wanted, size);
  replyHead(context, count, withScores);
  // Floyd's sampling (Bentley and Floyd 1987): as many draws as picks, whatever the size.
  const picked = new Set<number>();
  for (let i = size - count; i < size; i++) {
    const rank = count === size ? i : context.random.below(i + 1);
    picked.add(picked.has(rank) ? i : rank);
  }
  for (const rank of picked) {
    view.seek(rank);
    replyPick(context, view, withScores);
  }
}

function handleZrandmember(context: CommandContext): void {
  const { args, reply, random } = context;
  if (args.count === 2) {
    const view = readZset(context, 1);
    if (view === undefined) return;
    if (view.size === 0) return reply.null();
    view.seek(random.below(view.size));
    return replyMember(context, view);
  }
  const wide = args.integer64(2);
  if (wide === undefined) return reply.error(Errors.notInteger);
  if (wide === -(2n ** 63n)) return reply.error(countRange);
  const withScores = args.count === 4;
  if (args.count > 4 || (withScores && !args.is(3, 'WITHSCORES'))) return reply.error(Errors.syntax);
  if (withScores && (wide > PAIRS_MAX || wide < -PAIRS_MAX)) return reply.error(outOfRange);
  const view = readZset(context, 1);
  if (view === undefined) return;
  const count = integerClamped(args, 2);
  if (view.size === 0 || count === 0) return reply.array(0);
  if (count < -PICKS_MAX) return reply.error(outOfRange);
  if (count < 0) replyWithRepetition(context, view, -count, withScores);
  else replyDistinct(context, view, count, withScores);
}

const base = {
  class: 'read',
  insideExec: 'queue',
  flags: ['readonly'],
  keys: ONE_KEY,
  keyFlags: ['RO', 'access'],
  categories: ['sortedset'],
  group: 'sorted-set',
} as const;

export const zscan = {
  ...base,
  name: 'zscan',
  arity: -3,
  since: '2.8.0',
  summary: 'Returns members and scores, some at a time',
  complexity: 'O(1) for a call, O(N) for the whole walk',
  handler: handleZscan,
} satisfies CommandSpec;

export const zrandmember = {
  ...base,
  name: 'zrandmember',
  arity: -2,
  since: '6.2.0',
  summary: 'Returns random members of a sorted set',
  complexity: 'O(N*log(M)) with N members returned and M in the set',
  handler: handleZrandmember,
} satisfies CommandSpec;

export const zsetWalkCommands: readonly CommandSpec[] = [zrandmember, zscan];
