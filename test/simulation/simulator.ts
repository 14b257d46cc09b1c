// One run: a cluster with its clients and faults, driven by one seed, checked at every step; then healed, and required
// to come to one state and to serve again. Everything random comes from the seed, everything timed from the scheduler.
import type { MemberAddress } from '../../src/base/configuration.ts';
import { Prng } from '../../src/base/prng.ts';
import { digestText } from '../../src/machine/machine.ts';
import { ConsensusChecker } from './checkers/consensus-checker.ts';
import { History } from './checkers/history.ts';
import type { Operation } from './checkers/history.ts';
import { callsByKey, judge, prefixOf } from './checkers/linearizability.ts';
import { NodeTime } from './clock.ts';
import { SimDisk, type DiskBugs } from './disk.ts';
import { FAULT_KINDS, Faults, type FaultKind } from './faults.ts';
import { MemberWork } from './members.ts';
import { SimNetwork, type NetworkProfile } from './network.ts';
import { SimNode, type NodeBugs } from './node.ts';
import { Scheduler } from './scheduler.ts';
import { Snapshots, type SnapshotProfile } from './snapshots.ts';
import { Trace, Violation } from './trace.ts';
import { Workload, type WorkloadProfile } from './workload.ts';

/** What a test of the simulation breaks on purpose. */
export interface SeededBugs {
  readonly disk?: DiskBugs;
  /** Of one node; the others are sound. */
  readonly node?: (id: number) => NodeBugs;
  /** Monotonic clocks run at speeds this far apart. */
  readonly clockRateSpread?: number;
  /** What whoever starts from a snapshot lacks. */
  readonly snapshotsLose?: 'key' | 'published';
  /** A published snapshot is taken for there without a look. */
  readonly blindTrust?: boolean;
  /** Breaks changes of members for the time of the run; the result mends them. */
  readonly membership?: () => () => void;
  /** Checks that are left out, so that others have to find it. */
  readonly withoutPersistChecks?: boolean;
  readonly withoutLeaseChecks?: boolean;
  readonly withoutHistoryChecks?: boolean;
  readonly withoutCutChecks?: boolean;
}

export interface RunOptions {
  readonly seed: number;
  /** 3 or 5; chosen by the seed if absent. */
  readonly nodes?: number;
  /** Simulated time with faults; chosen by the seed if absent. */
  readonly chaosMs?: number;
  readonly faults?: readonly FaultKind[];
  readonly bugs?: SeededBugs;
  /** These in place of what the seed would choose. */
  readonly workload?: Partial<WorkloadProfile>;
  readonly timing?: Partial<Timing>;
  readonly network?: Partial<NetworkProfile>;
  /** Whether logs are cut behind snapshots; chosen by the seed if absent, and not where something is broken on purpose. */
  readonly snapshots?: boolean;
  readonly snapshotProfile?: Partial<SnapshotProfile>;
  /** Whether members come and go; chosen by the seed if absent, and not where something is broken on purpose. */
  readonly membership?: boolean;
  /** Changes of members are asked for so often (mean), whether the one before is over or not, and down to so few voters. */
  readonly hastyMembers?: { readonly gapMs: number; readonly votersMin: number };
  /** Mean time from fault to fault. */
  readonly faultGapMs?: number;
  /** Of the steps of a cut or an installation at which nodes crash now and then, the one at which they always do. */
  readonly crashAt?: string;
  /** Every trace line, as it happens. */
  readonly onTrace?: (line: string) => void;
}

export interface RunResult {
  readonly seed: number;
  readonly nodes: number;
  readonly steps: number;
  readonly simulatedMs: number;
  readonly entries: number;
  readonly traceHash: string;
  readonly counts: Readonly<Record<string, number>>;
  /** undefined: everything held. */
  readonly failure: Error | undefined;
  readonly tail: readonly string[];
}

const HEAL_LIMIT_MS = 30_000;
const JUDGED_CALLS_MAX = 1500;
const JUDGE_STEPS_MAX = 100_000;

