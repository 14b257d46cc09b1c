// `npm run bench [-- throughput|latency|leaderboard|memory|del|snapshot|restart|join|soak|all …]`: Holdfast (one node, three nodes) beside redis-server
// (nothing on disk, and appendfsync always), alternating in one run, so that the machine's moods hit all alike. Prints
// medians and ratios, and appends one line a bench to bench/results.ndjson. Only ratios travel between machines.
import { spawnSync } from 'node:child_process';
import os from 'node:os';
import { build, install } from '../scripts/prepare.mjs';
import { ensureTools } from '../scripts/tools.mjs';
import { benchDel } from './del.mjs';
import { benchJoin } from './join.mjs';
import { benchLatency } from './latency.mjs';
import { benchLeaderboard } from './leaderboard.mjs';
import { benchMemory } from './memory.mjs';
import { Workplace } from './lib/lone.mjs';
import { parseOptions, USAGE, UsageError } from './lib/options.mjs';
import { Peers } from './lib/peers.mjs';
import { benchRestart } from './restart.mjs';
import { benchSnapshot } from './snapshot.mjs';
import { benchSoak } from './soak.mjs';
import { benchThroughput } from './throughput.mjs';

const RUN = {
  throughput: benchThroughput,
  latency: benchLatency,
  leaderboard: benchLeaderboard,
  memory: benchMemory,
  del: benchDel,
  snapshot: benchSnapshot,
  restart: benchRestart,
  join: benchJoin,
  soak: benchSoak,
};

function optionsOrExit() {
  try {
    return parseOptions(process.argv.slice(2));
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.error(`bench: ${error.message}\n${USAGE}`);
    process.exit(2);
  }
}

const options = optionsOrExit();
ensureTools();
for (const tool of ['redis-server', 'redis-benchmark']) {
  if (spawnSync(tool, ['--version'], { stdio: 'ignore' }).status === 0) continue;
  console.error(`bench: ${tool} is needed and could not be installed (Debian: redis-server redis-tools)`);
  process.exit(2);
}
if (options.dist === undefined) {
  install();
  build();
}

const peers = new Peers(options);
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => {
    void Promise.all([peers.stopAll(), Workplace.closeAll()]).finally(() => process.exit(130));
  });
}
try {
  for (const bench of options.benches) {
    console.log(`== ${bench}: scale ${options.scale}, ${os.cpus().length} cores for everything, load generator included\n`);
    await RUN[bench](options, peers);
  }
} finally {
  await peers.stopAll();
}
