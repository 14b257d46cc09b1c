// Strings that are set, read and cut: GET, SET and theirs, ranges, MGET and MSET. Numbers in strings are in counters.ts, LCS in lcs.ts.
// Hot paths index the argument offsets directly and create no strings.
import { ValueType } from '../keyspace/types.ts';
import type { Args } from '../resp/args.ts';
import {
  DEADLINE_INVALID,
  integerClamped,
  parseStringOptions,
  positiveDeadline,
  stringOptions,
} from './arguments.ts';
import type { CommandContext } from './context.ts';
import { Errors, invalidExpire, wrongArity } from './errors.ts';
import { ALL_KEYS, ONE_KEY, type CommandSpec } from './spec.ts';
import { isString, lookupWriteCounted, replyString } from './values.ts';

/** What is wrong with a deadline, as an error text, or undefined. */
function deadlineFault(whenMs: number, command: string): string | undefined {
  if (Number.isNaN(whenMs)) return Errors.notInteger;
  return whenMs === DEADLINE_INVALID ? invalidExpire(command) : undefined;
}

/** Checked before the log with a base of 0; the sum with the time is checked at apply. */
const validateDeadline = (args: Args, i: number, unitMs: number, command: string): string | undefined =>
  deadlineFault(positiveDeadline(args, i, unitMs, 0), command);

/** Sets the key at argument 1 to argument `i`, number and short encodings found as Redis does. */
function setTo(context: CommandContext, i: number, expiryMs: number): void {
  const { args } = context;
  const { bytes, starts, ends } = args;
  context.db.setString(bytes, starts[1]!, ends[1]!, bytes, starts[i]!, ends[i]!, expiryMs);
  context.dirty++;
}

function handleSet(context: CommandContext): void {
  const { args, reply } = context;
  if (args.count === 3) {
    setTo(context, 2, -1);
    reply.ok();
    return;
  }
  if (!parseStringOptions(args, 3, 'set')) return reply.error(Errors.syntax);
  const options = stringOptions;
  let expiryMs = -1;
  if (options.expireAt !== 0) {
    expiryMs = positiveDeadline(args, options.expireAt, options.unitMs, options.absolute ? 0 : context.nowMs);
    const fault = deadlineFault(expiryMs, 'set');
    if (fault !== undefined) return reply.error(fault);
  }
  const key = options.get ? lookupWriteCounted(context, 1) : context.lookupWrite(1);
  if (options.get) {
    if (key === 0) reply.null();
    else if (!isString(context, key)) return;
    else replyString(context, key);
  }
  if (options.nx ? key !== 0 : options.xx && key === 0) {
    if (!options.get) reply.null();
    return;
  }
  if (options.keepTtl && key !== 0) expiryMs = context.keyspace.expiryMs(key);
  setTo(context, 2, expiryMs);
  if (!options.get) reply.ok();
}

function validateSet(args: Args): string | undefined {
  if (args.count === 3) return undefined;
  if (!parseStringOptions(args, 3, 'set')) return Errors.syntax;
  const { expireAt, unitMs } = stringOptions;
  return expireAt === 0 ? undefined : validateDeadline(args, expireAt, unitMs, 'set');
}

function handleSetWithTtl(context: CommandContext, unitMs: number, name: string): void {
  const expiryMs = positiveDeadline(context.args, 2, unitMs, context.nowMs);
  const fault = deadlineFault(expiryMs, name);
  if (fault !== undefined) return context.reply.error(fault);
  setTo(context, 3, expiryMs);
  context.reply.ok();
}

function handleSetnx(context: CommandContext): void {
  if (context.lookupWrite(1) !== 0) return context.reply.integer(0);
  setTo(context, 2, -1);
  context.reply.integer(1);
}

function handleGet(context: CommandContext): void {
  const key = context.lookupRead(1);
  if (key === 0) return context.reply.null();
  if (isString(context, key)) replyString(context, key);
}

function handleGetset(context: CommandContext): void {
  const key = lookupWriteCounted(context, 1);
  if (key === 0) context.reply.null();
  else if (!isString(context, key)) return;
  else replyString(context, key);
  setTo(context, 2, -1);
}

function handleGetdel(context: CommandContext): void {
  const key = lookupWriteCounted(context, 1);
  if (key === 0) return context.reply.null();
  if (!isString(context, key)) return;
  replyString(context, key);
  context.db.remove(key);
  context.dirty++;
}

