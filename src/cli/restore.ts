// `holdfast restore`: makes the data directories of a new cluster that goes on from a moment in the past of another one.
//
// What must hold: killed anywhere, it leaves nothing that a node takes for a whole restore. All folders `restore/` are there before
// the first byte is written, and each restore.json comes after all data of all nodes; `holdfast init` refuses a folder
// without one (init.ts), so no node of a restore that was cut short begins an empty cluster.
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { replaceSynced, syncPath, writeSynced } from '../adapters/fsync.ts';
import { errorText, OperationalError } from '../base/errors.ts';
import { allCommands } from '../commands/all.ts';
import { CommandTable } from '../commands/table.ts';
import { digestText, type Machine } from '../machine/machine.ts';
import type { Logger } from '../ports/logger.ts';
import { SnapshotWriter } from '../snapshot/machine-snapshot.ts';
import { encodeRestoreMeta, RestoreFile, type RestoreMeta } from '../snapshot/restore-files.ts';
import { beginNewCluster, Restore, type Restored, type RestorePlan, type RestoreTarget } from '../snapshot/restore.ts';
import { takeFlag, takeOption } from './options.ts';
import { chooseStore } from './store-options.ts';
import { bar, ProgressLine, rateText, sizeText, timeText } from './terminal.ts';

const NODES_MAX = 7;

interface Order {
  readonly target: RestoreTarget;
  readonly dir: string;
  readonly nodes: number;
  readonly dryRun: boolean;
}

export async function restore(args: readonly string[]): Promise<void> {
  const words = [...args];
  const order = takeOrder(words);
  const { store, clusterId } = await chooseStore(words);
  const line = new ProgressLine();
  const out = (text: string): void => {
    line.clear();
    process.stdout.write(`${text}\n`);
  };
  const logger = warningsTo(out);
  const restoring = new Restore(store, clusterId, new CommandTable(allCommands), logger, timeText);
  out(`cluster ${clusterId} in ${store.location}`);
  if (order.dryRun) {
    out(planText(await restoring.plan(order.target)));
    out('dry run: nothing was written');
    store.close();
    return;
  }
  assertEmpty(order.dir);
  const startedMs = performance.now();
  const restored = await restoring.run(order.target, {
    progress: (phase, done, total) => line.show(() => bar(done, total, `${phase} ${sizeText(done)}`, rateText(done, performance.now() - startedMs))),
  });
  store.close();
  out(planText(restored.plan));
  out(accountText(restored));
  const newId = randomBytes(8).toString('hex');
  for (const text of makeDirectories(restored.machine, order, newId, line)) out(text);
}

function takeOrder(words: string[]): Order {
  const toTime = takeOption(words, 'to-time');
  const toIndex = takeOption(words, 'to-index');
  const dryRun = takeFlag(words, 'dry-run');
  const dir = takeOption(words, 'dir');
  const nodes = Number(takeOption(words, 'nodes') ?? '3');
  const wrong = (text: string): OperationalError => new OperationalError('CONFIG', `command line: ${text}`);
  if ((toTime === undefined) === (toIndex === undefined)) throw wrong('restore needs either --to-time 2026-01-31T12:00:00Z or --to-index N');
  if (dir === undefined && !dryRun) throw wrong('restore needs --dir NEW, a directory that is not there yet');
  if (!Number.isInteger(nodes) || nodes < 1 || nodes > NODES_MAX) throw wrong(`--nodes is a whole number from 1 to ${NODES_MAX}`);
  return { target: targetOf(toTime, toIndex, wrong), dir: path.resolve(dir ?? '.'), nodes, dryRun };
}

function targetOf(toTime: string | undefined, toIndex: string | undefined, wrong: (text: string) => OperationalError): RestoreTarget {
  if (toIndex !== undefined) {
    const index = Number(toIndex);
    if (!/^\d+$/.test(toIndex) || index < 1 || !Number.isSafeInteger(index)) throw wrong(`--to-index is an index of the log, not '${toIndex}'`);
    return { kind: 'index', index };
  }
  const text = toTime ?? '';
  // A time without a zone means another moment on another machine.
  const date = /^(\d{4}-\d\d-\d\d)T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)$/.exec(text)?.[1];
  // A day that the month does not have would be taken for one of the next.
  const isDay = date !== undefined && !Number.isNaN(Date.parse(date)) && new Date(date).toISOString().startsWith(date);
  const timeMs = isDay ? Date.parse(text) : NaN;
  if (Number.isNaN(timeMs)) throw wrong(`--to-time is a moment with its zone, such as 2026-01-31T12:00:00Z, not '${text}'`);
  return { kind: 'time', timeMs };
}

function assertEmpty(dir: string): void {
  const there = fs.existsSync(dir) ? fs.readdirSync(dir).filter((name) => name !== 'lost+found') : [];
  if (there.length === 0) return;
  const isCutShort = there.some((name) => fs.existsSync(path.join(dir, name, RestoreFile.folder)) && !fs.existsSync(path.join(dir, name, RestoreFile.meta)));
  const what = isCutShort ? 'holds a restore that did not finish: remove it' : 'is there and not empty; restore only makes new directories, so give another --dir';
  throw new OperationalError('DATA_DIR', `${dir} ${what}`);
}

