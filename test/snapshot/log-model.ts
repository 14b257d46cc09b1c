// A cluster's committed log with a machine that applies it as it grows, and what a snapshotter sees of it: feed and publisher.
import { encodeConfiguration } from '../../src/base/configuration.ts';
import { EntryKind, makeEntry, sealEntry } from '../../src/base/entry.ts';
import { OperationalError } from '../../src/base/errors.ts';
import type { Prng } from '../../src/base/prng.ts';
import { allCommands } from '../../src/commands/all.ts';
import { CommandTable } from '../../src/commands/table.ts';
import { makeBootstrapEntry } from '../../src/machine/bootstrap.ts';
import { digestText, Machine, MACHINE_VERSION } from '../../src/machine/machine.ts';
import { RecordBuilder, RecordKind } from '../../src/machine/record-codec.ts';
import type { FeedBatch, FeedStatus, LogFeed } from '../../src/ports/log-feed.ts';
import type { PublishedSnapshot, Publisher, SnapshotterOrders, SnapshotterProgress } from '../../src/ports/publisher.ts';
import { fillCommands } from './fill.ts';

const HEADROOM = 40;
const ORIGIN = { node: 1, boot: 1 };
const SINK = { begin: () => undefined, end: () => {}, session: () => undefined, server: () => undefined };
const START_MS = 1_700_000_000_000;

export const table = new CommandTable(allCommands);
export const silentReport = { handlerThrew: (command: string, _: number, thrown: unknown) => { throw new Error(`${command} threw`, { cause: thrown }); }, diverged: (index: number) => { throw new Error(`diverged at ${index}`); } };
export const silentLogger = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

export class LogModel {
  readonly entries: Uint8Array[] = [];
  /** By index: the machine's digest once that entry is applied; '' before the bootstrap entry. */
  readonly digests: string[] = [''];
  readonly machine = new Machine(table, silentReport, () => 0);
  readonly published: PublishedSnapshot[] = [];
  /** Entries up to this one are no longer in the log. */
  cut = 0;
  timeMs = START_MS;
  orders: SnapshotterOrders = { snapshotIndexMin: 0 };
  progress: SnapshotterProgress | undefined;
  /** When it is asked for one. */
  givesCheckpoints = true;
  readonly #random: Prng;
  #commands: { db: number; words: readonly unknown[] }[] = [];
  readonly #wakers = new Set<() => void>();

  constructor(random: Prng) {
    this.#random = random;
    const settings = [['hash-max-listpack-entries', 8], ['zset-max-listpack-entries', 8]] as const;
    this.#append(makeEntry(EntryKind.noop, 0, 0, START_MS, new Uint8Array(0)));
    this.#append(makeBootstrapEntry({ databases: 10, hashKey: new Uint8Array(16).fill(3), settings }, START_MS));
  }

  get lastIndex(): number {
    return this.entries.length;
  }

  /** Entries of random commands, a checkpoint among them now and then; several in one millisecond often. */
  write(count: number): void {
    for (let i = 0; i < count; i++) {
      this.timeMs += this.#random.chance(0.4) ? 0 : this.#random.below(1000);
      if (this.#random.chance(0.1)) this.checkpoint();
      else this.command();
    }
  }

  command(): void {
    const random = this.#random;
    while (this.#commands.length === 0) this.#commands = [...fillCommands(random, 5, this.timeMs + 1e9)].filter(({ words }) => words.length < 60);
    const { db, words } = this.#commands.shift()!;
    this.run(db, words);
  }

  run(db: number, words: readonly unknown[]): void {
    this.#records((builder) => putCommand(builder, db, words));
  }

  /** An entry that says that these are the members. */
  configure(...names: readonly string[]): void {
    const members = names.map((name) => ({ id: Number(name.slice(1)), name, host: name, peerPort: 1, clientPort: 2 }));
    this.#append(encodeConfiguration({ lastId: 9, members, voters: members.map(({ id }) => id), outgoing: [], learners: [] }));
  }

  /** With the digest of the last one, as a leader writes it, or with another, or naming one before the last, and maybe with a command behind it. */
  checkpoint({ wrongBy = 0, previous, then }: { readonly wrongBy?: number; readonly previous?: number; readonly then?: readonly unknown[] } = {}): void {
    const { index, digest } = this.machine.checkpoint;
    this.#records((builder) => {
      builder.begin(RecordKind.checkpoint, 2, 0, ORIGIN, 0, 1);
      builder.uint53(previous ?? index);
      builder.uint32((digest.low ^ wrongBy) >>> 0);
      builder.uint32(digest.high);
      if (then === undefined) return;
      builder.end();
      putCommand(builder, 0, then);
    }, wrongBy !== 0);
  }

