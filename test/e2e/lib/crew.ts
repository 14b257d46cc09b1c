// Clients at work while the leader is killed: connections that move to another node when theirs is gone, workers that can be
// paused for a quiet moment, and the kill itself.
import { onTestFinished } from 'vitest';
import type { Attempt } from './clients.ts';
import type { Cluster } from './cluster.ts';
import { openDriver, outcomeOfDriverError, type Driver, type DriverName } from './drivers.ts';
import type { TestNode } from './node-process.ts';
import { PythonProcess } from './redis-py.ts';
import { pause, until } from './until.ts';

const RETRY_MS = 20;
const RECONNECT_MS_MAX = 30_000;

/** Every connection of one test, through one library; gone with the test. */
export class Fleet {
  readonly name: DriverName;
  readonly cluster: Cluster;
  readonly #open = new Set<Driver>();
  #python: PythonProcess | undefined;
  #ended = false;

  constructor(name: DriverName, cluster: Cluster) {
    this.name = name;
    this.cluster = cluster;
    onTestFinished(() => {
      this.#ended = true;
      for (const driver of this.#open) driver.close();
      this.#python?.kill();
    });
  }

  async connect(node: TestNode): Promise<Driver> {
    if (this.#ended) throw new Error('the test has ended');
    const driver = await openDriver(this.name, node, () => (this.#python ??= new PythonProcess()));
    this.#open.add(driver);
    return driver;
  }

  close(driver: Driver): void {
    this.#open.delete(driver);
    driver.close();
  }

  get ended(): boolean {
    return this.#ended;
  }
}

/** A client that knows all nodes: it stays with one until that connection is gone, then takes the next that answers. */
export class Roamer {
  readonly #fleet: Fleet;
  #place: number;
  #driver: Driver | undefined;
  moves = -1;

  constructor(fleet: Fleet, place: number) {
    this.#fleet = fleet;
    this.#place = place % fleet.cluster.nodes.length;
  }

  get node(): TestNode {
    return this.#fleet.cluster.node(this.#place);
  }

  async driver(): Promise<Driver> {
    if (this.#driver?.usable === true) return this.#driver;
    if (this.#driver !== undefined) this.#leave(this.#driver);
    this.moves++;
    return (this.#driver = await until(
      'a node that takes a connection',
      async () => {
        try {
          return await this.#fleet.connect(this.node);
        } catch (thrown) {
          if (!this.#fleet.ended) this.#place = (this.#place + 1) % this.#fleet.cluster.nodes.length;
          throw thrown;
        }
      },
      { timeoutMs: RECONNECT_MS_MAX, everyMs: RETRY_MS },
    ));
  }

  #leave(driver: Driver): void {
    this.#fleet.close(driver);
    this.#driver = undefined;
    this.#place = (this.#place + 1) % this.#fleet.cluster.nodes.length;
  }

  async attempt<T>(run: (driver: Driver) => Promise<T>): Promise<Attempt<T>> {
    const driver = await this.driver();
    try {
      return { outcome: 'acked', value: await run(driver) };
    } catch (thrown) {
      const outcome = outcomeOfDriverError(thrown);
      // What the server says itself leaves the connection as it was.
      const isOfServer = thrown instanceof Error && /^(ResponseError: )?.{0,120}(UNCERTAIN|CLUSTERDOWN|LOADING) /.test(thrown.message);
      if (!isOfServer && this.#driver === driver) this.#leave(driver);
      await pause(RETRY_MS);
      return { outcome };
    }
  }
}

/** One turn of a worker; true if something was acknowledged. */
export type Turn = () => Promise<boolean>;

export class Crew {
  readonly #runs: Promise<void>[] = [];
  /** By worker, when the newest turn that got an acknowledgement was begun. */
  readonly #flowedMs: number[] = [];
  #failure: Error | undefined;
  #stopping = false;
  #busy = 0;
  #gate: Promise<void> | undefined;
  acked = 0;

  /** `weight` is what an acknowledged turn adds to `acked`. */
  start(turn: Turn, weight = 1): void {
    const worker = this.#flowedMs.push(-Infinity) - 1;
    const run = this.#work(worker, turn, weight).catch((thrown: unknown) => {
      this.#failure ??= thrown instanceof Error ? thrown : new Error(String(thrown));
    });
    this.#runs.push(run);
  }

  async #work(worker: number, turn: Turn, weight: number): Promise<void> {
    while (!this.#stopping && this.#failure === undefined) {
      await this.#gate;
      const beganMs = performance.now();
      this.#busy++;
      try {
        if (await turn()) {
          this.acked += weight;
          this.#flowedMs[worker] = beganMs;
        }
      } finally {
        this.#busy--;
      }
    }
  }

  check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Lets them work until this holds; throws what a worker threw, as soon as it did. */
  async till(what: string, holds: () => boolean, timeoutMs = 30_000): Promise<void> {
    await until(what, () => this.#failure !== undefined || holds(), { timeoutMs, everyMs: 3 });
    this.check();
  }

  async more(count: number, timeoutMs = 60_000): Promise<void> {
    const target = this.acked + count;
    await this.till(`${count} more turns`, () => this.acked >= target, timeoutMs);
  }

  /** Waits until every worker has had an acknowledgement in a turn begun from now on; how long that took. */
  async flowing(timeoutMs = 20_000): Promise<number> {
    const fromMs = performance.now();
    await this.till('every worker to have something acknowledged', () => this.#flowedMs.every((ms) => ms >= fromMs), timeoutMs);
    return performance.now() - fromMs;
  }

  /** Lets all turns end, runs this while nobody works, and lets them go on. */
  async quiet<T>(run: () => Promise<T>): Promise<T> {
    let open: () => void = () => undefined;
    this.#gate = new Promise((resolve) => (open = resolve));
    try {
      await this.till('all turns to end', () => this.#busy === 0, 60_000);
      return await run();
    } finally {
      this.#gate = undefined;
      open();
    }
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all(this.#runs);
    this.check();
  }
}

/** kill -9 of the leader while the crew works; it stays down until work has gone on without it. How long nobody was served. */
export async function killTheLeader(cluster: Cluster, crew: Crew, turnsWithout: number): Promise<number> {
  const leader = await cluster.leader();
  await crew.more(30);
  await leader.kill9();
  const flowingMs = await crew.flowing();
  await crew.more(turnsWithout);
  leader.start();
  await leader.waitReady();
  return flowingMs;
}

/**
 * A write through every node, acknowledged. What an earlier write with an unknown outcome had on its way, from a client that
 * has its answer, is in the log before it or will never be: forwards and appends of one node arrive in order.
 */
export async function fence(cluster: Cluster): Promise<void> {
  for (const node of cluster.alive) await until(`a write through ${node.name}`, async () => (await node.ask('SET', 'fence', node.name)) === 'OK');
}
