// The engine takes over a machine that was made of a snapshot: what clients of this node see before, at and after that.
import { afterEach, describe, expect, test } from 'vitest';
import { digestText, type Machine } from '../../src/machine/machine.ts';
import { SnapshotRestore, SnapshotWriter } from '../../src/snapshot/machine-snapshot.ts';
import { ManualNode } from '../server/manual-node.ts';

const report = { handlerThrew: () => { throw new Error('threw'); }, diverged: () => { throw new Error('diverged'); } };
const reference = new Uint8Array(3);

afterEach(() => {
  ManualNode.startsBehind = 0;
  ManualNode.pace = undefined;
});

/** The machine of a cluster whose log has got further: `count` writes. */
function ahead(count: number): Machine {
  const node = ManualNode.leader();
  const client = node.connect();
  for (let i = 0; i < count; i++) {
    client.send(`SET key:${i} value:${i}`);
    node.commitAll();
  }
  return copyOf(node.machine);
}

function copyOf(machine: Machine): Machine {
  const writer = new SnapshotWriter(machine, 0);
  const chunks: Uint8Array[] = [];
  for (let chunk = writer.next(); chunk !== undefined; chunk = writer.next()) chunks.push(chunk);
  const restore = new SnapshotRestore(machine.table, report, () => 0, writer.sidecar());
  for (const chunk of chunks) restore.feed(chunk);
  return restore.end();
}

describe('a follower that is too far behind', () => {
  function behind(): { node: ManualNode; machine: Machine } {
    const node = ManualNode.follower();
    const machine = ahead(20);
    node.tell({ type: 'restore', snapshot: { index: machine.appliedIndex, term: 1, reference } });
    expect(node.restores.map(({ index }) => index)).toEqual([machine.appliedIndex]);
    return { node, machine };
  }

  test('serves what it has until the machine takes over, and then that', () => {
    const { node, machine } = behind();
    const digest = digestText(machine.digest());
    const client = node.connect();
    client.send('HOLDFAST READ eventual');
    client.take();
    node.restores[0]!.done(machine);
    client.send('GET key:7');
    expect(client.take()).toBe('$-1\r\n');
    node.install(machine.appliedIndex);
    client.send('GET key:7');
    expect(client.take()).toBe('$7\r\nvalue:7\r\n');
    expect(digestText(node.machine.digest())).toBe(digest);
    node.noop();
    expect(node.machine.appliedIndex).toBe(machine.appliedIndex + 1);
  });

  test('applies the entry that it has begun before the machine takes over', () => {
    ManualNode.pace = { stepBytes: 1, isOver: () => true };
    const { node, machine } = behind();
    const client = node.connect();
    client.send('SET a 1', 'SET b 2');
    node.restores[0]!.done(machine);
    node.clock.holdsTurns = true;
    node.commitForward(node.forwards[0]!);
    node.install(machine.appliedIndex);
    expect(node.machine.isOpen).toBe(true);
    node.clock.holdsTurns = false;
    node.clock.endTurn();
    expect(client.take()).toBe('+OK\r\n+OK\r\n');
    expect(digestText(node.machine.digest())).toBe(digestText(copyOf(machine).digest()));
  });

  test('tells clients whose writes may be in what was passed over that they are uncertain', () => {
    const { node, machine } = behind();
    const client = node.connect();
    client.send('SET mine 1');
    expect(node.forwards).toHaveLength(1);
    node.restores[0]!.done(machine);
    node.install(machine.appliedIndex);
    expect(client.take()).toMatch(/^-UNCERTAIN /);
    // It turns out to stand behind the snapshot: applied, and not answered twice.
    node.commitForward(node.forwards[0]!);
    expect(client.take()).toBe('');
    client.send('HOLDFAST READ eventual', 'GET mine');
    expect(client.take()).toBe('+OK\r\n$1\r\n1\r\n');
  });

  test('proposes what waited, as leader again, for a proposal whose place the snapshot covers', () => {
    const node = ManualNode.leader();
    const machine = ahead(20);
    const [before, after] = [node.connect(), node.connect()];
    before.send('SET a 1');
    const [lost] = node.proposals;
    node.outbox.length = 0;
    node.tell({ type: 'appended', id: lost!.id, term: lost!.term, index: node.machine.appliedIndex + 1 });
    node.state('follower', 2, 2);
    node.tell({ type: 'restore', snapshot: { index: machine.appliedIndex, term: 2, reference } });
    node.restores[0]!.done(machine);
    node.state('leader', 1, 3);
    after.send('SET b 1');
    expect(node.proposals).toEqual([]);
    node.install(machine.appliedIndex);
    expect(before.take()).toMatch(/^-UNCERTAIN /);
    expect(node.proposals).toHaveLength(1);
    node.commitAll();
    expect(after.take()).toBe('+OK\r\n');
  });

  test('answers a linearizable read that waits for an index in the snapshot', () => {
    const { node, machine } = behind();
    const client = node.connect();
    client.send('GET key:3');
    const asked = node.outbox.find((message) => message.type === 'read-index');
    if (asked?.type !== 'read-index') throw new Error('no read index');
    node.tell({ type: 'read-state', id: asked.id, index: machine.appliedIndex, timeMs: machine.timeMs });
    expect(client.take()).toBe('');
    node.restores[0]!.done(machine);
    node.install(machine.appliedIndex);
    expect(client.take()).toBe('$7\r\nvalue:3\r\n');
  });

  test('reports what cannot be restored, and one at a time', () => {
    const { node, machine } = behind();
    node.tell({ type: 'restore', snapshot: { index: machine.appliedIndex + 5, term: 1, reference } });
    expect(node.outbox.filter((message) => message.type === 'restore-failed')).toEqual([{ type: 'restore-failed', index: machine.appliedIndex + 5 }]);
    node.restores[0]!.done('the store is gone');
    expect(node.outbox.filter((message) => message.type === 'restore-failed')).toHaveLength(2);
    node.tell({ type: 'restore', snapshot: { index: machine.appliedIndex, term: 1, reference } });
    expect(node.restores).toHaveLength(2);
  });

  test('drops a machine that the log has overtaken', () => {
    const { node, machine } = behind();
    node.restores[0]!.done(machine);
    const before = node.machine.appliedIndex;
    node.tell({ type: 'installed', index: machine.appliedIndex, accepted: false });
    expect(node.machine.appliedIndex).toBe(before);
    node.noop();
    expect(node.machine.appliedIndex).toBe(before + 1);
  });
});

