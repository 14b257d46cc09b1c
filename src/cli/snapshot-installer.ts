// Where a serving node takes snapshots from: `restore/` in its data directory (src/snapshot/restore-files.ts) or the object store.
// A machine is made in slices, so that the one beside it goes on serving; a download that breaks off goes on where it was.
//
// What must hold: nothing is taken from objects whose length, SHA-256, CRCs and digest are not those of the manifest.
import path from 'node:path';
import { LocalSums } from '../adapters/byte-sums.ts';
import { errorText, OperationalError } from '../base/errors.ts';
import { KiB, MiB } from '../base/limits.ts';
import type { LogBase } from '../base/log-base.ts';
import type { CommandTable } from '../commands/table.ts';
import { digestText, type Machine, type MachineReport } from '../machine/machine.ts';
import type { PageToucher } from '../memory/page-toucher.ts';
import type { ByteSums } from '../ports/byte-sums.ts';
import type { Clock } from '../ports/clock.ts';
import type { SnapshotReference } from '../ports/link.ts';
import type { Logger } from '../ports/logger.ts';
import { readObject, type ObjectStore } from '../ports/object-store.ts';
import type { PieceAnswer, PieceReader, PieceRequest } from '../ports/snapshot-pieces.ts';
import { namedManifest } from '../replica/snapshot-reference.ts';
import type { SnapshotInstaller } from '../replica/installation.ts';
import { readCatalog } from '../snapshot/catalog.ts';
import { SnapshotRestore } from '../snapshot/machine-snapshot.ts';
import { decodeManifest, MANIFEST_BYTES_MAX, type SnapshotManifest, type SnapshotPart } from '../snapshot/manifest.ts';
import { backoffMs } from '../snapshot/pulse.ts';
import { readAhead } from '../snapshot/read-ahead.ts';
import { RestoreFile, type RestoreMeta } from '../snapshot/restore-files.ts';
import { assertNamed, partOf, soundSnapshots, type SnapshotFacts, type SnapshotSource } from '../snapshot/stored-snapshot.ts';
import { FetchedSnapshots, type FetchedNow } from './fetched-snapshots.ts';
import { filesOf, removeSnapshotFolder, usableMeta } from './snapshot-files.ts';
import { GivenSnapshots } from './given-snapshots.ts';

/** Loading holds the event loop no longer than this at a time, and goes on in the next turn. */
const SLICE_MS = 4;
const PIECE_BYTES = 32 * KiB;
const REPORT_MS = 5000;
/** Of the looks for a published snapshot that fail, the first are told, and then one in so many. */
const CONFIRM_FAILURES_TOLD = 3;
const CONFIRM_TOLD_EVERY = 20;
/** Of such looks after which it is fetched from a peer. */
const FETCH_AFTER_FAILURES = 3;
/** Failures without one byte between them after which a download that consensus asked for is given up. */
const ATTEMPTS = 6;

export interface InstallerOptions {
  readonly dir: string;
  readonly clusterId: string;
  /** undefined: no object store is configured. */
  readonly openStore: (() => Promise<ObjectStore>) | undefined;
  /** undefined: there are no peers that could have what the store does not. */
  readonly pieces?: PieceReader | undefined;
  readonly table: CommandTable;
  readonly report: MachineReport;
  readonly accessClockMs: () => number;
  /** Of the machine's memory. */
  readonly toucher?: PageToucher;
  readonly clock: Clock;
  readonly logger: Logger;
  /** What adds up the bytes of one RDB file; without it that is done on this thread. */
  readonly sums?: () => ByteSums;
}

interface Candidate {
  readonly facts: SnapshotFacts;
  readonly from: string;
  readonly source: SnapshotSource;
}

export class StoredSnapshots implements SnapshotInstaller {
  readonly #options: InstallerOptions;
  readonly #fetched: FetchedSnapshots;
  readonly #given = new GivenSnapshots();
  #store: ObjectStore | undefined;

  constructor(options: InstallerOptions) {
    this.#options = options;
    this.#fetched = new FetchedSnapshots({ ...options, pieces: options.pieces });
  }

  piece(request: PieceRequest, done: (answer: PieceAnswer) => void): void {
    this.#given.piece(request).then(done, (thrown: unknown) => done({ absent: errorText(thrown) }));
  }

