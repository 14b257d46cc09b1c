import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { Memory } from '../../src/memory/allocator.ts';
import { CHUNK_PLACES, HANDLE_ARRAY_WORDS, HandleArray } from '../../src/memory/handle-array.ts';

const AT = 1;
const fresh = Math.floor(Math.random() * 2 ** 32);

describe('array of handles', () => {
  test.each([1, 2, fresh])('agrees with an array (seed %i)', (seed) => {
    const random = new Prng(seed);
    const memory = new Memory();
    const words = new Uint32Array(AT + HANDLE_ARRAY_WORDS + 1);
    const array = new HandleArray(memory);
    const model: number[] = [];
    let grow = 0.9;
    for (let i = 0; i < 100_000; i++) {
      if (i % 5000 === 0) grow = random.pick([0.05, 0.3, 0.6, 0.95]);
      if (model.length === 0 || random.chance(grow)) {
        const handle = random.uint32();
        model.push(handle);
        array.push(words, AT, handle);
      } else if (random.chance(0.7)) {
        const handle = array.pop(words, AT);
        if (handle !== model.pop()) expect.fail(`seed ${seed}, step ${i}`);
      } else {
        const position = random.below(model.length);
        model[position] = random.uint32();
        array.set(words, AT, position, model[position]);
      }
      if (array.length(words, AT) !== model.length) expect.fail(`seed ${seed}: ${array.length(words, AT)}, not ${model.length}`);
      const room = Math.max(4 * model.length, 8);
      if (memory.usedBytes > 4 * room + 8 * CHUNK_PLACES + 1024) expect.fail(`seed ${seed}: ${memory.usedBytes} bytes for ${model.length}`);
    }
    expect(model.map((_, position) => array.get(words, AT, position)), `seed ${seed}`).toEqual(model);
    if (random.chance(0.5)) array.clear(words, AT);
    else while (model.length > 0) expect(array.pop(words, AT)).toBe(model.pop());
    expect(memory.usedBytes).toBe(0);
    expect([...words], 'nothing of it is left, nor around it').toEqual(Array.from(words, () => 0));
  });

  test('clearing frees it at every length', () => {
    for (const length of [0, 1, 2, 3, 1000, CHUNK_PLACES, CHUNK_PLACES + 1, 20 * CHUNK_PLACES + 5]) {
      const memory = new Memory();
      const words = new Uint32Array(HANDLE_ARRAY_WORDS);
      const array = new HandleArray(memory);
      for (let i = 0; i < length; i++) array.push(words, 0, i + 1);
      array.clear(words, 0);
      expect(memory.usedBytes).toBe(0);
      expect([...words]).toEqual([0, 0, 0]);
    }
  });

  test('its blocks move out of sparse segments', () => {
    const memory = new Memory();
    const words = new Uint32Array(HANDLE_ARRAY_WORDS);
    const array = new HandleArray(memory);
    const ballast: number[] = [];
    const count = 40 * CHUNK_PLACES;
    for (let i = 0; i < count; i++) {
      array.push(words, 0, i + 1);
      if (i % 4 === 0) for (let k = 0; k < 5; k++) ballast.push(memory.allocate(4096));
    }
    for (const handle of ballast) memory.free(handle);
    const used = memory.usedBytes;
    expect(memory.beginEvacuation()).toBe(true);
    for (let i = 0; i < count; i += 100) array.evacuate(words, 0, i);
    memory.endEvacuation();
    expect(memory.usedBytes).toBe(used);
    for (let i = 0; i < count; i++) if (array.get(words, 0, i) !== i + 1) expect.fail(`place ${i}`);
    array.clear(words, 0);
    expect(memory.usedBytes).toBe(0);
  });
});
