// A store with what a snapshotter leaves in it: for tests of what is made of that.
import { createHash } from 'node:crypto';
import { Prng } from '../../src/base/prng.ts';
import type { ObjectStore } from '../../src/ports/object-store.ts';
import { Snapshotter } from '../../src/snapshot/snapshotter.ts';
import { FastClock } from './fast-clock.ts';
import { LogModel, silentLogger, table } from './log-model.ts';

export interface Archived<Store extends ObjectStore = ObjectStore> {
  readonly log: LogModel;
  readonly store: Store;
  readonly random: Prng;
}

/** A cluster's history of some hundred entries, with three snapshots in the store, and all of the log. */
export async function archived<Store extends ObjectStore>(seed: number, store: Store): Promise<Archived<Store>> {
  const random = new Prng(seed);
  const log = new LogModel(random);
  const clock = new FastClock();
  const snapshotter = new Snapshotter({
    clusterId: 'c', store, publisher: log.publisher, clock, logger: silentLogger, table, release: 'test', encryptionKeyId: null,
    sha256: (bytes) => createHash('sha256').update(bytes).digest('hex'), openFeed: () => log.feed(), entropy: { uint32: () => random.below(0x1_0000_0000) },
    rules: { logBytes: 1e9, intervalMs: 1e9, archiveIntervalMs: 2000, retention: { windowMs: Infinity, snapshotsMin: 1, unpublishedMs: 1e9 } },
  });
  const ended = snapshotter.run();
  const until = async (condition: () => boolean): Promise<void> => {
    while (!condition()) await Promise.race([new Promise((resolve) => setImmediate(resolve)), ended.then(() => { throw new Error('ended'); })]);
  };
  for (let round = 0; round < 4; round++) {
    for (let part = 0; part < 4; part++) {
      log.write(random.between(5, 25));
      await until(() => snapshotter.progress()?.archivedIndex === log.lastIndex);
    }
    if (round === 3) break;
    log.orders = { snapshotIndexMin: log.lastIndex };
    await until(() => log.published.length > round);
  }
  await until(() => snapshotter.progress()?.archivedIndex === log.lastIndex);
  snapshotter.stop();
  await ended;
  clock.close();
  return { log, store, random };
}
