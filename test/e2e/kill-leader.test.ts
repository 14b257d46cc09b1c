// The leader is killed with kill -9 again and again under full write load; nothing acknowledged may be missing.
import { expect, test } from 'vitest';
import { startCluster } from './lib/cluster.ts';
import { Load } from './lib/load.ts';
import { spreadText } from './lib/until.ts';

const KILLS = process.env['E2E_LONG'] === '1' ? 20 : 5;
const FLOW_MS_MAX = 2000;

test(`the leader killed ${KILLS} times under load: no acknowledged write missing, writes flow again within ${FLOW_MS_MAX} ms`, { timeout: 60_000 + KILLS * 15_000 }, async () => {
  const cluster = await startCluster();
  const load = new Load(cluster.nodes);
  load.start();
  const firsts: number[] = [];
  const lasts: number[] = [];
  const restarts: number[] = [];
  for (let kill = 0; kill < KILLS; kill++) {
    await load.more(1500);
    const leader = await cluster.leader();
    load.mark();
    await leader.kill9();
    const { firstMs, lastMs } = await load.flowing(cluster.alive);
    firsts.push(firstMs);
    lasts.push(lastMs);
    await load.more(500);
    const started = performance.now();
    leader.start();
    await leader.waitReady();
    restarts.push(performance.now() - started);
  }
  await load.stop();
  console.log(`${KILLS} kills of the leader, ${load.summary}`);
  console.log(`writes flow again (first acknowledgement of a write sent after the kill): ${spreadText(firsts)}`);
  console.log(`… on every connection to a live node: ${spreadText(lasts)}`);
  console.log(`a killed node serves again after its restart: ${spreadText(restarts)}`);
  const { dump } = await cluster.agree();
  expect(load.faults(dump)).toEqual([]);
  expect(Math.max(...lasts)).toBeLessThan(FLOW_MS_MAX);
});
