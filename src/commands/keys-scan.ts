// Walks over a database: KEYS, SCAN, RANDOMKEY. Keys past their deadline are passed over. KEYS and SCAN are an answer
// about them, so they report them and run again once they are deleted; RANDOMKEY only where it says that there is none.
//
// SCAN's cursor is the number of positions of the dense order still to visit; it goes down, and 0 is the end. What must hold,
// whatever is inserted and deleted between calls: a key that is there from the first call to the last is returned.
// It is so because a key that was not visited yet never moves above the cursor: a removal moves the last key into the
// hole, and if that key was not visited (the whole order is below the cursor then), so is the hole's position.
import type { Handle } from '../keyspace/database.ts';
import type { Args } from '../resp/args.ts';
import { integerClamped } from './arguments.ts';
import type { CommandContext } from './context.ts';
import { Errors } from './errors.ts';
import { globMatch, isMatchAll } from './glob.ts';
import { TYPE_NAMES } from './keys.ts';
import { NO_KEYS, type CommandSpec } from './spec.ts';

export const invalidCursor = 'ERR invalid cursor';
const SCAN_COUNT_DEFAULT = 10;
/** RANDOMKEY's tries before it looks for any live key from a random place on. */
const RANDOM_TRIES_MAX = 100;

/** Argument i as strtoul takes it, at most 2^53 − 1 (a greater one is beyond every position); NaN if it is no cursor. */
export function parseCursor(args: Args, i: number): number {
  const value = args.integer(i);
  if (value >= 0) return value;
  if (args.length(i) > 32) return NaN;
  const text = /^([+-]?)(\d*)$/.exec(args.latin1(i));
  if (text === null || (text[1] !== '' && text[2] === '')) return NaN;
  const magnitude = BigInt(text[2] ?? '');
  if (magnitude >= 1n << 64n) return NaN;
  // strtoul takes a minus sign and wraps around.
  const cursor = text[1] === '-' ? BigInt.asUintN(64, -magnitude) : magnitude;
  return cursor > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(cursor);
}

/** Says that the key was met past its deadline: as with a lookup, the answer waits until the log says so too. */
function reportExpired(context: CommandContext, key: Handle): void {
  if (context.mode !== 'read' || context.db.isExpired(key, context.logTimeMs)) return;
  context.expiredSeen = true;
  context.onExpired?.(context.db, key);
}

function replyKeyName(context: CommandContext, key: Handle): void {
  const span = context.keyspace.keySpan(key);
  context.reply.bulk(span.bytes, span.start, span.end);
}

/** True if the key's name matches the pattern at argument i. */
function nameMatches(context: CommandContext, key: Handle, i: number): boolean {
  const { args } = context;
  const span = context.keyspace.keySpan(key);
  return globMatch(args.bytes, args.start(i), args.end(i), span.bytes, span.start, span.end);
}

function handleKeys(context: CommandContext): void {
  const { args, reply, db, nowMs } = context;
  const all = isMatchAll(args.bytes, args.start(1), args.end(1));
  const mark = reply.beginArray();
  let count = 0;
  for (let position = 0; position < db.size; position++) {
    const key = db.at(position);
    if (!all && !nameMatches(context, key, 1)) continue;
    if (db.isExpired(key, nowMs)) {
      reportExpired(context, key);
      continue;
    }
    replyKeyName(context, key);
    count++;
  }
  reply.endArray(mark, count);
}

export interface ScanOptions {
  count: number;
  /** Argument of the pattern, or 0. */
  pattern: number;
  /** Argument of the type's name, or 0. */
  type: number;
}

