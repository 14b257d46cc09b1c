// Snapshots in a run: an object store in memory, a snapshotter that writes what a node's machine holds and has the log publish
// it, and what nodes start from. Logs are cut soon behind a published snapshot, so that nodes that were away or replaced have
// to start from one.
//
// What must hold here, so that a fault found is the product's: a stored snapshot is of a state that the log has had.
import type { Prng } from '../../src/base/prng.ts';
import type { LogBase } from '../../src/base/log-base.ts';
import { publishedText, type PublishedRecord } from '../../src/commands/publishing.ts';
import { digestText, type Machine } from '../../src/machine/machine.ts';
import { RecordKind } from '../../src/machine/record-codec.ts';
import type { SnapshotReference } from '../../src/ports/link.ts';
import type { SnapshotInstaller } from '../../src/replica/installation.ts';
import { decodeReference } from '../../src/replica/snapshot-reference.ts';
import { SnapshotRestore, SnapshotWriter } from '../../src/snapshot/machine-snapshot.ts';
import type { Life } from './node.ts';
import type { SeededBugs, Simulator } from './simulator.ts';
import { Violation } from './trace.ts';

interface Stored {
  readonly index: number;
  readonly digest: string;
  readonly published: string;
  readonly rdb: readonly Uint8Array[];
  readonly sidecar: Uint8Array;
}

export interface SnapshotProfile {
  /** Mean time from one to the next. */
  readonly gapMs: number;
  /** Loading one takes up to this. */
  readonly slowMs: number;
  /** What nodes keep of their logs. */
  readonly keepBytes: number;
  readonly keepBytesMax: number;
  /** Those before the newest that is published are deleted. */
  readonly tidy: boolean;
}

/** What is older than a published snapshot goes after so long. */
const RETAINED_MS = 2000;
/** Once the faults are over there is time to load one before the next. */
const CALM_GAP_MS = 4000;
/** Retries of a node that finds no snapshot to start from. */
const RETRY_MS = 50;

export class Snapshots {
  readonly #sim: Simulator;
  readonly #prng: Prng;
  readonly enabled: boolean;
  readonly #bugs: SeededBugs;
  #coveredIndex = 0;
  readonly profile: SnapshotProfile;
  readonly #stored = new Map<string, Stored>();
  readonly counts = { snapshots: 0, published: 0, 'made up': 0, cuts: 0, starts: 0, installs: 0, 'failed installs': 0 };

  constructor(sim: Simulator, prng: Prng, enabled: boolean, bugs: SeededBugs, profile: Partial<SnapshotProfile>) {
    this.#sim = sim;
    this.#bugs = bugs;
    this.#prng = prng;
    this.enabled = enabled;
    const keepBytes = prng.pick([0, 0, 500, 5000, 50_000]);
    this.profile = {
      gapMs: prng.chance(0.4) ? 30 + prng.unit() * 200 : 100 + prng.unit() * 1500,
      slowMs: prng.chance(0.5) ? 30 : 1500,
      keepBytes,
      keepBytesMax: keepBytes + prng.pick([0, 0, 3000, 100_000]),
      tidy: prng.chance(0.5),
      ...profile,
    };
  }

