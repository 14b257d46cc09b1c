// One log and several machines over it: one that never restarted, and others that each began from a snapshot of one of the rest.
// Every record that the log may hold is made, and after each entry all of them are compared in everything that may be seen.
import { EntryKind, makeEntry } from '../../src/base/entry.ts';
import { Prng } from '../../src/base/prng.ts';
import { allCommands } from '../../src/commands/all.ts';
import { CommandContext } from '../../src/commands/context.ts';
import type { SessionPort } from '../../src/commands/ports.ts';
import type { CommandClass } from '../../src/commands/spec.ts';
import { CommandTable } from '../../src/commands/table.ts';
import { makeBootstrapEntry } from '../../src/machine/bootstrap.ts';
import { digestText, Machine, MACHINE_VERSION } from '../../src/machine/machine.ts';
import { NO_WATCH, RecordBuilder, RecordKind } from '../../src/machine/record-codec.ts';
import { Args } from '../../src/resp/args.ts';
import { SnapshotRestore, SnapshotWriter } from '../../src/snapshot/machine-snapshot.ts';
import { RecordedReply } from '../commands/recorded-reply.ts';
import { RARE, READS, UNORDERED_READS, WRITES, type Situation, type Word } from './any-command.ts';
import { contents } from './files.ts';
import { resp, silentReport, table } from './log-model.ts';

const HEADROOM = 40;
const ORIGIN = { node: 1, boot: 1 };
const DATABASES = 3;
const READS_EACH = 150;

/** Full names of the table's commands of this class. */
export function namesOf(wanted: CommandClass): string[] {
  const commands = new CommandTable(allCommands);
  return allCommands.flatMap((spec) => [spec, ...(spec.subcommands ?? [])]).filter((spec) => spec.subcommands === undefined && spec.class === wanted).map((spec) => commands.fullName(spec)).sort();
}

export function newMachine(): Machine {
  const machine = new Machine(table, silentReport, () => 0);
  const settings = [['hash-max-listpack-entries', 6], ['zset-max-listpack-entries', 6], ['hash-max-listpack-value', 60]] as const;
  machine.apply(makeBootstrapEntry({ databases: DATABASES, hashKey: new Uint8Array(16).fill(3), settings }, 1000), 1, 1, 1000, sinkInto([]));
  return machine;
}

function sinkInto(replies: string[]): Parameters<Machine['apply']>[4] {
  const reply = new RecordedReply(2);
  // SELECT in a transaction sets it; nothing asks it here.
  const session = { db: 0 } as unknown as SessionPort;
  return {
    begin: () => {
      reply.clear();
      return reply;
    },
    end: () => void replies.push(reply.take()),
    session: () => session,
    server: () => undefined,
  };
}

export function snapshotOf(machine: Machine): { rdb: Uint8Array; sidecar: Uint8Array } {
  const writer = new SnapshotWriter(machine, 1_700_000_000_000);
  const chunks: Uint8Array[] = [];
  for (let chunk = writer.next(); chunk !== undefined; chunk = writer.next()) chunks.push(chunk);
  return { rdb: Buffer.concat(chunks), sidecar: writer.sidecar() };
}

export function restored({ rdb, sidecar }: { rdb: Uint8Array; sidecar: Uint8Array }, random = new Prng(1)): Machine {
  const restore = new SnapshotRestore(table, silentReport, () => 0, sidecar);
  for (let at = 0; at < rdb.length; ) {
    const size = random.between(1, 10_000);
    restore.feed(rdb.subarray(at, at + size));
    at += size;
  }
  return restore.end();
}

export interface TwinOptions {
  readonly seed: number;
  readonly steps: number;
  /** What is broken in a machine that came of a snapshot: a test of the test. */
  readonly damage?: (machine: Machine) => void;
}

export class Twins {
  /** Calls of each command, and those of them that changed something. */
  readonly called = new Map<string, number>();
  readonly changed = new Map<string, number>();
  readonly counts = { restored: 0, executed: 0, aborted: 0 };
  readonly #random: Prng;
  readonly #options: TwinOptions;
  readonly #machines: Machine[] = [newMachine()];
  #timeMs = 1000;
  #watches: { at: number; db: number; key: Buffer; version: number }[] = [];
  /** The single command of the entry being made, if it has no more. */
  #name = '';

  constructor(options: TwinOptions) {
    this.#options = options;
    this.#random = new Prng(options.seed);
  }

  /** The first difference, or undefined. */
  run(): string | undefined {
    for (let step = 0; step < this.#options.steps; step++) {
      const difference = this.#step(1 + Math.floor(step / 100));
      if (difference !== undefined) return `seed ${this.#options.seed}, step ${step}: ${difference}`;
    }
    return this.#compareAll();
  }

