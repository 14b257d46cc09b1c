// Hashes: commands that change one. Reads are in hashes-read.ts, walks and random picks in hashes-walk.ts.
// Hot paths index the argument offsets directly and create no strings.
import type { Handle } from '../keyspace/database.ts';
import { FIELD_AND_VALUE_BYTES_MAX } from '../keyspace/field-table.ts';
import type { ByteSpan } from '../keyspace/types.ts';
import { ValueType } from '../keyspace/types.ts';
import { PACKED_BYTES_MAX } from '../keyspace/value-kinds.ts';
import type { Args } from '../resp/args.ts';
import { parseInteger64, parseSafeInteger } from '../resp/args.ts';
import { isInteger64 } from './arguments.ts';
import type { CommandContext } from './context.ts';
import { Errors, wrongArity } from './errors.ts';
import { addLongDoubles, formatLongDouble, longDoubleZero, parseLongDouble } from './float.ts';
import { ONE_KEY, type CommandSpec } from './spec.ts';

/** False, with the WRONGTYPE reply written, where the key holds something else than a hash. */
export function isHash(context: CommandContext, key: Handle): boolean {
  if (context.keyspace.type(key) === ValueType.hash) return true;
  context.reply.error(Errors.wrongType);
  return false;
}

/** The key at argument 1 in a change that `finish` ends, made where it is absent (`key` is 0); fields and values are the arguments from `from` on. */
function begin(context: CommandContext, key: Handle, from: number): Handle {
  const { args, db, keyspace } = context;
  if (key !== 0) return keyspace.hashes.begin(db, key);
  const { bytes, starts, ends, count } = args;
  let room = 0;
  for (let i = from; i < count; i++) room += keyspace.hashes.entryBytes(bytes, starts[i]!, ends[i]!);
  if (room > PACKED_BYTES_MAX / 2 || (count - from) / 2 > context.settings['hash-max-listpack-entries']) room = 0;
  return keyspace.hashes.create(db, bytes, starts[1]!, ends[1]!, room);
}

/** Gives up the packed form where a text of `longest` bytes, or `total` bytes more, are too much for it. */
function unpackFor(context: CommandContext, h: Handle, longest: number, total: number): Handle {
  const { hashes } = context.keyspace;
  if (!hashes.isPacked(h)) return h;
  const fits = longest <= context.settings['hash-max-listpack-value'] && hashes.packedBytes(h) + total <= PACKED_BYTES_MAX;
  return fits ? h : hashes.unpack(context.db, h);
}

/** Sets the pairs of arguments from `from` on; returns how many fields are new. */
function setPairs(context: CommandContext, key: Handle, from: number): number {
  const { args, db, keyspace } = context;
  const { bytes, starts, ends, count } = args;
  const entriesMax = context.settings['hash-max-listpack-entries'];
  let longest = 0;
  let total = 0;
  for (let i = from; i < count; i++) {
    const length = ends[i]! - starts[i]!;
    if (length > longest) longest = length;
    total += length + 10;
  }
  let h = unpackFor(context, begin(context, key, from), longest, total);
  let added = 0;
  for (let i = from; i < count; i += 2) {
    h = keyspace.hashes.set(db, h, bytes, starts[i]!, ends[i]!, bytes, starts[i + 1]!, ends[i + 1]!, entriesMax);
    if (keyspace.hashes.changed) added++;
  }
  keyspace.hashes.end(db, h);
  return added;
}

/** Sets the field at argument 2 to a text that is no argument. False, with the error replied, where the two are too long. */
function setField(context: CommandContext, key: Handle, text: Uint8Array, start: number, end: number): boolean {
  const { args, db, keyspace } = context;
  const total = args.length(2) + end - start;
  if (total > FIELD_AND_VALUE_BYTES_MAX) {
    context.reply.error(Errors.stringTooLong);
    return false;
  }
  const h = unpackFor(context, begin(context, key, args.count), Math.max(args.length(2), end - start), total + 20);
  const entriesMax = context.settings['hash-max-listpack-entries'];
  keyspace.hashes.end(db, keyspace.hashes.set(db, h, args.bytes, args.start(2), args.end(2), text, start, end, entriesMax));
  context.dirty++;
  return true;
}

