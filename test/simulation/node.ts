// One node: what survives (disk, clocks, data directory's identity) and its lives, each a whole holdfast with its two
// threads: consensus, engine, machine and the real server with its sessions, on simulated ports.
import { Prng } from '../../src/base/prng.ts';
import { allCommands } from '../../src/commands/all.ts';
import { publishedText } from '../../src/commands/publishing.ts';
import { CommandTable } from '../../src/commands/table.ts';
import { digestText, Machine, type MachineReport } from '../../src/machine/machine.ts';
import type { LeaseCellReader } from '../../src/ports/lease-cell.ts';
import type { ConsensusLink } from '../../src/ports/link.ts';
import type { Logger } from '../../src/ports/logger.ts';
import type { MemberAddress } from '../../src/base/configuration.ts';
import { seedConfiguration } from '../../src/raft/configuration.ts';
import type { ApplyPace } from '../../src/replica/applying.ts';
import { Consensus } from '../../src/replica/consensus.ts';
import { Engine } from '../../src/replica/engine.ts';
import { Config } from '../../src/server/config.ts';
import { loadConfig, type ConfigFiles } from '../../src/server/config-file.ts';
import { Server } from '../../src/server/server.ts';
import type { NodeTime} from './clock.ts';
import { SimThread } from './clock.ts';
import type { SimDisk } from './disk.ts';
import { SimCell, SimLink } from './link.ts';
import { SimTransport } from './network.ts';
import type { Simulator } from './simulator.ts';
import { Violation } from './trace.ts';

/** Seeded bugs of a node, for the tests of the simulation. */
export interface NodeBugs {
  /** Wraps the cell that reads look at. */
  readonly cell?: (reader: LeaseCellReader) => LeaseCellReader;
  /** Alters an entry before this node's machine applies it. */
  readonly entry?: (entry: Uint8Array, index: number) => Uint8Array;
  /** Wraps what consensus says to the engine. */
  readonly link?: (link: ConsensusLink) => ConsensusLink;
  /** Alters the machine before it applies anything. */
  readonly machine?: (machine: Machine) => void;
}

const NO_FILES: ConfigFiles = {
  read: () => '',
  resolve: (_from: string, path: string) => path,
} as unknown as ConfigFiles;

const HASH_KEY_BYTES = 16;

export class SimNode {
  readonly id: number;
  readonly sim: Simulator;
  readonly time: NodeTime;
  readonly disk: SimDisk;
  readonly bugs: NodeBugs;
  readonly prng: Prng;
  incarnation: string;
  /** In the data directory: survives a crash. */
  rejoining = false;
  /** The members that a node that came later was told of when it was made. */
  readonly joined: readonly MemberAddress[] | undefined;
  life: Life | undefined;
  lives = 0;
  /** Why it is down, for the operator: a failing disk must be mended before it starts again. */
  restartAtMs = 0;

  constructor(sim: Simulator, id: number, time: NodeTime, disk: SimDisk, bugs: NodeBugs, joined?: readonly MemberAddress[]) {
    this.joined = joined;
    this.sim = sim;
    this.id = id;
    this.time = time;
    this.disk = disk;
    this.bugs = bugs;
    this.prng = new Prng(sim.seed, 1000 + id);
    this.incarnation = this.#newIncarnation();
    disk.onCut = (baseIndex) => sim.snapshots.cut(id, baseIndex);
    disk.onPoint = (what) => sim.faults.point(this, what);
  }

  #newIncarnation(): string {
    let text = '';
    for (let i = 0; i < 4; i++) text += this.prng.uint32().toString(16).padStart(8, '0');
    return text;
  }

  start(): void {
    if (this.life !== undefined) return;
    this.lives++;
    this.sim.note(`node ${this.id} starts (life ${this.lives}${this.rejoining ? ', rejoining' : ''}, log from ${this.disk.durable.base.index} to ${this.disk.durable.lastIndex})`);
    this.life = new Life(this, this.lives);
    this.life.start();
  }

  /** The machine loses power. */
  crash(): void {
    const { life } = this;
    if (life === undefined) return;
    this.sim.note(`node ${this.id} crashes`);
    this.life = undefined;
    life.kill();
    this.disk.crash(this.prng);
  }

  /** The process has ended by itself, its writes done. */
  ended(life: Life): void {
    if (this.life !== life) return;
    this.sim.note(`node ${this.id} has stopped`);
    this.life = undefined;
    life.kill();
    this.disk.crash(this.prng);
  }

  /** A new, empty data directory, set up with --rejoin. */
  replace(): void {
    this.crash();
    this.disk.wipe();
    this.sim.checker.diskLost = true;
    this.incarnation = this.#newIncarnation();
    this.rejoining = true;
    this.sim.note(`node ${this.id} is replaced: incarnation ${this.incarnation.slice(0, 8)}`);
  }
}

