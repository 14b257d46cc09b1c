import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { openDirectoryStore } from '../../src/adapters/directory-store.ts';
import { EncryptedStore } from '../../src/adapters/encrypted-store.ts';
import { EncryptionKeys } from '../../src/adapters/encryption-keys.ts';
import { Prng } from '../../src/base/prng.ts';
import type { ObjectStore } from '../../src/ports/object-store.ts';
import { deleteAll, listClusters, manifestKey, planRetention, readCatalog, segmentChain, segmentKey, snapshotFolder, verifyParts } from '../../src/snapshot/catalog.ts';
import type { Catalog, RetentionRules, StoredSegment, StoredSnapshot } from '../../src/snapshot/catalog.ts';
import { encodeManifest } from '../../src/snapshot/manifest.ts';
import type { SnapshotManifest } from '../../src/snapshot/manifest.ts';
import { freshSeed, tempDir } from '../adapters/temp-dir.ts';

const HOUR = 3_600_000;
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

function manifestOf(index: number, attempt: string, timeMs: number, body = new Uint8Array(10)): SnapshotManifest {
  const key = `${snapshotFolder('c', index, attempt)}data.rdb`;
  return { clusterId: 'c', index, term: 1, timeMs, machineVersion: 1, digest: '00'.repeat(8), createdMs: timeMs, release: '0', encryptionKeyId: null, parts: [{ name: 'data', key, bytes: body.length, sha256: sha256(body) }] };
}

function stored(index: number, timeMs: number, state: 'whole' | 'no manifest' | 'unreadable' = 'whole', attempt = 'aaaaaaaa'): StoredSnapshot {
  const folder = snapshotFolder('c', index, attempt);
  const keys = state === 'no manifest' ? [`${folder}data.rdb`] : [`${folder}data.rdb`, `${folder}manifest.json`];
  return {
    folder, index, modifiedMs: timeMs, manifest: state === 'whole' ? manifestOf(index, attempt, timeMs) : undefined, fault: state === 'whole' ? undefined : state,
    objects: keys.map((key) => ({ key, storedBytes: 1, modifiedMs: timeMs })),
  };
}

const segment = (firstIndex: number, lastIndex: number): StoredSegment => ({ key: segmentKey('c', firstIndex, lastIndex), firstIndex, lastIndex, storedBytes: 1, modifiedMs: 0 });

/** A snapshot every 100 entries and an hour, a segment every 10 entries. */
function regular(snapshots: number): Catalog {
  return {
    snapshots: Array.from({ length: snapshots }, (_, i) => stored(100 * (i + 1), HOUR * (i + 1))),
    segments: Array.from({ length: 10 * snapshots + 5 }, (_, i) => segment(10 * i + 1, 10 * i + 10)),
  };
}

const rules: RetentionRules = { windowMs: 3 * HOUR, snapshotsMin: 1, unpublishedMs: HOUR / 2 };
const indexesOf = (snapshots: readonly StoredSnapshot[]): number[] => snapshots.map(({ index }) => index);

