// Leaderboards on three nodes while the leader is killed: every score that was acknowledged stays, and the ranks, neighbours
// and counts that any node gives are those of a plain sorted list.
import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { startCluster, type Cluster } from './lib/cluster.ts';
import { Crew, fence, Fleet, killTheLeader, Roamer } from './lib/crew.ts';
import { driverMissing, DRIVERS, type Driver } from './lib/drivers.ts';
import { lexFaults, partsFaults, quietFaults, snapshotFaults } from './lib/leaderboard-check.ts';
import { BoardModel, INITIAL_SCORES, memberName, nameOp, OPEN_MAX, scoreOp, type ScoreOp } from './lib/leaderboard-model.ts';
import { pause, spreadText } from './lib/until.ts';

const LONG = process.env['E2E_LONG'] === '1';
const KILLS = LONG ? 6 : 1;
const WRITERS = 6;
const READERS = 3;
const TURNS = 220;
/** Between two reads of one reader, so that writing has the machine too. */
const READ_GAP_MS = 4;
const READS_A_TURN = 5;
/** Of the big board, the members that most writes go to. */
const HOT = 90;
const LOAD_CHUNK = 1000;
const SNAPSHOT_EDGES = ['-inf', '300.5', '500.5', '1000.5', '1500.5', '+inf'];

interface Boards {
  /** The B+tree form. */
  readonly big: BoardModel;
  /** The packed form. */
  readonly small: BoardModel;
  readonly names: BoardModel;
}

async function makeBoards(driver: Driver, prng: Prng): Promise<Boards> {
  const entries = (count: number, long: boolean): [string, number][] => Array.from({ length: count }, (_, i) => [memberName(i, { long }), prng.below(INITIAL_SCORES)]);
  const load = async (key: string, members: readonly (readonly [string, number])[]): Promise<void> => {
    for (let at = 0; at < members.length; at += LOAD_CHUNK) {
      const chunk = members.slice(at, at + LOAD_CHUNK);
      expect(Number(await driver.call('ZADD', key, ...chunk.flatMap(([member, score]) => [score, member])))).toBe(chunk.length);
    }
  };
  const big = entries(20_000, true);
  const small = entries(100, false);
  const names = entries(300, true).map(([member]) => [member, 0] as const);
  await load('board:big', big);
  await load('board:small', small);
  await load('board:names', names);
  return { big: new BoardModel('board:big', big), small: new BoardModel('board:small', small), names: new BoardModel('board:names', names) };
}

const send = (driver: Driver, key: string, member: string, op: ScoreOp): Promise<number> => {
  switch (op.kind) {
    case 'set':
      return driver.zAdd(key, op.score, member, 'plain');
    case 'raise':
      return driver.zAdd(key, op.score, member, 'gt');
    case 'add':
      return driver.zIncrBy(key, op.by, member);
    case 'remove':
      return driver.zRem(key, member);
  }
};

class Run {
  readonly crew = new Crew();
  readonly faults: string[] = [];
  readonly seed: number;
  readonly #boards: Boards;
  readonly #fleet: Fleet;
  readonly #prng: Prng;
  /** Of the big board, whose write was acknowledged last: what a stale node does not have yet. */
  #newest = memberName(0);
  readonly counts = { acked: 0, refused: 0, unknown: 0, reads: 0 };

  constructor(fleet: Fleet, boards: Boards, prng: Prng, seed: number) {
    this.seed = seed;
    this.#fleet = fleet;
    this.#boards = boards;
    this.#prng = prng;
  }

