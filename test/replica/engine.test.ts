// The engine between its clients and consensus: what it hands over, and what it tells whom.
import { describe, expect, test } from 'vitest';
import { BATCH_RECORDS_MAX, BATCH_TARGET_BYTES, MiB } from '../../src/base/limits.ts';
import { Errors } from '../../src/commands/errors.ts';
import { ManualNode, resp } from '../server/manual-node.ts';

const OK = '+OK\r\n';
const count = (text: string, part: string): number => text.split(part).length - 1;

describe('what gathers while no leader is known', () => {
  const WRITES = BATCH_RECORDS_MAX + 5000;

  function gathered(): { node: ManualNode; client: ReturnType<ManualNode['connect']> } {
    const node = ManualNode.follower();
    node.state('follower', 0, 3);
    const client = node.connect();
    const command = resp(['SET', 'a', '1']);
    for (let left = WRITES; left > 0; left -= 1000) client.sendBytes(...Array.from({ length: Math.min(left, 1000) }, () => command));
    expect(node.outbox).toEqual([]);
    return { node, client };
  }

  test('becomes entries that every node can apply', () => {
    const { node, client } = gathered();
    node.state('leader', 1, 4);
    for (const { entry } of node.proposals) expect(entry.length).toBeLessThan(2 * BATCH_TARGET_BYTES);
    const counts = node.commitAll();
    expect(Math.max(...counts)).toBeLessThanOrEqual(BATCH_RECORDS_MAX);
    expect(counts.reduce((sum, n) => sum + n, 0)).toBe(WRITES);
    expect(count(client.take(), OK)).toBe(WRITES);
  });

  test('is forwarded in pieces that the leader takes', () => {
    const { node, client } = gathered();
    node.state('follower', 3, 4);
    for (const forward of node.forwards) {
      expect(forward.count).toBeLessThanOrEqual(BATCH_RECORDS_MAX);
      node.commitForward(forward);
    }
    expect(count(client.take(), OK)).toBe(WRITES);
  });
});

describe('forwards', () => {
  const big = (n: number): Uint8Array => resp(['SET', `k${n}`, 'x'.repeat(MiB)]);

  test('more than the leader has dealt with are held back, and go on once it has', () => {
    const node = ManualNode.follower();
    const client = node.connect();
    for (let n = 0; n < 20; n++) client.sendBytes(big(n));
    expect(node.engine.congested).toBe(true);
    expect(node.forwards.length).toBeLessThan(15);
    expect(client.paused).toBe(true);
    for (let turns = 0; node.forwards.length > 0 && turns < 50; turns++) node.commitForward(node.forwards[0]!);
    expect(count(client.take(), OK)).toBe(20);
    expect(node.engine.congested).toBe(false);
    expect(client.paused).toBe(false);
  });

  test('one that was lost is uncertain as soon as a later one is applied', () => {
    const node = ManualNode.follower();
    const [first, second] = [node.connect(), node.connect()];
    first.send('SET a 1');
    node.outbox.length = 0;
    second.send('SET b 1');
    node.commitForward(node.forwards[0]!);
    expect(second.take()).toBe(OK);
    expect(first.take()).toBe(`-${Errors.uncertain}\r\n`);
  });

  test('a refusal that was meant for a boot before this one fails nothing', () => {
    const node = ManualNode.follower();
    const client = node.connect();
    client.send('SET a 1');
    for (let id = 1; id < 10; id++) node.tell({ type: 'forward-failed', id, reason: 'stale' });
    expect(client.take()).toBe('');
    node.commitForward(node.forwards[0]!);
    expect(client.take()).toBe(OK);
  });

  test('those to the leader of an earlier term are known to be lost once an entry of a later one is applied', () => {
    const node = ManualNode.follower();
    const client = node.connect();
    client.send('SET a 1');
    node.state('follower', 3, 3);
    expect(client.take()).toBe('');
    node.noop();
    expect(client.take()).toMatch(/^-CLUSTERDOWN .*not applied\r\n$/);
  });
});

test('a peer’s records in a proposal that comes to nothing are not taken for those of a session here', () => {
  const node = ManualNode.leader();
  const donor = ManualNode.follower();
  donor.connect().send('SET x 1');
  const { records } = donor.forwards[0]!;
  // The same bytes as if node 2 had sent them: session 1, write 1.
  const foreign = records.slice();
  foreign[8] = 2;
  node.tell({ type: 'forwarded', from: 2, id: 1, term: 1, count: 1, records: foreign });
  const client = node.connect();
  client.send('SET y 1');
  const [proposal, own] = node.proposals;
  node.tell({ type: 'refused', id: proposal!.id, reason: 'transferring' });
  if (own === undefined) {
    node.outbox.shift();
    node.commitAll();
    expect(client.take()).toBe(OK);
  } else {
    expect(client.take()).toBe('');
  }
});

test('clients go on when the batch that held them back was refused for want of a leader', () => {
  const node = ManualNode.follower();
  node.state('follower', 0, 3);
  const [filler, waiting] = [node.connect(), node.connect()];
  for (let n = 0; n < 70; n++) filler.sendBytes(resp(['SET', 'a', 'x'.repeat(MiB)]));
  expect(node.engine.congested).toBe(true);
  waiting.send('SET b 1');
  node.clock.pass(2500);
  expect(filler.take()).toContain('-CLUSTERDOWN');
  node.clock.pass(5000);
  expect(waiting.take()).toBe(`-${Errors.clusterDown}\r\n`);
});

test('what is committed is applied before a connection’s input is looked at, without a turn in between', () => {
  const node = ManualNode.leader();
  const [writer, reader] = [node.connect(), node.connect()];
  writer.send('SET a 1');
  // Consensus has published the commit, and its message has arrived, but the event loop has not come to it.
  node.arriveCommitted();
  reader.send('GET a');
  expect(writer.take()).toBe(OK);
  expect(reader.take()).toBe('$1\r\n1\r\n');
});
