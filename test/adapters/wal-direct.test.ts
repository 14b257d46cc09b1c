import * as fs from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { getSystemErrorName } from 'node:util';
import { describe, expect, test } from 'vitest';
import { DIRECT_BLOCK_BYTES, DirectWriter, alignedFor, isRefusal } from '../../src/adapters/wal-direct.ts';
import { KiB, MiB } from '../../src/base/limits.ts';
import { Prng } from '../../src/base/prng.ts';
import { freshSeed, tempDir } from './temp-dir.ts';

const FILE_BYTES = 2 * MiB;

function file(bytes = FILE_BYTES): string {
  const path = join(tempDir(), 'segment');
  fs.writeFileSync(path, new Uint8Array(bytes));
  return path;
}

function writerFor(path: string): DirectWriter {
  const writer = DirectWriter.open(path);
  expect(writer, 'the temporary directory is on a file system with O_DIRECT').toBeDefined();
  return writer!;
}

const filled = (bytes: number, value: number): Uint8Array => new Uint8Array(bytes).fill(value);

describe('writes past the page cache', () => {
  test('frames of any length, one behind the other, also beside writes by other descriptors: the file is what a model says', () => {
    const seed = freshSeed();
    const random = new Prng(seed);
    const path = file();
    const writer = writerFor(path);
    const model = new Uint8Array(FILE_BYTES);
    const other = fs.openSync(path, 'r+');
    let at = DIRECT_BLOCK_BYTES;
    for (let number = 1; ; number++) {
      const bytes = 1 + random.below(random.chance(0.2) ? 100 * KiB : 3000);
      const end = Math.ceil((at + bytes) / 8) * 8;
      if (end + DIRECT_BLOCK_BYTES > FILE_BYTES) break;
      const value = 1 + (number % 255);
      model.fill(value, at, at + bytes);
      if (random.chance(0.15)) fs.writeSync(other, filled(bytes, value), 0, bytes, at);
      else {
        const cut = random.below(bytes + 1);
        expect(writer.write(path, [filled(cut, value), filled(bytes - cut, value)], at, end)).toBe(true);
      }
      if (random.chance(0.05)) writer.close();
      at = end;
    }
    fs.closeSync(other);
    writer.close();
    expect(Buffer.compare(fs.readFileSync(path), model), `seed ${seed}`).toBe(0);
  });

  test('zeros behind the frame go no further than its block', () => {
    const path = file(4 * DIRECT_BLOCK_BYTES);
    fs.writeFileSync(path, filled(4 * DIRECT_BLOCK_BYTES, 9));
    const writer = writerFor(path);
    writer.write(path, [filled(100, 1)], DIRECT_BLOCK_BYTES + 8, DIRECT_BLOCK_BYTES + 112);
    writer.close();
    const found = fs.readFileSync(path);
    const expected = filled(4 * DIRECT_BLOCK_BYTES, 9);
    expected.fill(1, DIRECT_BLOCK_BYTES + 8, DIRECT_BLOCK_BYTES + 108).fill(0, DIRECT_BLOCK_BYTES + 108, 2 * DIRECT_BLOCK_BYTES);
    expect(Buffer.compare(found, expected)).toBe(0);
  });

  test('another file', () => {
    const [first, second] = [file(), file()];
    const writer = writerFor(first);
    for (const [path, value] of [[first, 1], [second, 2], [first, 3]] as const) writer.write(path, [filled(16, value)], 4096 + 16 * value, 4112 + 16 * value);
    writer.close();
    expect([...fs.readFileSync(first).subarray(4096, 4160)]).toEqual([...filled(16, 0), ...filled(16, 1), ...filled(16, 0), ...filled(16, 3)]);
    expect(fs.readFileSync(second).subarray(4128, 4144).every((byte) => byte === 2)).toBe(true);
  });

  test('what is too long for it is left to the caller, and nothing is written', () => {
    const path = file();
    const writer = writerFor(path);
    expect(writer.write(path, [filled(MiB, 1)], 4096, 4096 + MiB)).toBe(false);
    expect(fs.readFileSync(path).every((byte) => byte === 0)).toBe(true);
    expect(writer.write(path, [filled(8, 2)], 4096, 4104)).toBe(true);
    writer.close();
  });

  test('memory for it is empty, and a missing file is an error', () => {
    const path = file();
    fs.writeFileSync(path, filled(FILE_BYTES, 7));
    expect(alignedFor(path, MiB)?.every((byte) => byte === 0)).toBe(true);
    expect(() => alignedFor(`${path}.none`, MiB)).toThrow(/ENOENT/);
  });

  test('refusals are told from faults by the names that Node gives them', () => {
    const failed = (errno: number): Error => Object.assign(new Error('failed'), { code: getSystemErrorName(-errno) });
    const { EINVAL, EIO, ENOSPC, ENOSYS, EOPNOTSUPP } = constants.errno;
    expect([EINVAL, EOPNOTSUPP, ENOSYS, EIO, ENOSPC].map((errno) => isRefusal(failed(errno)))).toEqual([true, true, true, false, false]);
  });

  test('a file system without it is said to have none', () => {
    // procfs refuses O_DIRECT.
    expect(DirectWriter.open('/proc/self/status')).toBeUndefined();
  });
});
