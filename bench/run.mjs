// `npm run bench [-- --rounds 5]`: redis-benchmark against Holdfast (one node, three nodes) and redis-server (nothing on
// disk, and appendfsync always), alternating in one run, so that the machine's moods hit all alike. Prints medians and their
// ratios to redis-server, and appends them to bench/results.ndjson. Only ratios travel between machines.
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { build, install, root } from '../scripts/prepare.mjs';

install();
build();

const option = (name, fallback) => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? fallback : Number(process.argv[at + 1]);
};
const rounds = option('rounds', 5);
const scale = option('scale', 1);
const base = option('port', 7600);
const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'holdfast-bench-'));
const children = [];

if (spawnSync('redis-benchmark', ['--version']).status !== 0 || spawnSync('redis-server', ['--version']).status !== 0) {
  console.error('bench: redis-server and redis-benchmark are needed (Debian: redis-server redis-tools)');
  process.exit(2);
}

function start(name, command, args, dir) {
  fs.mkdirSync(dir, { recursive: true });
  const log = fs.openSync(path.join(scratch, `${name}.log`), 'w');
  const child = spawn(command, args, { cwd: dir, stdio: ['ignore', log, log], detached: true });
  children.push(child);
  return child;
}

function stopAll() {
  for (const child of children) {
    try {
      process.kill(-child.pid, 'SIGKILL');
    } catch (error) {
      if (error.code !== 'ESRCH') throw error;
    }
  }
  // `holdfast local` starts its nodes in groups of their own.
  spawnSync('pkill', ['-9', '-f', scratch]);
}

function answers(port) {
  return new Promise((resolve) => {
    const socket = net.connect({ port, host: '127.0.0.1' });
    let text = '';
    socket.on('error', () => resolve(false));
    socket.on('connect', () => socket.write('DBSIZE\r\n'));
    socket.on('data', (data) => {
      text += data;
      if (!text.includes('\r\n')) return;
      socket.destroy();
      resolve(text.startsWith(':'));
    });
  });
}

async function waitFor(port) {
  for (let i = 0; i < 600; i++) {
    if (await answers(port)) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`nothing answers on port ${port}; logs in ${scratch}`);
}

/** The port of the leader among these. */
function leaderOf(ports) {
  for (const port of ports) {
    const info = execFileSync('redis-cli', ['-p', String(port), 'info', 'raft'], { encoding: 'utf8' });
    if (/raft_state:leader/.test(info)) return port;
  }
  throw new Error('no leader');
}

const main = path.join(root, 'dist/cli/main.js');
const local = (nodes, port, dir) => [main, 'local', '--nodes', String(nodes), '--port', String(port), '--dir', dir, '--loglevel', 'warning'];
const redis = (port, dir, extra) => ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--dir', dir, ...extra];

const targets = [
  { name: 'redis', port: base, up: (d) => start('redis', 'redis-server', redis(base, d, []), d) },
  { name: 'redis-aof-always', port: base + 1, up: (d) => start('aof', 'redis-server', redis(base + 1, d, ['--appendonly', 'yes', '--appendfsync', 'always']), d) },
  { name: 'holdfast-1', port: base + 10, up: (d) => start('hf1', process.execPath, local(1, base + 10, d), d) },
  { name: 'holdfast-3', port: base + 20, up: (d) => start('hf3', process.execPath, local(3, base + 20, d), d), nodes: 3 },
];
const loads = [
  { name: 'SET P1', args: ['-t', 'set', '-P', '1', '-n', String(Math.round(40_000 * scale))] },
  { name: 'GET P1', args: ['-t', 'get', '-P', '1', '-n', String(Math.round(60_000 * scale))] },
  { name: 'SET P16', args: ['-t', 'set', '-P', '16', '-n', String(Math.round(300_000 * scale))] },
  { name: 'GET P16', args: ['-t', 'get', '-P', '16', '-n', String(Math.round(600_000 * scale))] },
];

function measure(port, load) {
  const csv = execFileSync('redis-benchmark', ['-p', String(port), '-c', '50', '-d', '64', '-r', '100000', '--csv', ...load.args], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const row = csv.trim().split('\n').at(-1).split(',').map((cell) => cell.replaceAll('"', ''));
  return { rps: Number(row[1]), p50: Number(row[4]), p99: Number(row[6]) };
}

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

try {
  for (const target of targets) {
    target.up(path.join(scratch, target.name));
    await waitFor(target.port);
    if (target.nodes) {
      const ports = Array.from({ length: target.nodes }, (_, i) => target.port + i);
      for (const port of ports) await waitFor(port);
      target.port = leaderOf(ports);
    }
  }
  const samples = new Map();
  for (const target of targets) for (const load of loads) measure(target.port, { args: [...load.args.slice(0, -1), '5000'] });
  for (let round = 0; round < rounds; round++) {
    for (const load of loads) {
      for (const target of targets) {
        const key = `${load.name}|${target.name}`;
        const list = samples.get(key) ?? [];
        list.push(measure(target.port, load));
        samples.set(key, list);
      }
    }
  }
  const commit = spawnSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: root, encoding: 'utf8' }).stdout.trim();
  const result = { at: new Date().toISOString(), commit, rounds, cpus: os.cpus().length, node: process.version, loads: {} };
  console.log(`\nmedians of ${rounds} alternating runs; redis-benchmark -c 50 -d 64 -r 100000; ${os.cpus().length} cores, load generator included\n`);
  console.log('load      target              requests/s   p50 ms   p99 ms   of redis   of redis-aof-always');
  for (const load of loads) {
    const of = (name, field) => median(samples.get(`${load.name}|${name}`).map((sample) => sample[field]));
    result.loads[load.name] = {};
    for (const { name } of targets) {
      const rps = of(name, 'rps');
      const row = { rps, p50: of(name, 'p50'), p99: of(name, 'p99'), ofRedis: rps / of('redis', 'rps'), ofAof: rps / of('redis-aof-always', 'rps') };
      result.loads[load.name][name] = row;
      console.log(
        `${load.name.padEnd(9)} ${name.padEnd(18)} ${Math.round(rps).toString().padStart(10)} ${row.p50.toFixed(2).padStart(8)} ${row.p99.toFixed(2).padStart(8)} ${row.ofRedis.toFixed(2).padStart(10)} ${row.ofAof.toFixed(2).padStart(12)}`,
      );
    }
  }
  fs.appendFileSync(path.join(root, 'bench/results.ndjson'), `${JSON.stringify(result)}\n`);
} finally {
  stopAll();
  fs.rmSync(scratch, { recursive: true, force: true });
}
