// Whole databases: DBSIZE, FLUSHDB, FLUSHALL, SWAPDB; and FUNCTION FLUSH, which has nothing to remove yet.
// SYNC and ASYNC are taken and mean the same: a flush hands back whole segments.
import type { Args } from '../resp/args.ts';
import { int32, printed } from './arguments.ts';
import { replyUnknownSubcommand } from './connection.ts';
import type { CommandContext } from './context.ts';
import { Errors } from './errors.ts';
import { NO_KEYS, type CommandSpec } from './spec.ts';

const invalidFirst = 'ERR invalid first DB index';
const invalidSecond = 'ERR invalid second DB index';
const functionFlushOptions = 'ERR FUNCTION FLUSH only supports SYNC|ASYNC option';

const isFlushMode = (args: Args, i: number): boolean => args.is(i, 'SYNC') || args.is(i, 'ASYNC');

function validateFlush(args: Args): string | undefined {
  return args.count === 1 || (args.count === 2 && isFlushMode(args, 1)) ? undefined : Errors.syntax;
}

function handleFlushdb(context: CommandContext): void {
  const fault = validateFlush(context.args);
  if (fault !== undefined) return context.reply.error(fault);
  context.dirty += context.db.size;
  context.db.clear();
  context.reply.ok();
}

function handleFlushall(context: CommandContext): void {
  const { args, reply, keyspace } = context;
  const fault = validateFlush(args);
  if (fault !== undefined) return reply.error(fault);
  for (let number = 0; number < keyspace.databases; number++) context.dirty += keyspace.database(number).size;
  keyspace.flushAll();
  reply.ok();
}

function handleSwapdb(context: CommandContext): void {
  const { args, reply, keyspace } = context;
  const first = int32(args, 1);
  if (typeof first === 'string') return reply.error(invalidFirst);
  const second = int32(args, 2);
  if (typeof second === 'string') return reply.error(invalidSecond);
  const { databases } = keyspace;
  if (first < 0 || first >= databases || second < 0 || second >= databases) return reply.error(Errors.invalidDbIndex);
  if (first !== second) keyspace.swap(first, second);
  context.dirty++;
  reply.ok();
}

function handleFunctionFlush(context: CommandContext): void {
  const { args, reply } = context;
  if (args.count > 3) {
    const sub = printed(args, 1).slice(0, 128);
    return reply.error(`ERR unknown subcommand or wrong number of arguments for '${sub}'. Try FUNCTION HELP.`);
  }
  if (args.count === 3 && !isFlushMode(args, 2)) return reply.error(functionFlushOptions);
  context.dirty++;
  reply.ok();
}

export const dbsize = {
  name: 'dbsize',
  arity: 1,
  class: 'read',
  insideExec: 'queue',
  flags: ['readonly', 'fast'],
  keys: NO_KEYS,
  categories: ['keyspace'],
  group: 'server',
  since: '1.0.0',
  summary: 'Returns the number of keys in the database',
  complexity: 'O(1)',
  handler: (context) => context.reply.integer(context.db.size),
} satisfies CommandSpec;

export const flushall = {
  name: 'flushall',
  arity: -1,
  class: 'write',
  insideExec: 'queue',
  flags: ['write'],
  keys: NO_KEYS,
  categories: ['keyspace', 'dangerous'],
  group: 'server',
  since: '1.0.0',
  summary: 'Removes all keys from all databases',
  complexity: 'O(N) where N is the number of keys in all databases',
  validate: validateFlush,
  handler: handleFlushall,
} satisfies CommandSpec;

export const flushdb = {
  name: 'flushdb',
  arity: -1,
  class: 'write',
  insideExec: 'queue',
  flags: ['write'],
  keys: NO_KEYS,
  categories: ['keyspace', 'dangerous'],
  group: 'server',
  since: '1.0.0',
  summary: 'Removes all keys from the database',
  complexity: 'O(N) where N is the number of keys in the database',
  validate: validateFlush,
  handler: handleFlushdb,
} satisfies CommandSpec;

export const swapdb = {
  name: 'swapdb',
  arity: 3,
  class: 'write',
  insideExec: 'queue',
  flags: ['write', 'fast'],
  keys: NO_KEYS,
  categories: ['keyspace', 'dangerous'],
  group: 'server',
  since: '4.0.0',
  summary: 'Exchanges the contents of two databases',
  complexity: 'O(1)',
  handler: handleSwapdb,
} satisfies CommandSpec;

const functionFlush = {
  name: 'flush',
  arity: -2,
  class: 'write',
  insideExec: 'queue',
  flags: ['noscript', 'write'],
  keys: NO_KEYS,
  categories: ['scripting'],
  group: 'scripting',
  since: '7.0.0',
  summary: 'Removes all functions; there are none yet',
  complexity: 'O(1)',
  handler: handleFunctionFlush,
} satisfies CommandSpec;

export const functions = {
  name: 'function',
  arity: -2,
  class: 'write',
  insideExec: 'queue',
  flags: [],
  keys: NO_KEYS,
  categories: [],
  group: 'scripting',
  since: '7.0.0',
  summary: 'Manages functions',
  complexity: 'By subcommand',
  handler: replyUnknownSubcommand,
  subcommands: [functionFlush],
} satisfies CommandSpec;

export const databaseCommands: readonly CommandSpec[] = [
  dbsize,
  flushall,
  flushdb,
  swapdb,
  functions,
];
