// HSCAN and HRANDFIELD. HSCAN's cursor is SCAN's (keys-scan.ts), over the order of the fields; a packed hash comes whole, as in
// Redis. Random picks go by the order of the fields too, so they need nothing of how a hash is kept.
import type { Handle } from '../keyspace/database.ts';
import type { Prng } from '../base/prng.ts';
import { integerClamped } from './arguments.ts';
import type { CommandContext } from './context.ts';
import { Errors } from './errors.ts';
import { globMatch } from './glob.ts';
import { isHash } from './hashes.ts';
import { lookupHash, replyEmpty, replyNull } from './hashes-read.ts';
import { invalidCursor, parseCursor, parseScanOptions } from './keys-scan.ts';
import { ONE_KEY, type CommandSpec } from './spec.ts';

const INT64_MAX = 9223372036854775807n;
/** More picks with repetition than this would hold up the node; Redis would try. */
export const PICKS_MAX = 10_000_000;
const picksRange = `ERR value is out of range, value must between -${INT64_MAX} and ${INT64_MAX}`;

function handleHscan(context: CommandContext): void {
  const { args, reply, keyspace } = context;
  const { hashes } = keyspace;
  const cursor = parseCursor(args, 2);
  if (Number.isNaN(cursor)) return reply.error(invalidCursor);
  const key = context.lookupRead(1);
  if (key === 0) {
    reply.array(2);
    reply.bulkInteger(0);
    return reply.array(0);
  }
  if (!isHash(context, key)) return;
  const options = parseScanOptions(args, 3, false);
  if (typeof options === 'string') return reply.error(options);
  const size = hashes.count(key);
  const from = cursor === 0 ? size : Math.min(cursor, size);
  const to = hashes.isPacked(key) ? 0 : Math.max(0, from - options.count);
  reply.array(2);
  reply.bulkInteger(to);
  const mark = reply.beginArray();
  let count = 0;
  // The positions of a call may come in any order among themselves: they are all returned.
  hashes.walk(key, hashes.isPacked(key) ? 0 : to);
  for (let left = hashes.isPacked(key) ? size : from - to; left > 0 && hashes.next(); left--) {
    const field = hashes.field();
    const { pattern } = options;
    if (pattern !== 0 && !globMatch(args.bytes, args.start(pattern), args.end(pattern), field.bytes, field.start, field.end)) continue;
    reply.bulk(field.bytes, field.start, field.end);
    const { bytes, start, end } = hashes.value();
    reply.bulk(bytes, start, end);
    count += 2;
  }
  reply.endArray(mark, count);
}

/** Replies the field where the walk stands, with its value where it is asked for. */
function replyPick(context: CommandContext, withValue: boolean): void {
  const { reply, keyspace } = context;
  if (withValue && reply.protocol === 3) reply.array(2);
  const field = keyspace.hashes.field();
  reply.bulk(field.bytes, field.start, field.end);
  if (!withValue) return;
  const { bytes, start, end } = keyspace.hashes.value();
  reply.bulk(bytes, start, end);
}

function pick(context: CommandContext, key: Handle, position: number, withValue: boolean): void {
  const { hashes } = context.keyspace;
  hashes.walk(key, position);
  hashes.next();
  replyPick(context, withValue);
}

function handleHrandfield(context: CommandContext): void {
  const { args, reply, keyspace, random } = context;
  if (args.count === 2) {
    const key = lookupHash(context, replyNull);
    if (key !== 0) pick(context, key, random.below(keyspace.hashes.count(key)), false);
    return;
  }
  const wanted = integerClamped(args, 2);
  if (Number.isNaN(wanted)) return reply.error(Errors.notInteger);
  const wide = args.integer64(2)!;
  if (wide < -INT64_MAX) return reply.error(picksRange);
  if (args.count > 4 || (args.count === 4 && !args.is(3, 'WITHVALUES'))) return reply.error(Errors.syntax);
  const withValues = args.count === 4;
  if (withValues && (wide < -INT64_MAX / 2n || wide > INT64_MAX / 2n)) return reply.error(Errors.outOfRange);
  const key = lookupHash(context, replyEmpty);
  if (key === 0) return;
  const size = keyspace.hashes.count(key);
  if (wanted < -PICKS_MAX) return reply.error(Errors.outOfRange);
  const count = wanted < 0 ? -wanted : Math.min(wanted, size);
  reply.array(withValues && reply.protocol === 2 ? count * 2 : count);
  if (wanted < 0) for (let left = count; left > 0; left--) pick(context, key, random.below(size), withValues);
  else replyDistinct(context, key, count, size, withValues);
}

/** `count` different fields, all sets of that size being as likely. */
function replyDistinct(context: CommandContext, key: Handle, count: number, size: number, withValues: boolean): void {
  const { hashes } = context.keyspace;
  if (count * 3 < size && !hashes.isPacked(key)) {
    for (const position of distinct(context.random, count, size)) pick(context, key, position, withValues);
    return;
  }
  // Knuth's selection sampling: one pass, each field taken with the chance that as many as are still wanted need.
  hashes.walk(key);
  let wanted = count;
  for (let left = size; wanted > 0 && hashes.next(); left--) {
    if (context.random.below(left) >= wanted) continue;
    replyPick(context, withValues);
    wanted--;
  }
}

function distinct(random: Prng, count: number, size: number): Set<number> {
  const positions = new Set<number>();
  while (positions.size < count) positions.add(random.below(size));
  return positions;
}

export const hscan = {
  name: 'hscan',
  arity: -3,
  class: 'read',
  insideExec: 'queue',
  flags: ['readonly'],
  keys: ONE_KEY,
  keyFlags: ['RO', 'access'],
  categories: ['hash'],
  group: 'hash',
  since: '2.8.0',
  summary: 'Returns fields of a hash with their values, some at a time',
  complexity: 'O(1) for a call, O(N) for the whole walk',
  handler: handleHscan,
} satisfies CommandSpec;

export const hrandfield = {
  name: 'hrandfield',
  arity: -2,
  class: 'read',
  insideExec: 'queue',
  flags: ['readonly'],
  keys: ONE_KEY,
  keyFlags: ['RO', 'access'],
  categories: ['hash'],
  group: 'hash',
  since: '6.2.0',
  summary: 'Returns random fields of a hash',
  complexity: 'O(N) where N is the number of fields returned',
  handler: handleHrandfield,
} satisfies CommandSpec;

export const hashWalkCommands: readonly CommandSpec[] = [
  hrandfield,
  hscan,
];
