// `holdfast snapshotter`: the process that follows a cluster's log, archives it and makes snapshots (src/snapshot/snapshotter.ts). It
// runs at the lowest priority, and ends with the node that started it.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { PinoLogger } from '../adapters/logger.ts';
import { NodeClock } from '../adapters/node-clock.ts';
import { NodeEntropy } from '../adapters/node-entropy.ts';
import { PeerLogFeed } from '../adapters/peer-log-feed.ts';
import { errorText, OperationalError } from '../base/errors.ts';
import { allCommands } from '../commands/all.ts';
import { CommandTable } from '../commands/table.ts';
import type { SnapshotterProgress } from '../ports/publisher.ts';
import type { ConfigValues } from '../server/config-directives.ts';
import { loadConfig } from '../server/config-file.ts';
import { RestoreFile } from '../snapshot/restore-files.ts';
import { Snapshotter } from '../snapshot/snapshotter.ts';
import type { Seed, SnapshotterRules } from '../snapshot/snapshotter-options.ts';
import { nodeConfigFiles } from './config-files.ts';
import { RespPublisher } from './resp-publisher.ts';
import { filesOf, readMeta } from './snapshot-files.ts';
import { SnapshotterMembers } from './snapshotter-members.ts';
import { clusterIdOf, encryptionKeyId, openConfiguredStore } from './store-options.ts';
import { bar, ProgressLine, sizeText } from './terminal.ts';
import { VERSION } from './version.ts';

/** Set for a snapshotter that a node has started: its standard input ends with the node. */
export const CHILD_VARIABLE = 'HOLDFAST_SNAPSHOTTER_CHILD';

const LOOK_MS = 1000;
/** How often trouble and long work are told of. */
const TELL_MS = 60_000;
/** An archive that is so many intervals behind is told of. */
const LATE_INTERVALS = 4;
const SNAPSHOTS_MIN = 2;
const UNPUBLISHED_MS = 3_600_000;

export async function snapshotter(file: string | undefined, directives: readonly string[]): Promise<void> {
  const { values } = loadConfig(nodeConfigFiles, file, directives);
  if (values['object-store'] === '') {
    throw new OperationalError('CONFIG', 'object-store: the snapshotter needs one; set it to a directory or s3://bucket/prefix');
  }
  const clusterId = clusterIdOf(values);
  if (clusterId === undefined) {
    throw new OperationalError('CONFIG', `cluster-id: which cluster? ${path.resolve(values.dir)} has no identity.json that says it; set cluster-id`);
  }
  lowerPriority();
  const logger = new PinoLogger({ level: values.loglevel, format: values['log-format'], logfile: values.logfile, node: values['node-id'], thread: 'snapshotter' });
  const clock = new NodeClock();
  const entropy = new NodeEntropy();
  const members = new SnapshotterMembers(values);
  const name = `snapshotter of ${values['node-id']}`;
  const publisher = new RespPublisher(members.clients, logger, name);
  const making = new Snapshotter({
    clusterId,
    store: await openConfiguredStore(values),
    openFeed: () => new PeerLogFeed({ members: () => members.feed, clusterSecret: values['cluster-secret'], clusterId, name, entropy, logger }),
    publisher,
    clock,
    entropy,
    logger,
    table: new CommandTable(allCommands),
    release: VERSION,
    encryptionKeyId: encryptionKeyId(values),
    sha256: (bytes) => createHash('sha256').update(bytes).digest('hex'),
    rules: rulesOf(values),
    membersChanged: (known) => {
      const before = members.names;
      members.learn(known);
      publisher.setAddresses(members.clients);
      if (members.names !== before) logger.info({ members: members.names }, 'the log says who the members are');
    },
    seed: () => Promise.resolve().then(() => seedIn(values.dir, clusterId)),
  });
  const end = (code: number): never => process.exit(code);
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => end(0));
  if (process.env[CHILD_VARIABLE] !== undefined) {
    // What is under way is nothing that a kill could spoil.
    process.stdin.on('end', () => end(0)).on('error', () => end(0)).resume();
  }
  const watch = new Watch(making, logger, values['archive-interval-seconds'] * 1000);
  const timer = setInterval(() => watch.look(), LOOK_MS);
  logger.info({ cluster: clusterId, pid: process.pid }, 'snapshotter started');
  try {
    await making.run();
  } catch (thrown) {
    const reason = thrown instanceof OperationalError ? thrown.message : thrown instanceof Error ? (thrown.stack ?? thrown.message) : errorText(thrown);
    logger.error({ reason }, 'the snapshotter ends');
    end(1);
  } finally {
    clearInterval(timer);
  }
}

