// What an operator may ask of the members, when a learner is promoted, and what is answered when the leader changes: the driver
// over a leader that is played here.
import { describe, expect, test } from 'vitest';
import type { Configuration, ConfigurationAt } from '../../src/base/configuration.ts';
import { entering, initialConfiguration } from '../../src/raft/configuration.ts';
import type { RaftNode } from '../../src/raft/raft.ts';
import type { ConfigurationChange, PeerStatus } from '../../src/raft/types.ts';
import { MembershipChanges } from '../../src/replica/membership-changes.ts';

const address = (id: number) => ({ id, name: `n${id}`, host: `h${id}`, peerPort: 16_379, clientPort: 6379 });
const silent = (): void => undefined;
const ELECTION_MS = 1000;

class Leader {
  role: 'leader' | 'follower' = 'leader';
  term = 3;
  lastIndex = 100;
  index = 0;
  commit = 100;
  configuration: Configuration = initialConfiguration([1, 2, 3].map(address));
  committedConfiguration: ConfigurationAt = { index: 0, configuration: this.configuration };
  readonly matches = new Map<number, number>();
  readonly away = new Set<number>();
  readonly proposed: ConfigurationChange[] = [];
  readonly answers: (readonly [number, string | undefined])[] = [];
  nowMs = 0;
  pinned = true;
  readonly changes: MembershipChanges;

  constructor(unreachable?: string) {
    this.changes = new MembershipChanges({
      id: 1,
      raft: this as unknown as RaftNode,
      clock: { monotonicMs: () => this.nowMs } as never,
      logger: { debug: silent, info: silent, warn: silent, error: silent },
      electionMs: ELECTION_MS,
      unreachable,
      isConnected: (node) => !this.away.has(node),
      isPinned: () => this.pinned,
      done: (request, error) => void this.answers.push([request, error]),
    });
  }

  get configurationSettled(): boolean {
    return this.index <= this.commit && this.configuration.outgoing.length === 0;
  }

  entryTerm(): number {
    return this.term;
  }

  status(): { peers: PeerStatus[] } {
    const { members, voters } = this.configuration;
    return {
      peers: members.filter(({ id }) => id !== 1).map(({ id }) => ({
        id, voter: voters.includes(id), match: this.matches.get(id) ?? 0, next: 1, state: 'replicate', pendingSnapshot: 0, muted: false, recentActive: true,
      })),
    };
  }

  proposeChange(change: ConfigurationChange): { ok: boolean; term?: number; index?: number; reason?: string } {
    if (!this.configurationSettled) return { ok: false, reason: 'change-under-way' };
    this.proposed.push(change);
    this.configuration = entering(this.configuration, change.voters, change.learners, change.added);
    this.index = ++this.lastIndex;
    return { ok: true, term: this.term, index: this.index };
  }

  /** The change is committed, and where it was joint, its end too. */
  commits(): void {
    this.configuration = { ...this.configuration, outgoing: [] };
    this.commit = this.lastIndex;
    this.committedConfiguration = { index: this.index, configuration: this.configuration };
    this.changes.settle();
  }

  add(id: number): string | undefined {
    const before = this.answers.length;
    this.changes.request(id, { kind: 'add', name: `n${id}`, host: `h${id}`, peerPort: 16_379, clientPort: 6379 });
    return this.answers[before]?.[1];
  }

  remove(name: string): string | undefined {
    const before = this.answers.length;
    this.changes.request(7, { kind: 'remove', name });
    return this.answers[before]?.[1];
  }

  tick(ms: number): void {
    this.nowMs += ms;
    this.changes.tick();
  }
}

describe('a member comes', () => {
  test('as a learner, under an id that was never given; answered when it is committed', () => {
    const leader = new Leader();
    leader.configuration = { ...leader.configuration, lastId: 8 };
    expect(leader.add(4)).toBeUndefined();
    expect(leader.proposed).toEqual([{ voters: [1, 2, 3], learners: [9], added: { ...address(4), id: 9 } }]);
    leader.changes.settle();
    expect(leader.answers).toEqual([]);
    leader.commits();
    expect(leader.answers).toEqual([[4, undefined]]);
  });

  test('not twice, not at another’s address, not beside one that learns, not where nobody can reach this node', () => {
    const leader = new Leader();
    expect(leader.add(3)).toMatch(/n3 is a member already/);
    leader.changes.request(1, { kind: 'add', name: 'n4', host: 'h2', peerPort: 16_379, clientPort: 1 });
    expect(leader.answers.at(-1)?.[1]).toMatch(/is the address of n2/);
    leader.add(4);
    expect(leader.add(5)).toMatch(/n4 still learns/);
    expect(new Leader('the port is closed').add(4)).toBe('the port is closed');
  });

  test('and votes once it has received, within an election timeout, all that was there at its beginning', () => {
    const leader = new Leader();
    leader.add(4);
    leader.commits();
    leader.tick(10);
    leader.tick(ELECTION_MS + 1); // the round was too long
    leader.matches.set(4, leader.lastIndex);
    leader.tick(10);
    expect(leader.proposed).toHaveLength(1);
    leader.lastIndex += 50; // the next round is over with what was there when it began
    leader.tick(10);
    expect(leader.proposed.at(-1)).toEqual({ voters: [1, 2, 3, 4], learners: [] });
  });

  test.each<[string, (leader: Leader) => void]>([
    ['it is away', (leader) => leader.away.add(4)],
    ['the log does not name its directory', (leader) => void (leader.pinned = false)],
    ['this node does not lead', (leader) => void (leader.role = 'follower')],
    ['it lags', (leader) => leader.matches.set(4, 50)],
  ])('and does not vote while %s', (_what, happens) => {
    const leader = new Leader();
    leader.add(4);
    leader.commits();
    leader.matches.set(4, leader.lastIndex);
    happens(leader);
    for (let i = 0; i < 50; i++) leader.tick(10);
    expect(leader.proposed).toHaveLength(1);
  });
});

describe('a member goes', () => {
  test('this leader too; answered when the last entry is committed, whoever leads then', () => {
    const leader = new Leader();
    expect(leader.remove('n1')).toBeUndefined();
    leader.changes.settle();
    expect(leader.answers).toEqual([]);
    leader.role = 'follower';
    leader.commits();
    expect(leader.answers).toEqual([[7, undefined]]);
  });

  test('not one that is none, not the last that votes, not where no majority would be left', () => {
    const leader = new Leader();
    expect(leader.remove('n9')).toMatch(/no member is named 'n9'; the members are n1, n2, n3/);
    leader.away.add(3);
    expect(leader.remove('n2')).toMatch(/without n2 there would be no majority: of the others only n1 can be reached/);
    expect(leader.remove('n3')).toBeUndefined();
    leader.commits();
    leader.remove('n2');
    leader.commits();
    expect(leader.remove('n1')).toMatch(/n1 is the only member that votes/);
  });

  test('one at a time', () => {
    const leader = new Leader();
    leader.remove('n3');
    expect(leader.remove('n2')).toMatch(/another change of members, or of the leader, is under way/);
  });

  test('perhaps, where the leader changes meanwhile', () => {
    const leader = new Leader();
    leader.remove('n3');
    leader.role = 'follower';
    leader.changes.settle();
    expect(leader.answers).toEqual([[7, expect.stringMatching(/may or may not come about/)]]);
  });
});