/** A pair must fit in a block of memory, which string values need not. */
function pairsFault(args: Args): string | undefined {
  for (let i = 2; i + 1 < args.count; i += 2) {
    if (args.length(i) + args.length(i + 1) > FIELD_AND_VALUE_BYTES_MAX) return Errors.stringTooLong;
  }
  return undefined;
}

function handleHset(context: CommandContext, name: 'hset' | 'hmset'): void {
  const { args, reply } = context;
  const fault = validatePairs(args, name);
  if (fault !== undefined) return reply.error(fault);
  const key = context.lookupWrite(1);
  if (key !== 0 && !isHash(context, key)) return;
  const added = setPairs(context, key, 2);
  context.dirty += (args.count - 2) / 2;
  if (name === 'hset') reply.integer(added);
  else reply.ok();
}

const validatePairs = (args: Args, name: string): string | undefined => (args.count % 2 === 1 ? wrongArity(name) : pairsFault(args));

function handleHsetnx(context: CommandContext): void {
  const { args, reply } = context;
  const fault = pairsFault(args);
  if (fault !== undefined) return reply.error(fault);
  const key = context.lookupWrite(1);
  if (key !== 0) {
    if (!isHash(context, key)) return;
    if (context.keyspace.hashes.find(key, args.bytes, args.start(2), args.end(2)) !== undefined) return reply.integer(0);
  }
  setPairs(context, key, 2);
  context.dirty++;
  reply.integer(1);
}

function handleHdel(context: CommandContext): void {
  const { args, reply, db, keyspace } = context;
  const { bytes, starts, ends, count } = args;
  const { hashes } = keyspace;
  const key = context.lookupWrite(1);
  if (key === 0) return reply.integer(0);
  if (!isHash(context, key)) return;
  let deleted = 0;
  for (let i = 2; i < count; i++) {
    // A change begins only where there is one.
    if (deleted === 0) {
      if (hashes.find(key, bytes, starts[i]!, ends[i]!) === undefined) continue;
      hashes.begin(db, key);
    }
    hashes.remove(key, bytes, starts[i]!, ends[i]!);
    if (hashes.changed) deleted++;
  }
  if (deleted > 0) hashes.end(db, key);
  context.dirty += deleted;
  reply.integer(deleted);
}

/** The value of the field at argument 2, or undefined; `key` may be 0. */
function lookupField(context: CommandContext, key: Handle): ByteSpan | undefined {
  const { args } = context;
  return key === 0 ? undefined : context.keyspace.hashes.find(key, args.bytes, args.start(2), args.end(2));
}

const numberText = new Uint8Array(24);

function handleHincrby(context: CommandContext): void {
  const { args, reply } = context;
  if (!isInteger64(args, 3)) return reply.error(Errors.notInteger);
  const key = context.lookupWrite(1);
  if (key !== 0 && !isHash(context, key)) return;
  const span = lookupField(context, key);
  const old = span === undefined ? 0 : parseSafeInteger(span.bytes, span.start, span.end);
  const sum = old + args.integer(3);
  if (Number.isSafeInteger(sum)) {
    const start = formatInteger(sum);
    if (setField(context, key, numberText, start, numberText.length)) reply.integer(sum);
    return;
  }
  const wide = span === undefined ? 0n : parseInteger64(span.bytes, span.start, span.end);
  if (wide === undefined) return reply.error(Errors.hashNotInteger);
  const wideSum = wide + args.integer64(3)!;
  if (wideSum !== BigInt.asIntN(64, wideSum)) return reply.error(Errors.overflow);
  const text = Buffer.from(wideSum.toString(), 'latin1');
  if (setField(context, key, text, 0, text.length)) reply.bigInteger(wideSum);
}

/** Writes a safe integer at the end of `numberText`; returns where it begins. */
function formatInteger(value: number): number {
  let at = numberText.length;
  let rest = Math.abs(value);
  do {
    const above = Math.floor(rest / 10);
    numberText[--at] = 0x30 + (rest - above * 10);
    rest = above;
  } while (rest > 0);
  if (value < 0) numberText[--at] = 0x2d;
  return at;
}

