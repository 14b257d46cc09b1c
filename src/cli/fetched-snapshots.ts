// The folder `fetched/` of a data directory: snapshots that this node has from its peers, since it has no object store that holds
// them. Owns the folder: fetches into it, goes on where a fetch was broken off, and removes what is of no use any more.
//
//   fetched/INDEX-SHA/manifest       as it is in the object store; INDEX has 16 digits, SHA the first 16 of the manifest's SHA-256
//   fetched/INDEX-SHA/state, data    its parts; shorter while they are fetched
//   fetched/INDEX-SHA/restore.json   written last: without it the fetch has not ended (format: src/snapshot/restore-files.ts)
//
// What must hold:
// - restore.json stands only where every file has the length and SHA-256 that lead up to the reference, on disk.
// - One snapshot is fetched at a time. A complete one goes only when a later one is complete, or the log begins behind a later one.
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { SlicedFile, syncPathAside } from '../adapters/fsync.ts';
import { must } from '../base/assert.ts';
import { errorText, OperationalError } from '../base/errors.ts';
import { KiB, MiB } from '../base/limits.ts';
import type { Clock } from '../ports/clock.ts';
import type { SnapshotReference } from '../ports/link.ts';
import type { Logger } from '../ports/logger.ts';
import { PIECE_BYTES_MAX, type Piece, type PiecePart, type PieceReader } from '../ports/snapshot-pieces.ts';
import { namedManifest, type ManifestReference } from '../replica/snapshot-reference.ts';
import { decodeManifest, MANIFEST_BYTES_MAX, type SnapshotManifest } from '../snapshot/manifest.ts';
import { encodeRestoreMeta, type RestoreMeta } from '../snapshot/restore-files.ts';
import { assertNamed, partOf, type SnapshotSource } from '../snapshot/stored-snapshot.ts';
import { filesOf, metaFile, removeSnapshotFolder, usableMeta } from './snapshot-files.ts';

const FOLDER = 'fetched';
const MANIFEST = 'manifest';
const PARTS = ['state', 'data'] as const;
const READ_BYTES = 256 * KiB;
const REPORT_MS = 5000;
const RETRY_MS_MIN = 500;
const RETRY_MS_MAX = 10_000;
/** Failures without one piece between them after which a fetch is given up; what is there stays for the next. */
const ATTEMPTS = 6;
/** Times that a part, or the manifest, is fetched whole before the snapshot is given up. */
const WHOLE_ATTEMPTS = 3;