/** The options from argument `from` on; a string is the error text. TYPE is for keys only. */
export function parseScanOptions(args: Args, from: number, ofKeys: boolean): ScanOptions | string {
  const options: ScanOptions = { count: SCAN_COUNT_DEFAULT, pattern: 0, type: 0 };
  for (let i = from; i < args.count; i += 2) {
    if (i + 1 === args.count) return Errors.syntax;
    if (args.is(i, 'COUNT')) {
      options.count = integerClamped(args, i + 1);
      if (Number.isNaN(options.count)) return Errors.notInteger;
      if (options.count < 1) return Errors.syntax;
    } else if (args.is(i, 'MATCH')) {
      options.pattern = isMatchAll(args.bytes, args.start(i + 1), args.end(i + 1)) ? 0 : i + 1;
    } else if (ofKeys && args.is(i, 'TYPE')) options.type = i + 1;
    else return Errors.syntax;
  }
  return options;
}

function handleScan(context: CommandContext): void {
  const { args, reply, db, nowMs, keyspace } = context;
  const cursor = parseCursor(args, 1);
  if (Number.isNaN(cursor)) return reply.error(invalidCursor);
  const options = parseScanOptions(args, 2, true);
  if (typeof options === 'string') return reply.error(options);
  const from = cursor === 0 ? db.size : Math.min(cursor, db.size);
  const to = Math.max(0, from - options.count);
  reply.array(2);
  reply.bulkInteger(to);
  const mark = reply.beginArray();
  let count = 0;
  for (let position = from - 1; position >= to; position--) {
    const key = db.at(position);
    if (options.pattern !== 0 && !nameMatches(context, key, options.pattern)) continue;
    if (db.isExpired(key, nowMs)) {
      reportExpired(context, key);
      continue;
    }
    if (options.type !== 0 && !args.is(options.type, TYPE_NAMES[keyspace.type(key)].toUpperCase())) continue;
    replyKeyName(context, key);
    count++;
  }
  reply.endArray(mark, count);
}

function handleRandomkey(context: CommandContext): void {
  const key = randomKey(context);
  if (key === 0) context.reply.null();
  else replyKeyName(context, key);
}

function randomKey(context: CommandContext): Handle {
  const { db, nowMs, random } = context;
  const { size } = db;
  if (size === 0) return 0;
  for (let tries = 0; tries < RANDOM_TRIES_MAX; tries++) {
    const key = db.at(random.below(size));
    if (!db.isExpired(key, nowMs)) return key;
  }
  // Nearly all are past their deadline and not deleted yet: whatever lives from a random place on.
  const start = random.below(size);
  for (let step = 0; step < size; step++) {
    const key = db.at((start + step) % size);
    if (!db.isExpired(key, nowMs)) return key;
  }
  for (let position = 0; position < size; position++) reportExpired(context, db.at(position));
  return 0;
}

export const keys = {
  name: 'keys',
  arity: 2,
  class: 'read',
  insideExec: 'queue',
  flags: ['readonly'],
  keys: NO_KEYS,
  categories: ['keyspace', 'dangerous'],
  group: 'generic',
  since: '1.0.0',
  summary: 'Returns the names of all keys that match a pattern',
  complexity: 'O(N) where N is the number of keys in the database',
  handler: handleKeys,
} satisfies CommandSpec;

export const randomkey = {
  name: 'randomkey',
  arity: 1,
  class: 'read',
  insideExec: 'queue',
  flags: ['readonly'],
  keys: NO_KEYS,
  categories: ['keyspace'],
  group: 'generic',
  since: '1.0.0',
  summary: 'Returns the name of a random key',
  complexity: 'O(1)',
  handler: handleRandomkey,
} satisfies CommandSpec;

export const scan = {
  name: 'scan',
  arity: -2,
  class: 'read',
  insideExec: 'queue',
  flags: ['readonly'],
  keys: NO_KEYS,
  categories: ['keyspace'],
  group: 'generic',
  since: '2.8.0',
  summary: 'Returns the names of keys, some at a time',
  complexity: 'O(1) for a call, O(N) for the whole walk',
  handler: handleScan,
} satisfies CommandSpec;

export const scanCommands: readonly CommandSpec[] = [
  keys,
  randomkey,
  scan,
];