describe('what may be deleted', () => {
  test('keeps the window: the snapshot before its start, all after it, and the segments behind that one', () => {
    const plan = planRetention(regular(10), 1000, rules, 10.5 * HOUR);
    // The window begins at 7.5 h: a restore to that moment starts from the snapshot of 7 h.
    expect(indexesOf(plan.kept)).toEqual([700, 800, 900, 1000]);
    expect(plan.reachesBackToMs).toBe(7 * HOUR);
    expect(plan.warnings).toEqual([]);
    expect(plan.deletions.filter((key) => key.includes('/log/'))).toEqual(Array.from({ length: 70 }, (_, i) => segmentKey('c', 10 * i + 1, 10 * i + 10)));
    expect(plan.deletions.slice(0, 4)).toEqual([manifestKey('c', 100, 'aaaaaaaa'), `${snapshotFolder('c', 100, 'aaaaaaaa')}data.rdb`, manifestKey('c', 200, 'aaaaaaaa'), `${snapshotFolder('c', 200, 'aaaaaaaa')}data.rdb`]);
    expect(plan.deletions.findIndex((key) => key.includes('/log/'))).toBe(12);
  });

  test('the newest published stays, however old; so do as many as are asked for', () => {
    const short = { ...rules, windowMs: 0 };
    expect(indexesOf(planRetention(regular(10), 1000, short, 1000 * HOUR).kept)).toEqual([1000]);
    expect(indexesOf(planRetention(regular(10), 1000, { ...short, snapshotsMin: 4 }, 1000 * HOUR).kept)).toEqual([700, 800, 900, 1000]);
    expect(indexesOf(planRetention(regular(2), 200, { ...rules, snapshotsMin: 5 }, 1000 * HOUR).kept)).toEqual([100, 200]);
  });

  test('a clock that jumps ahead does not empty the store: the window is counted from the newest snapshot then', () => {
    expect(indexesOf(planRetention(regular(10), 1000, rules, 1000 * HOUR).kept)).toEqual([700, 800, 900, 1000]);
    expect(indexesOf(planRetention(regular(10), 1000, rules, 5 * HOUR).kept)).toEqual([200, 300, 400, 500, 600, 700, 800, 900, 1000]);
  });

  test('of several attempts at the newest index all stay, and count once: the log names one of them', () => {
    const { snapshots, segments } = regular(4);
    const attempts = [stored(400, 4 * HOUR, 'whole', 'bbbbbbbb'), stored(400, 4 * HOUR, 'whole', 'cccccccc')];
    const catalog = { snapshots: [...snapshots, ...attempts], segments };
    expect(indexesOf(planRetention(catalog, 400, { ...rules, windowMs: 0 }, 5 * HOUR).kept)).toEqual([400, 400, 400]);
    expect(indexesOf(planRetention(catalog, 400, { ...rules, windowMs: 0, snapshotsMin: 2 }, 5 * HOUR).kept)).toEqual([300, 400, 400, 400]);
  });

  test('before anything is published, and where the published one is not to be found, nothing goes', () => {
    expect(planRetention(regular(10), 0, rules, 1000 * HOUR)).toMatchObject({ deletions: [], reachesBackToMs: undefined, warnings: [] });
    const catalog = regular(10);
    for (const lost of [950, 1100]) expect(planRetention(catalog, lost, rules, 1000 * HOUR)).toMatchObject({ deletions: [], warnings: [expect.stringContaining(`index ${lost} is not in the store`)] });
    const damaged = { ...catalog, snapshots: [...catalog.snapshots.slice(0, 9), stored(1000, 10 * HOUR, 'unreadable')] };
    expect(planRetention(damaged, 1000, rules, 1000 * HOUR).deletions).toEqual([]);
  });

  test('what is on its way stays until it is old and left behind', () => {
    const { snapshots, segments } = regular(10);
    const at = (nowMs: number, extra: StoredSnapshot[], published = 1000): string[] => {
      const all = [...snapshots, ...extra].sort((a, b) => a.index - b.index);
      return planRetention({ snapshots: all, segments }, published, rules, nowMs).deletions.filter((key) => key.includes('bbbbbbbb'));
    };
    const half = stored(950, 10 * HOUR, 'no manifest', 'bbbbbbbb');
    expect(at(10.4 * HOUR, [half])).toEqual([]);
    expect(at(10.6 * HOUR, [half])).toHaveLength(1);
    expect(at(99 * HOUR, [stored(1050, 10 * HOUR, 'no manifest', 'bbbbbbbb')])).toEqual([]);
    expect(at(99 * HOUR, [stored(1050, 10 * HOUR, 'whole', 'bbbbbbbb')])).toEqual([]); // verified, its record not seen yet
    expect(at(99 * HOUR, [stored(650, 6.5 * HOUR, 'whole', 'bbbbbbbb')])).toHaveLength(2); // an attempt that lost counts as a snapshot
  });

  test('a snapshot whose manifest cannot be read is kept through the window, with the log behind it, and told of', () => {
    const { snapshots, segments } = regular(10);
    const catalog = { snapshots: snapshots.map((one) => (one.index === 1000 ? one : stored(one.index, one.modifiedMs, 'unreadable'))), segments: segments.slice(1) };
    const plan = planRetention(catalog, 1000, rules, 10.5 * HOUR);
    expect(indexesOf(plan.kept)).toEqual([700, 800, 900, 1000]);
    expect(plan.deletions.filter((key) => key.includes('/log/')).at(-1)).toBe(segmentKey('c', 691, 700));
    expect(plan.warnings).toHaveLength(9);
    expect(plan.warnings[0]).toContain('does not hold: unreadable');
    // With the log from its first entry on, there is a way to every moment of the window: it stays.
    expect(planRetention({ ...catalog, segments }, 1000, rules, 10.5 * HOUR).deletions.filter((key) => key.includes('/log/'))).toEqual([]);
  });

  test('whatever the catalog: stopping anywhere leaves every moment of the window within reach', () => {
    for (const seed of [2453698824, freshSeed()]) demandWindow(seed);
  });
});

