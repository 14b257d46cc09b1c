// SAVE, BGSAVE, LASTSAVE, INFO persistence and HOLDFAST PUBLISH / SNAPSHOTS / SNAPSHOTTER on a real server, with the snapshotter
// played by the test.
import { expect, test } from 'vitest';
import { ENTRY_HEADER_BYTES } from '../../src/base/entry.ts';
import { RecordKind, RecordView } from '../../src/machine/record-codec.ts';
import { SAVE_FAULT_AFTER_MS, SNAPSHOTTER_SILENT_MS } from '../../src/server/snapshots.ts';
import { parseReply } from '../commands/recorded-reply.ts';
import { ManualNode, resp, type ManualSocket } from './manual-node.ts';

const SHA = 'ab'.repeat(32);
const DIGEST = '0123456789abcdef';
const STORE = ['--object-store', '/var/lib/objects'];

const publish = (index: number, term = 1): string => `HOLDFAST PUBLISH ${index} ${term} snapshots/${index} ${SHA} ${DIGEST}`;
const report = (fields: object): string =>
  JSON.stringify({ state: 'following', fault: '', appliedIndex: 3, archivedIndex: 2, archiveLagMs: 4500, ...fields });

function ask(client: ManualSocket, command: string): string {
  client.send(command);
  return client.take();
}

function info(client: ManualSocket): Record<string, string> {
  const text = ask(client, 'INFO persistence');
  return Object.fromEntries(text.split('\r\n').map((line) => line.split(/:(.*)/).slice(0, 2) as [string, string]));
}

function orders(client: ManualSocket, fields: object = {}): unknown {
  client.sendBytes(resp(['HOLDFAST', 'SNAPSHOTTER', report(fields)]));
  return JSON.parse(parseReply(client.take()) as string);
}

function published(node: ManualNode, client: ManualSocket, index: number): string {
  client.send(publish(index));
  node.commitAll();
  return client.take();
}

test('without an object store, SAVE and BGSAVE say what to do', () => {
  const node = ManualNode.leader();
  const client = node.connect();
  for (const command of ['SAVE', 'BGSAVE', 'BGSAVE SCHEDULE']) expect(ask(client, command)).toMatch(/^-ERR no object store is configured.*set object-store/);
  expect(info(client)).toMatchObject({ snapshotter_state: 'off', snapshot_index: '0', archive_lag_seconds: '-1', rdb_last_bgsave_status: 'ok', rdb_bgsave_in_progress: '0' });
});

test('BGSAVE asks the snapshotter for what is applied, once, with Redis’s replies', () => {
  const node = ManualNode.leader(...STORE);
  const client = node.connect();
  expect(ask(client, 'BGSAVE NOW')).toBe('-ERR syntax error\r\n');
  expect(ask(client, 'BGSAVE SCHEDULE TWICE')).toBe('-ERR syntax error\r\n');
  const snapshotter = node.connect();
  expect(orders(snapshotter)).toEqual({ snapshotIndexMin: 0 });
  client.send('SET a 1');
  node.commitAll();
  client.take();
  const index = node.machine.appliedIndex;
  expect(ask(client, 'BGSAVE')).toBe('+Background saving started\r\n');
  expect(orders(snapshotter)).toEqual({ snapshotIndexMin: index });
  expect(ask(client, 'BGSAVE')).toBe('-ERR Background save already in progress\r\n');
  expect(ask(client, 'SAVE')).toBe('-ERR Background save already in progress\r\n');
  node.clock.pass(2500);
  expect(info(client)).toMatchObject({ rdb_bgsave_in_progress: '1', rdb_current_bgsave_time_sec: '2', rdb_last_bgsave_time_sec: '-1' });
  // One that lacks the request's entry does not answer it.
  expect(published(node, client, index - 1)).toBe('+OK\r\n');
  expect(info(client)['rdb_bgsave_in_progress']).toBe('1');
  expect(published(node, client, index)).toBe('+OK\r\n');
  expect(info(client)).toMatchObject({ rdb_bgsave_in_progress: '0', rdb_current_bgsave_time_sec: '-1', snapshot_index: String(index) });
  expect(Number(info(client)['rdb_last_bgsave_time_sec'])).toBeGreaterThanOrEqual(2);
  expect(orders(snapshotter)).toEqual({ snapshotIndexMin: 0 });
  expect(ask(client, 'BGSAVE')).toBe('+Background saving started\r\n');
});

