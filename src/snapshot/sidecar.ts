// The sidecar of a snapshot: the machine's state that its RDB file has no place for. Owns these bytes.
//
// Layout, little-endian, version 1:
//    0   8   "HFSTATE" and a zero
//    8   4   version
//   12   4   bytes of the head                       16   …   the head: JSON, members in the order of `headOf`
//    …   three sections, each 4 bytes of length and varints (varints.ts):
//        raw strings     keys whose encoding is raw where a loader would take another one
//        key versions    keys changed after the last checkpoint: two more numbers each, entries after it and record number
//        absent versions buckets changed after it: number of the bucket, entries after the checkpoint, record number
//        A key: its place in the dense order, less the place of the one before it in the section, which is at least 1 (the
//        first of a database counts from −1). A 0 goes before the number of a database, of which the keys behind it are.
//  end−8  8   CRC-64 of all before it
// Valid: all lengths add up, the CRC matches, and the version is known.
//
// Encodings of hashes and sorted sets need no place here: the RDB types tell packed ones from large ones.
import { assert } from '../base/assert.ts';
import { Crc64 } from '../base/crc64.ts';
import { configurationAtFrom, type ConfigurationAt } from '../base/configuration.ts';
import { OperationalError } from '../base/errors.ts';
import { DATABASES_MAX } from '../base/limits.ts';
import { publishedFrom, type PublishedRecord } from '../commands/publishing.ts';
import type { MachineState } from '../machine/machine.ts';
import type { Digest } from '../keyspace/types.ts';
import { VarintReader, VarintWriter } from './varints.ts';

const MAGIC = 'HFSTATE\0';
export const SIDECAR_VERSION = 1;
const HEAD_AT = 16;
const CRC_BYTES = 8;

export interface SidecarHead {
  readonly state: MachineState;
  /** What the machine must be able to run to go on from here. */
  readonly machineVersion: number;
  /** Of the machine, keys included. */
  readonly digest: Digest;
  /** Of the RDB file that belongs to it. */
  readonly rdbBytes: number;
  readonly rdbChecksum: string;
}

/** Keys by their places, each with some numbers, in the order of databases and places. */
export class KeyList {
  readonly #varints = new VarintWriter();
  #database = -1;
  #position = -1;

  add(database: number, position: number, ...numbers: readonly number[]): void {
    if (database !== this.#database) {
      assert(database > this.#database, 'databases come in order');
      this.#varints.put(0);
      this.#varints.put(database);
      this.#database = database;
      this.#position = -1;
    }
    this.#varints.put(position - this.#position);
    this.#position = position;
    for (const number of numbers) this.#varints.put(number);
  }

  get bytes(): Uint8Array {
    return this.#varints.bytes;
  }
}

/** Reads a KeyList, key by key: in a busy cluster it names each one, so nothing is allocated for one. */
export class KeyListReader {
  readonly #varints: VarintReader;
  database = -1;
  position = -1;
  /** Those of the key that `next` came to; overwritten by the next. */
  readonly numbers: number[];

  /** `count`: numbers of each key. */
  constructor(bytes: Uint8Array, count: number) {
    this.#varints = new VarintReader(bytes);
    this.numbers = new Array<number>(count).fill(0);
  }

