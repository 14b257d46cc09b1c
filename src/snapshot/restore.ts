// Going back to a moment: from the object store of a cluster, the machine as it was after a given entry, or at a given time. The newest
// snapshot at or before the target is loaded, and the archived log behind it replayed up to there.
//
// What must hold:
// - The result is exactly the log's prefix: every entry up to the target and none behind it. At a time: every entry whose log
//   time is not after it.
// - What the store cannot give is an error that says how far it reaches; nothing near the target is given instead. A time behind
//   the end of the archive is taken for that end, and said to be.
// - A snapshot or a segment that does not hold is passed over where others lead to the same place.
import { assert } from '../base/assert.ts';
import { entryIndex, entryTimeMs } from '../base/entry.ts';
import { OperationalError } from '../base/errors.ts';
import { digestText, Machine } from '../machine/machine.ts';
import type { Logger } from '../ports/logger.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import { DamagedSegment, damageOf, openSegment } from './archiver.ts';
import { type Catalog, hasManifest, readCatalog, segmentChain, type StoredSegment } from './catalog.ts';
import { readSegmentHeader, SEGMENT_HEADER_BYTES, type SegmentHeader } from './segments.ts';
import { applyEntry, ReplayReport, upkeep } from './replay.ts';
import { isSnapshotFault, loadSnapshot, type MachineMaking, soundSnapshots, type SoundSnapshot } from './stored-snapshot.ts';

/** Entries between two looks after memory and the terminal. */
const SLICE_ENTRIES = 200;

export type RestoreTarget = { readonly kind: 'index'; readonly index: number } | { readonly kind: 'time'; readonly timeMs: number };

export interface RestorePlan {
  readonly target: RestoreTarget;
  /** undefined: the log is replayed from its first entry. */
  readonly snapshot: SoundSnapshot | undefined;
  /** Behind it, up to the one that holds the target's entry. */
  readonly segments: readonly StoredSegment[];
  /** Where the archive ends without a gap. */
  readonly reachesTo: number;
}

export interface RestoreEvents {
  /** Bytes of the snapshot, or of the segments, in all and so far. */
  progress(phase: 'loading' | 'replaying', done: number, total: number): void;
}

export interface Restored {
  readonly machine: Machine;
  readonly plan: RestorePlan;
  readonly digest: string;
  readonly entriesReplayed: number;
  /** The first entry that is left out, if there is one in the archive. */
  readonly next: { readonly index: number; readonly timeMs: number } | undefined;
  /** The target is a time behind the last archived entry. */
  readonly endsEarly: boolean;
}

export class Restore {
  readonly #store: ObjectStore;
  readonly #clusterId: string;
  readonly #making: MachineMaking & { readonly report: ReplayReport };
  readonly #logger: Logger;
  readonly #timeText: (ms: number) => string;
  /** Of objects that do not hold. */
  readonly #damaged = new Set<string>();

  /** `timeText`: a log time in words of people. */
  constructor(store: ObjectStore, clusterId: string, table: MachineMaking['table'], logger: Logger, timeText: (ms: number) => string) {
    this.#timeText = timeText;
    this.#store = store;
    this.#clusterId = clusterId;
    this.#making = { table, report: new ReplayReport(logger) };
    this.#logger = logger;
  }

  /** What would be done. */
  async plan(target: RestoreTarget): Promise<RestorePlan> {
    return this.#plan(await readCatalog(this.#store, this.#clusterId), target);
  }

  async run(target: RestoreTarget, events: RestoreEvents): Promise<Restored> {
    const catalog = await readCatalog(this.#store, this.#clusterId);
    for (;;) {
      const plan = await this.#plan(catalog, target);
      const machine = await this.#load(plan, events);
      const restored = machine === undefined ? undefined : await this.#replay(machine, plan, events);
      if (restored !== undefined) return restored;
    }
  }

  /** Without what does not hold, as far as that shows in the heads of segments. */
  async #plan(catalog: Catalog, target: RestoreTarget): Promise<RestorePlan> {
    for (;;) {
      try {
        return await this.#planOnce(catalog, target);
      } catch (thrown) {
        if (!(thrown instanceof DamagedSegment)) throw thrown;
        this.#leaveOut(thrown);
      }
    }
  }

  async #planOnce(catalog: Catalog, target: RestoreTarget): Promise<RestorePlan> {
    const segments = catalog.segments.filter(({ key }) => !this.#damaged.has(key));
    const sound = soundSnapshots(catalog).filter(({ folder }) => !this.#damaged.has(folder));
    const isBefore = ({ manifest }: SoundSnapshot): boolean => (target.kind === 'index' ? manifest.index <= target.index : manifest.timeMs <= target.timeMs);
    const snapshot = sound.find(isBefore);
    const chain = segmentChain(segments, snapshot?.index ?? 0);
    const { lastIndex } = chain;
    if (snapshot === undefined && lastIndex === 0) throw this.#outOfReach(catalog, target, sound.at(-1));
    // Whatever was stored of a later entry says that there were some: also what does not hold.
    const isCutShort = [...catalog.segments.map((one) => one.lastIndex), ...catalog.snapshots.map(({ index }) => index)].some((index) => index > lastIndex);
    if (target.kind === 'index' && lastIndex < target.index) {
      throw new OperationalError('SNAPSHOT', `${this.#what} reaches to entry ${lastIndex}${isCutShort ? ', behind which entries are missing' : ''}, not to ${target.index}; choose an earlier one`);
    }
    if (target.kind === 'time' && isCutShort && !(await this.#hasEntryBehind(chain.segments, target.timeMs))) {
      throw new OperationalError('SNAPSHOT', `${this.#what} has no entries behind ${lastIndex} until later ones: that moment may lie in what is missing; choose an earlier one, or --to-index ${lastIndex}`);
    }
    const last = target.kind === 'index' ? target.index : await this.#lastSegmentIndex(chain.segments, target.timeMs);
    return { target, snapshot, segments: chain.segments.filter(({ firstIndex }) => firstIndex <= last), reachesTo: lastIndex };
  }

  get #what(): string {
    return `what ${this.#store.location} has of cluster ${this.#clusterId}`;
  }

  #outOfReach({ snapshots }: Catalog, target: RestoreTarget, oldest: SoundSnapshot | undefined): OperationalError {
    const unreadable = snapshots.filter((one) => hasManifest(one) && one.manifest === undefined);
    const newest = unreadable.at(-1);
    const why = newest === undefined ? '' : `; ${unreadable.length} snapshots there cannot be used, the newest because: ${newest.fault ?? ''}`;
    if (oldest === undefined) return new OperationalError('SNAPSHOT', `${this.#what} is no snapshot that holds and no log from the beginning; check --from, --cluster and --key-file${why}`);
    const { index, timeMs } = oldest.manifest;
    const wanted = target.kind === 'index' ? `entry ${target.index}` : this.#timeText(target.timeMs);
    return new OperationalError('SNAPSHOT', `${this.#what} reaches back to entry ${index} of ${this.#timeText(timeMs)}, not to ${wanted}; choose a later one${why}`);
  }

