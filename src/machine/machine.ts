// The deterministic machine: `apply(entry)` is a plain synchronous function of the state and the entry, the same on
// every node. Owns the keyspace, the replicated settings, log time and the checkpoint chain; touches nothing else.
//
// What must hold:
// - No clock, no entropy, no I/O, no promise, nothing local decides an outcome. Replies go out through the sink and
//   never come back; reads and session commands inside EXEC run only where the client is, and cannot change the state.
// - Entries are applied once each, in order, without gaps. Log time never goes back.
// - A handler that throws gives an error reply on every node alike, and goes on.
import { assert } from '../base/assert.ts';
import { decodeConfiguration, type ConfigurationAt } from '../base/configuration.ts';
import {
  ENTRY_HEADER_BYTES,
  EntryKind,
  entryKind,
  entryMachineVersion,
  entryRecordCount,
} from '../base/entry.ts';
import { RECORD_BYTES_MAX } from '../base/limits.ts';
import { Prng } from '../base/prng.ts';
import { CommandContext } from '../commands/context.ts';
import type { ServerPort, SessionPort } from '../commands/ports.ts';
import { publishedText, Publishing, type PublishedRecord } from '../commands/publishing.ts';
import { isReplicatedSetting, isReplicatedSettingValue, ReplicatedSettings, REPLICATED_SETTING_NAMES } from '../commands/replicated-settings.ts';
import type { CommandTable } from '../commands/table.ts';
import { Keyspace, type KeyspaceOptions } from '../keyspace/keyspace.ts';
import { settledVersion } from '../keyspace/versions.ts';
import { Args } from '../resp/args.ts';
import { parseMultibulk, parseRequestInto } from '../resp/decoder.ts';
import { NullReply } from '../resp/null-reply.ts';
import type { Reply } from '../resp/reply.ts';
import { bootstrapFrom } from './bootstrap.ts';
import { NO_WATCH, PayloadReader, RecordKind, RecordView } from './record-codec.ts';

/** No limit of its own: the gateway checked the count before the command came into the log. */
const MULTIBULK_ARGUMENTS_MAX = 0x7fff_ffff;

/** What this build can run; an entry that needs more stops the node with a clear message. */
export const MACHINE_VERSION = 1;

/** Where the replies of records go. Implemented by the engine: it knows which sessions are this node's. */
export interface ApplySink {
  /** The writer for this record's reply, or undefined when nobody here waits for it. */
  begin(record: RecordView): Reply | undefined;
  /** The record is done, its reply written. Called exactly when `begin` returned a writer. */
  end(record: RecordView): void;
  /** The session whose record runs, for session commands inside EXEC. */
  session(): SessionPort | undefined;
  server(): ServerPort | undefined;
}

export interface MachineReport {
  /** A handler threw: a bug, the same on every node. */
  handlerThrew(command: string, index: number, error: unknown): void;
  /** This node's digest differs from the leader's at an earlier checkpoint. The node must stop serving. */
  diverged(index: number, own: string, leader: string): void;
}

export interface Digest {
  readonly low: number;
  readonly high: number;
}

/** The machine's state but for the keys and values: what a snapshot keeps beside its RDB file. */
export interface MachineState {
  /** Of the last applied entry. */
  readonly index: number;
  readonly term: number;
  readonly timeMs: number;
  /** The last checkpoint; its index is 0 if there was none. */
  readonly checkpoint: { readonly index: number; readonly digest: Digest };
  readonly databases: number;
  readonly hashKey: Uint8Array;
  readonly settings: ReadonlyArray<readonly [string, number]>;
  readonly published: PublishedRecord | undefined;
  /** The newest one up to here; undefined where the log has none. Nothing that is applied depends on it, so it is not in the digest. */
  readonly configuration: ConfigurationAt | undefined;
}

