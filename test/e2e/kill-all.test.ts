// All three nodes are killed at once under load and started again; nothing acknowledged may be missing.
import { expect, test } from 'vitest';
import { startCluster } from './lib/cluster.ts';
import { Load } from './lib/load.ts';
import { spreadText, until } from './lib/until.ts';

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

test('a leader whose followers are frozen acknowledges nothing that dies with it', async () => {
  const cluster = await startCluster();
  const load = new Load(cluster.nodes);
  load.start();
  await load.more(1000);
  const leader = await cluster.leader();
  const others = cluster.nodes.filter((node) => node !== leader);
  // Frozen and then killed, they lose also what the kernel had received for them.
  for (const node of others) node.running.kill('SIGSTOP');
  const frozen = performance.now();
  const before = load.ackedOn(leader);
  await until('the leader to give up, or to have had the time for it', async () => {
    return (await leader.info()).get('raft_state') !== 'leader' || performance.now() - frozen > 1500;
  });
  console.log(`${load.ackedOn(leader) - before} writes acknowledged by the leader after its followers were frozen`);
  await Promise.all(cluster.nodes.map((node) => node.kill9()));
  for (const node of others) node.start();
  load.mark();
  await load.flowing(others, 20_000);
  leader.start();
  await load.flowing(cluster.nodes, 20_000);
  await load.stop();
  const { dump } = await cluster.agree();
  expect(load.faults(dump)).toEqual([]);
});
