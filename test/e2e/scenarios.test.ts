// What applications build on Redis, each across a kill -9 of the leader in the middle, through ioredis and node-redis with
// their resending off: an unknown outcome is counted as such, never repeated blindly.
import { describe, expect, test } from 'vitest';
import { attempt, connectLibrary, LIBRARIES, type Library, type TestClient } from './lib/clients.ts';
import { startCluster, type Cluster } from './lib/cluster.ts';
import { until } from './lib/until.ts';

interface Run {
  readonly cluster: Cluster;
  /** Two on each node. */
  readonly clients: readonly TestClient[];
}

async function setUp(library: Library): Promise<Run> {
  const cluster = await startCluster();
  const clients = await Promise.all([...cluster.nodes, ...cluster.nodes].map((node) => connectLibrary(library, node)));
  return { cluster, clients };
}

/** Runs the workers, kills the leader once `halfway` holds, starts it again, and waits until all workers are done. */
async function acrossAKill(cluster: Cluster, workers: readonly Promise<void>[], halfway: () => boolean): Promise<void> {
  const all = Promise.all(workers);
  const killed = (async () => {
    await until('the workers to be halfway', halfway, { timeoutMs: 60_000, everyMs: 2 });
    const leader = await cluster.leader();
    await leader.kill9();
    await until('another leader', async () => (await cluster.leader()) !== leader);
    leader.start();
    await leader.waitReady();
  })();
  await Promise.all([all, killed]);
}

