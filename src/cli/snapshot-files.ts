// A snapshot on this disk, in `restore/` or `fetched/`: a folder with its two files and, written last, restore.json (format:
// src/snapshot/restore-files.ts). Who looks for one reads it here.
import fs from 'node:fs';
import path from 'node:path';
import { errorText, OperationalError } from '../base/errors.ts';
import { KiB } from '../base/limits.ts';
import type { Logger } from '../ports/logger.ts';
import { decodeRestoreMeta, type RestoreMeta } from '../snapshot/restore-files.ts';
import type { SnapshotSource } from '../snapshot/stored-snapshot.ts';

const META = 'restore.json';
const READ_BYTES = 256 * KiB;

export const metaFile = (folder: string): string => path.join(folder, META);

/** Undefined where the folder has none; throws OperationalError DATA_DIR where it cannot be read. */
export function readMeta(folder: string): RestoreMeta | undefined {
  const file = metaFile(folder);
  let text: string;
  try {
    text = fs.readFileSync(file, 'utf8');
  } catch (thrown) {
    if (['ENOENT', 'ENOTDIR'].includes((thrown as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw new OperationalError('DATA_DIR', `${file} cannot be read: ${errorText(thrown)}`, { cause: thrown });
  }
  return decodeRestoreMeta(text, file);
}

/** Of a snapshot of this cluster. One that cannot be read is told of and passed over: there may be others, here or elsewhere. */
export function usableMeta(folder: string, clusterId: string, logger: Logger): RestoreMeta | undefined {
  try {
    const meta = readMeta(folder);
    return meta?.clusterId === clusterId ? meta : undefined;
  } catch (thrown) {
    if (!(thrown instanceof OperationalError)) throw thrown;
    logger.error({ folder, reason: thrown.message }, 'a snapshot on this disk cannot be read: it is passed over');
    return undefined;
  }
}

export function filesOf(sidecar: string, rdb: string): SnapshotSource {
  return {
    sidecar: () => fs.promises.readFile(sidecar),
    rdb: () => fs.createReadStream(rdb, { highWaterMark: READ_BYTES }) as AsyncIterable<Uint8Array>,
  };
}

/** Its restore.json first: a folder without it is none. */
export function removeSnapshotFolder(folder: string): void {
  for (const each of [metaFile(folder), folder]) fs.rmSync(each, { recursive: true, force: true });
}