export interface Timing {
  readonly tickMs: number;
  readonly electionTicks: number;
  readonly heartbeatTicks: number;
  readonly leaseDriftMs: number;
  readonly readConsistency: 'lease' | 'quorum';
}

export class Simulator {
  readonly seed: number;
  readonly options: Timing;
  readonly scheduler = new Scheduler();
  readonly network: SimNetwork;
  readonly nodes: SimNode[] = [];
  readonly checker: ConsensusChecker;
  readonly history = new History();
  readonly faults: Faults;
  readonly workload: Workload;
  readonly snapshots: Snapshots;
  readonly members: MemberWork;
  readonly events = new Trace();
  /** Times that an engine stopped between two records of an entry. */
  pausedEntries = 0;
  /** Keys by what clients saw of them. */
  readonly judged = { linearizable: 0, 'not linearizable': 0, undecided: 0 };
  readonly #breakMembership: () => () => void;
  readonly #chaosMs: number;
  readonly #makeNode: (id: number, joined: readonly MemberAddress[] | undefined) => SimNode;
  readonly #onTrace: ((line: string) => void) | undefined;

  constructor(options: RunOptions) {
    const { seed, bugs } = options;
    this.seed = seed;
    this.#onTrace = options.onTrace;
    this.#breakMembership = bugs?.membership ?? (() => () => undefined);
    const prng = new Prng(seed, 1);
    const nodeCount = options.nodes ?? (prng.chance(0.7) ? 3 : 5);
    this.#chaosMs = options.chaosMs ?? 3000 + prng.unit() * 12_000;
    this.options = {
      tickMs: 20,
      electionTicks: 6 + prng.below(8),
      heartbeatTicks: 1 + prng.below(2),
      leaseDriftMs: 10,
      readConsistency: prng.chance(0.8) ? 'lease' : 'quorum',
      ...options.timing,
    };
    const ids = Array.from({ length: nodeCount }, (_, i) => i + 1);
    const memberPrng = new Prng(seed, 6);
    this.members = new MemberWork(this, memberPrng, ids, options.membership ?? (bugs === undefined && memberPrng.chance(0.4)), options.hastyMembers);
    this.checker = new ConsensusChecker(
      () => this.nodes,
      (index, term, entry) => {
        this.history.committed(index, term, entry);
        this.members.committed(entry);
      },
    );
    this.checker.persistChecks = bugs?.withoutPersistChecks !== true;
    this.checker.leaseChecks = bugs?.withoutLeaseChecks !== true;
    this.history.judges = bugs?.withoutHistoryChecks !== true;
    this.network = new SimNetwork(this.scheduler, new Prng(seed, 2), { ...networkProfile(prng), ...options.network }, (by, node, reason) =>
      this.trace(`n${by} refuses n${node}: ${reason}`));
    this.#makeNode = (id, joined) => {
      // Two clocks may drift apart by leaseDriftMs in the longest promise, 13 ticks of 20 ms: 10 of 260.
      const spread = bugs?.clockRateSpread ?? 0.03;
      const draws = joined === undefined ? prng : new Prng(seed, 3000 + id);
      const rate = 1 + (draws.unit() - 0.5) * spread;
      const time = new NodeTime(this.scheduler, rate, draws.unit() * 1e6, (draws.unit() - 0.5) * (draws.chance(0.5) ? 200 : 60_000));
      const profile = { meanMs: 0.1 + draws.unit() * 2, slowChance: draws.chance(0.5) ? 0.02 : 0, slowMs: 200 };
      const node = new SimNode(this, id, time, new SimDisk(profile, bugs?.disk ?? {}), bugs?.node?.(id) ?? {}, joined);
      this.nodes.push(node);
      return node;
    };
    for (const id of ids) this.#makeNode(id, undefined);
    const kinds = options.faults ?? FAULT_KINDS.filter(() => prng.chance(0.5));
    this.faults = new Faults(this, new Prng(seed, 3), kinds, options.faultGapMs ?? 100 + prng.unit() * 1200, options.crashAt);
    const snapshotPrng = new Prng(seed, 5);
    this.snapshots = new Snapshots(this, snapshotPrng, options.snapshots ?? (bugs === undefined && snapshotPrng.chance(0.6)), bugs ?? {}, options.snapshotProfile ?? {});
    this.workload = new Workload(this, { ...workloadProfile(prng), ...options.workload }, new Prng(seed, 4));
  }

  /** A new machine, on which a node is made that is to join; the operator takes a while. */
  addNode(id: number, joined: readonly MemberAddress[]): void {
    this.network.add(id, this.nodes.map((node) => node.id));
    const node = this.#makeNode(id, joined);
    this.scheduler.after(this.members.delayMs(), () => node.start());
  }

  /** The nodes that are to be there in the end. */
  get #present(): SimNode[] {
    return this.nodes.filter((node) => this.members.isMember(node.id));
  }

  trace(text: string): void {
    this.events.add(this.scheduler.nowMs, text);
    this.#onTrace?.(`${this.scheduler.nowMs.toFixed(3).padStart(11)} ${text}`);
  }

  /** As trace, for what matters in the large. */
  note(text: string): void {
    this.trace(`--- ${text}`);
  }

  run(): RunResult {
    let failure: Error | undefined;
    const mend = this.#breakMembership();
    try {
      this.#chaos();
      this.#liveness();
      this.#judge();
    } catch (thrown) {
      failure = thrown instanceof Error ? thrown : new Error(String(thrown));
      this.note(`FAILED: ${failure.message}`);
    } finally {
      mend();
    }
    return {
      seed: this.seed,
      nodes: this.nodes.length,
      steps: this.scheduler.steps,
      simulatedMs: this.scheduler.nowMs,
      entries: this.checker.committed.length,
      traceHash: this.events.hash,
      counts: { ...this.history.counts, ...this.faults.counts, leaders: this.checker.leadersElected, 'paused entries': this.pausedEntries, messages: this.network.stats.sent, ...this.judged, ...this.snapshots.counts, ...(this.members.enabled ? this.members.counts : {}) },
      failure,
      tail: this.events.tail(),
    };
  }

  #runUntil(untilMs: number): void {
    while (this.scheduler.step(untilMs));
  }

  #chaos(): void {
    const { faults } = this;
    this.note(
      `seed ${this.seed}: ${this.nodes.length} nodes, ${JSON.stringify(this.options)}, faults ${faults.enabled.join(' ')}, ` +
        `members ${this.members.enabled ? 'come and go' : 'stay'}, snapshots ${this.snapshots.enabled ? JSON.stringify(this.snapshots.profile) : 'off'}, network ${JSON.stringify(this.network.profile)}, workload ${JSON.stringify(this.workload.profile)}`,
    );
    this.network.start(this.nodes.map((node) => node.id));
    for (const node of this.nodes) node.start();
    this.#startStoppedNodes();
    this.workload.start();
    this.snapshots.start();
    this.members.start();
    this.scheduler.after(500, () => faults.start());
    this.#runUntil(this.#chaosMs);
  }

  /** A node that was stopped cleanly is started again after a while. */
  #startStoppedNodes(): void {
    this.scheduler.after(2500, () => {
      for (const node of this.nodes) node.start();
      this.#startStoppedNodes();
    });
  }

  /** Until `condition` holds; it must within `limitMs`. */
  #await(what: string, limitMs: number, condition: () => boolean): void {
    const deadlineMs = this.scheduler.nowMs + limitMs;
    while (!condition()) {
      if (this.scheduler.nowMs >= deadlineMs) throw new Violation('liveness', `after ${limitMs} ms without faults: ${what}; ${this.#state()}`);
      this.#runUntil(this.scheduler.nowMs + 20);
    }
  }

  #state(): string {
    return this.nodes
      .map((node) => {
        const { life } = node;
        if (life === undefined) return `n${node.id} down`;
        const s = life.consensus.raft.status();
        return `n${node.id}${node.rejoining ? ' rejoining' : ''} ${s.role} term ${s.term} leader ${s.leader} commit ${s.commit} applied ${life.machine.appliedIndex} last ${s.lastIndex} persisted ${s.persistedIndex}`;
      })
      .join('; ');
  }

  #liveness(): void {
    this.note('healing');
    this.faults.heal();
    this.members.active = false;
    this.workload.stop();
    this.#await('every node is up and knows one leader', HEAL_LIMIT_MS, () => {
      const leaders = new Set(this.#present.map((node) => node.life?.cell.current.leaderId ?? 0));
      return this.#present.every((node) => node.life?.stopping === false) && leaders.size === 1 && !leaders.has(0);
    });
    this.#await('no node is left waiting to be taken in again', HEAL_LIMIT_MS, () => this.#present.every((node) => !node.rejoining));
    this.#await('changes of members are over, and everybody votes', HEAL_LIMIT_MS, () => this.members.settled);
    this.#everyNodeServes();
    this.#await('all nodes have applied everything', HEAL_LIMIT_MS, () => this.#present.every((node) => this.#isCurrent(node)));
    for (const node of this.#present) {
      const digest = digestText(node.life!.machine.digest());
      if (digest !== this.history.digest) throw new Violation('convergence', `node ${node.id} ends with ${digest}, the log gives ${this.history.digest}`);
    }
  }

  /** By what clients saw alone. */
  #judge(): void {
    for (const [key, calls] of callsByKey(this.history.operations)) {
      const verdict = judge(prefixOf(calls, JUDGED_CALLS_MAX), JUDGE_STEPS_MAX);
      this.judged[verdict]++;
      if (verdict === 'not linearizable') throw new Violation('history', `the answers about ${key} fit no order of its operations`);
    }
  }

  #isCurrent(node: SimNode): boolean {
    return node.life?.machine.appliedIndex === this.checker.committed.length;
  }

  /** A write through every node, then a read of everything there. */
  #everyNodeServes(): void {
    for (const client of this.workload.clients) client.calm = true;
    const client = this.workload.clients[0]!;
    for (const node of this.#present) {
      const answered = (what: string, ask: () => Operation | undefined): void => {
        let operation: Operation | undefined;
        this.#await(`${what} through node ${node.id} succeeds`, HEAL_LIMIT_MS, () => {
          // It was removed meanwhile.
          if (!this.members.isMember(node.id)) return true;
          // Refused for want of a leader is no failure yet: asked again.
          if (operation === undefined || (operation.reply !== undefined && String(operation.reply).startsWith('-'))) operation = ask();
          return operation?.reply !== undefined && !String(operation.reply).startsWith('-');
        });
      };
      client.close();
      client.connect(node.life);
      answered('a write', () => client.ask('write', ['SET', `final${node.id}`, this.workload.uniqueValue()]));
      answered('a read', () => client.ask('read', ['MGET', ...this.history.model.keys]));
      client.close();
    }
  }
}

