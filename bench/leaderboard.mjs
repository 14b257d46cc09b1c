// A leaderboard: one sorted set of many members under the commands that games send to it.
import { closedLoop, twelveDigits } from './lib/load.mjs';
import { loadBoard } from './lib/datasets.mjs';
import { LEADERBOARD_FLOORS } from './lib/floors.mjs';
import { redisBenchmark } from './lib/redis-benchmark.mjs';
import { alternate, fixed, geometricMean, printRatioTable, printTable, ratioTable, record } from './lib/results.mjs';
import { encode } from './lib/resp.mjs';

const CLIENTS = 50;
const PLAYER = 'player:__rand_int__';
/** Requests at scale 1, by pipeline. */
const COMMANDS = [
  { name: 'ZADD', kind: 'writes', args: ['ZADD', 'board', '__rand_int__', PLAYER], requests: { 1: 40_000, 16: 200_000 } },
  { name: 'ZINCRBY', kind: 'writes', args: ['ZINCRBY', 'board', '100', PLAYER], requests: { 1: 40_000, 16: 200_000 } },
  { name: 'ZREVRANK', kind: 'reads', args: ['ZREVRANK', 'board', PLAYER], requests: { 1: 60_000, 16: 300_000 } },
  { name: 'ZREVRANGE 0 99', kind: 'reads', args: ['ZREVRANGE', 'board', '0', '99'], requests: { 1: 30_000, 16: 60_000 } },
  { name: 'ZRANGEBYSCORE LIMIT 0 10', kind: 'reads', args: ['ZRANGEBYSCORE', 'board', '__rand_int__', '+inf', 'LIMIT', '0', '10'], requests: { 1: 60_000, 16: 200_000 } },
  { name: 'around me', kind: 'reads', around: true, requests: { 1: 20_000, 16: 100_000 } },
];
const LOADS = [1, 16].flatMap((pipeline) =>
  COMMANDS.map((command) => ({ ...command, name: `${command.name} P${pipeline}`, pipeline, requests: command.requests[pipeline] })),
);
const WARM_UP_REQUESTS = 2000;
/** Players above and below. */
const AROUND = 5;

/** A player's rank, then the players about it: two commands, the second from the reply to the first. */
function around(peer, members, pipeline, requests) {
  return closedLoop({
    port: peer.port,
    clients: CLIENTS,
    pipeline,
    requests,
    first: (random) => encode(['ZREVRANK', 'board', `player:${twelveDigits(random.below(members))}`]),
    second: (rank) => encode(['ZREVRANGE', 'board', String(Math.max(0, rank - AROUND)), String(rank + AROUND), 'WITHSCORES']),
  });
}

async function measure(peer, load, members, requests) {
  return peer.checked(async () => {
    if (load.around) return { rps: (await around(peer, members, load.pipeline, requests)).rps };
    return redisBenchmark(peer.port, ['-c', String(CLIENTS), '-r', String(members), '-P', String(load.pipeline), '-n', String(requests), ...load.args]);
  });
}

/** peer → { 'reads P1': geometric mean of the ratios to the peer that the floor names, … } */
export function summarize(table, peerNames) {
  const summary = {};
  for (const peer of peerNames) {
    summary[peer] = {};
    for (const [name, { of }] of Object.entries(LEADERBOARD_FLOORS)) {
      const [kind, pipeline] = name.split(' ');
      const ratios = LOADS.filter((load) => load.kind === kind && `P${load.pipeline}` === pipeline).map(
        (load) => table[load.name]?.[peer]?.[of === 'redis' ? 'ofRedis' : 'ofAof'],
      );
      if (ratios.every((ratio) => ratio !== undefined)) summary[peer][name] = geometricMean(ratios);
    }
  }
  return summary;
}

export async function benchLeaderboard(options, peers) {
  const { members } = options;
  const running = [];
  const loadSeconds = {};
  try {
    for (const name of options.peers) {
      const peer = await peers.start(name);
      running.push(peer);
      loadSeconds[name] = await loadBoard(peer, members);
      console.log(`${name}: ${members} members loaded in ${fixed(loadSeconds[name], 1)} s (not part of any figure)`);
    }
    for (const peer of running) for (const load of LOADS) await measure(peer, load, members, WARM_UP_REQUESTS);
    const samples = await alternate({
      rounds: options.rounds,
      loads: LOADS,
      peers: running,
      measure: (peer, load) => measure(peer, load, members, Math.max(1000, Math.round(load.requests * options.scale))),
    });
    // Every write went to a member that was there, or the set would have grown.
    for (const peer of running) {
      const count = await peer.control.call('ZCARD', 'board');
      if (count !== members) throw new Error(`${peer.name}: ${count} members after the writes, ${members} before`);
    }
    const loads = ratioTable(LOADS, running, samples);
    const summary = summarize(loads, options.peers);
    console.log(`\nmedians of ${options.rounds} alternating runs; ${members} members, ${CLIENTS} clients; "around me" is ZREVRANK and then ZREVRANGE of ${2 * AROUND + 1} with scores, counted as one\n`);
    printRatioTable(loads);
    printSummary(summary);
    record(options, 'leaderboard', { rounds: options.rounds, members, loadSeconds, loads, summary });
  } finally {
    for (const peer of running) await peers.stop(peer);
  }
}

function printSummary(summary) {
  console.log('geometric means of the ratios above: reads to redis, writes to redis-aof-always\n');
  printTable(
    ['', 'peer', ...Object.keys(LEADERBOARD_FLOORS)],
    [
      ...Object.entries(summary).map(([peer, values]) => ['', peer, ...Object.keys(LEADERBOARD_FLOORS).map((name) => fixed(values[name]))]),
      ['', 'floor', ...Object.values(LEADERBOARD_FLOORS).map(({ share }) => fixed(share))],
    ],
  );
}
