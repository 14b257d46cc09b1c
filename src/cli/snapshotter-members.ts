// Where the snapshotter reaches the members: those of its configuration until the log says who they are, then those of the log.
// Its own node comes first: what is near is followed, and asked.
//
// What must hold: as on a node, an address in `peers` wins for the members that it named at the first start, so that one can be
// moved; and its own node is where its own configuration says, since the two stand beside one another.
import type { MemberAddress } from '../base/configuration.ts';
import type { FeedMember } from '../adapters/observer-connection.ts';
import type { ConfigValues } from '../server/config-directives.ts';
import { membersOf, type Member } from './cluster-layout.ts';
import type { RespAddress } from './resp-client.ts';

export class SnapshotterMembers {
  readonly #values: Readonly<ConfigValues>;
  readonly #configured: readonly Member[];
  #now: readonly MemberAddress[];

  constructor(values: Readonly<ConfigValues>) {
    this.#values = values;
    const members = membersOf(values);
    // A node that was added later names no peers.
    const peerHost = values.peers.length === 0 ? reachable(values['peer-bind']) : undefined;
    this.#configured = members.map((member) => (this.#isOwn(member) ? { ...member, host: peerHost ?? member.host } : member));
    this.#now = this.#ownFirst(this.#configured);
  }

  /** By the log. */
  learn(members: readonly MemberAddress[]): void {
    const local = members.map((member) => {
      const configured = this.#configured.find(({ name }) => name === member.name);
      return configured !== undefined && (this.#isOwn(member) || configured.id === member.id) ? { ...configured, id: member.id } : member;
    });
    this.#now = this.#ownFirst(local);
  }

  get names(): string {
    return this.#now.map(({ name }) => name).join(' ');
  }

  get feed(): FeedMember[] {
    return this.#now.map(({ name, host, peerPort }) => ({ name, host, port: peerPort }));
  }

  get clients(): RespAddress[] {
    const { port, unixsocket, bind, requirepass: password } = this.#values;
    const own = { host: reachable(bind), port, ...(port === 0 ? { path: unixsocket } : {}), password };
    return this.#now.map((member) => (this.#isOwn(member) ? own : { host: member.host, port: member.clientPort, password }));
  }

  #isOwn({ name }: { readonly name: string }): boolean {
    return name === this.#values['node-id'];
  }

  #ownFirst(members: readonly MemberAddress[]): MemberAddress[] {
    return [...members].sort((a, b) => Number(this.#isOwn(b)) - Number(this.#isOwn(a)));
  }
}

/** An address of this machine that may be connected to, of those that something listens on. */
function reachable(bound: readonly string[]): string {
  const addresses = bound.map((address) => address.replace(/^-/, ''));
  const isAny = (address: string): boolean => ['*', '0.0.0.0', '::*', '::', '127.0.0.1', 'localhost'].includes(address);
  return addresses.some(isAny) ? '127.0.0.1' : (addresses[0] ?? '127.0.0.1');
}
