// Sliding-window rate limiters on three nodes while the leader is killed: no window, by the times of the admitted operations
// themselves, ever holds more than the limit.
import { describe, expect, test } from 'vitest';
import { startCluster } from './lib/cluster.ts';
import { Crew, fence, Fleet, killTheLeader, Roamer } from './lib/crew.ts';
import { driverMissing, DRIVERS } from './lib/drivers.ts';
import { guarded, lenient, mostInWindow, type Window } from './lib/sliding-window.ts';
import { pause, spreadText, until } from './lib/until.ts';

const KILLS = process.env['E2E_LONG'] === '1' ? 6 : 1;
const CLIENTS_PER_RECIPE = 4;
const TURNS = 180;

const GUARDED: readonly Window[] = [
  { key: 'guarded:few', limit: 5, windowMs: 300 },
  { key: 'guarded:more', limit: 12, windowMs: 1000 },
];
const LENIENT: readonly Window[] = [
  { key: 'lenient:few', limit: 8, windowMs: 300 },
  { key: 'lenient:more', limit: 40, windowMs: 1200 },
];

class Limiter {
  readonly window: Window;
  readonly admitted = new Map<string, number>();
  /** Sent, and never answered: they may stand in the set, and were not let through. */
  readonly unknown = new Set<string>();
  denied = 0;
  conflicts = 0;
  repeats = 0;

  constructor(window: Window) {
    this.window = window;
  }

  get most(): number {
    return mostInWindow([...this.admitted.values()], this.window.windowMs);
  }

  get summary(): string {
    return `${this.window.key} ${this.admitted.size} admitted, ${this.denied} denied, ${this.conflicts} conflicts, ${this.unknown.size} unknown, ${this.repeats} ZREM repeated, at most ${this.most} in a window`;
  }
}

function startClient(crew: Crew, roamer: Roamer, recipe: typeof guarded, limiters: readonly Limiter[], client: number): void {
  let n = 0;
  crew.start(async () => {
    n++;
    const limiter = limiters[n % limiters.length];
    if (limiter === undefined) return false;
    const id = `${client}:${n}`;
    let sent = false;
    const result = await roamer.attempt((driver) => recipe(driver, limiter.window, id, () => (sent = true)));
    if (result.outcome !== 'acked') {
      if (result.outcome === 'unknown' && sent) limiter.unknown.add(id);
      return false;
    }
    const { verdict, atMs } = result.value;
    if (verdict === 'admitted') limiter.admitted.set(id, atMs);
    else if (verdict === 'conflict') limiter.conflicts++;
    else limiter.denied++;
    // Repeated as long as its outcome is not known: it is the same whether it is done once or twice.
    if (verdict === 'over') while ((await roamer.attempt((driver) => driver.zRem(limiter.window.key, id))).outcome !== 'acked') limiter.repeats++;
    // Who was denied asks again a little later, as clients do.
    if (verdict === 'denied') await pause(2);
    return verdict !== 'conflict';
  });
}

describe.each(DRIVERS)('%s', (name) => {
  test('sliding windows: never more than the limit in any, and none admitted is forgotten, across kills of the leader', { timeout: 90_000 + KILLS * 30_000 }, async (context) => {
    const missing = driverMissing(name);
    if (missing !== undefined) return context.skip(missing);
    const cluster = await startCluster();
    const fleet = new Fleet(name, cluster);
    const crew = new Crew();
    const strict = GUARDED.map((window) => new Limiter(window));
    const slack = LENIENT.map((window) => new Limiter(window));
    for (let client = 0; client < CLIENTS_PER_RECIPE; client++) {
      startClient(crew, new Roamer(fleet, client), guarded, strict, client);
      startClient(crew, new Roamer(fleet, client + 1), lenient, slack, client);
    }
    const outages: number[] = [];
    for (let kill = 0; kill < KILLS; kill++) {
      await crew.more(TURNS);
      outages.push(await killTheLeader(cluster, crew, TURNS));
    }
    // Until every limit was reached: else nothing is shown by its being kept.
    await crew.till('every limit to be reached', () => [...strict, ...slack].every(({ most, denied, window }) => denied > 0 && most >= window.limit));
    await crew.stop();
    console.log(`${name}: ${[...strict, ...slack].map(({ summary }) => summary).join('; ')}; every client served after a kill: ${spreadText(outages)}`);
    for (const { most, window } of [...strict, ...slack]) expect([window.key, most]).toEqual([window.key, window.limit]);

    // From the lenient ones nothing was removed but by those who were denied, and they are all gone.
    await fence(cluster);
    for (const node of cluster.nodes) {
      const driver = await fleet.connect(node);
      for (const { window, admitted, unknown } of slack) {
        const kept = new Map(await driver.zRange(window.key, 0, -1));
        const lost = [...admitted].filter(([id, atMs]) => kept.get(id) !== atMs);
        const strange = [...kept.keys()].filter((id) => !admitted.has(id) && !unknown.has(id));
        expect({ node: node.name, key: window.key, lost, strange }).toEqual({ node: node.name, key: window.key, lost: [], strange: [] });
      }
    }
    await until('the guarded windows to expire', async () => (await cluster.node(0).ask('EXISTS', ...GUARDED.map(({ key }) => key))) === 0, { timeoutMs: 10_000 });
    await cluster.agree();
  });
});
