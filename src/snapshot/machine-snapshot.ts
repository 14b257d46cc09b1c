// A machine's whole state as two files, an RDB file and its sidecar, and back. What comes back goes on exactly as the machine would
// have: same replies, orders, encodings, versions for WATCH, digests. Not in them: access clocks, counters for INFO, the order of
// keys with a deadline, layouts of tables, which are each node's own and decide no outcome.
//
// What must hold: the machine applies nothing between the first chunk and the sidecar. A restored machine is handed out only
// once its digest is the one that was written.
import { assert } from '../base/assert.ts';
import { OperationalError } from '../base/errors.ts';
import { REDIS_VERSION } from '../commands/connection.ts';
import type { CommandTable } from '../commands/table.ts';
import { type Database, EMBSTR_BYTES_MAX, type Handle } from '../keyspace/database.ts';
import { Encoding } from '../keyspace/types.ts';
import { settledVersion, VERSION_BUCKETS } from '../keyspace/versions.ts';
import { digestText, Machine, MACHINE_VERSION, type MachineReport } from '../machine/machine.ts';
import type { PageToucher } from '../memory/page-toucher.ts';
import { RdbError } from './rdb-error.ts';
import { CHECKSUM_BYTES } from './rdb-format.ts';
import { RdbReader, type RdbReport, WRONG_CHECKSUM } from './rdb-reader.ts';
import { RdbWriter } from './rdb-writer.ts';
import { decodeSidecar, encodeSidecar, KeyList, KeyListReader, type Sidecar, sidecarFault } from './sidecar.ts';
import { VarintReader, VarintWriter } from './varints.ts';

/** Numbers of a version: entries and records of its number's halves (keyspace/versions.ts). */
const RECORDS = 0x1_0000;
const NOTHING = new Uint8Array(0);
const KEYS_IN_A_STEP = 1024;

export const AuxField = {
  index: 'holdfast-index',
  term: 'holdfast-term',
  timeMs: 'holdfast-time',
  machineVersion: 'holdfast-machine-version',
  digest: 'holdfast-digest',
} as const;

export class SnapshotWriter {
  readonly #machine: Machine;
  readonly #rdb: RdbWriter;
  readonly #rawStrings = new KeyList();
  readonly #keyVersions = new KeyList();

  /** The time is only noted in the file. */
  constructor(machine: Machine, createdMs: number) {
    this.#machine = machine;
    const aux = [
      ['redis-ver', REDIS_VERSION],
      ['redis-bits', '64'],
      ['ctime', String(Math.floor(createdMs / 1000))],
      ['used-mem', String(machine.keyspace.usedBytes)],
      [AuxField.index, String(machine.appliedIndex)],
      [AuxField.term, String(machine.appliedTerm)],
      [AuxField.timeMs, String(machine.timeMs)],
      [AuxField.machineVersion, String(MACHINE_VERSION)],
      [AuxField.digest, digestText(machine.digest())],
    ] as const;
    this.#rdb = new RdbWriter(machine.keyspace, { aux, onKey: (database, position, h) => this.#note(database, position, h) });
  }

  /** The RDB file, chunk by chunk, which are the caller's to keep; undefined after the last. */
  next(): Uint8Array | undefined {
    return this.#rdb.next();
  }

  get bytes(): number {
    return this.#rdb.bytes;
  }

  get keys(): number {
    return this.#rdb.keys;
  }

  /** The sidecar, once the last chunk was taken. */
  sidecar(): Uint8Array<ArrayBuffer> {
    const machine = this.#machine;
    return encodeSidecar({
      state: machine.snapshotState(),
      machineVersion: MACHINE_VERSION,
      digest: machine.digest(),
      rdbBytes: this.#rdb.bytes,
      rdbChecksum: this.#rdb.checksum,
      rawStrings: this.#rawStrings.bytes,
      keyVersions: this.#keyVersions.bytes,
      absentVersions: this.#absentVersions(),
    });
  }

  #note(database: Database, position: number, h: Handle): void {
    const { keyspace } = this.#machine;
    if (keyspace.encoding(h) === Encoding.raw && keyspace.stringLength(h) <= EMBSTR_BYTES_MAX) {
      this.#rawStrings.add(database.number, position);
    }
    const version = this.#recent(keyspace.keyVersion(h));
    if (version !== 0) this.#keyVersions.add(database.number, position, ...this.#numbersOf(version));
  }

  #absentVersions(): Uint8Array {
    const varints = new VarintWriter();
    for (let bucket = 0; bucket < VERSION_BUCKETS; bucket++) {
      const version = this.#recent(this.#machine.keyspace.absentVersion(bucket));
      if (version === 0) continue;
      varints.put(bucket);
      for (const number of this.#numbersOf(version)) varints.put(number);
    }
    return varints.bytes;
  }

  /** 0 for a version that no EXEC can tell from others before the last checkpoint. */
  #recent(version: number): number {
    const { appliedIndex, lastCheckpointIndex } = this.#machine;
    const settled = settledVersion(version, appliedIndex, lastCheckpointIndex);
    return settled <= 1 ? 0 : version;
  }

  #numbersOf(version: number): readonly [number, number] {
    const number = Math.floor(version / 2);
    const index = Math.floor(number / RECORDS);
    return [(index - this.#machine.lastCheckpointIndex) >>> 0, number % RECORDS];
  }
}

export interface RestoreOptions {
  /** The caller adds up the CRC of the RDB file, and gives it at the end. */
  readonly isSummedElsewhere: boolean;
  /** Of the machine's memory. */
  readonly toucher?: PageToucher | undefined;
}

