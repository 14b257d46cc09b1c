// How long a node that was killed takes until it serves again: from its whole log, from a published snapshot and the log behind
// it, the same with its snapshotter starting beside it; and redis-server with the same data as an RDB file. And the speed of
// each part: writing a snapshot, verifying it, loading it, replaying the log.
import fs from 'node:fs';
import path from 'node:path';
import { expectCount, loadStrings, stringOf } from './lib/datasets.mjs';
import { load, Random } from './lib/load.mjs';
import { ONLY_ASKED_FOR, until, Workplace } from './lib/lone.mjs';
import { folderBytes } from './lib/processes.mjs';
import { fixed, median, printTable, record } from './lib/results.mjs';

/** Written behind the snapshot, as a share of the keys. */
const BEHIND_SHARE = 0.05;
const OF_REDIS_MAX = 1.5;
const SEGMENT_BYTES = 16 * 2 ** 20;

const bytesNeeded = (keys) => keys * 1500 + 2e9;

export async function benchRestart(options) {
  const { keys, repeats } = options;
  const place = new Workplace(options, bytesNeeded(keys));
  try {
    // The log is cut as far as the snapshot allows.
    const node = place.holdfast('holdfast', [...ONLY_ASKED_FOR, '--log-keep-bytes', '0']);
    const emptyMs = await node.start({ snapshotter: false });
    process.stderr.write(`loading ${keys} keys\n`);
    const cases = { 'nothing: a new node': { readyMs: emptyMs, logBytes: folderBytes(node.logFolder) } };
    await loadStrings(node, keys);
    await node.kill();
    Object.assign(cases, await alternately(repeats, { 'whole log': () => restart(node, keys, false) }));
    const made = await takeSnapshot(node, keys);
    const rdb = path.join(place.folder, 'redis/dump.rdb');
    const redis = place.redis('redis');
    node.exportRdb(rdb);
    await node.kill();
    Object.assign(cases, await alternately(repeats, {
      'snapshot and the log behind it': () => restart(node, keys, false),
      'the same, its snapshotter beside it': () => restart(node, keys, true),
      'redis-server, the same RDB': () => restartRedis(redis, keys),
    }));
    report(options, cases, made, fs.statSync(rdb).size);
  } finally {
    await place.close();
  }
}

/** With a snapshot published, the log cut, and more written behind it. */
async function takeSnapshot(node, keys) {
  await node.start({ snapshotter: true });
  await node.untilFollowed();
  const made = await node.takeSnapshot();
  await until('the cut of the log', 60_000, () => node.logged('the log is cut: a published snapshot holds what was before'));
  const random = new Random(99);
  await load({ port: node.port, count: Math.ceil(keys * BEHIND_SHARE), command: () => stringOf(random.below(keys)) });
  return made;
}

/** The cases in turn, `rounds` times: medians of each. */
async function alternately(rounds, cases) {
  const runs = Object.fromEntries(Object.keys(cases).map((name) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (const [name, run] of Object.entries(cases)) {
      runs[name].push(await run());
      process.stderr.write(`${name}: ready after ${Math.round(runs[name].at(-1).readyMs)} ms\n`);
    }
  }
  return Object.fromEntries(Object.entries(runs).map(([name, list]) => [name, mediansOf(list)]));
}

async function restart(node, keys, snapshotter) {
  const logBytes = folderBytes(node.logFolder);
  const readyMs = await node.start({ snapshotter });
  await expectCount(node, keys, 'DBSIZE');
  const loaded = node.logged('the snapshot is loaded');
  await node.kill();
  return { readyMs, logBytes, ...(loaded === undefined ? {} : { loadMs: loaded.seconds * 1000 }) };
}

async function restartRedis(server, keys) {
  const readyMs = await server.start();
  await expectCount(server, keys, 'DBSIZE');
  const seconds = /DB loaded from disk: ([\d.]+) seconds/.exec(fs.readFileSync(server.logFile, 'utf8'))?.[1];
  if (seconds === undefined) throw new Error('redis-server does not say how long it loaded');
  await server.kill();
  return { readyMs, loadMs: Number(seconds) * 1000 };
}

const mediansOf = (runs) => Object.fromEntries(Object.keys(runs[0]).map((field) => [field, median(runs.map((run) => run[field]))]));

function report(options, cases, made, rdbBytes) {
  const { keys, repeats } = options;
  const ofRedis = (row) => row.readyMs / cases['redis-server, the same RDB'].readyMs;
  console.log(`${keys} keys of 20 B with 100 B, ${fixed(rdbBytes / 1e6, 1)} MB as RDB; killed and started again in turn, medians of ${repeats}\n`);
  printTable(
    ['restart from', '', 'ready after s', 'of redis-server', 'loading s', 'log on disk MB'],
    Object.entries(cases).map(([name, row]) => [
      name, '', fixed(row.readyMs / 1000), fixed(ofRedis(row)), fixed(row.loadMs === undefined ? undefined : row.loadMs / 1000), fixed(row.logBytes === undefined ? undefined : row.logBytes / 1e6, 1),
    ]),
  );
  const whole = cases['whole log'];
  const snapshot = cases['snapshot and the log behind it'];
  const speeds = {
    write: { bytes: made.bytes, ms: made.writeMs },
    verify: { bytes: made.bytes, ms: made.verifyMs },
    load: { bytes: rdbBytes, ms: snapshot.loadMs },
    // The segment that is made ahead is of zeros, and not read.
    'replay of the log': { bytes: whole.logBytes - SEGMENT_BYTES, ms: whole.readyMs - cases['nothing: a new node'].readyMs },
    'load by redis-server': { bytes: rdbBytes, ms: cases['redis-server, the same RDB'].loadMs },
  };
  printTable(
    ['part', '', 'MB', 's', 'MB/s'],
    Object.entries(speeds).map(([part, { bytes, ms }]) => [part, '', fixed(bytes / 1e6, 1), fixed(ms / 1000), fixed(bytes / 1e3 / ms, 1)]),
  );
  const ratio = ofRedis(snapshot);
  console.log(`ready again from a snapshot within ${fixed(ratio)}× of redis-server (to be at most ${OF_REDIS_MAX})\n`);
  record(options, 'restart', { keys, repeats, ofRedis: ratio, rdbBytes, cases, speeds });
}