function handleGetex(context: CommandContext): void {
  const { args, reply, db } = context;
  if (!parseStringOptions(args, 2, 'getex')) return reply.error(Errors.syntax);
  const { expireAt, unitMs, absolute, persist } = stringOptions;
  const key = lookupWriteCounted(context, 1);
  if (key === 0) return reply.null();
  if (!isString(context, key)) return;
  let expiryMs = -1;
  if (expireAt !== 0) {
    expiryMs = positiveDeadline(args, expireAt, unitMs, absolute ? 0 : context.nowMs);
    const fault = deadlineFault(expiryMs, 'getex');
    if (fault !== undefined) return reply.error(fault);
  }
  replyString(context, key);
  if (expireAt !== 0) {
    if (absolute && expiryMs <= context.nowMs) db.remove(key);
    else db.setExpiry(key, expiryMs);
    context.dirty++;
  } else if (persist && context.keyspace.expiryMs(key) !== -1) {
    db.setExpiry(key, -1);
    context.dirty++;
  }
}

function handleMget(context: CommandContext): void {
  const { args, reply } = context;
  const { count } = args;
  reply.array(count - 1);
  for (let i = 1; i < count; i++) {
    const key = context.lookupRead(i);
    if (key === 0 || context.keyspace.type(key) !== ValueType.string) reply.null();
    else replyString(context, key);
  }
}

function setPairs(context: CommandContext): void {
  const { args, db } = context;
  const { bytes, starts, ends, count } = args;
  for (let i = 1; i < count; i += 2) {
    db.setString(bytes, starts[i]!, ends[i]!, bytes, starts[i + 1]!, ends[i + 1]!, -1);
  }
  context.dirty += (count - 1) / 2;
}

function handleMset(context: CommandContext): void {
  if (context.args.count % 2 === 0) return context.reply.error(wrongArity('mset'));
  setPairs(context);
  context.reply.ok();
}

function handleMsetnx(context: CommandContext): void {
  const { args, reply } = context;
  if (args.count % 2 === 0) return reply.error(wrongArity('msetnx'));
  for (let i = 1; i < args.count; i += 2) {
    if (context.lookupWrite(i) !== 0) return reply.integer(0);
  }
  setPairs(context);
  reply.integer(1);
}

function handleStrlen(context: CommandContext): void {
  const key = context.lookupRead(1);
  if (key === 0) return context.reply.integer(0);
  if (isString(context, key)) context.reply.integer(context.keyspace.stringLength(key));
}

function handleGetrange(context: CommandContext): void {
  const { args, reply } = context;
  let start = integerClamped(args, 2);
  let last = integerClamped(args, 3);
  if (Number.isNaN(start) || Number.isNaN(last)) return reply.error(Errors.notInteger);
  const key = context.lookupRead(1);
  if (key === 0) return reply.bulk(args.bytes, 0, 0);
  if (!isString(context, key)) return;
  const span = context.keyspace.stringSpan(key);
  const length = span.end - span.start;
  // Both from the end and the wrong way round is empty even where clamping would make them meet at 0.
  if (start < 0 && last < 0 && start > last) return reply.bulk(span.bytes, span.start, span.start);
  if (start < 0) start = Math.max(0, length + start);
  if (last < 0) last = Math.max(0, length + last);
  last = Math.min(last, length - 1);
  if (start > last) return reply.bulk(span.bytes, span.start, span.start);
  reply.bulk(span.bytes, span.start + start, span.start + last + 1);
}

function handleAppend(context: CommandContext): void {
  const { args, reply, keyspace } = context;
  const key = context.lookupWrite(1);
  if (key === 0) {
    setTo(context, 2, -1);
    return reply.integer(args.length(2));
  }
  if (!isString(context, key)) return;
  const length = keyspace.stringLength(key) + args.length(2);
  if (length > context.settings['proto-max-bulk-len']) return reply.error(Errors.stringTooLong);
  context.db.append(key, args.bytes, args.start(2), args.end(2));
  context.dirty++;
  reply.integer(length);
}

function validateSetrange(args: Args): string | undefined {
  const offset = integerClamped(args, 2);
  if (Number.isNaN(offset)) return Errors.notInteger;
  return offset < 0 ? Errors.offsetOutOfRange : undefined;
}