export interface FetchedOptions {
  /** The data directory. */
  readonly dir: string;
  readonly clusterId: string;
  /** undefined: there are no peers to ask. */
  readonly pieces: PieceReader | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface FetchedSnapshot {
  readonly folder: string;
  readonly meta: RestoreMeta;
}

export interface FetchedNow extends FetchedSnapshot {
  readonly manifest: SnapshotManifest;
  readonly manifestBytes: Uint8Array;
}

export class FetchedSnapshots {
  readonly #options: FetchedOptions;
  readonly #root: string;
  /** The fetch under way, or the last. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: FetchedOptions) {
    this.#options = options;
    this.#root = path.join(options.dir, FOLDER);
  }

  get canFetch(): boolean {
    return this.#options.pieces?.hasPeers === true;
  }

  /** Those that are complete. */
  list(): FetchedSnapshot[] {
    if (!fs.existsSync(this.#root)) return [];
    const found: FetchedSnapshot[] = [];
    for (const name of fs.readdirSync(this.#root)) {
      const folder = path.join(this.#root, name);
      const meta = this.#metaIn(folder);
      if (meta !== undefined) found.push({ folder, meta });
    }
    return found;
  }

  source({ folder }: FetchedSnapshot): SnapshotSource {
    return filesOf(path.join(folder, 'state'), path.join(folder, 'data'));
  }

  /** What a log which begins behind `index` has no use for, complete or not. */
  removeBefore(index: number): void {
    this.#removeUpTo(index - 1, () => true);
  }

  remove(folder: string): void {
    removeSnapshotFolder(folder);
  }

  /** From whichever peer has it, or from this disk. What is there when it fails stays for the next time. */
  fetch(snapshot: SnapshotReference): Promise<FetchedNow> {
    const fetching = this.#last.then(() => this.#fetch(snapshot));
    this.#last = fetching.catch(() => undefined);
    return fetching;
  }

  async #fetch(snapshot: SnapshotReference): Promise<FetchedNow> {
    const { clusterId, logger, clock, pieces } = this.#options;
    const named = namedManifest(snapshot.reference);
    const folder = path.join(this.#root, `${String(snapshot.index).padStart(16, '0')}-${named.sha256.slice(0, 16)}`);
    const startedMs = clock.monotonicMs();
    this.#removeUpTo(snapshot.index, (one) => one !== folder && this.#metaIn(one) === undefined);
    fs.mkdirSync(folder, { recursive: true, mode: 0o700 });
    try {
      const manifestBytes = await this.#manifest(folder, named);
      const manifest = decodeManifest(manifestBytes, named.key);
      assertNamed(manifest, named.key, { ...snapshot, clusterId });
      const { index, term, timeMs, digest } = manifest;
      const meta: RestoreMeta = { clusterId, index, term, timeMs, digest };
      if (this.#metaIn(folder) === undefined) {
        for (const part of PARTS) await this.#part(folder, named, part, manifest);
        await this.#complete(folder, meta);
        const seconds = Number(((clock.monotonicMs() - startedMs) / 1000).toFixed(1));
        logger.info({ index, folder, seconds }, 'a snapshot is fetched from a peer, and whole');
      }
      this.#removeUpTo(index, (one) => one !== folder);
      return { folder, meta, manifest, manifestBytes };
    } finally {
      pieces?.close();
    }
  }

  async #manifest(folder: string, named: ManifestReference): Promise<Uint8Array> {
    const file = path.join(folder, MANIFEST);
    const isRight = (bytes: Uint8Array): boolean => createHash('sha256').update(bytes).digest('hex') === named.sha256;
    if (fs.existsSync(file)) {
      const bytes = await fs.promises.readFile(file);
      if (isRight(bytes)) return bytes;
    }
    for (let attempt = 1; ; attempt++) {
      const chunks: Uint8Array[] = [];
      let have = 0;
      for (let total = 1; have < total; ) {
        const piece = await this.#read(named, MANIFEST, have, PIECE_BYTES_MAX, (bytes) => bytes > MANIFEST_BYTES_MAX ? `${named.key} is no manifest: it has ${bytes} bytes` : undefined);
        total = piece.totalBytes;
        chunks.push(piece.bytes);
        have += piece.bytes.length;
      }
      const bytes = Buffer.concat(chunks);
      if (isRight(bytes)) {
        await fs.promises.writeFile(file, bytes, { mode: 0o600 });
        return bytes;
      }
      this.#distrust(named.key, attempt);
    }
  }

  async #part(folder: string, named: ManifestReference, part: (typeof PARTS)[number], manifest: SnapshotManifest): Promise<void> {
    const file = path.join(folder, part);
    const { bytes, sha256 } = partOf(manifest, part);
    for (let attempt = 1; ; attempt++) {
      await this.#fill(file, named, part, bytes);
      if ((await sha256Of(file)) === sha256) return;
      await fs.promises.rm(file);
      this.#distrust(`${part} of ${named.key}`, attempt);
    }
  }

  #distrust(what: string, attempt: number): void {
    if (attempt >= WHOLE_ATTEMPTS) throw new OperationalError('OBJECT_DAMAGED', `${what} does not have its SHA-256, whoever it is fetched from`);
    this.#options.logger.error({ what }, 'what a peer gave of a snapshot does not have its SHA-256: it is fetched again, from another one where there is one');
    this.#options.pieces?.distrust();
  }

  /** Appends to what is there until the file has all of its bytes. */
  async #fill(file: string, named: ManifestReference, part: PiecePart, total: number): Promise<void> {
    const { clock, logger } = this.#options;
    const handle = await fs.promises.open(file, fs.constants.O_RDWR | fs.constants.O_CREAT, 0o600);
    try {
      let have = (await handle.stat()).size;
      if (have > total) await handle.truncate((have = 0));
      if (have > 0 && have < total) logger.info({ part, megabytes: Math.round(have / MiB), of: Math.round(total / MiB) }, 'the fetch of a snapshot from a peer goes on where it was');
      const sliced = new SlicedFile(handle, have);
      let reportedMs = clock.monotonicMs();
      while (have < total) {
        const { bytes } = await this.#read(named, part, have, Math.min(PIECE_BYTES_MAX, total - have), (said) => said !== total ? `${part} of ${named.key} has ${said} bytes at a peer, where the manifest says ${total}` : undefined);
        await sliced.append(bytes);
        have += bytes.length;
        if (clock.monotonicMs() - reportedMs < REPORT_MS) continue;
        reportedMs = clock.monotonicMs();
        logger.info({ part, megabytes: Math.round(have / MiB), of: Math.round(total / MiB) }, 'fetching a snapshot from a peer');
      }
      await handle.sync();
    } finally {
      await handle.close();
    }
  }

