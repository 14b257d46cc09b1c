// One server whose directory outlives it: for what is killed and started again. Holdfast with an object store and, where it is
// asked for, its snapshotter; redis-server. Ends exactly the processes that it started, and what those started.
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { root } from '../../scripts/prepare.mjs';
import { nowMs } from './load.mjs';
import { childrenOf, kill, requireDisk } from './processes.mjs';
import { Client } from './resp.mjs';
import { StallProbe } from './stalls.mjs';

const PEER_PORT_OFFSET = 10_000;
const READY_MS_MAX = 180_000;
const ASK_EVERY_MS = 5;
const POLL_MS = 50;
const CATCH_UP_MS_MAX = 600_000;
const SNAPSHOT_MS_MAX = 900_000;
/** The first that a node starts. */
const CONSENSUS_THREAD = 1;

const addressOf = (port) => `127.0.0.1:${port + PEER_PORT_OFFSET}/${port}`;

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Waits until `look` gives something else than undefined or false, and resolves to that. */
export async function until(what, msMax, look) {
  const deadline = nowMs() + msMax;
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    if (nowMs() > deadline) throw new Error(`${what}: not after ${msMax / 1000} s`);
    await pause(POLL_MS);
  }
}

/** A folder of its own for each bench, gone when that ends, together with all servers that it has. */
export class Workplace {
  #servers = [];
  #probe;

  /** `bytes` that may be needed at most. With `tellWhose` stalls are told apart for its Holdfast nodes, which takes some of the CPU. */
  constructor(options, bytes, { tellWhose = false } = {}) {
    requireDisk(os.tmpdir(), bytes);
    this.options = options;
    this.dist = options.dist ?? path.join(root, 'dist');
    this.folder = fs.mkdtempSync(path.join(os.tmpdir(), 'holdfast-bench-'));
    this.#probe = tellWhose ? new StallProbe(this.folder) : undefined;
    Workplace.#open.add(this);
  }

  static #open = new Set();

  /** For the end of the process by a signal. */
  static async closeAll() {
    for (const place of [...Workplace.#open]) await place.close();
  }

  holdfast(name, directives = []) {
    const dir = path.join(this.folder, name);
    return this.#add(new HoldfastServer(this.#nextPort, dir, { dist: this.dist, probe: this.#probe, id: 'n1', objects: path.join(dir, 'objects'), directives: directives.length > 0 ? directives : ONLY_ASKED_FOR }));
  }

  /** Nodes with these ids that know each other, of one object store. */
  cluster(ids, directives) {
    const ports = ids.map((_, i) => this.#nextPort + i);
    const peers = ids.map((id, i) => `${id}=${addressOf(ports[i])}`).join(',');
    return ids.map((id) => this.#member(id, this.#objects, ['--peers', peers, ...directives]));
  }

  /** One more, that is to be added to them. `objects` undefined: it has no object store. */
  joiner(id, { directives, objects }) {
    return this.#member(id, objects, ['--peer-port', String(this.#nextPort + PEER_PORT_OFFSET), ...directives]);
  }

  get #objects() {
    return path.join(this.folder, 'objects');
  }

  #member(id, objects, directives) {
    return this.#add(new HoldfastServer(this.#nextPort, path.join(this.folder, id), { dist: this.dist, probe: this.#probe, id, objects, directives }));
  }

  redis(name, directives = []) {
    return this.#add(new RedisServer(this.#nextPort, path.join(this.folder, name), directives));
  }

  get #nextPort() {
    return this.options.port + 30 + this.#servers.length;
  }

  #add(server) {
    fs.mkdirSync(server.dir, { recursive: true });
    this.#servers.push(server);
    return server;
  }