export class Machine {
  readonly table: CommandTable;
  readonly settings = new ReplicatedSettings();
  /** The newest published snapshot. */
  readonly publishing = new Publishing();
  /** Present once the bootstrap entry is applied. */
  #keyspace: Keyspace | undefined;
  #context: CommandContext | undefined;
  #hashKey: Uint8Array = new Uint8Array(0);
  readonly #report: MachineReport;
  readonly #record = new RecordView();
  readonly #args = new Args();
  readonly #nullReply: Reply = new NullReply();
  readonly #random = new Prng(0);
  /** For reads inside EXEC, which run on the client's node only and so must not draw from the replicated generator. */
  readonly #localRandom = new Prng(0x10ca1);
  readonly #accessClockMs: () => number;
  readonly #toucher: KeyspaceOptions['toucher'];
  /** The entry that is being applied, its term, and the record that comes next. */
  #open: Uint8Array | undefined;
  #openTerm = 0;
  #openNumber = 0;
  #openAt = 0;
  appliedIndex = 0;
  appliedTerm = 0;
  /** Log time of the last entry that was begun, ms. */
  timeMs = 0;
  lastCheckpointIndex = 0;
  /** The newest checkpoint at which this machine had the digest that a later record of the log says; 0: none. Nothing that is applied depends on it. */
  confirmedIndex = 0;
  #checkpointDigest: Digest = { low: 0, high: 0 };
  /** For whoever starts from a snapshot: the members as of the last applied entry (MachineState). */
  configuration: ConfigurationAt | undefined;
  /** Changes since the start, as Redis's server.dirty. */
  dirty = 0;
  /** Write commands applied, by name: for INFO commandstats. */
  commandsApplied = 0;

  /** `toucher` is for the keyspace's memory, where there is one. */
  constructor(table: CommandTable, report: MachineReport, accessClockMs: () => number, toucher?: KeyspaceOptions['toucher']) {
    this.table = table;
    this.#report = report;
    this.#accessClockMs = accessClockMs;
    this.#toucher = toucher;
  }

  get bootstrapped(): boolean {
    return this.#keyspace !== undefined;
  }

