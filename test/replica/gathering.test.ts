// When the leader's batch waits for the clients that have just been answered, and when it does not.
import { describe, expect, test } from 'vitest';
import type { ManualSocket } from '../server/manual-node.ts';
import { ManualNode } from '../server/manual-node.ts';

const CLIENTS = 10;

/** Ten clients whose writes went in one entry, which is committed and answered. */
function answered(): { node: ManualNode; clients: ManualSocket[] } {
  const node = ManualNode.leader();
  const clients = Array.from({ length: CLIENTS }, () => node.connect());
  write(node, clients);
  node.clock.pass(2);
  node.commitAll();
  clients.forEach((client) => client.take());
  write(node, clients);
  expect(node.proposals.length).toBe(1);
  expect(node.commitAll()).toEqual([CLIENTS]);
  return { node, clients };
}

/** All in one turn of the event loop. */
function write(node: ManualNode, clients: readonly ManualSocket[]): void {
  for (const client of clients) node.server.data(client, Buffer.from('INCR a\r\n'));
  node.clock.endTurn();
}

describe('the leader\'s batch', () => {
  test('waits for most of those who were just answered, and takes in all who came', () => {
    const { node, clients } = answered();
    for (const client of clients.slice(0, 7)) client.send('INCR a');
    expect(node.proposals).toEqual([]);
    clients[7]!.send('INCR a');
    expect(node.commitAll()).toEqual([8]);
    expect(clients[0]!.take()).toContain(':');
  });

  test('waits no longer than a millisecond, and then not again for a while', () => {
    const { node, clients } = answered();
    clients[0]!.send('INCR a');
    expect(node.proposals).toEqual([]);
    node.clock.pass(1);
    expect(node.commitAll()).toEqual([1]);
    clients[0]!.send('INCR a');
    expect(node.commitAll()).toEqual([1]);
  });

  test('one client alone never waits', () => {
    const node = ManualNode.leader();
    const client = node.connect();
    for (let i = 0; i < 20; i++) {
      client.send('INCR a');
      expect(node.commitAll()).toEqual([1]);
    }
  });

  test('nothing waits in a new term', () => {
    const { node, clients } = answered();
    clients[0]!.send('INCR a');
    expect(node.proposals).toEqual([]);
    node.state('follower', 0, 2);
    node.state('leader', 1, 3);
    expect(node.commitAll()).toEqual([1]);
  });
});