function demandWindow(seed: number): void {
  const prng = new Prng(seed);
  for (let round = 0; round < 300; round++) {
    const count = prng.between(1, 12);
    const snapshots: StoredSnapshot[] = [];
    let [index, timeMs] = [0, 0];
    for (let i = 0; i < count; i++) {
      index += prng.between(1, 50);
      timeMs += prng.between(0, 2 * HOUR);
      snapshots.push(stored(index, timeMs, prng.pick(['whole', 'whole', 'no manifest', 'unreadable']), prng.pick(['aaaaaaaa', 'bbbbbbbb'])));
    }
    const segments: StoredSegment[] = [];
    for (let first = 1; first <= index + 20;) {
      const last = first + prng.between(0, 20);
      segments.push(segment(first, last));
      first = last + 1 - Math.min(prng.below(3), last - first);
    }
    const whole = snapshots.filter(({ manifest }) => manifest !== undefined);
    const published = whole.length === 0 ? 0 : prng.pick(whole).index;
    const nowMs = timeMs + prng.below(5 * HOUR);
    const own = { windowMs: prng.below(8 * HOUR), snapshotsMin: prng.between(1, 4), unpublishedMs: prng.below(3 * HOUR) };
    const where = `seed ${seed}, round ${round}`;
    const plan = planRetention({ snapshots, segments }, published, own, nowMs);
    if (published === 0) {
      expect(plan.deletions, where).toEqual([]);
      continue;
    }
    const bases = whole.filter((one) => one.index <= published);
    for (const stop of new Set([0, prng.below(plan.deletions.length + 1), plan.deletions.length])) {
      const gone = new Set(plan.deletions.slice(0, stop));
      const left = bases.filter(({ objects }) => !objects.some(({ key }) => gone.has(key)));
      const segmentsLeft = segments.filter(({ key }) => !gone.has(key));
      expect(indexesOf(left), where).toContain(published);
      expect(left.length, where).toBeGreaterThanOrEqual(Math.min(own.snapshotsMin, bases.length));
      // Every snapshot that is left leads on to the end of the archive.
      for (const one of left) expect(segmentChain(segmentsLeft, one.index).lastIndex, where).toBe(Math.max(...segments.map(({ lastIndex }) => lastIndex)));
      // The moment at which the window begins has a snapshot at or before it, if it ever had one.
      const startMs = nowMs - own.windowMs;
      if (bases.some(({ manifest }) => manifest!.timeMs <= startMs)) expect(left.some(({ manifest }) => manifest!.timeMs <= startMs), where).toBe(true);
    }
  }
}

describe('the chain of segments', () => {
  test('takes the furthest of those that overlap, and stops at a gap', () => {
    const list = [segment(1, 10), segment(5, 8), segment(5, 20), segment(11, 15), segment(21, 30), segment(32, 40)];
    const chain = segmentChain(list, 0);
    expect(chain.segments.map(({ firstIndex, lastIndex }) => [firstIndex, lastIndex])).toEqual([[1, 10], [5, 20], [21, 30]]);
    expect(chain).toMatchObject({ lastIndex: 30, hasGap: true });
    expect(segmentChain(list, 12).segments.map(({ lastIndex }) => lastIndex)).toEqual([20, 30]);
    expect(segmentChain(list, 31)).toMatchObject({ lastIndex: 40, hasGap: false });
    expect(segmentChain(list, 40)).toEqual({ segments: [], lastIndex: 40, hasGap: false });
    expect(segmentChain([segment(5, 9)], 3)).toEqual({ segments: [], lastIndex: 3, hasGap: true });
    expect(segmentChain([], 7)).toEqual({ segments: [], lastIndex: 7, hasGap: false });
  });
});

