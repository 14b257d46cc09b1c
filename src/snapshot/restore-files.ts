// The folder `restore/` of a data directory: the snapshot that a new node starts from. `holdfast restore` makes it, the node's start
// reads it, and so does a snapshotter that finds no snapshot of the cluster in the object store.
//
//   restore/snapshot.rdb   the RDB file
//   restore/sidecar        the rest of the machine's state (src/snapshot/sidecar.ts)
//   restore/restore.json   written last: a folder without it is none
//
// restore.json, format 1: one JSON object, {"format": 1, "clusterId": …, "index": …, "term": …, "timeMs": …, "digest": …}.
// Valid: the format is known and every field is of its type. That the other two files are the ones meant shows when they are
// loaded: their index, term and digest are in themselves, and must be these.
import { isCount } from '../base/checks.ts';
import { OperationalError, errorText } from '../base/errors.ts';

export const RESTORE_FORMAT_VERSION = 1;

/** Names in the data directory. */
export const RestoreFile = {
  folder: 'restore',
  rdb: 'restore/snapshot.rdb',
  sidecar: 'restore/sidecar',
  meta: 'restore/restore.json',
} as const;

export interface RestoreMeta {
  /** Of the new cluster, never the one that the snapshot was taken of: their logs go different ways from here. */
  readonly clusterId: string;
  /** The last entry that is in the snapshot; the node's log begins behind it. */
  readonly index: number;
  readonly term: number;
  /** Log time at that entry. */
  readonly timeMs: number;
  /** Of the machine, 16 hex digits. */
  readonly digest: string;
}

export function encodeRestoreMeta(meta: RestoreMeta): string {
  const { clusterId, index, term, timeMs, digest } = meta;
  return `${JSON.stringify({ format: RESTORE_FORMAT_VERSION, clusterId, index, term, timeMs, digest })}\n`;
}

/** Throws OperationalError DATA_DIR that begins with `where` if the text is no restore.json. */
export function decodeRestoreMeta(text: string, where: string): RestoreMeta {
  const damaged = (what: string): OperationalError => new OperationalError('DATA_DIR', `${where} is damaged (${what}); look after this disk, and where the node has nothing else to start from, run holdfast restore again into a new directory`);
  let file: unknown;
  try {
    file = JSON.parse(text);
  } catch (thrown) {
    throw damaged(errorText(thrown));
  }
  if (typeof file !== 'object' || file === null) throw damaged('it is no JSON object');
  const { format, clusterId, index, term, timeMs, digest } = file as Record<string, unknown>;
  if (format !== RESTORE_FORMAT_VERSION) {
    throw new OperationalError('DATA_DIR', `${where} has format ${JSON.stringify(format)}, this release reads format ${RESTORE_FORMAT_VERSION}; use the release that wrote it`);
  }
  if (typeof clusterId !== 'string' || clusterId === '') throw damaged('clusterId');
  if (!isCount(index) || index === 0) throw damaged('index');
  if (!isCount(term) || !isCount(timeMs)) throw damaged('term or timeMs');
  if (typeof digest !== 'string' || !/^[0-9a-f]{16}$/.test(digest)) throw damaged('digest');
  return { clusterId, index, term, timeMs, digest };
}