test('a snapshot that the snapshotter makes by itself counts as one under way', () => {
  const node = ManualNode.leader(...STORE);
  const client = node.connect();
  orders(client, { state: 'writing' });
  expect(info(client)).toMatchObject({ rdb_bgsave_in_progress: '1', snapshotter_state: 'writing' });
  expect(ask(client, 'BGSAVE')).toBe('-ERR Background save already in progress\r\n');
  orders(client);
  expect(info(client)['rdb_bgsave_in_progress']).toBe('0');
});

test('what the snapshotter said before its snapshot was published does not keep the next SAVE from being taken', () => {
  const node = ManualNode.leader(...STORE);
  const client = node.connect();
  orders(client, { state: 'verifying' });
  expect(ask(client, 'BGSAVE')).toBe('-ERR Background save already in progress\r\n');
  node.clock.pass(100);
  published(node, client, node.machine.appliedIndex);
  expect(ask(client, 'BGSAVE')).toBe('+Background saving started\r\n');
  // It says of the next one what it says.
  published(node, client, node.machine.appliedIndex);
  node.clock.pass(100);
  orders(client, { state: 'writing' });
  expect(info(client)['rdb_bgsave_in_progress']).toBe('1');
});

test('SAVE answers once its snapshot is published, and only its own connection waits', () => {
  const node = ManualNode.leader(...STORE);
  const client = node.connect();
  const other = node.connect();
  client.send('SET a 1');
  node.commitAll();
  client.take();
  const index = node.machine.appliedIndex;
  client.send('SAVE', 'GET a');
  expect(client.take()).toBe('');
  expect(ask(other, 'GET a')).toBe('$1\r\n1\r\n');
  expect(published(node, other, index)).toBe('+OK\r\n');
  node.clock.pass(1000);
  expect(client.take()).toBe('+OK\r\n$1\r\n1\r\n');
  expect(ask(client, 'MULTI')).toBe('+OK\r\n');
  expect(ask(client, 'SAVE')).toBe('-ERR Command not allowed inside a transaction\r\n');
});

test('SAVE tells of trouble that lasts, and of a snapshotter that is gone', () => {
  const node = ManualNode.leader(...STORE);
  const client = node.connect();
  const snapshotter = node.connect();
  orders(snapshotter, { fault: 'an old one' });
  client.send('SAVE');
  node.clock.pass(SAVE_FAULT_AFTER_MS - 500);
  expect(client.take()).toBe('');
  orders(snapshotter, { fault: 'the bucket\r\nis full' });
  node.clock.pass(1000);
  expect(client.take()).toBe('-ERR the snapshot is not made yet: the bucket??is full\r\n');
  expect(info(client)['rdb_last_bgsave_status']).toBe('err');
  orders(snapshotter);
  expect(info(client)['rdb_last_bgsave_status']).toBe('ok');
  node.clock.pass(SNAPSHOTTER_SILENT_MS + 1000);
  expect(ask(client, 'BGSAVE')).toMatch(/^-ERR no snapshotter reports to this node/);
  const { snapshotter_state, archive_lag_seconds } = info(client);
  expect(snapshotter_state).toBe('silent');
  expect(Number(archive_lag_seconds)).toBeGreaterThanOrEqual(30);
});

