// The limit of the log on disk, in consensus: what is said, and when the engine is told to refuse writes.
import { expect, test } from 'vitest';
import { MiB } from '../../src/base/limits.ts';
import { Follower } from './one-consensus.ts';

const LIMIT = 100 * MiB;

function alone(bytesMax: number) {
  const node = new Follower(['n1'], () => undefined, { logDiskBytesMax: bytesMax });
  node.clock.pass(100);
  return node;
}

const size = (node: Follower, bytes: number): void => {
  node.store.size = bytes;
  node.clock.pass(100);
};
const rooms = (node: Follower): boolean[] => node.told.flatMap(({ message }) => (message.type === 'log-room' ? [message.isFull] : []));
const said = (node: Follower): string[] => node.lines.splice(0).flatMap((line) => /^the log [^{]*log-disk-bytes-max[^{]*(?= )/.exec(line) ?? []);

test('warned of at 80 %, reached, and left again by itself', () => {
  const node = alone(LIMIT);
  size(node, 79 * MiB);
  expect([rooms(node), said(node)]).toEqual([[], []]);
  size(node, 80 * MiB);
  size(node, 90 * MiB);
  expect([rooms(node), said(node)]).toEqual([[], ['the log nears log-disk-bytes-max, at which writes are refused']]);
  size(node, 100 * MiB);
  size(node, 120 * MiB);
  expect([rooms(node), said(node)]).toEqual([[true], ['the log has reached log-disk-bytes-max: writes are refused until it can be cut']]);
  size(node, 84 * MiB);
  expect([rooms(node), said(node)]).toEqual([[true, false], ['the log is below log-disk-bytes-max again: writes are taken']]);
  size(node, 50 * MiB);
  size(node, 90 * MiB);
  expect(said(node)).toEqual(['the log nears log-disk-bytes-max, at which writes are refused']);
});

test('it can be raised, lowered and taken away while the node runs', () => {
  const node = alone(0);
  size(node, 500 * MiB);
  expect(rooms(node)).toEqual([]);
  node.fromEngine({ type: 'limit-log', bytes: LIMIT });
  expect(rooms(node)).toEqual([true]);
  node.fromEngine({ type: 'limit-log', bytes: 1000 * MiB });
  expect(rooms(node)).toEqual([true, false]);
  node.fromEngine({ type: 'limit-log', bytes: 500 * MiB });
  node.fromEngine({ type: 'limit-log', bytes: 0 });
  expect(rooms(node)).toEqual([true, false, true, false]);
});

test('a follower goes on taking what its leader sends, and says so', () => {
  const node = new Follower(['n1', 'n2', 'n3'], () => undefined, { logDiskBytesMax: LIMIT });
  size(node, 150 * MiB);
  expect(said(node)).toEqual(['the log of this follower has reached log-disk-bytes-max: it goes on taking what the leader sends, and would take no writes as leader']);
  node.append(2, 1, 0, 0, [], 0);
  expect(node.store.lastIndex).toBe(0);
  expect(node.consensus.raft.role).toBe('follower');
});

test('the state of the log tells what it waits for', () => {
  const node = alone(LIMIT);
  size(node, 100 * MiB);
  node.fromEngine({ type: 'status', id: 1 });
  const status = node.told.map(({ message }) => message).find((message) => message.type === 'status');
  expect(status).toMatchObject({ log: { bytes: 100 * MiB, bytesMax: LIMIT, isFull: true, heldBy: 0, heldAt: 0, heldEntries: node.store.lastIndex } });
});
