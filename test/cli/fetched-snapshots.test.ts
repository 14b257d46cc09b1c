// Snapshots that come from peers: fetched, gone on with, checked, kept and given on; and what a node makes of them that has no store
// with the snapshot in it.
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { OperationalError } from '../../src/base/errors.ts';
import { FetchedSnapshots } from '../../src/cli/fetched-snapshots.ts';
import { GivenSnapshots } from '../../src/cli/given-snapshots.ts';
import { StoredSnapshots } from '../../src/cli/snapshot-installer.ts';
import { digestText, type Machine } from '../../src/machine/machine.ts';
import type { SnapshotReference } from '../../src/ports/link.ts';
import type { ObjectStore } from '../../src/ports/object-store.ts';
import { PIECE_BYTES_MAX, type Piece, type PieceAnswer, type PieceReader, type PieceRequest } from '../../src/ports/snapshot-pieces.ts';
import { encodeReference } from '../../src/replica/snapshot-reference.ts';
import { manifestKey } from '../../src/snapshot/catalog.ts';
import { encodeManifest, type SnapshotManifest } from '../../src/snapshot/manifest.ts';
import { partOf, writeSnapshot } from '../../src/snapshot/stored-snapshot.ts';
import { Prng } from '../../src/base/prng.ts';
import { freshSeed, tempDir } from '../adapters/temp-dir.ts';
import { FastClock } from '../snapshot/fast-clock.ts';
import { LogModel, silentReport, table } from '../snapshot/log-model.ts';
import { MemoryStore } from '../snapshot/memory-store.ts';

const ATTEMPT = 'abcdef0123456789';

interface Taken extends SnapshotReference {
  readonly key: string;
  readonly sha256: string;
  readonly digest: string;
  readonly manifest: SnapshotManifest;
}

/** The peers of a node, as its reader sees them: one that gives what it has noted, and whatever a test puts in its way. */
class Peers implements PieceReader {
  hasPeers = true;
  readonly given = new GivenSnapshots();
  readonly reads: PieceRequest[] = [];
  distrusts = 0;
  closes = 0;
  /** Small pieces make many of them. */
  pieceBytes = 1000;
  /** Before the read with this number (from 1): throws, or alters the answer. */
  before: (number: number) => void = () => undefined;
  after: (answer: Piece, request: PieceRequest) => Piece = (answer) => answer;

  async read(request: PieceRequest): Promise<Piece> {
    this.reads.push(request);
    this.before(this.reads.length);
    const answer: PieceAnswer = await this.given.piece({ ...request, bytesMax: Math.min(request.bytesMax, this.pieceBytes) });
    if ('absent' in answer) throw new OperationalError('OBJECT_NOT_FOUND', `no peer gives it: ${answer.absent}`);
    return this.after(answer, request);
  }
  distrust(): void {
    this.distrusts++;
  }
  close(): void {
    this.closes++;
  }
}

class World {
  readonly seed = freshSeed();
  readonly log = new LogModel(new Prng(this.seed));
  /** The peer's. */
  readonly store = new MemoryStore();
  readonly peers = new Peers();
  readonly dir = tempDir();
  readonly lines: string[] = [];
  readonly clock = new FastClock();
  readonly logger = (() => {
    const note = (fields: object, message: string): void => void this.lines.push(`${message} ${JSON.stringify(fields)}`);
    return { debug: note, info: note, warn: note, error: note };
  })();

  /** As after a restart of the process. */
  fetched(clusterId = 'c'): FetchedSnapshots {
    return new FetchedSnapshots({ dir: this.dir, clusterId, pieces: this.peers, clock: this.clock, logger: this.logger });
  }

  installer(openStore?: () => Promise<ObjectStore>): StoredSnapshots {
    const { dir, clock, logger, peers } = this;
    return new StoredSnapshots({ dir, clusterId: 'c', openStore, pieces: peers, table, report: silentReport, accessClockMs: () => 0, clock, logger });
  }