test('the lag of the archive grows also where the snapshotter gets no log and knows of none', () => {
  const node = ManualNode.leader(...STORE);
  const client = node.connect();
  const lag = (): number => Number(info(client)['archive_lag_seconds']);
  const archived = node.machine.appliedIndex;
  orders(client, { archivedIndex: archived, archiveLagMs: 0 });
  expect(lag()).toBe(0);
  client.send('SET a 1');
  node.commitAll();
  client.take();
  for (let second = 0; second < 20; second++) {
    node.clock.pass(1000);
    orders(client, { archivedIndex: archived, archiveLagMs: 0 });
  }
  expect(lag()).toBeGreaterThanOrEqual(18);
  expect(lag()).toBeLessThanOrEqual(21);
  orders(client, { archivedIndex: node.machine.appliedIndex, archiveLagMs: 0 });
  expect(lag()).toBe(0);
});

test('of several snapshotters the best is told of, and one that is in trouble or gone does no harm', () => {
  const node = ManualNode.leader(...STORE);
  const client = node.connect();
  orders(client, { name: 'a', archivedIndex: 5, fault: 'no room' });
  expect(info(client)).toMatchObject({ rdb_last_bgsave_status: 'err', snapshotter_state: 'following' });
  orders(client, { name: 'b', archivedIndex: 3, state: 'starting' });
  expect(info(client)).toMatchObject({ rdb_last_bgsave_status: 'ok', snapshotter_state: 'starting' });
  orders(client, { name: 'c', archivedIndex: 4, state: 'writing' });
  orders(client, { name: 'b', archivedIndex: 6, state: 'following' });
  // Whichever makes one: it is under way.
  expect(info(client)).toMatchObject({ snapshotter_state: 'following', rdb_bgsave_in_progress: '1' });
  node.clock.pass(SNAPSHOTTER_SILENT_MS + 1000);
  orders(client, { name: 'a', archivedIndex: 5, fault: 'no room' });
  expect(info(client)).toMatchObject({ rdb_last_bgsave_status: 'err', rdb_bgsave_in_progress: '0' });
  for (let i = 0; i < 1000; i++) orders(client, { name: `many ${i}`, archivedIndex: i });
  expect(info(client)).toMatchObject({ rdb_last_bgsave_status: 'ok' });
});

test('LASTSAVE is the start of the node, then the time of the published snapshot', () => {
  const node = ManualNode.leader(...STORE);
  const client = node.connect();
  const started = Number(/:(\d+)/.exec(ask(client, 'LASTSAVE'))?.[1]);
  expect(started).toBe(1_700_000_001);
  node.clock.pass(60_000);
  published(node, client, 1);
  expect(ask(client, 'LASTSAVE')).toBe(`:${started + 60}\r\n`);
  expect(info(client)).toMatchObject({ rdb_last_save_time: String(started + 60), snapshot_time: String(started + 60) });
});

test('changes since the last save count from that snapshot on', () => {
  const node = ManualNode.leader(...STORE);
  const client = node.connect();
  const set = (key: string): void => {
    client.send(`SET ${key} 1`);
    node.commitAll();
    client.take();
  };
  set('a');
  set('b');
  expect(info(client)['rdb_changes_since_last_save']).toBe('2');
  const index = node.machine.appliedIndex;
  node.clock.pass(3000);
  set('c');
  published(node, client, index);
  expect(info(client)['rdb_changes_since_last_save']).toBe('1');
});

