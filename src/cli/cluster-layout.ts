// Who the members are, from the configuration: ids, addresses, ports. The raft id of a member is its place in the list of
// names in order, so that every node comes to the same ids however `peers` is written.
import { createHash } from 'node:crypto';
import { OperationalError } from '../base/errors.ts';
import { peerPortOf, type ConfigValues } from '../server/config-directives.ts';

export interface Member {
  readonly id: number;
  readonly name: string;
  readonly host: string;
  readonly peerPort: number;
  readonly clientPort: number;
}

/** The members that the configuration names; this node alone where `peers` is empty. */
export function membersOf(values: Readonly<ConfigValues>): Member[] {
  const self = values['node-id'];
  const { peers } = values;
  if (peers.length === 0) {
    return [{ id: 1, name: self, host: '127.0.0.1', peerPort: peerPortOf(values), clientPort: values.port }];
  }
  const sorted = [...peers].sort((a, b) => (a.id < b.id ? -1 : 1));
  if (!sorted.some((peer) => peer.id === self)) {
    throw new OperationalError(
      'CONFIG',
      `node-id: this node is ${self}, but peers names only ${sorted.map((peer) => peer.id).join(', ')}; every node must be in peers, itself included`,
    );
  }
  return sorted.map((peer, i) => ({
    id: i + 1,
    name: peer.id,
    host: peer.host,
    peerPort: peer.peerPort,
    clientPort: peer.clientPort ?? values.port,
  }));
}

/** The cluster id where none is configured: the same on every node that is given the same members. */
export function derivedClusterId(members: readonly Member[]): string {
  const text = members.map((member) => `${member.name}=${member.host}:${member.peerPort}`).join(',');
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}
