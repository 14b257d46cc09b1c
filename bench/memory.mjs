// Bytes for the same data beside redis-server, and how long the server stood still while it loaded and held them. A fresh
// server for each case; what an empty one uses is taken off.
import { MEMORY_CASES } from './lib/datasets.mjs';
import { nowMs } from './lib/load.mjs';
import { residentBytes } from './lib/processes.mjs';
import { fixed, printTable, record } from './lib/results.mjs';

const PEERS = ['redis', 'holdfast-1'];
const PROBE_EVERY_MS = 5;
const MiB = 2 ** 20;

async function usage(peer) {
  return { usedBytes: Number((await peer.control.info('memory')).get('used_memory')), rssBytes: residentBytes(peer.pid) };
}

/** Holds the data: resolves to the longest wait of one client that asks all the time. */
async function hold(peer, seconds) {
  const endMs = nowMs() + seconds * 1000;
  let waitMsMax = 0;
  while (nowMs() < endMs) {
    const startMs = nowMs();
    await peer.control.call('PING');
    waitMsMax = Math.max(waitMsMax, nowMs() - startMs);
    await new Promise((resolve) => setTimeout(resolve, PROBE_EVERY_MS));
  }
  return waitMsMax;
}

async function measure(peers, name, memoryCase, count, holdSeconds) {
  const peer = await peers.start(name, { watchStalls: true, tellWhose: true });
  try {
    const empty = await usage(peer);
    await peer.resetStalls();
    const startMs = nowMs();
    await memoryCase.load(peer, count);
    const loadSeconds = (nowMs() - startMs) / 1000;
    const loading = await peer.stalls();
    await peer.resetStalls();
    const holdWaitMsMax = await hold(peer, holdSeconds);
    const holding = await peer.stalls();
    const full = await usage(peer);
    return {
      usedBytes: full.usedBytes - empty.usedBytes,
      rssBytes: full.rssBytes - empty.rssBytes,
      loadSeconds,
      holdWaitMsMax,
      ...(loading === undefined ? {} : { loadStallMsMax: loading.engineMs, loadOwnMsMax: loading.ownMs, loadMachineMsMax: loading.machineMs, holdStallMsMax: holding.engineMs, holdOwnMsMax: holding.ownMs, holdMachineMsMax: holding.machineMs, loadConsensusStallMsMax: loading.consensusMs }),
    };
  } finally {
    await peers.stop(peer);
  }
}

export async function benchMemory(options, peers) {
  const cases = {};
  for (const memoryCase of MEMORY_CASES) {
    const count = Math.max(1000, Math.round(memoryCase.count * options.scale));
    const rows = (cases[memoryCase.name] = { count });
    for (const name of PEERS) rows[name] = await measure(peers, name, memoryCase, count, options.hold);
    const ours = rows['holdfast-1'];
    ours.usedOfRedis = ours.usedBytes / rows.redis.usedBytes;
    ours.rssOfRedis = ours.rssBytes / rows.redis.rssBytes;
    process.stderr.write(`${memoryCase.name}: done\n`);
  }
  console.log('an empty server taken off; stall: the longest of the event loop of the engine thread; own: the longest that is neither queueing for a CPU nor a stop of the machine; machine: the longest stop of a CPU; wait: the longest of a client that asks every 5 ms\n');
  printTable(
    ['case', 'peer', 'elements', 'used MiB', 'VmRSS MiB', 'used of redis', 'VmRSS of redis', 'load s', 'load stall ms', 'own', 'machine', 'hold stall ms', 'own', 'machine', 'hold wait ms'],
    Object.entries(cases).flatMap(([name, rows]) =>
      PEERS.map((peer) => {
        const row = rows[peer];
        return [
          name, peer, rows.count, fixed(row.usedBytes / MiB, 1), fixed(row.rssBytes / MiB, 1), fixed(row.usedOfRedis), fixed(row.rssOfRedis),
          fixed(row.loadSeconds, 1), fixed(row.loadStallMsMax, 1), fixed(row.loadOwnMsMax, 1), fixed(row.loadMachineMsMax, 1),
          fixed(row.holdStallMsMax, 1), fixed(row.holdOwnMsMax, 1), fixed(row.holdMachineMsMax, 1), fixed(row.holdWaitMsMax, 1),
        ];
      }),
    ),
  );
  record(options, 'memory', { hold: options.hold, cases });
}
