// GET and SET of redis-benchmark at pipeline 1 and 16.
import { redisBenchmark } from './lib/redis-benchmark.mjs';
import { alternate, printRatioTable, ratioTable, record } from './lib/results.mjs';

const COMMON = ['-c', '50', '-d', '64', '-r', '100000'];
const LOADS = [
  { name: 'SET P1', args: ['-t', 'set', '-P', '1'], requests: 60_000 },
  { name: 'GET P1', args: ['-t', 'get', '-P', '1'], requests: 120_000 },
  { name: 'SET P16', args: ['-t', 'set', '-P', '16'], requests: 500_000 },
  { name: 'GET P16', args: ['-t', 'get', '-P', '16'], requests: 1_000_000 },
];

export async function benchThroughput(options, peers) {
  const running = [];
  try {
    for (const name of options.peers) running.push(await peers.start(name));
    const measure = (peer, load, requests = Math.round(load.requests * options.scale)) =>
      peer.checked(() => redisBenchmark(peer.port, [...COMMON, ...load.args, '-n', String(requests)]));
    // One round that does not count: JavaScript is compiled while it runs.
    for (const peer of running) for (const load of LOADS) await measure(peer, load);
    const samples = await alternate({ rounds: options.rounds, loads: LOADS, peers: running, measure: (peer, load) => measure(peer, load) });
    const loads = ratioTable(LOADS, running, samples);
    console.log(`medians of ${options.rounds} alternating runs; redis-benchmark ${COMMON.join(' ')}\n`);
    printRatioTable(loads);
    record(options, 'throughput', { rounds: options.rounds, loads });
  } finally {
    for (const peer of running) await peers.stop(peer);
  }
}
