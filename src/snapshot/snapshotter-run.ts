// One run of the snapshotter's tasks (snapshotter.ts): from one look into the object store until the first task fails.
import { must } from '../base/assert.ts';
import { entryTimeMs } from '../base/entry.ts';
import { OperationalError, errorText } from '../base/errors.ts';
import { Machine } from '../machine/machine.ts';
import type { LogFeed } from '../ports/log-feed.ts';
import type { PublishedSnapshot, SnapshotterProgress, SnapshotterState } from '../ports/publisher.ts';
import { Archiver } from './archiver.ts';
import { type Catalog, hasManifest, manifestKey, readCatalog, segmentChain, snapshotFolder } from './catalog.ts';
import { AwaitedCheckpoint } from './checkpoints.ts';
import { LogMembers } from './log-members.ts';
import { encodeManifest, type SnapshotManifest } from './manifest.ts';
import { backoffMs, isStoreTrouble, Pulse, Retries, Stopped } from './pulse.ts';
import { applyEntry, ReplayReport, upkeep } from './replay.ts';
import { Retention } from './retention.ts';
import { isCut, lastPlace, SameLog } from './same-log.ts';
import { SnapshotSchedule } from './snapshot-schedule.ts';
import type { SnapshotterOptions } from './snapshotter-options.ts';
import { isSnapshotFault, loadMachine, loadSnapshot, partKeys, soundSnapshots, writeSnapshot, type WrittenSnapshot } from './stored-snapshot.ts';

/** The machine applies for so long, and then lets the sockets and the archive have their turn. */
const SLICE_MS = 20;
const REPORT_MS = 1000;
const LOOK_MS = 1000;

/** What outlives one run of the tasks. */
export interface RunMemory {
  /** Segments that do not hold. */
  readonly damaged: Set<string>;
  /** Snapshots that failed in a row. */
  failures: number;
  notBeforeMs: number;
  /** Where the log had been cut already when the feed was begun. */
  cutAt: number;
}

/** Written and loaded again; a later checkpoint record is to say that the leader had this state. */
interface Unconfirmed extends WrittenSnapshot {
  readonly key: string;
  /** Of the machine there (dataOf). */
  readonly data: string;
  /** Of the log since the snapshot before. */
  readonly logBytes: number;
}

export class VerificationFailed extends Error {
  override readonly name = 'VerificationFailed';
  readonly folder: string;
  constructor(folder: string, cause: unknown) {
    super(errorText(cause), { cause });
    this.folder = folder;
  }
}

export class SnapshotterRun {
  readonly #options: SnapshotterOptions;
  readonly #memory: RunMemory;
  readonly #pulse: Pulse;
  readonly #retries: Retries;
  readonly #report: ReplayReport;
  readonly #schedule: SnapshotSchedule;
  readonly #retention: Retention;
  readonly #members: LogMembers;
  #feed: LogFeed | undefined;
  #archiver: Archiver | undefined;
  #sameLog: SameLog | undefined;
  /** Not there while one is loaded. Nothing else may hold it across an await, or two would be in memory. */
  #machine: Machine | undefined;
  #appliedIndex = 0;
  readonly #awaited = new AwaitedCheckpoint();
  #unconfirmed: Unconfirmed | undefined;
  /** Confirmed, with its manifest in the store, and as far as is known not published. */
  #unpublished: PublishedSnapshot | undefined;
  #publishedIndex = 0;
  #state: SnapshotterState = 'starting';
  #commitIndex = 0;
  #bytesDone = 0;
  #bytesTotal = 0;
  #last = { index: 0, ms: 0, bytes: 0, keys: 0 };
  #fault = '';
  #shortLog = '';
  #late = '';

  constructor(options: SnapshotterOptions, memory: RunMemory) {
    const { store, clusterId, logger, clock, rules } = options;
    this.#options = options;
    this.#memory = memory;
    this.#pulse = new Pulse(clock);
    this.#retries = new Retries(this.#pulse, logger);
    this.#report = new ReplayReport(logger);
    this.#schedule = new SnapshotSchedule(rules);
    this.#schedule.notBeforeMs = memory.notBeforeMs;
    this.#members = new LogMembers(options.membersChanged ?? (() => {}));
    this.#retention = new Retention({ store, clusterId, logger, clock, pulse: this.#pulse, rules: rules.retention });
  }

