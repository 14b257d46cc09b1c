// `holdfast serve`: one node in this process. The engine thread's entry point: puts the parts together, and ends the process.
import { randomBytes } from 'node:crypto';
import os from 'node:os';
import path from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { MessageChannel, Worker, type MessagePort } from 'node:worker_threads';
import { createClientListener } from '../adapters/client-listener.ts';
import { PinoLogger } from '../adapters/logger.ts';
import { NodeClock } from '../adapters/node-clock.ts';
import { NodeEntropy } from '../adapters/node-entropy.ts';
import { createSharedCell, SharedCellReader } from '../adapters/shared-cell.ts';
import { StallWatch, watchStalls } from '../adapters/stall-watch.ts';
import { ZeroReader } from '../adapters/zero-reader.ts';
import { PeerPieces } from '../adapters/peer-pieces.ts';
import { ThreadSums } from '../adapters/sums-thread.ts';
import { PortEngineLink } from '../adapters/thread-link.ts';
import { errorText, OperationalError } from '../base/errors.ts';
import { allCommands } from '../commands/all.ts';
import { REPLICATED_SETTING_NAMES } from '../commands/replicated-settings.ts';
import { CommandTable } from '../commands/table.ts';
import { Machine, type MachineReport } from '../machine/machine.ts';
import type { PageToucher } from '../memory/page-toucher.ts';
import { Engine } from '../replica/engine.ts';
import type { ClientListener } from '../ports/client-listener.ts';
import type { Logger } from '../ports/logger.ts';
import { Config } from '../server/config.ts';
import { peerPortOf } from '../server/config-directives.ts';
import { loadConfig, type LoadedConfig } from '../server/config-file.ts';
import { Server, type ProcessFacts } from '../server/server.ts';
import { nodeConfigFiles } from './config-files.ts';
import { StoredSnapshots } from './snapshot-installer.ts';
import { SnapshotterChild } from './snapshotter-child.ts';
import { openConfiguredStore } from './store-options.ts';
import type { ConsensusThreadData, ConsensusThreadMessage } from './consensus-thread.ts';
import { VERSION } from './version.ts';

type ConsensusReady = Extract<ConsensusThreadMessage, { type: 'ready' }>;

/** How long reads and writes wait for a leader before they are refused, in election timeouts. */
const LEADER_WAIT_ELECTIONS = 4;
/** How long replies have to leave after a clean stop, ms. */
const GOODBYE_MS = 200;

/**
 * For both threads. Their heaps are small and what they allocate dies young, so V8 would collect often, each time with four helper
 * threads: a tenth of all CPU of three nodes on two cores (docs/decisions/0011-garbage-and-pages.md).
 */
const V8_FLAGS = ['--no-parallel-scavenge', '--heap-growing-percent=200'];
/** With peers entries stay longer, and there is more to collect: a few tens of MiB for some percent of CPU. */
const V8_FLAGS_AMONG_PEERS = ['--heap-growing-percent=500'];
/** Of the consensus thread's heap where it is alone: what it allocates are small objects that die at once, and entries that are discarded. */
const YOUNG_MIB_ALONE = 4;

/** Runs a node until it is stopped; the process ends in here. */
export async function serve(file: string | undefined, directives: readonly string[]): Promise<void> {
  const loaded = loadConfig(nodeConfigFiles, file, directives);
  for (const flag of [...V8_FLAGS, ...(loaded.values.peers.length > 0 ? V8_FLAGS_AMONG_PEERS : [])]) setFlagsFromString(flag);
  const node = new Node(loaded, [...(file === undefined ? [] : [file]), ...directives]);
  await node.start();
}

class Node {
  readonly #loaded: LoadedConfig;
  readonly #logger: PinoLogger;
  readonly #clock = new NodeClock();
  /** Access clocks of keys are of seconds; the engine's cron reads the clock 20 times in each. */
  readonly #accessClockMs = (): number => this.#clock.lastMonotonicMs;
  readonly #entropy = new NodeEntropy();
  readonly #toucher: PageToucher;
  readonly #startedMs = this.#clock.monotonicMs();
  #stopping = false;
  #engine: Engine | undefined;
  #server: Server | undefined;
  #listener: ClientListener | undefined;
  #snapshotter: SnapshotterChild | undefined;
  /** As this process was given them: file and directives. */
  readonly #args: readonly string[];

  constructor(loaded: LoadedConfig, args: readonly string[]) {
    this.#loaded = loaded;
    this.#args = args;
    this.#logger = new PinoLogger({ ...this.#loggerOptions, thread: 'engine' });
    this.#toucher = new ZeroReader(this.#logger);
  }

