// The log feed of a real Consensus over a log store in memory: a follower whose leaders are played hands an observer what is
// committed, whatever happens to the rest.
import { expect, test } from 'vitest';
import { entry, Follower } from './one-consensus.ts';

test('an observer of a follower gets what is committed, and nothing that another leader may take back', () => {
  const node = new Follower();
  node.append(2, 1, 0, 0, [entry(1, 1, 'a'), entry(2, 1, 'b'), entry(3, 1, 'lost')], 2);
  expect(node.fetch(1)).toEqual(['a', 'b']);
  expect(node.answers[0]).toMatchObject({ firstIndex: 1, commitIndex: 2, leads: false, hasLeader: true });
  expect(node.fetch(3)).toBeUndefined();
  // It waits while another leader overwrites the entry.
  node.append(3, 2, 2, 1, [entry(3, 2, 'c'), entry(4, 2, 'd')], 2);
  expect(node.texts()).toBeUndefined();
  node.append(3, 2, 4, 2, [], 4);
  node.clock.pass(100);
  expect(node.texts()).toEqual(['c', 'd']);
});

test('the engine is told that a snapshot is in place when its index is the commit index that the shared cell says, and not before', () => {
  const node = new Follower();
  node.append(2, 1, 0, 0, [entry(1, 1, 'a')], 1);
  node.fromEngine({ type: 'restored', base: { index: 40, term: 1, timeMs: 1040 }, configuration: undefined });
  const installed = node.told.find(({ message }) => message.type === 'installed');
  expect(installed).toEqual({ message: { type: 'installed', index: 40, accepted: true }, cellCommit: 40 });
  node.clock.pass(5);
  node.append(2, 1, 40, 1, [entry(41, 1, 'b')], 41);
  expect(node.fetch(41)).toEqual(['b']);
  const committed = node.told.flatMap(({ message }) => (message.type === 'committed' ? message.entries.map(({ index }) => index) : []));
  expect(committed).toEqual([1, 41]);
});

test('without a leader it is told so, and what was committed stays to be had', () => {
  const node = new Follower();
  node.append(2, 1, 0, 0, [entry(1, 1, 'a')], 1);
  node.clock.pass(3000);
  expect(node.fetch(1)).toEqual(['a']);
  expect(node.answers[0]?.hasLeader).toBe(false);
});

test('behind a cut it says where the log begins', () => {
  const node = new Follower();
  node.append(2, 1, 0, 0, [entry(1, 1, 'a'), entry(2, 1, 'b'), entry(3, 1, 'c')], 3);
  node.store.cut(2);
  expect(node.fetch(2)).toEqual([]);
  expect(node.answers[0]).toMatchObject({ firstIndex: 3, commitIndex: 3 });
  expect(node.fetch(3)).toEqual(['c']);
});

test('a node alone that starts from a snapshot hands the engine what the log has behind it, though nothing else happens', () => {
  const node = new Follower(['n1'], (store) => {
    store.base = { index: 40, term: 1, timeMs: 1040 };
    store.entries = [entry(41, 1, 'a').bytes, entry(42, 1, 'b').bytes];
    store.hardState = { term: 1, vote: 1, commit: 42 };
  });
  node.clock.pass(5000);
  const delivered = (): number[] => node.told.flatMap(({ message }) => (message.type === 'committed' ? message.entries.map(({ index }) => index) : []));
  expect(delivered()).toEqual([]);
  node.fromEngine({ type: 'restored', base: { index: 40, term: 1, timeMs: 1040 }, configuration: undefined });
  node.clock.pass(5000);
  expect(delivered()).toEqual([41, 42, 43]);
  const types = node.told.map(({ message }) => message.type);
  expect(types.indexOf('installed')).toBeLessThan(types.indexOf('committed'));
});
