// The servers under test: starts them with empty directories of their own, and ends exactly the processes that it started.
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { root } from '../../scripts/prepare.mjs';
import { Client } from './resp.mjs';
import { StallProbe } from './stalls.mjs';

const READY_MS_MAX = 30_000;
const GOODBYE_MS_MAX = 10_000;

const redis = (port, dir, extra) => ['redis-server', ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--dir', dir, ...extra]];
/** Without a snapshotter beside it, unless a measurement asks for one. */
const holdfast = (nodes) => (port, dir, dist, extra) => [
  process.execPath,
  [path.join(dist, 'cli/main.js'), 'local', '--nodes', String(nodes), '--port', String(port), '--dir', dir, '--loglevel', 'warning', '--snapshotter', 'no', ...extra],
];

const KINDS = {
  redis: { title: 'redis-server, nothing on disk', offset: 0, nodes: 0, command: (port, dir) => redis(port, dir, []) },
  'redis-aof-always': { title: 'redis-server, `appendfsync always`', offset: 1, nodes: 0, command: (port, dir) => redis(port, dir, ['--appendonly', 'yes', '--appendfsync', 'always']) },
  'holdfast-1': { title: 'Holdfast, one node', offset: 10, nodes: 1, command: holdfast(1) },
  'holdfast-3': { title: 'Holdfast, three nodes (leader)', offset: 20, nodes: 3, command: holdfast(3) },
};

export const PEER_NAMES = Object.keys(KINDS);
export const titleOf = (name) => KINDS[name].title;
export const isHoldfast = (name) => KINDS[name].nodes > 0;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** One running server or cluster. `port` is where the load goes: the leader's. */
class Peer {
  constructor(name, child, dir) {
    this.name = name;
    this.child = child;
    this.dir = dir;
    this.exited = new Promise((resolve) => child.once('exit', resolve));
    this.port = 0;
    this.pid = 0;
    /** Of nodes that the child has started in groups of their own. */
    this.nodePids = [];
    this.control = undefined;
    /** Tells whose a stall was, where that was asked for. */
    this.probe = undefined;
  }

  get isHoldfast() {
    return isHoldfast(this.name);
  }

  get #serverPids() {
    return this.isHoldfast ? this.nodePids : [this.pid];
  }

  /** Stops its processes, all at once: to a cluster no time passes. */
  freeze() {
    for (const pid of this.#serverPids) kill(pid, 'SIGSTOP');
  }

  /** Lets them go on, and waits until a write is acknowledged. */
  async thaw() {
    for (const pid of this.#serverPids) kill(pid, 'SIGCONT');
    const deadline = Date.now() + READY_MS_MAX;
    for (;;) {
      try {
        await this.control.call('SET', 'bench:thawed', '1');
        return;
      } catch (error) {
        if (Date.now() > deadline) throw error;
        await pause(10);
      }
    }
  }

  /** Longest stalls since `resetStalls`, ms, `own` as lib/stalls.mjs tells them apart; undefined for a server that does not tell. */
  async stalls() {
    if (!this.isHoldfast) return undefined;
    const info = await this.control.info('stats');
    const { ownMsMax, machineMsMax } = this.probe?.longest(this.pid) ?? {};
    return { engineMs: Number(info.get('engine_stall_max_ms')), ownMs: ownMsMax, machineMs: machineMsMax, consensusMs: Number(info.get('consensus_stall_max_ms')) };
  }

  /** Where the time of this leader's writes went since `resetStalls`: `batch_p50` and `batch_p99` in µs, `batch_share` of the mean, and so on for each step. */
  async writeSteps() {
    const fields = {};
    for (const [name, text] of await this.control.info('writelatency')) {
      const step = /^write_(\w+)$/.exec(name)?.[1];
      if (step === undefined) continue;
      const values = new Map(text.split(',').map((part) => part.split('=')));
      for (const of of ['p50', 'p99', 'share']) fields[`${step}_${of}`] = Number(values.get(of));
    }
    return fields;
  }

  async resetStalls() {
    await this.control.call('CONFIG', 'RESETSTAT');
    // The watch sees stalls from its second firing on.
    await pause(25);
    this.probe?.reset();
  }

  /** Runs something, and insists that no command of it was refused and that the load still goes to the leader. */
  async checked(run) {
    const errors = async () => Number((await this.control.info('stats')).get('total_error_replies'));
    const before = await errors();
    const result = await run();
    const after = await errors();
    // `run` may have reset the counters.
    const refused = after < before ? after : after - before;
    if (refused !== 0) throw new Error(`${this.name}: ${refused} error replies under load, so its figures mean nothing`);
    if (this.isHoldfast && (await this.control.info('raft')).get('raft_state') !== 'leader') {
      throw new Error(`${this.name}: the leader changed under load, so its figures mean nothing; run again`);
    }
    return result;
  }
}

export class Peers {
  #scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'holdfast-bench-'));
  #base;
  #dist;
  #running = new Set();
  #started = 0;

  constructor({ port, dist }) {
    this.#base = port;
    this.#dist = dist ?? path.join(root, 'dist');
  }

  /** With `watchStalls` stalls are measured finely; with `tellWhose` also whose they are, which takes some of the CPU. */
  async start(name, { watchStalls = false, tellWhose = false } = {}) {
    const kind = KINDS[name];
    const port = this.#base + kind.offset;
    if (await answers(port)) throw new Error(`something answers on port ${port} already; choose another with --port`);
    const dir = path.join(this.#scratch, `${name}-${++this.#started}`);
    fs.mkdirSync(dir);
    const log = fs.openSync(`${dir}.log`, 'w');
    const [command, args] = kind.command(port, dir, this.#dist, watchStalls ? ['--stall-resolution-ms', '5'] : []);
    const probe = tellWhose && isHoldfast(name) ? new StallProbe(dir) : undefined;
    const child = spawn(command, args, { cwd: dir, stdio: ['ignore', log, log], detached: true, env: { ...process.env, ...probe?.environment } });
    fs.closeSync(log);
    const peer = new Peer(name, child, dir);
    peer.probe = probe;
    this.#running.add(peer);
    const ports = Array.from({ length: Math.max(1, kind.nodes) }, (_, i) => port + i);
    for (const each of ports) await this.#waitFor(each, peer);
    peer.port = ports[0];
    for (const each of ports) await adopt(peer, each);
    peer.control = await Client.open(peer.port);
    return peer;
  }

  async #waitFor(port, peer) {
    const deadline = Date.now() + READY_MS_MAX;
    while (!(await answers(port))) {
      if (peer.child.exitCode !== null || Date.now() > deadline) {
        throw new Error(`${peer.name} does not answer on port ${port}:\n${fs.readFileSync(`${peer.dir}.log`, 'utf8').slice(-2000)}`);
      }
      await pause(50);
    }
  }

  /** Ends a peer at once and removes its data. */
  async stop(peer) {
    if (!this.#running.delete(peer)) return;
    peer.control?.close();
    peer.probe?.stop();
    if (peer.isHoldfast && peer.nodePids.length < KINDS[peer.name].nodes) {
      // Not all of its nodes are known: it passes a signal on to them.
      kill(peer.child.pid, 'SIGTERM');
      await Promise.race([peer.exited, pause(GOODBYE_MS_MAX)]);
    }
    for (const pid of [...peer.nodePids, peer.child.pid]) kill(pid, 'SIGKILL');
    await peer.exited;
    fs.rmSync(peer.dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }

  async stopAll() {
    for (const peer of [...this.#running]) await this.stop(peer);
    fs.rmSync(this.#scratch, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }
}

/** Notes a node's process, and its port as the peer's if it leads. */
async function adopt(peer, port) {
  const client = await Client.open(port);
  const info = await client.info('server');
  const pid = Number(info.get('process_id'));
  if (!peer.isHoldfast) peer.pid = pid;
  else {
    peer.nodePids.push(pid);
    if ((await client.info('raft')).get('raft_state') === 'leader') {
      peer.port = port;
      peer.pid = pid;
    }
  }
  client.close();
}

function kill(pid, signal) {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (error.code !== 'ESRCH') throw error;
  }
}

/** True once the server on this port answers a read (of a Holdfast node: has a leader and has caught up). */
async function answers(port) {
  let client;
  try {
    client = await Client.open(port);
    return typeof (await Promise.race([client.call('DBSIZE'), pause(2000)])) === 'number';
  } catch {
    return false;
  } finally {
    client?.close();
  }
}