  #records(build: (builder: RecordBuilder) => void, isWrong = false): void {
    const builder = new RecordBuilder(HEADROOM, 1024);
    build(builder);
    builder.end();
    this.#append(makeEntry(EntryKind.commands, MACHINE_VERSION, builder.count, this.timeMs, builder.bytes.slice(HEADROOM, builder.length)), isWrong);
  }

  #append(entry: Uint8Array, isWrong = false): void {
    const index = this.lastIndex + 1;
    const term = 1 + Math.floor(index / 50);
    sealEntry(entry, term, index, this.timeMs);
    this.entries.push(entry);
    if (!isWrong) this.machine.apply(entry, index, term, this.timeMs, SINK);
    this.digests.push(!isWrong && this.machine.bootstrapped ? digestText(this.machine.digest()) : '');
    this.wake();
  }

  timeAt(index: number): number {
    const entry = this.entries[index - 1]!;
    return Number(new DataView(entry.buffer, entry.byteOffset).getBigUint64(24, true));
  }

  wake(): void {
    for (const waker of [...this.#wakers]) waker();
  }

  feed(batchMax = 7): LogFeed {
    let closed = false;
    const wakers = this.#wakers;
    const entries = async function* (this: LogModel, from: number): AsyncGenerator<FeedBatch> {
      for (let next = from; ; ) {
        await Promise.resolve();
        if (closed) return;
        if (next <= this.cut) throw new OperationalError('LOG_CUT', `entry ${next} is no longer in the log, which begins at ${this.cut + 1}`);
        if (next <= this.lastIndex) {
          const batch = this.entries.slice(next - 1, next - 1 + batchMax);
          next += batch.length;
          yield { entries: batch, commitIndex: this.lastIndex };
          continue;
        }
        await new Promise<void>((resolve) => {
          const waker = (): void => {
            wakers.delete(waker);
            resolve();
          };
          wakers.add(waker);
        });
      }
    }.bind(this);
    const status = (): FeedStatus => ({ nodeName: 'n1', leader: true, firstIndex: this.cut + 1, commitIndex: this.lastIndex });
    return { clusterId: 'c', entries, status, close: () => { closed = true; this.wake(); } };
  }

  readonly publisher: Publisher = {
    publish: async (snapshot) => {
      await Promise.resolve();
      if (snapshot.index <= (this.published.at(-1)?.index ?? 0)) return 'stale';
      this.published.push(snapshot);
      this.run(0, ['HOLDFAST', 'PUBLISH', snapshot.index, snapshot.term, snapshot.manifestKey, snapshot.manifestSha256, snapshot.digest]);
      if (this.machine.publishing.index !== snapshot.index) throw new Error(`PUBLISH of ${snapshot.index} was refused`);
      return 'published';
    },
    report: async (progress) => {
      await Promise.resolve();
      this.progress = progress;
      // As the leader does.
      const { checkpointBehind } = progress;
      if (this.givesCheckpoints && checkpointBehind >= Math.max(1, this.machine.lastCheckpointIndex)) this.checkpoint();
      return this.orders;
    },
  };
}

function putCommand(builder: RecordBuilder, db: number, words: readonly unknown[]): void {
  builder.begin(RecordKind.command, 2, db, ORIGIN, 1, 1);
  const bytes = resp(words);
  builder.put(bytes, 0, bytes.length);
}

export function resp(words: readonly unknown[]): Buffer {
  const parts = words.map((word) => (word instanceof Uint8Array ? Buffer.from(word) : Buffer.from(String(word), 'latin1')));
  return Buffer.concat([Buffer.from(`*${parts.length}\r\n`), ...parts.flatMap((part) => [Buffer.from(`$${part.length}\r\n`), part, Buffer.from('\r\n')])]);
}

