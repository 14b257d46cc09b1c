// One DEL of a sorted set of many members while 20 other clients read and write: the longest that any of them waits in the
// second around it, beside the same load in a second without it.
import { loadBoard } from './lib/datasets.mjs';
import { closedLoop, nowMs, twelveDigits } from './lib/load.mjs';
import { fixed, printTable, record } from './lib/results.mjs';
import { encode } from './lib/resp.mjs';

const CASES = [
  { name: 'DEL', peer: 'redis', command: 'DEL' },
  { name: 'UNLINK', peer: 'redis', command: 'UNLINK' },
  { name: 'DEL', peer: 'holdfast-1', command: 'DEL' },
  { name: 'DEL', peer: 'holdfast-3', command: 'DEL' },
];
const CLIENTS = 20;
const KEYS = 10_000;
const VALUE = 'x'.repeat(64);
const WARM_UP_MS = 500;
const WINDOW_MS = 1000;
/** What a server frees in the background may still hold clients up later. */
const AFTER_MS = 3000;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** The longest round trip that overlaps the window; one that is longer than the window counts whole. */
function longestWait(trips, fromMs, toMs) {
  let longest = 0;
  for (const { startMs, endMs } of trips) if (endMs >= fromMs && startMs <= toMs) longest = Math.max(longest, endMs - startMs);
  return longest;
}

async function measure(peer, command, members) {
  const loadSeconds = await loadBoard(peer, members);
  const trips = [];
  const stop = { asked: false };
  const mixed = (random) => {
    const key = `key:${twelveDigits(random.below(KEYS))}`;
    return random.below(2) === 0 ? encode(['GET', key]) : encode(['SET', key, VALUE]);
  };
  const running = closedLoop({ port: peer.port, clients: CLIENTS, stop, first: mixed, onDone: (startMs, endMs) => trips.push({ startMs, endMs }) });
  try {
    await Promise.race([pause(WARM_UP_MS), running]);
    const quietFromMs = nowMs();
    await pause(WINDOW_MS);
    const quietToMs = nowMs();
    await pause(WINDOW_MS / 2);
    if (peer.isHoldfast) await peer.resetStalls();
    const askedMs = nowMs();
    const deleted = await peer.control.call(command, 'board');
    const delMs = nowMs() - askedMs;
    if (deleted !== 1) throw new Error(`${peer.name}: ${command} said ${deleted}`);
    await pause(AFTER_MS);
    const stalls = await peer.stalls();
    stop.asked = true;
    await running;
    return {
      loadSeconds,
      delMs,
      quietWaitMsMax: longestWait(trips, quietFromMs, quietToMs),
      aroundWaitMsMax: longestWait(trips, askedMs - WINDOW_MS / 2, askedMs + WINDOW_MS / 2),
      afterWaitMsMax: longestWait(trips, askedMs + WINDOW_MS / 2, askedMs + AFTER_MS),
      ...(stalls === undefined ? {} : { engineStallMsMax: stalls.engineMs, engineOwnMsMax: stalls.ownMs, machineMsMax: stalls.machineMs, consensusStallMsMax: stalls.consensusMs }),
    };
  } finally {
    stop.asked = true;
  }
}

export async function benchDel(options, peers) {
  const { members } = options;
  const cases = [];
  for (const { name, peer: peerName, command } of CASES.filter(({ peer }) => options.peers.includes(peer))) {
    const peer = await peers.start(peerName, { watchStalls: true, tellWhose: true });
    try {
      cases.push({ name, peer: peerName, ...(await peer.checked(() => measure(peer, command, members))) });
    } finally {
      await peers.stop(peer);
    }
    process.stderr.write(`${peerName} ${name}: done\n`);
  }
  console.log(`a sorted set of ${members} members is deleted under ${CLIENTS} clients' GET and SET; longest wait of any of them, ms\n`);
  printTable(
    ['command', 'peer', 'its reply', 'a second without', 'the second around', 'to 3 s after', 'engine stall', 'own', 'machine', 'consensus stall'],
    cases.map((row) => [
      row.name, row.peer, fixed(row.delMs, 1), fixed(row.quietWaitMsMax, 1), fixed(row.aroundWaitMsMax, 1), fixed(row.afterWaitMsMax, 1),
      fixed(row.engineStallMsMax, 1), fixed(row.engineOwnMsMax, 1), fixed(row.machineMsMax, 1), fixed(row.consensusStallMsMax, 1),
    ]),
  );
  record(options, 'del', { members, cases });
}
