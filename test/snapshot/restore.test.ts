// Going back to a moment: whatever the moment, the result is exactly the log's prefix.
import { describe, expect, test } from 'vitest';
import { OperationalError } from '../../src/base/errors.ts';
import { deleteAll, readCatalog, type StoredSegment } from '../../src/snapshot/catalog.ts';
import { decodeRestoreMeta, encodeRestoreMeta } from '../../src/snapshot/restore-files.ts';
import { Restore, type Restored, type RestoreTarget } from '../../src/snapshot/restore.ts';
import { freshSeed } from '../adapters/temp-dir.ts';
import { archived, type Archived } from './archived.ts';
import { silentLogger, table } from './log-model.ts';
import { MemoryStore } from './memory-store.ts';

const timeText = (ms: number): string => new Date(ms).toISOString();
const events = { progress: () => {} };

const restoreTo = ({ store }: Archived, target: RestoreTarget): Promise<Restored> => new Restore(store, 'c', table, silentLogger, timeText).run(target, events);
const refusal = async (world: Archived, target: RestoreTarget): Promise<string> => {
  const thrown: unknown = await restoreTo(world, target).then(() => undefined, (error: unknown) => error);
  expect(thrown).toBeInstanceOf(OperationalError);
  return (thrown as Error).message;
};