function planText({ snapshot, segments, reachesTo }: RestorePlan): string {
  const base = snapshot === undefined ? 'no snapshot: from the first entry of the log' : `snapshot at entry ${snapshot.index} of ${timeText(snapshot.manifest.timeMs)}, digest ${snapshot.manifest.digest}`;
  const bytes = segments.reduce((sum, { storedBytes }) => sum + storedBytes, 0);
  const [first, last] = [segments[0], segments.at(-1)];
  const log = first === undefined || last === undefined ? 'no archived log behind it' : `${segments.length} segments of log, entries ${first.firstIndex} to ${last.lastIndex}, ${sizeText(bytes)}`;
  return `from ${base}\n     ${log}; the archive reaches to entry ${reachesTo}`;
}

function accountText({ machine, digest, entriesReplayed, next, endsEarly, plan }: Restored): string {
  const lines = [`restored to entry ${machine.appliedIndex} of ${timeText(machine.timeMs)}, term ${machine.appliedTerm}: ${entriesReplayed} entries replayed, ${keysOf(machine)} keys, digest ${digest}`];
  if (next !== undefined) lines.push(`left out: entry ${next.index} of ${timeText(next.timeMs)} and all behind it`);
  if (endsEarly && plan.target.kind === 'time') lines.push(`the archive ends here, before ${timeText(plan.target.timeMs)}: what was written in between is not in it`);
  return lines.join('\n');
}

function keysOf({ keyspace }: Machine): number {
  let keys = 0;
  for (let number = 0; number < keyspace.databases; number++) keys += keyspace.database(number).size;
  return keys;
}

/** What it makes goes where it fails. */
function makeDirectories(machine: Machine, order: Order, clusterId: string, line: ProgressLine): string[] {
  const dirs = Array.from({ length: order.nodes }, (_, i) => path.join(order.dir, `n${i + 1}`));
  const made: string[] = [];
  try {
    fs.mkdirSync(order.dir, { recursive: true, mode: 0o700 });
    for (const dir of dirs) {
      // Fails where another restore was here meanwhile.
      fs.mkdirSync(dir, { mode: 0o700 });
      made.push(dir);
    }
    return writeDirectories(machine, order, dirs, clusterId, line);
  } catch (thrown) {
    for (const dir of made) fs.rmSync(dir, { recursive: true, force: true });
    const { code } = thrown as NodeJS.ErrnoException;
    if (code === undefined) throw thrown;
    const advice = code === 'ENOSPC' || code === 'EDQUOT' ? `each of the ${order.nodes} nodes needs room for the data: make room, or give another --dir` : 'give a --dir that this user can write to';
    throw new OperationalError('DATA_DIR', `${order.dir} cannot be written: ${errorText(thrown)}; ${advice}`, { cause: thrown });
  }
}

/** One directory a node; the first is written, the others are its copies. */
function writeDirectories(machine: Machine, order: Order, dirs: readonly string[], clusterId: string, line: ProgressLine): string[] {
  beginNewCluster(machine);
  const { appliedIndex: index, appliedTerm: term, timeMs } = machine;
  const meta: RestoreMeta = { clusterId, index, term, timeMs, digest: digestText(machine.digest()) };
  for (const dir of dirs) {
    fs.mkdirSync(path.join(dir, RestoreFile.folder), { mode: 0o700 });
    syncPath(dir);
  }
  syncPath(order.dir);
  const [first = order.dir, ...others] = dirs;
  const writer = new SnapshotWriter(machine, Date.now());
  writeSynced(path.join(first, RestoreFile.rdb), 'wx', chunksOf(writer, line));
  writeSynced(path.join(first, RestoreFile.sidecar), 'wx', [writer.sidecar()]);
  for (const dir of others) {
    for (const file of [RestoreFile.rdb, RestoreFile.sidecar]) {
      fs.copyFileSync(path.join(first, file), path.join(dir, file), fs.constants.COPYFILE_FICLONE);
      syncPath(path.join(dir, file));
    }
  }
  for (const dir of dirs) {
    const file = path.join(dir, RestoreFile.meta);
    replaceSynced(file, `${file}.tmp`, encodeRestoreMeta(meta));
  }
  return [
    `made ${dirs.join(', ')} for the new cluster ${clusterId}, ${sizeText(writer.bytes)} each, digest ${meta.digest}`,
    `start it here with: holdfast local --nodes ${order.nodes} --dir ${order.dir}`,
    'or take each directory to its machine, and there: holdfast init FILE, holdfast serve FILE',
  ];
}

function* chunksOf(writer: SnapshotWriter, line: ProgressLine): Generator<Uint8Array> {
  for (let chunk = writer.next(); chunk !== undefined; chunk = writer.next()) {
    line.show(() => `writing ${sizeText(writer.bytes)}`);
    yield chunk;
  }
}

function warningsTo(out: (text: string) => void): Logger {
  const tell = (fields: object, message: string): void => out(`warning: ${message} ${JSON.stringify(fields)}`);
  return { debug: () => {}, info: () => {}, warn: tell, error: tell };
}
