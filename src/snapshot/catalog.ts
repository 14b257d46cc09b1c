// What is in the object store for one cluster, and what of it may go.
//
//   cluster-ID/snapshots/INDEX-ATTEMPT/manifest.json    a snapshot is there once this is (src/snapshot/manifest.ts)
//   cluster-ID/snapshots/INDEX-ATTEMPT/…                its parts
//   cluster-ID/log/FIRST-LAST.segment                   entries FIRST to LAST (src/snapshot/segments.ts)
//
// INDEX, FIRST and LAST have 16 digits, so that names stand in the order of the log. ATTEMPT is random: two snapshotters, or
// one before and after a crash, never write to the same name, and nothing is ever overwritten.
//
// What must hold of a retention plan:
// - The newest published snapshot stays, and so does every segment with entries behind the oldest snapshot that stays.
// - The window is whole: for every moment in it there is a snapshot at or before that moment, and the segments from there on.
// - Deletions are in an order that may stop anywhere: manifests before their parts, snapshots before segments, old ones first.
// - What is not published yet is nobody's to delete until it is old: its snapshotter may be about to publish it.
import { assert } from '../base/assert.ts';
import { errorText } from '../base/errors.ts';
import { listAll, readObject } from '../ports/object-store.ts';
import type { ListedObject, ObjectStore } from '../ports/object-store.ts';
import { MANIFEST_BYTES_MAX, decodeManifest } from './manifest.ts';
import type { SnapshotManifest, SnapshotPart } from './manifest.ts';

const MANIFEST = 'manifest.json';
const DIGITS = 16;

const padded = (index: number): string => String(index).padStart(DIGITS, '0');
const clusterFolder = (clusterId: string): string => `cluster-${clusterId}/`;

/** Ends with a slash. `attempt`: random, hexadecimal. */
export function snapshotFolder(clusterId: string, index: number, attempt: string): string {
  assert(/^[0-9a-f]{8,32}$/.test(attempt), () => `attempt ${attempt}`);
  return `${clusterFolder(clusterId)}snapshots/${padded(index)}-${attempt}/`;
}

export function manifestKey(clusterId: string, index: number, attempt: string): string {
  return snapshotFolder(clusterId, index, attempt) + MANIFEST;
}

export function segmentKey(clusterId: string, firstIndex: number, lastIndex: number): string {
  return `${clusterFolder(clusterId)}log/${padded(firstIndex)}-${padded(lastIndex)}.segment`;
}

/** A snapshot's folder, whole or not. */
export interface StoredSnapshot {
  /** Ends with a slash. */
  readonly folder: string;
  readonly index: number;
  /** All objects in it. */
  readonly objects: readonly ListedObject[];
  /** Of the newest of them, by the store's clock. */
  readonly modifiedMs: number;
  readonly manifest: SnapshotManifest | undefined;
  /** Why there is no manifest, or why it does not hold. */
  readonly fault: string | undefined;
}

export interface StoredSegment extends ListedObject {
  readonly firstIndex: number;
  readonly lastIndex: number;
}

export interface Catalog {
  /** Ascending by index. */
  readonly snapshots: readonly StoredSnapshot[];
  /** Ascending by first index, then by last. They may overlap. */
  readonly segments: readonly StoredSegment[];
}

/** Clusters that have something in this store. */
export async function listClusters(store: ObjectStore): Promise<string[]> {
  const found = new Set<string>();
  let after = '';
  for (;;) {
    const page = await store.list('cluster-', { after, limit: 1 });
    const key = page.objects[0]?.key;
    if (key === undefined && page.next === undefined) return [...found];
    const folder = (key ?? page.next ?? '').split('/')[0] ?? '';
    if (key !== undefined) found.add(folder.slice('cluster-'.length));
    after = `${folder}/~`; // behind all keys of this cluster: no key has a ~
  }
}

export async function readCatalog(store: ObjectStore, clusterId: string): Promise<Catalog> {
  const folders = new Map<string, ListedObject[]>();
  for await (const object of listAll(store, `${clusterFolder(clusterId)}snapshots/`)) {
    const folder = /^.*\/snapshots\/\d{16}-[0-9a-f]+\//.exec(object.key)?.[0];
    if (folder === undefined) continue;
    const objects = folders.get(folder);
    if (objects === undefined) folders.set(folder, [object]);
    else objects.push(object);
  }
  const snapshots: StoredSnapshot[] = [];
  for (const [folder, objects] of folders) snapshots.push(await readSnapshot(store, clusterId, folder, objects));
  const segments: StoredSegment[] = [];
  for await (const object of listAll(store, `${clusterFolder(clusterId)}log/`)) {
    const [, first, last] = /\/log\/(\d{16})-(\d{16})\.segment$/.exec(object.key) ?? [];
    if (first !== undefined && last !== undefined) segments.push({ ...object, firstIndex: Number(first), lastIndex: Number(last) });
  }
  return { snapshots, segments };
}

