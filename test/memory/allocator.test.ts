import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { BIG_BYTES, BLOCK_BYTES_MAX, Memory } from '../../src/memory/allocator.ts';
import { PAGE_BYTES, PAGE_TABLE_BYTES, SEGMENT_BYTES, SEGMENT_SHIFT, UNIT_MASK } from '../../src/memory/segments.ts';
import type { PageToucher } from '../../src/memory/page-toucher.ts';

interface Block {
  handle: number;
  bytes: number;
  mark: number;
}

/** Marks both ends of a block, so that overlapping blocks show. */
function mark(memory: Memory, block: Block): void {
  const words = memory.words[block.handle >>> SEGMENT_SHIFT]!;
  const at = (block.handle & UNIT_MASK) << 1;
  words[at] = block.mark;
  words[at + (memory.usableBytes(block.handle) >>> 2) - 1] = block.mark;
}

function intact(memory: Memory, block: Block): boolean {
  const words = memory.words[block.handle >>> SEGMENT_SHIFT]!;
  const at = (block.handle & UNIT_MASK) << 1;
  return words[at] === block.mark && words[at + (memory.usableBytes(block.handle) >>> 2) - 1] === block.mark;
}

/** Frees one of the blocks, which must be as it was marked: the bytes that it had. */
function freeAny(memory: Memory, blocks: Block[], random: Prng, seed: number): number {
  const at = random.below(blocks.length);
  const block = blocks[at]!;
  blocks[at] = blocks.at(-1)!;
  blocks.pop();
  const bytes = memory.usableBytes(block.handle);
  if (!intact(memory, block)) expect.fail(`seed ${seed}: a block of ${bytes} was overwritten`);
  memory.free(block.handle);
  return bytes;
}

function randomSize(random: Prng): number {
  const kind = random.below(100);
  if (kind < 60) return random.between(1, 400);
  if (kind < 85) return random.between(1, 5000);
  if (kind < 97) return random.between(1, 70_000);
  return random.between(1, 3_000_000);
}

/** What it is given it overwrites until it says that it is done, as a kernel that is slow may. */
class SlowToucher implements PageToucher {
  readonly open: { readonly range: Uint8Array; readonly done: () => void }[] = [];
  asked = 0;
  openMax = 0;

  touch(bytes: Uint8Array, start: number, length: number, done: () => void): void {
    this.asked++;
    this.open.push({ range: bytes.subarray(start, start + length), done });
    this.openMax = Math.max(this.openMax, this.open.length);
  }

  finish(): void {
    const touch = this.open.shift();
    if (touch === undefined) return;
    touch.range.fill(0);
    touch.done();
  }
}

/** Of all pages of the segments that exist: the bytes that were handed out or touched. */
function touchedBytes(memory: Memory): number {
  let bytes = 0;
  for (let i = 1; i < memory.segments.limit; i++) bytes += memory.segments.exists(i) ? PAGE_TABLE_BYTES + memory.segments.pages[i]!.touched * PAGE_BYTES : 0;
  return bytes;
}

const seeds = [1, Math.floor(Math.random() * 2 ** 32)];