  /** -1 before the store was looked into. */
  get archivedIndex(): number {
    return this.#archiver?.lastIndex ?? -1;
  }

  stop(): void {
    this.#pulse.stop();
    this.#feed?.close();
  }

  progress(): SnapshotterProgress {
    const { fault } = this.#retries;
    return {
      state: this.#state === 'following' && fault !== '' ? 'waiting for the object store' : this.#state,
      appliedIndex: this.#appliedIndex,
      archivedIndex: Math.max(0, this.archivedIndex),
      commitIndex: this.#commitIndex,
      archiveLagMs: Math.round(this.#archiver?.lagMs ?? 0),
      bytesDone: this.#bytesDone,
      bytesTotal: this.#bytesTotal,
      logBytes: this.#schedule.logBytes,
      checkpointBehind: this.#awaited.behind,
      snapshotIndex: this.#last.index,
      snapshotMs: this.#last.ms,
      snapshotBytes: this.#last.bytes,
      snapshotKeys: this.#last.keys,
      fault: fault || this.#shortLog || this.#late || this.#fault,
    };
  }

  /** Rejects with what the first task failed with; Stopped after `stop`. */
  async run(): Promise<void> {
    await this.#together([() => this.#tell(), () => this.#main()]);
  }

  async #main(): Promise<void> {
    await this.#begin();
    const archiver = must(this.#archiver);
    await this.#together([
      () => this.#pump(archiver),
      () => archiver.run(),
      () => this.#follow(archiver),
      () => this.#publish(),
      () => this.#retention.run(() => (this.#sameLog?.proven === true ? this.#publishedIndex : 0)),
    ]);
  }

  /** Runs tasks until one fails, stops the others, waits for them, and rejects with what the first one threw. */
  async #together(tasks: ReadonlyArray<() => Promise<void>>): Promise<void> {
    let first: { readonly thrown: unknown } | undefined;
    const guarded = tasks.map(async (task) => {
      try {
        await task();
        first ??= { thrown: new Stopped('a task has ended') };
      } catch (thrown) {
        // That a task was stopped says nothing where another one says why.
        if (first === undefined || first.thrown instanceof Stopped) first = { thrown };
      }
      this.stop();
    });
    await Promise.all(guarded);
    throw must(first).thrown;
  }

  // The start: the newest snapshot that holds, and what is archived behind it.

  async #begin(): Promise<void> {
    const { store, clusterId, logger, rules } = this.#options;
    const catalog = await this.#retries.run('reading what is in the object store', () => readCatalog(store, clusterId));
    const machine = await this.#restore(catalog);
    const segments = catalog.segments.filter(({ key }) => !this.#memory.damaged.has(key));
    const chain = segmentChain(segments, machine.appliedIndex);
    this.#archiver = new Archiver(
      { clusterId, store, pulse: this.#pulse, retries: this.#retries, logger, intervalMs: rules.archiveIntervalMs, damaged: this.#memory.damaged },
      chain.segments,
      machine.appliedIndex,
    );
    this.#sameLog = new SameLog(await this.#retries.run('looking where the archive ends', () => lastPlace(store, chain.segments, machine)));
    this.#take(machine);
    this.#state = 'following';
    logger.info({ snapshotIndex: this.#last.index, archivedIndex: this.#archiver.lastIndex, store: store.location }, 'following the log');
  }

  async #restore(catalog: Catalog): Promise<Machine> {
    const { store, logger, table, sha256, seed } = this.#options;
    const making = { table, report: this.#report };
    for (const { folder, fault, objects } of catalog.snapshots) {
      if (fault !== undefined && hasManifest({ folder, objects })) logger.error({ folder, reason: fault }, 'a snapshot in the object store cannot be used');
    }
    for (const { manifest, folder } of soundSnapshots(catalog)) {
      try {
        const machine = await this.#retries.run(`loading ${folder}`, () => loadSnapshot(store, manifest, making, this.#counting));
        this.#noteSnapshot(manifest, keysOf(machine), dataOf(machine), 0);
        this.#unpublished = publishedForm(manifest, `${folder}manifest.json`, sha256(encodeManifest(manifest)));
        return machine;
      } catch (thrown) {
        if (!isSnapshotFault(thrown)) throw thrown;
        logger.error({ folder, reason: thrown.message }, 'a snapshot in the object store cannot be loaded: an older one is taken');
      }
    }
    const from = await seed?.();
    if (from === undefined) return new Machine(table, this.#report, () => 0);
    const machine = await loadMachine(from.source, from, making, this.#counting);
    // The store has none: one is due at once.
    this.#schedule.begin(0, 0, '', 0);
    return machine;
  }

  readonly #counting = (bytes: number, total: number): void => {
    this.#bytesDone = bytes;
    this.#bytesTotal = total;
  };

  #noteSnapshot(manifest: SnapshotManifest, keys: number, data: string, logBytes: number): void {
    const { index, createdMs: ms } = manifest;
    this.#last = { index, ms, bytes: bytesOf(manifest), keys };
    this.#schedule.begin(index, ms, data, logBytes);
  }

  #take(machine: Machine): void {
    this.#machine = machine;
    this.#counting(0, 0);
    this.#note(machine);
  }

  #note(machine: Machine): void {
    this.#appliedIndex = machine.appliedIndex;
    this.#publishedIndex = Math.max(this.#publishedIndex, machine.publishing.index);
    this.#members.know(machine.configuration);
  }

  // The tasks.

  async #pump(archiver: Archiver): Promise<void> {
    const feed = this.#options.openFeed();
    this.#feed = feed;
    this.#pulse.check();
    const sameLog = must(this.#sameLog);
    await sameLog.prove(feed, `what ${this.#options.store.location} has of cluster ${this.#options.clusterId}`);
    if (!sameLog.proven) return;
    this.#members.prove();
    this.#pulse.fire();
    try {
      for await (const { entries, commitIndex } of feed.entries(archiver.receivedIndex + 1)) {
        this.#commitIndex = Math.max(this.#commitIndex, commitIndex);
        this.#members.seen(entries);
        await archiver.add(entries);
        archiver.flush(this.#awaited.seen(entries));
      }
    } catch (thrown) {
      if (!isCut(thrown)) throw thrown;
      const { store, clusterId } = this.#options;
      throw new OperationalError(
        'LOG_CUT',
        `${errorText(thrown)}; what ${store.location} has of cluster ${clusterId} ends at entry ${archiver.receivedIndex}, so nothing leads from there to here. ` +
          `Is this the object store that the cluster has used so far? If it is to be a new one, copy cluster-${clusterId}/ from the old one into it first`,
        { cause: thrown },
      );
    }
  }

  async #follow(archiver: Archiver): Promise<void> {
    try {
      for (;;) await this.#step(archiver);
    } catch (thrown) {
      // Above all where the log contradicts it: who begins again would write one more each time.
      if (this.#unconfirmed !== undefined && thrown instanceof OperationalError) await this.#discard(this.#unconfirmed.folder);
      throw thrown;
    }
  }

  /** Applies what is archived, and makes a snapshot when one is due: at the next checkpoint. */
  async #step(archiver: Archiver): Promise<void> {
    const machine = must(this.#machine);
    if (this.#unconfirmed === undefined && this.#awaited.behind === 0 && this.#isSnapshotDue(archiver)) this.#await(archiver);
    if (this.#isDecided(machine)) await this.#decide(must(this.#unconfirmed), machine);
    else if (this.#isToBeCut(machine)) await this.#makeSnapshot(archiver);
    else if (archiver.lastIndex > this.#appliedIndex) await this.#apply(archiver);
    else await this.#pulse.wait(LOOK_MS);
  }

  /** Has the leader asked for a checkpoint behind all that is known of the log. */
  #await(archiver: Archiver): void {
    this.#awaited.ask(archiver.receivedIndex);
    this.#pulse.fire();
  }

  /** A snapshot is due, and the state is one whose digest the next checkpoint record will have. */
  #isToBeCut(machine: Machine): boolean {
    return this.#awaited.behind > 0 && this.#unconfirmed === undefined && machine.appliedIndex > this.#schedule.index && machine.isAtCheckpoint;
  }

  /** A checkpoint record has come behind the one at which the snapshot was cut. */
  #isDecided(machine: Machine): boolean {
    return this.#unconfirmed !== undefined && machine.lastCheckpointIndex > this.#unconfirmed.manifest.index;
  }

  #isSnapshotDue(archiver: Archiver): boolean {
    const machine = must(this.#machine);
    const isCaughtUp = archiver.lastIndex === machine.appliedIndex;
    return machine.bootstrapped && this.#schedule.isDue(this.#options.clock.wallMs(), machine.appliedIndex, isCaughtUp, () => dataOf(machine));
  }

  async #apply(archiver: Archiver): Promise<void> {
    const { clock, store } = this.#options;
    const machine = must(this.#machine);
    let sliceMs = clock.monotonicMs();
    for await (const entry of archiver.read(machine.appliedIndex + 1)) {
      applyEntry(machine, entry, store.location);
      this.#report.check();
      this.#schedule.logBegan(entryTimeMs(entry));
      this.#schedule.logBytes += entry.length;
      this.#note(machine);
      if (this.#isDecided(machine) || this.#isToBeCut(machine)) break;
      if (clock.monotonicMs() - sliceMs < SLICE_MS) continue;
      upkeep(machine);
      await this.#pulse.turn();
      sliceMs = clock.monotonicMs();
    }
    upkeep(machine);
    this.#pulse.fire();
  }

  async #makeSnapshot(archiver: Archiver): Promise<void> {
    const { clock, logger } = this.#options;
    const attempt = this.#attempt();
    const beganMs = clock.monotonicMs();
    // The one that is to confirm it may come while it is written.
    this.#await(archiver);
    const written = await this.#write(attempt);
    if (written === undefined) return this.#awaited.end();
    const writtenMs = clock.monotonicMs();
    await this.#verify(written, attempt);
    const { keys, manifest } = written;
    logger.info(
      { index: manifest.index, keys, bytes: bytesOf(manifest), writeMs: Math.round(writtenMs - beganMs), verifyMs: Math.round(clock.monotonicMs() - writtenMs), folder: written.folder },
      'a snapshot was written, and loaded again as it was written',
    );
  }

  #attempt(): string {
    const { entropy } = this.#options;
    const word = (): string => entropy.uint32().toString(16).padStart(8, '0');
    return word() + word();
  }

  /** Undefined where the store failed: it is tried again later, and the log is followed meanwhile. */
  async #write(attempt: string): Promise<WrittenSnapshot | undefined> {
    const { store, clusterId, release, encryptionKeyId, clock } = this.#options;
    const machine = must(this.#machine);
    const folder = snapshotFolder(clusterId, machine.appliedIndex, attempt);
    this.#state = 'writing';
    try {
      const origin = { clusterId, attempt, release, encryptionKeyId, createdMs: clock.wallMs() };
      const total = this.#last.bytes;
      const written = await writeSnapshot(store, machine, origin, (bytes) => this.#counting(bytes, Math.max(bytes, total)));
      this.#pulse.check();
      return written;
    } catch (thrown) {
      if (!isStoreTrouble(thrown)) throw thrown;
      this.#postpone(errorText(thrown));
      await this.#discard(folder);
      return undefined;
    } finally {
      this.#counting(0, 0);
      this.#state = 'following';
    }
  }

  #postpone(reason: string): void {
    const { clock, logger } = this.#options;
    const waitMs = backoffMs(++this.#memory.failures + 3);
    this.#memory.notBeforeMs = clock.wallMs() + waitMs;
    this.#schedule.notBeforeMs = this.#memory.notBeforeMs;
    logger.warn({ reason, seconds: Math.round(waitMs / 1000) }, 'a snapshot could not be made; it is tried again');
    this.#fault = reason;
  }

  /** Objects without a manifest are nothing; retention finds them where this fails. */
  async #discard(folder: string): Promise<void> {
    for (const key of partKeys(folder)) {
      await this.#options.store.delete(key).catch((thrown: unknown) => {
        if (!(thrown instanceof OperationalError)) throw thrown;
      });
    }
  }

  /** Loads what was written; the machine that comes of it goes on. */
  async #verify({ manifest, folder, keys }: WrittenSnapshot, attempt: string): Promise<void> {
    const { store, table, clusterId } = this.#options;
    const making = { table, report: this.#report };
    this.#machine = undefined;
    this.#state = 'verifying';
    let machine: Machine;
    try {
      machine = await this.#retries.run('loading the new snapshot again', () => loadSnapshot(store, manifest, making, this.#counting));
    } catch (thrown) {
      if (!isSnapshotFault(thrown)) throw thrown;
      await this.#discard(folder);
      throw new VerificationFailed(folder, thrown);
    }
    this.#unconfirmed = { manifest, folder, keys, key: manifestKey(clusterId, manifest.index, attempt), data: dataOf(machine), logBytes: this.#schedule.logBytes };
    this.#take(machine);
  }

  /** The snapshot's manifest is stored once the log has confirmed its digest; a snapshot of which it says nothing is made again. */
  async #decide({ manifest, folder, keys, key, data, logBytes }: Unconfirmed, { confirmedIndex, lastCheckpointIndex: checkpoint }: Machine): Promise<void> {
    const { store, sha256, logger } = this.#options;
    const { index, digest } = manifest;
    this.#awaited.end();
    this.#unconfirmed = undefined;
    if (confirmedIndex === index) {
      const bytes = encodeManifest(manifest);
      const hash = sha256(bytes);
      await this.#retries.run('storing the manifest', () => store.put(key, [bytes], { bytes: bytes.length, sha256: hash }));
      this.#noteSnapshot(manifest, keys, data, this.#schedule.logBytes - logBytes);
      this.#unpublished = publishedForm(manifest, key, hash);
      this.#memory.failures = 0;
      this.#fault = '';
      logger.info({ index, checkpoint, digest }, 'a checkpoint of the log confirms the snapshot');
    } else {
      this.#postpone(`the checkpoint of the log at entry ${checkpoint} says nothing of the one at entry ${index}, as may be when the leader changes; so nothing confirms the snapshot`);
      await this.#discard(folder);
    }
    this.#state = 'following';
    this.#pulse.fire();
  }

  async #publish(): Promise<void> {
    const { publisher, logger } = this.#options;
    for (let failures = 0; ; ) {
      const snapshot = this.#unpublished;
      if (snapshot === undefined || snapshot.index <= this.#publishedIndex || this.#sameLog?.proven !== true) {
        await this.#pulse.wait();
        continue;
      }
      this.#report.check();
      try {
        const outcome = await publisher.publish(snapshot);
        failures = 0;
        if (this.#unpublished === snapshot) this.#unpublished = undefined;
        this.#publishedIndex = Math.max(this.#publishedIndex, snapshot.index);
        if (outcome === 'published') logger.info({ index: snapshot.index, manifest: snapshot.manifestKey }, 'snapshot published');
        this.#pulse.fire();
      } catch (thrown) {
        if (!(thrown instanceof OperationalError)) throw thrown;
        if (++failures === 1) logger.warn({ index: snapshot.index, reason: thrown.message }, 'a snapshot cannot be published now; it is tried again');
        await this.#pulse.sleep(backoffMs(failures));
      }
    }
  }

  /** Says how far things are, and hears what is asked for. */
  async #tell(): Promise<void> {
    const { publisher, logger, clock } = this.#options;
    for (;;) {
      const beganMs = clock.monotonicMs();
      const shortLog = this.#sameLog?.shortLog(this.#feed?.status(), clock.monotonicMs()) ?? '';
      if (shortLog !== '' && this.#shortLog === '') logger.error({ reason: shortLog }, 'the archive is not of this log');
      this.#shortLog = shortLog;
      const late = this.#awaited.fault(this.#appliedIndex, beganMs);
      if (late !== '' && this.#late === '') logger.warn({ reason: late }, 'a snapshot waits for the log');
      this.#late = late;
      const progress = this.progress();
      try {
        this.#schedule.order(await publisher.report(progress));
        this.#archiver?.flush(this.#schedule.wantedIndex);
      } catch (thrown) {
        if (!(thrown instanceof OperationalError)) throw thrown;
      }
      // What is asked for is told at once.
      for (let leftMs = REPORT_MS; leftMs > 0 && this.#awaited.behind === progress.checkpointBehind; leftMs = beganMs + REPORT_MS - clock.monotonicMs()) await this.#pulse.wait(leftMs);
    }
  }
}

function bytesOf({ parts }: SnapshotManifest): number {
  return parts.reduce((sum, { bytes }) => sum + bytes, 0);
}

function publishedForm({ index, term, digest }: SnapshotManifest, key: string, sha256: string): PublishedSnapshot {
  return { index, term, manifestKey: key, manifestSha256: sha256, digest };
}

function keysOf({ keyspace }: Machine): number {
  let keys = 0;
  for (let number = 0; number < keyspace.databases; number++) keys += keyspace.database(number).size;
  return keys;
}

/** A text that differs where the data or the settings do. What the log says of itself (terms, publishing) is not in it. */
function dataOf(machine: Machine): string {
  if (!machine.bootstrapped) return '';
  const { low, high } = machine.keyspace.digest();
  return `${low} ${high} ${JSON.stringify(machine.snapshotState().settings)}`;
}