function networkProfile(prng: Prng): NetworkProfile {
  const lossy = prng.chance(0.5);
  return {
    meanMs: 0.2 + prng.unit() * (prng.chance(0.3) ? 15 : 2),
    lossChance: lossy ? prng.unit() * 0.05 : 0,
    duplicateChance: prng.chance(0.5) ? prng.unit() * 0.05 : 0,
    slowChance: prng.chance(0.5) ? prng.unit() * 0.02 : 0,
    slowMs: prng.chance(0.5) ? 100 : 1500,
    reorder: prng.chance(0.5),
  };
}

function workloadProfile(prng: Prng): WorkloadProfile {
  return {
    clients: 3 + prng.below(6),
    registers: 2 + prng.below(5),
    counters: 1 + prng.below(2),
    thinkMs: prng.chance(0.3) ? 1 : 5 + prng.unit() * 30,
    pipelineMax: prng.chance(0.5) ? 1 : 4,
    readShare: 0.2 + prng.unit() * 0.6,
    expiryShare: prng.chance(0.7) ? 0.2 : 0,
    eventualShare: prng.chance(0.5) ? 0.2 : 0,
    bulkShare: 0,
    sessionOperationsMax: 20 + prng.below(150),
    interleave: prng.chance(0.5),
  };
}
