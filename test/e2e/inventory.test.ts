// Players' inventories on three nodes while the leader is killed: what moves from one hash to another in a transaction is never
// lost and never there twice, as any node shows it at any moment.
import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { startCluster, type Cluster } from './lib/cluster.ts';
import { Crew, fence, Fleet, killTheLeader, Roamer } from './lib/crew.ts';
import { driverMissing, DRIVERS, type Driver } from './lib/drivers.ts';
import { initialFields, itemName, itemsOf, ledgerFaults, LEDGER, OTHER_ITEMS, playerKey, PLAYERS, totalsFaults, transferText, type Fields, type Transfer } from './lib/inventory-model.ts';
import { pause, spreadText } from './lib/until.ts';

const KILLS = process.env['E2E_LONG'] === '1' ? 6 : 1;
const TRADERS = 6;
const AUDITORS = 2;
const TURNS = 160;
/** Between two audits, so that trading has the machine too. */
const AUDIT_GAP_MS = 25;

type Trade = 'done' | 'conflict' | 'nothing to do';

/** A hash in an EXEC, as each library gives it: flat, or with names. */
function fieldsOf(reply: unknown): Fields {
  if (!Array.isArray(reply)) return { ...(reply as Record<string, string>) };
  return Object.fromEntries(Array.from({ length: reply.length / 2 }, (_, i) => [String(reply[2 * i]), String(reply[2 * i + 1])]));
}

class Game {
  readonly crew = new Crew();
  readonly faults: string[] = [];
  readonly #fleet: Fleet;
  readonly #prng: Prng;
  readonly #acked = new Set<string>();
  readonly #unknown = new Set<string>();
  /** Who had an item when somebody last moved it: a hint, for others move it too. */
  readonly #holder = new Map<string, number>();
  /** By player and trader: experience acknowledged, and the most it can be. */
  readonly #xp = new Map<string, { acked: number; most: number }>();
  conflicts = 0;
  audits = 0;

  constructor(fleet: Fleet, prng: Prng) {
    this.#fleet = fleet;
    this.#prng = prng;
  }

  get summary(): string {
    return `${this.#acked.size} transfers acknowledged, ${this.#unknown.size} unknown, ${this.conflicts} conflicts, ${this.audits} audits`;
  }

  async prepare(driver: Driver): Promise<void> {
    for (let player = 0; player < PLAYERS; player++) {
      const fields = initialFields(player);
      expect(await driver.hSet(playerKey(player), fields)).toBe(Object.keys(fields).length);
      expect(await driver.hSet(playerKey(player), { junk: 'x', more: 1 })).toBe(2);
      expect(await driver.hDel(playerKey(player), 'junk', 'more', 'nothing')).toBe(2);
    }
    expect(await driver.hmGet(playerKey(1), ['gold', 'nothing', itemName(1, 0)])).toEqual(['1000', null, 'sword item:1.0']);
  }

  #anyTransfer(prng: Prng): Transfer {
    const other = (player: number): number => (player + 1 + prng.below(PLAYERS - 1)) % PLAYERS;
    if (prng.below(2) === 0) {
      const from = prng.below(PLAYERS);
      return { kind: 'gold', from, to: other(from), amount: 1 + prng.below(300) };
    }
    const first = prng.below(PLAYERS);
    const item = itemName(first, prng.below(Math.min(itemsOf(first), OTHER_ITEMS)));
    const from = prng.below(10) === 0 ? prng.below(PLAYERS) : (this.#holder.get(item) ?? first);
    return { kind: 'item', from, to: other(from), item };
  }

