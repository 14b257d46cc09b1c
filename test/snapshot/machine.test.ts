// A machine restored from a snapshot goes on as the one it was taken of: the same random commands on both, with transactions that
// watch keys, checkpoints and expiry, end in the same digests, encodings, orders and random picks.
import { describe, expect, test } from 'vitest';
import { EntryKind, makeEntry } from '../../src/base/entry.ts';
import { OperationalError } from '../../src/base/errors.ts';
import { Prng } from '../../src/base/prng.ts';
import { allCommands } from '../../src/commands/all.ts';
import { CommandContext } from '../../src/commands/context.ts';
import { CommandTable } from '../../src/commands/table.ts';
import { makeBootstrapEntry } from '../../src/machine/bootstrap.ts';
import { digestText, Machine, MACHINE_VERSION } from '../../src/machine/machine.ts';
import { NO_WATCH, RecordBuilder, RecordKind } from '../../src/machine/record-codec.ts';
import { Args } from '../../src/resp/args.ts';
import { SnapshotRestore, SnapshotWriter } from '../../src/snapshot/machine-snapshot.ts';
import { decodeSidecar, encodeSidecar } from '../../src/snapshot/sidecar.ts';
import { RecordedReply } from '../commands/recorded-reply.ts';
import { contents } from './files.ts';
import { fillCommands } from './fill.ts';

const HEADROOM = 40;
const SEEDS = 5;
const STEPS = 400;
/** Seeds that failed once. */
const REGRESSIONS: readonly number[] = [];
const table = new CommandTable(allCommands);
const silent = { handlerThrew: (command: string, _: number, thrown: unknown) => { throw new Error(`${command} threw`, { cause: thrown }); }, diverged: (index: number) => { throw new Error(`diverged at ${index}`); } };

function newMachine(): Machine {
  const machine = new Machine(table, silent, () => 0);
  const settings = [['hash-max-listpack-entries', 8], ['zset-max-listpack-entries', 8], ['hash-max-listpack-value', 20]] as const;
  machine.apply(makeBootstrapEntry({ databases: 10, hashKey: new Uint8Array(16).fill(3), settings }, 1000), 1, 1, 1000, sinkInto([]));
  return machine;
}

function sinkInto(replies: string[]): Parameters<Machine['apply']>[4] {
  const reply = new RecordedReply(2);
  return {
    begin: () => {
      reply.clear();
      return reply;
    },
    end: () => void replies.push(reply.take()),
    session: () => undefined,
    server: () => undefined,
  };
}

type Word = string | number | bigint | Uint8Array;

function resp(words: readonly Word[]): Buffer {
  const parts = words.map((word) => (word instanceof Uint8Array ? Buffer.from(word) : Buffer.from(String(word), 'latin1')));
  return Buffer.concat([Buffer.from(`*${parts.length}\r\n`), ...parts.flatMap((part) => [Buffer.from(`$${part.length}\r\n`), part, Buffer.from('\r\n')])]);
}

/** Records for the log, as a leader with `machine` as its state would make them. */
class Log {
  readonly #random: Prng;
  #watches: { at: number; db: number; key: Buffer; version: number }[] = [];
  readonly #commands: { db: number; words: Word[] }[] = [];
  timeMs = 1000;

  constructor(random: Prng) {
    this.#random = random;
  }

