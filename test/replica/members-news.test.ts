// A peer may miss what it is told of the members as it connects: it still writes down whose data directory tells it, or the message
// is lost. (Seed 951104603746 in simulation: a node that was taken in again knew nobody who could take it in.)
import { expect, test } from 'vitest';
import { encodeHistory } from '../../src/base/configuration.ts';
import { initialConfiguration } from '../../src/raft/configuration.ts';
import { CONFIGURATIONS } from '../../src/replica/roster.ts';
import { addressOf } from '../raft/sim-node.ts';
import { entry, Follower } from './one-consensus.ts';

test('a connected peer is told of the members again', () => {
  const configuration = initialConfiguration([1, 2, 3, 4].map(addressOf));
  const node = new Follower(['n1', 'n2', 'n3'], (store) => {
    store.entries = [entry(1, 1, 'a').bytes, entry(2, 1, 'b').bytes];
    store.hardState = { term: 1, vote: 2, commit: 2 };
    store.append({ entries: [], meta: new Map([[CONFIGURATIONS, encodeHistory([{ index: 2, configuration }])], ['pin:4', Buffer.from('04'.repeat(16))], ['pinned-at:4', Buffer.from('2')]]) }, () => undefined);
  });
  const told = () => ({
    members: node.sent.filter((sent) => typeof sent !== 'string' && sent.kind === 'configuration' && sent.at.index === 2).length,
    directories: node.sent.filter((sent) => typeof sent !== 'string' && sent.kind === 'member' && sent.node === 4).length,
  });
  node.connect(2);
  expect(told()).toEqual({ members: 1, directories: 1 });
  node.clock.pass(2500);
  expect(told()).toEqual({ members: 3, directories: 3 });
});