/** Makes a machine of a snapshot: the sidecar first, then the RDB file in chunks, then `end`. */
export class SnapshotRestore {
  readonly #sidecar: Sidecar;
  readonly #machine: Machine;
  readonly #reader: RdbReader;
  readonly #isSummedElsewhere: boolean;
  /** When the chunk came that is being loaded; undefined once all are. An object, for the machine keeps it, and is to keep no more of this. */
  readonly #loading: { ms: number | undefined } = { ms: 0 };
  readonly #accessClockMs: () => number;

  constructor(table: CommandTable, report: MachineReport, accessClockMs: () => number, sidecar: Uint8Array, options: RestoreOptions = { isSummedElsewhere: false }) {
    this.#sidecar = decodeSidecar(sidecar);
    const { machineVersion } = this.#sidecar;
    if (machineVersion > MACHINE_VERSION) {
      throw sidecarFault(`it needs machine version ${machineVersion}, and this release runs ${MACHINE_VERSION}: upgrade this node`);
    }
    // Access clocks are of seconds: while keys are loaded, one look at the clock does for a chunk.
    const loading = this.#loading;
    this.#machine = new Machine(table, report, () => loading.ms ?? accessClockMs(), options.toucher);
    this.#machine.restore(this.#sidecar.state);
    this.#accessClockMs = accessClockMs;
    this.#isSummedElsewhere = options.isSummedElsewhere;
    this.#reader = new RdbReader(this.#machine.keyspace, options);
  }

  /** Bytes of the RDB file that there will be. */
  get bytes(): number {
    return this.#sidecar.rdbBytes;
  }

  feed(chunk: Uint8Array): void {
    this.#loading.ms = this.#accessClockMs();
    this.#reader.feed(chunk);
  }

  /** The machine, if all of it is what was written. `crc64` is that of the RDB file, in hexadecimal, if it is summed elsewhere. */
  end(crc64?: string): Machine {
    const steps = this.endInSteps(crc64);
    for (let step = steps.next(); ; step = steps.next()) if (step.done === true) return step.value;
  }

  /** As `end`, in steps of no more than a millisecond or so. */
  *endInSteps(crc64?: string): Generator<void, Machine> {
    const machine = this.#machine;
    const report = this.#reader.end();
    this.#loading.ms = undefined;
    if (this.#isSummedElsewhere) {
      assert(crc64 !== undefined, 'whoever sums the file says what it came to');
      if (report.checksum !== undefined && report.checksum !== crc64) throw new RdbError(WRONG_CHECKSUM, report.bytes - CHECKSUM_BYTES);
    }
    this.#expectPair(report);
    yield* this.#restoreEncodings();
    yield* this.#restoreKeyVersions();
    this.#restoreAbsentVersions();
    const own = digestText(machine.digest());
    const wanted = digestText(this.#sidecar.digest);
    if (own !== wanted) throw new OperationalError('SNAPSHOT', `the snapshot has digest ${own} once loaded, and was written with ${wanted}`);
    return machine;
  }

  #expectPair(report: RdbReport): void {
    const { state, digest, rdbBytes } = this.#sidecar;
    const pairs = [
      [AuxField.index, String(state.index)],
      [AuxField.term, String(state.term)],
      [AuxField.digest, digestText(digest)],
    ] as const;
    for (const [name, value] of pairs) {
      const own = report.aux.get(name);
      if (own !== value) throw sidecarFault(`its ${name} is ${value}, that of the RDB file ${own ?? 'not there'}`);
    }
    if (report.bytes !== rdbBytes) throw sidecarFault(`it belongs to an RDB file of ${rdbBytes} bytes, not ${report.bytes}`);
  }

  #keyAt(database: number, position: number): Handle {
    const { keyspace } = this.#machine;
    if (database >= keyspace.databases || position >= keyspace.database(database).size) throw sidecarFault('it names a key that is not there');
    return keyspace.database(database).at(position);
  }

  *#restoreEncodings(): Generator<void, void> {
    const { keyspace } = this.#machine;
    const list = new KeyListReader(this.#sidecar.rawStrings, 0);
    for (let keys = 1; list.next(); keys++) {
      // Nothing more, but raw.
      keyspace.database(list.database).append(this.#keyAt(list.database, list.position), NOTHING, 0, 0);
      if (keys % KEYS_IN_A_STEP === 0) yield;
    }
  }

  *#restoreKeyVersions(): Generator<void, void> {
    const { keyspace } = this.#machine;
    const list = new KeyListReader(this.#sidecar.keyVersions, 2);
    for (let keys = 1; list.next(); keys++) {
      const [entries, record] = list.numbers;
      keyspace.restoreKeyVersion(this.#keyAt(list.database, list.position), this.#version(entries!, record!) * 2);
      if (keys % KEYS_IN_A_STEP === 0) yield;
    }
  }

  #restoreAbsentVersions(): void {
    const { keyspace } = this.#machine;
    const varints = new VarintReader(this.#sidecar.absentVersions);
    while (!varints.ended) {
      const bucket = varints.take();
      const version = this.#version(varints.take(), varints.take());
      if (!(bucket < VERSION_BUCKETS) || Number.isNaN(version)) throw sidecarFault('a version of absent keys is damaged');
      keyspace.restoreAbsentVersion(bucket, version * 2 + 1);
    }
  }

  #version(entries: number, record: number): number {
    return ((this.#sidecar.state.checkpoint.index + entries) % 0x1_0000_0000) * RECORDS + record;
  }
}