  get #original(): Machine {
    return this.#machines[0]!;
  }

  #step(term: number): string | undefined {
    const random = this.#random;
    if (random.chance(0.3)) this.#watch();
    const entry = this.#entry();
    const before = digestText(this.#original.digest());
    const replies = this.#machines.map((machine) => {
      const own: string[] = [];
      machine.apply(entry, machine.appliedIndex + 1, term, this.#timeMs, sinkInto(own));
      return own;
    });
    this.#count(replies[0]!, before);
    for (const [i, machine] of this.#machines.entries()) {
      if (replies[i]!.join() !== replies[0]!.join()) return `machine ${i} answers ${JSON.stringify(replies[i])}, the first ${JSON.stringify(replies[0])}`;
      if (digestText(machine.digest()) !== digestText(this.#original.digest())) return `machine ${i} has another digest`;
    }
    if (random.chance(0.02) && this.#machines.length < 5) return this.#restore();
    return random.chance(0.02) ? this.#compareAll() : undefined;
  }

  #count(replies: readonly string[], digestBefore: string): void {
    this.counts.aborted += replies.filter((reply) => reply === '*-1\r\n').length;
    this.counts.executed += replies.filter((reply) => /^\*[123]\r\n/.test(reply)).length;
    if (this.#name === '') return;
    this.called.set(this.#name, (this.called.get(this.#name) ?? 0) + 1);
    if (digestBefore !== digestText(this.#original.digest())) this.changed.set(this.#name, (this.changed.get(this.#name) ?? 0) + 1);
  }

  /** One more machine, of a snapshot of any; it may take over a machine that is behind, as on a follower. */
  #restore(): string | undefined {
    const random = this.#random;
    const from = random.pick(this.#machines);
    let next = restored(snapshotOf(from), random);
    if (random.chance(0.5)) {
      const behind = random.chance(0.5) ? new Machine(table, silentReport, () => 0) : newMachine();
      behind.adopt(next);
      next = behind;
    }
    this.counts.restored++;
    this.#options.damage?.(next);
    this.#machines.push(next);
    return this.#options.damage === undefined ? this.#compareAll() : undefined;
  }

  #compareAll(): string | undefined {
    const first = picture(this.#original, this.#options.seed);
    for (const [i, machine] of this.#machines.entries()) {
      const own = picture(machine, this.#options.seed);
      const at = own.findIndex((line, n) => line !== first[n]);
      if (at >= 0 || own.length !== first.length) return `machine ${i} shows ${own[at]?.slice(0, 600)}, the first ${first[at]?.slice(0, 600)}`;
    }
    return undefined;
  }

  /** WATCH of a key or two, as a client of any of these nodes would, for one of the next transactions. */
  #watch(): void {
    const random = this.#random;
    const machine = random.pick(this.#machines);
    for (let i = random.between(1, 2); i > 0; i--) {
      const db = random.below(DATABASES);
      const key = Buffer.from(random.pick(['s', 'h', 'z']) + random.below(10), 'latin1');
      this.#watches.push({ at: machine.appliedIndex, db, key, version: machine.keyspace.version(db, key, 0, key.length, this.#timeMs) });
    }
  }

  /** A few records of any kind, as the leader would make them. */
  #entry(): Uint8Array {
    const random = this.#random;
    const builder = new RecordBuilder(HEADROOM, 1024);
    this.#timeMs += random.below(400);
    this.#name = '';
    const records = random.pick([1, 1, 1, 3]);
    for (let i = records; i > 0; i--) {
      const kind = random.below(20);
      if (kind === 0 && random.chance(0.4)) this.#checkpoint(builder);
      else if (kind <= 4) this.#exec(builder);
      else if (kind === 5) this.#setting(builder);
      else if (kind === 6) this.#removal(builder, RecordKind.expire);
      else if (kind === 7 && random.chance(0.3)) this.#removal(builder, RecordKind.evict);
      else {
        const { name, words } = this.#command();
        if (records === 1) this.#name = name;
        builder.begin(RecordKind.command, 2, random.below(DATABASES), ORIGIN, 1, 1);
        put(builder, words);
      }
      builder.end();
    }
    return makeEntry(EntryKind.commands, MACHINE_VERSION, builder.count, this.#timeMs, builder.bytes.slice(HEADROOM, builder.length));
  }

  #command(): { name: string; words: Word[] } {
    const random = this.#random;
    const names = Object.keys(WRITES);
    let name = random.pick(names);
    if (RARE.has(name) && !random.chance(0.1)) name = random.pick(['hset', 'zadd', 'set']);
    return { name, words: WRITES[name]!({ random, timeMs: this.#timeMs, appliedIndex: this.#original.appliedIndex }) };
  }

  #checkpoint(builder: RecordBuilder): void {
    const { index, digest } = this.#original.checkpoint;
    builder.begin(RecordKind.checkpoint, 2, 0, ORIGIN, 0, 1);
    builder.uint53(index);
    builder.uint32(digest.low);
    builder.uint32(digest.high);
  }

  #exec(builder: RecordBuilder): void {
    const random = this.#random;
    const watches = random.chance(0.8) ? this.#watches : [];
    const commands = Array.from({ length: random.between(1, 3) }, () => (random.chance(0.1) ? ['SELECT', random.below(DATABASES)] : this.#command().words));
    // What a transaction refuses never comes into the log as part of one.
    const allowed = commands.map((words) => (words[0] === 'HOLDFAST' ? ['SET', 's1', 'exec'] : words));
    builder.begin(RecordKind.exec, 2, random.below(DATABASES), ORIGIN, 1, 1);
    builder.uint53(watches.length === 0 ? NO_WATCH : Math.min(...watches.map(({ at }) => at)));
    builder.uint32(watches.length);
    builder.uint32(allowed.length);
    for (const { db, key, version } of watches) {
      builder.uint16(db);
      builder.uint53(version);
      builder.uint32(key.length);
      builder.put(key, 0, key.length);
    }
    for (const words of allowed) put(builder, words);
    this.#watches = [];
  }

  #setting(builder: RecordBuilder): void {
    const name = Buffer.from(this.#random.pick(['hash-max-listpack-entries', 'zset-max-listpack-entries', 'hash-max-listpack-value']), 'latin1');
    builder.begin(RecordKind.setting, 2, 0, ORIGIN, 0, 1);
    builder.uint32(1);
    builder.uint32(name.length);
    builder.put(name, 0, name.length);
    builder.uint32(0);
    builder.uint53(this.#random.pick([4, 6, 12, 64]));
  }

  /** Keys that are past their deadline, or that the leader chose to evict. */
  #removal(builder: RecordBuilder, kind: typeof RecordKind.expire | typeof RecordKind.evict): void {
    const { keyspace } = this.#original;
    const number = this.#random.below(DATABASES);
    const db = keyspace.database(number);
    const keys = Array.from({ length: db.size }, (_, i) => db.at(i)).filter((key) => (kind === RecordKind.expire ? db.isExpired(key, this.#timeMs) : this.#random.chance(0.1)));
    builder.begin(kind, 2, number, ORIGIN, 0, 1);
    if (kind === RecordKind.expire) builder.uint53(this.#timeMs);
    builder.uint32(keys.length);
    for (const key of keys) {
      const name = Buffer.from(keyspace.keyText(key), 'latin1');
      if (kind === RecordKind.expire) builder.uint53(keyspace.expiryMs(key));
      builder.uint32(name.length);
      builder.put(name, 0, name.length);
    }
  }
}

function put(builder: RecordBuilder, words: readonly Word[]): void {
  const bytes = resp(words);
  builder.put(bytes, 0, bytes.length);
}

/** All that may be seen of a machine, and what the next records build on. */
function picture(machine: Machine, seed: number): string[] {
  const { keyspace } = machine;
  const slow = keyspace.digestSlow();
  return [
    `digest ${digestText(machine.digest())}, of the keys anew ${digestText(slow)}`,
    `state ${JSON.stringify({ ...machine.snapshotState(), hashKey: Buffer.from(machine.snapshotState().hashKey).toString('hex') })}`,
    ...contents(keyspace),
    ...reads(machine, seed),
  ];
}

/** Every read, random picks among them, with one and the same generator. */
function reads(machine: Machine, seed: number): string[] {
  const random = new Prng(seed);
  const args = new Args();
  const reply = new RecordedReply(2);
  const context = new CommandContext(machine.keyspace, machine.settings, args, reply, new Prng(seed));
  const names = Object.keys(READS);
  const at: Situation = { random, timeMs: machine.timeMs, appliedIndex: machine.appliedIndex };
  return Array.from({ length: READS_EACH }, (_, i) => {
    const name = names[i % names.length]!;
    const words = READS[name]!(at).map((word) => Buffer.from(String(word), 'latin1'));
    args.reset(Buffer.concat(words));
    let end = 0;
    for (const word of words) args.push(end, (end += word.length));
    reply.clear();
    context.db = machine.keyspace.database(random.below(DATABASES));
    context.nowMs = context.logTimeMs = machine.timeMs;
    table.lookup(args)!.handler(context);
    const text = reply.take();
    return `${words.join(' ')}: ${UNORDERED_READS.has(name) ? text.split('\r\n').sort().join() : text}`;
  });
}
