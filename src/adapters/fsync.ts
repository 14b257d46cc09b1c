// Files and directories that are on disk when these return; all but syncPathAside and SlicedFile hold the thread until then.
import fs from 'node:fs';
import { dirname } from 'node:path';
import { MiB } from '../base/limits.ts';

const SLICE_BYTES = 1 * MiB;

/** A file's bytes, or a directory's entries. */
export function syncPath(path: string): void {
  const fd = fs.openSync(path, 'r');
  try {
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}

/** The same on the thread pool. */
export async function syncPathAside(path: string): Promise<void> {
  const file = await fs.promises.open(path, 'r');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

/**
 * A large file that is written to its end, on the thread pool. It is synced a slice at a time: left to its end, all of it would go to the
 * disk at once, and what others sync there meanwhile, the log above all, would wait for that. What came last is the caller's to sync.
 */
export class SlicedFile {
  readonly #handle: Pick<fs.promises.FileHandle, 'write' | 'datasync'>;
  #at: number;
  #unsyncedBytes = 0;

  /** Goes on at `at`. */
  constructor(handle: Pick<fs.promises.FileHandle, 'write' | 'datasync'>, at = 0) {
    this.#handle = handle;
    this.#at = at;
  }

  async append(bytes: Uint8Array): Promise<void> {
    for (let from = 0; from < bytes.length; ) {
      const { bytesWritten } = await this.#handle.write(bytes, from, Math.min(bytes.length - from, SLICE_BYTES - this.#unsyncedBytes), this.#at);
      from += bytesWritten;
      this.#at += bytesWritten;
      this.#unsyncedBytes += bytesWritten;
      if (this.#unsyncedBytes < SLICE_BYTES) continue;
      await this.#handle.datasync();
      this.#unsyncedBytes = 0;
    }
  }
}

/** Its name in the directory is not synced. `wx` refuses a file that is there. */
export function writeSynced(path: string, flag: 'w' | 'wx', chunks: Iterable<Uint8Array | string>): void {
  const fd = fs.openSync(path, flag, 0o600);
  try {
    for (const chunk of chunks) fs.writeFileSync(fd, chunk);
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}

/** Puts `text` in place of the file at once, by way of `temporary` in the same directory. */
export function replaceSynced(path: string, temporary: string, text: string): void {
  writeSynced(temporary, 'w', [text]);
  fs.renameSync(temporary, path);
  syncPath(dirname(path));
}
