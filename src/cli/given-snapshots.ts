// What this node gives out of snapshots to its peers: pieces of those that it has found, whole, since the log named them.
//
// What must hold: a request gets bytes of a part of a manifest that was noted here, and of nothing else; its offsets are checked
// before anything is read.
import fs from 'node:fs';
import path from 'node:path';
import { copyBytes } from '../base/bytes.ts';
import { OperationalError } from '../base/errors.ts';
import type { SnapshotReference } from '../ports/link.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import type { PieceAnswer, PieceRequest } from '../ports/snapshot-pieces.ts';
import { decodeReference } from '../replica/snapshot-reference.ts';
import type { SnapshotManifest } from '../snapshot/manifest.ts';
import { partOf } from '../snapshot/stored-snapshot.ts';

/** An older one than so many is being fetched by nobody: the newest is what is offered. */
const KEPT = 4;

/** In an object store, or on this disk (fetched-snapshots.ts). */
type Place = { readonly store: ObjectStore } | { readonly folder: string };

interface Given {
  readonly key: string;
  readonly manifest: SnapshotManifest;
  readonly manifestBytes: Uint8Array;
  readonly place: Place;
}

export class GivenSnapshots {
  /** By the SHA-256 of the manifest, the newest last. */
  readonly #known = new Map<string, Given>();

  note({ reference }: SnapshotReference, manifest: SnapshotManifest, manifestBytes: Uint8Array, place: Place): void {
    const named = decodeReference(reference);
    if (named === undefined) return;
    this.#known.delete(named.sha256);
    this.#known.set(named.sha256, { key: named.key, manifest, manifestBytes, place });
    for (const sha256 of this.#known.keys()) {
      if (this.#known.size <= KEPT) break;
      this.#known.delete(sha256);
    }
  }

  /** Rejects where the place does not give what it should have. */
  async piece({ manifestKey, manifestSha256, part, from, bytesMax }: PieceRequest): Promise<PieceAnswer> {
    const given = this.#known.get(manifestSha256);
    if (given?.key !== manifestKey) return { absent: 'it has not found this snapshot' };
    const { manifest, manifestBytes, place } = given;
    const totalBytes = part === 'manifest' ? manifestBytes.length : partOf(manifest, part).bytes;
    const to = Math.min(totalBytes, from + bytesMax);
    if (from > to || (from === to && totalBytes > 0)) return { absent: `its ${part} has ${totalBytes} bytes, and ${from} are before what was asked for` };
    // What is given goes to another thread, and its buffer with it.
    if (part === 'manifest') return { bytes: copyBytes(manifestBytes, from, to), totalBytes };
    const bytes = 'store' in place ? await ofStore(place.store, partOf(manifest, part).key, from, to) : await ofFile(path.join(place.folder, part), from, to);
    if (bytes.length !== to - from) throw new OperationalError('OBJECT_DAMAGED', `${partOf(manifest, part).key} gives ${bytes.length} bytes of [${from}, ${to}), and has ${totalBytes} by its manifest`);
    return { bytes, totalBytes };
  }
}

async function ofStore(store: ObjectStore, key: string, from: number, to: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  if (from < to) for await (const chunk of await store.get(key, { range: { from, to } })) chunks.push(chunk);
  // A buffer of its own, for it goes to another thread.
  const bytes = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

async function ofFile(file: string, from: number, to: number): Promise<Uint8Array> {
  const handle = await fs.promises.open(file, 'r');
  try {
    const bytes = new Uint8Array(to - from);
    let filled = 0;
    for (let read = 1; read > 0 && filled < bytes.length; filled += read) {
      ({ bytesRead: read } = await handle.read(bytes, filled, bytes.length - filled, from + filled));
    }
    return bytes.slice(0, filled);
  } finally {
    await handle.close();
  }
}