  #key(): string {
    return this.#random.pick(['k', '', 'bin\x00\xff']) + this.#random.below(40);
  }

  #command(): { db: number; words: Word[] } {
    const random = this.#random;
    if (this.#commands.length === 0) this.#commands.push(...[...fillCommands(random, 5, this.timeMs)].filter(({ words }) => words.length < 100));
    if (random.chance(0.4)) return this.#commands.pop() ?? { db: 0, words: ['SET', 'k1', 'v'] };
    const key = this.#key();
    const words = random.pick<Word[]>([
      ['APPEND', key, random.pick(['', '1', 'x'])],
      ['INCR', key],
      ['DEL', key, this.#key()],
      ['RENAME', key, this.#key()],
      ['COPY', key, this.#key(), 'REPLACE'],
      ['PEXPIRE', key, random.below(5000)],
      ['PERSIST', key],
      ['HSET', key, `f${random.below(12)}`, random.below(50)],
      ['HDEL', key, `f${random.below(12)}`],
      ['ZADD', key, random.below(9), `m${random.below(12)}`],
      ['ZINCRBY', key, 1.5, `m${random.below(12)}`],
      ['ZPOPMIN', key],
      ['SETRANGE', key, random.below(10), 'q'],
      ['MOVE', key, random.below(10)],
      ['SWAPDB', random.below(3), random.below(3)],
      ['GETEX', key, 'PX', 100],
      random.chance(0.05) ? ['FLUSHDB'] : ['SET', key, 'again'],
    ]);
    return { db: random.pick([0, 0, 1, 9]), words };
  }

  /** An entry of a few records. */
  next(machine: Machine): { entry: Uint8Array; timeMs: number } {
    const random = this.#random;
    const builder = new RecordBuilder(HEADROOM, 1024);
    const origin = { node: 1, boot: 1 };
    this.timeMs += random.below(400);
    for (let i = random.between(1, 3); i > 0; i--) {
      const { db, words } = this.#command();
      const kind = random.below(10);
      if (kind === 0 && random.chance(0.3)) {
        const { index, digest } = machine.checkpoint;
        builder.begin(RecordKind.checkpoint, 2, 0, origin, 0, 1);
        builder.uint53(index);
        builder.uint32(digest.low);
        builder.uint32(digest.high);
      } else if (kind <= 3) {
        builder.begin(RecordKind.exec, 2, db, origin, 1, 1);
        const watches = random.chance(0.8) ? this.#watches : [];
        builder.uint53(watches.length === 0 ? NO_WATCH : Math.min(...watches.map(({ at }) => at)));
        builder.uint32(watches.length);
        builder.uint32(1);
        for (const { db: number, key, version } of watches) {
          builder.uint16(number);
          builder.uint53(version);
          builder.uint32(key.length);
          builder.put(key, 0, key.length);
        }
        const bytes = resp(words);
        builder.put(bytes, 0, bytes.length);
        this.#watches = [];
      } else {
        builder.begin(RecordKind.command, 2, db, origin, 1, 1);
        const bytes = resp(words);
        builder.put(bytes, 0, bytes.length);
      }
      builder.end();
    }
    const entry = makeEntry(EntryKind.commands, MACHINE_VERSION, builder.count, this.timeMs, builder.bytes.slice(HEADROOM, builder.length));
    return { entry, timeMs: this.timeMs };
  }

  /** WATCH of a key or two on `machine`, as a client of it would, for one of the next transactions. */
  watch(machine: Machine): void {
    for (let i = this.#random.between(1, 2); i > 0; i--) {
      const db = this.#random.pick([0, 1, 9]);
      const key = Buffer.from(this.#key(), 'latin1');
      this.#watches.push({ at: machine.appliedIndex, db, key, version: machine.keyspace.version(db, key, 0, key.length, this.timeMs) });
    }
  }
}

function snapshotOf(machine: Machine): { rdb: Uint8Array; sidecar: Uint8Array } {
  const writer = new SnapshotWriter(machine, 1_700_000_000_000);
  const chunks: Uint8Array[] = [];
  for (let chunk = writer.next(); chunk !== undefined; chunk = writer.next()) chunks.push(chunk);
  return { rdb: Buffer.concat(chunks), sidecar: writer.sidecar() };
}

function restored({ rdb, sidecar }: { rdb: Uint8Array; sidecar: Uint8Array }, random = new Prng(1)): Machine {
  const restore = new SnapshotRestore(table, silent, () => 0, sidecar);
  expect(restore.bytes).toBe(rdb.length);
  for (let at = 0; at < rdb.length; ) {
    const size = random.between(1, 10_000);
    restore.feed(rdb.subarray(at, at + size));
    at += size;
  }
  return restore.end();
}

/** Reads that pick at random or walk, with the same seed. */
function picks(machine: Machine, seed: number): string[] {
  const args = new Args();
  const reply = new RecordedReply(2);
  const context = new CommandContext(machine.keyspace, machine.settings, args, reply, new Prng(seed));
  const replies: string[] = [];
  const run = (db: number, ...words: Word[]): void => {
    const parts = words.map((word) => Buffer.from(String(word), 'latin1'));
    args.reset(Buffer.concat(parts));
    let at = 0;
    for (const part of parts) args.push(at, (at += part.length));
    reply.clear();
    context.db = machine.keyspace.database(db);
    context.nowMs = context.logTimeMs = machine.timeMs;
    table.lookup(args)!.handler(context);
    replies.push(reply.take());
  };
  for (const db of [0, 1, 9]) {
    for (let i = 0; i < 20; i++) run(db, 'RANDOMKEY');
    for (const cursor of [0, 1, 7, 20]) run(db, 'SCAN', cursor, 'COUNT', 5);
    const { keyspace } = machine;
    const database = keyspace.database(db);
    for (let i = 0; i < database.size; i++) {
      const key = keyspace.keyText(database.at(i));
      const type = keyspace.type(database.at(i));
      const reads: Word[][] = type === 4 ? [['HRANDFIELD', key, 3], ['HSCAN', key, 0], ['HGETALL', key]] : type === 3 ? [['ZRANDMEMBER', key, 3], ['ZRANGE', key, 0, -1, 'WITHSCORES']] : [];
      for (const words of reads) run(db, ...words);
    }
  }
  return replies;
}

function expectSame(a: Machine, b: Machine, what: string): void {
  expect(digestText(b.digest()), what).toBe(digestText(a.digest()));
  expect(contents(b.keyspace), what).toEqual(contents(a.keyspace));
  expect(b.keyspace.digestSlow(), what).toEqual(b.keyspace.digest());
  expect(b.snapshotState(), what).toEqual(a.snapshotState());
}

describe('a machine from a snapshot', () => {
  test('goes on as the one that it was taken of', () => {
    const seeds = [...REGRESSIONS, ...Array.from({ length: SEEDS }, () => Math.floor(Math.random() * 2 ** 32))];
    let aborted = 0;
    let executed = 0;
    for (const seed of seeds) {
      const random = new Prng(seed);
      const log = new Log(random);
      const original = newMachine();
      const machines = [original];
      for (let step = 0; step < STEPS; step++) {
        const what = `seed ${seed}, step ${step}`;
        // Clients may be anywhere: also on a node that began from a snapshot.
        if (random.chance(0.3)) log.watch(random.pick(machines));
        const { entry, timeMs } = log.next(original);
        const all = machines.map((machine) => {
          const replies: string[] = [];
          machine.apply(entry, machine.appliedIndex + 1, 1 + Math.floor(step / 100), timeMs, sinkInto(replies));
          return replies;
        });
        for (const replies of all) expect(replies, what).toEqual(all[0]);
        aborted += all[0]!.filter((reply) => reply === '*-1\r\n').length;
        executed += all[0]!.filter((reply) => reply.startsWith('*1\r\n')).length;
        if (random.chance(0.02)) {
          const from = random.pick(machines);
          let next = restored(snapshotOf(from), random);
          if (random.chance(0.5)) {
            const behind = random.pick([(): Machine => new Machine(table, silent, () => 0), newMachine])();
            behind.adopt(next);
            next = behind;
          }
          expectSame(from, next, what);
          machines.push(next);
        }
      }
      for (const machine of machines) {
        expectSame(original, machine, `seed ${seed}`);
        expect(picks(machine, seed), `seed ${seed}`).toEqual(picks(original, seed));
      }
    }
    expect(aborted).toBeGreaterThan(20);
    expect(executed).toBeGreaterThan(100);
  });

  test('is not made of files that do not belong together, or are damaged', () => {
    const random = new Prng(4);
    const machine = newMachine();
    const log = new Log(random);
    const step = (): void => {
      const { entry, timeMs } = log.next(machine);
      machine.apply(entry, machine.appliedIndex + 1, 1, timeMs, sinkInto([]));
    };
    for (let i = 0; i < 50; i++) step();
    const first = snapshotOf(machine);
    step();
    const second = snapshotOf(machine);
    expect(() => restored({ rdb: second.rdb, sidecar: first.sidecar })).toThrow();
    const sidecar = decodeSidecar(first.sidecar);
    const changed = (part: Partial<typeof sidecar>): Uint8Array => encodeSidecar({ ...sidecar, ...part });
    const faults: [Uint8Array, RegExp][] = [
      [changed({ digest: { low: 1, high: 2 } }), /holdfast-digest is 0000000200000001, that of the RDB file/],
      [changed({ state: { ...sidecar.state, databases: 1e9 } }), /has what no machine has/],
      [changed({ state: { ...sidecar.state, settings: [['hash-max-listpack-entries', NaN]] } }), /has what no machine has/],
      [changed({ state: { ...sidecar.state, index: 1 } }), /holdfast-index is 1, that of the RDB file 51/],
      [changed({ state: { ...sidecar.state, settings: [['hash-max-listpack-entries', 9]] } }), /has digest [0-9a-f]{16} once loaded, and was written with/],
      [changed({ machineVersion: MACHINE_VERSION + 1 }), /needs machine version/],
      [changed({ rawStrings: Uint8Array.of(0, 0, 100) }), /names a key that is not there/],
      [changed({ rawStrings: Uint8Array.of(0, 0, 0x80) }), /a list of keys ends too early/],
      [changed({ keyVersions: Uint8Array.of(0, 0, 1, 1) }), /a list of keys ends too early/],
      [changed({ absentVersions: Uint8Array.of(1) }), /a version of absent keys is damaged/],
    ];
    for (const [bytes, message] of faults) expect(() => restored({ rdb: first.rdb, sidecar: bytes })).toThrow(message);
    for (let at = 0; at < first.sidecar.length; at++) {
      const damaged = Uint8Array.from(first.sidecar);
      damaged[at]! ^= 1 << random.below(8);
      expect(() => decodeSidecar(damaged)).toThrow(OperationalError);
      expect(() => decodeSidecar(first.sidecar.subarray(0, at))).toThrow(OperationalError);
    }
  });
});
