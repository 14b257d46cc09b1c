// What was forwarded to the leader of one term is never logged in another: the peer that sent it counts it as lost by then.
import { expect, test } from 'vitest';
import { entryRecordCount } from '../../src/base/entry.ts';
import { ManualNode } from '../server/manual-node.ts';

test('a peer’s records in the open batch go with the term that they were sent in; our own stay', () => {
  const node = ManualNode.leader();
  const donor = ManualNode.follower();
  donor.connect().send('SET x 1');
  const foreign = donor.forwards[0]!.records.slice();
  foreign[8] = 2; // as node 2 would have sent it
  const client = node.connect();
  client.send('SET first 1');
  expect(node.proposals.map(({ term }) => term)).toEqual([1]);
  // Behind the proposal in flight, both wait in the batch.
  node.tell({ type: 'forwarded', from: 2, id: 1, term: 1, count: 1, records: foreign });
  client.send('SET second 1');
  expect(node.proposals.length).toBe(1);
  // Deposed and elected again; the entry in flight was lost on the way.
  const [lost] = node.proposals;
  node.outbox.length = 0;
  node.state('follower', 0, 2);
  node.state('leader', 1, 3);
  node.tell({ type: 'refused', id: lost!.id, reason: 'the term is over' });
  expect(node.proposals.map(({ term, entry }) => [term, entryRecordCount(entry)])).toEqual([[3, 1]]);
  node.commitAll();
  expect(client.take()).toMatch(/^-CLUSTERDOWN [^\n]*\n\+OK\r\n$/);
  const reader = node.connect();
  reader.send('EXISTS x first second');
  expect(reader.take()).toBe(':1\r\n');
});
