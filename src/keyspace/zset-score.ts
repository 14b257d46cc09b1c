// A score's text in a listpack, as Redis 7.0 writes it: whole numbers up to 2^62 as integers, all else as %.17g. Owns a scratch
// buffer. Indexes typed arrays directly.
import { assert } from '../base/assert.ts';
import { formatDouble17 } from '../base/double.ts';
import type { Listpack } from '../memory/listpack.ts';

const INTEGER_MAX = 2 ** 62;
/** Longest text: sign, 17 digits, point, exponent. */
export const SCORE_TEXT_BYTES_MAX = 32;

export class ScoreText {
  readonly bytes = new Uint8Array(SCORE_TEXT_BYTES_MAX);
  end = 0;

  /** bytes[0, end) is the text then. */
  write(score: number): void {
    const text = scoreText(score);
    assert(text.length <= SCORE_TEXT_BYTES_MAX, () => `score ${text} is short`);
    for (let i = 0; i < text.length; i++) this.bytes[i] = text.charCodeAt(i);
    this.end = text.length;
  }
}

function scoreText(score: number): string {
  // −0 becomes 0 by this, as in Redis.
  if (Number.isSafeInteger(score)) return String(score === 0 ? 0 : score);
  if (Number.isInteger(score) && Math.abs(score) <= INTEGER_MAX) return BigInt(score).toString();
  return formatDouble17(score);
}

/** The score whose entry is at `p`. */
export function readScore(list: Listpack, p: number): number {
  if (list.isInteger(p)) {
    const int = list.integer(p);
    return int.high * 0x1_0000_0000 + int.low;
  }
  list.read(p);
  const { valueBytes, valueStart, valueEnd } = list;
  const text = Buffer.from(valueBytes.buffer, valueBytes.byteOffset + valueStart, valueEnd - valueStart).toString('latin1');
  if (text === 'inf') return Infinity;
  return text === '-inf' ? -Infinity : Number(text);
}
