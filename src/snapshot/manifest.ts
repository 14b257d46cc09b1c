// The manifest of a snapshot: the small object that is written last, names the others, and makes them a snapshot. It is
// written only after the snapshot was loaded again and its digest has matched: a valid manifest is a verified snapshot.
//
// Format, version 1: JSON in UTF-8, {"format":1,"crc32c":"8 hex digits","snapshot":{…}}, fields in the order of
// SnapshotManifest below, no white space. crc32c is that of the bytes of the value of "snapshot".
//
// Valid: exactly what encoding its own content gives again. So a change of any byte shows.
import { isCount, isRecord } from '../base/checks.ts';
import { crc32c } from '../base/crc32c.ts';
import { OperationalError, errorText } from '../base/errors.ts';
import { objectKeyFault } from '../ports/object-store.ts';
import { assertNotSealed } from './sealed.ts';

export const MANIFEST_FORMAT_VERSION = 1;
/** A manifest larger than this is none. */
export const MANIFEST_BYTES_MAX = 1024 * 1024;

export interface SnapshotPart {
  /** What it is: "data" (the RDB file), "state" (the sidecar). */
  readonly name: string;
  readonly key: string;
  /** Length and SHA-256 in hex of its content, before encryption. */
  readonly bytes: number;
  readonly sha256: string;
}

export interface SnapshotManifest {
  readonly clusterId: string;
  /** The last entry of the log that is in it. */
  readonly index: number;
  readonly term: number;
  /** Log time at that entry. */
  readonly timeMs: number;
  readonly machineVersion: number;
  /** Of the machine, 16 hex digits: the log's checkpoint record has the same. */
  readonly digest: string;
  /** Wall clock of the snapshotter. */
  readonly createdMs: number;
  /** Release that wrote it. */
  readonly release: string;
  /** Id of the key that its parts are encrypted with; null: they are not. */
  readonly encryptionKeyId: string | null;
  readonly parts: readonly SnapshotPart[];
}

export function encodeManifest(manifest: SnapshotManifest): Uint8Array {
  const fault = manifestFault(manifest);
  if (fault !== undefined) throw new OperationalError('SNAPSHOT', `this is no manifest: ${fault}`);
  const { clusterId, index, term, timeMs, machineVersion, digest, createdMs, release, encryptionKeyId } = manifest;
  const parts = manifest.parts.map(({ name, key, bytes, sha256 }) => ({ name, key, bytes, sha256 }));
  const snapshot = JSON.stringify({ clusterId, index, term, timeMs, machineVersion, digest, createdMs, release, encryptionKeyId, parts });
  const crc = crc32c(Buffer.from(snapshot, 'utf8')).toString(16).padStart(8, '0');
  return Buffer.from(`{"format":${MANIFEST_FORMAT_VERSION},"crc32c":"${crc}","snapshot":${snapshot}}`, 'utf8');
}

/** Throws OBJECT_DAMAGED that begins with `where` if these bytes are no manifest. */
export function decodeManifest(bytes: Uint8Array, where: string): SnapshotManifest {
  let file: unknown;
  assertNotSealed(bytes, where);
  try {
    file = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (thrown) {
    throw damaged(where, errorText(thrown));
  }
  if (!isRecord(file)) throw damaged(where, 'it is no JSON object');
  if (file['format'] !== MANIFEST_FORMAT_VERSION) {
    throw new OperationalError('OBJECT_DAMAGED', `${where} has format ${JSON.stringify(file['format'])}, this release reads format ${MANIFEST_FORMAT_VERSION}; use the release that wrote it`);
  }
  const manifest = file['snapshot'];
  const fault = manifestFault(manifest);
  if (fault !== undefined) throw damaged(where, fault);
  if (!Buffer.from(encodeManifest(manifest as SnapshotManifest)).equals(bytes)) throw damaged(where, 'its checksum does not match');
  return manifest as SnapshotManifest;
}

function damaged(where: string, what: string): OperationalError {
  return new OperationalError('OBJECT_DAMAGED', `${where} is no valid manifest (${what}); use another snapshot`);
}

const isHex = (digits: number) => (x: unknown): boolean => typeof x === 'string' && x.length === digits && /^[0-9a-f]+$/.test(x);
const isText = (x: unknown): boolean => typeof x === 'string' && x !== '' && x.length <= 200;
const isKey = (x: unknown): boolean => typeof x === 'string' && objectKeyFault(x) === undefined;

const FIELDS: Readonly<Record<Exclude<keyof SnapshotManifest, 'parts'>, (x: unknown) => boolean>> = {
  clusterId: isText,
  index: (x) => isCount(x) && x !== 0,
  term: isCount,
  timeMs: isCount,
  machineVersion: isCount,
  digest: isHex(16),
  createdMs: isCount,
  release: isText,
  encryptionKeyId: (x) => x === null || isText(x),
};
const PART_FIELDS: Readonly<Record<keyof SnapshotPart, (x: unknown) => boolean>> = { name: isText, key: isKey, bytes: isCount, sha256: isHex(64) };

function manifestFault(x: unknown): string | undefined {
  if (!isRecord(x)) return 'there is no snapshot in it';
  for (const [name, isRight] of Object.entries(FIELDS)) if (!isRight(x[name])) return `${name} is ${JSON.stringify(x[name])}`;
  const parts: unknown = x['parts'];
  if (!Array.isArray(parts) || parts.length === 0) return 'it has no parts';
  for (const part of parts as unknown[]) {
    if (!isRecord(part)) return 'a part is no object';
    for (const [name, isRight] of Object.entries(PART_FIELDS)) if (!isRight(part[name])) return `${name} of a part is ${JSON.stringify(part[name])}`;
  }
  return undefined;
}