  /** One of the log as it is, which the peer has. */
  async snapshot(writes = 200): Promise<Taken> {
    this.log.write(writes);
    const { manifest } = await writeSnapshot(this.store, this.log.machine, { clusterId: 'c', attempt: ATTEMPT, release: 'test', encryptionKeyId: null, createdMs: 0 }, () => {});
    const bytes = encodeManifest(manifest);
    const key = manifestKey('c', manifest.index, ATTEMPT);
    await this.store.put(key, [bytes]);
    const { index, term, digest } = manifest;
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    const reference = encodeReference({ index, term, manifestKey: key, manifestSha256: sha256, digest, timeMs: 1 });
    const taken = { index, term, digest, key, sha256, reference, manifest };
    this.peers.given.note(taken, manifest, bytes, { store: this.store });
    return taken;
  }

  folders(): string[] {
    const root = path.join(this.dir, 'fetched');
    return fs.existsSync(root) ? fs.readdirSync(root) : [];
  }

  from(part: string): number[] {
    return this.peers.reads.filter((read) => read.part === part).map(({ from }) => from);
  }
}

const restored = (installer: StoredSnapshots, snapshot: SnapshotReference): Promise<Machine | string> => new Promise((resolve) => installer.restore(snapshot, resolve));
const expectMachine = (machine: Machine | string, { index, digest }: Taken): void => {
  if (typeof machine === 'string') throw new Error(machine);
  expect([machine.appliedIndex, digestText(machine.digest())]).toEqual([index, digest]);
};

