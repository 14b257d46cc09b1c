// What clients of a node feel of a snapshot: one load, half of what saturates the node, in windows: alone, beside the snapshotter
// that follows the log, while it takes a snapshot, and beside a process that burns as much CPU as that at the same priority.
// redis-server with BGSAVE under the same load stands beside it.
import { loadStrings, stringOf } from './lib/datasets.mjs';
import { saturationOf } from './lib/load.mjs';
import { pause, Workplace } from './lib/lone.mjs';
import { PacedLoad } from './lib/paced.mjs';
import { cpuSeconds, kill } from './lib/processes.mjs';
import { fixed, printTable, record } from './lib/results.mjs';
import { burn, windowOf, Windows, windowTable } from './lib/windows.mjs';

const CLIENTS = 50;
const WARM_UP_MS = 3000;
/** Of the windows without a snapshot, which last as long as the snapshot does between these. */
const WINDOW_SECONDS_MIN = 5;
const WINDOW_SECONDS_MAX = 20;

const P999_OF_BURNER_MAX = 1.2;
/** Of the engine's own. */
const ENGINE_STALL_MS_MAX = 20;
/** As they are told. */
const ORDER = ['alone', 'beside a burner', 'the snapshotter follows', 'a snapshot is taken', 'the snapshotter catches up'];

/** Log, archive, two snapshots and their like of redis-server. */
const bytesNeeded = (keys) => keys * 2000 + 8e9;

export async function benchSnapshot(options) {
  const place = new Workplace(options, bytesNeeded(options.keys), { tellWhose: true });
  try {
    const holdfast = await measureHoldfast(place, options);
    const rows = [...holdfast.rows];
    for (const [name, directives] of [
      ['redis-server', []],
      ['redis-server, AOF', ['--appendonly', 'yes', '--appendfsync', 'always', '--auto-aof-rewrite-percentage', '0']],
    ]) {
      rows.push(...(await measureRedis(place, options, name, directives, holdfast.perSecond)));
    }
    report(options, holdfast, rows);
  } finally {
    await place.close();
  }
}

const commandFor = (keys) => (random) => stringOf(random.below(keys));

async function measureHoldfast(place, options) {
  const { keys, repeats } = options;
  const node = place.holdfast('holdfast');
  await node.start({ snapshotter: true });
  process.stderr.write(`loading ${keys} keys\n`);
  await loadStrings(node, keys);
  await node.untilFollowed();
  // The snapshotter stands still meanwhile.
  const saturation = await frozen(node, () => saturationOf({ port: node.port, clients: CLIENTS, first: commandFor(keys) }));
  const perSecond = Math.round(saturation / 2);
  process.stderr.write(`saturated at ${Math.round(saturation)} SETs a second; the load is ${perSecond}\n`);
  await node.untilFollowed();
  const windows = new Windows();
  const snapshots = [];
  const load = await PacedLoad.start({ port: node.port, clients: CLIENTS, perSecond, command: commandFor(keys) });
  try {
    await pause(WARM_UP_MS);
    for (let i = 0; i < repeats; i++) {
      snapshots.push(await holdfastRound(node, load, windows));
      process.stderr.write(`snapshot ${i + 1} of ${repeats}\n`);
    }
  } finally {
    await load.stop();
  }
  await node.kill();
  return { saturation, perSecond, snapshots, rows: windows.rows('holdfast', ORDER) };
}

async function frozen(node, run) {
  const pid = node.snapshotterPid;
  kill(pid, 'SIGSTOP');
  try {
    return await run();
  } finally {
    kill(pid, 'SIGCONT');
  }
}

async function holdfastRound(node, load, windows) {
  const pid = node.snapshotterPid;
  let cpuBefore = cpuSeconds(pid);
  const taken = await windowOf(node, load, () => node.takeSnapshot());
  const cores = (cpuSeconds(pid) - cpuBefore) / taken.window.seconds;
  windows.add('a snapshot is taken', taken, cores);
  const seconds = Math.min(WINDOW_SECONDS_MAX, Math.max(WINDOW_SECONDS_MIN, taken.window.seconds));
  const caughtUp = await windowOf(node, load, () => node.untilFollowed());
  windows.add('the snapshotter catches up', caughtUp);
  cpuBefore = cpuSeconds(pid);
  const following = await windowOf(node, load, () => pause(seconds * 1000));
  windows.add('the snapshotter follows', following, (cpuSeconds(pid) - cpuBefore) / seconds);
  await frozen(node, async () => {
    windows.add('alone', await windowOf(node, load, () => pause(seconds * 1000)), 0);
    const burning = await windowOf(node, load, () => burn(cores, seconds, { nice: 19 }));
    windows.add('beside a burner', burning, burning.result / seconds);
  });
  await node.untilFollowed();
  return { ...taken.result, seconds: taken.window.seconds, cpuSeconds: cores * taken.window.seconds };
}

async function measureRedis(place, { keys, repeats }, name, directives, perSecond) {
  const server = place.redis(name.replaceAll(/\W+/g, '-'), directives);
  await server.start();
  process.stderr.write(`${name}: loading ${keys} keys\n`);
  await loadStrings(server, keys);
  const windows = new Windows();
  const load = await PacedLoad.start({ port: server.port, clients: CLIENTS, perSecond, command: commandFor(keys) });
  try {
    await pause(WARM_UP_MS);
    for (let i = 0; i < repeats; i++) {
      const saved = await windowOf(server, load, () => server.takeSnapshot());
      windows.add('a snapshot is taken', saved);
      const seconds = Math.min(WINDOW_SECONDS_MAX, Math.max(WINDOW_SECONDS_MIN, saved.window.seconds));
      windows.add('alone', await windowOf(server, load, () => pause(seconds * 1000)));
    }
  } finally {
    await load.stop();
  }
  await server.kill();
  return windows.rows(name, ORDER);
}

function report(options, { saturation, perSecond, snapshots }, rows) {
  const { keys, repeats } = options;
  console.log(`${keys} keys of 20 B with 100 B; ${perSecond} SETs a second from ${CLIENTS} clients, half of the ${Math.round(saturation)} that saturate Holdfast; waits from when each was due, ms; ${repeats} snapshots\n`);
  printTable(...windowTable(rows));
  const at = (window) => rows.find((row) => row.server === 'holdfast' && row.window === window);
  const taken = at('a snapshot is taken');
  const ratios = { p999OfBurner: taken.p999 / at('beside a burner').p999, p999OfAlone: taken.p999 / at('alone').p999, p99OfAlone: taken.p99 / at('alone').p99 };
  console.log(`while a snapshot is taken, p99.9 is ${fixed(ratios.p999OfBurner)}× that beside the burner (to be at most ${P999_OF_BURNER_MAX}), ${fixed(ratios.p999OfAlone)}× that alone`);
  const alone = at('alone');
  console.log(`longest stall of the engine that was its own: ${fixed(taken.engineOwnMsMax, 1)} ms (to be at most ${ENGINE_STALL_MS_MAX}; of those alone ${fixed(alone.engineOwnMsMax, 1)}); with what it waited for a CPU: ${fixed(taken.engineStallMsMax, 1)} ms (alone ${fixed(alone.engineStallMsMax, 1)})\n`);
  record(options, 'snapshot', { keys, repeats, clients: CLIENTS, saturation, perSecond, ratios, snapshots, rows });
}
