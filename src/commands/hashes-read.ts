// Hashes: commands that read fields of one, or all of them in their order. Create no strings.
import type { Handle } from '../keyspace/database.ts';
import type { CommandContext } from './context.ts';
import { isHash } from './hashes.ts';
import { ONE_KEY, type CommandSpec } from './spec.ts';

/** The hash at argument 1; 0 with `absent` replied where there is none, or WRONGTYPE. */
export function lookupHash(context: CommandContext, absent: (context: CommandContext) => void): Handle {
  const key = context.lookupRead(1);
  if (key === 0) {
    absent(context);
    return 0;
  }
  return isHash(context, key) ? key : 0;
}

const replyZero = ({ reply }: CommandContext): void => reply.integer(0);
export const replyNull = ({ reply }: CommandContext): void => reply.null();
export const replyEmpty = ({ reply }: CommandContext): void => reply.array(0);
const replyEmptyMap = ({ reply }: CommandContext): void => reply.map(0);

/** Replies the value of the field at argument i, or null. */
function replyField(context: CommandContext, key: Handle, i: number): void {
  const { args, reply } = context;
  const span = key === 0 ? undefined : context.keyspace.hashes.find(key, args.bytes, args.start(i), args.end(i));
  if (span === undefined) reply.null();
  else reply.bulk(span.bytes, span.start, span.end);
}

function handleHget(context: CommandContext): void {
  const key = lookupHash(context, replyNull);
  if (key !== 0) replyField(context, key, 2);
}

function handleHmget(context: CommandContext): void {
  const key = context.lookupRead(1);
  if (key !== 0 && !isHash(context, key)) return;
  context.reply.array(context.args.count - 2);
  for (let i = 2; i < context.args.count; i++) replyField(context, key, i);
}

function handleHexists(context: CommandContext): void {
  const { args } = context;
  const key = lookupHash(context, replyZero);
  if (key === 0) return;
  const span = context.keyspace.hashes.find(key, args.bytes, args.start(2), args.end(2));
  context.reply.integer(span === undefined ? 0 : 1);
}

function handleHstrlen(context: CommandContext): void {
  const { args } = context;
  const key = lookupHash(context, replyZero);
  if (key === 0) return;
  const span = context.keyspace.hashes.find(key, args.bytes, args.start(2), args.end(2));
  context.reply.integer(span === undefined ? 0 : span.end - span.start);
}

function handleHlen(context: CommandContext): void {
  const key = lookupHash(context, replyZero);
  if (key !== 0) context.reply.integer(context.keyspace.hashes.count(key));
}

/** Replies all fields, all values, or both. The header has been written. */
function replyAll(context: CommandContext, key: Handle, fields: boolean, values: boolean): void {
  const { reply } = context;
  const { hashes } = context.keyspace;
  hashes.walk(key);
  while (hashes.next()) {
    if (fields) {
      const { bytes, start, end } = hashes.field();
      reply.bulk(bytes, start, end);
    }
    if (values) {
      const { bytes, start, end } = hashes.value();
      reply.bulk(bytes, start, end);
    }
  }
}

function handleHgetall(context: CommandContext): void {
  const key = lookupHash(context, replyEmptyMap);
  if (key === 0) return;
  context.reply.map(context.keyspace.hashes.count(key));
  replyAll(context, key, true, true);
}

function handleHkeys(context: CommandContext, fields: boolean): void {
  const key = lookupHash(context, replyEmpty);
  if (key === 0) return;
  context.reply.array(context.keyspace.hashes.count(key));
  replyAll(context, key, fields, !fields);
}

export const hget = {
  name: 'hget',
  arity: 3,
  class: 'read',
  insideExec: 'queue',
  flags: ['readonly', 'fast'],
  keys: ONE_KEY,
  keyFlags: ['RO', 'access'],
  categories: ['hash'],
  group: 'hash',
  since: '2.0.0',
  summary: 'Returns the value of a field of a hash',
  complexity: 'O(1)',
  handler: handleHget,
} satisfies CommandSpec;

export const hmget = {
  name: 'hmget',
  arity: -3,
  class: 'read',
  insideExec: 'queue',
  flags: ['readonly', 'fast'],
  keys: ONE_KEY,
  keyFlags: ['RO', 'access'],
  categories: ['hash'],
  group: 'hash',
  since: '2.0.0',
  summary: 'Returns the values of several fields of a hash',
  complexity: 'O(N) where N is the number of fields given',
  handler: handleHmget,
} satisfies CommandSpec;

export const hexists = {
  name: 'hexists',
  arity: 3,
  class: 'read',
  insideExec: 'queue',
  flags: ['readonly', 'fast'],
  keys: ONE_KEY,
  keyFlags: ['RO'],
  categories: ['hash'],
  group: 'hash',
  since: '2.0.0',
  summary: 'Tells whether a hash has a field',
  complexity: 'O(1)',
  handler: handleHexists,
} satisfies CommandSpec;

export const hstrlen = {
  name: 'hstrlen',
  arity: 3,
  class: 'read',
  insideExec: 'queue',
  flags: ['readonly', 'fast'],
  keys: ONE_KEY,
  keyFlags: ['RO'],
  categories: ['hash'],
  group: 'hash',
  since: '3.2.0',
  summary: 'Returns the length of the value of a field of a hash',
  complexity: 'O(1)',
  handler: handleHstrlen,
} satisfies CommandSpec;

export const hlen = {
  name: 'hlen',
  arity: 2,
  class: 'read',
  insideExec: 'queue',
  flags: ['readonly', 'fast'],
  keys: ONE_KEY,
  keyFlags: ['RO'],
  categories: ['hash'],
  group: 'hash',
  since: '2.0.0',
  summary: 'Returns the number of fields of a hash',
  complexity: 'O(1)',
  handler: handleHlen,
} satisfies CommandSpec;

export const hgetall = {
  name: 'hgetall',
  arity: 2,
  class: 'read',
  insideExec: 'queue',
  flags: ['readonly'],
  keys: ONE_KEY,
  keyFlags: ['RO', 'access'],
  categories: ['hash'],
  group: 'hash',
  since: '2.0.0',
  summary: 'Returns all fields of a hash with their values',
  complexity: 'O(N) where N is the number of fields',
  handler: handleHgetall,
} satisfies CommandSpec;

export const hkeys = {
  name: 'hkeys',
  arity: 2,
  class: 'read',
  insideExec: 'queue',
  flags: ['readonly'],
  keys: ONE_KEY,
  keyFlags: ['RO', 'access'],
  categories: ['hash'],
  group: 'hash',
  since: '2.0.0',
  summary: 'Returns all fields of a hash',
  complexity: 'O(N) where N is the number of fields',
  handler: (context) => handleHkeys(context, true),
} satisfies CommandSpec;

export const hvals = {
  name: 'hvals',
  arity: 2,
  class: 'read',
  insideExec: 'queue',
  flags: ['readonly'],
  keys: ONE_KEY,
  keyFlags: ['RO', 'access'],
  categories: ['hash'],
  group: 'hash',
  since: '2.0.0',
  summary: 'Returns all values of a hash',
  complexity: 'O(N) where N is the number of fields',
  handler: (context) => handleHkeys(context, false),
} satisfies CommandSpec;

export const hashReadCommands: readonly CommandSpec[] = [
  hexists,
  hget,
  hgetall,
  hkeys,
  hlen,
  hmget,
  hstrlen,
  hvals,
];
