// Inline commands: a line of words as someone types it into telnet, split by Redis's quoting rules and rewritten as
// RESP, so that everything behind the decoder sees one form only. Indexes typed arrays directly.
//
// Rules: words are parted by white space; inside "…" stand \xHH, \n \r \t \b \a and \ before any other byte for itself;
// inside '…' only \' ; a quote may open within a word, but a closing one must end it.
import type { Args } from './args.ts';

const QUOTE = 0x22;
const APOSTROPHE = 0x27;
const BACKSLASH = 0x5c;
const SPACE = 0x20;
const TAB = 0x09;
const LF = 0x0a;
const CR = 0x0d;
const LOWER_X = 0x78;
const LETTERS = new Map([
  [0x6e, LF],
  [0x72, CR],
  [0x74, TAB],
  [0x62, 0x08],
  [0x61, 0x07],
]);

export const InlineStatus = { command: 0, empty: 1, unbalanced: 2 } as const;
export type InlineStatus = (typeof InlineStatus)[keyof typeof InlineStatus];

/**
 * Rewrites the line bytes[0, lineEnd) (no line feed or NUL in it), destroying it. The command stands in args.bytes, from
 * `lineEnd` to two bytes past its last argument: in `bytes` if it has the room, else in a new buffer.
 */
export function rewriteInline(args: Args, bytes: Uint8Array, lineEnd: number): InlineStatus {
  args.reset(bytes);
  if (!split(args, bytes, lineEnd)) return InlineStatus.unbalanced;
  const count = args.count;
  if (count === 0) return InlineStatus.empty;
  let size = 3 + digitsOf(count);
  for (let i = 0; i < count; i++) size += 5 + digitsOf(args.length(i)) + args.length(i);
  let target = bytes;
  if (lineEnd + size > bytes.length) target = new Uint8Array(lineEnd + size);
  let at = writeHeader(target, lineEnd, 0x2a, count);
  for (let i = 0; i < count; i++) {
    const from = args.start(i);
    const length = args.length(i);
    at = writeHeader(target, at, 0x24, length);
    for (let k = 0; k < length; k++) target[at + k] = bytes[from + k]!;
    args.starts[i] = at;
    at += length;
    args.ends[i] = at;
    target[at++] = CR;
    target[at++] = LF;
  }
  args.bytes = target;
  return InlineStatus.command;
}

/** Splits in place: a word without its quotes is never longer than with them. False if a quote is left open or runs on. */
function split(args: Args, bytes: Uint8Array, end: number): boolean {
  let at = 0;
  let to = 0;
  for (;;) {
    while (at < end && isSpace(bytes[at]!)) at++;
    if (at === end) return true;
    const start = to;
    for (; at < end; at++) {
      const c = bytes[at]!;
      if (c === SPACE || c === TAB || c === CR || c === LF) break;
      if (c !== QUOTE && c !== APOSTROPHE) {
        bytes[to++] = c;
        continue;
      }
      const closing = c === QUOTE ? quoted(bytes, at + 1, end, to) : apostrophed(bytes, at + 1, end, to);
      if (closing < 0) return false;
      to = unquotedEnd;
      at = closing + 1;
      if (at < end && !isSpace(bytes[at]!)) return false;
      break;
    }
    args.push(start, to);
  }
}

/** Second result of `quoted` and `apostrophed`: where the unquoted bytes end. */
let unquotedEnd = 0;

/** Where the closing quote stands, or −1. */
function quoted(bytes: Uint8Array, from: number, end: number, to: number): number {
  for (let at = from; at < end; at++) {
    let c = bytes[at]!;
    if (c === QUOTE) {
      unquotedEnd = to;
      return at;
    }
    if (c === BACKSLASH && at + 1 < end) {
      const high = at + 3 < end && bytes[at + 1] === LOWER_X ? hexDigit(bytes[at + 2]!) : -1;
      const low = high < 0 ? -1 : hexDigit(bytes[at + 3]!);
      if (low >= 0) {
        c = high * 16 + low;
        at += 3;
      } else {
        c = bytes[++at]!;
        c = LETTERS.get(c) ?? c;
      }
    }
    bytes[to++] = c;
  }
  return -1;
}

function apostrophed(bytes: Uint8Array, from: number, end: number, to: number): number {
  for (let at = from; at < end; at++) {
    const c = bytes[at]!;
    if (c === APOSTROPHE) {
      unquotedEnd = to;
      return at;
    }
    if (c === BACKSLASH && at + 1 < end && bytes[at + 1] === APOSTROPHE) at++;
    bytes[to++] = bytes[at]!;
  }
  return -1;
}

function isSpace(c: number): boolean {
  return c === SPACE || (c >= TAB && c <= CR);
}

function hexDigit(c: number): number {
  if (c >= 0x30 && c <= 0x39) return c - 0x30;
  const lower = c | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

function digitsOf(value: number): number {
  let digits = 1;
  for (let v = value; v >= 10; v = Math.floor(v / 10)) digits++;
  return digits;
}

function writeHeader(bytes: Uint8Array, at: number, type: number, value: number): number {
  bytes[at] = type;
  const digits = digitsOf(value);
  let rest = value;
  for (let k = at + digits; k > at; k--) {
    bytes[k] = 0x30 + (rest % 10);
    rest = Math.floor(rest / 10);
  }
  bytes[at + digits + 1] = CR;
  bytes[at + digits + 2] = LF;
  return at + digits + 3;
}
