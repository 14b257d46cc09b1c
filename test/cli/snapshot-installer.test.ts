// What a node starts from, and what it does where a store fails in the middle, lies, or lacks something.
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { LocalSums } from '../../src/adapters/byte-sums.ts';
import { NodeClock } from '../../src/adapters/node-clock.ts';
import { OperationalError } from '../../src/base/errors.ts';
import type { LogBase } from '../../src/base/log-base.ts';
import { Prng } from '../../src/base/prng.ts';
import { StoredSnapshots } from '../../src/cli/snapshot-installer.ts';
import { digestText, type Machine } from '../../src/machine/machine.ts';
import type { ByteSums } from '../../src/ports/byte-sums.ts';
import type { SnapshotReference } from '../../src/ports/link.ts';
import type { GetOptions, ObjectBody, ObjectStore } from '../../src/ports/object-store.ts';
import { encodeReference } from '../../src/replica/snapshot-reference.ts';
import { manifestKey } from '../../src/snapshot/catalog.ts';
import { SnapshotWriter } from '../../src/snapshot/machine-snapshot.ts';
import { encodeManifest } from '../../src/snapshot/manifest.ts';
import { encodeRestoreMeta, RestoreFile } from '../../src/snapshot/restore-files.ts';
import { writeSnapshot } from '../../src/snapshot/stored-snapshot.ts';
import { freshSeed, tempDir } from '../adapters/temp-dir.ts';
import { LogModel, silentReport, table } from '../snapshot/log-model.ts';
import { MemoryStore } from '../snapshot/memory-store.ts';

const ATTEMPT = 'abcdef0123456789';
const at = (index: number): LogBase => ({ index, term: 1, timeMs: 0 });

/** Every get breaks off after so many chunks, until it has failed so often. */
class BrokenStore extends MemoryStore {
  failures = 0;
  chunksEach = 3;
  readonly ranges: (number | undefined)[] = [];

  override async get(key: string, options: GetOptions = {}): Promise<ObjectBody> {
    const { range, ...rest } = options;
    const whole = await super.get(key, rest);
    if (range === undefined) return whole;
    this.ranges.push(range.from);
    const broken = (): boolean => this.failures-- > 0;
    const limit = this.chunksEach;
    async function* part(): AsyncGenerator<Uint8Array> {
      let passed = 0;
      let sent = 0;
      for await (const chunk of whole) {
        const from = Math.max(0, range!.from - passed);
        passed += chunk.length;
        if (from >= chunk.length) continue;
        if (sent++ === limit && broken()) throw new OperationalError('OBJECT_STORE_UNREACHABLE', 'the connection broke');
        yield chunk.subarray(from);
      }
    }
    const body = part();
    return { info: whole.info, [Symbol.asyncIterator]: () => body };
  }
}

class World {
  readonly seed = freshSeed();
  readonly log = new LogModel(new Prng(this.seed));
  readonly store = new BrokenStore();
  readonly dir = tempDir();
  readonly lines: string[] = [];
  readonly installer = this.make(() => Promise.resolve(this.store));

  make(openStore: (() => Promise<ObjectStore>) | undefined, sums?: () => ByteSums): StoredSnapshots {
    const note = (fields: object, message: string): void => void this.lines.push(`${message} ${JSON.stringify(fields)}`);
    const logger = { debug: note, info: note, warn: note, error: note };
    return new StoredSnapshots({ dir: this.dir, clusterId: 'c', openStore, table, report: silentReport, accessClockMs: () => 0, clock: new NodeClock(), logger, ...(sums === undefined ? {} : { sums }) });
  }

  /** Takes a snapshot of the log as it is, into the store. */
  async snapshot(): Promise<SnapshotReference & { readonly digest: string }> {
    const { machine } = this.log;
    const { manifest } = await writeSnapshot(this.store, machine, { clusterId: 'c', attempt: ATTEMPT, release: 'test', encryptionKeyId: null, createdMs: 0 }, () => {});
    const bytes = encodeManifest(manifest);
    const key = manifestKey('c', manifest.index, ATTEMPT);
    await this.store.put(key, [bytes]);
    const { index, term, digest } = manifest;
    const manifestSha256 = createHash('sha256').update(bytes).digest('hex');
    return { index, term, digest, reference: encodeReference({ index, term, manifestKey: key, manifestSha256, digest, timeMs: 1 }) };
  }

  /** Into restore/ of the data directory. */
  local(clusterId = 'c'): number {
    const { machine } = this.log;
    const writer = new SnapshotWriter(machine, 0);
    const chunks: Uint8Array[] = [];
    for (let chunk = writer.next(); chunk !== undefined; chunk = writer.next()) chunks.push(chunk);
    fs.mkdirSync(path.join(this.dir, RestoreFile.folder));
    fs.writeFileSync(path.join(this.dir, RestoreFile.rdb), Buffer.concat(chunks));
    fs.writeFileSync(path.join(this.dir, RestoreFile.sidecar), writer.sidecar());
    const { appliedIndex: index, appliedTerm: term, timeMs } = machine;
    fs.writeFileSync(path.join(this.dir, RestoreFile.meta), encodeRestoreMeta({ clusterId, index, term, timeMs, digest: digestText(machine.digest()) }));
    return index;
  }