  get #loggerOptions() {
    const { values } = this.#loaded;
    return { level: values.loglevel, format: values['log-format'], logfile: values.logfile, node: values['node-id'] } as const;
  }

  async start(): Promise<void> {
    const cell = createSharedCell();
    const { port1: engineSide, port2: consensusSide } = new MessageChannel();
    const ready = await this.#startConsensus(cell, consensusSide);
    const machine = this.#makeMachine();
    const config = new Config(this.#loaded, nodeConfigFiles, () => machine.settings);
    const server = this.#makeServer(config, machine, ready);
    const resolutionMs = this.#loaded.values['stall-resolution-ms'];
    server.node.stalls = { engine: new StallWatch(watchStalls(resolutionMs), resolutionMs), consensus: new StallWatch(ready.stalls, resolutionMs) };
    const engine = this.#makeEngine(config, machine, server, new PortEngineLink(engineSide), new SharedCellReader(cell), ready);
    server.attach(engine);
    const listener = this.#makeListener(server);
    this.#server = server;
    this.#engine = engine;
    this.#listener = listener;
    config.onChange((changed, now) => {
      if (changed.has('loglevel')) this.#logger.setLevel(now.loglevel);
      if (changed.has('log-disk-bytes-max')) engine.requests.limitLog(now['log-disk-bytes-max']);
      if (changed.has('tcp-keepalive')) listener.keepAliveSeconds = now['tcp-keepalive'];
    });
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => this.#stop(signal));
    engine.start();
    await listener.listen();
    this.#logger.info(
      { port: listener.port ?? 'none', unixsocket: config.values.unixsocket, cluster: ready.clusterId, lastIndex: ready.lastIndex, pid: process.pid },
      'accepting clients',
    );
    this.#startSnapshotter(ready.clusterId);
    announceReadiness(engine, this.#logger, this.#clock, this.#startedMs);
  }

  #startSnapshotter(clusterId: string): void {
    const { values } = this.#loaded;
    if (values['object-store'] === '' || !values.snapshotter) return;
    this.#snapshotter = new SnapshotterChild([...this.#args, '--cluster-id', clusterId], this.#logger);
    this.#snapshotter.start();
  }

  #startConsensus(cell: SharedArrayBuffer, link: MessagePort): Promise<ConsensusReady> {
    const entry = import.meta.url.endsWith('.ts') ? './consensus-thread.ts' : './consensus-thread.js';
    const isAlone = this.#loaded.values.peers.length === 0;
    const worker = new Worker(new URL(entry, import.meta.url), {
      workerData: this.#threadData(cell, link),
      transferList: [link],
      ...(isAlone ? { resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MIB_ALONE } } : {}),
    });
    worker.on('error', (error) => die(this.#logger, `the consensus thread died: ${error.stack ?? error.message}`));
    worker.on('exit', (code) => {
      if (!this.#stopping) die(this.#logger, `the consensus thread ended with code ${code}`);
    });
    return new Promise((resolve, reject) => {
      let isReady = false;
      worker.on('message', (message: ConsensusThreadMessage) => {
        if (message.type === 'ready') {
          isReady = true;
          resolve(message);
        } else if (isReady) {
          die(this.#logger, `the consensus thread failed: ${message.message}`);
        } else {
          reject(message.code === 'INTERNAL' ? new Error(message.message) : new OperationalError(message.code as 'DATA_DIR', message.message));
        }
      });
    });
  }

  #threadData(cell: SharedArrayBuffer, link: MessagePort): ConsensusThreadData {
    const { values } = this.#loaded;
    return {
      dir: path.resolve(values.dir),
      nodeName: values['node-id'],
      clusterId: values['cluster-id'],
      clusterSecret: values['cluster-secret'],
      peers: values.peers,
      clientPort: values.port,
      hasPeerPort: values['peer-port'] !== 0 || values.peers.length > 0,
      peerBind: values['peer-bind'][0] ?? '127.0.0.1',
      peerPort: peerPortOf(values),
      hasObservers: values['object-store'] !== '',
      heartbeatMs: values['heartbeat-interval-ms'],
      stallResolutionMs: values['stall-resolution-ms'],
      electionMs: values['election-timeout-ms'],
      leaseDriftMs: values['lease-drift-ms'],
      readConsistency: values['read-consistency'],
      logKeepBytes: values['log-keep-bytes'],
      logKeepBytesMax: values['log-keep-bytes-max'],
      logDiskBytesMax: values['log-disk-bytes-max'],
      failpoints: values.failpoint,
      cell,
      link,
      logger: this.#loggerOptions,
    };
  }

  #makeMachine(): Machine {
    return new Machine(new CommandTable(allCommands), this.#machineReport(), this.#accessClockMs, this.#toucher);
  }

  #machineReport(): MachineReport {
    return {
      handlerThrew: (command, index, error) =>
        this.#logger.error({ command, index, error }, 'a write command failed inside, the same on every node: please report this'),
      diverged: (index, own, leader) =>
        die(
          this.#logger,
          `this node's data differ from the leader's at log index ${index} (digest ${own}, leader ${leader}): it stops serving. ` +
            `Keep its directory for a bug report, then take the node in again: holdfast init --rejoin yes in an empty directory`,
        ),
    };
  }

  #makeServer(config: Config, machine: Machine, { nodeId, clusterId, members }: ConsensusReady): Server {
    return new Server({
      config,
      table: machine.table,
      clock: this.#clock,
      entropy: this.#entropy,
      logger: this.#logger,
      nodeId,
      clusterId,
      members,
      runId: randomBytes(20).toString('hex'),
      version: VERSION,
      process: processFacts,
      onShutdown: () => this.#stop('SHUTDOWN'),
      onStopped: (reason) => this.#finish(reason),
    });
  }

  #makeEngine(config: Config, machine: Machine, server: Server, link: PortEngineLink, cell: SharedCellReader, ready: ConsensusReady): Engine {
    const { values } = this.#loaded;
    return new Engine({
      machine,
      link,
      cell,
      clock: this.#clock,
      logger: this.#logger,
      host: server,
      origin: { node: ready.nodeId, boot: this.#entropy.uint32() },
      replayTo: ready.commit,
      startsBehind: ready.base,
      installer: this.#makeInstaller(machine, server, ready),
      bootstrap: () => ({
        databases: values.databases,
        hashKey: randomBytes(16),
        settings: REPLICATED_SETTING_NAMES.map((name) => [name, config.seed()[name]] as const),
      }),
      readConsistency: values['read-consistency'],
      get uncertainAfterMs() {
        return config.values['uncertain-after-ms'];
      },
      leaderWaitMs: LEADER_WAIT_ELECTIONS * values['election-timeout-ms'],
    });
  }

  #makeInstaller(machine: Machine, server: Server, { clusterId, base }: ConsensusReady): StoredSnapshots {
    const { values } = this.#loaded;
    const installer = new StoredSnapshots({
      dir: path.resolve(values.dir),
      clusterId,
      openStore: values['object-store'] === '' ? undefined : () => openConfiguredStore(values),
      pieces: new PeerPieces({
        members: () => server.node.group.others.map(({ name, host, peerPort }) => ({ name, host, port: peerPort })),
        clusterSecret: values['cluster-secret'],
        clusterId,
        name: `node ${values['node-id']}`,
        logger: this.#logger,
      }),
      table: machine.table,
      report: this.#machineReport(),
      accessClockMs: this.#accessClockMs,
      toucher: this.#toucher,
      clock: this.#clock,
      logger: this.#logger,
      sums: () => new ThreadSums(),
    });
    installer.assertCanStart(base);
    return installer;
  }

  #makeListener(server: Server): ClientListener {
    const { values } = this.#loaded;
    return createClientListener(
      {
        bind: values.bind,
        port: values.port === 0 ? undefined : values.port,
        ...(values.unixsocket === '' ? {} : { unixSocket: values.unixsocket }),
        ...(values.unixsocketperm === 0 ? {} : { unixSocketPermissions: values.unixsocketperm }),
        backlog: values['tcp-backlog'],
        keepAliveSeconds: values['tcp-keepalive'],
      },
      server,
    );
  }

  /** A clean stop: no new clients, leadership handed over, replies out. */
  #stop(why: string): void {
    if (this.#stopping) return;
    this.#stopping = true;
    this.#snapshotter?.stop();
    this.#logger.info({ why }, 'stopping');
    void this.#listener?.stopAccepting();
    this.#engine?.shutdown();
    this.#clock.after(this.#loaded.values['shutdown-timeout'] * 1000, () => this.#finish('the clean stop took too long'));
  }

  #finish(problem: string): void {
    this.#engine?.stop();
    this.#server?.stop();
    this.#server?.flush();
    if (problem !== '') this.#logger.warn({ problem }, 'not a clean stop; nothing that was acknowledged is lost');
    this.#clock.after(GOODBYE_MS, () => process.exit(0));
  }
}

/** One line when the node first serves: for the operator, and for scripts that wait for it. */
function announceReadiness(engine: Engine, logger: Logger, clock: NodeClock, startedMs: number): void {
  const check = (): void => {
    if (engine.machine.bootstrapped && engine.leader !== 0 && engine.machine.appliedIndex >= engine.commitIndex) {
      logger.info(
        { ms: Math.round(clock.monotonicMs() - startedMs), applied: engine.machine.appliedIndex, leads: engine.isLeader },
        'ready to serve',
      );
      return;
    }
    clock.after(20, check);
  };
  check();
}

function processFacts(): ProcessFacts {
  const cpu = process.cpuUsage();
  return {
    rssBytes: process.memoryUsage.rss(),
    systemBytes: os.totalmem(),
    userCpuSeconds: cpu.user / 1e6,
    systemCpuSeconds: cpu.system / 1e6,
    pid: process.pid,
    os: `${os.type()} ${os.release()} ${os.machine()}`,
    executable: process.execPath,
    nodeVersion: process.version,
  };
}

function die(logger: Logger, reason: string): never {
  logger.error({ reason }, 'this node ends');
  process.stderr.write(`holdfast: ${errorText(reason)}\n`);
  process.exit(1);
}