describe('a fetch', () => {
  test('has all of it, and asks for nothing twice, nor again', async () => {
    const world = new World();
    const snapshot = await world.snapshot();
    const { folder, meta } = await world.fetched().fetch(snapshot);
    expect(meta).toMatchObject({ index: snapshot.index, term: snapshot.term, digest: snapshot.digest, clusterId: 'c' });
    for (const part of ['state', 'data'] as const) {
      const { bytes, sha256 } = partOf(snapshot.manifest, part);
      const file = fs.readFileSync(path.join(folder, part));
      expect([file.length, createHash('sha256').update(file).digest('hex')]).toEqual([bytes, sha256]);
    }
    const { bytes } = partOf(snapshot.manifest, 'data');
    expect(world.from('data')).toEqual(Array.from({ length: Math.ceil(bytes / 1000) }, (_, i) => i * 1000));
    expect(world.peers.closes).toBe(1);
    const reads = world.peers.reads.length;
    expect((await world.fetched().fetch(snapshot)).folder).toBe(folder);
    expect(world.peers.reads).toHaveLength(reads);
    expect(world.fetched().list()).toEqual([{ folder, meta }]);
  });

  test('that breaks off goes on where it was: with other peers, and after a restart', async () => {
    const world = new World();
    const snapshot = await world.snapshot();
    // Passing trouble, less often in a row than ends it.
    world.peers.before = (number) => {
      if (number % 4 !== 0) return;
      throw new OperationalError('PEER', 'the connection broke');
    };
    const before = world.peers.reads;
    // Then for good, in the middle of the data.
    const stop = { after: 12 };
    const passing = world.peers.before;
    world.peers.before = (number) => {
      if (number > stop.after) throw new OperationalError('PEER', 'nobody answers');
      passing(number);
    };
    await expect(world.fetched().fetch(snapshot)).rejects.toMatchObject({ code: 'PEER' });
    expect(world.fetched().list()).toEqual([]);
    const file = path.join(world.dir, 'fetched', world.folders()[0]!, 'data');
    const have = fs.statSync(file).size;
    expect(have).toBeGreaterThan(0);
    const reads = before.length;
    world.peers.before = () => undefined;
    await world.fetched().fetch(snapshot);
    const later = world.peers.reads.slice(reads);
    expect(later.map(({ part }) => part)).not.toContain('manifest');
    expect(later.map(({ part }) => part)).not.toContain('state');
    expect(later[0]!.from).toBe(have);
    expect(world.lines.join()).toMatch(/goes on where it was/);
  });

  test('of bytes that are damaged on the way, or on this disk, begins anew, with somebody else', async () => {
    const world = new World();
    const snapshot = await world.snapshot();
    let flips = 2;
    world.peers.after = (piece, { part, from }) => {
      if (part !== 'data' || from !== 2000 || flips-- <= 0) return piece;
      const bytes = piece.bytes.slice();
      bytes[7]! ^= 1;
      return { ...piece, bytes };
    };
    const { folder } = await world.fetched().fetch(snapshot);
    expect(world.peers.distrusts).toBe(2);
    expect(world.lines.filter((line) => line.startsWith('what a peer gave of a snapshot does not have its SHA-256'))).toHaveLength(2);
    // A crash of the machine left zeros where nothing was written yet.
    fs.rmSync(path.join(folder, 'restore.json'));
    const file = path.join(folder, 'data');
    fs.truncateSync(file, 5000);
    fs.writeFileSync(file, Buffer.concat([fs.readFileSync(file).subarray(0, 4000), Buffer.alloc(1000)]));
    await world.fetched().fetch(snapshot);
    expect(createHash('sha256').update(fs.readFileSync(file)).digest('hex')).toBe(partOf(snapshot.manifest, 'data').sha256);
    // A file that is too long, too.
    fs.rmSync(path.join(folder, 'restore.json'));
    fs.appendFileSync(file, 'more');
    await world.fetched().fetch(snapshot);
    expect(world.fetched().list()).toHaveLength(1);
  });

  test('goes on with another peer where one says another length than the manifest, or gives what is no manifest', async () => {
    for (const which of ['manifest', 'state', 'data'] as const) {
      const world = new World();
      const snapshot = await world.snapshot();
      let lies = 2;
      world.peers.after = (piece, { part }) => (part === which && lies-- > 0 ? { ...piece, totalBytes: 2 ** 40 } : piece);
      await world.fetched().fetch(snapshot);
      expect(world.peers.distrusts).toBe(2);
    }
  });

  test('is given up where nobody has it whole, and nothing of it counts', async () => {
    const world = new World();
    const snapshot = await world.snapshot();
    for (const [after, message] of [
      [(piece: Piece) => ({ ...piece, bytes: piece.bytes.map((byte) => byte ^ 1) }), /does not have its SHA-256/],
      [(piece: Piece, { part }: PieceRequest) => (part === 'data' ? { ...piece, totalBytes: piece.totalBytes + 1 } : piece), /where the manifest says/],
      [(piece: Piece, { part }: PieceRequest) => (part === 'manifest' ? { bytes: new Uint8Array(1000), totalBytes: 2 ** 40 } : piece), /is no manifest/],
    ] as const) {
      const [root] = world.folders();
      if (root !== undefined) fs.rmSync(path.join(world.dir, 'fetched', root), { recursive: true });
      world.peers.after = after;
      await expect(world.fetched().fetch(snapshot)).rejects.toThrow(message);
      expect(world.fetched().list()).toEqual([]);
    }
  });

  test('of a snapshot that is gone fails; of the newer one that took its place it is done, and what was begun is removed', async () => {
    const world = new World();
    const old = await world.snapshot();
    world.peers.before = (number) => {
      if (number === 6) for (const { key } of old.manifest.parts) world.store.objects.delete(key);
    };
    await expect(world.fetched().fetch(old)).rejects.toMatchObject({ code: 'OBJECT_NOT_FOUND' });
    expect(world.folders()).toHaveLength(1);
    const newer = await world.snapshot();
    const { folder } = await world.fetched().fetch(newer);
    expect(world.folders()).toEqual([path.basename(folder)]);
  });

  test('leaves the complete one in its place until it is complete itself', async () => {
    const world = new World();
    const old = await world.snapshot();
    const { folder } = await world.fetched().fetch(old);
    const newer = await world.snapshot();
    const reads = world.peers.reads.length;
    world.peers.before = (number) => {
      if (number === reads + 6) throw new OperationalError('OBJECT_NOT_FOUND', 'gone');
    };
    await expect(world.fetched().fetch(newer)).rejects.toThrow('gone');
    expect(world.fetched().list().map((one) => one.folder)).toEqual([folder]);
    await world.fetched().fetch(newer);
    expect(world.fetched().list().map(({ meta }) => meta.index)).toEqual([newer.index]);
  });

  test('of an older one takes nothing of a later one away', async () => {
    const world = new World();
    const old = await world.snapshot();
    const newer = await world.snapshot();
    const { folder } = await world.fetched().fetch(newer);
    await world.fetched().fetch(old);
    expect(world.fetched().list().map((one) => one.folder)).toContain(folder);
    const newest = await world.snapshot();
    await world.fetched().fetch(newest);
    expect(world.fetched().list().map(({ meta }) => meta.index)).toEqual([newest.index]);
  });

  test('of what was named as another entry, or is another cluster’s, is refused', async () => {
    const world = new World();
    const snapshot = await world.snapshot();
    await expect(world.fetched().fetch({ ...snapshot, index: snapshot.index + 1 })).rejects.toThrow(/was named/);
    await expect(world.fetched('other').fetch(snapshot)).rejects.toThrow(/of cluster c/);
    await expect(world.fetched().fetch({ ...snapshot, reference: Buffer.from('{}') })).rejects.toThrow(/does not know/);
  });
});

