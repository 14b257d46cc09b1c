// Glob matching over bytes, as Redis 7.0 does it for KEYS, SCAN MATCH, PSUBSCRIBE and CONFIG GET: `*`, `?`, `[a-c]`, `[^a]`,
// `\x`. Pure, allocates nothing.
//
// Redis recurses at every `*` and stops the outer ones when an inner one has run to the end of the string. This is the
// same rule as a loop: only the last `*` ever needs to be tried at a later place, since what the earlier ones could gain
// by matching more, the last one can too. So the time is at most pattern × string. Kept from Redis, odd as they are:
// an unclosed class ends at the pattern's end; an escape as the last byte stands for itself; `[` against an empty rest
// never matches; a reversed range is taken the right way round.
//
// Hot path: indexes typed arrays directly.

const STAR = 0x2a;
const QUESTION = 0x3f;
const OPEN = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE = 0x5d;
const CARET = 0x5e;
const DASH = 0x2d;

const lower = (c: number): number => (c >= 0x41 && c <= 0x5a ? c + 0x20 : c);

/** A char in C is signed on the machines that Redis's ranges were written for: 0x80–0xff stand below 0x00–0x7f. */
const signed = (c: number): number => (c << 24) >> 24;

/** True if pattern[pStart, pEnd) matches all of text[tStart, tEnd). */
export function globMatch(
  pattern: Uint8Array,
  pStart: number,
  pEnd: number,
  text: Uint8Array,
  tStart: number,
  tEnd: number,
  nocase = false,
): boolean {
  let p = pStart;
  let t = tStart;
  // Where to go on when the rest does not match: after the last star, one byte later in the text.
  let starP = -1;
  let starT = 0;
  while (t < tEnd) {
    if (p < pEnd && pattern[p] === STAR) {
      while (p < pEnd && pattern[p] === STAR) p++;
      if (p === pEnd) return true;
      starP = p;
      starT = t;
      continue;
    }
    const next = p < pEnd ? matchOne(pattern, p, pEnd, text[t]!, nocase) : -1;
    if (next >= 0) {
      p = next;
      t++;
      continue;
    }
    if (starP < 0) return false;
    p = starP;
    t = ++starT;
  }
  // Redis skips stars at the end only after it has matched at least one byte: '*' does not match the empty string.
  if (tEnd > tStart) while (p < pEnd && pattern[p] === STAR) p++;
  return p === pEnd;
}

/** Matches byte `c` with the pattern's element at `p` (not a star). Returns where the next element is, or -1. */
function matchOne(pattern: Uint8Array, p: number, pEnd: number, c: number, nocase: boolean): number {
  const first = pattern[p]!;
  if (first === QUESTION) return p + 1;
  if (first === OPEN) return matchClass(pattern, p + 1, pEnd, c, nocase);
  const escaped = first === BACKSLASH && pEnd - p >= 2;
  const wanted = escaped ? pattern[p + 1]! : first;
  const same = nocase ? lower(wanted) === lower(c) : wanted === c;
  if (!same) return -1;
  return escaped ? p + 2 : p + 1;
}

/** `p` is behind the opening bracket. */
function matchClass(pattern: Uint8Array, p: number, pEnd: number, c: number, nocase: boolean): number {
  let negated = false;
  if (p < pEnd && pattern[p] === CARET) {
    negated = true;
    p++;
  }
  let matched = false;
  for (;;) {
    if (p >= pEnd) break;
    const at = pattern[p]!;
    if (at === BACKSLASH && pEnd - p >= 2) {
      // An escaped byte in a class is compared as it is, even without case.
      p++;
      if (pattern[p] === c) matched = true;
      p++;
    } else if (at === CLOSE) {
      p++;
      break;
    } else if (pEnd - p >= 3 && pattern[p + 1] === DASH) {
      if (inRange(at, pattern[p + 2]!, c, nocase)) matched = true;
      p += 3;
    } else {
      if (nocase ? lower(at) === lower(c) : at === c) matched = true;
      p++;
    }
  }
  return matched === negated ? -1 : p;
}

function inRange(from: number, to: number, c: number, nocase: boolean): boolean {
  let low = signed(from);
  let high = signed(to);
  if (low > high) {
    const swap = low;
    low = high;
    high = swap;
  }
  let value = signed(c);
  if (nocase) {
    low = lower(low);
    high = lower(high);
    value = lower(value);
  }
  return value >= low && value <= high;
}

/** True if the pattern is exactly `*`, which matches every key, the empty one too. */
export function isMatchAll(pattern: Uint8Array, start: number, end: number): boolean {
  return end - start === 1 && pattern[start] === STAR;
}

/** For patterns and names held as strings (latin1): CONFIG GET, ACL. */
export function globMatchText(pattern: string, text: string, nocase = false): boolean {
  const p = Buffer.from(pattern, 'latin1');
  const t = Buffer.from(text, 'latin1');
  return globMatch(p, 0, p.length, t, 0, t.length, nocase);
}