  /** Throws OperationalError where a log that begins behind `base` can't be started from anything that is configured. */
  assertCanStart(base: LogBase): void {
    if (base.index === 0 || this.#options.openStore !== undefined || this.#local(base).length > 0) return;
    throw new OperationalError(
      'CONFIG',
      `object-store: the log in ${this.#options.dir} begins behind entry ${base.index}, and what was before is in a snapshot in the object store; name it, as on the other nodes`,
    );
  }

  start(base: LogBase, done: (machine: Machine) => void): void {
    const { logger } = this.#options;
    this.#removeStale(base);
    const attempt = async (failures: number): Promise<void> => {
      try {
        done(await this.#newest(base));
      } catch (thrown) {
        const seconds = backoffMs(failures) / 1000;
        logger.error({ reason: errorText(thrown), seconds }, 'this node starts from a snapshot, and has none that it can use yet; it tries again, and serves nothing until then');
        this.#options.clock.after(seconds * 1000, () => void attempt(failures + 1));
      }
    };
    void attempt(1);
  }

  restore(snapshot: SnapshotReference, done: (result: Machine | string) => void): void {
    this.#named(snapshot).then(done, (thrown: unknown) => done(errorText(thrown)));
  }

  confirm(wanted: () => SnapshotReference, done: (found: SnapshotReference) => void): void {
    const { openStore, logger, clock } = this.#options;
    if (openStore === undefined && !this.#fetched.canFetch) {
      // Peers may come.
      logger.warn({ index: wanted().index }, 'a snapshot is published and this node has no object store to find it in: its log is not cut, and grows; set object-store, as on the other nodes');
    }
    const look = async (failures: number): Promise<void> => {
      const snapshot = wanted();
      const reason = await this.#missing(snapshot, failures);
      if (reason === undefined) {
        done(snapshot);
        return;
      }
      const seconds = backoffMs(failures) / 1000;
      const isTold = failures <= CONFIRM_FAILURES_TOLD || failures % CONFIRM_TOLD_EVERY === 0;
      if (isTold) logger.warn({ index: snapshot.index, reason, seconds }, 'a snapshot is published that this node does not find in its object store: its log is not cut, and grows until it does');
      clock.after(seconds * 1000, () => void look(failures + 1));
    };
    void look(1);
  }

  /** Why this node could not start from it, as far as a look tells. */
  async #missing(snapshot: SnapshotReference, failures: number): Promise<string | undefined> {
    try {
      const reason = await this.#missingInStore(snapshot);
      if (typeof reason !== 'object') return reason;
      // The record is older than what this node has: it started from a later snapshot, say.
      if (this.#fetched.list().some(({ meta }) => meta.index > snapshot.index)) return undefined;
      // What is just being put into a store that is shared will be there soon.
      if (this.#options.openStore !== undefined && failures <= FETCH_AFTER_FAILURES) return reason.elsewhere;
      await this.#fetch(snapshot);
      return undefined;
    } catch (thrown) {
      return errorText(thrown);
    }
  }

  async #missingInStore(snapshot: SnapshotReference): Promise<string | { readonly elsewhere: string } | undefined> {
    try {
      const { store, manifest, manifestBytes } = await this.#manifestOf(snapshot);
      for (const { key, bytes } of [partOf(manifest, 'data'), partOf(manifest, 'state')]) {
        const found = (await store.head(key))?.bytes;
        if (found !== bytes) return `${key} has ${found ?? 'no'} bytes, not ${bytes}`;
      }
      this.#given.note(snapshot, manifest, manifestBytes, { store });
      return undefined;
    } catch (thrown) {
      return this.#isElsewhere(thrown) ? { elsewhere: errorText(thrown) } : errorText(thrown);
    }
  }

  async #newest(base: LogBase): Promise<Machine> {
    const faults: string[] = [];
    for (const candidate of await this.#candidates(base, faults)) {
      try {
        return await this.#load(candidate);
      } catch (thrown) {
        faults.push(`${candidate.from}: ${errorText(thrown)}`);
      }
    }
    throw new OperationalError('SNAPSHOT', `no snapshot at entry ${base.index} or behind can be loaded: ${faults.join('; ') || 'there is none'}`);
  }

  /** Newest first; of two at the same index the one on this disk. */
  async #candidates(base: LogBase, faults: string[]): Promise<Candidate[]> {
    const found = this.#local(base);
    try {
      const store = await this.#openStore();
      const catalog = store === undefined ? undefined : await readCatalog(store, this.#options.clusterId);
      for (const { manifest, folder } of catalog === undefined ? [] : soundSnapshots(catalog)) {
        if (manifest.index >= base.index) found.push({ facts: manifest, from: folder, source: this.#objects(store!, manifest, Infinity) });
      }
    } catch (thrown) {
      faults.push(errorText(thrown));
    }
    return found.sort((a, b) => b.facts.index - a.facts.index);
  }

  async #named(snapshot: SnapshotReference): Promise<Machine> {
    try {
      const { store, manifest, key } = await this.#manifestOf(snapshot);
      return await this.#load({ facts: manifest, from: key, source: this.#objects(store, manifest, ATTEMPTS) });
    } catch (thrown) {
      if (!this.#isElsewhere(thrown)) throw thrown;
      this.#options.logger.info({ index: snapshot.index, reason: errorText(thrown) }, 'this node has no object store that holds the snapshot: it is fetched from a peer');
    }
    const fetched = await this.#fetch(snapshot);
    try {
      return await this.#load({ facts: fetched.meta, from: fetched.folder, source: this.#fetched.source(fetched) });
    } catch (thrown) {
      this.#fetched.remove(fetched.folder);
      throw thrown;
    }
  }

  /** It is not where this node looks, which is no reason why a peer should not have it. */
  #isElsewhere(thrown: unknown): boolean {
    if (!this.#fetched.canFetch) return false;
    return this.#options.openStore === undefined || (thrown instanceof OperationalError && ['OBJECT_NOT_FOUND', 'ENCRYPTION_KEY'].includes(thrown.code));
  }

  async #fetch(snapshot: SnapshotReference): Promise<FetchedNow> {
    const fetched = await this.#fetched.fetch(snapshot);
    this.#given.note(snapshot, fetched.manifest, fetched.manifestBytes, { folder: fetched.folder });
    return fetched;
  }

  /** What the reference names, if it is what it says. */
  async #manifestOf({ index, term, reference }: SnapshotReference): Promise<{ store: ObjectStore; manifest: SnapshotManifest; manifestBytes: Uint8Array; key: string }> {
    const { key, sha256 } = namedManifest(reference);
    const store = await this.#openStore();
    if (store === undefined) throw new OperationalError('CONFIG', 'object-store: none is set on this node; name it, as on the other nodes');
    const bytes = (await store.head(key))?.bytes;
    if (bytes !== undefined && bytes > MANIFEST_BYTES_MAX) throw new OperationalError('SNAPSHOT', `${key} is no manifest: it has ${bytes} bytes`);
    const manifestBytes = await readObject(store, key, { sha256 });
    const manifest = decodeManifest(manifestBytes, key);
    assertNamed(manifest, key, { index, term, clusterId: this.#options.clusterId });
    return { store, manifest, manifestBytes, key };
  }

  async #load(candidate: Candidate): Promise<Machine> {
    const sums = this.#options.sums?.() ?? new LocalSums();
    try {
      return await this.#loadSumming(candidate, sums);
    } finally {
      sums.close();
    }
  }

  async #loadSumming({ facts, from, source }: Candidate, sums: ByteSums): Promise<Machine> {
    const { table, report, accessClockMs, clock, logger, toucher } = this.#options;
    const startedMs = clock.monotonicMs();
    let sliceMs = startedMs;
    const breathe = async (): Promise<void> => {
      if (clock.monotonicMs() - sliceMs < SLICE_MS) return;
      await new Promise<void>((resolve) => clock.endOfTurn(resolve));
      sliceMs = clock.monotonicMs();
    };
    const restore = new SnapshotRestore(table, report, accessClockMs, await source.sidecar(), { isSummedElsewhere: true, toucher });
    logger.info({ from, index: facts.index, megabytes: Math.round(restore.bytes / MiB) }, 'loading a snapshot');
    let bytes = 0;
    let reportedMs = startedMs;
    for await (const chunk of readAhead(await source.rdb())) {
      await sums.add(chunk);
      for (let at = 0; at < chunk.length; at += PIECE_BYTES) {
        restore.feed(chunk.subarray(at, at + PIECE_BYTES));
        await breathe();
      }
      bytes += chunk.length;
      if (sliceMs - reportedMs < REPORT_MS) continue;
      reportedMs = sliceMs;
      logger.info({ percent: Math.floor((100 * bytes) / Math.max(1, restore.bytes)), megabytes: Math.round(bytes / MiB) }, 'loading a snapshot');
    }
    const { sha256, crc64 } = await sums.finish();
    if (source.sha256 !== undefined && source.sha256 !== sha256) throw new OperationalError('OBJECT_DAMAGED', `the RDB file of ${from} does not have the SHA-256 that its manifest says`);
    const steps = restore.endInSteps(crc64);
    let step = steps.next();
    for (; step.done !== true; step = steps.next()) await breathe();
    const machine = step.value;
    const own: SnapshotFacts = { index: machine.appliedIndex, term: machine.appliedTerm, digest: digestText(machine.digest()) };
    for (const name of ['index', 'term', 'digest'] as const) {
      if (own[name] !== facts[name]) throw new OperationalError('SNAPSHOT', `${from} has ${name} ${own[name]} once loaded, not ${facts[name]}`);
    }
    const seconds = (clock.monotonicMs() - startedMs) / 1000;
    logger.info({ index: own.index, megabytes: Math.round(bytes / MiB), seconds: Number(seconds.toFixed(1)), megabytesPerSecond: Math.round(bytes / MiB / seconds) }, 'the snapshot is loaded');
    return machine;
  }

  async #openStore(): Promise<ObjectStore | undefined> {
    this.#store ??= await this.#options.openStore?.();
    return this.#store;
  }

