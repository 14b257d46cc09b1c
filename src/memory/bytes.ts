// Copying between byte buffers and word-aligned blocks. Short copies are loops, since a native call and the view it
// needs cost more than they save. Hot: indexes typed arrays directly. The host is little-endian, asserted here: blocks
// are read as words and as bytes alike.
import { assert } from '../base/assert.ts';

assert(new Uint8Array(new Uint32Array([1]).buffer)[0] === 1, 'Holdfast runs on little-endian hosts only');

const LOOP_BYTES_MAX = 256;
const LOOP_WORDS_MAX = 128;

/** Copies source[start, end) to byte offset `at` of a block, `at` a multiple of 4; `words` and `bytes` view the same buffer. */
export function copyIn(source: Uint8Array, start: number, end: number, bytes: Uint8Array, words: Uint32Array, at: number): void {
  const length = end - start;
  if (length > LOOP_BYTES_MAX) {
    bytes.set(source.subarray(start, end), at);
    return;
  }
  const whole = start + (length & ~3);
  let word = at >>> 2;
  let i = start;
  for (; i < whole; i += 4) {
    words[word++] = source[i]! | (source[i + 1]! << 8) | (source[i + 2]! << 16) | (source[i + 3]! << 24);
  }
  for (let to = at + (length & ~3); i < end; i++) bytes[to++] = source[i]!;
}

/** Copies source[start, end) to byte offset `at`, of any alignment. */
export function copyBytes(source: Uint8Array, start: number, end: number, bytes: Uint8Array, at: number): void {
  if (end - start > LOOP_BYTES_MAX) {
    bytes.set(source.subarray(start, end), at);
    return;
  }
  for (let i = start, to = at; i < end; i++) bytes[to++] = source[i]!;
}

/** Copies `count` words between blocks. */
export function copyWords(source: Uint32Array, from: number, target: Uint32Array, to: number, count: number): void {
  if (count > LOOP_WORDS_MAX) {
    target.set(source.subarray(from, from + count), to);
    return;
  }
  for (let i = 0; i < count; i++) target[to + i] = source[from + i]!;
}
