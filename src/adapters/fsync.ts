// Files and directories that are on disk when these return; all but syncPathAside hold the thread until then.
import fs from 'node:fs';
import { dirname } from 'node:path';

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
