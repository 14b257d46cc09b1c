// The order of replies on one connection, whatever is mixed on it: writes in flight, reads that must wait or be run again,
// lost forwards, transactions that change the session.
import { describe, expect, test } from 'vitest';
import { Errors } from '../../src/commands/errors.ts';
import { ManualNode, resp } from './manual-node.ts';

const OK = '+OK\r\n';
const bulk = (text: string): string => `$${text.length}\r\n${text}\r\n`;

describe('a read between two writes in flight', () => {
  test('that meets a key past its deadline keeps its place', () => {
    const node = ManualNode.leader();
    const client = node.connect();
    client.send('SET short v PX 100');
    node.commitAll();
    expect(client.take()).toBe(OK);
    client.send('SET a 1');
    node.clock.pass(200);
    client.send('GET short', 'SET short new', 'GET short');
    node.commitAll();
    node.commitAll();
    // The first GET stands before the second SET: it must not see it, and must not be answered after it.
    const replies = client.take();
    expect([`${OK}${bulk('v')}${OK}${bulk('new')}`, `${OK}$-1\r\n${OK}${bulk('new')}`]).toContain(replies);
  });

  test('at a causal index that is far ahead holds the write behind it', () => {
    const node = ManualNode.leader();
    const client = node.connect();
    client.send('HOLDFAST READ causal 1000000');
    expect(client.take()).toBe(OK);
    client.send('GET a', 'SET a 1');
    node.commitAll();
    expect(client.take()).toBe('');
    node.clock.pass(3000);
    node.commitAll();
    expect(client.take()).toBe(`-${Errors.clusterDown}\r\n${OK}`);
  });

  test('is answered before the write behind it when the forward of the first write is lost', () => {
    const node = ManualNode.follower();
    const client = node.connect();
    client.send('SET a 1');
    const [lost] = node.forwards;
    node.outbox.splice(node.outbox.indexOf(lost!), 1);
    client.send('GET a');
    node.answerRead();
    client.send('SET a 2');
    node.commitForward(node.forwards[0]!);
    expect(client.take()).toBe(`-${Errors.uncertain}\r\n$-1\r\n${OK}`);
  });
});

/** A leader with the key `short`, whose time is over and whose deletion is not logged. */
function pastDeadline(): { node: ManualNode; client: ReturnType<ManualNode['connect']> } {
  const node = ManualNode.leader();
  const client = node.connect();
  client.send('SET short v PX 100');
  node.commitAll();
  node.clock.pass(200);
  client.take();
  return { node, client };
}

test('a key past its deadline is deleted through the log before a read calls it missing, once', () => {
  const { node, client } = pastDeadline();
  client.send('GET short');
  expect(client.take()).toBe('');
  expect(node.commitAll()).toEqual([1]);
  expect(client.take()).toBe('$-1\r\n');
});

test.each(['KEYS *', 'SCAN 0'])('%s leaves out no key whose deletion is not logged', (command) => {
  const { node, client } = pastDeadline();
  client.send(command);
  expect(client.take()).toBe('');
  expect(node.commitAll()).toEqual([1]);
  expect(client.take()).toMatch(/\*0\r\n$/);
});

test('a read-only EXEC that meets a key past its deadline is answered without any other traffic', () => {
  const { node, client } = pastDeadline();
  client.send('MULTI', 'GET short', 'EXEC');
  node.commitAll();
  expect(client.take()).toBe(`${OK}+QUEUED\r\n*1\r\n$-1\r\n`);
});

describe('a transaction that changes the session', () => {
  test('a write behind EXEC goes to the database that the transaction selected', () => {
    const node = ManualNode.leader();
    const client = node.connect();
    client.send('MULTI', 'SELECT 1', 'SET a in', 'EXEC', 'SET b behind', 'GET b');
    node.commitAll();
    node.commitAll();
    client.take();
    client.send('SELECT 0', 'EXISTS b', 'SELECT 1', 'EXISTS b');
    expect(client.take()).toBe(`${OK}:0\r\n${OK}:1\r\n`);
  });

  test('likewise behind an EXEC of reads that has to wait', () => {
    const node = ManualNode.follower();
    const client = node.connect();
    client.send('MULTI', 'SELECT 1', 'GET a', 'EXEC', 'SET b behind');
    expect(node.forwards).toEqual([]);
    node.answerRead();
    node.commitForward(node.forwards[0]!);
    expect(client.take()).toBe(`${OK}+QUEUED\r\n+QUEUED\r\n*2\r\n${OK}$-1\r\n${OK}`);
    expect(node.machine.keyspace.database(1).size).toBe(1);
  });
});

