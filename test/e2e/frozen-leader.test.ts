// The leader's process is frozen (SIGSTOP) under load until another leads, and thawed: it comes back as a leader that does
// not know that it was deposed, with clients that still wait for it.
import { expect, test } from 'vitest';
import { startCluster } from './lib/cluster.ts';
import { Load } from './lib/load.ts';
import { spreadText } from './lib/until.ts';

const FREEZES = process.env['E2E_LONG'] === '1' ? 20 : 5;

test(`the leader frozen ${FREEZES} times until another leads: what it then tells its clients is true`, async () => {
  const cluster = await startCluster();
  const load = new Load(cluster.nodes, { writersPerNode: 3 });
  load.start();
  const firsts: number[] = [];
  const thawed: number[] = [];
  for (let freeze = 0; freeze < FREEZES; freeze++) {
    await load.more(700);
    const leader = await cluster.leader();
    load.mark();
    leader.running.kill('SIGSTOP');
    try {
      firsts.push((await load.flowing(cluster.nodes.filter((node) => node !== leader))).firstMs);
      await load.more(300);
    } finally {
      load.mark();
      leader.running.kill('SIGCONT');
    }
    thawed.push((await load.flowing([leader], 20_000)).lastMs);
  }
  await load.stop();
  console.log(`${FREEZES} freezes of the leader, ${load.summary}; writes flow elsewhere: ${spreadText(firsts)}; through the thawed node: ${spreadText(thawed)}`);
  const { dump } = await cluster.agree();
  expect(load.faults(dump)).toEqual([]);
  expect(Math.max(...firsts)).toBeLessThan(2000);
});