  /** On this disk: of `restore/` and `fetched/`, where the log goes on from it. */
  #local(base: LogBase): Candidate[] {
    const restored = this.#readLocalMeta();
    const found = this.#fetched.list().map((one): Candidate => ({ facts: one.meta, from: one.folder, source: this.#fetched.source(one) }));
    if (restored !== undefined) found.unshift({ facts: restored, from: path.join(this.#options.dir, RestoreFile.folder), source: this.#files() });
    return found.filter(({ facts }) => facts.index >= base.index);
  }

  #readLocalMeta(): RestoreMeta | undefined {
    const { dir, clusterId, logger } = this.#options;
    return usableMeta(path.join(dir, RestoreFile.folder), clusterId, logger);
  }

  /** What the node once started from is of no use any more where its log begins behind a later snapshot. */
  #removeStale(base: LogBase): void {
    this.#fetched.removeBefore(base.index);
    const { dir, logger } = this.#options;
    const index = this.#readLocalMeta()?.index;
    if (index === undefined || index >= base.index) return;
    const folder = path.join(dir, RestoreFile.folder);
    removeSnapshotFolder(folder);
    logger.info({ folder }, 'the snapshot that this node was restored from is removed: the log begins behind a later one');
  }

  #files(): SnapshotSource {
    return filesOf(path.join(this.#options.dir, RestoreFile.sidecar), path.join(this.#options.dir, RestoreFile.rdb));
  }

  #objects(store: ObjectStore, manifest: SnapshotManifest, attempts: number): SnapshotSource {
    const [data, state] = [partOf(manifest, 'data'), partOf(manifest, 'state')];
    return {
      sidecar: () => readObject(store, state.key, { bytes: state.bytes, sha256: state.sha256 }),
      rdb: () => this.#download(store, data, attempts),
      sha256: data.sha256,
    };
  }

  /** The whole object; where the store fails in the middle, the rest of it once the store is back. */
  async *#download(store: ObjectStore, part: SnapshotPart, attempts: number): AsyncGenerator<Uint8Array> {
    const { clock, logger } = this.#options;
    let bytes = 0;
    for (let failures = 0; bytes < part.bytes; ) {
      try {
        for await (const chunk of await store.get(part.key, { range: { from: bytes, to: part.bytes } })) {
          bytes += chunk.length;
          failures = 0;
          yield chunk;
        }
        if (bytes < part.bytes) throw new OperationalError('OBJECT_DAMAGED', `${part.key} ends after ${bytes} bytes of ${part.bytes}`);
      } catch (thrown) {
        failures++;
        if (!(thrown instanceof OperationalError) || thrown.code !== 'OBJECT_STORE_UNREACHABLE' || failures >= attempts) throw thrown;
        logger.warn({ object: part.key, bytes, of: part.bytes, reason: errorText(thrown) }, 'the download of a snapshot is interrupted; it goes on where it was');
        await new Promise<void>((resolve) => void clock.after(backoffMs(failures), resolve));
      }
    }
  }
}