async function readSnapshot(store: ObjectStore, clusterId: string, folder: string, objects: readonly ListedObject[]): Promise<StoredSnapshot> {
  const index = Number(/\/(\d{16})-[0-9a-f]+\/$/.exec(folder)?.[1]);
  const base = { folder, index, objects, modifiedMs: Math.max(...objects.map(({ modifiedMs }) => modifiedMs)) };
  const entry = objects.find(({ key }) => key === folder + MANIFEST);
  if (entry === undefined) return { ...base, manifest: undefined, fault: 'it has no manifest: it is being written, or its writer has died' };
  try {
    if (entry.storedBytes > 2 * MANIFEST_BYTES_MAX) return { ...base, manifest: undefined, fault: `${entry.key} has ${entry.storedBytes} bytes` };
    const manifest = decodeManifest(await readObject(store, entry.key), entry.key);
    const fault = snapshotFault(manifest, clusterId, index, objects);
    return { ...base, manifest: fault === undefined ? manifest : undefined, fault };
  } catch (thrown) {
    const { code } = thrown as { code?: string };
    // A store that does not answer says nothing about a snapshot.
    if (code !== 'OBJECT_DAMAGED' && code !== 'OBJECT_NOT_FOUND' && code !== 'ENCRYPTION_KEY') throw thrown;
    return { ...base, manifest: undefined, fault: errorText(thrown) };
  }
}

function snapshotFault(manifest: SnapshotManifest, clusterId: string, index: number, objects: readonly ListedObject[]): string | undefined {
  if (manifest.clusterId !== clusterId) return `its manifest is of cluster ${manifest.clusterId}`;
  if (manifest.index !== index) return `its manifest is of index ${manifest.index}`;
  const there = new Set(objects.map(({ key }) => key));
  const missing = manifest.parts.find(({ key }) => !there.has(key));
  return missing === undefined ? undefined : `${missing.key} is missing`;
}

/** Reads every part against its length and SHA-256; throws at the first that is not right. */
export async function verifyParts(store: ObjectStore, manifest: SnapshotManifest, onBytes: (bytes: number, part: SnapshotPart) => void = () => {}): Promise<void> {
  for (const part of manifest.parts) {
    for await (const chunk of await store.get(part.key, { bytes: part.bytes, sha256: part.sha256 })) onBytes(chunk.length, part);
  }
}

/** The segments that lead from behind `afterIndex` as far as they reach without a gap. */
export interface SegmentChain {
  readonly segments: readonly StoredSegment[];
  /** Last entry that they hold; `afterIndex` if there is none. */
  readonly lastIndex: number;
  /** There are segments behind a gap. */
  readonly hasGap: boolean;
}

export function segmentChain(segments: readonly StoredSegment[], afterIndex: number): SegmentChain {
  const chain: StoredSegment[] = [];
  let lastIndex = afterIndex;
  let highest = afterIndex;
  let best: StoredSegment | undefined;
  for (const segment of segments) {
    highest = Math.max(highest, segment.lastIndex);
    if (segment.firstIndex > lastIndex + 1 && best !== undefined) {
      chain.push(best);
      lastIndex = best.lastIndex;
      best = undefined;
    }
    if (segment.firstIndex > lastIndex + 1) continue; // behind a gap
    if (segment.lastIndex > (best?.lastIndex ?? lastIndex)) best = segment;
  }
  if (best !== undefined) {
    chain.push(best);
    lastIndex = best.lastIndex;
  }
  return { segments: chain, lastIndex, hasGap: highest > lastIndex };
}

export interface RetentionRules {
  /** How far back from the newest snapshot, or from now where that is earlier, any moment must stay within reach. */
  readonly windowMs: number;
  /** Verified snapshots that stay in any case, the newest ones; at least 1. */
  readonly snapshotsMin: number;
  /** What was begun and not published is left alone for so long. */
  readonly unpublishedMs: number;
}

export interface RetentionPlan {
  /** Keys in the order in which to delete them. */
  readonly deletions: readonly string[];
  readonly kept: readonly StoredSnapshot[];
  /** Log time from which on every moment is within reach; undefined: nothing is published. */
  readonly reachesBackToMs: number | undefined;
  /** What an operator should know. */
  readonly warnings: readonly string[];
}

/**
 * What may go. `publishedIndex` is that of the newest snapshot that the log has published (0: none): up to there a snapshot
 * with a valid manifest counts, whichever attempt it is; beyond, it may still be on its way.
 */
