// How a node frees what was removed: in slices, and what it does between them.
import { expect, test } from 'vitest';
import { ManualNode, resp, type ManualSocket } from './manual-node.ts';

const MEMBERS = 20_000;
const SLICE_MS = 0.25;
const CRON_MS = 100;

function commit(node: ManualNode, client: ManualSocket, words: readonly string[]): void {
  client.sendBytes(resp(words));
  for (const forward of [...node.forwards]) node.commitForward(forward);
  node.commitAll();
}

/** A node that has just removed a sorted set, and how long it has freed since. Only freeing takes time here. */
function withDebris(node: ManualNode): { node: ManualNode; freed: () => number } {
  const client = node.connect();
  for (let from = 0; from < MEMBERS; from += 1000) {
    commit(node, client, ['ZADD', 'board', ...Array.from({ length: 1000 }, (_, i) => [String(i), `player:${from + i}`]).flat()]);
  }
  commit(node, client, ['DEL', 'board']);
  const { keyspace } = node.machine;
  const rehashStep = keyspace.rehashStep.bind(keyspace);
  let spentMs = 0;
  keyspace.rehashStep = (budget) => {
    const more = rehashStep(budget);
    spentMs += SLICE_MS;
    node.clock.nowMs += SLICE_MS;
    return more;
  };
  return { node, freed: () => spentMs };
}

/** How long it frees in the next 40 ms from its first slice on, with `work` done every millisecond. */
function freesUnder(work: (node: ManualNode) => void, { node, freed }: { node: ManualNode; freed: () => number }): number {
  let untilMs = Infinity;
  while (node.clock.nowMs < untilMs) {
    work(node);
    node.clock.pass(1);
    if (untilMs === Infinity && freed() > 0) untilMs = node.clock.nowMs + 40;
  }
  return freed();
}

test('a follower without clients, which applies what others write, rests between slices', () => {
  const debris = withDebris(ManualNode.follower());
  const spentMs = freesUnder((node) => node.noop(), debris);
  expect(spentMs).toBeGreaterThan(5);
  expect(spentMs).toBeLessThan(12);
});

test('a node that has nothing else to do goes on turn by turn', () => {
  const { node } = withDebris(ManualNode.follower());
  node.clock.pass(CRON_MS + 10);
  expect(node.machine.keyspace.usedBytes).toBe(0);
});

test('above maxmemory it rests less: what waits to be freed would be made up for by keys', () => {
  const part = (maxmemory: number): number => {
    const debris = withDebris(ManualNode.leader());
    const client = debris.node.connect();
    client.send(`CONFIG SET maxmemory ${maxmemory}`);
    return freesUnder(() => client.send('SET a 1'), debris);
  };
  expect(part(1)).toBeGreaterThan(1.5 * part(0));
});