function handleHincrbyfloat(context: CommandContext): void {
  const { args, reply } = context;
  const by = parseLongDouble(args.bytes, args.start(3), args.end(3));
  if (by === undefined) return reply.error(Errors.notFloat);
  if (by.infinite) return reply.error(Errors.floatNanOrInfinity);
  const key = context.lookupWrite(1);
  if (key !== 0 && !isHash(context, key)) return;
  const span = lookupField(context, key);
  const value = span === undefined ? longDoubleZero : parseLongDouble(span.bytes, span.start, span.end);
  if (value === undefined) return reply.error(Errors.hashNotFloat);
  const sum = addLongDoubles(value, by);
  if (sum === undefined) return reply.error(Errors.nanOrInfinity);
  const text = Buffer.from(formatLongDouble(sum), 'latin1');
  if (setField(context, key, text, 0, text.length)) reply.bulk(text, 0, text.length);
}

export const hset = {
  name: 'hset',
  arity: -4,
  class: 'write',
  insideExec: 'queue',
  flags: ['write', 'denyoom', 'fast'],
  keys: ONE_KEY,
  keyFlags: ['RW', 'update'],
  categories: ['hash'],
  group: 'hash',
  since: '2.0.0',
  summary: 'Sets fields of a hash',
  complexity: 'O(N) where N is the number of fields set',
  validate: (args) => validatePairs(args, 'hset'),
  handler: (context) => handleHset(context, 'hset'),
} satisfies CommandSpec;

export const hmset = {
  name: 'hmset',
  arity: -4,
  class: 'write',
  insideExec: 'queue',
  flags: ['write', 'denyoom', 'fast'],
  keys: ONE_KEY,
  keyFlags: ['RW', 'update'],
  categories: ['hash'],
  group: 'hash',
  since: '2.0.0',
  summary: 'Sets fields of a hash; HSET does the same',
  complexity: 'O(N) where N is the number of fields set',
  validate: (args) => validatePairs(args, 'hmset'),
  handler: (context) => handleHset(context, 'hmset'),
} satisfies CommandSpec;

export const hsetnx = {
  name: 'hsetnx',
  arity: 4,
  class: 'write',
  insideExec: 'queue',
  flags: ['write', 'denyoom', 'fast'],
  keys: ONE_KEY,
  keyFlags: ['RW', 'insert'],
  categories: ['hash'],
  group: 'hash',
  since: '2.0.0',
  summary: 'Sets a field of a hash, only if it does not exist',
  complexity: 'O(1)',
  validate: pairsFault,
  handler: handleHsetnx,
} satisfies CommandSpec;

export const hdel = {
  name: 'hdel',
  arity: -3,
  class: 'write',
  insideExec: 'queue',
  flags: ['write', 'fast'],
  keys: ONE_KEY,
  keyFlags: ['RW', 'delete'],
  categories: ['hash'],
  group: 'hash',
  since: '2.0.0',
  summary: 'Deletes fields of a hash',
  complexity: 'O(N) where N is the number of fields given',
  handler: handleHdel,
} satisfies CommandSpec;

export const hincrby = {
  name: 'hincrby',
  arity: 4,
  class: 'write',
  insideExec: 'queue',
  flags: ['write', 'denyoom', 'fast'],
  keys: ONE_KEY,
  keyFlags: ['RW', 'access', 'update'],
  categories: ['hash'],
  group: 'hash',
  since: '2.0.0',
  summary: 'Adds a whole number to the number in a field of a hash',
  complexity: 'O(1)',
  validate: (args) => (isInteger64(args, 3) ? undefined : Errors.notInteger),
  handler: handleHincrby,
} satisfies CommandSpec;

export const hincrbyfloat = {
  name: 'hincrbyfloat',
  arity: 4,
  class: 'write',
  insideExec: 'queue',
  flags: ['write', 'denyoom', 'fast'],
  keys: ONE_KEY,
  keyFlags: ['RW', 'access', 'update'],
  categories: ['hash'],
  group: 'hash',
  since: '2.6.0',
  summary: 'Adds a decimal number to the number in a field of a hash',
  complexity: 'O(1)',
  handler: handleHincrbyfloat,
} satisfies CommandSpec;

export const hashWriteCommands: readonly CommandSpec[] = [
  hdel,
  hincrby,
  hincrbyfloat,
  hmset,
  hset,
  hsetnx,
];