describe('CLIENT REPLY', () => {
  test('OFF: nothing of WATCH, MULTI, EXEC comes through', () => {
    const node = ManualNode.leader();
    const client = node.connect();
    client.send('CLIENT REPLY OFF', 'WATCH a', 'MULTI', 'GET a', 'EXEC', 'MULTI', 'SET a 1', 'EXEC');
    node.commitAll();
    client.send('MULTI', 'NOSUCH', 'EXEC', 'CONFIG SET hash-max-listpack-entries 7');
    node.clock.pass(100);
    node.commitAll();
    expect(client.take()).toBe('');
    client.send('CLIENT REPLY ON', 'GET a');
    expect(client.take()).toBe(`${OK}${bulk('1')}`);
  });

  test('SKIP: the WATCH behind it is silent, the next command is not', () => {
    const node = ManualNode.leader();
    const client = node.connect();
    client.send('CLIENT REPLY SKIP', 'WATCH a', 'GET a');
    expect(client.take()).toBe('$-1\r\n');
  });
});

test('HOLDFAST INDEX is at least the state that a read of this connection has seen', () => {
  const node = ManualNode.leader();
  const [writer, reader] = [node.connect(), node.connect()];
  writer.send('SET a 1');
  node.commitAll();
  reader.send('GET a', 'HOLDFAST INDEX');
  expect(reader.take()).toBe(`${bulk('1')}:${node.machine.appliedIndex}\r\n`);
});

test('a protocol error is answered once, in its turn', () => {
  const node = ManualNode.leader();
  const client = node.connect();
  client.send('SET a 1');
  client.sendBytes(Buffer.from('*1\r\n:5\r\n'));
  client.sendBytes(Buffer.from('more'));
  node.commitAll();
  expect(client.take()).toBe(`${OK}-ERR Protocol error: expected '$', got ':'\r\n`);
  expect(client.closing).toBe(true);
});

describe('a client that does not read', () => {
  test('has no more answered than its output may hold, and all of it once it reads', () => {
    const node = ManualNode.leader();
    const client = node.connect();
    const value = 'x'.repeat(1024 * 1024);
    client.sendBytes(resp(['SET', 'big', value]));
    node.commitAll();
    client.take();
    client.reads = false;
    client.sendBytes(...Array.from({ length: 100 }, () => resp(['GET', 'big'])));
    expect(client.bufferedBytes).toBeLessThan(20 * value.length);
    expect(client.paused).toBe(true);
    let bytes = 0;
    for (let turns = 0; turns < 20; turns++) bytes += client.drain();
    expect(bytes).toBe(100 * (value.length + '$1048576\r\n\r\n'.length));
    expect(client.paused).toBe(false);
  });

  test('does not make the node keep reads without end behind a write that hangs', () => {
    const node = ManualNode.leader();
    const client = node.connect();
    client.send('SET a 1');
    client.sendBytes(...Array.from({ length: 5000 }, () => resp(['GET', 'a'])));
    node.commitAll();
    expect(client.take()).toBe(OK + bulk('1').repeat(5000));
  });
});

describe('the look at the lease', () => {
  test('covers the bytes that had come by then, and no others', () => {
    const node = ManualNode.leader();
    const client = node.connect();
    client.send('SET a 1');
    node.commitAll();
    client.take();
    node.cell.loads = 0;
    client.send('GET a', 'GET a', 'GET a');
    expect(client.take()).toBe(bulk('1').repeat(3));
    expect(node.cell.loads).toBe(1);
    node.cell.leaseUntilMs = 0;
    client.send('GET a');
    expect(client.take()).toBe('');
    node.answerRead();
    expect(client.take()).toBe(bulk('1'));
  });

  test('is taken again behind a command that may change what reads see', () => {
    const node = ManualNode.leader();
    const client = node.connect();
    node.cell.loads = 0;
    client.send('GET a', 'HOLDFAST READ eventual', 'GET a', 'HOLDFAST READ linearizable', 'GET a');
    expect(client.take()).toBe('$-1\r\n+OK\r\n$-1\r\n+OK\r\n$-1\r\n');
    expect(node.cell.loads).toBe(2);
  });
});
