// Deadlines of keys: EXPIRE and theirs, PERSIST, TTL and theirs. Deadlines are absolute milliseconds, fixed at apply.
// One difference from Redis: deadlines past 2^53 − 1 ms (the year 287396) are kept as that moment.
import type { Args } from '../resp/args.ts';
import { deadline, deadlineFault, printed } from './arguments.ts';
import type { CommandContext } from './context.ts';
import { ONE_KEY, type CommandSpec } from './spec.ts';

const NX = 1;
const XX = 2;
const GT = 4;
const LT = 8;

const nxWithOthers = 'ERR NX and XX, GT or LT options at the same time are not compatible';
const gtWithLt = 'ERR GT and LT options at the same time are not compatible';

/** The options from argument 3 on as bits; a string is the error text. */
function parseConditions(args: Args): number | string {
  let conditions = 0;
  for (let i = 3; i < args.count; i++) {
    if (args.is(i, 'NX')) conditions |= NX;
    else if (args.is(i, 'XX')) conditions |= XX;
    else if (args.is(i, 'GT')) conditions |= GT;
    else if (args.is(i, 'LT')) conditions |= LT;
    else return `ERR Unsupported option ${printed(args, i)}`;
  }
  if ((conditions & NX) !== 0 && conditions !== NX) return nxWithOthers;
  if ((conditions & (GT | LT)) === (GT | LT)) return gtWithLt;
  return conditions;
}

function validateExpire(args: Args, unitMs: number, command: string): string | undefined {
  const conditions = parseConditions(args);
  return typeof conditions === 'string' ? conditions : deadlineFault(deadline(args, 2, unitMs, 0), command);
}

/** A key without a deadline counts as living forever: GT never passes, LT always does. */
function conditionsHold(conditions: number, oldMs: number, whenMs: number): boolean {
  if ((conditions & NX) !== 0 && oldMs !== -1) return false;
  if ((conditions & XX) !== 0 && oldMs === -1) return false;
  if ((conditions & GT) !== 0 && (oldMs === -1 || whenMs <= oldMs)) return false;
  return (conditions & LT) === 0 || oldMs === -1 || whenMs < oldMs;
}

function handleExpire(context: CommandContext, unitMs: number, baseMs: number, command: string): void {
  const { args, reply, db } = context;
  const conditions = args.count === 3 ? 0 : parseConditions(args);
  if (typeof conditions === 'string') return reply.error(conditions);
  const whenMs = deadline(args, 2, unitMs, baseMs);
  const fault = deadlineFault(whenMs, command);
  if (fault !== undefined) return reply.error(fault);
  const key = context.lookupWrite(1);
  if (key === 0) return reply.integer(0);
  if (conditions !== 0 && !conditionsHold(conditions, context.keyspace.expiryMs(key), whenMs)) return reply.integer(0);
  if (whenMs <= context.nowMs) db.remove(key);
  else db.setExpiry(key, whenMs);
  context.dirty++;
  reply.integer(1);
}

function handlePersist(context: CommandContext): void {
  const key = context.lookupWrite(1);
  if (key === 0 || context.keyspace.expiryMs(key) === -1) return context.reply.integer(0);
  context.db.setExpiry(key, -1);
  context.dirty++;
  context.reply.integer(1);
}

function handleTtl(context: CommandContext, unitMs: number, relative: boolean): void {
  const { reply } = context;
  const key = context.lookupPeek(1);
  if (key === 0) return reply.integer(-2);
  const expiryMs = context.keyspace.expiryMs(key);
  if (expiryMs === -1) return reply.integer(-1);
  const ms = relative ? Math.max(0, expiryMs - context.nowMs) : expiryMs;
  reply.integer(unitMs === 1 ? ms : Math.floor((ms + 500) / 1000));
}

export const expire = {
  name: 'expire',
  arity: -3,
  class: 'write',
  insideExec: 'queue',
  flags: ['write', 'fast'],
  keys: ONE_KEY,
  keyFlags: ['RW', 'update'],
  categories: ['keyspace'],
  group: 'generic',
  since: '1.0.0',
  summary: 'Sets the time to live of a key in seconds',
  complexity: 'O(1)',
  validate: (args) => validateExpire(args, 1000, 'expire'),
  handler: (context) => handleExpire(context, 1000, context.nowMs, 'expire'),
} satisfies CommandSpec;

