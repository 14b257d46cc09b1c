// What sorted-set commands read out of their arguments: scores, ranges of scores, of members and of ranks. Checks without state.
import type { ZsetView } from '../keyspace/zset-view.ts';
import type { Args } from '../resp/args.ts';
import { integerClamped } from './arguments.ts';

export const notFloatRange = 'ERR min or max is not a float';
export const notLexRange = 'ERR min or max not valid string range item';

const DECIMAL = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i;
const HEXADECIMAL = /^([+-]?)0x(?:([\da-f]+)(?:\.([\da-f]*))?|\.([\da-f]+))(?:p([+-]?\d+))?$/i;
const INFINITE = /^[+-]?inf(?:inity)?$/i;

/** What C's strtod makes of the whole text; NaN where it does not take all of it (or it says nan). */
function strtod(text: string): number {
  if (DECIMAL.test(text)) return Number(text);
  if (INFINITE.test(text)) return text.startsWith('-') ? -Infinity : Infinity;
  const hexadecimal = HEXADECIMAL.exec(text);
  if (hexadecimal === null) return NaN;
  const fraction = hexadecimal[3] ?? hexadecimal[4] ?? '';
  const mantissa = Number(BigInt(`0x${hexadecimal[2] ?? ''}${fraction}`));
  const exponent = Number(hexadecimal[5] ?? '0') - 4 * fraction.length;
  // In two steps: 2^exponent alone may not be a double where the product is one.
  const half = Math.trunc(exponent / 2);
  const value = mantissa === 0 ? 0 : mantissa * 2 ** half * 2 ** (exponent - half);
  return hexadecimal[1] === '-' ? -value : value;
}

/** Argument i as Redis takes a score; NaN if it is not a valid float: no space, nothing that over- or underflows, no nan. */
export function parseScore(args: Args, i: number): number {
  const quick = args.integer(i);
  if (!Number.isNaN(quick)) return quick;
  const text = args.latin1(i);
  const value = strtod(text);
  if (!Number.isFinite(value) && !INFINITE.test(text)) return NaN;
  if (value === 0 && /[1-9a-f]/i.test(text.replace(/^[+-]?0x/i, '').replace(text.includes('x') || text.includes('X') ? /p.*$/i : /e.*$/i, ''))) {
    return NaN;
  }
  return value;
}

/** A range of scores. */
export interface ScoreRange {
  readonly min: number;
  readonly max: number;
  readonly minExclusive: boolean;
  readonly maxExclusive: boolean;
}

/** One end of a range; strtod with all its laxness, as in Redis: leading spaces, nothing at all for 0, up to a NUL, overflow to infinity. */
function rangeEnd(args: Args, i: number, exclusive: boolean): number {
  let text = args.latin1(i);
  if (exclusive) text = text.slice(1);
  const nul = text.indexOf('\0');
  if (nul >= 0) text = text.slice(0, nul);
  if (text === '') return 0;
  return strtod(text.replace(/^[ \t\n\v\f\r]+/, ''));
}

const OPEN = 0x28;
const BRACKET = 0x5b;
const PLUS = 0x2b;
const MINUS = 0x2d;

const beginsWith = (args: Args, i: number, c: number): boolean => args.length(i) > 0 && args.bytes[args.start(i)] === c;

/** Undefined if one of the two is no float. */
export function parseScoreRange(args: Args, minAt: number, maxAt: number): ScoreRange | undefined {
  const minExclusive = beginsWith(args, minAt, OPEN);
  const maxExclusive = beginsWith(args, maxAt, OPEN);
  const quickMin = args.integer(minAt);
  const quickMax = args.integer(maxAt);
  const min = Number.isNaN(quickMin) ? rangeEnd(args, minAt, minExclusive) : quickMin;
  const max = Number.isNaN(quickMax) ? rangeEnd(args, maxAt, maxExclusive) : quickMax;
  if (Number.isNaN(min) || Number.isNaN(max)) return undefined;
  return { min, max, minExclusive, maxExclusive };
}

/** A range of members: arguments, and what their first bytes say. */
export interface LexRange {
  readonly minAt: number;
  readonly maxAt: number;
}

/** Undefined if one of the two is neither + nor − nor begins with ( or [. */
export function parseLexRange(args: Args, minAt: number, maxAt: number): LexRange | undefined {
  return isLexEnd(args, minAt) && isLexEnd(args, maxAt) ? { minAt, maxAt } : undefined;
}

function isLexEnd(args: Args, i: number): boolean {
  if (beginsWith(args, i, OPEN) || beginsWith(args, i, BRACKET)) return true;
  return args.length(i) === 1 && (beginsWith(args, i, PLUS) || beginsWith(args, i, MINUS));
}

/** Ranks [from, to). */
export interface RankRange {
  from: number;
  to: number;
}

export function ranksByScore(view: ZsetView, range: ScoreRange): RankRange {
  const from = view.countBelowScore(range.min, range.minExclusive);
  return { from, to: Math.max(from, view.countBelowScore(range.max, !range.maxExclusive)) };
}

export function ranksByLex(view: ZsetView, args: Args, range: LexRange): RankRange {
  const { size } = view;
  const { bytes } = args;
  const { minAt, maxAt } = range;
  if (beginsWith(args, minAt, PLUS) || beginsWith(args, maxAt, MINUS)) return { from: 0, to: 0 };
  const from = beginsWith(args, minAt, MINUS)
    ? 0
    : view.countBelowMember(bytes, args.start(minAt) + 1, args.end(minAt), beginsWith(args, minAt, OPEN));
  const to = beginsWith(args, maxAt, PLUS)
    ? size
    : view.countBelowMember(bytes, args.start(maxAt) + 1, args.end(maxAt), !beginsWith(args, maxAt, OPEN), from);
  return { from, to: Math.max(from, to) };
}

/** Redis's start and end, both included, negative ones from the end. */
export function ranksByIndex(size: number, start: number, end: number): RankRange {
  const from = Math.max(0, start < 0 ? start + size : start);
  const last = Math.min(size - 1, end < 0 ? end + size : end);
  return from > last || from >= size ? { from: 0, to: 0 } : { from, to: last + 1 };
}

/** Argument i as a C long from `min` on; a string is the error text. */
export function longFrom(args: Args, i: number, min: number, fault: string): number | string {
  const value = integerClamped(args, i);
  return Number.isNaN(value) || value < min ? fault : value;
}