describe.each(LIBRARIES)('%s', (library) => {
  test('counters: acknowledged ≤ value ≤ acknowledged + unknown, and no number twice', async () => {
    const { cluster, clients } = await setUp(library);
    const total = 1500;
    const seen: number[] = [];
    let unknown = 0;
    const workers = clients.map(async (client) => {
      let last = 0;
      while (seen.length < total) {
        const result = await attempt(() => client.call('INCR', 'counter'));
        if (result.outcome === 'unknown') unknown++;
        if (result.outcome !== 'acked') continue;
        const value = Number(result.value);
        if (value <= last) throw new Error(`INCR gave ${value} after ${last} on one connection`);
        last = value;
        seen.push(value);
      }
    });
    await acrossAKill(cluster, workers, () => seen.length >= total / 2);
    const value = Number(await cluster.node(0).ask('GET', 'counter'));
    console.log(`${library} counter: ${seen.length} acknowledged, ${unknown} unknown, value ${value}`);
    expect(new Set(seen).size).toBe(seen.length);
    expect(value).toBeGreaterThanOrEqual(seen.length);
    expect(value).toBeLessThanOrEqual(seen.length + unknown);
  });

  test('inventory with WATCH/MULTI: never oversold, and every item is in stock or in exactly one order', async () => {
    const { cluster, clients } = await setUp(library);
    const stock = 250;
    await cluster.node(0).ask('SET', 'stock', stock);
    const orders: string[] = [];
    let conflicts = 0;
    const workers = clients.map(async (client, w) => {
      for (let n = 0; ; n++) {
        const order = `order:${w}:${n}`;
        const result = await attempt(async () => {
          await client.watch('stock');
          const left = Number(await client.call('GET', 'stock'));
          if (left <= 0) {
            await client.call('UNWATCH');
            return 'sold out';
          }
          const done = await client.multi([['SET', 'stock', left - 1], ['SET', order, 1]]);
          return done === null ? 'conflict' : 'sold';
        });
        if (result.outcome !== 'acked') continue;
        if (result.value === 'sold out') return;
        if (result.value === 'sold') orders.push(order);
        else conflicts++;
      }
    });
    await acrossAKill(cluster, workers, () => orders.length >= stock / 2);
    const { dump } = await cluster.agree();
    const booked = [...dump.keys()].filter((key) => key.startsWith('0/order:'));
    console.log(`${library} inventory: ${orders.length} orders acknowledged, ${booked.length} booked, ${conflicts} conflicts`);
    expect(dump.get('0/stock')).toBe('-1 0');
    expect(booked.length).toBe(stock);
    expect(orders.filter((order) => !dump.has(`0/${order}`))).toEqual([]);
    expect(conflicts).toBeGreaterThan(0);
  });

  test('inventory with DECRBY: never oversold', async () => {
    const { cluster, clients } = await setUp(library);
    const stock = 1000;
    await cluster.node(0).ask('SET', 'stock', stock);
    const left: number[] = [];
    let tooMany = 0;
    let unknown = 0;
    const workers = clients.map(async (client) => {
      for (;;) {
        const result = await attempt(() => client.call('DECRBY', 'stock', 1));
        if (result.outcome === 'unknown') unknown++;
        if (result.outcome !== 'acked') continue;
        const value = Number(result.value);
        if (value < 0) {
          tooMany++;
          return;
        }
        left.push(value);
      }
    });
    await acrossAKill(cluster, workers, () => left.length >= stock / 2);
    const value = Number(await cluster.node(0).ask('GET', 'stock'));
    console.log(`${library} DECRBY: ${left.length} sold, ${unknown} unknown, ${tooMany} refused, stock ${value}`);
    expect(new Set(left).size).toBe(left.length);
    expect(left.length).toBeLessThanOrEqual(stock);
    expect(left.length + unknown).toBeGreaterThanOrEqual(stock);
    expect(value).toBeLessThanOrEqual(stock - left.length - tooMany);
    expect(value).toBeGreaterThanOrEqual(stock - left.length - tooMany - unknown);
  });

  test('fixed-window rate limiter: no window lets more through than its limit, and windows expire', async () => {
    const { cluster, clients } = await setUp(library);
    const limit = 40;
    const windowMs = 300;
    const windowsMin = 10;
    const allowed = new Map<number, number>();
    let denied = 0;
    const workers = clients.map(async (client) => {
      while (allowed.size < windowsMin) {
        const window = Math.floor(Date.now() / windowMs);
        const key = `rate:${window}`;
        const result = await attempt(() => client.multi([['INCR', key], ['PEXPIRE', key, 4 * windowMs, 'NX']]));
        if (result.outcome !== 'acked' || result.value === null) continue;
        if (Number(result.value[0]) <= limit) allowed.set(window, (allowed.get(window) ?? 0) + 1);
        else denied++;
      }
    });
    await acrossAKill(cluster, workers, () => allowed.size >= windowsMin / 2);
    console.log(`${library} rate limiter: ${[...allowed.values()].join(' ')} let through, ${denied} denied`);
    expect(Math.max(...allowed.values())).toBeLessThanOrEqual(limit);
    expect(denied).toBeGreaterThan(0);
    await until('the windows to expire', async () => (await cluster.node(0).ask('DBSIZE')) === 0, { timeoutMs: 10_000 });
  });

  test('session store: there until its time, and once seen expired never back', async () => {
    const { cluster, clients } = await setUp(library);
    const ttlMs = 400;
    const slackMs = 25;
    const total = 240;
    interface Session {
      readonly key: string;
      readonly createdMs: number;
      readonly ackedMs: number;
      goneMs: number;
    }
    const live: Session[] = [];
    const faults: string[] = [];
    let created = 0;
    let reads = 0;
    let expired = 0;
    const [first, second, ...readers] = clients;
    const writers = [first, second].map(async (client, w) => {
      if (client === undefined) throw new Error('two writers');
      while (created < total) {
        const key = `session:${w}:${created++}`;
        const createdMs = Date.now();
        const result = await attempt(() => client.call('SET', key, 'token', 'PX', ttlMs));
        if (result.outcome === 'acked') live.push({ key, createdMs, ackedMs: Date.now(), goneMs: Infinity });
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    });
    let writing = true;
    const readAll = readers.map(async (client, r) => {
      for (let turn = r; writing || live.some((session) => session.goneMs === Infinity); turn++) {
        const session = live[(turn * 7919) % Math.max(1, live.length)];
        if (session === undefined) {
          await new Promise((resolve) => setTimeout(resolve, 5));
          continue;
        }
        const startedMs = Date.now();
        const goneBefore = session.goneMs < Infinity;
        const result = await attempt(() => client.call('GET', session.key));
        if (result.outcome !== 'acked') continue;
        reads++;
        const there = result.value !== null;
        if (there && goneBefore) faults.push(`${session.key} came back on ${client.node.name} ${startedMs - session.goneMs} ms after it was seen expired`);
        if (there || session.goneMs < Infinity) continue;
        if (Date.now() < session.createdMs + ttlMs - slackMs) faults.push(`${session.key} was gone ${Date.now() - session.createdMs} ms after it was made for ${ttlMs} ms`);
        session.goneMs = Date.now();
        expired++;
      }
    });
    const done = Promise.all(writers).then(() => (writing = false)).then(() => undefined);
    await acrossAKill(cluster, [done, ...readAll], () => created >= total / 2);
    console.log(`${library} sessions: ${live.length} made, ${expired} seen expired, ${reads} reads`);
    expect(faults).toEqual([]);
    expect(expired).toBe(live.length);
  });
});