test('PUBLISH refuses what is older, from the future, or malformed', () => {
  const node = ManualNode.leader(...STORE);
  const client = node.connect();
  for (const key of ['a', 'b', 'c', 'd']) {
    client.send(`SET ${key} 1`);
    node.commitAll();
  }
  client.take();
  expect(published(node, client, 4)).toBe('+OK\r\n');
  for (const index of [4, 3]) expect(published(node, client, index)).toBe('-ERR a newer snapshot is published, of index 4\r\n');
  const applied = node.machine.appliedIndex;
  expect(published(node, client, applied + 1)).toMatch(new RegExp(`^-ERR the snapshot is of index ${applied + 1}, and the log is applied up to ${applied}`));
  for (const wrong of [
    `HOLDFAST PUBLISH 0 1 k ${SHA} ${DIGEST}`,
    `HOLDFAST PUBLISH x 1 k ${SHA} ${DIGEST}`,
    `HOLDFAST PUBLISH 5 1 k ${SHA.toUpperCase()} ${DIGEST}`,
    `HOLDFAST PUBLISH 5 1 k ${SHA} 12`,
    `HOLDFAST PUBLISH 5 1 ${'k'.repeat(1025)} ${SHA} ${DIGEST}`,
    `HOLDFAST PUBLISH 5 1 k ${SHA}`,
  ]) {
    expect(ask(client, wrong)).toMatch(/^-ERR /);
  }
  expect(node.proposals).toEqual([]);
  expect(node.machine.publishing.index).toBe(4);
});

test('PUBLISH at a follower is forwarded, as any write', () => {
  const node = ManualNode.follower(...STORE);
  const client = node.connect();
  client.send(publish(1));
  node.commitForward(node.forwards[0]!);
  expect(client.take()).toBe('+OK\r\n');
});

/** The kinds of records in what is proposed, an entry each. */
function proposedKinds(node: ManualNode): RecordKind[][] {
  return node.proposals.map(({ entry }) => {
    const view = new RecordView();
    const kinds: RecordKind[] = [];
    for (let at = ENTRY_HEADER_BYTES; at < entry.length; at = view.end) {
      view.read(entry, at, entry.length);
      kinds.push(view.kind);
    }
    return kinds;
  });
}

test('a checkpoint that a snapshotter waits for is logged at once by the leader, once, and ends its entry', () => {
  const node = ManualNode.leader(...STORE);
  const client = node.connect();
  const behind = node.machine.appliedIndex;
  const { lastCheckpointIndex } = node.machine;
  // The log is not there yet: the digest of a checkpoint in between would be missing.
  orders(client, { checkpointBehind: behind + 1 });
  node.clock.pass(500);
  expect(proposedKinds(node)).toEqual([]);
  orders(client, { checkpointBehind: behind });
  // One proposal is under way, and more waits for it.
  client.send('SET a 1');
  node.clock.pass(1);
  client.send('SET b 2');
  node.clock.pass(200);
  expect(proposedKinds(node)).toEqual([[RecordKind.command], [RecordKind.command, RecordKind.checkpoint]]);
  client.send('SET c 3');
  node.commitAll();
  client.take();
  expect(node.machine.lastCheckpointIndex).toBeGreaterThan(Math.max(behind, lastCheckpointIndex));
  const first = node.machine.lastCheckpointIndex;
  // It is there; asked for again, none comes.
  orders(client, { checkpointBehind: behind });
  node.clock.pass(500);
  expect(proposedKinds(node)).toEqual([]);
  // Behind that one: the record has its digest.
  orders(client, { checkpointBehind: first });
  node.clock.pass(200);
  expect(proposedKinds(node)).toEqual([[RecordKind.checkpoint]]);
  node.commitAll();
  expect(node.machine.confirmedIndex).toBe(first);
});

test('a checkpoint is logged also where the log is full; not by a follower, nor for a snapshotter that is silent', () => {
  const node = ManualNode.leader(...STORE);
  const client = node.connect();
  node.tell({ type: 'log-room', isFull: true });
  orders(client, { checkpointBehind: node.machine.appliedIndex });
  node.clock.pass(200);
  expect(proposedKinds(node)).toEqual([[RecordKind.checkpoint]]);
  node.commitAll();
  node.tell({ type: 'log-room', isFull: false });
  const follower = ManualNode.follower(...STORE);
  orders(follower.connect(), { checkpointBehind: follower.machine.appliedIndex });
  follower.clock.pass(500);
  expect([...follower.proposals, ...follower.forwards]).toEqual([]);
  follower.clock.pass(SNAPSHOTTER_SILENT_MS);
  follower.state('leader', 1, 3);
  follower.clock.pass(500);
  expect(proposedKinds(follower)).toEqual([]);
});