export class Life {
  readonly node: SimNode;
  readonly number: number;
  readonly boot: number;
  readonly engineThread: SimThread;
  readonly consensusThread: SimThread;
  readonly consensus: Consensus;
  readonly engine: Engine;
  readonly machine: Machine;
  readonly server: Server;
  readonly cell: SimCell;
  readonly transport: SimTransport;
  readonly report: MachineReport = {
    handlerThrew: (command, index, error) => {
      throw new Violation('machine', `${command} at ${index} threw: ${error instanceof Error ? error.stack : String(error)}`);
    },
    diverged: (index, own, leader) => {
      throw new Violation('checkpoint', `node ${this.node.id} has digest ${own} at ${index}, the leader ${leader}`);
    },
  };
  /** Set when a clean stop was asked for. */
  stopping = false;

  constructor(node: SimNode, number: number) {
    const { sim } = node;
    const { scheduler, checker } = sim;
    this.node = node;
    this.number = number;
    const prng = new Prng(sim.seed, 2000 + node.id * 100_000 + number);
    this.boot = prng.uint32();
    this.engineThread = new SimThread('engine', scheduler, prng, node.time);
    this.consensusThread = new SimThread('consensus', scheduler, prng, node.time);
    const link = new SimLink(scheduler, prng, this.engineThread, this.consensusThread);
    this.cell = new SimCell(() => undefined);
    let before = this.cell.current;
    this.cell = new SimCell((now) => {
      const was = before;
      before = now;
      checker.published(this, now, was);
      if (now.selfIsLeader !== was.selfIsLeader || now.term !== was.term) {
        sim.trace(`n${node.id} ${now.selfIsLeader ? 'LEADS' : 'follows'} term ${now.term} (leader ${now.leaderId}, commit ${now.commit})`);
      }
    });
    const logger = this.#logger();
    const configuration = node.joined === undefined ? sim.members.first : seedConfiguration(node.joined);
    const { incarnation, rejoining } = node;
    this.transport = new SimTransport(
      sim.network, { nodeId: node.id, incarnation, rejoining }, this.consensusThread,
      (to, head) => checker.sending(this, to, head),
    );
    const store = node.disk.open(scheduler, prng, this.consensusThread);
    const { keepBytes, keepBytesMax } = sim.snapshots.profile;
    this.consensus = new Consensus({
      id: node.id, incarnation, rejoining, configuration, logger, store,
      logKeepBytes: keepBytes,
      logKeepBytesMax: keepBytesMax,
      transport: this.transport,
      link: node.bugs.link?.(link.consensus) ?? link.consensus,
      // Whoever still has it reads nonsense.
      discard: (bytes) => bytes.fill(0xdd),
      clock: this.consensusThread.clock,
      cell: this.cell,
      random: (bound) => prng.below(bound),
      tickMs: sim.options.tickMs,
      electionTicks: sim.options.electionTicks,
      heartbeatTicks: sim.options.heartbeatTicks,
      leaseDriftMs: sim.options.leaseDriftMs,
      readConsistency: sim.options.readConsistency,
      onRejoined: () => {
        node.rejoining = false;
        sim.note(`node ${node.id} is a member again`);
        this.transport.setRejoining(false);
      },
    });
    this.machine = this.#machine();
    const clock = this.engineThread.clock;
    const config = new Config(loadConfig(NO_FILES, undefined, ['--hz', '20']), NO_FILES, () => this.machine.settings);
    const electionMs = sim.options.electionTicks * sim.options.tickMs;
    this.server = new Server({
      config, clock, logger,
      table: this.machine.table,
      entropy: { uint32: () => prng.uint32() },
      nodeId: node.id,
      clusterId: 'c',
      members: configuration.members,
      runId: '0'.repeat(40),
      version: 'simulation',
      process: () => ({
        rssBytes: 0, systemBytes: 0, userCpuSeconds: 0, systemCpuSeconds: 0, pid: 1, os: 'simulation', executable: 'none', nodeVersion: 'none',
      }),
      onShutdown: () => undefined,
      onStopped: (reason) => {
        if (reason !== '' && !sim.members.stopped(node)) throw new Violation('stopped', `node ${node.id} stopped itself: ${reason}`);
        this.stopping = true;
        this.engine.stop();
        this.server.stop();
        this.server.flush();
        this.engineThread.post(5, () => node.ended(this));
      },
    });
    const cellReader = this.cell.reader();
    this.engine = new Engine({
      machine: this.machine,
      link: link.engine,
      cell: node.bugs.cell?.(cellReader) ?? cellReader,
      clock, logger,
      host: this.server,
      origin: { node: node.id, boot: this.boot },
      bootstrap: () => ({
        databases: 1,
        hashKey: Uint8Array.from({ length: HASH_KEY_BYTES }, () => prng.below(256)),
        settings: [],
      }),
      readConsistency: sim.options.readConsistency,
      uncertainAfterMs: 3 * electionMs,
      leaderWaitMs: 4 * electionMs,
      startsBehind: store.base,
      pace: this.#pace(),
      installer: sim.snapshots.installer(this),
    });
    this.server.attach(this.engine);
  }

