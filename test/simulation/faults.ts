// What goes wrong in a run. Each kind is on or off for a whole run, so that runs differ in character (swarm testing);
// while it is on it strikes at random moments. Everything ends by itself or with `heal`.
//
// Limits that the product states: a replaced node (emptied disk) one at a time, and disks fail on a minority at a time.
import type { Prng } from '../../src/base/prng.ts';
import type { SimNode } from './node.ts';
import type { Simulator } from './simulator.ts';

export const FAULT_KINDS = [
  'crash', 'crash-all', 'shutdown', 'partition', 'one-way', 'single-link', 'isolate-leader', 'disconnect',
  'stall-engine', 'stall-consensus', 'wall-jump', 'slow-disk', 'disk-failure', 'transfer', 'replace',
] as const;
export type FaultKind = (typeof FAULT_KINDS)[number];

/** How often each strikes, next to the others. */
const WEIGHTS: Record<FaultKind, number> = {
  crash: 6, 'crash-all': 1, shutdown: 3, partition: 5, 'one-way': 4, 'single-link': 4, 'isolate-leader': 5, disconnect: 3,
  'stall-engine': 5, 'stall-consensus': 5, 'wall-jump': 3, 'slow-disk': 4, 'disk-failure': 2, transfer: 4, replace: 2,
};

export class Faults {
  readonly #sim: Simulator;
  readonly #prng: Prng;
  readonly #meanGapMs: number;
  readonly enabled: readonly FaultKind[];
  readonly counts: Record<string, number> = {};
  #active = false;

  constructor(sim: Simulator, prng: Prng, enabled: readonly FaultKind[], meanGapMs: number) {
    this.#sim = sim;
    this.#prng = prng;
    this.enabled = enabled;
    this.#meanGapMs = meanGapMs;
  }

  start(): void {
    if (this.enabled.length === 0) return;
    this.#active = true;
    this.#next();
  }

  #next(): void {
    this.#sim.scheduler.after(this.#meanGapMs * 2 * this.#prng.unit(), () => {
      if (!this.#active) return;
      this.#strike(this.#pick());
      this.#next();
    });
  }

  #pick(): FaultKind {
    const total = this.enabled.reduce((sum, kind) => sum + WEIGHTS[kind], 0);
    let at = this.#prng.unit() * total;
    for (const kind of this.enabled) {
      at -= WEIGHTS[kind];
      if (at < 0) return kind;
    }
    return this.enabled[0]!;
  }

  /** An end to all faults: links whole, disks mended, everybody up. */
  heal(): void {
    this.#active = false;
    const { network, nodes } = this.#sim;
    network.healAll();
    network.faulty = false;
    for (const node of nodes) {
      node.disk.slowUntilMs = 0;
      if (node.disk.failNext) node.crash();
      node.disk.failNext = false;
      // One that is on its way to a clean stop gets there, and is started again by the simulator.
      if (node.life === undefined) node.start();
    }
  }

  get #up(): SimNode[] {
    return this.#sim.nodes.filter((node) => node.life !== undefined && !node.life.stopping);
  }

  #leader(): SimNode | undefined {
    return this.#up.find((node) => node.life!.cell.current.selfIsLeader);
  }

  #restartLater(node: SimNode): void {
    const delayMs = this.#prng.chance(0.3) ? this.#prng.unit() * 50 : this.#prng.unit() * 2000;
    this.#sim.scheduler.after(delayMs, () => node.start());
  }

  #strike(kind: FaultKind): void {
    const { network, nodes, scheduler } = this.#sim;
    const prng = this.#prng;
    const node = prng.pick(nodes);
    const lastsMs = prng.chance(0.5) ? prng.unit() * 400 : prng.unit() * 3000;
    this.counts[kind] = (this.counts[kind] ?? 0) + 1;
    this.#sim.note(`fault: ${kind} (node ${node.id}, ${lastsMs.toFixed(0)} ms)`);
    switch (kind) {
      case 'crash':
        node.crash();
        this.#restartLater(node);
        return;
      case 'crash-all':
        for (const each of nodes) {
          if (prng.chance(0.8)) each.crash();
          this.#restartLater(each);
        }
        return;
      case 'shutdown':
        node.life?.shutdown();
        return;
      case 'partition': {
        const side = prng.shuffle([...nodes]).slice(0, 1 + prng.below(nodes.length - 1));
        this.#cut(nodes.flatMap((a) => nodes.filter((b) => side.includes(a) !== side.includes(b)).map((b) => [a.id, b.id] as const)), lastsMs);
        return;
      }
      case 'one-way': {
        const others = nodes.filter((other) => other !== node);
        const inwards = prng.chance(0.5);
        this.#cut(others.map((other) => (inwards ? ([other.id, node.id] as const) : ([node.id, other.id] as const))), lastsMs);
        return;
      }
      case 'single-link': {
        const other = prng.pick(nodes.filter((each) => each !== node));
        const pairs: (readonly [number, number])[] = [[node.id, other.id]];
        if (prng.chance(0.5)) pairs.push([other.id, node.id]);
        this.#cut(pairs, lastsMs);
        return;
      }
      case 'isolate-leader': {
        const leader = this.#leader() ?? node;
        this.#cut(nodes.filter((each) => each !== leader).flatMap((each) => [[each.id, leader.id] as const, [leader.id, each.id] as const]), lastsMs);
        return;
      }
      case 'disconnect':
        network.disconnect(node.id, prng.pick(nodes.filter((each) => each !== node)).id);
        return;
      case 'stall-engine':
        node.life?.engineThread.stall(lastsMs);
        return;
      case 'stall-consensus':
        node.life?.consensusThread.stall(lastsMs);
        return;
      case 'wall-jump':
        node.time.jumpWall((prng.unit() - 0.5) * (prng.chance(0.5) ? 2_000 : 7_200_000));
        return;
      case 'slow-disk':
        node.disk.slowUntilMs = scheduler.nowMs + lastsMs;
        return;
      case 'disk-failure':
        if (nodes.filter((each) => each.disk.failNext).length * 2 + 2 > nodes.length) return;
        node.disk.failNext = true;
        // The operator mends it and starts the node again.
        scheduler.after(500 + prng.unit() * 3000, () => {
          if (!this.#active) return;
          node.crash();
          node.disk.failNext = false;
          this.#restartLater(node);
        });
        return;
      case 'transfer': {
        const leader = this.#leader();
        const target = prng.chance(0.3) ? 0 : prng.pick(nodes).id;
        leader?.life?.engineThread.post(0, () => leader.life?.engine.requests.transfer(target, () => undefined));
        return;
      }
      case 'replace':
        if (nodes.some((each) => each.rejoining)) return;
        node.replace();
        this.#restartLater(node);
        return;
    }
  }

  #cut(pairs: readonly (readonly [number, number])[], lastsMs: number): void {
    const { network, scheduler } = this.#sim;
    for (const [from, to] of pairs) network.block(from, to);
    // Long enough, and the connections break as well.
    scheduler.after(300 + this.#prng.unit() * 1000, () => {
      for (const [from, to] of pairs) if (network.isBlocked(from, to)) network.disconnect(from, to);
    });
    scheduler.after(lastsMs, () => {
      for (const [from, to] of pairs) network.unblock(from, to);
    });
  }
}
