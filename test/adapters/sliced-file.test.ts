// A large file on its way to the disk: never much of it at once.
import * as fs from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { SlicedFile } from '../../src/adapters/fsync.ts';
import { openDirectoryStore } from '../../src/adapters/directory-store.ts';
import { MiB } from '../../src/base/limits.ts';
import { Prng } from '../../src/base/prng.ts';
import { freshSeed, tempDir } from './temp-dir.ts';

describe('a file that is written in slices', () => {
  test('holds what was appended, and never more than a MiB of it is not synced', async () => {
    const seed = freshSeed();
    const prng = new Prng(seed);
    const path = join(tempDir(), 'file');
    const real = await fs.promises.open(path, 'w+');
    let unsyncedBytes = 0;
    const handle = {
      /** A write may take fewer bytes than it is given. */
      write: async (bytes: Uint8Array, from: number, length: number, at: number) => {
        const written = await real.write(bytes, from, prng.between(1, length), at);
        unsyncedBytes += written.bytesWritten;
        expect(unsyncedBytes, `seed ${seed}`).toBeLessThanOrEqual(MiB);
        return written;
      },
      datasync: async () => {
        await real.datasync();
        unsyncedBytes = 0;
      },
    } as unknown as fs.promises.FileHandle;
    const begun = Buffer.from('what was there');
    await real.write(begun, 0, begun.length, 0);
    const sliced = new SlicedFile(handle, begun.length);
    const all: Uint8Array[] = [begun];
    for (let i = 0; i < 20; i++) {
      const chunk = new Uint8Array(prng.between(0, prng.below(4) === 0 ? 3 * MiB : 70_000)).fill(i);
      all.push(chunk);
      await sliced.append(chunk);
    }
    await real.close();
    expect(fs.readFileSync(path).equals(Buffer.concat(all)), `seed ${seed}`).toBe(true);
  });

  test('a put into a directory is written so', async () => {
    const dir = tempDir();
    const store = await openDirectoryStore(dir);
    const probe = await fs.promises.open(join(dir, 'probe'), 'w');
    const datasync = vi.spyOn(Object.getPrototypeOf(probe) as fs.promises.FileHandle, 'datasync');
    await probe.close();
    try {
      await store.put('k', [new Uint8Array(2.5 * MiB), new Uint8Array(2.5 * MiB)]);
      expect(datasync).toHaveBeenCalledTimes(5);
    } finally {
      datasync.mockRestore();
    }
  });
});