  start(): void {
    if (!this.enabled) return;
    const meanMs = this.#sim.workload.stopped ? CALM_GAP_MS : this.profile.gapMs;
    this.#sim.scheduler.after(meanMs * 2 * this.#prng.unit(), () => {
      this.#take();
      this.start();
    });
  }

  /** Of whichever node: its state is the log's at its index. */
  #take(): void {
    const prng = this.#prng;
    const lives = this.#lives().filter(({ machine }) => machine.bootstrapped && !machine.isOpen);
    if (lives.length === 0) return;
    const { machine } = prng.pick(lives);
    const { appliedIndex: index, appliedTerm: term } = machine;
    const writer = new SnapshotWriter(machine, 0);
    const rdb: Uint8Array[] = [];
    for (let chunk = writer.next(); chunk !== undefined; chunk = writer.next()) rdb.push(chunk);
    const digest = digestText(machine.digest());
    const key = `s${++this.counts.snapshots}-${index}`;
    const publish = (name: string): void => this.#publish(['HOLDFAST', 'PUBLISH', String(index), String(term), name, digest.repeat(4), digest]);
    if (prng.chance(0.1)) {
      this.counts['made up']++;
      this.#sim.scheduler.after(prng.unit() * 200, () => publish(`made-up-${index}`));
      return;
    }
    this.#stored.set(key, { index, digest, rdb, sidecar: writer.sidecar(), published: publishedText(machine.publishing.newest) });
    this.#sim.trace(`snapshot ${key} is stored, digest ${digest}`);
    this.#sim.scheduler.after(prng.unit() * 200, () => publish(key));
  }

  #publish(words: readonly string[]): void {
    const lives = this.#lives();
    if (lives.length === 0) return;
    const life = this.#prng.pick(lives);
    const text = `*${words.length}\r\n${words.map((word) => `$${word.length}\r\n${word}\r\n`).join('')}`;
    const command = Buffer.from(text, 'latin1');
    life.engineThread.post(0, () => {
      life.engine.submitInternal(RecordKind.command, 0, (builder) => builder.put(command, 0, command.length), (error) => {
        if (error === undefined) this.counts.published++;
      });
    });
  }

  /** A node has applied this record. */
  published(newest: PublishedRecord | undefined): void {
    const stored = newest === undefined ? undefined : this.#stored.get(newest.manifestKey);
    if (stored === undefined || stored.index <= this.#coveredIndex) return;
    this.#coveredIndex = stored.index;
    if (!this.profile.tidy) return;
    const old = [...this.#stored].filter(([, { index }]) => index < stored.index).map(([key]) => key);
    this.#sim.scheduler.after(RETAINED_MS, () => {
      for (const key of old) this.#stored.delete(key);
    });
  }

  /** What is cut from a log is in a snapshot that is stored and published. */
  cut(node: number, baseIndex: number): void {
    this.counts.cuts++;
    if (baseIndex <= this.#coveredIndex || this.#bugs.withoutCutChecks === true) return;
    throw new Violation('cut', `the log of node ${node} is cut up to ${baseIndex}, and the newest published snapshot is of ${this.#coveredIndex}`);
  }

  #lives(): Life[] {
    return this.#sim.nodes.flatMap(({ life }) => (life === undefined || life.stopping ? [] : [life]));
  }

  installer(life: Life): SnapshotInstaller | undefined {
    if (!this.enabled) return undefined;
    const later = (task: () => void): void => void life.engineThread.post(1 + this.#prng.unit() * this.profile.slowMs, task);
    return {
      start: (base, done) => this.#start(life, base, done, later),
      restore: (snapshot, done) => later(() => done(this.#restore(life, snapshot))),
      piece: (_request, done) => later(() => done({ absent: 'there is one object store for all' })),
      confirm: (wanted, done) => {
        const look = (): void => {
          const snapshot = wanted();
          later(() => {
            if (this.#bugs.blindTrust === true || (!this.#prng.chance(0.2) && this.#named(snapshot) !== undefined)) done(snapshot);
            else look();
          });
        };
        look();
      },
    };
  }

  #named({ index, reference }: SnapshotReference): Stored | undefined {
    const stored = this.#stored.get(decodeReference(reference)?.key ?? '');
    return stored?.index === index ? stored : undefined;
  }

  #start(life: Life, base: LogBase, done: (machine: Machine) => void, later: (task: () => void) => void): void {
    later(() => {
      const usable = [...this.#stored.values()].filter((stored) => stored.index >= base.index);
      const stored = usable.sort((a, b) => b.index - a.index)[0];
      if (stored === undefined) {
        life.engineThread.post(RETRY_MS, () => this.#start(life, base, done, later));
        return;
      }
      this.counts.starts++;
      done(this.#load(life, stored));
    });
  }

  #restore(life: Life, snapshot: SnapshotReference): Machine | string {
    if (this.#prng.chance(0.2)) {
      this.counts['failed installs']++;
      return 'simulated: the object store does not answer';
    }
    const stored = this.#named(snapshot);
    if (stored === undefined) {
      if (!this.profile.tidy) throw new Violation('offer', `node ${life.node.id} is told of a snapshot that never was there: ${JSON.stringify(snapshot)}`);
      this.counts['failed installs']++;
      return 'simulated: it is deleted';
    }
    this.counts.installs++;
    return this.#load(life, stored);
  }

  #load(life: Life, stored: Stored): Machine {
    const restore = new SnapshotRestore(life.machine.table, life.report, () => life.node.time.monotonicMs(), stored.sidecar);
    for (const chunk of stored.rdb) restore.feed(chunk);
    const machine = restore.end();
    const database = machine.keyspace.database(0);
    if (this.#bugs.snapshotsLose === 'key' && database.size > 0) database.remove(database.at(0));
    if (this.#bugs.snapshotsLose === 'published') machine.publishing.restore(undefined);
    this.#sim.checker.restored(life, stored.index, stored.digest);
    this.#sim.faults.point(life.node, 'a snapshot is loaded');
    this.#sim.note(`node ${life.node.id} has loaded the snapshot at ${stored.index}`);
    return machine;
  }
}