  async close() {
    Workplace.#open.delete(this);
    for (const server of this.#servers) await server.kill();
    this.#probe?.stop();
    fs.rmSync(this.folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }
}

class LoneServer {
  #child;
  #exited;

  constructor(port, dir) {
    this.port = port;
    this.dir = dir;
    this.control = undefined;
  }

  get pid() {
    return this.#child?.pid;
  }

  get logFile() {
    return path.join(this.dir, 'out.log');
  }

  /** Resolves to the milliseconds from the start of the process to its first answer to a read. */
  async launch(command, args, { environment = {}, askEveryMs = ASK_EVERY_MS } = {}) {
    if ((await dbSize(this.port)) !== undefined) throw new Error(`something answers on port ${this.port} already; choose another with --port`);
    fs.rmSync(this.logFile, { force: true });
    const log = fs.openSync(this.logFile, 'w');
    const startMs = nowMs();
    const child = spawn(command, args, { cwd: this.dir, stdio: ['ignore', log, log], detached: true, env: { ...process.env, ...environment } });
    fs.closeSync(log);
    this.#child = child;
    this.#exited = new Promise((resolve) => child.once('exit', resolve));
    while ((await dbSize(this.port)) === undefined) {
      if (child.exitCode !== null || nowMs() - startMs > READY_MS_MAX) {
        throw new Error(`port ${this.port} does not answer:\n${fs.readFileSync(this.logFile, 'utf8').slice(-2000)}`);
      }
      await pause(askEveryMs);
    }
    const readyMs = nowMs() - startMs;
    this.control = await Client.open(this.port);
    return readyMs;
  }

  /** Resolves when it has ended by itself. */
  ended() {
    return this.#exited;
  }

  /** SIGKILL, to those that it has started as well. */
  async kill() {
    if (this.#child === undefined) return;
    const pid = this.#child.pid;
    const children = childrenOf(pid);
    this.control?.close();
    for (const each of [pid, ...children]) kill(each, 'SIGKILL');
    await this.#exited;
    this.#child = undefined;
    await until(`the end of what ${pid} had started`, 10_000, () => children.every((each) => !fs.existsSync(`/proc/${each}`)));
  }
}

class RedisServer extends LoneServer {
  #directives;

  constructor(port, dir, directives) {
    super(port, dir);
    this.name = 'redis-server';
    this.#directives = directives;
  }

  start() {
    return this.launch('redis-server', ['--port', String(this.port), '--bind', '127.0.0.1', '--save', '', '--dir', this.dir, ...this.#directives]);
  }

  /** Resolves once the snapshot is taken. */
  async takeSnapshot() {
    await this.control.call('BGSAVE');
    await until('BGSAVE', SNAPSHOT_MS_MAX, async () => (await this.control.info('persistence')).get('rdb_bgsave_in_progress') === '0');
    const info = await this.control.info('persistence', 'stats');
    if (info.get('rdb_last_bgsave_status') !== 'ok') throw new Error('redis-server: BGSAVE failed');
    return { forkMs: Number(info.get('latest_fork_usec')) / 1000 };
  }
}

/** No snapshot but those that are asked for, and none is ever deleted. */
export const ONLY_ASKED_FOR = ['--snapshot-log-bytes', '1000gb', '--snapshot-interval', '2000000000', '--snapshot-retention', '0', '--log-disk-bytes-max', '0'];

class HoldfastServer extends LoneServer {
  #main;
  #directives;
  #probe;

  /** `objects` undefined: without an object store. */
  constructor(port, dir, { dist, probe, id, objects, directives }) {
    super(port, path.join(dir, 'node'));
    this.name = 'holdfast';
    this.id = id;
    this.objects = objects;
    this.#main = path.join(dist, 'cli/main.js');
    this.#probe = probe;
    this.#directives = [
      '--node-id', id, '--port', String(port), '--bind', '127.0.0.1', '--dir', path.join(this.dir, 'data'), ...(objects === undefined ? [] : ['--object-store', objects]),
      '--stall-resolution-ms', '5', '--log-format', 'json', ...directives,
    ];
  }

  get logFolder() {
    return path.join(this.dir, 'data/log');
  }

  /** For HOLDFAST ADDNODE. */
  get address() {
    return addressOf(this.port);
  }

  /** Makes the directory of a member that was added, as the member on that port tells it. */
  async initJoining(port) {
    const child = spawn(process.execPath, [this.#main, 'init', ...this.#directives, '--join', `127.0.0.1:${port}`], { stdio: ['ignore', 'ignore', 'inherit'] });
    const code = await new Promise((resolve) => child.once('exit', resolve));
    if (code !== 0) throw new Error(`holdfast init --join ended with ${code}`);
  }

  /** `askEveryMs` it is asked whether it is ready. */
  async start({ snapshotter, askEveryMs }) {
    if (!fs.existsSync(path.join(this.dir, 'data/identity.json'))) this.run(['init', ...this.#directives]);
    return this.launch(process.execPath, [this.#main, 'serve', ...this.#directives, '--snapshotter', snapshotter ? 'yes' : 'no'], { environment: this.#probe?.environment, askEveryMs });
  }

  /** One of holdfast's other commands. */
  run(args) {
    const result = spawnSync(process.execPath, [this.#main, ...args], { encoding: 'utf8', cwd: this.dir });
    if (result.status !== 0) throw new Error(`holdfast ${args.join(' ')} failed: ${result.stderr.slice(-2000)}`);
    return result.stdout;
  }

  exportRdb(file) {
    this.run(['snapshot', 'export', '--out', file, '--from', this.objects]);
  }

  get snapshotterPid() {
    return childrenOf(this.pid)[0];
  }

  /** The fields of the newest line of the log with this text; undefined if there is none. */
  logged(text) {
    const lines = fs.readFileSync(this.logFile, 'utf8').split('\n').filter((line) => line.includes(text));
    for (const line of lines.reverse()) {
      try {
        const record = JSON.parse(line);
        if (record.msg === text) return record.fields ?? record;
      } catch {
        // Something else that names it.
      }
    }
    return undefined;
  }

  /** Longest stalls since `resetStalls`, ms; `own` as lib/stalls.mjs tells them apart, where the workplace does. */
  async stalls() {
    const info = await this.control.info('stats');
    const told = { engineMs: Number(info.get('engine_stall_max_ms')), consensusMs: Number(info.get('consensus_stall_max_ms')) };
    if (this.#probe === undefined) return told;
    const { ownMsMax: engineOwnMs, machineMsMax: machineMs } = this.#probe.longest(this.pid);
    return { ...told, engineOwnMs, machineMs, consensusOwnMs: this.#probe.longest(this.pid, CONSENSUS_THREAD).ownMsMax };
  }

  async resetStalls() {
    await this.control.call('CONFIG', 'RESETSTAT');
    // The watch sees stalls from its second firing on.
    await pause(25);
    this.#probe?.reset();
  }

  /** What the snapshotter last told this node; numbers where they are such. */
  async snapshotterFacts() {
    const facts = new Map();
    const collect = (list) => {
      for (let i = 0; i + 1 < list.length; i += 2) {
        if (Array.isArray(list[i + 1])) collect(list[i + 1]);
        else facts.set(list[i], list[i + 1]);
      }
    };
    collect(await this.control.call('HOLDFAST', 'SNAPSHOTS'));
    return facts;
  }

  /** Until the snapshotter has applied all that is archived, and the archive is no further behind than it should be. */
  async untilFollowed() {
    await until('the snapshotter catching up', CATCH_UP_MS_MAX, async () => {
      const facts = await this.snapshotterFacts();
      const commit = Number((await this.control.info('raft')).get('raft_commit_index'));
      const archived = facts.get('archived-index') ?? 0;
      return facts.get('state') === 'following' && facts.get('silent-ms') < 3000 && facts.get('applied-index') === archived && (archived === commit || facts.get('archive-lag-ms') < 12_000);
    });
  }

  /** Resolves once the snapshot is published: what it took to write and to verify it. */
  async takeSnapshot() {
    const before = await this.#snapshotIndex();
    const answer = await this.control.call('BGSAVE');
    if (!/started/i.test(String(answer))) throw new Error(`holdfast: BGSAVE said ${answer}`);
    await until('BGSAVE', SNAPSHOT_MS_MAX, async () => (await this.#snapshotIndex()) > before);
    const made = this.logged('a snapshot was written, and loaded again as it was written');
    if (made === undefined) throw new Error('holdfast: its log does not tell of the snapshot');
    return { bytes: made.bytes, writeMs: made.writeMs, verifyMs: made.verifyMs };
  }

  async #snapshotIndex() {
    return Number((await this.control.info('persistence')).get('snapshot_index'));
  }
}

/** Keys of the server on this port; undefined while it does not answer a read. */
async function dbSize(port) {
  let client;
  try {
    client = await Client.open(port);
    const size = await Promise.race([client.call('DBSIZE'), pause(2000)]);
    return typeof size === 'number' ? size : undefined;
  } catch {
    return undefined;
  } finally {
    client?.close();
  }
}
