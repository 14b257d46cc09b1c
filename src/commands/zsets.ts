// Sorted sets member by member: ZADD, ZINCRBY, ZREM, ZSCORE, ZRANK and theirs, pops. Ranges are in zset-ranges.ts, unions and
// the like in zset-algebra.ts, random picks and ZSCAN in zset-walk.ts.
import type { Handle } from '../keyspace/database.ts';
import type { Args } from '../resp/args.ts';
import { integerClamped } from './arguments.ts';
import type { CommandContext } from './context.ts';
import { Errors } from './errors.ts';
import { NO_KEYS, ONE_KEY, type CommandSpec } from './spec.ts';
import { longFrom, parseScore } from './zset-arguments.ts';
import {
  editZset,
  isZset,
  MEMBER_BYTES_MAX,
  memberTooLong,
  positiveRange,
  readZset,
  replyMember,
} from './zset-values.ts';

const notANumber = 'ERR resulting score is not a number (NaN)';
const nxWithXx = 'ERR XX and NX options at the same time are not compatible';
const exclusiveOptions = 'ERR GT, LT, and/or NX options at the same time are not compatible';
const oneIncrement = 'ERR INCR option supports a single increment-element pair';

/** ZADD's options, as `parseAdd` left them. Reused. */
class AddOptions {
  nx = false;
  xx = false;
  gt = false;
  lt = false;
  ch = false;
  incr = false;
  /** The first score's argument. */
  first = 2;
}

const options = new AddOptions();

/** Reads options and scores; undefined, or what is wrong with them. */
function parseAdd(args: Args, isIncrement: boolean): string | undefined {
  options.nx = options.xx = options.gt = options.lt = options.ch = false;
  options.incr = isIncrement;
  let i = 2;
  for (; i < args.count; i++) {
    if (args.is(i, 'NX')) options.nx = true;
    else if (args.is(i, 'XX')) options.xx = true;
    else if (args.is(i, 'CH')) options.ch = true;
    else if (args.is(i, 'INCR')) options.incr = true;
    else if (args.is(i, 'GT')) options.gt = true;
    else if (args.is(i, 'LT')) options.lt = true;
    else break;
  }
  options.first = i;
  const rest = args.count - i;
  if (rest === 0 || rest % 2 !== 0) return Errors.syntax;
  if (options.nx && options.xx) return nxWithXx;
  if ((options.gt && options.nx) || (options.lt && options.nx) || (options.gt && options.lt)) return exclusiveOptions;
  if (options.incr && rest > 2) return oneIncrement;
  for (; i < args.count; i += 2) {
    if (Number.isNaN(parseScore(args, i))) return Errors.notFloat;
    if (args.length(i + 1) > MEMBER_BYTES_MAX) return memberTooLong;
  }
  return undefined;
}

function add(context: CommandContext, isIncrement: boolean): void {
  const { args, reply } = context;
  const fault = parseAdd(args, isIncrement);
  if (fault !== undefined) return reply.error(fault);
  const key = context.lookupWrite(1);
  if (key !== 0 && !isZset(context, key)) return;
  if (options.incr) return addOneIncrement(context, key);
  const { bytes, starts, ends, count } = args;
  const { nx, xx, gt, lt } = options;
  const editor = editZset(context, 1, key);
  let added = 0;
  let updated = 0;
  for (let i = options.first; i < count; i += 2) {
    const score = parseScore(args, i);
    const start = starts[i + 1]!;
    const end = ends[i + 1]!;
    const old = editor.find(bytes, start, end);
    if (Number.isNaN(old)) {
      if (xx) continue;
      added++;
    } else {
      if (nx || (lt && score >= old) || (gt && score <= old) || score === old) continue;
      updated++;
    }
    editor.set(score, bytes, start, end);
  }
  editor.close();
  context.dirty += added + updated;
  reply.integer(options.ch ? added + updated : added);
}

function addOneIncrement(context: CommandContext, key: Handle): void {
  const { args, reply } = context;
  const { bytes } = args;
  const { first, nx, xx, gt, lt } = options;
  const start = args.start(first + 1);
  const end = args.end(first + 1);
  const editor = editZset(context, 1, key);
  const old = editor.find(bytes, start, end);
  const isNew = Number.isNaN(old);
  const score = isNew ? parseScore(args, first) : old + parseScore(args, first);
  if (isNew ? xx : nx) return reply.null();
  if (Number.isNaN(score)) return reply.error(notANumber);
  if (!isNew && ((lt && score >= old) || (gt && score <= old))) return reply.null();
  if (score !== old) {
    editor.set(score, bytes, start, end);
    editor.close();
    context.dirty++;
  }
  reply.double(score);
}