function handleSetrange(context: CommandContext): void {
  const { args, reply, keyspace, db } = context;
  const fault = validateSetrange(args);
  if (fault !== undefined) return reply.error(fault);
  const offset = integerClamped(args, 2);
  const { bytes, starts, ends } = args;
  let key = context.lookupWrite(1);
  if (key !== 0 && !isString(context, key)) return;
  const written = args.length(3);
  if (written === 0) return reply.integer(key === 0 ? 0 : keyspace.stringLength(key));
  if (offset + written > context.settings['proto-max-bulk-len']) return reply.error(Errors.stringTooLong);
  if (key === 0) key = db.setStringRaw(bytes, starts[1]!, ends[1]!, bytes, 0, 0, -1);
  key = db.setRange(key, offset, bytes, starts[3]!, ends[3]!);
  context.dirty++;
  reply.integer(keyspace.stringLength(key));
}

export const append = {
  name: 'append',
  arity: 3,
  class: 'write',
  insideExec: 'queue',
  flags: ['write', 'denyoom', 'fast'],
  keys: ONE_KEY,
  keyFlags: ['RW', 'insert'],
  categories: ['string'],
  group: 'string',
  since: '2.0.0',
  summary: 'Adds bytes at the end of a string',
  complexity: 'O(1) amortised',
  handler: handleAppend,
} satisfies CommandSpec;

export const get = {
  name: 'get',
  arity: 2,
  class: 'read',
  insideExec: 'queue',
  flags: ['readonly', 'fast'],
  keys: ONE_KEY,
  keyFlags: ['RO', 'access'],
  categories: ['string'],
  group: 'string',
  since: '1.0.0',
  summary: 'Returns the string at a key',
  complexity: 'O(1)',
  handler: handleGet,
} satisfies CommandSpec;

export const getdel = {
  name: 'getdel',
  arity: 2,
  class: 'write',
  insideExec: 'queue',
  flags: ['write', 'fast'],
  keys: ONE_KEY,
  keyFlags: ['RW', 'access', 'delete'],
  categories: ['string'],
  group: 'string',
  since: '6.2.0',
  summary: 'Returns the string at a key and deletes the key',
  complexity: 'O(1)',
  handler: handleGetdel,
} satisfies CommandSpec;

export const getex = {
  name: 'getex',
  arity: -2,
  class: 'write',
  insideExec: 'queue',
  flags: ['write', 'fast'],
  keys: ONE_KEY,
  keyFlags: ['RW', 'access', 'update'],
  categories: ['string'],
  group: 'string',
  since: '6.2.0',
  summary: 'Returns the string at a key and sets or removes its deadline',
  complexity: 'O(1)',
  validate: (args) => (parseStringOptions(args, 2, 'getex') ? undefined : Errors.syntax),
  handler: handleGetex,
} satisfies CommandSpec;

export const getrange = {
  name: 'getrange',
  arity: 4,
  class: 'read',
  insideExec: 'queue',
  flags: ['readonly'],
  keys: ONE_KEY,
  keyFlags: ['RO', 'access'],
  categories: ['string'],
  group: 'string',
  since: '2.4.0',
  summary: 'Returns a part of the string at a key',
  complexity: 'O(N) where N is the length of the part',
  handler: handleGetrange,
} satisfies CommandSpec;

export const substr = {
  name: 'substr',
  arity: 4,
  class: 'read',
  insideExec: 'queue',
  flags: ['readonly'],
  keys: ONE_KEY,
  keyFlags: ['RO', 'access'],
  categories: ['string'],
  group: 'string',
  since: '1.0.0',
  summary: 'Older name of GETRANGE',
  complexity: 'O(N) where N is the length of the part',
  handler: handleGetrange,
} satisfies CommandSpec;

export const getset = {
  name: 'getset',
  arity: 3,
  class: 'write',
  insideExec: 'queue',
  flags: ['write', 'denyoom', 'fast'],
  keys: ONE_KEY,
  keyFlags: ['RW', 'access', 'update'],
  categories: ['string'],
  group: 'string',
  since: '1.0.0',
  summary: 'Sets a key and returns the string that it held',
  complexity: 'O(1)',
  handler: handleGetset,
} satisfies CommandSpec;

export const mget = {
  name: 'mget',
  arity: -2,
  class: 'read',
  insideExec: 'queue',
  flags: ['readonly', 'fast'],
  keys: ALL_KEYS,
  keyFlags: ['RO', 'access'],
  categories: ['string'],
  group: 'string',
  since: '1.0.0',
  summary: 'Returns the strings at several keys',
  complexity: 'O(N) where N is the number of keys',
  handler: handleMget,
} satisfies CommandSpec;

