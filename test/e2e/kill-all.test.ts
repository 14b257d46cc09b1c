// All three nodes are killed at once under load and started again; nothing acknowledged may be missing.
import { expect, test } from 'vitest';
import { startCluster } from './lib/cluster.ts';
import { Load } from './lib/load.ts';
import { spreadText } from './lib/until.ts';

const ROUNDS = 3;

test(`all nodes killed at once under load, ${ROUNDS} times: nothing acknowledged is missing, and all nodes agree`, async () => {
  const cluster = await startCluster();
  const load = new Load(cluster.nodes);
  load.start();
  const back: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    await load.more(2000);
    await Promise.all(cluster.nodes.map((node) => node.kill9()));
    const started = performance.now();
    load.mark();
    for (const node of cluster.nodes) node.start();
    await load.flowing(cluster.nodes, 20_000);
    back.push(performance.now() - started);
  }
  await load.more(500);
  await load.stop();
  console.log(`${ROUNDS} times all nodes killed, ${load.summary}; writes flow on every connection after the restart: ${spreadText(back)}`);
  const { index, dump } = await cluster.agree();
  expect(index).toBeGreaterThan(0);
  expect(load.faults(dump)).toEqual([]);
});