  async #trade(driver: Driver, id: string, transfer: Transfer, sending: () => void): Promise<Trade> {
    const [from, to] = [playerKey(transfer.from), playerKey(transfer.to)];
    await driver.watch(from);
    const what = transfer.kind === 'gold' ? 'gold' : transfer.item;
    const [held] = await driver.hmGet(from, [what]);
    if (held === undefined || held === null || (transfer.kind === 'gold' && Number(held) < transfer.amount)) {
      await driver.unwatch();
      return 'nothing to do';
    }
    sending();
    const move = transfer.kind === 'gold'
      ? [['HINCRBY', from, 'gold', -transfer.amount], ['HINCRBY', to, 'gold', transfer.amount]] as const
      : [['HDEL', from, transfer.item], ['HSET', to, transfer.item, held]] as const;
    const replies = await driver.multi([...move, ['HSET', LEDGER, id, transferText(transfer)]]);
    if (replies === null) return 'conflict';
    const [first, second, logged] = replies.map(Number);
    const right = transfer.kind === 'gold' ? first === Number(held) - transfer.amount && (second ?? -1) >= transfer.amount : first === 1 && second === 1;
    if (!right || logged !== 1) this.faults.push(`${id} ${transferText(transfer)} with ${held} was answered ${JSON.stringify(replies)}`);
    return 'done';
  }

  startTrader(t: number): void {
    const roamer = new Roamer(this.#fleet, t);
    const prng = new Prng(this.#prng.uint32(), t);
    let n = 0;
    this.crew.start(async () => {
      n++;
      if (n % 5 === 0) return this.#earn(roamer, prng.below(PLAYERS), t, 1 + prng.below(50));
      const id = `${t}:${n}`;
      const transfer = this.#anyTransfer(prng);
      let sent = false;
      const result = await roamer.attempt((driver) => this.#trade(driver, id, transfer, () => (sent = true)));
      if (result.outcome === 'unknown' && sent) this.#unknown.add(id);
      if (result.outcome !== 'acked') return false;
      if (result.value === 'done') {
        this.#acked.add(id);
        if (transfer.kind === 'item') this.#holder.set(transfer.item, transfer.to);
      }
      if (result.value === 'conflict') this.conflicts++;
      return result.value === 'done';
    });
  }

  /** A single HINCRBY of a field that is this trader's own. */
  async #earn(roamer: Roamer, player: number, t: number, by: number): Promise<boolean> {
    const name = `${player} xp:${t}`;
    const xp = this.#xp.get(name) ?? { acked: 0, most: 0 };
    this.#xp.set(name, xp);
    const before = { ...xp };
    const result = await roamer.attempt((driver) => driver.hIncrBy(playerKey(player), `xp:${t}`, by));
    if (result.outcome !== 'refused') xp.most += by;
    if (result.outcome !== 'acked') return false;
    xp.acked += by;
    if (result.value < before.acked + by || result.value > before.most + by) this.faults.push(`${name} is ${result.value} after ${by}, and was ${before.acked} to ${before.most}`);
    return true;
  }

  async #audit(driver: Driver): Promise<{ players: Fields[]; ledger: Fields }> {
    const replies = await driver.multi([...Array.from({ length: PLAYERS }, (_, player) => ['HGETALL', playerKey(player)]), ['HGETALL', LEDGER]]);
    const hashes = (replies ?? []).map(fieldsOf);
    return { players: hashes.slice(0, PLAYERS), ledger: hashes[PLAYERS] ?? {} };
  }

  /** Every hash at one moment while they trade, on whatever node this auditor is. */
  startAuditor(a: number): void {
    const roamer = new Roamer(this.#fleet, a);
    this.crew.start(async () => {
      const acked = new Set(this.#acked);
      const result = await roamer.attempt((driver) => this.#audit(driver));
      if (result.outcome !== 'acked') return false;
      this.audits++;
      const { players, ledger } = result.value;
      const ids = new Set(Object.keys(ledger));
      const found = [...totalsFaults(players), ...ledgerFaults(players, ledger, acked, ids)];
      this.faults.push(...found.map((fault) => `audit on ${roamer.node.name}: ${fault}`));
      await pause(AUDIT_GAP_MS);
      return true;
    }, 0);
  }

  /** Every node, while nobody trades. */
  async check(cluster: Cluster, label: string): Promise<void> {
    await fence(cluster);
    for (const node of cluster.alive) {
      const driver = await this.#fleet.connect(node);
      const { players, ledger } = await this.#audit(driver);
      const found = [...totalsFaults(players), ...ledgerFaults(players, ledger, this.#acked, this.#unknown)];
      for (const [player, fields] of players.entries()) {
        const key = playerKey(player);
        const differ = (what: string, got: unknown, want: unknown): void => {
          if (JSON.stringify(got) !== JSON.stringify(want)) found.push(`${what} of ${key} differs from EXEC: ${JSON.stringify(got).slice(0, 200)}`);
        };
        const sorted = (entries: Iterable<readonly [string, string]>): unknown => [...entries].sort();
        differ('HGETALL', sorted(Object.entries(await driver.hGetAll(key))), sorted(Object.entries(fields)));
        differ('HSCAN', sorted(await scanned(driver, key)), sorted(Object.entries(fields)));
        const some = ['gold', 'nothing', ...Object.keys(fields).slice(-3)];
        differ('HMGET', await driver.hmGet(key, some), some.map((field) => fields[field] ?? null));
        for (let t = 0; t < TRADERS; t++) {
          const { acked, most } = this.#xp.get(`${player} xp:${t}`) ?? { acked: 0, most: 0 };
          const value = Number(fields[`xp:${t}`] ?? 0);
          if (value < acked || value > most) found.push(`xp:${t} of ${key} is ${value}, acknowledged ${acked}, at most ${most}`);
        }
      }
      this.faults.push(...found.map((fault) => `${node.name}: ${fault}`));
      expect(await node.ask('OBJECT', 'ENCODING', playerKey(0))).toBe('hashtable');
      this.#fleet.close(driver);
    }
    expect(this.faults.slice(0, 10), label).toEqual([]);
  }
}

async function scanned(driver: Driver, key: string): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  let cursor = '0';
  do {
    const page = await driver.hScan(key, cursor, 100);
    cursor = page.cursor;
    for (const [field, value] of page.entries) found.set(field, value);
  } while (cursor !== '0');
  return found;
}

describe.each(DRIVERS)('%s', (name) => {
  test('inventories: every piece of gold and every item with exactly one player, on every node, across kills of the leader', { timeout: 90_000 + KILLS * 30_000 }, async (context) => {
    const missing = driverMissing(name);
    if (missing !== undefined) return context.skip(missing);
    const seed = Math.floor(Math.random() * 2 ** 32);
    const cluster = await startCluster();
    const fleet = new Fleet(name, cluster);
    const game = new Game(fleet, new Prng(seed));
    await game.prepare(await fleet.connect(cluster.node(0)));
    expect(await cluster.node(0).ask('OBJECT', 'ENCODING', playerKey(1))).toBe('listpack');
    for (let t = 0; t < TRADERS; t++) game.startTrader(t);
    for (let a = 0; a < AUDITORS; a++) game.startAuditor(a);
    const outages: number[] = [];
    for (let kill = 0; kill < KILLS; kill++) {
      await game.crew.more(TURNS);
      outages.push(await killTheLeader(cluster, game.crew, TURNS));
      if (kill < KILLS - 1) await game.crew.quiet(() => game.check(cluster, `seed ${seed}`));
    }
    await game.crew.stop();
    console.log(`${name} inventories (seed ${seed}): ${game.summary}; every client served after a kill: ${spreadText(outages)}`);
    await game.check(cluster, `seed ${seed}`);
    await cluster.agree();
    expect(game.conflicts).toBeGreaterThan(0);
    expect(game.audits).toBeGreaterThan(0);
  });
});