function rulesOf(values: Readonly<ConfigValues>): SnapshotterRules {
  const retention = values['snapshot-retention'];
  return {
    logBytes: values['snapshot-log-bytes'],
    intervalMs: values['snapshot-interval'] * 1000,
    archiveIntervalMs: values['archive-interval-seconds'] * 1000,
    retention: { windowMs: retention === 0 ? Infinity : retention * 1000, snapshotsMin: SNAPSHOTS_MIN, unpublishedMs: UNPUBLISHED_MS },
  };
}

/** The snapshot that the data directory began from, if `holdfast restore` made it. */
function seedIn(dir: string, wanted: string): Seed | undefined {
  const meta = readMeta(path.join(dir, RestoreFile.folder));
  if (meta?.clusterId !== wanted) return undefined;
  const { index, term, digest } = meta;
  return { index, term, digest, source: filesOf(path.join(dir, RestoreFile.sidecar), path.join(dir, RestoreFile.rdb)) };
}

/** Every thread of this process: a priority is a thread's own on Linux, and later ones take over that of the one that starts them. */
function lowerPriority(): void {
  const threads = threadIds();
  for (const thread of threads) {
    try {
      os.setPriority(thread, 19);
    } catch {
      // It has ended, or the platform does not let us; the work is done all the same.
    }
  }
  if (process.platform !== 'linux') return;
  spawn('ionice', ['-c', '3', '-p', ...threads.map(String)], { stdio: 'ignore' }).on('error', () => {});
}

function threadIds(): number[] {
  try {
    return fs.readdirSync('/proc/self/task').map(Number);
  } catch {
    return [process.pid];
  }
}

/** Tells on the terminal and in the log how far things are. */
class Watch {
  readonly #snapshotter: Snapshotter;
  readonly #logger: PinoLogger;
  readonly #lateMs: number;
  readonly #line = process.env[CHILD_VARIABLE] === undefined ? new ProgressLine() : undefined;
  #toldMs = -Infinity;

  constructor(snapshotter_: Snapshotter, logger: PinoLogger, intervalMs: number) {
    this.#snapshotter = snapshotter_;
    this.#logger = logger;
    this.#lateMs = LATE_INTERVALS * intervalMs;
  }

  look(): void {
    const progress = this.#snapshotter.progress();
    if (progress === undefined) return;
    this.#line?.show(() => lineOf(progress));
    const nowMs = performance.now();
    if (nowMs - this.#toldMs < TELL_MS) return;
    const { state, archiveLagMs, archivedIndex, commitIndex, bytesDone, bytesTotal, fault } = progress;
    if (archiveLagMs > this.#lateMs) {
      this.#toldMs = nowMs;
      this.#logger.warn({ seconds: Math.round(archiveLagMs / 1000), archivedIndex, commitIndex, fault }, 'the archive is behind: the log on the nodes grows until it has caught up');
    } else if (state === 'writing' || state === 'verifying') {
      this.#toldMs = nowMs;
      this.#logger.info({ state, bytesDone, bytesTotal }, 'snapshot under way');
    }
  }
}

function lineOf(progress: SnapshotterProgress): string {
  const { state, bytesDone, bytesTotal, appliedIndex, archivedIndex, commitIndex, logBytes, snapshotIndex, fault } = progress;
  if (bytesDone > 0) return bar(bytesDone, bytesTotal, `${state} ${sizeText(bytesDone)}`);
  return `${state}: committed ${commitIndex}, archived ${archivedIndex}, applied ${appliedIndex}; last snapshot ${snapshotIndex}, ${sizeText(logBytes)} of log since${fault === '' ? '' : `; ${fault}`}`;
}
