// A dense array of handles that lives whole in Memory, in chunks, so that no growth copies more than a list of chunks. Owns its
// blocks; three words of its owner's say where they are. All zeros are an empty array.
//
// Words, from index `at` of `words`:
//   0  handles in it
//   1  places
//   2  a block of the places where there are up to CHUNK_PLACES; else a block of the handles of chunks of so many places
// Hot: indexes typed arrays directly.
import { assert } from '../base/assert.ts';
import type { Memory } from './allocator.ts';
import { copyWords } from './bytes.ts';
import type { Handle } from './segments.ts';
import { SEGMENT_SHIFT, UNIT_MASK } from './segments.ts';

export const HANDLE_ARRAY_WORDS = 3;
const LENGTH = 0;
const PLACES = 1;
const BLOCK = 2;
const CHUNK_SHIFT = 10;
export const CHUNK_PLACES = 2 ** CHUNK_SHIFT;
const CHUNK_MASK = CHUNK_PLACES - 1;
const PLACES_MIN = 2;
const LIST_PLACES_MIN = 16;
/** Free places above which the last chunk goes: more than one, so that an array does not come and go with its last handle. */
const FREE_PLACES_MAX = CHUNK_PLACES + CHUNK_PLACES / 2;

export class HandleArray {
  readonly #memory: Memory;

  constructor(memory: Memory) {
    this.#memory = memory;
  }

  length(words: Uint32Array, at: number): number {
    return words[at + LENGTH]!;
  }

  get(words: Uint32Array, at: number, position: number): Handle {
    let chunk = words[at + BLOCK]!;
    if (words[at + PLACES]! > CHUNK_PLACES) chunk = this.#word(chunk, position >>> CHUNK_SHIFT);
    return this.#word(chunk, position & CHUNK_MASK);
  }

  set(words: Uint32Array, at: number, position: number, handle: Handle): void {
    let chunk = words[at + BLOCK]!;
    if (words[at + PLACES]! > CHUNK_PLACES) chunk = this.#word(chunk, position >>> CHUNK_SHIFT);
    this.#setWord(chunk, position & CHUNK_MASK, handle);
  }

  push(words: Uint32Array, at: number, handle: Handle): void {
    const length = words[at + LENGTH]!;
    if (length === words[at + PLACES]) this.#grow(words, at);
    words[at + LENGTH] = length + 1;
    this.set(words, at, length, handle);
  }

  pop(words: Uint32Array, at: number): Handle {
    const length = words[at + LENGTH]! - 1;
    assert(length >= 0, 'an empty array has no last handle');
    const handle = this.get(words, at, length);
    words[at + LENGTH] = length;
    this.#shrink(words, at);
    return handle;
  }

  clear(words: Uint32Array, at: number): void {
    const block = words[at + BLOCK]!;
    const chunks = words[at + PLACES]! >>> CHUNK_SHIFT;
    if (chunks > 1) for (let chunk = 0; chunk < chunks; chunk++) this.#memory.free(this.#word(block, chunk));
    if (block !== 0) this.#memory.free(block);
    words.fill(0, at, at + HANDLE_ARRAY_WORDS);
  }

  /** Moves the blocks that lead to `position` out of slabs being evacuated. */
  evacuate(words: Uint32Array, at: number, position: number): void {
    const memory = this.#memory;
    const block = words[at + BLOCK]!;
    if (block === 0) return;
    if (memory.isEvacuating(block)) words[at + BLOCK] = this.#move(block, memory.usableBytes(block), memory.usableBytes(block));
    if (words[at + PLACES]! <= CHUNK_PLACES) return;
    const list = words[at + BLOCK]!;
    const chunk = this.#word(list, position >>> CHUNK_SHIFT);
    if (memory.isEvacuating(chunk)) this.#setWord(list, position >>> CHUNK_SHIFT, this.#move(chunk, CHUNK_PLACES * 4, CHUNK_PLACES * 4));
  }

  #word(handle: Handle, word: number): number {
    return this.#memory.words[handle >>> SEGMENT_SHIFT]![((handle & UNIT_MASK) << 1) + word]!;
  }

  #setWord(handle: Handle, word: number, value: number): void {
    this.#memory.words[handle >>> SEGMENT_SHIFT]![((handle & UNIT_MASK) << 1) + word] = value;
  }

  /** Another block of `bytes` with the first `kept` bytes of this one, which is freed. */
  #move(block: Handle, bytes: number, kept: number): Handle {
    const { words } = this.#memory;
    const next = this.#memory.allocate(bytes);
    copyWords(words[block >>> SEGMENT_SHIFT]!, (block & UNIT_MASK) << 1, words[next >>> SEGMENT_SHIFT]!, (next & UNIT_MASK) << 1, kept >>> 2);
    this.#memory.free(block);
    return next;
  }

  #grow(words: Uint32Array, at: number): void {
    const memory = this.#memory;
    const places = words[at + PLACES]!;
    const block = words[at + BLOCK]!;
    if (places < CHUNK_PLACES) {
      const next = Math.max(PLACES_MIN, places * 2);
      words[at + BLOCK] = places === 0 ? memory.allocate(next * 4) : this.#move(block, next * 4, places * 4);
      words[at + PLACES] = next;
      return;
    }
    const chunks = places >>> CHUNK_SHIFT;
    let list = block;
    if (chunks === 1) {
      list = memory.allocate(LIST_PLACES_MIN * 4);
      this.#setWord(list, 0, block);
    } else if (chunks * 4 === memory.usableBytes(block)) list = this.#move(block, chunks * 8, chunks * 4);
    words[at + BLOCK] = list;
    words[at + PLACES] = places + CHUNK_PLACES;
    this.#setWord(list, chunks, memory.allocate(CHUNK_PLACES * 4));
  }

  #shrink(words: Uint32Array, at: number): void {
    const memory = this.#memory;
    const length = words[at + LENGTH]!;
    const places = words[at + PLACES]!;
    const block = words[at + BLOCK]!;
    if (places > CHUNK_PLACES) {
      if (places - length <= FREE_PLACES_MAX) return;
      const chunks = (places >>> CHUNK_SHIFT) - 1;
      memory.free(this.#word(block, chunks));
      words[at + PLACES] = chunks << CHUNK_SHIFT;
      if (chunks > 1) return;
      words[at + BLOCK] = this.#word(block, 0);
      memory.free(block);
    } else if (length === 0) {
      memory.free(block);
      words[at + BLOCK] = 0;
      words[at + PLACES] = 0;
    } else if (places > PLACES_MIN && length < places / 4) {
      words[at + BLOCK] = this.#move(block, places * 2, length * 4);
      words[at + PLACES] = places >>> 1;
    }
  }
}
