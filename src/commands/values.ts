// Small steps that string and key commands share. Owns no state.
import type { Handle } from '../keyspace/database.ts';
import { ValueType } from '../keyspace/types.ts';
import type { CommandContext } from './context.ts';
import { Errors } from './errors.ts';

/** False, with the WRONGTYPE reply written, where the key holds something else than a string. */
export function isString(context: CommandContext, key: Handle): boolean {
  if (context.keyspace.type(key) === ValueType.string) return true;
  context.reply.error(Errors.wrongType);
  return false;
}

/** Replies the string's bytes. */
export function replyString(context: CommandContext, key: Handle): void {
  const span = context.keyspace.stringSpan(key);
  context.reply.bulk(span.bytes, span.start, span.end);
}

/** As lookupWrite for commands that answer with the value (GETEX, GETDEL…): Redis counts those as hits and misses. */
export function lookupWriteCounted(context: CommandContext, i: number): Handle {
  const key = context.lookupWrite(i);
  if (key === 0) context.misses++;
  else context.hits++;
  return key;
}

/** True if arguments i and j are the same bytes. */
export function sameArguments(context: CommandContext, i: number, j: number): boolean {
  const { args } = context;
  const length = args.length(i);
  if (length !== args.length(j)) return false;
  const a = args.start(i);
  const b = args.start(j);
  for (let k = 0; k < length; k++) {
    if (args.bytes[a + k] !== args.bytes[b + k]) return false;
  }
  return true;
}

/** Sets the key at argument 1 to argument `i`, number and short encodings found as Redis does. */
export function setTo(context: CommandContext, i: number, expiryMs: number): void {
  const { args } = context;
  const { bytes, starts, ends } = args;
  context.db.setString(bytes, starts[1]!, ends[1]!, bytes, starts[i]!, ends[i]!, expiryMs);
  context.dirty++;
}