  /** False behind the last. */
  next(): boolean {
    const varints = this.#varints;
    for (;;) {
      if (varints.ended) return false;
      const step = varints.take();
      if (step !== 0) {
        this.position += step;
        break;
      }
      this.database = varints.take();
      this.position = -1;
    }
    let isWhole = !Number.isNaN(this.position) && !Number.isNaN(this.database);
    for (let i = 0; i < this.numbers.length; i++) {
      const number = varints.take();
      this.numbers[i] = number;
      isWhole &&= !Number.isNaN(number);
    }
    if (!isWhole) throw sidecarFault('a list of keys ends too early');
    return true;
  }
}

export interface Sidecar extends SidecarHead {
  readonly rawStrings: Uint8Array;
  readonly keyVersions: Uint8Array;
  readonly absentVersions: Uint8Array;
}

export function encodeSidecar(sidecar: Sidecar): Uint8Array<ArrayBuffer> {
  const head = Buffer.from(JSON.stringify(headOf(sidecar)), 'utf8');
  const sections = [sidecar.rawStrings, sidecar.keyVersions, sidecar.absentVersions];
  const size = HEAD_AT + head.length + sections.reduce((sum, section) => sum + 4 + section.length, 0) + CRC_BYTES;
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  bytes.set(Buffer.from(MAGIC, 'latin1'));
  view.setUint32(8, SIDECAR_VERSION, true);
  view.setUint32(12, head.length, true);
  bytes.set(head, HEAD_AT);
  let at = HEAD_AT + head.length;
  for (const section of sections) {
    view.setUint32(at, section.length, true);
    bytes.set(section, at + 4);
    at += 4 + section.length;
  }
  const crc = new Crc64();
  crc.update(bytes, 0, at);
  crc.write(bytes, at);
  return bytes;
}

/** Throws OperationalError if the bytes are no sound sidecar of a version that this release reads. */
export function decodeSidecar(bytes: Uint8Array): Sidecar {
  const end = bytes.length - CRC_BYTES;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (end < HEAD_AT || Buffer.from(bytes.subarray(0, 8)).toString('latin1') !== MAGIC) throw sidecarFault('it is none');
  const crc = new Crc64();
  crc.update(bytes, 0, end);
  if (!crc.matches(bytes, end)) throw sidecarFault('its checksum does not match its bytes');
  const version = view.getUint32(8, true);
  if (version !== SIDECAR_VERSION) throw sidecarFault(`it has version ${version}, and this release reads ${SIDECAR_VERSION}`);
  let at = HEAD_AT + view.getUint32(12, true);
  if (at > end) throw sidecarFault('its head is longer than the file');
  const head = headFrom(Buffer.from(bytes.subarray(HEAD_AT, at)).toString('utf8'));
  const section = (): Uint8Array => {
    if (at + 4 > end || at + 4 + view.getUint32(at, true) > end) throw sidecarFault('a section is longer than the file');
    const start = at + 4;
    at = start + view.getUint32(at, true);
    return bytes.subarray(start, at);
  };
  const sidecar = { ...head, rawStrings: section(), keyVersions: section(), absentVersions: section() };
  if (at !== end) throw sidecarFault('it has bytes that belong to nothing');
  return sidecar;
}

interface Head {
  readonly index: number;
  readonly term: number;
  readonly timeMs: number;
  readonly checkpoint: { readonly index: number; readonly digest: Digest };
  readonly databases: number;
  readonly hashKey: string;
  readonly settings: ReadonlyArray<readonly [string, number]>;
  /** Not there if no snapshot was published before. */
  readonly published?: PublishedRecord;
  /** Not there if the members are those of the beginning. */
  readonly configuration?: ConfigurationAt;
  readonly machineVersion: number;
  readonly digest: Digest;
  readonly rdbBytes: number;
  readonly rdbChecksum: string;
}

function headOf({ state, machineVersion, digest, rdbBytes, rdbChecksum }: SidecarHead): Head {
  const { index, term, timeMs, checkpoint, databases, settings, published, configuration } = state;
  return {
    index,
    term,
    timeMs,
    checkpoint: { index: checkpoint.index, digest: { low: checkpoint.digest.low, high: checkpoint.digest.high } },
    databases,
    hashKey: Buffer.from(state.hashKey).toString('hex'),
    settings,
    ...(published === undefined ? {} : { published }),
    ...(configuration === undefined ? {} : { configuration }),
    machineVersion,
    digest: { low: digest.low, high: digest.high },
    rdbBytes,
    rdbChecksum,
  };
}

function headFrom(text: string): SidecarHead {
  let head: Head;
  try {
    head = JSON.parse(text) as Head;
  } catch {
    throw sidecarFault('its head is no JSON');
  }
  const { index, term, timeMs, checkpoint, databases, settings, machineVersion, digest, rdbBytes, rdbChecksum } = head;
  const numbers = [index, term, timeMs, checkpoint?.index, databases, machineVersion, digest?.low, digest?.high, rdbBytes];
  const hashKey = new Uint8Array(Buffer.from(String(head.hashKey), 'hex'));
  if (!numbers.every(Number.isSafeInteger) || hashKey.length !== 16 || !Array.isArray(settings)) throw sidecarFault('its head lacks something');
  if (!(databases >= 1 && databases <= DATABASES_MAX) || !(settings as readonly unknown[]).every(isSetting)) throw sidecarFault('its head has what no machine has');
  const published = publishedFrom(head.published);
  if (head.published !== undefined && published === undefined) throw sidecarFault('its record of the snapshot before is damaged');
  const configuration = configurationAtFrom(head.configuration);
  if (head.configuration !== undefined && configuration === undefined) throw sidecarFault('what it says of the members is damaged');
  const state = { index, term, timeMs, checkpoint, databases, hashKey, settings, published, configuration };
  return { state, machineVersion, digest, rdbBytes, rdbChecksum };
}

function isSetting(value: unknown): boolean {
  return Array.isArray(value) && value.length === 2 && typeof value[0] === 'string' && Number.isSafeInteger(value[1]);
}

export function sidecarFault(what: string): OperationalError {
  return new OperationalError('SNAPSHOT', `the state file of the snapshot cannot be used: ${what}`);
}
