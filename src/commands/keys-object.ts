// OBJECT and MEMORY USAGE: how a value is kept. Reads that leave the access clocks alone.
import { Encoding, encodingName } from '../keyspace/types.ts';
import type { Handle } from '../keyspace/database.ts';
import { integerClamped } from './arguments.ts';
import { replyHelp, replyUnknownSubcommand } from './connection.ts';
import type { CommandContext } from './context.ts';
import { Errors } from './errors.ts';
import { NO_KEYS, type CommandSpec } from './spec.ts';

const policyNote =
  'Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.';
const idleUnderLfu = `ERR An LFU maxmemory policy is selected, idle time not tracked. ${policyNote}`;
const freqUnderLru = `ERR An LFU maxmemory policy is not selected, access frequency not tracked. ${policyNote}`;

/** Redis shares the objects of the whole numbers below this, and says so by a greatest reference count. */
const SHARED_INTEGERS = 10_000;
const SHARED_REFCOUNT = 2_147_483_647;

const OBJECT_HELP = [
  'ENCODING <key>',
  '    How the value of <key> is kept in memory.',
  'FREQ <key>',
  '    How often <key> was accessed lately, on a logarithmic scale; under an LFU policy.',
  'IDLETIME <key>',
  '    Seconds since the last access to <key>; under any other policy.',
  'REFCOUNT <key>',
  '    References to the value of <key>; what Redis would say.',
];

const MEMORY_HELP = [
  'USAGE <key> [SAMPLES <count>]',
  '    Bytes that <key> and its value take. Nothing is sampled: the allocator knows.',
];

/** The live key at argument 2, or 0 with null replied. */
function lookup(context: CommandContext): Handle {
  const key = context.lookupPeek(2);
  if (key === 0) context.reply.null();
  return key;
}

function handleEncoding(context: CommandContext): void {
  const key = lookup(context);
  if (key !== 0) context.reply.bulkText(encodingName(context.keyspace.encoding(key)));
}

function handleRefcount(context: CommandContext): void {
  const { keyspace } = context;
  const key = lookup(context);
  if (key === 0) return;
  const value = keyspace.encoding(key) === Encoding.int ? keyspace.integer(key) : NaN;
  context.reply.integer(value >= 0 && value < SHARED_INTEGERS ? SHARED_REFCOUNT : 1);
}

function handleIdletime(context: CommandContext): void {
  const key = lookup(context);
  if (key === 0) return;
  if (context.keyspace.policy === 'lfu') return context.reply.error(idleUnderLfu);
  context.reply.integer(Math.floor(context.keyspace.idleMs(key) / 1000));
}

function handleFreq(context: CommandContext): void {
  const key = lookup(context);
  if (key === 0) return;
  if (context.keyspace.policy !== 'lfu') return context.reply.error(freqUnderLru);
  context.reply.integer(context.keyspace.lfuFrequency(key));
}

function handleUsage(context: CommandContext): void {
  const { args, reply } = context;
  for (let i = 3; i < args.count; i += 2) {
    if (!args.is(i, 'SAMPLES') || i + 1 === args.count) return reply.error(Errors.syntax);
    const samples = integerClamped(args, i + 1);
    if (Number.isNaN(samples)) return reply.error(Errors.notInteger);
    if (samples < 0) return reply.error(Errors.syntax);
  }
  const key = lookup(context);
  if (key !== 0) reply.integer(context.keyspace.memoryUsage(key));
}

const encoding = {
  name: 'encoding',
  arity: 3,
  class: 'read',
  insideExec: 'queue',
  flags: ['readonly'],
  keys: { first: 2, last: 2, step: 1 },
  keyFlags: ['RO'],
  categories: ['keyspace'],
  group: 'generic',
  since: '2.2.3',
  summary: 'Returns how the value of a key is kept',
  complexity: 'O(1)',
  handler: handleEncoding,
} satisfies CommandSpec;

const freq = {
  name: 'freq',
  arity: 3,
  class: 'read',
  insideExec: 'queue',
  flags: ['readonly'],
  keys: { first: 2, last: 2, step: 1 },
  keyFlags: ['RO'],
  categories: ['keyspace'],
  group: 'generic',
  since: '4.0.0',
  summary: 'Returns the logarithmic access counter of a key',
  complexity: 'O(1)',
  handler: handleFreq,
} satisfies CommandSpec;

const idletime = {
  name: 'idletime',
  arity: 3,
  class: 'read',
  insideExec: 'queue',
  flags: ['readonly'],
  keys: { first: 2, last: 2, step: 1 },
  keyFlags: ['RO'],
  categories: ['keyspace'],
  group: 'generic',
  since: '2.2.3',
  summary: 'Returns the seconds since the last access to a key',
  complexity: 'O(1)',
  handler: handleIdletime,
} satisfies CommandSpec;

const refcount = {
  name: 'refcount',
  arity: 3,
  class: 'read',
  insideExec: 'queue',
  flags: ['readonly'],
  keys: { first: 2, last: 2, step: 1 },
  keyFlags: ['RO'],
  categories: ['keyspace'],
  group: 'generic',
  since: '2.2.3',
  summary: 'Returns the reference count of the value of a key',
  complexity: 'O(1)',
  handler: handleRefcount,
} satisfies CommandSpec;

const objectHelp = {
  name: 'help',
  arity: 2,
  class: 'session',
  insideExec: 'queue',
  flags: ['loading', 'stale'],
  keys: NO_KEYS,
  categories: ['keyspace'],
  group: 'generic',
  since: '6.2.0',
  summary: 'Lists the subcommands',
  complexity: 'O(1)',
  handler: ({ reply }) => replyHelp(reply, 'object', OBJECT_HELP),
} satisfies CommandSpec;

export const object = {
  name: 'object',
  arity: -2,
  class: 'read',
  insideExec: 'queue',
  flags: [],
  keys: NO_KEYS,
  categories: [],
  group: 'generic',
  since: '2.2.3',
  summary: 'Looks into the value of a key',
  complexity: 'By subcommand',
  handler: replyUnknownSubcommand,
  subcommands: [encoding, freq, idletime, refcount, objectHelp],
} satisfies CommandSpec;

const usage = {
  name: 'usage',
  arity: -3,
  class: 'read',
  insideExec: 'queue',
  flags: ['readonly'],
  keys: { first: 2, last: 2, step: 1 },
  keyFlags: ['RO'],
  categories: [],
  group: 'server',
  since: '4.0.0',
  summary: 'Returns the bytes that a key and its value take',
  complexity: 'O(1)',
  handler: handleUsage,
} satisfies CommandSpec;

const memoryHelp = {
  name: 'help',
  arity: 2,
  class: 'session',
  insideExec: 'queue',
  flags: ['loading', 'stale'],
  keys: NO_KEYS,
  categories: [],
  group: 'server',
  since: '4.0.0',
  summary: 'Lists the subcommands',
  complexity: 'O(1)',
  handler: ({ reply }) => replyHelp(reply, 'memory', MEMORY_HELP),
} satisfies CommandSpec;

export const memory = {
  name: 'memory',
  arity: -2,
  class: 'read',
  insideExec: 'queue',
  flags: [],
  keys: NO_KEYS,
  categories: [],
  group: 'server',
  since: '4.0.0',
  summary: 'Tells what memory is used for',
  complexity: 'By subcommand',
  handler: replyUnknownSubcommand,
  subcommands: [usage, memoryHelp],
} satisfies CommandSpec;

export const objectCommands: readonly CommandSpec[] = [
  object,
  memory,
];
