// Strings as numbers: INCR and theirs on signed 64-bit integers, INCRBYFLOAT on long doubles (float.ts).
// An increment of safe integers, which is nearly every one, allocates nothing; beyond 2^53 it is done with BigInt.
import type { Handle } from '../keyspace/database.ts';
import type { Args } from '../resp/args.ts';
import { isInteger64 } from './arguments.ts';
import type { CommandContext } from './context.ts';
import { Errors } from './errors.ts';
import { addLongDoubles, formatLongDouble, longDoubleZero, parseLongDouble, type LongDouble } from './float.ts';
import { ONE_KEY, type CommandSpec } from './spec.ts';
import { isString } from './values.ts';

const INT64_MIN = -9223372036854775808n;
const decrementOverflow = 'ERR decrement would overflow';

function increment(context: CommandContext, by: number): void {
  const { reply, keyspace, db, args } = context;
  const key = context.lookupWrite(1);
  if (key !== 0 && !isString(context, key)) return;
  const value = (key === 0 ? 0 : keyspace.integer(key)) + by;
  if (!Number.isSafeInteger(value)) return incrementWide(context, key, BigInt(by));
  if (key === 0) db.setInteger(args.bytes, args.start(1), args.end(1), value, -1);
  else db.replaceInteger(key, value);
  context.dirty++;
  reply.integer(value);
}

/** Where the value is no number, or one of the numbers is beyond ±(2^53 − 1). */
function incrementWide(context: CommandContext, key: Handle, by: bigint): void {
  const { reply, keyspace, db, args } = context;
  const old = key === 0 ? 0n : keyspace.integer64(key);
  if (old === undefined) return reply.error(Errors.notInteger);
  const value = old + by;
  if (value !== BigInt.asIntN(64, value)) return reply.error(Errors.overflow);
  if (key === 0) db.setInteger(args.bytes, args.start(1), args.end(1), value, -1);
  else db.replaceInteger(key, value);
  context.dirty++;
  reply.bigInteger(value);
}

function handleIncrby(context: CommandContext): void {
  const by = context.args.integer(2);
  if (!Number.isNaN(by)) return increment(context, by);
  incrementByWide(context, context.args.integer64(2));
}

function handleDecrby(context: CommandContext): void {
  const by = context.args.integer(2);
  if (!Number.isNaN(by)) return increment(context, -by);
  const wide = context.args.integer64(2);
  if (wide === INT64_MIN) return context.reply.error(decrementOverflow);
  incrementByWide(context, wide === undefined ? undefined : -wide);
}

function incrementByWide(context: CommandContext, by: bigint | undefined): void {
  if (by === undefined) return context.reply.error(Errors.notInteger);
  const key = context.lookupWrite(1);
  if (key !== 0 && !isString(context, key)) return;
  incrementWide(context, key, by);
}

const validateAmount = (args: Args): string | undefined => (isInteger64(args, 2) ? undefined : Errors.notInteger);

function validateDecrement(args: Args): string | undefined {
  return args.integer64(2) === INT64_MIN ? decrementOverflow : validateAmount(args);
}

function handleIncrbyfloat(context: CommandContext): void {
  const { reply, args } = context;
  const key = context.lookupWrite(1);
  if (key !== 0 && !isString(context, key)) return;
  let value: LongDouble | undefined = longDoubleZero;
  if (key !== 0) {
    const span = context.keyspace.stringSpan(key);
    value = parseLongDouble(span.bytes, span.start, span.end);
  }
  const by = parseLongDouble(args.bytes, args.start(2), args.end(2));
  if (value === undefined || by === undefined) return reply.error(Errors.notFloat);
  const sum = addLongDoubles(value, by);
  if (sum === undefined) return reply.error(Errors.nanOrInfinity);
  const text = Buffer.from(formatLongDouble(sum), 'latin1');
  const expiryMs = key === 0 ? -1 : context.keyspace.expiryMs(key);
  context.db.setString(args.bytes, args.start(1), args.end(1), text, 0, text.length, expiryMs);
  context.dirty++;
  reply.bulk(text, 0, text.length);
}

export const incr = {
  name: 'incr',
  arity: 2,
  class: 'write',
  insideExec: 'queue',
  flags: ['write', 'denyoom', 'fast'],
  keys: ONE_KEY,
  keyFlags: ['RW', 'access', 'update'],
  categories: ['string'],
  group: 'string',
  since: '1.0.0',
  summary: 'Adds one to the number at a key',
  complexity: 'O(1)',
  handler: (context) => increment(context, 1),
} satisfies CommandSpec;

export const incrby = {
  name: 'incrby',
  arity: 3,
  class: 'write',
  insideExec: 'queue',
  flags: ['write', 'denyoom', 'fast'],
  keys: ONE_KEY,
  keyFlags: ['RW', 'access', 'update'],
  categories: ['string'],
  group: 'string',
  since: '1.0.0',
  summary: 'Adds a whole number to the number at a key',
  complexity: 'O(1)',
  validate: validateAmount,
  handler: handleIncrby,
} satisfies CommandSpec;

export const decr = {
  name: 'decr',
  arity: 2,
  class: 'write',
  insideExec: 'queue',
  flags: ['write', 'denyoom', 'fast'],
  keys: ONE_KEY,
  keyFlags: ['RW', 'access', 'update'],
  categories: ['string'],
  group: 'string',
  since: '1.0.0',
  summary: 'Takes one from the number at a key',
  complexity: 'O(1)',
  handler: (context) => increment(context, -1),
} satisfies CommandSpec;

export const decrby = {
  name: 'decrby',
  arity: 3,
  class: 'write',
  insideExec: 'queue',
  flags: ['write', 'denyoom', 'fast'],
  keys: ONE_KEY,
  keyFlags: ['RW', 'access', 'update'],
  categories: ['string'],
  group: 'string',
  since: '1.0.0',
  summary: 'Takes a whole number from the number at a key',
  complexity: 'O(1)',
  validate: validateDecrement,
  handler: handleDecrby,
} satisfies CommandSpec;

export const incrbyfloat = {
  name: 'incrbyfloat',
  arity: 3,
  class: 'write',
  insideExec: 'queue',
  flags: ['write', 'denyoom', 'fast'],
  keys: ONE_KEY,
  keyFlags: ['RW', 'access', 'update'],
  categories: ['string'],
  group: 'string',
  since: '2.6.0',
  summary: 'Adds a decimal number to the number at a key',
  complexity: 'O(1)',
  handler: handleIncrbyfloat,
} satisfies CommandSpec;

export const counterCommands: readonly CommandSpec[] = [
  incr,
  incrby,
  decr,
  decrby,
  incrbyfloat,
];