  get keyspace(): Keyspace {
    assert(this.#keyspace !== undefined, 'the machine has applied the bootstrap entry');
    return this.#keyspace;
  }

  /** Applies one entry whose place in the log is `index` and `term`; `entry` may be unsealed (the proposer's own copy). */
  apply(entry: Uint8Array, index: number, term: number, timeMs: number, sink: ApplySink): void {
    this.begin(entry, index, term, timeMs);
    assert(this.proceed(sink, Infinity), 'without a limit all records of an entry are applied');
  }

  /** The first part of `apply`, for those who apply an entry bit by bit: `proceed` does the rest. */
  begin(entry: Uint8Array, index: number, term: number, timeMs: number): void {
    assert(this.#open === undefined, () => `entry ${index} begins while another is applied`);
    assert(index === this.appliedIndex + 1, () => `entry ${index} is applied after ${this.appliedIndex}`);
    assert(
      entryMachineVersion(entry) <= MACHINE_VERSION,
      () => `entry ${index} needs machine version ${entryMachineVersion(entry)}; this build runs ${MACHINE_VERSION}: upgrade this node`,
    );
    if (timeMs > this.timeMs) this.timeMs = timeMs;
    this.#open = entry;
    this.#openTerm = term;
    this.#openNumber = 0;
    this.#openAt = ENTRY_HEADER_BYTES;
  }

  /** Applies the next records of the entry that was begun, until they have `bytes` or more. True once it is applied. */
  proceed(sink: ApplySink, bytes: number): boolean {
    const entry = this.#open;
    assert(entry !== undefined, 'an entry was begun');
    const index = this.appliedIndex + 1;
    switch (entryKind(entry)) {
      case EntryKind.noop:
        break;
      case EntryKind.membership: {
        const configuration = decodeConfiguration(EntryKind.membership, entry);
        if (configuration !== undefined) this.configuration = { index, configuration };
        break;
      }
      case EntryKind.bootstrap:
        this.#bootstrap(entry);
        break;
      case EntryKind.commands:
        if (!this.#applyRecords(entry, index, sink, bytes)) return false;
        break;
    }
    this.#open = undefined;
    this.appliedIndex = index;
    this.appliedTerm = this.#openTerm;
    return true;
  }

  /** An entry was begun and has records that are not applied. */
  get isOpen(): boolean {
    return this.#open !== undefined;
  }

  /** The last entry of which the state has anything. */
  get seenIndex(): number {
    return this.appliedIndex + (this.isOpen ? 1 : 0);
  }

  /** What a snapshot has to keep beside the keys. */
  snapshotState(): MachineState {
    assert(!this.isOpen, 'a snapshot is of whole entries');
    return {
      index: this.appliedIndex,
      term: this.appliedTerm,
      timeMs: this.timeMs,
      checkpoint: this.checkpoint,
      databases: this.keyspace.databases,
      hashKey: this.#hashKey,
      settings: REPLICATED_SETTING_NAMES.map((name) => [name, this.settings[name]] as const),
      published: this.publishing.newest,
      configuration: this.configuration,
    };
  }

  /**
   * Takes over a snapshot's state, on a machine that has applied nothing. The keyspace is empty then: whoever restores fills it, as
   * of the last checkpoint, before the next entry.
   */
  restore(state: MachineState): void {
    assert(this.appliedIndex === 0 && !this.bootstrapped, 'a machine is restored before it applies anything');
    this.#take(state, undefined);
    this.keyspace.beginRecord(state.checkpoint.index, 0);
  }

  #take(state: MachineState, keyspace: Keyspace | undefined): void {
    this.#begin(state.databases, state.hashKey, state.settings, keyspace);
    this.publishing.restore(state.published);
    this.configuration = state.configuration;
    this.appliedIndex = state.index;
    this.appliedTerm = state.term;
    this.timeMs = state.timeMs;
    this.lastCheckpointIndex = state.checkpoint.index;
    this.#checkpointDigest = { ...state.checkpoint.digest };
  }

  /** Takes over the state of `other`, which is ahead and is not used any more. Whoever holds this machine goes on with it. */
  adopt(other: Machine): void {
    assert(!this.isOpen, 'an entry that was begun is applied');
    assert(other.appliedIndex > this.appliedIndex, () => `a machine at ${this.appliedIndex} is to go back to ${other.appliedIndex}`);
    this.#take(other.snapshotState(), other.keyspace);
  }

  /** Digest of the whole machine state: keyspace, replicated settings and the published snapshot. */
  digest(): Digest {
    const { low, high } = this.keyspace.digest();
    let settings = 0x811c9dc5;
    for (const name of REPLICATED_SETTING_NAMES) {
      for (const c of `${name}=${String(this.settings[name])};`) settings = Math.imul(settings ^ c.charCodeAt(0), 0x01000193);
    }
    for (const c of publishedText(this.publishing.newest)) settings = Math.imul(settings ^ c.charCodeAt(0), 0x01000193);
    return { low: (low ^ settings) >>> 0, high: (high + (settings >>> 0)) >>> 0 };
  }

  #bootstrap(entry: Uint8Array): void {
    // Two leaders may each have proposed one before the first was applied; the first in the log counts.
    if (this.#keyspace !== undefined) return;
    const { databases, hashKey, settings } = bootstrapFrom(entry);
    this.#begin(databases, hashKey, settings);
  }

  #begin(databases: number, hashKey: Uint8Array, settings: MachineState['settings'], filled?: Keyspace): void {
    for (const [name, value] of settings) if (isReplicatedSetting(name)) this.settings[name] = value;
    this.#hashKey = hashKey;
    const keyspace = filled ?? new Keyspace({ databases, hashKey, clockMs: this.#accessClockMs, toucher: this.#toucher });
    this.#keyspace = keyspace;
    this.#context = new CommandContext(keyspace, this.settings, this.#args, this.#nullReply, this.#random);
    this.#context.mode = 'apply';
    this.#context.publishing = this.publishing;
  }

  #applyRecords(entry: Uint8Array, index: number, sink: ApplySink, bytes: number): boolean {
    const context = this.#context;
    assert(context !== undefined, () => `entry ${index} has records before the bootstrap entry`);
    const record = this.#record;
    const count = entryRecordCount(entry);
    const stopAt = this.#openAt + bytes;
    const term = this.#openTerm;
    let at = this.#openAt;
    let number = this.#openNumber;
    context.nowMs = this.timeMs;
    context.logTimeMs = this.timeMs;
    context.entryIndex = index;
    for (; number < count && at < stopAt; number++) {
      record.read(entry, at, entry.length);
      at = record.end;
      const writer = sink.begin(record);
      context.reply = writer ?? this.#nullReply;
      context.keyspace.beginRecord(index, number);
      context.random.reseed(index, term * 0x1_0000 + number);
      try {
        this.#applyRecord(context, record, index, writer === undefined ? undefined : sink);
      } catch (thrown) {
        // A function of the record and the state, like all that apply does: it must not end every node in turn.
        failIfLocal(thrown);
        this.#report.handlerThrew(`record of kind ${record.kind}`, index, thrown);
        context.reply.error('ERR internal error; it is the same on every node and has been logged');
      }
      if (writer !== undefined) sink.end(record);
    }
    this.#openAt = at;
    this.#openNumber = number;
    if (number < count) return false;
    assert(at === entry.length, () => `entry ${index} has ${entry.length - at} bytes after its records`);
    this.dirty += context.dirty;
    context.dirty = 0;
    return true;
  }

  #applyRecord(context: CommandContext, record: RecordView, index: number, sink: ApplySink | undefined): void {
    switch (record.kind) {
      case RecordKind.command: {
        context.db = context.keyspace.database(record.db);
        const parsed = parseRequestInto(this.#args, record.bytes, record.payload, record.end);
        assert(parsed, () => `a command in entry ${index} cannot be parsed`);
        this.#runCommand(context, index, undefined);
        return;
      }
      case RecordKind.exec:
        this.#applyExec(context, record, index, sink);
        return;
      case RecordKind.expire:
        this.#applyExpire(context, record);
        return;
      case RecordKind.evict:
        this.#applyEvict(context, record);
        return;
      case RecordKind.setting:
        this.#applySettings(context, record);
        return;
      case RecordKind.checkpoint:
        this.#applyCheckpoint(record, index);
        return;
    }
  }

  /** Runs the command in #args. `sink` is given inside EXEC, on the client's node only: there reads and session commands run too. */
  #runCommand(context: CommandContext, index: number, sink: ApplySink | undefined): void {
    const args = this.#args;
    const spec = this.table.lookup(args);
    context.args = args;
    context.command = spec;
    if (spec === undefined) {
      // The gateway of the node that took it knew this command: an entry of another release without a version gate.
      context.reply.error(`ERR unknown command '${args.latin1(0).slice(0, 128)}'`);
      return;
    }
    const fault = this.table.argumentsFault(spec, args);
    if (fault !== undefined) {
      context.reply.error(fault);
      return;
    }
    if (spec.class === 'write') {
      this.commandsApplied++;
    } else {
      if (sink === undefined) return;
      context.attach(sink.session(), sink.server());
      context.random = this.#localRandom;
    }
    try {
      spec.handler(context);
    } catch (thrown) {
      failIfLocal(thrown);
      this.#report.handlerThrew(spec.name, index, thrown);
      context.reply.error(`ERR internal error in '${spec.name}'; it is the same on every node and has been logged`);
    } finally {
      if (spec.class !== 'write') {
        context.attach(undefined, undefined);
        context.random = this.#random;
      }
    }
  }

  #applyExec(context: CommandContext, record: RecordView, index: number, sink: ApplySink | undefined): void {
    const reader = new PayloadReader(record.bytes, record.payload, record.end);
    const watchedAt = reader.uint53();
    const watched = reader.uint32();
    const commands = reader.uint32();
    // Versions are not in snapshots, which are cut at checkpoints: a watch from before one cannot be judged everywhere.
    let changed = watchedAt !== NO_WATCH && watchedAt < this.lastCheckpointIndex;
    for (let i = 0; i < watched; i++) {
      const db = reader.uint16();
      const version = reader.uint53();
      const length = reader.uint32();
      const start = reader.skip(length);
      const own = context.keyspace.version(db, record.bytes, start, start + length, this.timeMs);
      if (this.#settled(own, index) !== this.#settled(version, index)) changed = true;
    }
    if (changed) {
      context.reply.nullArray();
      return;
    }
    context.db = context.keyspace.database(record.db);
    context.reply.array(commands);
    let at = reader.position;
    for (let i = 0; i < commands; i++) {
      const next = parseMultibulk(this.#args, record.bytes, at, record.end, MULTIBULK_ARGUMENTS_MAX, RECORD_BYTES_MAX);
      assert(next !== -1, () => `a queued command in entry ${index} cannot be parsed`);
      at = next;
      if (this.#args.is(0, 'SELECT') && this.#args.count === 2) {
        const wanted = this.#args.integer(1);
        if (wanted >= 0 && wanted < context.keyspace.databases) context.db = context.keyspace.database(wanted);
      }
      this.#runCommand(context, index, sink);
    }
    assert(at === record.end, () => `an EXEC in entry ${index} has bytes after its commands`);
  }

  /** A node that began from a snapshot does not know which entry before the last checkpoint changed a key. */
  #settled(version: number, index: number): number {
    return settledVersion(version, index, this.lastCheckpointIndex);
  }

  #applyExpire(context: CommandContext, record: RecordView): void {
    const reader = new PayloadReader(record.bytes, record.payload, record.end);
    const now = Math.max(this.timeMs, reader.uint53());
    const db = context.keyspace.database(record.db);
    for (let left = reader.uint32(); left > 0; left--) {
      const deadline = reader.uint53();
      const length = reader.uint32();
      const start = reader.skip(length);
      const key = db.find(record.bytes, start, start + length);
      if (key === 0 || context.keyspace.expiryMs(key) !== deadline || !db.isExpired(key, now)) continue;
      db.remove(key);
      context.keyspace.expiredKeys++;
      context.dirty++;
    }
    context.reply.ok();
  }

