// How long a client waits for GET and SET, one client alone and 50 at once, each with one command under way.
import { closedLoop, percentile, twelveDigits } from './lib/load.mjs';
import { alternate, fixed, medians, printTable, record } from './lib/results.mjs';
import { encode } from './lib/resp.mjs';

const KEYS = 100_000;
const VALUE = 'x'.repeat(64);
const COMMANDS = {
  GET: (random) => encode(['GET', `key:${twelveDigits(random.below(KEYS))}`]),
  SET: (random) => encode(['SET', `key:${twelveDigits(random.below(KEYS))}`, VALUE]),
};
const LOADS = [1, 50].flatMap((clients) =>
  Object.keys(COMMANDS).map((command) => ({
    name: `${command}, ${clients} client${clients === 1 ? '' : 's'}`,
    command: COMMANDS[command],
    clients,
    requests: clients === 1 ? (command === 'GET' ? 20_000 : 5_000) : command === 'GET' ? 100_000 : 50_000,
  })),
);

async function measure(peer, load, requests) {
  return peer.checked(async () => {
    if (peer.isHoldfast) await peer.resetStalls();
    const waits = [];
    await closedLoop({ port: peer.port, clients: load.clients, requests, first: load.command, onDone: (startMs, endMs) => waits.push(endMs - startMs) });
    const stalls = await peer.stalls();
    const steps = peer.isHoldfast && load.name.startsWith('SET') ? await peer.writeSteps() : undefined;
    const sorted = Float64Array.from(waits).sort();
    return {
      p50: percentile(sorted, 0.5),
      p99: percentile(sorted, 0.99),
      p999: percentile(sorted, 0.999),
      max: sorted.at(-1),
      ...(steps ?? {}),
      ...(stalls === undefined ? {} : { engineStallMsMax: stalls.engineMs, consensusStallMsMax: stalls.consensusMs }),
    };
  });
}

export async function benchLatency(options, peers) {
  const running = [];
  try {
    for (const name of options.peers) running.push(await peers.start(name, { watchStalls: true }));
    for (const peer of running) for (const load of LOADS) await measure(peer, load, 500);
    const samples = await alternate({
      rounds: options.rounds,
      loads: LOADS,
      peers: running,
      measure: (peer, load) => measure(peer, load, Math.max(500, Math.round(load.requests * options.scale))),
    });
    const loads = Object.fromEntries(
      LOADS.map(({ name }) => [name, Object.fromEntries(running.map((peer) => [peer.name, { ...medians(samples(name, peer.name)), ...worstStalls(samples(name, peer.name)) }]))]),
    );
    console.log(`medians of ${options.rounds} alternating runs, ms; own load generator, closed loop; stalls: the longest of all runs\n`);
    printTable(
      ['load', 'peer', 'p50', 'p99', 'p99.9', 'max', 'engine stall', 'consensus stall'],
      Object.entries(loads).flatMap(([load, rows]) =>
        Object.entries(rows).map(([peer, row]) => [
          load, peer, fixed(row.p50, 3), fixed(row.p99, 3), fixed(row.p999, 3), fixed(row.max, 1), fixed(row.engineStallMsMax, 1), fixed(row.consensusStallMsMax, 1),
        ]),
      ),
    );
    printSteps(loads);
    record(options, 'latency', { rounds: options.rounds, loads });
  } finally {
    for (const peer of running) await peers.stop(peer);
  }
}

const STEPS = ['batch', 'to_log', 'fsync', 'peers', 'to_apply', 'apply', 'reply', 'total'];

/** The server's own account of its writes. What a client waits beyond `total` is the two sockets, the kernel and the client. */
function printSteps(loads) {
  console.log('\nsteps of a write on the leader, from its batch opening to its reply being with the socket: p50 / p99 in µs, share of the mean\n');
  printTable(
    ['load', 'peer', ...STEPS, 'client beyond'],
    Object.entries(loads).flatMap(([load, rows]) =>
      Object.entries(rows)
        .filter(([, row]) => row.total_p50 !== undefined)
        .map(([peer, row]) => [
          load, peer,
          ...STEPS.map((step) => `${fixed(row[`${step}_p50`], 0)} / ${fixed(row[`${step}_p99`], 0)}  ${fixed(100 * row[`${step}_share`], 0)}%`),
          `${fixed(1000 * row.p50 - row.total_p50, 0)} / ${fixed(1000 * row.p99 - row.total_p99, 0)}`,
        ]),
    ),
  );
}

/** Of stalls the worst counts, not the middle one. */
function worstStalls(samples) {
  const fields = ['engineStallMsMax', 'consensusStallMsMax'].filter((field) => samples[0]?.[field] !== undefined);
  return Object.fromEntries(fields.map((field) => [field, Math.max(...samples.map((sample) => sample[field]))]));
}
