// `npm run redis-suite [-- options] [units…]`: Redis's own test suite against a fresh Holdfast, compared with
// test/redis-suite/expected.json. Needs the tools beside this checkout (../shared/tools/redis-suite.sh), tcl and redis-tools.
//
//   --nodes N            how many nodes (1)
//   --through follower   drive the suite through a follower of the leader (with --nodes 3)
//   --write              write what came out into expected.json; reasons of tests that are known are kept
//   --dist DIR           use what is built there
//
// Two passes a unit. The first runs every test. The second leaves out the tests that fail for a reason of their own, so
// that those which fail only because an earlier one left the connection in MULTI or in another protocol are seen to pass.
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { build, install, root } from './prepare.mjs';

const UNITS = [
  'unit/type/string',
  'unit/type/incr',
  'unit/keyspace',
  'unit/expire',
  'unit/multi',
  'unit/protocol',
  'unit/scan',
  'unit/quit',
  'unit/info-command',
  'unit/auth',
  'unit/type/hash',
  'unit/type/zset',
];
const RUNNER = path.join(root, '../shared/tools/redis-suite.sh');
const EXPECTED = path.join(root, 'test/redis-suite/expected.json');
const PEER_PORT_OFFSET = 10_000;
const PORT_FIRST = 7910;
const PORT_LAST = 7949;
const READY_MS_MAX = 60_000;
const UNIT_SECONDS_MAX = 600;

function options(words) {
  const found = { nodes: 1, follower: false, write: false, dist: undefined, units: [] };
  while (words.length > 0) {
    const word = words.shift();
    if (word === '--nodes') found.nodes = Number(words.shift());
    else if (word === '--through') found.follower = words.shift() === 'follower';
    else if (word === '--write') found.write = true;
    else if (word === '--dist') found.dist = path.resolve(words.shift() ?? '');
    else if (word.startsWith('unit/')) found.units.push(word);
    else fail(`unknown option '${word}'`);
  }
  if (!(found.nodes >= 1 && found.nodes <= 7)) fail('--nodes is 1 to 7');
  if (found.follower && found.nodes < 2) fail('--through follower needs --nodes 2 or more');
  if (found.follower && found.write) fail('--write is for the leader; throughFollower in expected.json is written by hand');
  if (found.units.length === 0) found.units = UNITS;
  return found;
}

function fail(text) {
  console.error(`redis-suite: ${text}`);
  process.exit(2);
}

/** What is missing to run at all, or undefined. */
function missing() {
  if (!fs.existsSync(RUNNER)) {
    return `${path.relative(root, RUNNER)} is not there: the runner of Redis's suite stands beside the checkout on our machines and in CI, and is not part of the public repository`;
  }
  for (const [command, pack] of [['tclsh', 'tcl'], ['redis-cli', 'redis-tools']]) {
    if (spawnSync('sh', ['-c', `command -v ${command}`]).status !== 0) return `${command} is not installed (Debian: ${pack})`;
  }
  return undefined;
}

const isFree = (port) =>
  new Promise((resolve) => {
    const server = net.createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });

async function freePorts(count) {
  next: for (let first = PORT_FIRST; first + count - 1 <= PORT_LAST; first += count) {
    for (let port = first; port < first + count; port++) {
      if (!(await isFree(port)) || !(await isFree(port + PEER_PORT_OFFSET))) continue next;
    }
    return first;
  }
  return fail(`no ${count} free ports from ${PORT_FIRST} to ${PORT_LAST}`);
}

/** Sends one inline command and resolves the raw reply, or '' when nobody answers. */
const ask = (port, line) =>
  new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1');
    let text = '';
    const done = () => {
      socket.destroy();
      resolve(text);
    };
    socket.setTimeout(2000, done);
    socket.on('error', done);
    socket.on('end', done);
    socket.on('connect', () => socket.write(`${line}\r\nQUIT\r\n`));
    socket.on('data', (data) => (text += data.toString('latin1')));
  });