export const mset = {
  name: 'mset',
  arity: -3,
  class: 'write',
  insideExec: 'queue',
  flags: ['write', 'denyoom'],
  keys: { first: 1, last: -1, step: 2 },
  keyFlags: ['OW', 'update'],
  categories: ['string'],
  group: 'string',
  since: '1.0.1',
  summary: 'Sets several keys',
  complexity: 'O(N) where N is the number of keys',
  validate: (args) => (args.count % 2 === 0 ? wrongArity('mset') : undefined),
  handler: handleMset,
} satisfies CommandSpec;

export const msetnx = {
  name: 'msetnx',
  arity: -3,
  class: 'write',
  insideExec: 'queue',
  flags: ['write', 'denyoom'],
  keys: { first: 1, last: -1, step: 2 },
  keyFlags: ['OW', 'insert'],
  categories: ['string'],
  group: 'string',
  since: '1.0.1',
  summary: 'Sets several keys, only if none of them exists',
  complexity: 'O(N) where N is the number of keys',
  validate: (args) => (args.count % 2 === 0 ? wrongArity('msetnx') : undefined),
  handler: handleMsetnx,
} satisfies CommandSpec;

export const psetex = {
  name: 'psetex',
  arity: 4,
  class: 'write',
  insideExec: 'queue',
  flags: ['write', 'denyoom'],
  keys: ONE_KEY,
  keyFlags: ['OW', 'update'],
  categories: ['string'],
  group: 'string',
  since: '2.6.0',
  summary: 'Sets a key with a time to live in milliseconds',
  complexity: 'O(1)',
  validate: (args) => validateDeadline(args, 2, 1, 'psetex'),
  handler: (context) => handleSetWithTtl(context, 1, 'psetex'),
} satisfies CommandSpec;

export const set = {
  name: 'set',
  arity: -3,
  class: 'write',
  insideExec: 'queue',
  flags: ['write', 'denyoom'],
  keys: ONE_KEY,
  keyFlags: ['RW', 'access', 'update', 'variable_flags'],
  categories: ['string'],
  group: 'string',
  since: '1.0.0',
  summary: 'Sets a key, whatever it held',
  complexity: 'O(1)',
  validate: validateSet,
  handler: handleSet,
} satisfies CommandSpec;

export const setex = {
  name: 'setex',
  arity: 4,
  class: 'write',
  insideExec: 'queue',
  flags: ['write', 'denyoom'],
  keys: ONE_KEY,
  keyFlags: ['OW', 'update'],
  categories: ['string'],
  group: 'string',
  since: '2.0.0',
  summary: 'Sets a key with a time to live in seconds',
  complexity: 'O(1)',
  validate: (args) => validateDeadline(args, 2, 1000, 'setex'),
  handler: (context) => handleSetWithTtl(context, 1000, 'setex'),
} satisfies CommandSpec;

export const setnx = {
  name: 'setnx',
  arity: 3,
  class: 'write',
  insideExec: 'queue',
  flags: ['write', 'denyoom', 'fast'],
  keys: ONE_KEY,
  keyFlags: ['OW', 'insert'],
  categories: ['string'],
  group: 'string',
  since: '1.0.0',
  summary: 'Sets a key, only if it does not exist',
  complexity: 'O(1)',
  handler: handleSetnx,
} satisfies CommandSpec;

export const setrange = {
  name: 'setrange',
  arity: 4,
  class: 'write',
  insideExec: 'queue',
  flags: ['write', 'denyoom'],
  keys: ONE_KEY,
  keyFlags: ['RW', 'update'],
  categories: ['string'],
  group: 'string',
  since: '2.2.0',
  summary: 'Overwrites a part of a string, lengthening it with zero bytes as needed',
  complexity: 'O(1) for short values, otherwise O(N) where N is the length of the value',
  validate: validateSetrange,
  handler: handleSetrange,
} satisfies CommandSpec;

export const strlen = {
  name: 'strlen',
  arity: 2,
  class: 'read',
  insideExec: 'queue',
  flags: ['readonly', 'fast'],
  keys: ONE_KEY,
  keyFlags: ['RO'],
  categories: ['string'],
  group: 'string',
  since: '2.2.0',
  summary: 'Returns the length of the string at a key',
  complexity: 'O(1)',
  handler: handleStrlen,
} satisfies CommandSpec;

export const stringCommands: readonly CommandSpec[] = [
  append,
  get,
  getdel,
  getex,
  getrange,
  substr,
  getset,
  mget,
  mset,
  msetnx,
  psetex,
  set,
  setex,
  setnx,
  setrange,
  strlen,
];
