// What clients have sent is dealt with for a share of each turn of the event loop: nobody waits for all that another has to say,
// nothing changes its order, and nothing is lost where a connection ends meanwhile.
import { describe, expect, test } from 'vitest';
import { ManualNode, resp, type ManualSocket } from './manual-node.ts';

const COMMANDS = 200;

/** A node on which each look at the clock takes a millisecond, and whose turns end one by one. */
function slowNode(): ManualNode {
  const node = ManualNode.leader();
  const { clock } = node;
  clock.holdsTurns = true;
  clock.monotonicMs = () => clock.nowMs++;
  return node;
}

const echoes = (from: number, to: number): Uint8Array[] => Array.from({ length: to - from }, (_, at) => resp(['ECHO', `e${from + at}`]));
const replies = (to: number): string => Array.from({ length: to }, (_, at) => `$${`e${at}`.length}\r\ne${at}\r\n`).join('');

function turnsUntil(node: ManualNode, holds: () => boolean): void {
  for (let turns = 0; turns < 1000; turns++) {
    if (holds()) return;
    node.clock.oneTurn();
  }
  expect.fail('it never held');
}

describe('a turn that is over', () => {
  test('leaves the rest to the next, in order', () => {
    const node = slowNode();
    const client = node.connect();
    client.sendBytes(...echoes(0, COMMANDS));
    node.clock.oneTurn();
    expect(client.received.length).toBeGreaterThan(0);
    expect(client.received.length).toBeLessThan(replies(COMMANDS).length / 2);
    // What comes meanwhile stands behind it.
    client.sendBytes(...echoes(COMMANDS, COMMANDS + 10));
    turnsUntil(node, () => client.received.length >= replies(COMMANDS + 10).length);
    expect(client.received).toBe(replies(COMMANDS + 10));
  });

  test('serves another client before all of the first is done', () => {
    const node = slowNode();
    const [first, second] = [node.connect(), node.connect()] as [ManualSocket, ManualSocket];
    first.sendBytes(...echoes(0, COMMANDS));
    second.sendBytes(resp(['ECHO', 'x']));
    turnsUntil(node, () => second.received !== '');
    expect(first.received.length).toBeLessThan(replies(COMMANDS).length);
    turnsUntil(node, () => first.received.length === replies(COMMANDS).length);
    expect([first.received, second.received]).toEqual([replies(COMMANDS), '$1\r\nx\r\n']);
  });

  test('answers what was sent before the client closed its side', () => {
    const node = slowNode();
    const client = node.connect();
    client.sendBytes(...echoes(0, COMMANDS));
    node.server.ended(client);
    turnsUntil(node, () => client.closing);
    expect(client.received).toBe(replies(COMMANDS));
  });

  test('stops reading a socket that brings ever more', () => {
    const node = slowNode();
    const client = node.connect();
    const big = resp(['ECHO', 'b'.repeat(60_000)]);
    for (let sent = 0; sent < 40; sent++) client.sendBytes(big);
    expect(client.paused).toBe(true);
    turnsUntil(node, () => client.received.length === 40 * '$60000\r\n\r\n'.length + 40 * 60_000);
    expect(client.paused).toBe(false);
  });

  test('drops the rest of a client that is closed', () => {
    const node = slowNode();
    const client = node.connect();
    client.sendBytes(...echoes(0, COMMANDS));
    node.server.closed(client);
    node.clock.oneTurn();
    const { received } = client;
    for (let turns = 0; turns < 100; turns++) node.clock.oneTurn();
    expect(client.received).toBe(received);
  });
});
