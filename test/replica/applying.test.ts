// Apply in several turns of the event loop: what happens between two records of one entry, and what waits.
import { afterEach, describe, expect, test } from 'vitest';
import { ManualNode, type ManualSocket } from '../server/manual-node.ts';

const OK = '+OK\r\n';
const bulk = (text: string): string => `$${text.length}\r\n${text}\r\n`;
const NIL = '$-1\r\n';

afterEach(() => {
  ManualNode.pace = undefined;
});

/** A leader on which one record is applied in a turn, with three writes of `writer` on their way in one entry. */
function threeWrites(...directives: string[]): { node: ManualNode; writer: ManualSocket } {
  ManualNode.pace = { stepBytes: 1, isOver: () => true };
  const node = ManualNode.leader(...directives);
  const writer = node.connect();
  writer.send('SET a 1', 'SET b 2', 'SET c 3');
  return { node, writer };
}

/** The first of its records is applied, and the turn is not over. */
function begun(node: ManualNode): void {
  node.clock.holdsTurns = true;
  expect(node.commitAll()).toEqual([3]);
  expect(node.machine.isOpen).toBe(true);
}

test('replies leave turn by turn, and the entry counts as applied with its last record', () => {
  const { node, writer } = threeWrites();
  const before = node.machine.appliedIndex;
  begun(node);
  for (let record = 1; record <= 3; record++) {
    expect(writer.take()).toBe(OK);
    expect(node.machine.appliedIndex).toBe(record < 3 ? before : before + 1);
    expect(node.machine.seenIndex).toBe(before + 1);
    node.clock.oneTurn();
  }
  expect(writer.take()).toBe('');
});

describe('between two records', () => {
  test('an eventual read sees those that are applied, and its index covers them', () => {
    const { node } = threeWrites();
    const reader = node.connect();
    reader.send('HOLDFAST READ eventual');
    reader.take();
    begun(node);
    const index = node.machine.appliedIndex + 1;
    reader.send('GET a', 'GET b', 'HOLDFAST INDEX');
    node.clock.oneTurn();
    expect(reader.take()).toBe(`${bulk('1')}${NIL}:${index}\r\n`);
  });

  test('a linearizable read waits for the whole entry', () => {
    const { node } = threeWrites();
    const reader = node.connect();
    begun(node);
    reader.send('GET a');
    node.clock.oneTurn();
    expect(reader.take()).toBe('');
    node.clock.oneTurn();
    expect(reader.take()).toBe(bulk('1'));
  });

  test('what comes is gathered into one entry, which leaves when this one is applied', () => {
    const { node } = threeWrites();
    const others = [node.connect(), node.connect()];
    // So many that no more are waited for.
    const commands = Array.from({ length: 6 }, () => 'SET d 4');
    begun(node);
    for (const other of others) other.send(...commands);
    node.clock.oneTurn();
    expect(node.proposals).toEqual([]);
    node.clock.oneTurn();
    node.clock.oneTurn();
    expect(node.proposals).toHaveLength(1);
    node.clock.holdsTurns = false;
    expect(node.commitAll()).toEqual([12]);
    for (const other of others) expect(other.take()).toBe(OK.repeat(6));
  });

  test('a snapshot that is asked for has to have what was answered', () => {
    const { node } = threeWrites('--object-store', '/var/lib/objects');
    const client = node.connect();
    const report = JSON.stringify({ state: 'following', fault: '', appliedIndex: 3, archivedIndex: 2, archiveLagMs: 0 });
    client.send(`HOLDFAST SNAPSHOTTER ${report}`);
    begun(node);
    client.send('BGSAVE', `HOLDFAST SNAPSHOTTER ${report}`);
    node.clock.oneTurn();
    expect(client.take()).toContain(`{"snapshotIndexMin":${node.machine.appliedIndex + 1}}`);
  });

  test('what consensus has said behind the entry waits for it, in order', () => {
    const { node, writer } = threeWrites();
    begun(node);
    node.state('follower', 2, 2);
    node.noop();
    const { appliedIndex } = node.machine;
    for (let turn = 0; turn < 2; turn++) {
      expect(node.engine.role).toBe('leader');
      node.clock.oneTurn();
    }
    expect(node.machine.appliedIndex).toBe(appliedIndex + 1);
    node.clock.oneTurn();
    node.clock.oneTurn();
    expect(node.engine.role).toBe('follower');
    expect(node.machine.appliedIndex).toBe(appliedIndex + 2);
    expect(writer.take()).toBe(OK.repeat(3));
  });
});

test('all that is applied in one turn shares its time, whatever brings it', () => {
  ManualNode.pace = { stepBytes: 1, isOver: (spentMs) => spentMs >= 3 };
  const node = ManualNode.leader();
  const proceed = node.machine.proceed.bind(node.machine);
  node.machine.proceed = (sink, bytes) => {
    node.clock.nowMs += 2;
    return proceed(sink, bytes);
  };
  const { appliedIndex } = node.machine;
  node.clock.holdsTurns = true;
  for (let entry = 0; entry < 5; entry++) node.noop();
  expect(node.machine.appliedIndex).toBe(appliedIndex + 2);
  node.clock.oneTurn();
  expect(node.machine.appliedIndex).toBe(appliedIndex + 4);
  node.clock.oneTurn();
  expect(node.machine.appliedIndex).toBe(appliedIndex + 5);
});
