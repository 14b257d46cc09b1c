// Parts of strings: APPEND, SETRANGE, GETRANGE and STRLEN.
import type { Args } from '../resp/args.ts';
import { integerClamped } from './arguments.ts';
import type { CommandContext } from './context.ts';
import { Errors } from './errors.ts';
import { ONE_KEY, type CommandSpec } from './spec.ts';
import { isString, setTo } from './values.ts';

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

export const stringPartCommands: readonly CommandSpec[] = [append, getrange, substr, setrange, strlen];