export const expireat = {
  name: 'expireat',
  arity: -3,
  class: 'write',
  insideExec: 'queue',
  flags: ['write', 'fast'],
  keys: ONE_KEY,
  keyFlags: ['RW', 'update'],
  categories: ['keyspace'],
  group: 'generic',
  since: '1.2.0',
  summary: 'Sets the deadline of a key as a Unix time in seconds',
  complexity: 'O(1)',
  validate: (args) => validateExpire(args, 1000, 'expireat'),
  handler: (context) => handleExpire(context, 1000, 0, 'expireat'),
} satisfies CommandSpec;

export const pexpire = {
  name: 'pexpire',
  arity: -3,
  class: 'write',
  insideExec: 'queue',
  flags: ['write', 'fast'],
  keys: ONE_KEY,
  keyFlags: ['RW', 'update'],
  categories: ['keyspace'],
  group: 'generic',
  since: '2.6.0',
  summary: 'Sets the time to live of a key in milliseconds',
  complexity: 'O(1)',
  validate: (args) => validateExpire(args, 1, 'pexpire'),
  handler: (context) => handleExpire(context, 1, context.nowMs, 'pexpire'),
} satisfies CommandSpec;

export const pexpireat = {
  name: 'pexpireat',
  arity: -3,
  class: 'write',
  insideExec: 'queue',
  flags: ['write', 'fast'],
  keys: ONE_KEY,
  keyFlags: ['RW', 'update'],
  categories: ['keyspace'],
  group: 'generic',
  since: '2.6.0',
  summary: 'Sets the deadline of a key as a Unix time in milliseconds',
  complexity: 'O(1)',
  validate: (args) => validateExpire(args, 1, 'pexpireat'),
  handler: (context) => handleExpire(context, 1, 0, 'pexpireat'),
} satisfies CommandSpec;

export const persist = {
  name: 'persist',
  arity: 2,
  class: 'write',
  insideExec: 'queue',
  flags: ['write', 'fast'],
  keys: ONE_KEY,
  keyFlags: ['RW', 'update'],
  categories: ['keyspace'],
  group: 'generic',
  since: '2.2.0',
  summary: 'Removes the deadline of a key',
  complexity: 'O(1)',
  handler: handlePersist,
} satisfies CommandSpec;

export const ttl = {
  name: 'ttl',
  arity: 2,
  class: 'read',
  insideExec: 'queue',
  flags: ['readonly', 'fast'],
  keys: ONE_KEY,
  keyFlags: ['RO', 'access'],
  categories: ['keyspace'],
  group: 'generic',
  since: '1.0.0',
  summary: 'Returns the time that a key has left, in seconds',
  complexity: 'O(1)',
  handler: (context) => handleTtl(context, 1000, true),
} satisfies CommandSpec;

export const pttl = {
  name: 'pttl',
  arity: 2,
  class: 'read',
  insideExec: 'queue',
  flags: ['readonly', 'fast'],
  keys: ONE_KEY,
  keyFlags: ['RO', 'access'],
  categories: ['keyspace'],
  group: 'generic',
  since: '2.6.0',
  summary: 'Returns the time that a key has left, in milliseconds',
  complexity: 'O(1)',
  handler: (context) => handleTtl(context, 1, true),
} satisfies CommandSpec;

export const expiretime = {
  name: 'expiretime',
  arity: 2,
  class: 'read',
  insideExec: 'queue',
  flags: ['readonly', 'fast'],
  keys: ONE_KEY,
  keyFlags: ['RO', 'access'],
  categories: ['keyspace'],
  group: 'generic',
  since: '7.0.0',
  summary: 'Returns the deadline of a key as a Unix time in seconds',
  complexity: 'O(1)',
  handler: (context) => handleTtl(context, 1000, false),
} satisfies CommandSpec;

export const pexpiretime = {
  name: 'pexpiretime',
  arity: 2,
  class: 'read',
  insideExec: 'queue',
  flags: ['readonly', 'fast'],
  keys: ONE_KEY,
  keyFlags: ['RO', 'access'],
  categories: ['keyspace'],
  group: 'generic',
  since: '7.0.0',
  summary: 'Returns the deadline of a key as a Unix time in milliseconds',
  complexity: 'O(1)',
  handler: (context) => handleTtl(context, 1, false),
} satisfies CommandSpec;

export const expiryCommands: readonly CommandSpec[] = [
  expire,
  expireat,
  pexpire,
  pexpireat,
  persist,
  ttl,
  pttl,
  expiretime,
  pexpiretime,
];