describe('a node gives out', () => {
  const request = (snapshot: Taken, more: Partial<PieceRequest> = {}): PieceRequest => ({
    manifestKey: snapshot.key, manifestSha256: snapshot.sha256, part: 'data', from: 0, bytesMax: PIECE_BYTES_MAX, ...more,
  });

  test('parts of what it has noted, and nothing else', async () => {
    const world = new World();
    const snapshot = await world.snapshot();
    const { given } = world.peers;
    const { bytes } = partOf(snapshot.manifest, 'data');
    for (const wrong of [{ manifestKey: 'cluster-c/other' }, { manifestSha256: 'cd'.repeat(32) }, { from: bytes }, { from: bytes + 1 }, { from: Number.MAX_SAFE_INTEGER }]) {
      expect(await given.piece(request(snapshot, wrong))).toHaveProperty('absent');
    }
    const end = (await given.piece(request(snapshot, { from: bytes - 3 }))) as Piece;
    expect([end.totalBytes, end.bytes.length]).toEqual([bytes, 3]);
    // It is shorter in the store than its manifest says.
    const { key } = partOf(snapshot.manifest, 'data');
    const stored = world.store.objects.get(key)!;
    world.store.objects.set(key, { ...stored, content: stored.content.subarray(0, 10) });
    await expect(given.piece(request(snapshot))).rejects.toMatchObject({ code: 'OBJECT_DAMAGED' });
  });

  test('the newest few, and also those that it has from a peer itself', async () => {
    const world = new World();
    const snapshots: Taken[] = [];
    for (let i = 0; i < 6; i++) snapshots.push(await world.snapshot(5));
    expect(await world.peers.given.piece(request(snapshots[0]!))).toHaveProperty('absent');
    expect(await world.peers.given.piece(request(snapshots[5]!))).toHaveProperty('bytes');
    const installer = world.installer();
    expectMachine(await restored(installer, snapshots[5]!), snapshots[5]!);
    const asked = (part: PieceRequest['part']): Promise<PieceAnswer> => new Promise((resolve) => installer.piece(request(snapshots[5]!, { part }), resolve));
    for (const part of ['manifest', 'state', 'data'] as const) {
      const [own, other] = [await asked(part), await world.peers.given.piece(request(snapshots[5]!, { part }))] as [Piece, Piece];
      expect([own.totalBytes, Buffer.compare(own.bytes, other.bytes)]).toEqual([other.totalBytes, 0]);
    }
    expect(await new Promise((resolve) => installer.piece(request(snapshots[4]!), resolve))).toHaveProperty('absent');
  });

  test('a manifest as often as it is asked for, though what it gives goes to another thread and is gone here', async () => {
    const world = new World();
    const snapshot = await world.snapshot();
    await world.fetched().fetch(snapshot);
    // As after a restart: the manifest is read from this disk.
    const installer = world.installer();
    await restored(installer, snapshot);
    for (let i = 0; i < 2; i++) {
      const { bytes, totalBytes } = await new Promise<Piece>((resolve) => installer.piece(request(snapshot, { part: 'manifest' }), (answer) => resolve(answer as Piece)));
      expect([bytes.length, totalBytes]).toEqual([encodeManifest(snapshot.manifest).length, bytes.length]);
      const { buffer } = bytes as Uint8Array<ArrayBuffer>;
      structuredClone(buffer, { transfer: [buffer] });
    }
  });
});