  /** The chain goes beyond this time: so all up to it is there. */
  async #hasEntryBehind(segments: readonly StoredSegment[], timeMs: number): Promise<boolean> {
    const last = segments.at(-1);
    return last !== undefined && (await this.#header(last)).lastTimeMs > timeMs;
  }

  /** Last index of the segment in which the entries up to this time end: the last one that begins at or before it. */
  async #lastSegmentIndex(segments: readonly StoredSegment[], timeMs: number): Promise<number> {
    let low = 0;
    let high = segments.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const segment = segments[middle];
      assert(segment !== undefined, 'a segment of the chain');
      if ((await this.#header(segment)).firstTimeMs <= timeMs) low = middle + 1;
      else high = middle;
    }
    // The one behind is looked into as well: it begins after the time, and so tells which entry comes next.
    return segments[low]?.firstIndex ?? segments.at(-1)?.lastIndex ?? 0;
  }

  async #header({ key }: StoredSegment): Promise<SegmentHeader> {
    try {
      return await readSegmentHeader(await this.#store.get(key, { range: { from: 0, to: SEGMENT_HEADER_BYTES } }), key);
    } catch (thrown) {
      throw damageOf(key, thrown);
    }
  }

  #leaveOut({ key, message }: DamagedSegment): void {
    this.#logger.warn({ segment: key, reason: message }, 'an archived segment does not hold: the restore is tried without it');
    this.#damaged.add(key);
  }

  /** Undefined where the snapshot does not hold: it is left out of the next plan. */
  async #load({ snapshot }: RestorePlan, events: RestoreEvents): Promise<Machine | undefined> {
    if (snapshot === undefined) return new Machine(this.#making.table, this.#making.report, () => 0);
    try {
      return await loadSnapshot(this.#store, snapshot.manifest, this.#making, (done, total) => events.progress('loading', done, total));
    } catch (thrown) {
      if (!isSnapshotFault(thrown)) throw thrown;
      this.#logger.warn({ folder: snapshot.folder, reason: thrown.message }, 'a snapshot in the object store cannot be loaded: an older one is taken');
      this.#damaged.add(snapshot.folder);
      return undefined;
    }
  }

  /** Undefined where a segment does not hold: it is left out of the next plan. */
  async #replay(machine: Machine, plan: RestorePlan, events: RestoreEvents): Promise<Restored | undefined> {
    const { target } = plan;
    const isBehind = (entry: Uint8Array): boolean => (target.kind === 'index' ? entryIndex(entry) > target.index : entryTimeMs(entry) > target.timeMs);
    const total = plan.segments.reduce((sum, { storedBytes }) => sum + storedBytes, 0);
    const from = machine.appliedIndex;
    let next: Restored['next'];
    let bytes = 0;
    for (const segment of plan.segments) {
      try {
        const entries = await openSegment(this.#store, this.#clusterId, segment);
        for (let step = await entries.next(); step.done !== true; step = await entries.next()) {
          const entry = step.value;
          bytes += entry.length;
          if (entryIndex(entry) <= machine.appliedIndex) continue;
          if (isBehind(entry)) {
            next = { index: entryIndex(entry), timeMs: entryTimeMs(entry) };
            break;
          }
          applyEntry(machine, entry, segment.key);
          this.#making.report.check();
          if (machine.appliedIndex % SLICE_ENTRIES !== 0) continue;
          upkeep(machine);
          events.progress('replaying', bytes, total);
        }
        await entries.return?.();
      } catch (thrown) {
        const damage = damageOf(segment.key, thrown);
        if (!(damage instanceof DamagedSegment)) throw thrown;
        this.#leaveOut(damage);
        return undefined;
      }
      if (next !== undefined) break;
    }
    if (!machine.bootstrapped) throw new OperationalError('SNAPSHOT', `at that point the cluster had nothing yet: its log began after it; choose a later one`);
    // Who the members of the old cluster were; the new one has its own.
    machine.configuration = undefined;
    const endsEarly = target.kind === 'time' && next === undefined;
    return { machine, plan, digest: digestText(machine.digest()), entriesReplayed: machine.appliedIndex - from, next, endsEarly };
  }
}

/**
 * Makes of a restored machine what a cluster of its own begins with: that cluster has published nothing. The record of the old one
 * names an object in the old one's part of the store, which is not this cluster's to hand to its members, nor to keep.
 */
export function beginNewCluster(machine: Machine): void {
  machine.publishing.restore(undefined);
}