describe('allocator', () => {
  test.each(seeds)('blocks never overlap, accounting is exact, all comes back (seed %i)', (seed) => {
    const random = new Prng(seed);
    const memory = new Memory();
    const blocks: Block[] = [];
    let used = 0;
    for (let round = 0; round < 4; round++) {
      const target = random.between(500, 20_000);
      for (let i = 0; i < 40_000; i++) {
        if (blocks.length < 2 * random.below(target)) {
          const bytes = randomSize(random);
          const block = { handle: memory.allocate(bytes), bytes, mark: random.uint32() };
          if (block.handle === 0) expect.fail(`seed ${seed}: no handle`);
          const usable = memory.usableBytes(block.handle);
          if (usable !== memory.roundUp(bytes) || usable < bytes) expect.fail(`seed ${seed}: ${bytes} got ${usable}`);
          if (usable - bytes > Math.max(7, Math.min(4095, bytes / 8))) expect.fail(`seed ${seed}: ${bytes} wastes ${usable - bytes}`);
          used += usable;
          mark(memory, block);
          blocks.push(block);
        } else if (blocks.length > 0) {
          used -= freeAny(memory, blocks, random, seed);
        }
      }
      expect(memory.usedBytes, `seed ${seed}`).toBe(used);
      expect(memory.reservedBytes).toBeGreaterThanOrEqual(used);
      for (const block of blocks.splice(0)) {
        if (!intact(memory, block)) expect.fail(`seed ${seed}: a block of ${block.bytes} was overwritten`);
        memory.free(block.handle);
      }
      used = 0;
      expect(memory.usedBytes).toBe(0);
      expect(memory.segments.count).toBe(1);
      // Only if every page came back and joined is there room for two of half a segment in the segment that was kept.
      const halves = [memory.allocate(BLOCK_BYTES_MAX), memory.allocate(BLOCK_BYTES_MAX)];
      expect(memory.segments.count).toBe(1);
      for (const half of halves) memory.free(half);
    }
  }, 60_000);

  test.each(seeds)('memory that is touched ahead is nobody else\'s meanwhile, and all of it comes back (seed %i)', (seed) => {
    const random = new Prng(seed);
    for (let round = 0; round < 6; round++) {
      const memory = new Memory();
      const toucher = new SlowToucher();
      memory.touchAhead(toucher);
      const promptness = random.below(3) === 0 ? 0.0001 : 0.02;
      const blocks: Block[] = [];
      for (let i = 0; i < 30_000; i++) {
        if (random.chance(promptness)) toucher.finish();
        if (random.chance(0.0001)) memory.beginEvacuation();
        if (random.chance(0.00005)) {
          memory.reset();
          blocks.length = 0;
        }
        const isGrowing = Math.floor(i / 5000) % 2 === 0;
        if (random.chance(isGrowing ? 0.8 : 0.15)) {
          const bytes = randomSize(random);
          const block = { handle: memory.allocate(bytes), bytes, mark: random.uint32() };
          mark(memory, block);
          blocks.push(block);
        } else if (blocks.length > 0) {
          freeAny(memory, blocks, random, seed);
        }
      }
      memory.endEvacuation();
      expect(memory.reservedBytes, `seed ${seed}`).toBe(touchedBytes(memory));
      expect(toucher.openMax, `seed ${seed}`).toBe(1);
      for (const block of blocks) {
        if (!intact(memory, block)) expect.fail(`seed ${seed}: a block was overwritten`);
        memory.free(block.handle);
        if (random.chance(promptness)) toucher.finish();
      }
      while (toucher.open.length > 0) toucher.finish();
      expect(toucher.asked, `seed ${seed}`).toBeGreaterThan(0);
      expect(memory.usedBytes, `seed ${seed}`).toBe(0);
      // After a reset there may be none, or one that nothing was taken from since.
      memory.free(memory.allocate(1));
      expect(memory.segments.count, `seed ${seed}`).toBe(1);
      expect(memory.reservedBytes, `seed ${seed}`).toBe(touchedBytes(memory));
    }
  }, 60_000);

  test('growth at a pace that the toucher keeps up with is all in touched memory; none of it waits otherwise', () => {
    const memory = new Memory();
    const toucher = new SlowToucher();
    memory.touchAhead(toucher);
    const ranges: Uint8Array[] = [];
    let untouched = 0;
    for (let i = 0; i < (3 * SEGMENT_BYTES) / 16_384; i++) {
      const handle = memory.allocate(16_384);
      const at = (handle & UNIT_MASK) * 8;
      const { buffer } = memory.bytes[handle >>> SEGMENT_SHIFT]!;
      if (!ranges.some((range) => range.buffer === buffer && range.byteOffset <= at && at + 16_384 <= range.byteOffset + range.byteLength)) untouched++;
      if (i % 32 === 0) {
        const range = toucher.open[0]?.range;
        toucher.finish();
        const last = ranges.at(-1);
        if (range === undefined) continue;
        if (last !== undefined && last.buffer === range.buffer && last.byteOffset + last.byteLength === range.byteOffset) {
          ranges[ranges.length - 1] = new Uint8Array(last.buffer, last.byteOffset, last.byteLength + range.byteLength);
        } else ranges.push(range);
      }
    }
    // The first part came before anybody could have foreseen it.
    expect(untouched * 16_384).toBeLessThanOrEqual(2 * 1024 * 1024);
    while (toucher.open.length > 0) toucher.open.pop();
    for (let i = 0; i < SEGMENT_BYTES / 16_384; i++) memory.allocate(16_384);
    expect(memory.usedBytes).toBe(4 * SEGMENT_BYTES);
  });

  test('a segment that goes while it is being touched keeps its memory until that is done', () => {
    const memory = new Memory();
    const toucher = new SlowToucher();
    memory.touchAhead(toucher);
    memory.allocate(1000);
    expect(toucher.open).toHaveLength(1);
    const { buffer } = memory.bytes[1]!;
    memory.reset();
    expect(buffer.byteLength).toBe(SEGMENT_BYTES);
    // Whatever comes and goes until then, no other touch begins.
    for (let i = 0; i < 20; i++) {
      memory.allocate(1000);
      expect(memory.bytes[1]!.buffer).not.toBe(buffer);
      memory.allocate(3 * 1024 * 1024);
      memory.reset();
    }
    memory.allocate(1000);
    expect(toucher.open).toHaveLength(1);
    toucher.finish();
    expect(buffer.byteLength).toBe(0);
    memory.allocate(100_000);
    expect(toucher.open).toHaveLength(1);
    toucher.finish();
    expect(memory.bytes[1]!.buffer.byteLength).toBe(SEGMENT_BYTES);
  });

  test.each(['a segment that was added ahead', 'the only segment', 'the only segment, by evacuation'])('one empty segment is kept where a touch is passed in %s', (where) => {
    const memory = new Memory();
    const toucher = new SlowToucher();
    memory.touchAhead(toucher);
    const large = 3 * 1024 * 1024;
    if (where === 'a segment that was added ahead') {
      while (memory.segments.count < 2) {
        memory.allocate(16_384);
        if (memory.segments.count < 2) toucher.finish();
      }
    } else memory.free(memory.allocate(1000));
    const { count } = memory.segments;
    if (where.endsWith('evacuation')) {
      memory.beginEvacuation();
      toucher.finish();
      expect(memory.segments.count).toBe(count);
    }
    for (let i = 0; i < 20; i++) memory.free(memory.allocate(large));
    expect(memory.segments.count).toBe(count);
    expect(toucher.asked).toBeLessThan(SEGMENT_BYTES / 1024 / 1024);
    expect(toucher.openMax).toBe(1);
    toucher.finish();
    // Those that are made untouched go when they are freed, all but one.
    const handles = Array.from({ length: 4 }, () => memory.allocate(BLOCK_BYTES_MAX));
    for (const handle of handles) memory.free(handle);
    while (toucher.open.length > 0) toucher.finish();
    expect(memory.segments.count).toBe(where === 'a segment that was added ahead' ? 2 : 1);
  });

  test('a big value counts as far as it is used', () => {
    const memory = new Memory();
    const big = memory.allocateBig(4 * BIG_BYTES);
    expect(memory.usedBytes).toBe(0);
    memory.growBig(big, 10_000);
    expect(memory.usedBytes).toBe(12_288);
    expect(memory.bigBytes[big]!.length).toBe(4 * BIG_BYTES);
    memory.freeBig(big);
    expect(memory.usedBytes).toBe(0);
    expect(memory.allocateBig(BIG_BYTES)).toBe(big);
  });

  test('a segment that goes is let go of at once', () => {
    const memory = new Memory();
    const handles = Array.from({ length: 5 }, () => memory.allocate(BLOCK_BYTES_MAX));
    expect(memory.segments.count).toBe(3);
    const buffers = [1, 2, 3].map((segment) => memory.bytes[segment]!.buffer);
    for (const handle of handles) memory.free(handle);
    expect(memory.segments.count).toBe(1);
    expect(buffers.filter((buffer) => buffer.byteLength > 0)).toHaveLength(1);
    memory.reset();
    expect(memory.segments.count).toBe(0);
    expect(buffers.filter((buffer) => buffer.byteLength > 0)).toHaveLength(0);
  });

  test('a handle that is no block is refused', () => {
    const memory = new Memory();
    const handle = memory.allocate(100);
    expect(() => memory.free(handle + 1)).toThrow('block in use');
    memory.free(handle);
    expect(() => memory.free(handle)).toThrow('block in use');
  });

  test.each(seeds)('evacuation gives segments back and loses nothing (seed %i)', (seed) => {
    const random = new Prng(seed);
    const memory = new Memory();
    let blocks: Block[] = [];
    while (memory.segments.count < 6) {
      const bytes = random.chance(0.02) ? random.between(30_000, 200_000) : random.between(1000, 9000);
      const block = { handle: memory.allocate(bytes), bytes, mark: random.uint32() };
      mark(memory, block);
      blocks.push(block);
    }
    blocks = blocks.filter((block) => {
      const keep = random.chance(0.4);
      if (!keep) memory.free(block.handle);
      return keep;
    });
    const used = memory.usedBytes;
    for (let cycle = 0; cycle < 4 && memory.beginEvacuation(); cycle++) {
      for (const block of blocks) {
        if (!memory.isEvacuating(block.handle)) continue;
        const next = memory.allocate(block.bytes);
        expect(memory.isEvacuating(next)).toBe(false);
        if (!intact(memory, block)) expect.fail(`seed ${seed}: overwritten`);
        memory.free(block.handle);
        block.handle = next;
        mark(memory, block);
      }
      memory.endEvacuation();
    }
    expect(memory.usedBytes, `seed ${seed}`).toBe(used);
    expect(memory.segments.count, `seed ${seed}, used ${used}`).toBeLessThanOrEqual(Math.ceil(used / SEGMENT_BYTES) + 1);
    for (const block of blocks) {
      if (!intact(memory, block)) expect.fail(`seed ${seed}: overwritten`);
      memory.free(block.handle);
    }
    expect(memory.usedBytes).toBe(0);
    expect(memory.segments.count).toBe(1);
  });

  test('a cycle cut short leaves everything usable', () => {
    const random = new Prng(5);
    const memory = new Memory();
    const handles: number[] = [];
    while (memory.segments.count < 4) handles.push(memory.allocate(5000));
    const kept = handles.filter((handle) => {
      const keep = random.chance(0.3);
      if (!keep) memory.free(handle);
      return keep;
    });
    expect(memory.beginEvacuation()).toBe(true);
    for (const handle of kept.splice(0, kept.length >> 1)) memory.free(handle);
    memory.endEvacuation();
    for (let i = 0; i < 30_000; i++) kept.push(memory.allocate(5000));
    expect(new Set(kept).size).toBe(kept.length);
    for (const handle of kept) memory.free(handle);
    expect(memory.usedBytes).toBe(0);
    expect(memory.segments.count).toBe(1);
  });
});