export function planRetention(catalog: Catalog, publishedIndex: number, rules: RetentionRules, nowMs: number): RetentionPlan {
  assert(rules.snapshotsMin >= 1 && rules.windowMs >= 0 && rules.unpublishedMs >= 0, 'retention keeps at least one snapshot');
  const bases = catalog.snapshots.filter(({ manifest, index }) => manifest !== undefined && index <= publishedIndex);
  const newest = bases.at(-1);
  if (newest === undefined || newest.index !== publishedIndex) {
    const warnings = publishedIndex === 0 ? [] : [`the published snapshot at index ${publishedIndex} is not in the store, or does not hold: nothing is deleted`];
    return { deletions: [], kept: [...catalog.snapshots], reachesBackToMs: undefined, warnings };
  }
  const timeOf = (snapshot: StoredSnapshot): number => snapshot.manifest?.timeMs ?? 0;
  // Back from the newest snapshot, where that is older than the clock says: a clock that jumps ahead must not empty the store.
  const windowStartMs = Math.min(nowMs, timeOf(newest)) - rules.windowMs;
  // The newest one that is no younger than the window's start is where a restore to that start begins.
  const startAt = bases.findLastIndex((snapshot) => timeOf(snapshot) <= windowStartMs);
  // Attempts at one index count once; and it is not known which one of the newest the log names.
  const indexes = [...new Set(bases.map(({ index }) => index))];
  const indexMin = indexes.at(-Math.min(rules.snapshotsMin, indexes.length)) ?? 0;
  const firstKept = Math.max(0, Math.min(startAt, bases.findIndex(({ index }) => index >= indexMin)));
  const keptBases = bases.slice(firstKept);
  const oldest = keptBases[0] ?? newest;
  const oldMs = (snapshot: StoredSnapshot): number => (hasManifest(snapshot) ? rules.windowMs + rules.unpublishedMs : rules.unpublishedMs);
  const isOld = (snapshot: StoredSnapshot): boolean => snapshot.index < publishedIndex && nowMs - snapshot.modifiedMs > oldMs(snapshot);
  const goneSnapshots = catalog.snapshots.filter((snapshot) => (bases.includes(snapshot) ? !keptBases.includes(snapshot) : isOld(snapshot)));
  // One whose manifest cannot be read (its key may be missing from the key file) may be needed again, with what is behind it.
  const inDoubt = catalog.snapshots.find((snapshot) => !goneSnapshots.includes(snapshot) && hasManifest(snapshot) && snapshot.manifest === undefined);
  // Where no snapshot is as old as the window, the log from its first entry on takes the place of one, if it is whole.
  const logBegins = startAt < 0 && segmentChain(catalog.segments, 0).lastIndex >= oldest.index;
  const neededBehind = logBegins ? 0 : Math.min(oldest.index, inDoubt?.index ?? Infinity);
  const goneSegments = catalog.segments.filter(({ lastIndex }) => lastIndex <= neededBehind);
  const deletions = [
    ...goneSnapshots.flatMap(({ folder, objects }) => {
      const keys = objects.map(({ key }) => key);
      return [...keys.filter((key) => key === folder + MANIFEST), ...keys.filter((key) => key !== folder + MANIFEST)];
    }),
    ...goneSegments.map(({ key }) => key),
  ];
  const warnings = warningsOf(catalog, oldest);
  assert(!bases.some(({ folder, index }) => index === publishedIndex && deletions.some((key) => key.startsWith(folder))), 'the newest published snapshot stays');
  return { deletions, kept: catalog.snapshots.filter((snapshot) => !goneSnapshots.includes(snapshot)), reachesBackToMs: timeOf(oldest), warnings };
}

/** Whether it was whole once: its manifest is there, readable or not. */
export const hasManifest = ({ folder, objects }: Pick<StoredSnapshot, 'folder' | 'objects'>): boolean => objects.some(({ key }) => key === folder + MANIFEST);

function warningsOf(catalog: Catalog, oldest: StoredSnapshot): string[] {
  const chain = segmentChain(catalog.segments, oldest.index);
  const warnings = chain.hasGap ? [`the archive has a gap behind index ${chain.lastIndex}: moments behind it are out of reach until the next snapshot`] : [];
  for (const snapshot of catalog.snapshots) {
    if (snapshot.fault !== undefined && hasManifest(snapshot)) warnings.push(`snapshot ${snapshot.folder} does not hold: ${snapshot.fault}`);
  }
  return warnings;
}

/** Carries a plan out. May stop anywhere and be planned again. */
export async function deleteAll(store: ObjectStore, keys: readonly string[]): Promise<void> {
  for (const key of keys) await store.delete(key);
}
