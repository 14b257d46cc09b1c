// A node that starts behind a snapshot seeks no election before its engine has that: it would lead, and serve nobody.
import { expect, test } from 'vitest';
import { MessageType } from '../../src/raft/types.ts';
import { entry, Follower } from './one-consensus.ts';

const BASE = { index: 40, term: 1, timeMs: 1040 };

function loading(names: readonly string[]): Follower {
  const node = new Follower(names, (store) => {
    store.base = BASE;
    store.entries = [entry(41, 1, 'a').bytes];
    store.hardState = { term: 1, vote: 2, commit: 41 };
  });
  return node;
}

test('not at its timeout, nor told to by a leader that hands over', () => {
  const node = loading(['n1', 'n2', 'n3']);
  node.clock.pass(5000);
  node.hear(MessageType.timeoutNow, 2, { term: 1 });
  node.clock.pass(5000);
  expect([...node.sentOf(MessageType.preVote), ...node.sentOf(MessageType.vote)]).toEqual([]);
  expect(node.consensus.raft.role).toBe('follower');
  node.fromEngine({ type: 'restored', base: BASE, configuration: undefined });
  node.clock.pass(1000);
  expect(node.sentOf(MessageType.preVote).map(({ to }) => to).slice(0, 2)).toEqual([2, 3]);
});

test('and votes meanwhile', () => {
  const node = loading(['n1', 'n2', 'n3']);
  node.clock.pass(5000);
  node.hear(MessageType.vote, 2, { term: 2, index: 41, logTerm: 1 });
  expect(node.sentOf(MessageType.voteResponse)).toEqual([expect.objectContaining({ to: 2, term: 2, reject: false })]);
});

test('alone it leads as soon as it has it', () => {
  const node = loading(['n1']);
  node.clock.pass(5000);
  expect(node.consensus.raft.role).toBe('follower');
  node.fromEngine({ type: 'restored', base: BASE, configuration: undefined });
  node.clock.pass(10);
  expect(node.consensus.raft.role).toBe('leader');
});
