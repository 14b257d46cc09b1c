// What several families read out of their arguments: 64-bit numbers, database numbers, deadlines, SET's and GETEX's options.
// Checks without state, so `validate` and the handlers share it. Owns nothing but the scratch `stringOptions`.
import type { Args } from '../resp/args.ts';
import { Errors, invalidExpire } from './errors.ts';

const INT64_MAX = 9223372036854775807n;
const INT64_MIN = -9223372036854775808n;
const INT32_MAX = 2147483647;
const INT32_MIN = -2147483648;

/** The last deadline that is kept as it was asked for, ms; Redis goes to 2^63 − 1. Later ones mean this one. */
export const DEADLINE_MS_MAX = Number.MAX_SAFE_INTEGER;

/**
 * Argument i as a 64-bit number, as a JavaScript number: those beyond ±(2^53 − 1) come back as that bound. For offsets and
 * counts, which are compared with lengths far below it. NaN where Redis says "not an integer or out of range".
 */
export function integerClamped(args: Args, i: number): number {
  const value = args.integer(i);
  if (!Number.isNaN(value)) return value;
  const wide = args.integer64(i);
  if (wide === undefined) return NaN;
  return wide < 0n ? Number.MIN_SAFE_INTEGER : Number.MAX_SAFE_INTEGER;
}

/** True if argument i is a signed 64-bit number in string2ll's form. */
export function isInteger64(args: Args, i: number): boolean {
  return !Number.isNaN(args.integer(i)) || args.integer64(i) !== undefined;
}

/** Argument i for an error text: as C prints a string, up to its first NUL. */
export function printed(args: Args, i: number): string {
  const text = args.latin1(i);
  const nul = text.indexOf('\0');
  return nul < 0 ? text : text.slice(0, nul);
}

const intRange = `ERR value is out of range, value must between ${INT32_MIN} and ${INT32_MAX}`;

/** Argument i as a C int; a string is the error text. */
export function int32(args: Args, i: number): number | string {
  const value = integerClamped(args, i);
  if (Number.isNaN(value)) return Errors.notInteger;
  return value < INT32_MIN || value > INT32_MAX ? intRange : value;
}

/** What deadline and ttlDeadline return for a number that is no 64-bit integer. */
export const DEADLINE_NOT_INTEGER = NaN;
/** … and for one that Redis calls an invalid expire time. */
export const DEADLINE_INVALID = Infinity;

/**
 * EXPIRE's rule: argument i, in units of `unitMs` (1 or 1000), after `baseMs` (0 where the argument is absolute). Absolute ms, at
 * most DEADLINE_MS_MAX; negative is allowed. Or one of the two values above.
 */
export function deadline(args: Args, i: number, unitMs: number, baseMs: number): number {
  const value = args.integer(i);
  const quick = value * unitMs + baseMs;
  if (Number.isSafeInteger(quick)) return quick;
  const wide = args.integer64(i);
  if (wide === undefined) return DEADLINE_NOT_INTEGER;
  const unit = BigInt(unitMs);
  if (wide > INT64_MAX / unit || wide < INT64_MIN / unit) return DEADLINE_INVALID;
  const when = wide * unit;
  if (when > INT64_MAX - BigInt(baseMs)) return DEADLINE_INVALID;
  return when < 0n ? Number.MIN_SAFE_INTEGER : DEADLINE_MS_MAX;
}

/** SET's and GETEX's rule: as `deadline`, but the argument must be positive. */
export function positiveDeadline(args: Args, i: number, unitMs: number, baseMs: number): number {
  if (args.count > i && args.length(i) > 0 && args.bytes[args.start(i)] === 0x2d) {
    return isInteger64(args, i) ? DEADLINE_INVALID : DEADLINE_NOT_INTEGER;
  }
  return args.integer(i) === 0 ? DEADLINE_INVALID : deadline(args, i, unitMs, baseMs);
}

/** What is wrong with a deadline, as an error text, or undefined. */
export function deadlineFault(whenMs: number, command: string): string | undefined {
  if (Number.isNaN(whenMs)) return Errors.notInteger;
  return whenMs === DEADLINE_INVALID ? invalidExpire(command) : undefined;
}

/** The options of SET (after the value) or GETEX (after the key), as `parseStringOptions` left them. */
export class StringOptions {
  nx = false;
  xx = false;
  get = false;
  keepTtl = false;
  persist = false;
  /** The argument that holds the time, or 0. */
  expireAt = 0;
  unitMs = 1000;
  /** The time is a moment (EXAT, PXAT), not a span. */
  absolute = false;

  reset(): void {
    this.nx = this.xx = this.get = this.keepTtl = this.persist = this.absolute = false;
    this.expireAt = 0;
    this.unitMs = 1000;
  }
}

/** Reused; what it holds is good until the next parseStringOptions. */
export const stringOptions = new StringOptions();

/** EX, PX, EXAT or PXAT at argument i: unit and kind, else undefined. */
function timeOption(args: Args, i: number): { unitMs: number; absolute: boolean } | undefined {
  if (args.is(i, 'EX')) return SECONDS;
  if (args.is(i, 'PX')) return MILLISECONDS;
  if (args.is(i, 'EXAT')) return UNIX_SECONDS;
  if (args.is(i, 'PXAT')) return UNIX_MILLISECONDS;
  return undefined;
}

const SECONDS = { unitMs: 1000, absolute: false };
const MILLISECONDS = { unitMs: 1, absolute: false };
const UNIX_SECONDS = { unitMs: 1000, absolute: true };
const UNIX_MILLISECONDS = { unitMs: 1, absolute: true };

/** Reads the options from argument `from` on into `stringOptions`. False is a syntax error. A time option may be repeated: the last one counts, as in Redis. */
export function parseStringOptions(args: Args, from: number, command: 'set' | 'getex'): boolean {
  const options = stringOptions;
  options.reset();
  let kind: object | undefined;
  for (let i = from; i < args.count; i++) {
    const time = timeOption(args, i);
    if (time !== undefined) {
      if (options.keepTtl || options.persist || (kind !== undefined && kind !== time) || i + 1 === args.count) return false;
      kind = time;
      options.unitMs = time.unitMs;
      options.absolute = time.absolute;
      options.expireAt = ++i;
    } else if (command === 'getex') {
      if (!args.is(i, 'PERSIST') || kind !== undefined) return false;
      options.persist = true;
    } else if (args.is(i, 'NX') && !options.xx) options.nx = true;
    else if (args.is(i, 'XX') && !options.nx) options.xx = true;
    else if (args.is(i, 'GET')) options.get = true;
    else if (args.is(i, 'KEEPTTL') && kind === undefined) options.keepTtl = true;
    else return false;
  }
  return true;
}