  started(base: LogBase, installer = this.installer): Promise<Machine> {
    return new Promise((resolve) => installer.start(base, resolve));
  }

  restored(snapshot: SnapshotReference): Promise<Machine | string> {
    return new Promise((resolve) => this.installer.restore(snapshot, resolve));
  }
}

describe('a node starts', () => {
  test('from the newest snapshot, or an older one where that is damaged', async () => {
    const world = new World();
    world.log.write(40);
    const first = await world.snapshot();
    world.log.write(40);
    const second = await world.snapshot();
    expect((await world.started(at(first.index))).appliedIndex).toBe(second.index);
    world.store.damage(`cluster-c/snapshots/${String(second.index).padStart(16, '0')}-${ATTEMPT}/data.rdb`, 500);
    const machine = await world.started(at(first.index));
    expect([machine.appliedIndex, digestText(machine.digest())]).toEqual([first.index, first.digest]);
  });

  test('from restore/ where nothing newer is in the store, or the store fails, or there is none', async () => {
    const world = new World();
    world.log.write(30);
    const index = world.local();
    const none = world.make(undefined);
    none.assertCanStart(at(index));
    expect((await world.started(at(index), none)).appliedIndex).toBe(index);
    expect((await world.started(at(index), world.make(() => Promise.reject(new OperationalError('OBJECT_STORE_UNREACHABLE', 'down'))))).appliedIndex).toBe(index);
    world.log.write(30);
    const stored = await world.snapshot();
    expect((await world.started(at(index))).appliedIndex).toBe(stored.index);
  });

  test('never from restore/ of before its log, which is removed, or of another cluster, which is not', async () => {
    const world = new World();
    world.log.write(30);
    const index = world.local();
    expect(() => world.make(undefined).assertCanStart(at(index + 1))).toThrow(/object-store: the log in .* begins behind entry/);
    world.log.write(30);
    const stored = await world.snapshot();
    expect((await world.started(at(index + 1))).appliedIndex).toBe(stored.index);
    expect(fs.existsSync(path.join(world.dir, RestoreFile.folder))).toBe(false);
    const foreign = new World();
    foreign.log.write(5);
    const foreignIndex = foreign.local('other');
    expect(() => foreign.make(undefined).assertCanStart(at(foreignIndex))).toThrow(OperationalError);
  });

  test('from the store where restore/ is only half there, or damaged', async () => {
    for (const damage of [
      (dir: string) => fs.writeFileSync(path.join(dir, RestoreFile.meta), '{"format": 1, "clu'),
      (dir: string) => fs.rmSync(path.join(dir, RestoreFile.sidecar)),
      (dir: string) => fs.truncateSync(path.join(dir, RestoreFile.rdb), 100),
      (dir: string) => fs.rmSync(path.join(dir, RestoreFile.meta)),
    ]) {
      const world = new World();
      world.log.write(30);
      const index = world.local();
      const stored = await world.snapshot();
      damage(world.dir);
      world.installer.assertCanStart(at(index));
      expect((await world.started(at(index))).appliedIndex).toBe(stored.index);
    }
  });

  test('from another one where checksums differ, though all that was loaded is right, or cannot be added up', async () => {
    const world = new World();
    world.log.write(200);
    const index = world.local();
    const stored = await world.snapshot();
    const whole = new LocalSums();
    whole.addNow(fs.readFileSync(path.join(world.dir, RestoreFile.rdb)));
    const { crc64, sha256 } = whole.finishNow();
    let closed = 0;
    class WrongSums extends LocalSums {
      constructor(readonly wrong: Partial<Awaited<ReturnType<ByteSums['finish']>>>) {
        super();
      }
      override finish(): ReturnType<ByteSums['finish']> {
        return Promise.resolve({ ...this.finishNow(), ...this.wrong });
      }
      override close(): void {
        closed++;
      }
    }
    class FailingSums extends LocalSums {
      override add(): Promise<void> {
        return Promise.reject(new Error('the thread is gone'));
      }
      override close(): void {
        closed++;
      }
    }
    expect(stored.index).toBe(index);
    const cases: [() => LocalSums, RegExp][] = [
      [() => new FailingSums(), /the thread is gone/],
      [() => new WrongSums({ crc64: crc64.replace(/.$/, (digit) => (digit === '0' ? '1' : '0')) }), /the file’s checksum does not match its bytes, at byte \d+/],
      [() => new WrongSums({ sha256: sha256.replace(/.$/, (digit) => (digit === '0' ? '1' : '0')) }), /does not have the SHA-256 that its manifest says/],
    ];
    for (const [wrong, reason] of cases) {
      world.lines.length = 0;
      const before = closed;
      // The file in restore/, whose SHA-256 nobody knows, then the object; what is left is read again once neither will do.
      if (reason.source.includes('SHA')) fs.rmSync(path.join(world.dir, RestoreFile.folder), { recursive: true });
      let made = 0;
      const installer = world.make(() => Promise.resolve(world.store), () => (made++ < 2 ? wrong() : new LocalSums()));
      expect((await world.started(at(index), installer)).appliedIndex).toBe(index);
      expect(closed - before).toBe(2);
      expect(world.lines.join()).toMatch(reason);
    }
  });

  test('once there is a snapshot, however long that takes', async () => {
    const world = new World();
    world.log.write(30);
    const starting = world.started(at(10));
    while (!world.lines.some((line) => line.includes('has none that it can use yet'))) await new Promise((resolve) => setImmediate(resolve));
    const { index } = await world.snapshot();
    expect((await starting).appliedIndex).toBe(index);
  });
});

