// `holdfast serve`: one node in this process. The engine thread's entry point: puts the parts together, and ends the process.
import { randomBytes } from 'node:crypto';
import os from 'node:os';
import path from 'node:path';
import { MessageChannel, Worker } from 'node:worker_threads';
import { createClientListener } from '../adapters/client-listener.ts';
import { PinoLogger } from '../adapters/logger.ts';
import { NodeClock } from '../adapters/node-clock.ts';
import { NodeEntropy } from '../adapters/node-entropy.ts';
import { createSharedCell, SharedCellReader } from '../adapters/shared-cell.ts';
import { PortEngineLink } from '../adapters/thread-link.ts';
import { errorText, OperationalError } from '../base/errors.ts';
import { allCommands } from '../commands/all.ts';
import { REPLICATED_SETTING_NAMES } from '../commands/replicated-settings.ts';
import { CommandTable } from '../commands/table.ts';
import { Machine } from '../machine/machine.ts';
import { Engine } from '../replica/engine.ts';
import type { Logger } from '../ports/logger.ts';
import { Config } from '../server/config.ts';
import { loadConfig } from '../server/config-file.ts';
import { Server, type ProcessFacts } from '../server/server.ts';
import { membersOf } from './cluster-layout.ts';
import { nodeConfigFiles } from './config-files.ts';
import type { ConsensusThreadData, ConsensusThreadMessage } from './consensus-thread.ts';
import { VERSION } from './version.ts';

/** How long replies have to leave after a clean stop, ms. */
const GOODBYE_MS = 200;

/** Runs a node until it is stopped; the process ends in here. */
export async function serve(file: string | undefined, directives: readonly string[]): Promise<void> {
  const loaded = loadConfig(nodeConfigFiles, file, directives);
  const { values } = loaded;
  const members = membersOf(values);
  const self = values['node-id'];
  const loggerOptions = { level: values.loglevel, format: values['log-format'], logfile: values.logfile, node: self } as const;
  const logger = new PinoLogger({ ...loggerOptions, thread: 'engine' });
  const cell = createSharedCell();
  const { port1: engineSide, port2: consensusSide } = new MessageChannel();
  const ownMember = members.find((member) => member.name === self)!;
  const data: ConsensusThreadData = {
    dir: path.resolve(values.dir),
    nodeName: self,
    clusterId: values['cluster-id'],
    clusterSecret: values['cluster-secret'],
    peers: members.map(({ id, name, host, peerPort }) => ({ id, name, host, port: peerPort })),
    peerBind: values['peer-bind'][0] ?? '127.0.0.1',
    peerPort: values['peer-port'] === 0 ? ownMember.peerPort : values['peer-port'],
    heartbeatMs: values['heartbeat-interval-ms'],
    electionMs: values['election-timeout-ms'],
    leaseDriftMs: values['lease-drift-ms'],
    readConsistency: values['read-consistency'],
    failpoints: values.failpoint,
    cell,
    link: consensusSide,
    logger: loggerOptions,
  };
  const entry = import.meta.url.endsWith('.ts') ? './consensus-thread.ts' : './consensus-thread.js';
  const worker = new Worker(new URL(entry, import.meta.url), { workerData: data, transferList: [consensusSide] });
  let stopping = false;
  worker.on('error', (error) => die(logger, `the consensus thread died: ${error.stack ?? error.message}`));
  worker.on('exit', (code) => {
    if (!stopping) die(logger, `the consensus thread ended with code ${code}`);
  });
  let isReady = false;
  const ready = await new Promise<Extract<ConsensusThreadMessage, { type: 'ready' }>>((resolve, reject) => {
    worker.on('message', (message: ConsensusThreadMessage) => {
      if (message.type === 'ready') {
        isReady = true;
        resolve(message);
      } else if (isReady) die(logger, `the consensus thread failed: ${message.message}`);
      else reject(message.code === 'INTERNAL' ? new Error(message.message) : new OperationalError(message.code as 'DATA_DIR', message.message));
    });
  });

  const clock = new NodeClock();
  const entropy = new NodeEntropy();
  const startedMs = clock.monotonicMs();
  const link = new PortEngineLink(engineSide);
  const machine = new Machine(
    new CommandTable(allCommands),
    {
      handlerThrew: (command, index, error) =>
        logger.error({ command, index, error }, 'a write command failed inside, the same on every node: please report this'),
      diverged: (index, own, leader) =>
        die(
          logger,
          `this node's data differ from the leader's at log index ${index} (digest ${own}, leader ${leader}): it stops serving. ` +
            `Keep its directory for a bug report, then take the node in again: holdfast init --rejoin yes in an empty directory`,
        ),
    },
    () => clock.monotonicMs(),
  );
  const config = new Config(loaded, nodeConfigFiles, () => machine.settings);
  const stop = (why: string): void => {
    if (stopping) return;
    stopping = true;
    logger.info({ why }, 'stopping');
    void listener.stopAccepting();
    engine.shutdown();
    clock.after(values['shutdown-timeout'] * 1000, () => finish('the clean stop took too long'));
  };
  const finish = (problem: string): void => {
    engine.stop();
    server.stop();
    server.flush();
    if (problem !== '') logger.warn({ problem }, 'not a clean stop; nothing that was acknowledged is lost');
    clock.after(GOODBYE_MS, () => process.exit(0));
    void listener.close().then(() => process.exit(0));
  };
  const server = new Server({
    config,
    table: machine.table,
    clock,
    entropy,
    logger,
    nodeId: ready.nodeId,
    members: members.map(({ id, name, host, clientPort }) => ({ id, name, host, clientPort: name === self ? values.port : clientPort })),
    runId: randomBytes(20).toString('hex'),
    version: VERSION,
    process: processFacts,
    onShutdown: () => stop('SHUTDOWN'),
    onStopped: (reason) => finish(reason),
  });
  const engine = new Engine({
    machine,
    link,
    cell: new SharedCellReader(cell),
    clock,
    logger,
    host: server,
    origin: { node: ready.nodeId, boot: entropy.uint32() },
    bootstrap: () => ({
      databases: values.databases,
      hashKey: randomBytes(16),
      settings: REPLICATED_SETTING_NAMES.map((name) => [name, config.seed()[name]] as const),
    }),
    readConsistency: values['read-consistency'],
    uncertainAfterMs: values['uncertain-after-ms'],
    leaderWaitMs: 4 * values['election-timeout-ms'],
  });
  server.attach(engine);
  const listener = createClientListener(
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
  config.onChange((changed, now) => {
    if (changed.has('loglevel')) logger.setLevel(now.loglevel);
    if (changed.has('tcp-keepalive')) listener.keepAliveSeconds = now['tcp-keepalive'];
  });
  engine.start();
  await listener.listen();
  logger.info(
    { port: listener.port ?? 'none', unixsocket: values.unixsocket, cluster: ready.clusterId, lastIndex: ready.lastIndex, pid: process.pid },
    'accepting clients',
  );
  announceReadiness(engine, logger, clock, startedMs);
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => stop(signal));
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
