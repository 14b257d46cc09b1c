// `holdfast snapshot list | verify | export | create`: what is in the object store, whether it holds, one of it as an RDB file that
// stock redis-server loads, and a new one.
import fs from 'node:fs';
import path from 'node:path';
import { errorText, OperationalError } from '../base/errors.ts';
import { allCommands } from '../commands/all.ts';
import { CommandTable } from '../commands/table.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import { openSegment } from '../snapshot/archiver.ts';
import { type Catalog, hasManifest, readCatalog, segmentChain, type StoredSnapshot } from '../snapshot/catalog.ts';
import { ReplayReport } from '../snapshot/replay.ts';
import { isSnapshotFault, loadSnapshot, partOf, soundSnapshots, type SoundSnapshot } from '../snapshot/stored-snapshot.ts';
import { takeFlag, takeOption } from './options.ts';
import { errorOf, parseAddress, RespClient } from './resp-client.ts';
import { chooseStore } from './store-options.ts';
import { bar, ProgressLine, rateText, sizeText, tableText, timeText } from './terminal.ts';

const POLL_MS = 200;

export async function snapshotCommand(args: readonly string[]): Promise<void> {
  const [verb, ...words] = args;
  switch (verb) {
    case 'list':
      return list(words);
    case 'verify':
      return verify(words);
    case 'export':
      return exportRdb(words);
    case 'create':
      return create(words);
    default:
      throw new OperationalError('CONFIG', `command line: snapshot ${verb ?? ''} is nothing; there are list, verify, export and create`);
  }
}

const print = (text: string): void => void process.stdout.write(`${text}\n`);

async function list(words: string[]): Promise<void> {
  const { store, clusterId } = await chooseStore(words);
  const catalog = await readCatalog(store, clusterId);
  print(`cluster ${clusterId} in ${store.location}`);
  const rows = catalog.snapshots.map((snapshot) => {
    const bytes = snapshot.objects.reduce((sum, { storedBytes }) => sum + storedBytes, 0);
    const { manifest } = snapshot;
    const state = manifest === undefined ? (snapshot.fault ?? 'no manifest') : 'verified when it was made';
    return [String(snapshot.index), manifest === undefined ? '' : timeText(manifest.timeMs), sizeText(bytes), manifest?.digest ?? '', manifest?.encryptionKeyId ?? '', state];
  });
  print(rows.length === 0 ? 'no snapshots' : tableText([['index', 'log time', 'size', 'digest', 'key', 'state'], ...rows]));
  print(archiveText(catalog));
}

function archiveText({ segments, snapshots }: Catalog): string {
  const oldest = soundSnapshots({ segments, snapshots }).at(-1);
  const chain = segmentChain(segments, oldest?.index ?? 0);
  const bytes = segments.reduce((sum, { storedBytes }) => sum + storedBytes, 0);
  const gap = chain.hasGap ? `, then a gap: what is behind it is in reach only from a later snapshot` : '';
  return `archive: ${segments.length} segments, ${sizeText(bytes)}; every entry from ${oldest?.index ?? 0} to ${chain.lastIndex} is in reach${gap}`;
}

/** The snapshot that --index names, or the newest that is whole. */
function takeSnapshot(catalog: Catalog, words: string[]): SoundSnapshot {
  const text = takeOption(words, 'index');
  const sound = soundSnapshots(catalog);
  const found = text === undefined ? sound[0] : sound.find(({ index }) => index === Number(text));
  if (found !== undefined) return found;
  const there = sound.map(({ index }) => index).join(', ') || 'none';
  const broken = catalog.snapshots.find((one: StoredSnapshot) => one.index === Number(text))?.fault;
  throw new OperationalError('SNAPSHOT', `there is no whole snapshot${text === undefined ? '' : ` at index ${text}${broken === undefined ? '' : ` (${broken})`}`}; there are: ${there}`);
}

/** Says of each whether it holds, and fails where one does not. */
async function verify(words: string[]): Promise<void> {
  const all = takeFlag(words, 'all');
  const index = words.includes('--index') ? ['--index', takeOption(words, 'index') ?? ''] : [];
  const { store, clusterId } = await chooseStore(words);
  const line = new ProgressLine();
  try {
    const catalog = await readCatalog(store, clusterId);
    const snapshots = all ? soundSnapshots(catalog) : [takeSnapshot(catalog, index)];
    let faults = 0;
    const fault = (text: string): void => {
      faults++;
      print(text);
    };
    for (const snapshot of snapshots) {
      try {
        print(await verifySnapshot(store, snapshot, line));
      } catch (thrown) {
        if (!isSnapshotFault(thrown)) throw thrown;
        fault(`${snapshot.folder}: does not hold: ${thrown.message}`);
      }
    }
    await verifyArchive(store, clusterId, catalog, snapshots.at(-1)?.index ?? 0, line, fault);
    for (const one of catalog.snapshots) {
      // Without a manifest it is under way, or its writer has died: no snapshot, and no fault.
      if (one.fault !== undefined) (hasManifest(one) ? fault : print)(`${one.folder}: ${one.fault}`);
    }
    if (faults > 0) throw new OperationalError('SNAPSHOT', `${faults} of the above ${faults === 1 ? 'does' : 'do'} not hold: look after ${store.location}, and have a new snapshot made (holdfast snapshot create)`);
  } finally {
    line.clear();
    store.close();
  }
}