describe('a restore', () => {
  test('to 20 random indexes and 20 random moments gives exactly the prefix', async () => {
    const seed = freshSeed();
    const world = await archived(seed, new MemoryStore());
    const { log, random } = world;
    for (let i = 0; i < 20; i++) {
      const index = random.between(2, log.lastIndex);
      const restored = await restoreTo(world, { kind: 'index', index });
      const where = `seed ${seed}, index ${index}`;
      expect(restored.machine.appliedIndex, where).toBe(index);
      expect(restored.digest, where).toBe(log.digests[index]);
      expect(restored.plan.snapshot?.index ?? 0, where).toBe(Math.max(0, ...log.published.map((one) => one.index).filter((one) => one <= index)));
    }
    const moments = Array.from({ length: 20 }, () => log.timeAt(2) + random.below(log.timeMs - log.timeAt(2) + 1));
    // Moments at which something was written, where one entry too many or too few shows, and those beside them.
    for (let i = 0; i < 10; i++) {
      const timeMs = log.timeAt(random.between(3, log.lastIndex));
      moments.push(timeMs, Math.max(log.timeAt(2), timeMs - 1), timeMs + 1);
    }
    for (const timeMs of moments) {
      const restored = await restoreTo(world, { kind: 'time', timeMs });
      let index = log.lastIndex;
      while (log.timeAt(index) > timeMs) index--;
      const where = `seed ${seed}, time ${timeMs}`;
      expect(restored.machine.appliedIndex, where).toBe(index);
      expect(restored.digest, where).toBe(log.digests[index]);
      expect(restored.endsEarly, where).toBe(index === log.lastIndex);
      expect(restored.next?.index, where).toBe(index === log.lastIndex ? undefined : index + 1);
    }
  });

  test('to what the store does not have is refused, with how far it reaches', async () => {
    const world = await archived(freshSeed(), new MemoryStore());
    const { log, store } = world;
    expect(await refusal(world, { kind: 'index', index: log.lastIndex + 1 })).toContain(`reaches to entry ${log.lastIndex}, not to ${log.lastIndex + 1}`);
    expect(await refusal(world, { kind: 'index', index: 1 })).toContain('had nothing yet');
    const late = await restoreTo(world, { kind: 'time', timeMs: log.timeMs + 5000 });
    expect(late.endsEarly).toBe(true);
    expect(late.digest).toBe(log.digests[log.lastIndex]);
    const first = log.published[0]!.index;
    const { segments } = await readCatalog(store, 'c');
    await deleteAll(store, segments.filter(({ lastIndex }) => lastIndex <= first).map(({ key }) => key));
    expect(await refusal(world, { kind: 'index', index: first - 1 })).toContain(`reaches back to entry ${first} of 20`);
    expect(await refusal(world, { kind: 'time', timeMs: log.timeAt(2) })).toContain('reaches back to');
    // A gap: what is before it is in reach, what is behind it only from a later snapshot.
    const [second, third] = [log.published[1]!.index, log.published[2]!.index];
    const behind = segments.filter(({ firstIndex }) => firstIndex > second)[1]!;
    await deleteAll(store, [behind.key]);
    expect((await restoreTo(world, { kind: 'index', index: behind.firstIndex - 1 })).digest).toBe(log.digests[behind.firstIndex - 1]);
    expect(await refusal(world, { kind: 'index', index: behind.lastIndex })).toContain('behind which entries are missing');
    expect(await refusal(world, { kind: 'time', timeMs: log.timeAt(behind.lastIndex) })).toContain('may lie in what is missing');
    expect((await restoreTo(world, { kind: 'index', index: third + 3 })).digest).toBe(log.digests[third + 3]);
  });

  test('to a moment of which entries may be missing is refused, wherever they are missing', async () => {
    let world: Archived<MemoryStore>;
    let index: number;
    let between: StoredSegment[];
    // A moment between two snapshots, in the last segment before the second of them, at which not all of that segment was there.
    do {
      world = await archived(freshSeed(), new MemoryStore());
      const { log } = world;
      const [, second = 0, third = 0] = log.published.map((one) => one.index);
      between = (await readCatalog(world.store, 'c')).segments.filter(({ firstIndex, lastIndex }) => firstIndex > second && lastIndex <= third);
      const { firstIndex, lastIndex } = between.at(-1)!;
      index = log.entries.findIndex((_, i) => i + 1 >= firstIndex && i + 1 < lastIndex && log.timeAt(i + 1) < log.timeAt(i + 2)) + 1;
    } while (index === 0);
    const { log, store } = world;
    const { segments } = await readCatalog(store, 'c');
    const [second, third] = [log.published[1]!.index, log.published[2]!.index];
    const { lastIndex } = between.at(-1)!;
    const target = { kind: 'time', timeMs: log.timeAt(index) } as const;
    const saved = new Map(store.objects);
    const without = (...keys: string[]): void => {
      store.objects.clear();
      for (const [key, object] of saved) if (!keys.includes(key)) store.objects.set(key, object);
    };
    // Right behind the snapshot: nothing leads on from there.
    without(...between.map(({ key }) => key));
    expect(await refusal(world, target)).toContain(`no entries behind ${second} until later ones`);
    // And where a later snapshot alone tells that there was more.
    without(...segments.filter((one) => one.lastIndex > second).map(({ key }) => key));
    expect(await refusal(world, target)).toContain(`no entries behind ${second} until later ones`);
    // Before the gap all is there.
    without(...segments.filter((one) => one.lastIndex > lastIndex).map(({ key }) => key));
    expect((await restoreTo(world, target)).machine.appliedIndex).toBe(index);
    // A damaged head is as good as no segment.
    without();
    store.damage(between[0]!.key, 20);
    expect(await refusal(world, target)).toContain(`no entries behind ${second} until later ones`);
    expect((await restoreTo(world, { kind: 'time', timeMs: log.timeAt(third + 2) })).digest).not.toBe('');
  });

  test('says why what is there cannot be used, and what encrypted objects need', async () => {
    const world = await archived(freshSeed(), new MemoryStore());
    const { log, store } = world;
    for (const [key, object] of store.objects) {
      if (key.endsWith('manifest.json') || key.endsWith('.segment')) store.objects.set(key, { ...object, content: Buffer.concat([Buffer.from('HOLDENC\x01'), object.content]) });
    }
    expect(await refusal(world, { kind: 'index', index: log.lastIndex })).toMatch(/is encrypted, and no key file is named.*--key-file/);
    for (const key of store.objects.keys()) if (key.endsWith('.segment')) store.objects.delete(key);
    expect(await refusal(world, { kind: 'index', index: log.lastIndex })).toMatch(/3 snapshots there cannot be used, the newest because: .*is encrypted/);
  });

  test('passes over a snapshot and a segment that do not hold where others lead to the same place', async () => {
    const seed = freshSeed();
    const world = await archived(seed, new MemoryStore());
    const { log, store } = world;
    const { snapshots, segments } = await readCatalog(store, 'c');
    store.damage(snapshots[1]!.manifest!.parts[0]!.key, 150);
    const index = snapshots[1]!.index + 3;
    const restored = await restoreTo(world, { kind: 'index', index });
    expect(restored.plan.snapshot?.index).toBe(snapshots[0]!.index);
    expect(restored.digest, `seed ${seed}`).toBe(log.digests[index]);
    const needed = segments.find(({ firstIndex, lastIndex }) => firstIndex <= index && index <= lastIndex)!;
    store.damage(needed.key, 140);
    expect(await refusal(world, { kind: 'index', index })).toMatch(/reaches to entry \d+, behind which entries are missing/);
  });

  test('plans without reading the data', async () => {
    const world = await archived(freshSeed(), new MemoryStore());
    const index = world.log.published[1]!.index + 2;
    const plan = await new Restore(world.store, 'c', table, silentLogger, timeText).plan({ kind: 'index', index });
    expect(plan.snapshot?.index).toBe(world.log.published[1]!.index);
    expect(plan.segments.at(-1)!.lastIndex).toBeGreaterThanOrEqual(index);
    expect(plan.segments.at(-1)!.firstIndex).toBeLessThanOrEqual(index);
    expect(plan.reachesTo).toBe(world.log.lastIndex);
  });
});

test('restore.json comes back as it was, and what is no restore.json is refused', () => {
  const meta = { clusterId: 'c-2', index: 12, term: 3, timeMs: 1000, digest: '0123456789abcdef' };
  expect(decodeRestoreMeta(encodeRestoreMeta(meta), 'x')).toEqual(meta);
  for (const text of ['', '{}', '[]', 'null', encodeRestoreMeta({ ...meta, index: 0 }), encodeRestoreMeta({ ...meta, digest: 'x' }), encodeRestoreMeta(meta).replace('"format":1', '"format":2')]) {
    expect(() => decodeRestoreMeta(text, 'dir/restore.json')).toThrow(/^dir\/restore\.json (is damaged|has format)/);
  }
});