  /** One piece, however often peers have to be asked. `fault` judges the length that one says of the whole part. */
  async #read(named: ManifestReference, part: PiecePart, from: number, bytesMax: number, fault: (totalBytes: number) => string | undefined): Promise<Piece> {
    const { clock, logger } = this.#options;
    const pieces = must(this.#options.pieces, 'there are peers');
    for (let failures = 1; ; failures++) {
      try {
        const piece = await pieces.read({ manifestKey: named.key, manifestSha256: named.sha256, part, from, bytesMax });
        const wrong = fault(piece.totalBytes);
        if (wrong === undefined) return piece;
        pieces.distrust();
        throw new OperationalError('PEER', wrong);
      } catch (thrown) {
        if (!(thrown instanceof OperationalError) || thrown.code !== 'PEER' || failures >= ATTEMPTS) throw thrown;
        logger.warn({ part, from, reason: errorText(thrown) }, 'the fetch of a snapshot from a peer is interrupted; it goes on where it was');
        await new Promise<void>((resolve) => void clock.after(Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** (failures - 1)), resolve));
      }
    }
  }

  /** The files are on disk; with this so is the word that they are whole. */
  async #complete(folder: string, meta: RestoreMeta): Promise<void> {
    const file = metaFile(folder);
    const handle = await fs.promises.open(`${file}.tmp`, 'w', 0o600);
    try {
      await handle.writeFile(encodeRestoreMeta(meta));
      await handle.sync();
    } finally {
      await handle.close();
    }
    await syncPathAside(path.join(folder, MANIFEST));
    await fs.promises.rename(`${file}.tmp`, file);
    for (const each of [folder, this.#root, this.#options.dir]) await syncPathAside(each);
  }

  #removeUpTo(index: number, which: (folder: string) => boolean): void {
    if (!fs.existsSync(this.#root)) return;
    for (const name of fs.readdirSync(this.#root)) {
      const folder = path.join(this.#root, name);
      // A later one may be what the log begins behind.
      if (!(Number(name.split('-')[0]) > index) && which(folder)) this.remove(folder);
    }
  }

  #metaIn(folder: string): RestoreMeta | undefined {
    return usableMeta(folder, this.#options.clusterId, this.#options.logger);
  }
}

async function sha256Of(file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of fs.createReadStream(file, { highWaterMark: READ_BYTES })) hash.update(chunk as Uint8Array);
  return hash.digest('hex');
}