test('a node whose log begins behind a snapshot is loading until it has that', () => {
  const machine = ahead(10);
  ManualNode.startsBehind = machine.appliedIndex;
  const node = new ManualNode();
  node.state('follower', 2, 2);
  expect(node.restores.map(({ index }) => index)).toEqual([machine.appliedIndex]);
  const client = node.connect();
  client.send('HOLDFAST READ eventual', 'GET key:1');
  expect(client.take()).toMatch(/LOADING/);
  node.restores[0]!.done(machine);
  node.install(machine.appliedIndex);
  client.send('HOLDFAST READ eventual', 'GET key:1');
  expect(client.take()).toMatch(/\$7\r\nvalue:1\r\n$/);
});

describe('consensus, which cuts the log behind it, is told of a published snapshot', () => {
  const sha = 'ab'.repeat(32);
  const publishing = () => {
    const node = ManualNode.leader();
    const client = node.connect();
    const publish = (index: number): void => {
      client.send(`HOLDFAST PUBLISH ${index} 1 key ${sha} 0123456789abcdef`);
      node.commitAll();
    };
    const told = (): number[] => node.outbox.flatMap((message) => (message.type === 'published' ? [message.snapshot.index] : []));
    return { node, client, publish, told };
  };

  test('once, and not before this node has found it where the record says', () => {
    const { node, client, publish, told } = publishing();
    publish(1);
    expect(client.take()).toBe('+OK\r\n');
    expect(node.confirms.map(({ wanted }) => wanted().index)).toEqual([1]);
    expect(told()).toEqual([]);
    node.confirms[0]!.find();
    expect(told()).toEqual([1]);
    client.send('SET a 1');
    node.commitAll();
    expect([told(), node.confirms.length]).toEqual([[1], 1]);
  });

  test('and then of the newest; one that cannot be found holds up none that is published later', () => {
    const { node, publish, told } = publishing();
    publish(1);
    const first = node.confirms[0]!.wanted();
    publish(2);
    expect(node.confirms).toHaveLength(1);
    expect(node.confirms[0]!.wanted().index).toBe(2);
    node.confirms[0]!.find(first);
    expect(told()).toEqual([1]);
    node.confirms[1]!.find();
    expect(told()).toEqual([1, 2]);
    publish(4);
    node.confirms[2]!.find();
    expect([told(), node.confirms.length]).toEqual([[1, 2, 4], 3]);
  });

  test('also where the record is in the snapshot that the node starts from', () => {
    const { node: other, client, publish } = publishing();
    publish(1);
    for (let i = 0; i < 3; i++) {
      client.send(`SET key:${i} 1`);
      other.commitAll();
    }
    const node = ManualNode.follower();
    node.tell({ type: 'restore', snapshot: { index: other.machine.appliedIndex, term: 1, reference } });
    node.restores[0]!.done(copyOf(other.machine));
    node.install(other.machine.appliedIndex);
    expect(node.confirms.map(({ wanted }) => wanted().index)).toEqual([1]);
  });
});