function handleZrem(context: CommandContext): void {
  const { args, reply } = context;
  const key = context.lookupWrite(1);
  if (key === 0) return reply.integer(0);
  if (!isZset(context, key)) return;
  const editor = editZset(context, 1, key);
  let removed = 0;
  for (let i = 2; i < args.count && editor.size > 0; i++) {
    if (Number.isNaN(editor.find(args.bytes, args.start(i), args.end(i)))) continue;
    editor.remove();
    removed++;
  }
  editor.close();
  context.dirty += removed;
  reply.integer(removed);
}

function handleZcard(context: CommandContext): void {
  const view = readZset(context, 1);
  if (view !== undefined) context.reply.integer(view.size);
}

function handleZscore(context: CommandContext): void {
  const { args, reply } = context;
  const view = readZset(context, 1);
  if (view === undefined) return;
  const score = view.scoreOf(args.bytes, args.start(2), args.end(2));
  if (Number.isNaN(score)) reply.null();
  else reply.double(score);
}

function handleZmscore(context: CommandContext): void {
  const { args, reply } = context;
  const view = readZset(context, 1);
  if (view === undefined) return;
  reply.array(args.count - 2);
  for (let i = 2; i < args.count; i++) {
    const score = view.scoreOf(args.bytes, args.start(i), args.end(i));
    if (Number.isNaN(score)) reply.null();
    else reply.double(score);
  }
}

function rank(context: CommandContext, reverse: boolean): void {
  const { args, reply } = context;
  const view = readZset(context, 1);
  if (view === undefined) return;
  const at = view.rankOf(args.bytes, args.start(2), args.end(2));
  if (at < 0) reply.null();
  else reply.integer(reverse ? view.size - 1 - at : at);
}

/** Takes `count` members from one end and replies them, after the array's head. */
function pop(context: CommandContext, i: number, key: Handle, fromMax: boolean, count: number, nested: boolean): void {
  const { reply, keyspace } = context;
  const { view } = keyspace.zsets;
  view.open(key);
  const { size } = view;
  view.seek(fromMax ? size - 1 : 0);
  for (let n = 0; n < count; n++) {
    if (nested) {
      reply.array(2);
      replyMember(context, view);
      reply.double(view.score);
    } else {
      replyMember(context, view);
      reply.double(view.score);
    }
    if (fromMax) view.previous();
    else view.next();
  }
  const editor = editZset(context, i, key);
  editor.removeRanks(fromMax ? size - count : 0, count);
  editor.close();
  context.dirty += count;
}

function popCount(args: Args): number | string {
  if (args.count > 3) return Errors.syntax;
  if (args.count === 2) return -1;
  const count = integerClamped(args, 2);
  // Redis says the same of what is no number at all.
  return Number.isNaN(count) || count < 0 ? positiveRange : count;
}

function handlePop(context: CommandContext, fromMax: boolean): void {
  const { args, reply, keyspace } = context;
  const wanted = popCount(args);
  if (typeof wanted === 'string') return reply.error(wanted);
  const key = context.lookupWrite(1);
  if (key === 0) return reply.array(0);
  if (!isZset(context, key)) return;
  if (wanted === 0) return reply.array(0);
  const { view } = keyspace.zsets;
  view.open(key);
  const count = Math.min(view.size, Math.abs(wanted));
  const nested = reply.protocol === 3 && wanted !== -1;
  reply.array(nested ? count : count * 2);
  pop(context, 1, key, fromMax, count, nested);
}

interface MultiPop {
  readonly keys: number;
  readonly fromMax: boolean;
  readonly count: number;
}

function parseMultiPop(args: Args): MultiPop | string {
  const keys = longFrom(args, 1, 1, 'ERR numkeys should be greater than 0');
  if (typeof keys === 'string') return keys;
  const where = keys + 2;
  if (where >= args.count) return Errors.syntax;
  const fromMax = args.is(where, 'MAX');
  if (!fromMax && !args.is(where, 'MIN')) return Errors.syntax;
  if (args.count === where + 1) return { keys, fromMax, count: 1 };
  if (!args.is(where + 1, 'COUNT') || args.count === where + 2) return Errors.syntax;
  const count = longFrom(args, where + 2, 1, 'ERR count should be greater than 0');
  if (typeof count === 'string') return count;
  return args.count > where + 3 ? Errors.syntax : { keys, fromMax, count };
}

function handleZmpop(context: CommandContext): void {
  const { args, reply, keyspace } = context;
  const parsed = parseMultiPop(args);
  if (typeof parsed === 'string') return reply.error(parsed);
  for (let i = 2; i < parsed.keys + 2; i++) {
    const key = context.lookupWrite(i);
    if (key === 0) continue;
    if (!isZset(context, key)) return;
    const { view } = keyspace.zsets;
    view.open(key);
    const count = Math.min(view.size, parsed.count);
    reply.array(2);
    reply.bulk(args.bytes, args.start(i), args.end(i));
    reply.array(count);
    return pop(context, i, key, parsed.fromMax, count, true);
  }
  reply.nullArray();
}

