// Where a snapshot is, as one node tells another: the bytes that Raft's snapshot message carries. JSON, {"key", "sha256"}: name of
// the manifest in the object store, and its checksum. Valid: both are there, of their form.
import { OperationalError } from '../base/errors.ts';
import type { PublishedRecord } from '../commands/publishing.ts';

export interface ManifestReference {
  readonly key: string;
  /** 64 hex digits. */
  readonly sha256: string;
}

export function encodeReference({ manifestKey, manifestSha256 }: PublishedRecord): Uint8Array {
  return new TextEncoder().encode(JSON.stringify({ key: manifestKey, sha256: manifestSha256 }));
}

/** undefined for bytes that are none. */
export function decodeReference(bytes: Uint8Array): ManifestReference | undefined {
  try {
    const { key, sha256 } = JSON.parse(new TextDecoder().decode(bytes)) as Partial<Record<keyof ManifestReference, unknown>>;
    if (typeof key !== 'string' || typeof sha256 !== 'string' || !/^[0-9a-f]{64}$/.test(sha256)) return undefined;
    return { key, sha256 };
  } catch {
    return undefined;
  }
}

/** The same, throwing OperationalError for bytes that are none. */
export function namedManifest(reference: Uint8Array): ManifestReference {
  const named = decodeReference(reference);
  if (named === undefined) throw new OperationalError('SNAPSHOT', 'the snapshot is named in a way that this release does not know');
  return named;
}
