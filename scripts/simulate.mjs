// npm run simulate -- [--seed N [--count N]] [--seconds N] [--nodes 3|5] [--trace] [--commit-check]
// Runs the deterministic simulation (test/simulation): one seed (or N from it on), or fresh ones for a while (60 s unless told otherwise).
// --trace prints every event of the one seed. --commit-check refuses to run on a work tree that differs from its commit,
// so that a seed that fails can be run again by anybody.
import { execFileSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import { createViteServer } from 'vitest/node';

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    count: { type: 'string', default: '1' },
    seconds: { type: 'string', default: '60' },
    nodes: { type: 'string' },
    tail: { type: 'string', default: '120' },
    trace: { type: 'boolean', default: false },
    'commit-check': { type: 'boolean', default: false },
  },
});

function git(...args) {
  try {
    return execFileSync('git', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    return '';
  }
}

const changed = git('status', '--porcelain') !== '';
const commit = `${git('rev-parse', '--short', 'HEAD') || 'none'}${changed ? ' with changes' : ''}`;
if (values['commit-check'] && changed) {
  console.error('the work tree differs from its commit: a failing seed could not be run again by others');
  process.exit(2);
}
const whole = (name, text) => {
  const number = Number(text);
  if (Number.isSafeInteger(number) && number >= 0) return number;
  console.error(`--${name} ${text}: expected a whole number`);
  process.exit(2);
};
const nodes = values.nodes === undefined ? undefined : whole('nodes', values.nodes);
if (nodes !== undefined && nodes !== 3 && nodes !== 5) {
  console.error('--nodes is 3 or 5');
  process.exit(2);
}
const shape = nodes === undefined ? {} : { nodes };

const vite = await createViteServer({
  configFile: false,
  root: new URL('..', import.meta.url).pathname,
  server: { middlewareMode: true, watch: null, hmr: false, ws: false },
  appType: 'custom',
  logLevel: 'error',
  optimizeDeps: { noDiscovery: true },
});
let failed = false;
try {
  const { runSeed, newTotals, addTo, describeTotals, describeFailure } = await vite.ssrLoadModule('/test/simulation/main.ts');
  const totals = newTotals();
  const started = Date.now();
  const run = (seed) => {
    const result = runSeed({ seed, ...shape, ...(values.trace ? { onTrace: (line) => console.log(line) } : {}) });
    addTo(totals, result);
    if (result.failure === undefined) return;
    failed = true;
    console.log(describeFailure(result, nodes, commit, whole('tail', values.tail)));
  };
  if (values.seed !== undefined) {
    const first = whole('seed', values.seed);
    for (let seed = first; seed < first + whole('count', values.count); seed++) run(seed);
  } else {
    const first = Math.floor(Math.random() * 2 ** 40);
    const untilMs = started + whole('seconds', values.seconds) * 1000;
    console.log(`commit ${commit}, seeds from ${first}`);
    for (let seed = first; Date.now() < untilMs && !failed; seed++) run(seed);
  }
  const seconds = (Date.now() - started) / 1000;
  console.log(`${failed ? 'FAILED' : 'all held'}: ${describeTotals(totals)}; ${seconds.toFixed(1)} s`);
} finally {
  await vite.close();
}
process.exit(failed ? 1 : 0);
