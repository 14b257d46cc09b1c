// A log that has reached its limit: writes are refused before they are proposed, what helps it out and reads go on, and writes come
// back with the room; on the leader and on a follower that forwards.
import { expect, test } from 'vitest';
import { entryRecordCount } from '../../src/base/entry.ts';
import { LOG_FULL, TRIAL_MS } from '../../src/replica/log-room.ts';
import { ManualNode, resp } from '../server/manual-node.ts';

const FULL = /^-MISCONF the leader's log has reached log-disk-bytes-max[^\n]*\r\n$/;
const PUBLISH = `HOLDFAST PUBLISH 1 1 key ${'ab'.repeat(32)} 0123456789abcdef`;

function full(): ManualNode {
  const node = ManualNode.leader();
  node.tell({ type: 'log-room', isFull: true });
  return node;
}

test('the leader refuses writes, and proposes nothing of them', () => {
  const node = full();
  const client = node.connect();
  for (const write of ['SET a 1', 'DEL a', 'FLUSHALL']) {
    client.send(write);
    expect(client.take()).toMatch(FULL);
  }
  client.send('MULTI', 'SET a 1', 'EXEC');
  expect(client.take()).toMatch(/^\+OK\r\n-MISCONF [^\n]*\n-EXECABORT [^\n]*\n$/);
  expect(node.proposals).toEqual([]);
  node.tell({ type: 'log-room', isFull: false });
  client.send('SET a 1');
  node.commitAll();
  expect(client.take()).toBe('+OK\r\n');
});

test('what was queued before is refused whole', () => {
  const node = ManualNode.leader();
  const client = node.connect();
  client.send('MULTI', 'SET a 1', 'SET b 1');
  client.take();
  node.tell({ type: 'log-room', isFull: true });
  client.send('EXEC');
  expect(client.take()).toMatch(/^-EXECABORT Transaction discarded because of: MISCONF /);
  expect(node.proposals).toEqual([]);
});

test('what was on its way when the limit was reached is taken and answered', () => {
  const node = ManualNode.leader();
  const [first, second] = [node.connect(), node.connect()];
  first.send('SET a 1');
  second.send('SET b 1');
  node.tell({ type: 'log-room', isFull: true });
  for (let i = 0; i < 2; i++) node.commitAll();
  expect([first.take(), second.take()]).toEqual(['+OK\r\n', '+OK\r\n']);
});

test('a snapshot can be published, settings changed, and reads go on, those that find an expired key too', () => {
  const node = ManualNode.leader();
  const client = node.connect();
  client.send('SET gone 1 PX 100', 'SET stays 1');
  node.commitAll();
  client.take();
  node.clock.pass(200);
  node.tell({ type: 'log-room', isFull: true });
  client.send(PUBLISH);
  node.commitAll();
  expect(client.take()).toBe('+OK\r\n');
  expect(node.machine.publishing.index).toBe(1);
  client.send('CONFIG SET hash-max-listpack-entries 7');
  node.commitAll();
  expect(client.take()).toBe('+OK\r\n');
  client.send('GET stays', 'GET gone');
  node.commitAll();
  expect(client.take()).toBe('$1\r\n1\r\n$-1\r\n');
});

test('nothing is expired or evicted of the leader’s own accord meanwhile', () => {
  const node = ManualNode.leader();
  const client = node.connect();
  for (let i = 0; i < 50; i++) client.send(`SET key:${i} 1 PX 10`);
  node.commitAll();
  node.server.maintenance.activeExpire = true;
  node.tell({ type: 'log-room', isFull: true });
  node.clock.pass(2000);
  expect(node.proposals).toEqual([]);
  node.tell({ type: 'log-room', isFull: false });
  node.clock.pass(2000);
  expect(node.proposals.length).toBeGreaterThan(0);
});

test('the leader refuses what a peer forwards, the essential excepted, and says why', () => {
  const donor = ManualNode.follower();
  const forwarded = (...commands: string[]): { count: number; records: Uint8Array } => {
    donor.outbox.length = 0;
    donor.connect().sendBytes(...commands.map((command) => resp(command.split(' '))));
    const { count } = donor.forwards[0]!;
    const records = donor.forwards[0]!.records.slice();
    for (let at = 0; at < records.length; at += new DataView(records.buffer).getUint32(at, true)) records[at + 8] = 2;
    return { count, records };
  };
  const node = full();
  const refusals = (): unknown[] => node.outbox.filter((message) => message.type === 'forward-refused').map(({ id, reason }) => [id, reason]);
  node.tell({ type: 'forwarded', from: 2, id: 1, term: 1, ...forwarded('SET a 1') });
  node.tell({ type: 'forwarded', from: 2, id: 2, term: 1, ...forwarded(PUBLISH, 'SET a 1') });
  expect([refusals(), node.proposals]).toEqual([[[1, LOG_FULL], [2, LOG_FULL]], []]);
  node.tell({ type: 'forwarded', from: 2, id: 3, term: 1, ...forwarded(PUBLISH) });
  expect(node.proposals.map(({ entry }) => entryRecordCount(entry))).toEqual([1]);
  node.commitAll();
  node.tell({ type: 'log-room', isFull: false });
  node.tell({ type: 'forwarded', from: 2, id: 4, term: 1, ...forwarded('SET a 1') });
  expect(refusals()).toHaveLength(2);
  expect(node.proposals).toHaveLength(1);
});

test('a follower hears it from the leader, refuses for a moment by itself, and then tries again', () => {
  const node = ManualNode.follower();
  const client = node.connect();
  client.send('SET a 1');
  const [forward] = node.forwards;
  node.outbox.length = 0;
  node.tell({ type: 'forward-failed', id: forward!.id, reason: LOG_FULL });
  expect(client.take()).toMatch(FULL);
  client.send('SET a 1');
  expect(client.take()).toMatch(FULL);
  client.send(PUBLISH);
  expect(node.forwards).toHaveLength(1);
  node.commitForward(node.forwards[0]!);
  expect(client.take()).toBe('+OK\r\n');
  node.clock.pass(TRIAL_MS);
  client.send('SET a 1');
  expect(node.forwards).toHaveLength(1);
  node.commitForward(node.forwards[0]!);
  expect(client.take()).toBe('+OK\r\n');
});

test('of another leader a follower knows nothing yet; its own full log is no reason to refuse', () => {
  const node = ManualNode.follower();
  const client = node.connect();
  client.send('SET a 1');
  node.tell({ type: 'forward-failed', id: node.forwards[0]!.id, reason: LOG_FULL });
  client.take();
  node.outbox.length = 0;
  node.tell({ type: 'log-room', isFull: true });
  node.state('follower', 3, 3);
  client.send('SET a 1');
  expect(node.forwards).toHaveLength(1);
});
