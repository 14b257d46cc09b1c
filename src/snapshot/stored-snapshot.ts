// One snapshot in the object store: a machine written as the objects of a folder, and those loaded as a machine again. Who verifies
// a snapshot and who starts from it run the same code.
//
// What must hold:
// - The machine applies nothing while it is written.
// - Nothing is taken from objects whose length, SHA-256, CRCs and digest are not those of the manifest.
import { OperationalError } from '../base/errors.ts';
import type { CommandTable } from '../commands/table.ts';
import { digestText, type Machine, MACHINE_VERSION, type MachineReport } from '../machine/machine.ts';
import { type ObjectStore, readObject } from '../ports/object-store.ts';
import { type Catalog, snapshotFolder, type StoredSnapshot } from './catalog.ts';
import { SnapshotRestore, SnapshotWriter } from './machine-snapshot.ts';
import type { SnapshotManifest, SnapshotPart } from './manifest.ts';

export const PartName = { data: 'data', state: 'state' } as const;
const OBJECT_OF = { data: 'data.rdb', state: 'state' } as const;

/** What a machine is made with. */
export interface MachineMaking {
  readonly table: CommandTable;
  readonly report: MachineReport;
}

/** Who writes, for the manifest. */
export interface SnapshotOrigin {
  readonly clusterId: string;
  /** Random, hexadecimal. */
  readonly attempt: string;
  readonly release: string;
  readonly encryptionKeyId: string | null;
  readonly createdMs: number;
}

export interface WrittenSnapshot {
  readonly folder: string;
  readonly manifest: SnapshotManifest;
  readonly keys: number;
}

/** Stores the two parts; the manifest that it gives is for the caller to store, once it has loaded them again. */
export async function writeSnapshot(store: ObjectStore, machine: Machine, origin: SnapshotOrigin, onBytes: (bytes: number) => void): Promise<WrittenSnapshot> {
  const { clusterId, release, encryptionKeyId, createdMs } = origin;
  const { appliedIndex: index, appliedTerm: term, timeMs } = machine;
  const digest = digestText(machine.digest());
  const folder = snapshotFolder(clusterId, index, origin.attempt);
  const writer = new SnapshotWriter(machine, createdMs);
  function* chunks(): Generator<Uint8Array> {
    for (let chunk = writer.next(); chunk !== undefined; chunk = writer.next()) {
      onBytes(writer.bytes);
      yield chunk;
    }
  }
  const put = async (name: keyof typeof OBJECT_OF, source: Iterable<Uint8Array>): Promise<SnapshotPart> => {
    const key = folder + OBJECT_OF[name];
    const { bytes, sha256 } = await store.put(key, source);
    return { name: PartName[name], key, bytes, sha256 };
  };
  const data = await put('data', chunks());
  const state = await put('state', [writer.sidecar()]);
  const manifest: SnapshotManifest = { clusterId, index, term, timeMs, machineVersion: MACHINE_VERSION, digest, createdMs, release, encryptionKeyId, parts: [data, state] };
  return { folder, manifest, keys: writer.keys };
}

/** The objects that a write which failed may have left. */
export function partKeys(folder: string): string[] {
  return Object.values(OBJECT_OF).map((name) => folder + name);
}

export function partOf(manifest: SnapshotManifest, name: keyof typeof PartName): SnapshotPart {
  const part = manifest.parts.find((each) => each.name === PartName[name]);
  if (part === undefined) throw new OperationalError('OBJECT_DAMAGED', `the snapshot at index ${manifest.index} has no part "${PartName[name]}"; use another one`);
  return part;
}

/** That a manifest is the one that was named, and of a state that this release can load. */
export function assertNamed(manifest: SnapshotManifest, key: string, { clusterId, index, term }: { readonly clusterId: string; readonly index: number; readonly term: number }): void {
  if (manifest.clusterId !== clusterId || manifest.index !== index || manifest.term !== term) {
    throw new OperationalError('SNAPSHOT', `${key} is of entry ${manifest.index}/${manifest.term} of cluster ${manifest.clusterId}; ${index}/${term} of cluster ${clusterId} was named`);
  }
  if (manifest.machineVersion > MACHINE_VERSION) {
    throw new OperationalError('SNAPSHOT', `${key} needs machine version ${manifest.machineVersion}, and this release runs ${MACHINE_VERSION}: upgrade this node`);
  }
}

/** Where a snapshot's two files come from. */
export interface SnapshotSource {
  sidecar(): Promise<Uint8Array>;
  rdb(): AsyncIterable<Uint8Array> | Promise<AsyncIterable<Uint8Array>>;
  /** Of the RDB file, in hex, where it is known and `rdb` does not compare it. */
  readonly sha256?: string;
}

/** A sidecar larger than this is none: it has a few bytes for each key changed lately. */
const SIDECAR_BYTES_MAX = 1024 ** 3;

export function sourceOf(store: ObjectStore, manifest: SnapshotManifest): SnapshotSource {
  const [data, state] = [partOf(manifest, 'data'), partOf(manifest, 'state')];
  if (state.bytes > SIDECAR_BYTES_MAX) throw new OperationalError('OBJECT_DAMAGED', `${state.key} has ${state.bytes} bytes, which no state file has`);
  return {
    sidecar: () => readObject(store, state.key, { bytes: state.bytes, sha256: state.sha256 }),
    rdb: () => store.get(data.key, { bytes: data.bytes, sha256: data.sha256 }),
  };
}

/** What the loaded machine must be. */
export interface SnapshotFacts {
  readonly index: number;
  readonly term: number;
  readonly digest: string;
}

export async function loadMachine(source: SnapshotSource, facts: SnapshotFacts, making: MachineMaking, onBytes: (bytes: number, total: number) => void = () => {}): Promise<Machine> {
  const restore = new SnapshotRestore(making.table, making.report, () => 0, await source.sidecar());
  let bytes = 0;
  for await (const chunk of await source.rdb()) {
    restore.feed(chunk);
    bytes += chunk.length;
    onBytes(bytes, restore.bytes);
  }
  const machine = restore.end();
  const own: SnapshotFacts = { index: machine.appliedIndex, term: machine.appliedTerm, digest: digestText(machine.digest()) };
  for (const name of ['index', 'term', 'digest'] as const) {
    if (own[name] !== facts[name]) throw new OperationalError('SNAPSHOT', `the snapshot has ${name} ${own[name]} once loaded, where its manifest says ${facts[name]}; use another one`);
  }
  return machine;
}

export function loadSnapshot(store: ObjectStore, manifest: SnapshotManifest, making: MachineMaking, onBytes?: (bytes: number, total: number) => void): Promise<Machine> {
  return loadMachine(sourceOf(store, manifest), manifest, making, onBytes);
}

/** Whether what was thrown says that this snapshot cannot be used, rather than that the store cannot. */
export function isSnapshotFault(thrown: unknown): thrown is OperationalError {
  return thrown instanceof OperationalError && ['OBJECT_DAMAGED', 'OBJECT_NOT_FOUND', 'SNAPSHOT', 'ENCRYPTION_KEY'].includes(thrown.code);
}

export type SoundSnapshot = StoredSnapshot & { readonly manifest: SnapshotManifest };

/** Those with a valid manifest, newest first. */
export function soundSnapshots(catalog: Catalog): SoundSnapshot[] {
  return catalog.snapshots.filter((one): one is SoundSnapshot => one.manifest !== undefined).reverse();
}