async function until(what, condition) {
  const deadline = Date.now() + READY_MS_MAX;
  for (;;) {
    const value = await condition();
    if (value !== undefined) return value;
    if (Date.now() > deadline) fail(`${what} did not happen within ${READY_MS_MAX / 1000} s`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

async function startHoldfast({ nodes, follower, dist }) {
  const first = await freePorts(nodes);
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'holdfast-redis-suite-'));
  const log = fs.openSync(path.join(dir, 'holdfast.log'), 'w');
  const words = ['local', '--nodes', String(nodes), '--port', String(first), '--dir', path.join(dir, 'data'), '--enable-debug-command', 'yes'];
  const child = spawn(process.execPath, [path.join(dist, 'cli/main.js'), ...words], { stdio: ['ignore', log, log] });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const stop = async () => {
    child.kill('SIGTERM');
    await ended;
    fs.rmSync(dir, { recursive: true, force: true });
  };
  process.once('SIGINT', () => void stop().then(() => process.exit(130)));
  const ports = Array.from({ length: nodes }, (_, i) => first + i);
  const port = await until('a leader', async () => {
    if (child.exitCode !== null) fail(`Holdfast ended (code ${child.exitCode}): ${fs.readFileSync(path.join(dir, 'holdfast.log'), 'utf8')}`);
    const roles = await Promise.all(ports.map(async (p) => /raft_state:(\w+)/.exec(await ask(p, 'INFO raft'))?.[1]));
    const answers = await Promise.all(ports.map((p) => ask(p, 'DBSIZE')));
    if (!answers.every((text) => text.startsWith(':')) || !roles.includes('leader')) return undefined;
    return ports[roles.indexOf(follower ? 'follower' : 'leader')];
  });
  return { port, dir, stop };
}

/** Runs one unit; returns what the log says of each test. */
function runUnit(unit, { port, dir }, skip) {
  const out = path.join(dir, skip === undefined ? 'first' : 'second');
  const skipFile = path.join(dir, 'skip');
  const env = { ...process.env, TCL_ARGS: '--durable', UNIT_TIMEOUT: String(UNIT_SECONDS_MAX) };
  delete env.SKIPFILE;
  if (skip !== undefined) {
    fs.writeFileSync(skipFile, `${skip.join('\n')}\n`);
    env.SKIPFILE = skipFile;
  }
  const started = Date.now();
  const child = spawn('bash', [RUNNER, String(port), out, unit], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.on('data', (data) => (text += data));
  return new Promise((resolve) =>
    child.once('exit', (code) => {
      if (code !== 0) fail(`the suite's runner ended with code ${code}: ${text}`);
      const lines = fs.readFileSync(path.join(out, `${unit.replaceAll('/', '_')}.log`), 'latin1').split('\n');
      const failed = new Map();
      lines.forEach((line, i) => {
        if (!line.startsWith('[err]: ')) return;
        const name = / in tests\/[^ ]*\.tcl$/.test(line) ? line.slice(7).replace(/ in tests\/[^ ]*\.tcl$/, '') : `(outside a test) ${line.slice(7)}`;
        failed.set(name, lines[i + 1] ?? '');
      });
      const count = (start) => lines.filter((line) => line.startsWith(start)).length;
      resolve({
        ok: count('[ok]'),
        ignored: count('[ignore]'),
        failed,
        broken: / exception=(?!0 )/.test(text),
        seconds: Math.round((Date.now() - started) / 1000),
      });
    }),
  );
}

/** What differs from the expectation, in words. */
function compare(expected, first, second) {
  const found = [];
  if (first.ok === 0 && first.failed.size === 0 && expected.ok > 0) {
    return ['no test ran: is another run of the suite going on? Its test server listens on port 21079'];
  }
  if (first.broken) found.push('the unit did not run to its end');
  for (const [name, detail] of first.failed) {
    if (expected.failures[name] === undefined) found.push(`fails, and should not: ${name}\n      ${detail.slice(0, 200)}`);
  }
  for (const name of Object.keys(expected.failures)) {
    if (!first.failed.has(name)) found.push(`passes now, take it out of expected.json: ${name}`);
  }
  if (first.ok !== expected.ok) found.push(`${first.ok} tests passed, not ${expected.ok}`);
  for (const [name, detail] of second?.failed ?? []) {
    found.push(`fails even without the tests that cannot pass: ${name}\n      ${detail.slice(0, 200)}`);
  }
  return found;
}

/** What is expected of a unit; through a follower some more tests fail. */
function expectedOf(expectation, unit, follower) {
  const known = expectation.units[unit] ?? { ok: 0, err: 0, ignored: 0, failures: {} };
  const more = follower ? (expectation.throughFollower[unit] ?? {}) : {};
  return { ok: known.ok - Object.keys(more).length, failures: { ...known.failures, ...more } };
}

/** Tests that fail for a reason of their own, not because of an earlier one. */
const ownFailures = (failures) =>
  Object.entries(failures)
    .filter(([, { reason }]) => reason !== 'follows')
    .map(([name]) => name);

async function main() {
  const chosen = options(process.argv.slice(2));
  const lacking = missing();
  if (lacking !== undefined) fail(`cannot run: ${lacking}`);
  if (chosen.dist === undefined) {
    install();
    build();
    chosen.dist = path.join(root, 'dist');
  }
  const expectation = JSON.parse(fs.readFileSync(EXPECTED, 'utf8'));
  const holdfast = await startHoldfast(chosen);
  let differences = 0;
  try {
    console.log(`redis-suite: ${chosen.nodes} node${chosen.nodes === 1 ? '' : 's'}, through the ${chosen.follower ? 'follower' : 'leader'} on port ${holdfast.port}`);
    for (const unit of chosen.units) {
      const known = expectedOf(expectation, unit, chosen.follower);
      const first = await runUnit(unit, holdfast);
      const failures = Object.fromEntries([...first.failed.keys()].map((name) => [name, known.failures[name] ?? { reason: '' }]));
      const own = ownFailures(chosen.write ? failures : known.failures);
      const second = own.length < first.failed.size ? await runUnit(unit, holdfast, own) : undefined;
      const found = chosen.write ? [] : compare(known, first, second);
      differences += found.length;
      const follows = first.failed.size - own.length;
      console.log(
        `${unit.padEnd(20)} ok=${String(first.ok).padEnd(4)} err=${String(first.failed.size).padEnd(4)} ` +
          `of these for an earlier one=${String(Math.max(0, follows)).padEnd(3)} ignored=${String(first.ignored).padEnd(3)} ${first.seconds}s  ` +
          (chosen.write ? 'written' : found.length === 0 ? 'as expected' : 'DIFFERS'),
      );
      for (const line of found) console.log(`    ${line}`);
      if (!chosen.write) continue;
      for (const [name, detail] of second?.failed ?? []) console.log(`    fails even without the others: ${name}\n      ${detail.slice(0, 200)}`);
      expectation.units[unit] = { ok: first.ok, err: first.failed.size, ignored: first.ignored, failures };
    }
  } finally {
    await holdfast.stop();
  }
  if (chosen.write) fs.writeFileSync(EXPECTED, `${JSON.stringify(expectation, undefined, 2)}\n`);
  if (differences > 0) process.exitCode = 1;
}

await main();
