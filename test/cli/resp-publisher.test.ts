// The snapshotter's talk with its cluster, against members that answer, refuse, keep silent, or are not there.
import net from 'node:net';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { OperationalError } from '../../src/base/errors.ts';
import { type RespAddress, RespClient } from '../../src/cli/resp-client.ts';
import { RespPublisher } from '../../src/cli/resp-publisher.ts';
import type { SnapshotterProgress } from '../../src/ports/publisher.ts';
import { silentLogger } from '../snapshot/log-model.ts';

const PROGRESS: SnapshotterProgress = {
  state: 'following', appliedIndex: 1, archivedIndex: 1, commitIndex: 1, archiveLagMs: 0, bytesDone: 0, bytesTotal: 0, logBytes: 0,
  checkpointBehind: 0, snapshotIndex: 0, snapshotMs: 0, snapshotBytes: 0, snapshotKeys: 0, fault: '',
};
const SNAPSHOT = { index: 7, term: 1, manifestKey: 'k', manifestSha256: 'ab'.repeat(32), digest: '0123456789abcdef' };

/** A member that answers each request with what `answer` says; undefined: it keeps silent. */
async function member(answer: (request: string) => string | undefined): Promise<RespAddress & { readonly heard: string[]; readonly connections: () => number }> {
  const heard: string[] = [];
  const sockets = new Set<net.Socket>();
  const connections = (): number => sockets.size;
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('data', (bytes) => {
      const request = bytes.toString('latin1');
      heard.push(request);
      const text = answer(request);
      if (text !== undefined) socket.write(text);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { host: '127.0.0.1', port: (server.address() as AddressInfo).port, password: '', heard, connections };
}

const orders = (index: number) => (): string => {
  const json = JSON.stringify({ snapshotIndexMin: index });
  return `$${json.length}\r\n${json}\r\n`;
};

function publisherTo(...addresses: readonly RespAddress[]): RespPublisher {
  const publisher = new RespPublisher(addresses, silentLogger, 'n1');
  onTestFinished(() => publisher.close());
  return publisher;
}

const nobody: RespAddress = { host: '127.0.0.1', port: 1, password: '' };

test('every member hears how far it is, and any of them can ask for a snapshot', async () => {
  const [first, second, third] = [await member(orders(0)), await member(orders(41)), await member(orders(12))];
  expect(await publisherTo(first, second, third).report(PROGRESS)).toEqual({ snapshotIndexMin: 41 });
  for (const { heard } of [first, second, third]) expect(heard.join()).toContain('{"name":"n1","state":"following"');
});

test('members that are gone, silent or refuse do not keep the others from being heard', async () => {
  const silent = await member(() => undefined);
  const refusing = await member(() => '-NOAUTH Authentication required.\r\n');
  const babbling = await member(() => '+no json\r\n');
  const well = await member(orders(5));
  const publisher = publisherTo(nobody, silent, refusing, babbling, well);
  expect(await publisher.report(PROGRESS)).toEqual({ snapshotIndexMin: 5 });
  // The silent one is still being waited for: the next report is not held up by it.
  expect(await publisher.report(PROGRESS)).toEqual({ snapshotIndexMin: 5 });
  expect(silent.heard).toHaveLength(1);
  expect(well.heard).toHaveLength(2);
  await expect(publisherTo(nobody, refusing).report(PROGRESS)).rejects.toThrow(OperationalError);
});

test('members that come are told and asked from then on, those that leave no more, and connections to the others stay', async () => {
  const [first, second, third] = [await member(orders(1)), await member(orders(2)), await member((request) => (request.includes('PUBLISH') ? '+OK\r\n' : orders(3)()))];
  const publisher = publisherTo(first, second);
  expect(await publisher.report(PROGRESS)).toEqual({ snapshotIndexMin: 2 });
  publisher.setAddresses([third, first]);
  expect(await publisher.report(PROGRESS)).toEqual({ snapshotIndexMin: 3 });
  expect([first, second, third].map(({ heard }) => heard.length)).toEqual([2, 1, 1]);
  expect([first, second, third].map(({ connections }) => connections())).toEqual([1, 1, 1]);
  expect(await publisher.publish(SNAPSHOT)).toBe('published');
  expect(third.heard).toHaveLength(2);
});

test('one that leaves while it is being asked is given up at once', async () => {
  const silent = await member(() => undefined);
  const well = await member(() => '+OK\r\n');
  const publisher = publisherTo(silent, well);
  const publishing = publisher.publish(SNAPSHOT);
  while (silent.heard.length === 0) await new Promise((resolve) => setImmediate(resolve));
  publisher.setAddresses([well]);
  expect(await publishing).toBe('published');
});

test('publishing goes to the first that answers', async () => {
  const [first, second] = [await member(() => '+OK\r\n'), await member(() => '-ERR a newer snapshot is published, of index 9\r\n')];
  expect(await publisherTo(first, second).publish(SNAPSHOT)).toBe('published');
  expect(second.heard).toEqual([]);
  expect(await publisherTo(nobody, second, first).publish(SNAPSHOT)).toBe('stale');
  const moving = await member(() => `-MOVED 0 127.0.0.1:${first.port}\r\n`);
  expect(await publisherTo(moving).publish(SNAPSHOT)).toBe('published');
  const refusing = await member(() => '-CLUSTERDOWN no majority\r\n');
  await expect(publisherTo(refusing).publish(SNAPSHOT)).rejects.toThrow('HOLDFAST PUBLISH was answered with: CLUSTERDOWN no majority');
  await expect(publisherTo(nobody).publish(SNAPSHOT)).rejects.toThrow('no connection to 127.0.0.1:1');
});

test('a node that takes the connection and answers nothing is given up, also before AUTH is answered', async () => {
  const silent = await member(() => undefined);
  await expect(RespClient.connect({ ...silent, password: 'p' }, 50)).rejects.toThrow(/no answer to AUTH/);
  const wrong = await member(() => '-WRONGPASS invalid username-password pair or user is disabled.\r\n');
  const thrown: unknown = await RespClient.connect({ ...wrong, password: 's3cr3t' }).catch((error: unknown) => error);
  expect((thrown as Error).message).toMatch(/answered AUTH with: WRONGPASS/);
  expect((thrown as Error).message).not.toContain('s3cr3t');
});
