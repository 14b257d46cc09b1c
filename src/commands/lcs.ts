// LCS: the longest common subsequence of two strings, by the classic table; its length, its bytes, or where it lies in both.
// A read, so the table may be large (bounded by proto-max-bulk-len, as in Redis), and it is let go afterwards.
import { ValueType } from '../keyspace/types.ts';
import { integerClamped } from './arguments.ts';
import type { CommandContext } from './context.ts';
import { copyBytes } from '../base/bytes.ts';
import { Errors } from './errors.ts';
import type { CommandSpec } from './spec.ts';

const notStrings = 'ERR The specified keys must contain string values';
const lengthOrIndexes = 'ERR If you want both the length and indexes, please just use IDX.';
const tableTooLarge = 'ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len';
const CELL_BYTES = 4;

interface LcsOptions {
  length: boolean;
  indexes: boolean;
  matchLengths: boolean;
  matchLengthMin: number;
}

/** The options from argument 3 on; a string is the error text. */
function parseOptions(context: CommandContext): LcsOptions | string {
  const { args } = context;
  const options: LcsOptions = { length: false, indexes: false, matchLengths: false, matchLengthMin: 0 };
  for (let i = 3; i < args.count; i++) {
    if (args.is(i, 'IDX')) options.indexes = true;
    else if (args.is(i, 'LEN')) options.length = true;
    else if (args.is(i, 'WITHMATCHLEN')) options.matchLengths = true;
    else if (args.is(i, 'MINMATCHLEN') && i + 1 < args.count) {
      const shortest = integerClamped(args, ++i);
      if (Number.isNaN(shortest)) return Errors.notInteger;
      options.matchLengthMin = Math.max(0, shortest);
    } else return Errors.syntax;
  }
  return options.length && options.indexes ? lengthOrIndexes : options;
}

/** A copy of the string at argument i (empty if there is none), or undefined where it is no string. */
function stringAt(context: CommandContext, i: number): Uint8Array | undefined {
  const key = context.lookupRead(i);
  if (key === 0) return new Uint8Array(0);
  if (context.keyspace.type(key) !== ValueType.string) return undefined;
  const span = context.keyspace.stringSpan(key);
  return copyBytes(span.bytes, span.start, span.end);
}

/** Cell i × (b.length + 1) + j: the length of the longest common subsequence of a's first i and b's first j bytes. */
function buildTable(a: Uint8Array, b: Uint8Array): Uint32Array {
  const width = b.length + 1;
  const table = new Uint32Array((a.length + 1) * width);
  for (let i = 1; i <= a.length; i++) {
    const row = i * width;
    const above = row - width;
    const byte = a[i - 1]!;
    for (let j = 1; j <= b.length; j++) {
      if (byte === b[j - 1]) table[row + j] = table[above + j - 1]! + 1;
      else {
        const up = table[above + j]!;
        const left = table[row + j - 1]!;
        table[row + j] = up > left ? up : left;
      }
    }
  }
  return table;
}

/** A run of bytes that stands in both: a[aStart, aStart + length) and b[bStart, bStart + length). */
interface Match {
  readonly aStart: number;
  readonly bStart: number;
  readonly length: number;
}

/** Walks the table from its end: the subsequence, and its runs, the last one first. Redis's order and choices. */
function walk(a: Uint8Array, b: Uint8Array, table: Uint32Array): { bytes: Uint8Array; matches: Match[] } {
  const width = b.length + 1;
  let i = a.length;
  let j = b.length;
  let left = table[i * width + j]!;
  const bytes = new Uint8Array(left);
  const matches: Match[] = [];
  let run = 0;
  while (i > 0 && j > 0) {
    if (a[i - 1] === b[j - 1]) {
      bytes[--left] = a[i - 1]!;
      i--;
      j--;
      run++;
      continue;
    }
    if (run > 0) matches.push({ aStart: i, bStart: j, length: run });
    run = 0;
    if (table[(i - 1) * width + j]! > table[i * width + j - 1]!) i--;
    else j--;
  }
  if (run > 0) matches.push({ aStart: i, bStart: j, length: run });
  return { bytes, matches };
}

function handleLcs(context: CommandContext): void {
  const { reply } = context;
  const a = stringAt(context, 1);
  const b = stringAt(context, 2);
  if (a === undefined || b === undefined) return reply.error(notStrings);
  const options = parseOptions(context);
  if (typeof options === 'string') return reply.error(options);
  const tableBytes = (a.length + 1) * (b.length + 1) * CELL_BYTES;
  if (tableBytes > context.settings['proto-max-bulk-len']) return reply.error(tableTooLarge);
  const table = buildTable(a, b);
  const length = table[table.length - 1]!;
  if (options.length) return reply.integer(length);
  const { bytes, matches } = walk(a, b, table);
  if (!options.indexes) return reply.bulk(bytes, 0, bytes.length);
  const kept = matches.filter((match) => match.length >= options.matchLengthMin);
  reply.map(2);
  reply.bulkText('matches');
  reply.array(kept.length);
  for (const match of kept) {
    reply.array(options.matchLengths ? 3 : 2);
    reply.array(2);
    reply.integer(match.aStart);
    reply.integer(match.aStart + match.length - 1);
    reply.array(2);
    reply.integer(match.bStart);
    reply.integer(match.bStart + match.length - 1);
    if (options.matchLengths) reply.integer(match.length);
  }
  reply.bulkText('len');
  reply.integer(length);
}

export const lcs = {
  name: 'lcs',
  arity: -3,
  class: 'read',
  insideExec: 'queue',
  flags: ['readonly'],
  keys: { first: 1, last: 2, step: 1 },
  keyFlags: ['RO', 'access'],
  categories: ['string'],
  group: 'string',
  since: '7.0.0',
  summary: 'Finds the longest common subsequence of two strings',
  complexity: 'O(N*M) where N and M are the lengths of the strings',
  handler: handleLcs,
} satisfies CommandSpec;