describe('the catalog of a store', () => {
  async function publish(store: ObjectStore, index: number, attempt: string, timeMs = index): Promise<SnapshotManifest> {
    const body = new Uint8Array(300_000).fill(index);
    const manifest = manifestOf(index, attempt, timeMs, body);
    await store.put(manifest.parts[0]!.key, [body]);
    await store.put(manifestKey('c', index, attempt), [encodeManifest(manifest)]);
    return manifest;
  }

  test('finds snapshots and segments, whole and not, and carries a plan out', async () => {
    const store = await openDirectoryStore(tempDir());
    expect(await readCatalog(store, 'c')).toEqual({ snapshots: [], segments: [] });
    const first = await publish(store, 10, 'aaaaaaaa');
    await publish(store, 20, 'aaaaaaaa');
    await store.put(`${snapshotFolder('c', 20, 'bbbbbbbb')}data.rdb`, [new Uint8Array(5)]);
    await publish(store, 30, 'cccccccc');
    await store.delete(`${snapshotFolder('c', 30, 'cccccccc')}data.rdb`);
    for (const [a, b] of [[1, 12], [13, 25], [26, 40]] as const) await store.put(segmentKey('c', a, b), [new Uint8Array(3)]);
    await store.put('cluster-_other/log/foreign', [new Uint8Array(3)]);
    await store.put('elsewhere', [new Uint8Array(3)]);
    expect(await listClusters(store)).toEqual(['_other', 'c']);
    const catalog = await readCatalog(store, 'c');
    expect(catalog.snapshots.map(({ index, fault, manifest }) => [index, manifest?.index, fault])).toEqual([
      [10, 10, undefined], [20, 20, undefined], [20, undefined, expect.stringContaining('it has no manifest')], [30, undefined, expect.stringContaining('data.rdb is missing')],
    ]);
    expect(catalog.segments.map(({ firstIndex, lastIndex }) => [firstIndex, lastIndex])).toEqual([[1, 12], [13, 25], [26, 40]]);
    let bytes = 0;
    await verifyParts(store, first, (count) => { bytes += count; });
    expect(bytes).toBe(300_000);
    await store.put(first.parts[0]!.key, [new Uint8Array(300_000)]);
    await expect(verifyParts(store, first)).rejects.toMatchObject({ code: 'OBJECT_DAMAGED' });
    const plan = planRetention(catalog, 20, { windowMs: 0, snapshotsMin: 1, unpublishedMs: 0 }, Date.now() + HOUR);
    await deleteAll(store, plan.deletions);
    const after = await readCatalog(store, 'c');
    expect(after.snapshots.map(({ folder }) => folder)).toEqual([snapshotFolder('c', 20, 'aaaaaaaa'), snapshotFolder('c', 20, 'bbbbbbbb'), snapshotFolder('c', 30, 'cccccccc')]);
    expect(after.segments.map(({ firstIndex }) => firstIndex)).toEqual([13, 26]);
  });

  test('a key that is missing from the key file loses no snapshot', async () => {
    const dir = tempDir();
    const keys = (...ids: string[]): EncryptionKeys => new EncryptionKeys(ids.map((id, i) => `${id} ${String(i + 1).padStart(64, '0')}`).join('\n'), 'keys');
    const before = new EncryptedStore(await openDirectoryStore(dir), keys('old'));
    await publish(before, 10, 'aaaaaaaa');
    await before.put(segmentKey('c', 1, 10), [new Uint8Array(3)]);
    await before.put(segmentKey('c', 11, 20), [new Uint8Array(3)]);
    const now = new EncryptedStore(await openDirectoryStore(dir), new EncryptionKeys(`new ${'ab'.repeat(32)}`, 'keys'));
    await publish(now, 20, 'aaaaaaaa');
    const catalog = await readCatalog(now, 'c');
    expect(catalog.snapshots[0]).toMatchObject({ index: 10, manifest: undefined, fault: expect.stringContaining('"old"') as string });
    const plan = planRetention(catalog, 20, { windowMs: 0, snapshotsMin: 1, unpublishedMs: 24 * HOUR }, Date.now());
    expect(plan.deletions).toEqual([segmentKey('c', 1, 10)]);
    expect(plan.warnings).toHaveLength(1);
  });
});