async function verifySnapshot(store: ObjectStore, { manifest, folder }: SoundSnapshot, line: ProgressLine): Promise<string> {
  const startedMs = performance.now();
  const report = new ReplayReport({ debug: () => {}, info: () => {}, warn: () => {}, error: () => {} });
  const elapsedMs = (): number => performance.now() - startedMs;
  try {
    await loadSnapshot(store, manifest, { table: new CommandTable(allCommands), report }, (done, total) =>
      line.show(() => bar(done, total, `snapshot ${manifest.index}`, rateText(done, elapsedMs()))),
    );
  } finally {
    line.clear();
  }
  const { bytes } = partOf(manifest, 'data');
  return `${folder}: loaded, ${sizeText(bytes)}, digest ${manifest.digest} as written (${rateText(bytes, elapsedMs())})`;
}

async function verifyArchive(store: ObjectStore, clusterId: string, catalog: Catalog, from: number, line: ProgressLine, fault: (text: string) => void): Promise<void> {
  const chain = segmentChain(catalog.segments, from);
  const total = chain.segments.reduce((sum, { storedBytes }) => sum + storedBytes, 0);
  let done = 0;
  let broken = 0;
  for (const segment of chain.segments) {
    try {
      const entries = await openSegment(store, clusterId, segment);
      for (let step = await entries.next(); step.done !== true; step = await entries.next());
    } catch (thrown) {
      if (!isSnapshotFault(thrown)) throw thrown;
      broken++;
      fault(`${segment.key}: does not hold: ${thrown.message}`);
    }
    done += segment.storedBytes;
    line.show(() => bar(done, total, `segment ${segment.firstIndex} to ${segment.lastIndex}`));
  }
  line.clear();
  if (broken === 0) print(`archive: ${chain.segments.length} segments read, entries ${from + 1} to ${chain.lastIndex} are whole`);
  if (chain.hasGap) fault(`archive: entries are missing behind ${chain.lastIndex}`);
}

async function exportRdb(words: string[]): Promise<void> {
  const out = takeOption(words, 'out');
  if (out === undefined) throw new OperationalError('CONFIG', 'command line: snapshot export needs --out FILE.rdb');
  const index = words.includes('--index') ? ['--index', takeOption(words, 'index') ?? ''] : [];
  const { store, clusterId } = await chooseStore(words);
  const { manifest } = takeSnapshot(await readCatalog(store, clusterId), index);
  const file = path.resolve(out);
  const part = partOf(manifest, 'data');
  const line = new ProgressLine();
  const temporary = `${file}.${process.pid}.tmp`;
  const handle = await fs.promises.open(temporary, 'wx', 0o600).catch((thrown: unknown) => {
    throw new OperationalError('CONFIG', `command line: --out: ${file} cannot be written: ${errorText(thrown)}`, { cause: thrown });
  });
  try {
    let done = 0;
    // Its length and SHA-256 are checked behind the last chunk: the name is given only then.
    for await (const chunk of await store.get(part.key, { bytes: part.bytes, sha256: part.sha256 })) {
      await handle.writeFile(chunk);
      done += chunk.length;
      line.show(() => bar(done, part.bytes, sizeText(done)));
    }
    await handle.sync();
    await handle.close();
    await fs.promises.rename(temporary, file);
  } catch (thrown) {
    await handle.close().catch(() => {});
    await fs.promises.rm(temporary, { force: true });
    if (thrown instanceof OperationalError || (thrown as NodeJS.ErrnoException).code === undefined) throw thrown;
    throw new OperationalError('CONFIG', `command line: --out: ${file} cannot be written: ${errorText(thrown)}`, { cause: thrown });
  } finally {
    line.clear();
    store.close();
  }
  print(`${file}: snapshot at index ${manifest.index} of ${timeText(manifest.timeMs)}, ${sizeText(part.bytes)}`);
}

/** Asks a node, and waits until a snapshot with everything that is written there now is published. */
async function create(words: string[]): Promise<void> {
  const to = takeOption(words, 'to');
  const password = takeOption(words, 'password') ?? '';
  if (to === undefined) throw new OperationalError('CONFIG', 'command line: snapshot create needs --to host:port, a node of the cluster');
  const client = await RespClient.connect(parseAddress(to, password));
  const line = new ProgressLine();
  const startedMs = performance.now();
  try {
    for (;;) {
      const reply = client.send(['SAVE']);
      client.flush();
      line.show(() => 'waiting until the snapshotter has made a snapshot, and it is published');
      const error = errorOf(await reply);
      if (error === undefined) break;
      // One that was begun before may not have everything in it.
      if (!/already in progress/.test(error)) throw new OperationalError('SNAPSHOT', `${client.address} answered: ${error.replace(/^ERR /, '')}`);
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
    const at = timeText(Number(await client.askText('LASTSAVE')) * 1000);
    line.clear();
    print(`a snapshot with everything written so far is published, at ${at} (${Math.round(performance.now() - startedMs)} ms)`);
  } finally {
    line.clear();
    client.close();
  }
}
