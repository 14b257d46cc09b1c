// Who is known with which data directory, and how a node hears of it that never sees the membership entry: it lies in what a
// snapshot stands for.
import { describe, expect, test } from 'vitest';
import { sealEntry } from '../../src/base/entry.ts';
import type { PeerIdentity } from '../../src/ports/transport.ts';
import { initialConfiguration } from '../../src/raft/configuration.ts';
import { Members, type MembersHost, type MembersOptions } from '../../src/replica/members.ts';
import { encodeMembership, Membership, saysRemoved, type KnownMembers } from '../../src/replica/membership.ts';
import { decodePeerMessage } from '../../src/replica/peer-message.ts';

const OLD = '0a'.repeat(16);
const NEW = '0b'.repeat(16);
const OWN = '01'.repeat(16);
const MEMBERS = [1, 2, 3].map((id) => ({ id, name: `n${id}`, host: 'h', peerPort: id, clientPort: id }));
const BOOK: KnownMembers = {
  all: MEMBERS,
  find: (id) => MEMBERS[id - 1],
  standing: (id) => (id === 4 ? 'removed' : id > 4 ? 'unknown' : 'member'),
  newest: { index: 9, configuration: initialConfiguration(MEMBERS) },
};
const silent = (): void => undefined;

const identity = (nodeId: number, incarnation: string): PeerIdentity => ({ nodeId, incarnation, rejoining: false });

function entry(node: number, incarnation: string, index: number): Uint8Array {
  const bytes = encodeMembership({ op: 'replace', node, incarnation });
  sealEntry(bytes, 1, index, 0);
  return bytes;
}

class Disk {
  readonly values = new Map<string, Uint8Array>();

  store(): MembersOptions['store'] {
    return { meta: (name: string) => this.values.get(name) } as MembersOptions['store'];
  }

  keep(meta: Iterable<readonly [string, Uint8Array]> | undefined): void {
    for (const [name, value] of meta ?? []) this.values.set(name, value);
  }

  membership(): Membership {
    return new Membership({ id: 1, incarnation: OWN }, BOOK, this.store());
  }
}

describe('what peers say that committed entries say', () => {
  function replacedUnseen(): { disk: Disk; membership: Membership } {
    const disk = new Disk();
    const membership = disk.membership();
    disk.keep(membership.appended(entry(2, OLD, 7)));
    disk.keep(membership.committed(entry(2, OLD, 7))?.meta);
    expect(membership.admit(identity(2, NEW)).admit).toBe(false);
    disk.keep(membership.attested(2, NEW, 30));
    return { disk, membership };
  }

  test('lets the new data directory in, and the old one no more, also after a restart', () => {
    const { disk, membership } = replacedUnseen();
    for (const node of [membership, disk.membership()]) {
      expect(node.admit(identity(2, NEW))).toEqual({ admit: true, muted: false });
      expect(node.admit(identity(2, OLD)).admit).toBe(false);
      expect(node.logged(2)).toBe(NEW);
      expect(node.known()).toEqual([{ node: 2, incarnation: NEW, index: 30 }]);
    }
  });

  test('changes nothing where what is known is newer', () => {
    const { membership } = replacedUnseen();
    expect(membership.attested(2, OLD, 7)).toBeUndefined();
    expect(membership.admit(identity(2, OLD)).admit).toBe(false);
  });

  test('does not take back what a newer entry in the log says, committed or not', () => {
    const { membership } = replacedUnseen();
    membership.appended(entry(2, OWN, 40));
    membership.attested(2, OLD, 35);
    expect(membership.logged(2)).toBe(OWN);
    expect(membership.admit(identity(2, OWN)).admit).toBe(true);
  });
});

test('who was removed is refused in words that it knows; who is not known yet is let in', () => {
  const membership = new Disk().membership();
  const removed = membership.admit(identity(4, NEW));
  expect(removed).toMatchObject({ admit: false });
  expect('reason' in removed && saysRemoved(removed.reason)).toBe(true);
  expect(membership.admit(identity(5, NEW))).toEqual({ admit: true, muted: false });
});

test('whoever connects is told what committed entries say of the members', () => {
  const sent: { to: number; head: Uint8Array }[] = [];
  const host = {
    raft: { status: () => ({ role: 'follower' }), commit: 50 },
    roster: { book: BOOK, meet: silent },
    persist: silent,
    remember: silent,
  } as unknown as MembersHost;
  const options = {
    id: 1, incarnation: OWN, rejoining: false, store: new Disk().store(),
    transport: { send: (to: number, head: Uint8Array) => void sent.push({ to, head }) },
    clock: { monotonicMs: () => 0 },
    logger: { debug: silent, info: silent, warn: silent, error: silent },
    onRejoined: silent,
  } as unknown as MembersOptions;
  const members = new Members(options, host);
  members.attested(2, NEW, 30);
  members.connected(identity(3, OLD));
  expect(sent.map(({ to, head }) => ({ to, message: decodePeerMessage(1, to, head, []) }))).toEqual([
    { to: 3, message: { kind: 'member', node: 2, incarnation: NEW, index: 30 } },
  ]);
});