test('a full log gets a checkpoint a minute, also if what the snapshotter waits for was not heard', () => {
  const node = ManualNode.leader(...STORE);
  node.tell({ type: 'log-room', isFull: true });
  const confirmed = new Set<number>();
  let checkpoints = 0;
  for (let second = 0; second < 240; second++) {
    node.clock.pass(1000);
    checkpoints += proposedKinds(node).length;
    node.commitAll();
    confirmed.add(node.machine.confirmedIndex);
  }
  expect(checkpoints).toBeGreaterThanOrEqual(3);
  expect(checkpoints).toBeLessThanOrEqual(5);
  expect(confirmed.size).toBeGreaterThanOrEqual(3);
});

test('whoever asks for checkpoints without end gets ten a second at most, however often the server looks', () => {
  const node = ManualNode.leader(...STORE, '--hz', '500');
  const client = node.connect();
  let checkpoints = 0;
  for (let ms = 0; ms < 1000; ms += 10) {
    const { appliedIndex, lastCheckpointIndex } = node.machine;
    orders(client, { checkpointBehind: appliedIndex });
    node.clock.pass(10);
    node.commitAll();
    if (node.machine.lastCheckpointIndex > lastCheckpointIndex) checkpoints++;
  }
  expect(checkpoints).toBeGreaterThan(5);
  expect(checkpoints).toBeLessThanOrEqual(11);
});

test('SNAPSHOTS shows what is published and how far the snapshotter is', () => {
  const node = ManualNode.leader(...STORE);
  const client = node.connect();
  expect(parseReply(ask(client, 'HOLDFAST SNAPSHOTS'))).toEqual(['published', null, 'snapshotter', ['state', 'none']]);
  orders(client, { bytesDone: 5, bytesTotal: 9 });
  published(node, client, 2);
  const shown = parseReply(ask(client, 'HOLDFAST SNAPSHOTS')) as unknown[];
  expect(shown[1]).toEqual(['index', 2, 'term', 1, 'time-ms', node.machine.publishing.newest!.timeMs, 'manifest', 'snapshots/2', 'sha256', SHA, 'digest', DIGEST]);
  expect(shown[3]).toEqual([
    'state', 'following', 'silent-ms', 0, 'applied-index', 3, 'archived-index', 2, 'archive-lag-ms', 4500, 'verified-index', 0,
    'bytes-done', 5, 'bytes-total', 9, 'fault', '',
  ]);
  expect(info(client)['archive_lag_seconds']).toBe('4');
});

test.each(['', '{', 'null', '7', '[]', '{"state":1,"fault":""}', '{"state":"x"}', `{"state":"x","fault":"${'y'.repeat(20_000)}"}`, '['.repeat(100_000)])('a report that is none is refused: %.40s', (json) => {
  const node = ManualNode.leader(...STORE);
  const client = node.connect();
  expect(ask(client, `HOLDFAST SNAPSHOTTER ${json}`)).toMatch(/^-ERR the report is no JSON object/);
  expect(info(client)['snapshotter_state']).toBe('none');
});

test('a report cannot break the lines of INFO', () => {
  const node = ManualNode.leader(...STORE);
  const client = node.connect();
  client.send(`HOLDFAST SNAPSHOTTER ${JSON.stringify({ state: 'x\r\nrole:master', fault: '', archiveLagMs: -1, bytesDone: 1e300 })}`);
  client.take();
  expect(info(client)).toMatchObject({ snapshotter_state: 'x??role:master', archive_lag_seconds: '0' });
});