describe('a node that has no store with the snapshot in it', () => {
  const stores: [string, (() => Promise<ObjectStore>) | undefined][] = [['none at all', undefined], ['one of its own', () => Promise.resolve(new MemoryStore())]];

  test.each(stores)('%s: starts from a peer, and again from its own copy', async (_what, openStore) => {
    const world = new World();
    const snapshot = await world.snapshot();
    expectMachine(await restored(world.installer(openStore), snapshot), snapshot);
    // Restarted, and its peers are gone.
    world.peers.hasPeers = false;
    world.peers.before = () => expect.unreachable();
    const again = world.installer(openStore);
    again.assertCanStart({ index: snapshot.index, term: 1, timeMs: 0 });
    expectMachine(await new Promise<Machine>((resolve) => again.start({ index: snapshot.index, term: 1, timeMs: 0 }, resolve)), snapshot);
    expect(() => again.assertCanStart({ index: 1, term: 1, timeMs: 0 })).not.toThrow();
  });

  test('keeps no copy of before its log', async () => {
    const world = new World();
    const old = await world.snapshot();
    await restored(world.installer(), old);
    const newer = await world.snapshot();
    const machine = await new Promise<Machine>((resolve) => world.installer(() => Promise.resolve(world.store)).start({ index: old.index + 1, term: 1, timeMs: 0 }, resolve));
    expectMachine(machine, newer);
    expect(world.folders()).toEqual([]);
    // Nor what it had begun to fetch.
    const { length } = world.peers.reads;
    world.peers.before = (number) => {
      if (number === length + 5) throw new OperationalError('OBJECT_NOT_FOUND', 'gone');
    };
    expect(await restored(world.installer(), newer)).toBe('gone');
    expect(world.folders()).toHaveLength(1);
    const newest = await world.snapshot();
    await new Promise<Machine>((resolve) => world.installer(() => Promise.resolve(world.store)).start({ index: newest.index, term: 1, timeMs: 0 }, resolve));
    expect(world.folders()).toEqual([]);
  });

  test.each(stores)('%s: cuts its log behind a snapshot that is published, once it has it from a peer', async (_what, openStore) => {
    const world = new World();
    const snapshot = await world.snapshot();
    const found = await new Promise<SnapshotReference>((resolve) => world.installer(openStore).confirm(() => snapshot, resolve));
    expect(found).toBe(snapshot);
    expect(world.fetched().list().map(({ meta }) => meta.index)).toEqual([snapshot.index]);
  });

  test('fetches none that is older than what it has', async () => {
    const world = new World();
    const old = await world.snapshot();
    const newer = await world.snapshot();
    const installer = world.installer();
    await restored(installer, newer);
    const reads = world.peers.reads.length;
    expect(await new Promise((resolve) => installer.confirm(() => old, resolve))).toBe(old);
    expect(world.peers.reads).toHaveLength(reads);
  });

  test('waits for a shared store that does not answer, instead of asking its peers', async () => {
    const world = new World();
    const snapshot = await world.snapshot();
    const down = (): Promise<ObjectStore> => Promise.reject(new OperationalError('OBJECT_STORE_UNREACHABLE', 'down'));
    expect(await restored(world.installer(down), snapshot)).toBe('down');
    expect(world.peers.reads).toEqual([]);
  });

  test('finds what is published once there is a peer to have it from, if there is none yet', async () => {
    const world = new World();
    const snapshot = await world.snapshot();
    world.peers.hasPeers = false;
    const found = new Promise<SnapshotReference>((resolve) => world.installer().confirm(() => snapshot, resolve));
    while (!world.lines.join().includes('its log is not cut')) await new Promise<void>((resolve) => setImmediate(resolve));
    world.peers.hasPeers = true;
    expect(await found).toBe(snapshot);
  });

  test('says so where no peer has it either, and fetches nothing where there are none', async () => {
    const world = new World();
    const snapshot = await world.snapshot();
    world.peers.before = () => {
      throw new OperationalError('OBJECT_NOT_FOUND', 'no peer gives the snapshot');
    };
    expect(await restored(world.installer(), snapshot)).toBe('no peer gives the snapshot');
    world.peers.hasPeers = false;
    world.peers.before = () => expect.unreachable();
    expect(await restored(world.installer(), snapshot)).toMatch(/object-store: none is set/);
  });
});