  start(): void {
    this.engineThread.post(0, () => this.engine.start());
    this.consensusThread.post(this.node.prng.unit() * 5, () => this.consensus.start());
  }

  kill(): void {
    this.engineThread.kill();
    this.consensusThread.kill();
    this.transport.close();
    this.node.sim.workload?.nodeGone(this);
  }

  shutdown(): void {
    if (this.stopping) return;
    this.stopping = true;
    this.engineThread.post(0, () => this.engine.shutdown());
  }

  #machine(): Machine {
    const { node } = this;
    const { sim } = node;
    const machine = new Machine(new CommandTable(allCommands), this.report, () => node.time.monotonicMs());
    node.bugs.machine?.(machine);
    const adopt = machine.adopt.bind(machine);
    machine.adopt = (other) => {
      adopt(other);
      sim.faults.point(node, 'the snapshot has taken over');
    };
    this.#watch(machine);
    return machine;
  }

  /** Has the checkers look at every entry that is applied, in however many turns. */
  #watch(machine: Machine): void {
    const { node } = this;
    const { sim } = node;
    const begin = machine.begin.bind(machine);
    const proceed = machine.proceed.bind(machine);
    let open: Uint8Array = new Uint8Array(0);
    machine.begin = (entry, index, term, timeMs) => {
      open = entry;
      begin(node.bugs.entry?.(entry, index) ?? entry, index, term, timeMs);
    };
    machine.proceed = (sink, bytes) => {
      const before = machine.publishing.newest;
      const isDone = proceed(sink, bytes);
      const { newest } = machine.publishing;
      if (isDone) sim.checker.applied(this, machine.appliedIndex, open, machine.bootstrapped ? digestText(machine.digest()) : '', publishedText(newest));
      else sim.pausedEntries++;
      if (newest !== before) {
        sim.checker.expectPublishedInDigest(this, machine);
        sim.snapshots.published(newest);
      }
      return isDone;
    };
  }

  /** Some lives apply record by record and stop after any of them, some after whole entries only, some never. */
  #pace(): ApplyPace {
    const { node } = this;
    const prng = new Prng(node.sim.seed, 3000 + node.id * 100_000 + this.number);
    const stepBytes = prng.chance(0.7) ? 1 : Infinity;
    const share = prng.chance(0.25) ? 0 : prng.unit() ** 2;
    return { stepBytes, isOver: () => prng.chance(share) };
  }

  #logger(): Logger {
    const write = (level: string) => (fields: object, message: string) =>
      this.node.sim.trace(`n${this.node.id} ${level} ${message} ${JSON.stringify(fields)}`);
    return { debug: () => undefined, info: write('info'), warn: write('warn'), error: write('error') };
  }
}