const base = { insideExec: 'queue', categories: ['sortedset'], group: 'sorted-set' } as const;
const read = { ...base, class: 'read', keys: ONE_KEY } as const;
const write = { ...base, class: 'write', keys: ONE_KEY } as const;

const validatePop = (args: Args): string | undefined => {
  const count = popCount(args);
  return typeof count === 'string' ? count : undefined;
};

export const zsetMemberCommands: readonly CommandSpec[] = [
  {
    ...write,
    name: 'zadd',
    arity: -4,
    flags: ['write', 'denyoom', 'fast'],
    keyFlags: ['RW', 'update'],
    since: '1.2.0',
    summary: 'Adds members to a sorted set, or changes their scores',
    complexity: 'O(log(N)) for each member, where N is the number of members in the set',
    validate: (args) => parseAdd(args, false),
    handler: (context) => add(context, false),
  },
  {
    ...write,
    name: 'zincrby',
    arity: 4,
    flags: ['write', 'denyoom', 'fast'],
    keyFlags: ['RW', 'access', 'update'],
    since: '1.2.0',
    summary: 'Adds to the score of a member',
    complexity: 'O(log(N)) where N is the number of members in the set',
    validate: (args) => parseAdd(args, true),
    handler: (context) => add(context, true),
  },
  {
    ...write,
    name: 'zrem',
    arity: -3,
    flags: ['write', 'fast'],
    keyFlags: ['RW', 'delete'],
    since: '1.2.0',
    summary: 'Removes members from a sorted set',
    complexity: 'O(M*log(N)) with N members in the set and M to be removed',
    handler: handleZrem,
  },
  {
    ...read,
    name: 'zcard',
    arity: 2,
    flags: ['readonly', 'fast'],
    keyFlags: ['RO'],
    since: '1.2.0',
    summary: 'Returns the number of members in a sorted set',
    complexity: 'O(1)',
    handler: handleZcard,
  },
  {
    ...read,
    name: 'zscore',
    arity: 3,
    flags: ['readonly', 'fast'],
    keyFlags: ['RO', 'access'],
    since: '1.2.0',
    summary: 'Returns the score of a member',
    complexity: 'O(1)',
    handler: handleZscore,
  },
  {
    ...read,
    name: 'zmscore',
    arity: -3,
    flags: ['readonly', 'fast'],
    keyFlags: ['RO', 'access'],
    since: '6.2.0',
    summary: 'Returns the scores of several members',
    complexity: 'O(N) where N is the number of members asked for',
    handler: handleZmscore,
  },
  {
    ...read,
    name: 'zrank',
    arity: 3,
    flags: ['readonly', 'fast'],
    keyFlags: ['RO', 'access'],
    since: '2.0.0',
    summary: 'Returns how many members of a sorted set stand before a member',
    complexity: 'O(log(N)) where N is the number of members in the set',
    handler: (context) => rank(context, false),
  },
  {
    ...read,
    name: 'zrevrank',
    arity: 3,
    flags: ['readonly', 'fast'],
    keyFlags: ['RO', 'access'],
    since: '2.0.0',
    summary: 'Returns how many members of a sorted set stand after a member',
    complexity: 'O(log(N)) where N is the number of members in the set',
    handler: (context) => rank(context, true),
  },
  {
    ...write,
    name: 'zpopmin',
    arity: -2,
    flags: ['write', 'fast'],
    keyFlags: ['RW', 'access', 'delete'],
    since: '5.0.0',
    summary: 'Removes and returns the members with the lowest scores',
    complexity: 'O(log(N)*M) with N members in the set and M to be popped',
    validate: validatePop,
    handler: (context) => handlePop(context, false),
  },
  {
    ...write,
    name: 'zpopmax',
    arity: -2,
    flags: ['write', 'fast'],
    keyFlags: ['RW', 'access', 'delete'],
    since: '5.0.0',
    summary: 'Removes and returns the members with the highest scores',
    complexity: 'O(log(N)*M) with N members in the set and M to be popped',
    validate: validatePop,
    handler: (context) => handlePop(context, true),
  },
  {
    ...write,
    name: 'zmpop',
    arity: -4,
    flags: ['write', 'movablekeys'],
    keys: NO_KEYS,
    keysCountedAt: 1,
    keyFlags: ['RW', 'access', 'delete'],
    since: '7.0.0',
    summary: 'Removes and returns members at one end of the first sorted set that is not empty',
    complexity: 'O(K) + O(M*log(N)) with K keys, N members in the set and M to be popped',
    validate: (args) => {
      const parsed = parseMultiPop(args);
      return typeof parsed === 'string' ? parsed : undefined;
    },
    handler: handleZmpop,
  },
];
