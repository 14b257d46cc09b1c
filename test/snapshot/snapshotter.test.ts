// The snapshotter over a log that grows and a store that fails or crashes the process at every step in turn.
import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import type { MemberAddress } from '../../src/base/configuration.ts';
import { OperationalError } from '../../src/base/errors.ts';
import { Prng } from '../../src/base/prng.ts';
import { allCommands } from '../../src/commands/all.ts';
import type { CommandContext } from '../../src/commands/context.ts';
import { CommandTable } from '../../src/commands/table.ts';
import { digestText } from '../../src/machine/machine.ts';
import type { ObjectStore } from '../../src/ports/object-store.ts';
import type { Publisher } from '../../src/ports/publisher.ts';
import { readCatalog, segmentChain } from '../../src/snapshot/catalog.ts';
import { encodeManifest } from '../../src/snapshot/manifest.ts';
import { readSegment } from '../../src/snapshot/segments.ts';
import { Snapshotter } from '../../src/snapshot/snapshotter.ts';
import type { SnapshotterOptions, SnapshotterRules } from '../../src/snapshot/snapshotter-options.ts';
import { loadSnapshot, soundSnapshots } from '../../src/snapshot/stored-snapshot.ts';
import { freshSeed } from '../adapters/temp-dir.ts';
import { FastClock } from './fast-clock.ts';
import { LogModel, silentLogger, silentReport, table } from './log-model.ts';
import { Crash, FAULTS, type Fault, Faults, FaultyStore, MemoryStore } from './memory-store.ts';

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const HOUR = 3_600_000;
const RULES: SnapshotterRules = {
  logBytes: 1e9,
  intervalMs: HOUR,
  archiveIntervalMs: 2000,
  retention: { windowMs: Infinity, snapshotsMin: 2, unpublishedMs: HOUR },
};

interface Started {
  readonly snapshotter: Snapshotter;
  readonly ended: Promise<unknown>;
}

class World {
  readonly clock = new FastClock();
  readonly store = new MemoryStore(() => this.clock.wallMs());
  readonly random: Prng;
  readonly log: LogModel;
  readonly rules: SnapshotterRules;

  constructor(seed: number, rules: Partial<SnapshotterRules> = {}) {
    this.random = new Prng(seed);
    this.log = new LogModel(this.random);
    this.rules = { ...RULES, ...rules };
  }

  start(store: ObjectStore = this.store, publisher: Publisher = this.log.publisher, more: Partial<SnapshotterOptions> = {}): Started {
    const snapshotter = new Snapshotter({
      clusterId: 'c', store, publisher, clock: this.clock, logger: silentLogger, table, release: 'test', encryptionKeyId: null, sha256,
      openFeed: () => this.log.feed(), entropy: { uint32: () => this.random.below(0x1_0000_0000) }, rules: this.rules, ...more,
    });
    // What it ended with, or undefined.
    return { snapshotter, ended: snapshotter.run().then(() => undefined, (thrown: unknown) => thrown) };
  }

