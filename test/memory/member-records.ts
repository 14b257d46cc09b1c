// Records as member-table.ts and dictionary.ts know them, for their tests; and hashes, good and poor.
import type { Memory } from '../../src/memory/allocator.ts';
import { KEY_LENGTH_LONG, KEY_LENGTH_SHIFT } from '../../src/memory/member-table.ts';
import { SEGMENT_SHIFT, UNIT_MASK } from '../../src/memory/segments.ts';

const KEY_WORD = 3;

/** A record by the table's convention, with or without the length in a word of its own; the word that tells of the key is 2. */
export function makeRecord(memory: Memory, hash: number, key: Buffer, long = false): number {
  const keyWord = long ? KEY_WORD + 1 : KEY_WORD;
  const handle = memory.allocate(4 * keyWord + key.length);
  const words = memory.words[handle >>> SEGMENT_SHIFT]!;
  const word = (handle & UNIT_MASK) << 1;
  words[word] = hash;
  words[word + 2] = keyWord | ((long ? KEY_LENGTH_LONG : key.length) << KEY_LENGTH_SHIFT) | 0xabcd0000;
  if (long) words[word + KEY_WORD] = key.length;
  memory.bytes[handle >>> SEGMENT_SHIFT]!.set(key, (word + keyWord) * 4);
  return handle;
}

export type Hash = (key: Buffer) => number;

export function goodHash(key: Buffer): number {
  let h = 7;
  for (const byte of key) h = Math.imul(h ^ byte, 0x9e3779b1) ^ (h >>> 13);
  return Math.imul(h ^ (h >>> 16), 0x85ebca6b) | 0;
}

/** Few different hashes and tags, so that many members share a page and a tag. */
export function poorHash(key: Buffer): number {
  const h = goodHash(key);
  return (h & 0x7) | ((h & 0x300) << 16) | -0x80000000;
}