  /** Member i of each board belongs to writer i mod WRITERS. */
  startWriter(w: number): void {
    const roamer = new Roamer(this.#fleet, w);
    const prng = new Prng(this.#prng.uint32(), w);
    let n = 0;
    this.crew.start(async () => {
      n++;
      const { big, small, names } = this.#boards;
      const board = n % 8 === 0 ? names : n % 4 === 0 ? small : big;
      const count = board === big && prng.below(5) > 0 ? HOT : board.members.size;
      const i = Math.floor(prng.below(count) / WRITERS) * WRITERS + w;
      const member = memberName(i, { long: board !== small });
      const history = board.members.get(member);
      if (history === undefined || history.openCount >= OPEN_MAX) return false;
      const op = board === names ? nameOp(prng.below(2)) : scoreOp(i, n, prng);
      await roamer.driver();
      history.begin(op);
      const result = await roamer.attempt((driver) => send(driver, board.key, member, op));
      this.counts[result.outcome]++;
      const fault = history.end(result.outcome, result.outcome === 'acked' ? result.value : undefined);
      if (fault !== undefined) this.faults.push(`${board.key} ${member} through ${roamer.node.name}: ${fault}`);
      if (result.outcome !== 'acked') return false;
      if (board === big) this.#newest = member;
      return true;
    });
  }

  startReader(r: number): void {
    const roamer = new Roamer(this.#fleet, r);
    const prng = new Prng(this.#prng.uint32(), 100 + r);
    const { big, small } = this.#boards;
    const hot = (): string => memberName(prng.below(HOT));
    this.crew.start(async () => {
      const what = prng.below(10);
      const result = await roamer.attempt(async (driver): Promise<string[]> => {
        if (what === 0) return snapshotFaults(driver, small.key, Array.from({ length: 5 }, () => memberName(prng.below(100), { long: false })), SNAPSHOT_EDGES);
        if (what < 4) return partsFaults(driver, big.key, hot());
        const found: string[] = [];
        for (let n = 0; n < READS_A_TURN; n++) {
          const member = this.#newest;
          const history = big.history(member);
          const mark = history.readMark();
          const fault = history.readFault(mark, await driver.zScore(big.key, member));
          if (fault !== undefined) found.push(`${big.key} ${member}: ${fault}`);
        }
        return found;
      });
      if (result.outcome !== 'acked') return false;
      this.counts.reads++;
      this.faults.push(...result.value.map((fault) => `${fault} (on ${roamer.node.name})`));
      await pause(READ_GAP_MS);
      return true;
    }, 0);
  }

  /** Every board on every node, while nobody writes. */
  async checkAll(cluster: Cluster): Promise<void> {
    await fence(cluster);
    const { big, small, names } = this.#boards;
    for (const board of [big, small, names]) board.settle();
    await Promise.all(cluster.alive.map(async (node) => {
      const driver = await this.#fleet.connect(node);
      const found = [
        ...(await quietFaults(driver, big, this.#prng)),
        ...(await quietFaults(driver, small, this.#prng)),
        ...(await lexFaults(driver, names, this.#prng)),
      ];
      this.faults.push(...found.map((fault) => `${fault} (on ${node.name})`));
      expect(await Promise.all([big, small].map(({ key }) => node.ask('OBJECT', 'ENCODING', key)))).toEqual(['skiplist', 'listpack']);
      this.#fleet.close(driver);
    }));
    expect(this.faults.slice(0, 10), `seed ${this.seed}`).toEqual([]);
  }
}

describe.each(DRIVERS)('%s', (name) => {
  test('leaderboards: no acknowledged score lost, and every rank right, on every node, across kills of the leader', { timeout: 90_000 + KILLS * 30_000 }, async (context) => {
    const missing = driverMissing(name);
    if (missing !== undefined) return context.skip(missing);
    const seed = Math.floor(Math.random() * 2 ** 32);
    const prng = new Prng(seed);
    const cluster = await startCluster();
    const fleet = new Fleet(name, cluster);
    const boards = await makeBoards(await fleet.connect(cluster.node(0)), prng);
    const run = new Run(fleet, boards, prng, seed);
    for (let w = 0; w < WRITERS; w++) run.startWriter(w);
    for (let r = 0; r < READERS; r++) run.startReader(r);
    const outages: number[] = [];
    await run.crew.more(TURNS);
    await run.crew.quiet(() => run.checkAll(cluster));
    for (let kill = 0; kill < KILLS; kill++) {
      outages.push(await killTheLeader(cluster, run.crew, TURNS / 2));
      await run.crew.more(TURNS / 2);
      if (kill < KILLS - 1) await run.crew.quiet(() => run.checkAll(cluster));
    }
    await run.crew.stop();
    const { acked, refused, unknown, reads } = run.counts;
    console.log(`${name} leaderboard (seed ${seed}): ${acked} writes acknowledged, ${refused} refused, ${unknown} unknown, ${reads} reads; every client served after a kill: ${spreadText(outages)}`);
    await run.checkAll(cluster);
    await cluster.agree();
    expect(reads).toBeGreaterThan(0);
  });
});
