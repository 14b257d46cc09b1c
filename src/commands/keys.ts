// Generic commands on single keys, whatever their type: existence, deletion, names, copies. Deadlines are in keys-expiry.ts,
// walks over the keyspace in keys-scan.ts, OBJECT and MEMORY in keys-object.ts, whole databases in databases.ts.
import type { Database } from '../keyspace/database.ts';
import { ValueType } from '../keyspace/types.ts';
import { int32 } from './arguments.ts';
import type { CommandContext } from './context.ts';
import { Errors } from './errors.ts';
import { ALL_KEYS, ONE_KEY, type CommandSpec } from './spec.ts';
import { sameArguments } from './values.ts';

/** By ValueType: what TYPE answers. */
export const TYPE_NAMES: Readonly<Record<ValueType, string>> = {
  [ValueType.string]: 'string',
  [ValueType.list]: 'list',
  [ValueType.set]: 'set',
  [ValueType.zset]: 'zset',
  [ValueType.hash]: 'hash',
  [ValueType.stream]: 'stream',
};

/** The database that argument i numbers; a string is the error text. */
function databaseAt(context: CommandContext, i: number): Database | string {
  const number = int32(context.args, i);
  if (typeof number === 'string') return number;
  if (number < 0 || number >= context.keyspace.databases) return Errors.invalidDbIndex;
  return context.keyspace.database(number);
}

function handleDel(context: CommandContext): void {
  let deleted = 0;
  for (let i = 1; i < context.args.count; i++) {
    const key = context.lookupWrite(i);
    if (key === 0) continue;
    context.db.remove(key);
    deleted++;
  }
  context.dirty += deleted;
  context.reply.integer(deleted);
}

function handleExists(context: CommandContext): void {
  let found = 0;
  for (let i = 1; i < context.args.count; i++) {
    if (context.lookupPeek(i) !== 0) found++;
  }
  context.reply.integer(found);
}

function handleTouch(context: CommandContext): void {
  let found = 0;
  for (let i = 1; i < context.args.count; i++) {
    if (context.lookupRead(i) !== 0) found++;
  }
  context.reply.integer(found);
}

function handleType(context: CommandContext): void {
  const key = context.lookupPeek(1);
  context.reply.simple(key === 0 ? 'none' : TYPE_NAMES[context.keyspace.type(key)]);
}

function handleRename(context: CommandContext, onlyIfAbsent: boolean): void {
  const { args, reply, db } = context;
  const key = context.lookupWrite(1);
  if (key === 0) return reply.error(Errors.noSuchKey);
  if (!sameArguments(context, 1, 2)) {
    const target = context.lookupWrite(2);
    if (target !== 0) {
      if (onlyIfAbsent) return reply.integer(0);
      db.remove(target);
    }
    db.rename(key, args.bytes, args.start(2), args.end(2));
    context.dirty++;
    if (onlyIfAbsent) return reply.integer(1);
  } else if (onlyIfAbsent) return reply.integer(0);
  reply.ok();
}

function handleMove(context: CommandContext): void {
  const { reply, db } = context;
  const target = databaseAt(context, 2);
  if (typeof target === 'string') return reply.error(target);
  if (target === db) return reply.error(Errors.sameObject);
  const key = context.lookupWrite(1);
  if (key === 0 || context.lookupWrite(1, target) !== 0) return reply.integer(0);
  db.moveTo(key, target);
  context.dirty++;
  reply.integer(1);
}

function handleCopy(context: CommandContext): void {
  const { args, reply, db } = context;
  let target = db;
  let replace = false;
  for (let i = 3; i < args.count; i++) {
    if (args.is(i, 'REPLACE')) replace = true;
    else if (args.is(i, 'DB') && i + 1 < args.count) {
      const chosen = databaseAt(context, ++i);
      if (typeof chosen === 'string') return reply.error(chosen);
      target = chosen;
    } else return reply.error(Errors.syntax);
  }
  if (target === db && sameArguments(context, 1, 2)) return reply.error(Errors.sameObject);
  const key = context.lookupWrite(1);
  if (key === 0) return reply.integer(0);
  const old = context.lookupWrite(2, target);
  if (old !== 0) {
    if (!replace) return reply.integer(0);
    target.remove(old);
  }
  db.copyTo(key, target, args.bytes, args.start(2), args.end(2));
  context.dirty++;
  reply.integer(1);
}