  #applyEvict(context: CommandContext, record: RecordView): void {
    const reader = new PayloadReader(record.bytes, record.payload, record.end);
    const db = context.keyspace.database(record.db);
    for (let left = reader.uint32(); left > 0; left--) {
      const length = reader.uint32();
      const start = reader.skip(length);
      const key = db.find(record.bytes, start, start + length);
      if (key === 0) continue;
      db.remove(key);
      context.keyspace.evictedKeys++;
      context.dirty++;
    }
    context.reply.ok();
  }

  #applySettings(context: CommandContext, record: RecordView): void {
    const reader = new PayloadReader(record.bytes, record.payload, record.end);
    for (let left = reader.uint32(); left > 0; left--) {
      const name = Buffer.from(reader.view(reader.uint32())).toString('latin1');
      const negative = reader.uint32() === 1;
      const value = reader.uint53();
      const signed = negative ? -value : value;
      if (isReplicatedSetting(name) && isReplicatedSettingValue(name, signed)) this.settings[name] = signed;
    }
    context.reply.ok();
  }

  /**
   * Every node compares the digest that the leader had after the checkpoint before with its own of that moment, and takes
   * note of its own now. So a difference shows one checkpoint later, without anyone having to wait for anyone.
   */
  #applyCheckpoint(record: RecordView, index: number): void {
    const reader = new PayloadReader(record.bytes, record.payload, record.end);
    const previous = reader.uint53();
    const low = reader.uint32();
    const high = reader.uint32();
    const own = this.#checkpointDigest;
    if (previous !== 0 && previous === this.lastCheckpointIndex) {
      if (own.low === low && own.high === high) this.confirmedIndex = previous;
      else this.#report.diverged(previous, digestText(own), digestText({ low, high }));
    }
    this.lastCheckpointIndex = index;
    this.#checkpointDigest = this.digest();
  }

  /** Whether the state is that of the last checkpoint: its record ends the last entry, or nothing behind it there has changed anything. */
  get isAtCheckpoint(): boolean {
    if (this.lastCheckpointIndex === 0 || this.lastCheckpointIndex !== this.appliedIndex) return false;
    const { low, high } = this.digest();
    return low === this.#checkpointDigest.low && high === this.#checkpointDigest.high;
  }

  /** The last checkpoint's index and digest: what the leader puts into the next. */
  get checkpoint(): { index: number; digest: Digest } {
    return { index: this.lastCheckpointIndex, digest: this.#checkpointDigest };
  }
}

/** Want of memory is this node's own: to go on would make its state differ from the others'. */
function failIfLocal(thrown: unknown): void {
  if (thrown instanceof RangeError && /allocation failed|out of memory/i.test(thrown.message)) throw thrown;
}

export function digestText(digest: Digest): string {
  return digest.high.toString(16).padStart(8, '0') + digest.low.toString(16).padStart(8, '0');
}