describe('a snapshot that the leader names', () => {
  test('is loaded, going on where the store failed', async () => {
    const world = new World();
    world.log.write(400);
    const snapshot = await world.snapshot();
    world.store.failures = 3;
    const machine = await world.restored(snapshot);
    if (typeof machine === 'string') throw new Error(`seed ${world.seed}: ${machine}`);
    expect([machine.appliedIndex, digestText(machine.digest())]).toEqual([snapshot.index, snapshot.digest]);
    expect(world.store.ranges).toEqual([0, 30_000, 60_000, 90_000].slice(0, world.store.ranges.length));
    expect(world.store.ranges.length).toBeGreaterThan(1);
  });

  test('is refused where it is not the one that was named, or not whole', async () => {
    const world = new World();
    world.log.write(30);
    const snapshot = await world.snapshot();
    expect(await world.restored({ ...snapshot, index: snapshot.index + 1 })).toMatch(/was named/);
    expect(await world.restored({ ...snapshot, reference: Buffer.from('{}') })).toMatch(/in a way that this release does not know/);
    world.store.damage(`cluster-c/snapshots/${String(snapshot.index).padStart(16, '0')}-${ATTEMPT}/data.rdb`, 300);
    expect(typeof (await world.restored(snapshot))).toBe('string');
    await world.store.delete(manifestKey('c', snapshot.index, ATTEMPT));
    expect(await world.restored(snapshot)).toMatch(/is not there/);
  });
});

describe('a snapshot that the log says is published', () => {
  const looked = async (world: World, text: string): Promise<void> => {
    while (!world.lines.some((line) => line.includes(text))) await new Promise((resolve) => setImmediate(resolve));
  };

  test('is confirmed when all of it is there, however long that takes', async () => {
    const world = new World();
    world.log.write(30);
    const snapshot = await world.snapshot();
    const key = `cluster-c/snapshots/${String(snapshot.index).padStart(16, '0')}-${ATTEMPT}/data.rdb`;
    const whole = world.store.objects.get(key)!;
    world.store.objects.set(key, { ...whole, content: whole.content.subarray(1) });
    const confirmed = new Promise<SnapshotReference>((resolve) => world.installer.confirm(() => snapshot, resolve));
    await looked(world, 'its log is not cut');
    world.store.objects.set(key, whole);
    expect(await confirmed).toBe(snapshot);
  });

  test('is not, where the record is made up, of another entry, or too new for this release', async () => {
    const world = new World();
    world.log.write(30);
    const snapshot = await world.snapshot();
    const manifest = manifestKey('c', snapshot.index, ATTEMPT);
    const data = `cluster-c/snapshots/${String(snapshot.index).padStart(16, '0')}-${ATTEMPT}/data.rdb`;
    const madeUp = (manifestKey: string, sha = 'ab'.repeat(32)): SnapshotReference => ({
      ...snapshot, reference: encodeReference({ index: snapshot.index, term: 1, manifestKey, manifestSha256: sha, digest: '0'.repeat(16), timeMs: 1 }),
    });
    world.log.write(30);
    const whole = await world.snapshot();
    world.store.objects.set(data, { ...world.store.objects.get(data)!, content: new Uint8Array(2 ** 21) });
    const cases: [SnapshotReference, string][] = [
      [madeUp('nothing/there'), 'is not there'],
      [madeUp('../../identity.json'), ''],
      [madeUp(manifest), ''],
      [madeUp(data), 'is no manifest: it has 2097152 bytes'],
      [{ ...snapshot, index: snapshot.index + 1 }, 'was named'],
      [{ ...snapshot, term: snapshot.term + 1 }, 'was named'],
    ];
    for (const [reference, reason] of cases) {
      world.lines.length = 0;
      let wanted = reference;
      const found = new Promise<SnapshotReference>((resolve) => world.installer.confirm(() => wanted, resolve));
      await looked(world, reason === '' ? 'its log is not cut' : reason);
      // It goes on with what is published meanwhile.
      wanted = whole;
      expect(await found).toBe(whole);
    }
    world.lines.length = 0;
    world.make(undefined).confirm(() => snapshot, () => expect.unreachable());
    expect(world.lines.join()).toMatch(/no object store to find it in/);
  });
});
