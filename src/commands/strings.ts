// Strings as wholes: GET, SET and theirs, MGET and MSET. Parts are in string-parts.ts, numbers in counters.ts, LCS in lcs.ts.
// Hot paths index the argument offsets directly and create no strings.
import { ValueType } from '../keyspace/types.ts';
import type { Args } from '../resp/args.ts';
import { deadlineFault, parseStringOptions, positiveDeadline, stringOptions } from './arguments.ts';
import type { CommandContext } from './context.ts';
import { Errors, wrongArity } from './errors.ts';
import { ALL_KEYS, ONE_KEY, type CommandSpec } from './spec.ts';
import { isString, lookupWriteCounted, replyString, setTo } from './values.ts';

/** Checked before the log with a base of 0; the sum with the time is checked at apply. */
const validateDeadline = (args: Args, i: number, unitMs: number, command: string): string | undefined =>
  deadlineFault(positiveDeadline(args, i, unitMs, 0), command);

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

function setKeyFlags(args: Args): readonly string[] {
  for (let i = 3; i < args.count; i++) if (args.is(i, 'GET')) return ['RW', 'access', 'update'];
  return ['OW', 'update'];
}

export const set = {
  name: 'set',
  arity: -3,
  class: 'write',
  insideExec: 'queue',
  flags: ['write', 'denyoom'],
  keys: ONE_KEY,
  keyFlags: ['RW', 'access', 'update', 'variable_flags'],
  keyFlagsFrom: setKeyFlags,
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

export const stringCommands: readonly CommandSpec[] = [
  get,
  getdel,
  getex,
  getset,
  mget,
  mset,
  msetnx,
  psetex,
  set,
  setex,
  setnx,
];
