// A node at full write speed for a long time, with a snapshot each time that a little log has come: its log on disk must stay
// within its bound, and memory must not grow.
import fs from 'node:fs';
import { loadStrings, stringOf } from './lib/datasets.mjs';
import { closedLoop, nowMs } from './lib/load.mjs';
import { pause, Workplace } from './lib/lone.mjs';
import { folderBytes, freeBytes, residentBytes } from './lib/processes.mjs';
import { fixed, printTable, record } from './lib/results.mjs';

const MiB = 2 ** 20;
const CLIENTS = 50;
const PIPELINE = 16;
const SAMPLE_MS = 2000;
const FREE_BYTES_MIN = 2e9;
const KEYS_MAX = 100_000;

const LOG_BYTES = 128 * MiB;
const KEEP_BYTES = 64 * MiB;
const SEGMENT_BYTES = 16 * MiB;
/** Of the past that the archive holds; it has all that was written in it. */
const RETENTION_SECONDS = 60;

/**
 * What the log may be on disk. A snapshot is begun once LOG_BYTES have come since the one before, or twice as much where the
 * snapshotter is behind (snapshot-schedule.ts). The log is cut when it is published, and until then as much again may come: the
 * configuration is only right for the data if a snapshot is made in the time in which LOG_BYTES are written. Behind it,
 * KEEP_BYTES are kept. And files are whole: one segment in part cut, one in part written, one made ahead, one on its way out.
 */
const BOUND_BYTES = 3 * LOG_BYTES + KEEP_BYTES + 4 * SEGMENT_BYTES;

const DIRECTIVES = [
  '--snapshot-log-bytes', String(LOG_BYTES), '--log-keep-bytes', String(KEEP_BYTES),
  '--snapshot-interval', String(RETENTION_SECONDS), '--snapshot-retention', String(RETENTION_SECONDS), '--archive-interval-seconds', '1',
];

export async function benchSoak(options) {
  const keys = Math.min(options.keys, KEYS_MAX);
  const place = new Workplace(options, 20e9);
  try {
    const node = place.holdfast('holdfast', DIRECTIVES);
    await node.start({ snapshotter: true });
    await loadStrings(node, keys);
    const samples = await soak(node, keys, options.minutes * 60_000);
    report(options, keys, samples);
  } finally {
    await place.close();
  }
}

async function soak(node, keys, forMs) {
  const stop = { asked: false };
  const running = closedLoop({ port: node.port, clients: CLIENTS, pipeline: PIPELINE, stop, first: (random) => stringOf(random.below(keys)) });
  // Awaited below; a failure meanwhile ends the sampling at once.
  let failed = false;
  running.catch(() => (failed = true));
  const samples = [];
  const startMs = nowMs();
  try {
    for (let tellMs = 60_000; nowMs() - startMs < forMs && !failed; ) {
      await pause(SAMPLE_MS);
      const sample = await sampleOf(node, nowMs() - startMs);
      samples.push(sample);
      if (freeBytes(node.dir) < FREE_BYTES_MIN) throw new Error(`the disk has less than ${FREE_BYTES_MIN / 1e9} GB left`);
      if (sample.atMs < tellMs) continue;
      tellMs += 60_000;
      process.stderr.write(`${Math.round(sample.atMs / 60_000)} min: log ${fixed(sample.logBytes / MiB, 0)} MiB, snapshot at entry ${sample.snapshotIndex}\n`);
    }
  } finally {
    stop.asked = true;
  }
  const { rps } = await running;
  return { samples, rps };
}

async function sampleOf(node, atMs) {
  const info = await node.control.info('persistence');
  const snapshotter = node.snapshotterPid;
  return {
    atMs,
    logBytes: folderBytes(node.logFolder),
    objectBytes: fs.existsSync(node.objects) ? folderBytes(node.objects) : 0,
    rssBytes: residentBytes(node.pid),
    snapshotterRssBytes: snapshotter === undefined ? 0 : residentBytes(snapshotter),
    snapshotIndex: Number(info.get('snapshot_index')),
    archiveLagSeconds: Number(info.get('archive_lag_seconds')),
  };
}

function report(options, keys, { samples, rps }) {
  const most = (field, of = samples) => of.reduce((max, sample) => Math.max(max, sample[field]), 0);
  const half = samples.length >> 1;
  const halves = [samples.slice(0, half), samples.slice(half)];
  const snapshots = new Set(samples.map(({ snapshotIndex }) => snapshotIndex)).size - 1;
  const fields = { 'log on disk': 'logBytes', 'object store': 'objectBytes', 'VmRSS of the node': 'rssBytes', 'VmRSS of the snapshotter': 'snapshotterRssBytes' };
  console.log(`${options.minutes} minutes of SET at full speed by ${CLIENTS} clients at pipeline ${PIPELINE} on ${keys} keys of 20 B with 100 B: ${Math.round(rps)} a second, ${snapshots} snapshots; a sample every ${SAMPLE_MS / 1000} s\n`);
  printTable(
    ['MiB', '', 'most', 'first half', 'second half'],
    Object.entries(fields).map(([name, field]) => [name, '', ...[samples, ...halves].map((of) => fixed(most(field, of) / MiB, 1))]),
  );
  const logBytesMax = most('logBytes');
  console.log(`archive behind by at most ${most('archiveLagSeconds')} s; the log's bound: 3 × snapshot-log-bytes + log-keep-bytes + 4 segments = ${fixed(BOUND_BYTES / MiB, 0)} MiB\n`);
  record(options, 'soak', {
    keys, minutes: options.minutes, rps, snapshots, logBytesMax, boundBytes: BOUND_BYTES, archiveLagSecondsMax: most('archiveLagSeconds'),
    rssBytesMax: halves.map((of) => most('rssBytes', of)), snapshotterRssBytesMax: halves.map((of) => most('snapshotterRssBytes', of)), objectBytesMax: most('objectBytes'),
  });
  if (logBytesMax > BOUND_BYTES) throw new Error(`the log on disk had ${fixed(logBytesMax / MiB, 0)} MiB, more than its bound of ${fixed(BOUND_BYTES / MiB, 0)}`);
  if (snapshots < 1) console.log('no snapshot was due in this time: the bound was not put to the test\n');
}
