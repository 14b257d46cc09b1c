// Where the snapshotter looks for the members: by its configuration, then by the log.
import { expect, test } from 'vitest';
import { SnapshotterMembers } from '../../src/cli/snapshotter-members.ts';
import { loadConfig } from '../../src/server/config-file.ts';
import { MemoryFiles } from '../server/memory-files.ts';

const membersWith = (...directives: string[]): SnapshotterMembers => new SnapshotterMembers(loadConfig(new MemoryFiles(), undefined, directives).values);
const known = (id: number, host = `10.0.0.${id}`): { id: number; name: string; host: string; peerPort: number; clientPort: number } => ({ id, name: `n${id}`, host, peerPort: 16379, clientPort: 6379 });
const hosts = (members: SnapshotterMembers): string[] => members.feed.map(({ name, host, port }) => `${name} ${host}:${port}`);

test('those of the configuration until the log says who they are, its own node first', () => {
  const members = membersWith('--node-id', 'n2', '--peers', 'n1=10.0.0.1:16379/6379,n2=10.0.0.2:16379/6379,n3=10.0.0.3:16379/6379', '--bind', '10.0.0.2', '--requirepass', 'p');
  expect(members.names).toBe('n2 n1 n3');
  expect(members.clients).toEqual([
    { host: '10.0.0.2', port: 6379, password: 'p' }, { host: '10.0.0.1', port: 6379, password: 'p' }, { host: '10.0.0.3', port: 6379, password: 'p' },
  ]);
  // n1 has left, n4 has come, and n3 was made anew as another member.
  members.learn([known(2), known(4), { ...known(5), name: 'n3' }]);
  expect(hosts(members)).toEqual(['n2 10.0.0.2:16379', 'n4 10.0.0.4:16379', 'n3 10.0.0.5:16379']);
  expect(members.clients.map(({ host }) => host)).toEqual(['10.0.0.2', '10.0.0.4', '10.0.0.5']);
  // Its own node is gone: the others are followed.
  members.learn([known(4), known(6)]);
  expect(members.names).toBe('n4 n6');
});

test('an address in peers wins for the members of the first start: one was moved', () => {
  const members = membersWith('--node-id', 'n1', '--peers', 'n1=10.0.0.1:16379/6379,n2=10.0.9.9:16379/6379');
  members.learn([known(1), known(2), known(3)]);
  expect(hosts(members)).toEqual(['n1 10.0.0.1:16379', 'n2 10.0.9.9:16379', 'n3 10.0.0.3:16379']);
});

test.each([[['--peer-bind', '0.0.0.0', '--cluster-secret', 'a long enough secret'], '127.0.0.1'], [['--peer-bind', '10.0.0.4', '--cluster-secret', 'a long enough secret'], '10.0.0.4'], [[], '127.0.0.1']])(
  'a node that was added later names no peers: with %j its peer port is at %s', (directives, host) => {
    const members = membersWith('--node-id', 'n4', '--port', '7000', ...directives);
    expect(hosts(members)).toEqual([`n4 ${host}:17000`]);
    members.learn([known(1), known(2), known(4)]);
    expect(hosts(members)).toEqual([`n4 ${host}:17000`, 'n1 10.0.0.1:16379', 'n2 10.0.0.2:16379']);
    expect(members.clients[0]).toEqual({ host: '127.0.0.1', port: 7000, password: '' });
  },
);