  /** Until `condition`, or the snapshotter has ended; that is an error unless it crashed. Says whether it came. */
  async until(what: string, started: Started, condition: () => boolean): Promise<boolean> {
    let end: { thrown: unknown } | undefined;
    void started.ended.then((thrown) => { end = { thrown }; });
    for (let turns = 0; turns < 100_000; turns++) {
      if (condition()) return true;
      if (end !== undefined) {
        if (end.thrown instanceof Crash) return false;
        throw new Error(`${what}: the snapshotter ended`, { cause: end.thrown });
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
    throw new Error(`${what}: waited too long; ${JSON.stringify(this.log.progress)}`);
  }

  async stop(started: Started): Promise<void> {
    started.snapshotter.stop();
    expect(await started.ended).toBeUndefined();
  }

  get publishedIndex(): number {
    return this.log.published.at(-1)?.index ?? 0;
  }

  order(): void {
    this.log.orders = { snapshotIndexMin: this.log.lastIndex };
  }

  /** Has a snapshot of `entries` entries in the store, and behind it some more of the log. */
  async fill(entries: number): Promise<void> {
    this.log.write(entries);
    this.order();
    const started = this.start();
    await this.until('published', started, () => this.publishedIndex > 0);
    this.log.write(20);
    await this.until('archived', started, () => this.log.progress?.archivedIndex === this.log.lastIndex);
    await this.stop(started);
  }

  /** Everything that must hold of the store at any moment. */
  async check(): Promise<void> {
    const catalog = await readCatalog(this.store, 'c');
    const sound = soundSnapshots(catalog).reverse();
    for (const { manifest } of sound) {
      const machine = await loadSnapshot(this.store, manifest, { table, report: silentReport });
      expect(digestText(machine.digest())).toBe(this.log.digests[manifest.index]);
    }
    const newest = this.log.published.at(-1);
    if (newest !== undefined) {
      const found = sound.find(({ index }) => index === newest.index);
      expect(found, 'the newest published snapshot is in the store').toBeDefined();
      expect(sha256(encodeManifest(found!.manifest))).toBe(newest.manifestSha256);
      expect(newest.digest).toBe(this.log.digests[newest.index]);
    }
    const chain = segmentChain(catalog.segments, sound[0]?.index ?? 0);
    expect(chain.hasGap).toBe(false);
    expect(chain.lastIndex).toBeGreaterThanOrEqual(newest?.index ?? 0);
    for (const { key } of chain.segments) {
      const { header, entries } = await readSegment(await this.store.get(key), key);
      let index = header.firstIndex;
      for await (const entry of entries) expect(Buffer.from(entry).equals(this.log.entries[index++ - 1]!)).toBe(true);
    }
  }
}

function withPut(store: ObjectStore, put: ObjectStore['put']): ObjectStore {
  const { location } = store;
  return {
    location, put,
    get: (key, options) => store.get(key, options), head: (key) => store.head(key), list: (prefix, options) => store.list(prefix, options),
    delete: (key) => store.delete(key), removeLeftovers: (olderThanMs) => store.removeLeftovers(olderThanMs), close: () => {},
  };
}

/** A table whose first SET of the key "flipped" stores a value with one bit turned over. */
function flippingTable(): CommandTable {
  let isDone = false;
  return new CommandTable(allCommands.map((spec) => (spec.name !== 'set' ? spec : {
    ...spec,
    handler: (context: CommandContext): void => {
      const { args } = context;
      const flips = !isDone && args.latin1(1) === 'flipped';
      // What the entry says stays as it is: the archive has it.
      const flip = (): void => void (args.bytes[args.start(2)]! ^= 1);
      if (flips) flip();
      spec.handler(context);
      if (flips) flip();
      isDone ||= flips;
    },
  })));
}

describe('the snapshotter', () => {
  test('a store in which nothing may be deleted is no trouble of the snapshots; once it may, what is old goes', async () => {
    const world = new World(freshSeed(), { retention: { windowMs: 0, snapshotsMin: 1, unpublishedMs: 0 } });
    const { store } = world;
    let isForbidden = true;
    let refused = 0;
    const locked: ObjectStore = {
      ...withPut(store, (key, source, options) => store.put(key, source, options)),
      delete: (key) => {
        if (!isForbidden) return store.delete(key);
        refused++;
        return Promise.reject(new OperationalError('OBJECT_STORE_REFUSED', 'no deletions here; ask'));
      },
    };
    const started = world.start(locked);
    for (let round = 0; round < 3; round++) {
      world.log.write(30);
      world.order();
      const wanted = world.log.lastIndex;
      await world.until('published', started, () => world.publishedIndex >= wanted);
    }
    await world.until('refused', started, () => refused > 2);
    expect(world.log.progress).toMatchObject({ state: 'following', fault: '' });
    isForbidden = false;
    const has = (index: number): boolean => [...store.objects.keys()].some((key) => key.includes(`/snapshots/${String(index).padStart(16, '0')}-`));
    await world.until('deleted', started, () => !has(world.log.published[0]!.index));
    expect(has(world.publishedIndex)).toBe(true);
    await world.check();
    await world.stop(started);
  });

  test('archives what is committed, makes a snapshot when asked, and goes on from it', async () => {
    const seed = freshSeed();
    const world = new World(seed);
    world.log.write(40);
    let started = world.start();
    await world.until('archived', started, () => world.log.progress?.archivedIndex === world.log.lastIndex);
    expect(world.log.published).toEqual([]);
    for (let round = 0; round < 3; round++) {
      world.log.write(30);
      world.order();
      const wanted = world.log.lastIndex;
      await world.until(`published, seed ${seed}`, started, () => world.publishedIndex >= wanted);
      await world.check();
      if (round === 1) {
        await world.stop(started);
        started = world.start();
      }
    }
    expect(world.log.published.length).toBe(3);
    await world.stop(started);
  });

  test('makes one when enough was logged, and when the last one is old and something has changed', async () => {
    const world = new World(freshSeed(), { logBytes: 20_000 });
    const started = world.start();
    while (world.log.entries.reduce((sum, { length }) => sum + length, 0) < 25_000) world.log.write(1);
    await world.until('the first', started, () => world.publishedIndex > 0);
    const first = world.publishedIndex;
    await world.until('hours', started, () => world.clock.wallMs() > 1_700_000_000_000 + 3 * HOUR);
    // The log has grown by the record of the publishing, the data have not changed.
    expect(world.publishedIndex).toBe(first);
    world.log.run(0, ['SET', 'changed', 'yes']);
    await world.until('an old one', started, () => world.publishedIndex > first);
    expect(world.log.published.length).toBe(2);
    await world.check();
    await world.stop(started);
  });

  test('a checkpoint that does not match ends it with a clear text, and nothing is published', async () => {
    const world = new World(freshSeed());
    world.log.checkpoint();
    world.log.write(10);
    world.log.checkpoint({ wrongBy: 1 });
    world.order();
    const { ended } = world.start();
    const thrown = await ended;
    expect(thrown).toBeInstanceOf(OperationalError);
    expect((thrown as Error).message).toMatch(/checkpoint at index \d+ has digest [0-9a-f]{16}, and replaying the log to there gives [0-9a-f]{16}/);
    expect(world.log.published).toEqual([]);
    expect(soundSnapshots(await readCatalog(world.store, 'c'))).toEqual([]);
  });

  test('a machine in which one bit has flipped never publishes: neither a manifest nor a record, whatever comes behind it', async () => {
    for (const mends of [false, true]) {
      const world = new World(freshSeed());
      await world.fill(40);
      const before = [...world.store.objects.keys()].filter((key) => key.includes('/snapshots/'));
      const { log } = world;
      const published = log.published.length;
      log.run(0, ['SET', 'flipped', 'value']);
      world.order();
      // The leader writes it anew behind the checkpoint at which the snapshot is cut, before the one that is to confirm that.
      const asked = new Set<number>();
      const publisher: Publisher = {
        publish: (snapshot) => log.publisher.publish(snapshot),
        report: (progress) => {
          asked.add(progress.checkpointBehind);
          if (mends && asked.size === 3) log.run(0, ['SET', 'flipped', 'anew']);
          return log.publisher.report(progress);
        },
      };
      const { ended } = world.start(world.store, publisher, { table: flippingTable() });
      const thrown = await ended;
      expect(thrown).toMatchObject({ code: 'SNAPSHOT', message: expect.stringMatching(/checkpoint at index \d+ has digest [0-9a-f]{16}, and replaying the log to there gives [0-9a-f]{16}: that is not the cluster's data, so nothing is published.*Begin again/) as string });
      // It was written, and gone again with it; whoever waits hears why.
      expect(asked.size).toBe(3);
      expect([...world.store.objects.keys()].filter((key) => key.includes('/snapshots/'))).toEqual(before);
      expect(log.published.length).toBe(published);
      expect(log.progress).toMatchObject({ fault: (thrown as Error).message, checkpointBehind: 0 });
      // With a memory that holds, another begins from the last published one.
      world.order();
      const wanted = log.lastIndex;
      const again = world.start();
      await world.until('published', again, () => world.publishedIndex >= wanted);
      await world.check();
      await world.stop(again);
    }
  });

  test('nothing is published before a checkpoint has confirmed it, however long none comes, which is told', async () => {
    const world = new World(freshSeed());
    const { log } = world;
    log.run(0, ['SET', 'a', '1']);
    log.givesCheckpoints = false;
    world.order();
    const started = world.start();
    const manifests = (): number => [...world.store.objects.keys()].filter((key) => key.endsWith('manifest.json')).length;
    const sayIt = /a snapshot waits for a checkpoint of the log behind entry \d+, and none comes/;
    await world.until('told', started, () => sayIt.test(log.progress?.fault ?? ''));
    expect(log.progress!.checkpointBehind).toBe(log.lastIndex);
    // One with a command behind it in the same entry is none to be cut at.
    log.checkpoint({ then: ['SET', 'b', '2'] });
    const passed = log.lastIndex;
    await world.until('passed', started, () => log.progress?.appliedIndex === passed);
    log.checkpoint();
    const cut = log.lastIndex;
    await world.until('written', started, () => log.progress?.state === 'verifying' && log.progress.checkpointBehind === cut);
    await world.until('told again', started, () => sayIt.test(log.progress?.fault ?? ''));
    expect([manifests(), log.published.length, log.progress!.snapshotIndex]).toEqual([0, 0, 0]);
    log.checkpoint();
    await world.until('published', started, () => world.publishedIndex === cut);
    await world.until('told', started, () => log.progress?.fault === '' && log.progress.snapshotIndex === cut && log.progress.checkpointBehind === 0);
    await world.check();
    await world.stop(started);
  });

  test('a snapshot of which the next checkpoint says nothing, as of a new leader, is not published, and made again', async () => {
    const world = new World(freshSeed());
    const { log } = world;
    log.write(30);
    log.checkpoint();
    log.run(0, ['SET', 'a', '1']);
    log.givesCheckpoints = false;
    world.order();
    const started = world.start();
    await world.until('asked', started, () => (log.progress?.checkpointBehind ?? 0) > 0);
    const before = log.machine.lastCheckpointIndex;
    log.checkpoint();
    const cut = log.lastIndex;
    await world.until('written', started, () => log.progress?.state === 'verifying');
    log.checkpoint({ previous: before });
    await world.until('given up', started, () => /says nothing of the one at entry/.test(log.progress?.fault ?? ''));
    expect([...world.store.objects.keys()].filter((key) => key.includes('/snapshots/'))).toEqual([]);
    log.givesCheckpoints = true;
    await world.until('published', started, () => world.publishedIndex > cut);
    expect(log.published.length).toBe(1);
    await world.check();
    await world.stop(started);
  });

  test('tells who the members are as soon as the log says it, and at its start from what is archived', async () => {
    const world = new World(freshSeed());
    const told: string[] = [];
    const membersChanged = (members: readonly MemberAddress[]): void => void told.push(members.map(({ name }) => name).join(' '));
    let isStuck = false;
    const { store } = world;
    const sticking = withPut(store, (key, source, options) => (isStuck ? new Promise(() => {}) : store.put(key, source, options)));
    let started = world.start(sticking, world.log.publisher, { membersChanged });
    world.log.write(10);
    world.log.configure('n1', 'n2');
    world.order();
    await world.until('published', started, () => world.publishedIndex > 0);
    expect(told).toEqual(['n1 n2']);
    await world.until('archived', started, () => world.log.progress?.archivedIndex === world.log.lastIndex);
    // Also while nothing can be archived, and so nothing is applied.
    isStuck = true;
    world.log.configure('n2', 'n3');
    await world.until('told', started, () => told.length === 2);
    await world.stop(started);
    // From the snapshot, then from the log.
    isStuck = false;
    started = world.start(sticking, world.log.publisher, { membersChanged });
    await world.until('told', started, () => told.length === 4);
    expect(told).toEqual(['n1 n2', 'n2 n3', 'n1 n2', 'n2 n3']);
    await world.stop(started);
    // The members of another cluster with the same id are nobody's business.
    const anew = new LogModel(new Prng(freshSeed()));
    anew.write(5);
    const another = world.start(store, anew.publisher, { openFeed: () => anew.feed(), membersChanged });
    await world.until('told', another, () => /reaches to entry/.test(anew.progress?.fault ?? ''));
    expect(told.length).toBe(4);
    await world.stop(another);
  });

  test('a log that was cut behind the archive ends it and says what to do; one with a seed goes on from there', async () => {
    const world = new World(freshSeed());
    world.log.write(50);
    world.log.cut = 30;
    const { ended } = world.start();
    expect(await ended).toMatchObject({ code: 'LOG_CUT', message: expect.stringMatching(/ends at entry 0.*copy cluster-c\/ from the old one/s) as string });
  });

  test('an archive of another log under the same id is left alone, whether that log is shorter or longer', async () => {
    const world = new World(freshSeed());
    await world.fill(80);
    const before = new Map(world.store.objects);
    // The cluster was made anew: its log begins at 1 once more.
    const anew = new LogModel(new Prng(freshSeed()));
    anew.write(30);
    anew.orders = { snapshotIndexMin: 10 };
    const started = world.start(world.store, anew.publisher, { openFeed: () => anew.feed() });
    await world.until('told', started, () => /reaches to entry \d+, and the log of n1 only to 32/.test(anew.progress?.fault ?? ''));
    anew.write(200);
    expect(await started.ended).toMatchObject({ code: 'SNAPSHOT', message: expect.stringMatching(/is of another log: entry \d+ is there of term.*move the old folder away/) as string });
    expect(anew.published).toEqual([]);
    expect([...world.store.objects]).toEqual([...before]);
    // Where nothing is archived behind the snapshot, its own last entry is looked for.
    for (const key of before.keys()) if (key.endsWith('.segment')) world.store.objects.delete(key);
    expect(await world.start(world.store, anew.publisher, { openFeed: () => anew.feed() }).ended).toMatchObject({ code: 'SNAPSHOT' });
    expect(anew.published).toEqual([]);
  });

  test('a log that was cut right behind the archive goes on', async () => {
    const world = new World(freshSeed());
    world.log.write(60);
    world.order();
    let started = world.start();
    await world.until('archived', started, () => world.publishedIndex > 0 && world.log.progress?.archivedIndex === world.log.lastIndex);
    await world.stop(started);
    world.log.cut = world.log.lastIndex;
    started = world.start();
    world.log.write(10);
    world.order();
    const wanted = world.log.lastIndex;
    await world.until('published', started, () => world.publishedIndex >= wanted);
    await world.stop(started);
  });

  test('a damaged segment is archived again from the log; a damaged snapshot is passed over', async () => {
    const world = new World(freshSeed());
    await world.fill(60);
    const { segments, snapshots } = await readCatalog(world.store, 'c');
    world.store.damage(segments.at(-1)!.key, 200);
    world.store.damage(snapshots.at(-1)!.manifest!.parts[0]!.key, 100);
    world.store.damage(segments[0]!.key, 200);
    world.order();
    const wanted = world.log.lastIndex;
    const started = world.start();
    await world.until('published again', started, () => world.publishedIndex >= wanted);
    await world.stop(started);
    const { manifest } = soundSnapshots(await readCatalog(world.store, 'c'))[0]!;
    const machine = await loadSnapshot(world.store, manifest, { table, report: silentReport });
    expect(digestText(machine.digest())).toBe(world.log.digests[manifest.index]);
  });

  test('a damaged segment that was archived again is whole: it is not asked for once more from a log that is cut', async () => {
    const world = new World(freshSeed());
    world.log.write(60);
    let started = world.start();
    await world.until('archived', started, () => world.log.progress?.archivedIndex === world.log.lastIndex);
    await world.stop(started);
    const { store, log } = world;
    const last = (await readCatalog(store, 'c')).segments.at(-1)!;
    store.damage(last.key, 200);
    world.order();
    let spoilt = 0;
    let again = 0;
    // The snapshot fails, so that another run begins, after the log has been cut.
    const spoiling = withPut(store, async (key, source, options) => {
      const result = await store.put(key, source, options);
      if (key === last.key && again++ === 0) log.cut = last.lastIndex;
      if (key.endsWith('data.rdb') && spoilt++ === 0) store.damage(key, 200);
      return result;
    });
    started = world.start(spoiling);
    await world.until('published', started, () => world.publishedIndex > 0);
    expect([again, spoilt]).toEqual([1, 2]);
    await world.stop(started);
  });

  test('a snapshot that does not hold when it is loaded again is never published', async () => {
    const world = new World(freshSeed());
    world.log.write(60);
    world.order();
    let spoilt = 0;
    const { store } = world;
    const spoiling = withPut(store, async (key, source, options) => {
      const result = await store.put(key, source, options);
      if (key.endsWith('data.rdb') && spoilt++ < 2) store.damage(key, 200);
      return result;
    });
    const started = world.start(spoiling);
    await world.until('published', started, () => world.publishedIndex > 0);
    expect(spoilt).toBe(3);
    await world.check();
    await world.stop(started);
  });

  test('while the store fails, the lag grows and is told; memory stays bounded; then everything follows', async () => {
    const world = new World(freshSeed());
    let failing = true;
    const { store } = world;
    const flaky = withPut(store, (key, source, options) => (failing ? Promise.reject(new OperationalError('OBJECT_STORE_FULL', 'no room; make some')) : store.put(key, source, options)));
    world.log.write(60);
    const started = world.start(flaky);
    await world.until('lag', started, () => (world.log.progress?.archiveLagMs ?? 0) > 60_000);
    expect(world.log.progress).toMatchObject({ state: 'waiting for the object store', fault: 'no room; make some', archivedIndex: 0 });
    failing = false;
    await world.until('archived', started, () => world.log.progress?.archivedIndex === world.log.lastIndex);
    await world.until('told', started, () => world.log.progress?.fault === '' && world.log.progress.archiveLagMs === 0);
    await world.check();
    await world.stop(started);
  });
});

/** Two snapshots with writes before each; with short retention, so that things are deleted. */
async function scenario(seed: number, at: number, fault: Fault): Promise<number> {
  const world = new World(seed, { retention: { windowMs: 0, snapshotsMin: 1, unpublishedMs: 0 } });
  const faults = new Faults(at, fault);
  const publisher: Publisher = {
    publish: (snapshot) => faults.step('publish', () => world.log.publisher.publish(snapshot)),
    report: (progress) => world.log.publisher.report(progress),
  };
  let started = world.start(new FaultyStore(world.store, faults), publisher);
  const again = async (): Promise<void> => {
    await world.check();
    started = world.start();
  };
  for (let round = 0; round < 2; round++) {
    world.log.write(25);
    // A few segments each round.
    const written = world.log.lastIndex;
    while (!(await world.until('archived', started, () => (started.snapshotter.progress()?.archivedIndex ?? 0) >= written))) await again();
    world.log.write(5);
    world.order();
    const wanted = world.log.lastIndex;
    while (!(await world.until('published', started, () => world.publishedIndex >= wanted))) await again();
  }
  const oldest = async (): Promise<number> => soundSnapshots(await readCatalog(world.store, 'c')).at(-1)?.index ?? 0;
  for (let turns = 0; turns < 2000 && (await oldest()) !== world.publishedIndex; turns++) await new Promise((resolve) => setImmediate(resolve));
  await world.check();
  await world.stop(started).catch(() => {});
  world.clock.close();
  return faults.steps;
}

/** Every step goes wrong in every run of this test, each in one of the ways; which one differs from run to run. */
test('whichever step fails or crashes, the snapshotter goes on, and all that is published holds', { timeout: 180_000 }, async () => {
  const seed = freshSeed();
  const steps = await scenario(seed, 0, 'fails');
  expect(steps).toBeGreaterThan(40);
  for (let at = 1; at <= steps; at++) {
    const fault = FAULTS[(at + seed) % FAULTS.length]!;
    await scenario(seed, at, fault).catch((thrown: unknown) => {
      throw new Error(`seed ${seed}, step ${at} of ${steps} ${fault}`, { cause: thrown });
    });
  }
});