export const copy = {
  name: 'copy',
  arity: -3,
  class: 'write',
  insideExec: 'queue',
  flags: ['write', 'denyoom'],
  keys: { first: 1, last: 2, step: 1 },
  keyFlags: ['RO', 'access', '/', 'OW', 'update'],
  categories: ['keyspace'],
  group: 'generic',
  since: '6.2.0',
  summary: 'Copies the value of a key to another key',
  complexity: 'O(N) where N is the number of elements; O(1) for strings',
  handler: handleCopy,
} satisfies CommandSpec;

export const del = {
  name: 'del',
  arity: -2,
  class: 'write',
  insideExec: 'queue',
  flags: ['write'],
  keys: ALL_KEYS,
  keyFlags: ['RM', 'delete'],
  categories: ['keyspace'],
  group: 'generic',
  since: '1.0.0',
  summary: 'Deletes keys',
  complexity: 'O(N) where N is the number of keys, plus the elements of each',
  handler: handleDel,
} satisfies CommandSpec;

export const unlink = {
  name: 'unlink',
  arity: -2,
  class: 'write',
  insideExec: 'queue',
  flags: ['write', 'fast'],
  keys: ALL_KEYS,
  keyFlags: ['RM', 'delete'],
  categories: ['keyspace'],
  group: 'generic',
  since: '4.0.0',
  summary: 'Deletes keys, as DEL does',
  complexity: 'O(N) where N is the number of keys',
  handler: handleDel,
} satisfies CommandSpec;

export const exists = {
  name: 'exists',
  arity: -2,
  class: 'read',
  insideExec: 'queue',
  flags: ['readonly', 'fast'],
  keys: ALL_KEYS,
  keyFlags: ['RO'],
  categories: ['keyspace'],
  group: 'generic',
  since: '1.0.0',
  summary: 'Counts those of the keys that exist',
  complexity: 'O(N) where N is the number of keys',
  handler: handleExists,
} satisfies CommandSpec;

export const touch = {
  name: 'touch',
  arity: -2,
  class: 'read',
  insideExec: 'queue',
  flags: ['readonly', 'fast'],
  keys: ALL_KEYS,
  keyFlags: ['RO'],
  categories: ['keyspace'],
  group: 'generic',
  since: '3.2.1',
  summary: 'Counts those of the keys that exist and renews their access times',
  complexity: 'O(N) where N is the number of keys',
  handler: handleTouch,
} satisfies CommandSpec;

export const type = {
  name: 'type',
  arity: 2,
  class: 'read',
  insideExec: 'queue',
  flags: ['readonly', 'fast'],
  keys: ONE_KEY,
  keyFlags: ['RO'],
  categories: ['keyspace'],
  group: 'generic',
  since: '1.0.0',
  summary: 'Returns the type of the value at a key',
  complexity: 'O(1)',
  handler: handleType,
} satisfies CommandSpec;

export const rename = {
  name: 'rename',
  arity: 3,
  class: 'write',
  insideExec: 'queue',
  flags: ['write'],
  keys: { first: 1, last: 2, step: 1 },
  keyFlags: ['RW', 'access', 'delete', '/', 'OW', 'update'],
  categories: ['keyspace'],
  group: 'generic',
  since: '1.0.0',
  summary: 'Gives a key another name, in place of what had it',
  complexity: 'O(1)',
  handler: (context) => handleRename(context, false),
} satisfies CommandSpec;

export const renamenx = {
  name: 'renamenx',
  arity: 3,
  class: 'write',
  insideExec: 'queue',
  flags: ['write', 'fast'],
  keys: { first: 1, last: 2, step: 1 },
  keyFlags: ['RW', 'access', 'delete', '/', 'OW', 'insert'],
  categories: ['keyspace'],
  group: 'generic',
  since: '1.0.0',
  summary: 'Gives a key another name, only if no key has it',
  complexity: 'O(1)',
  handler: (context) => handleRename(context, true),
} satisfies CommandSpec;

export const move = {
  name: 'move',
  arity: 3,
  class: 'write',
  insideExec: 'queue',
  flags: ['write', 'fast'],
  keys: ONE_KEY,
  keyFlags: ['RW', 'access', 'update'],
  categories: ['keyspace'],
  group: 'generic',
  since: '1.0.0',
  summary: 'Moves a key to another database',
  complexity: 'O(1)',
  handler: handleMove,
} satisfies CommandSpec;

export const keyCommands: readonly CommandSpec[] = [
  copy,
  del,
  unlink,
  exists,
  touch,
  type,
  rename,
  renamenx,
  move,
];
