// Configurations: who votes, who only learns, and where each is. A node uses the newest one in its log, committed or not
// (Raft thesis 4.1): it is in force from the append on, and a truncated log falls back to the one before.
//
// Joint (thesis 4.3) is a configuration with outgoing voters: whatever needs agreement needs a majority of the voters and
// one of the outgoing voters. Learners are sent everything and count in nothing.
import { assert, must } from '../base/assert.ts';
import { decodeConfiguration, type Configuration, type ConfigurationAt, type MemberAddress } from '../base/configuration.ts';
import { quorumMembers, type Quorum } from './quorum.ts';
import type { Entry, NodeId } from './types.ts';

export function isJoint({ outgoing }: Configuration): boolean {
  return outgoing.length > 0;
}

export function quorumOf({ voters, outgoing }: Configuration): Quorum {
  return outgoing.length === 0 ? [voters] : [voters, outgoing];
}

/** Where a group begins: all of them vote. */
export function initialConfiguration(members: readonly MemberAddress[]): Configuration {
  return { ...configurationOf(members), voters: idsOf(members) };
}

/** Of a node that is new to a group: it knows who is there, and waits for the log to say what they are. */
export function seedConfiguration(members: readonly MemberAddress[]): Configuration {
  return { ...configurationOf(members), learners: idsOf(members) };
}

const idsOf = (members: readonly MemberAddress[]): NodeId[] => members.map(({ id }) => id);

function configurationOf(members: readonly MemberAddress[]): Configuration {
  return { lastId: Math.max(0, ...idsOf(members)), members, voters: [], outgoing: [], learners: [] };
}

/** The one that follows `from`, which is not joint, when these vote and learn: joint if the voters change. */
export function entering(from: Configuration, voters: readonly NodeId[], learners: readonly NodeId[], added?: MemberAddress): Configuration {
  const same = voters.length === from.voters.length && voters.every((id) => from.voters.includes(id));
  return pruned({
    lastId: Math.max(from.lastId, added?.id ?? 0),
    members: added === undefined ? from.members : [...from.members, added],
    voters,
    outgoing: same ? [] : from.voters,
    learners,
  });
}

/** The one that ends a joint one. */
export function leaving(from: Configuration): Configuration {
  return pruned({ ...from, outgoing: [] });
}

function pruned(configuration: Configuration): Configuration {
  const { voters, outgoing, learners } = configuration;
  const kept = new Set([...voters, ...outgoing, ...learners]);
  return { ...configuration, members: configuration.members.filter(({ id }) => kept.has(id)) };
}

/**
 * The configurations that a log may fall back to: the newest one known to be committed, and those behind it.
 * What must hold: ascending by index, never empty; nothing truncates the first.
 */
export class ConfigurationHistory {
  #list: readonly ConfigurationAt[];
  #quorum: Quorum = [];
  #members: readonly NodeId[] = [];

  constructor(list: readonly ConfigurationAt[]) {
    assert(list.length > 0, 'a node has a configuration');
    this.#list = list;
    this.#set(list);
  }

  get list(): readonly ConfigurationAt[] {
    return this.#list;
  }

  /** In force. */
  get current(): ConfigurationAt {
    return must(this.#list[this.#list.length - 1]);
  }

  get quorum(): Quorum {
    return this.#quorum;
  }

  /** Everybody, learners included. */
  get members(): readonly NodeId[] {
    return this.#members;
  }

  isVoter(id: NodeId): boolean {
    return this.quorum.some((voters) => voters.includes(id));
  }

  /**
   * A voter of the newest committed configuration, or of one behind it. One that the newest leaves out may be the only one that
   * has it, and so the only one that can be elected (thesis 4.2.2); it does not count itself.
   */
  mayCampaign(id: NodeId, commit: number): boolean {
    const from = this.committed(commit).index;
    return this.#list.some(({ index, configuration }) => index >= from && quorumOf(configuration).some((voters) => voters.includes(id)));
  }

  /** With this commit index: no change is under way. */
  isSettled(commit: number): boolean {
    const { index, configuration } = this.current;
    return index <= commit && !isJoint(configuration);
  }

  /** The newest that this commit index covers. */
  committed(commit: number): ConfigurationAt {
    return this.#list.findLast(({ index }) => index <= commit) ?? must(this.#list[0]);
  }

  /** Entries are appended, replacing everything from entries[0].index on. True when the history changed. */
  append(entries: readonly Entry[], commit: number): boolean {
    const first = entries[0];
    if (first === undefined) return false;
    const added: ConfigurationAt[] = [];
    for (const entry of entries) {
      const configuration = decodeConfiguration(entry.kind, entry.bytes);
      if (configuration !== undefined) added.push({ index: entry.index, configuration });
    }
    if (added.length === 0 && this.current.index < first.index) return false;
    const oldest = this.committed(commit).index;
    this.#set([...this.#list.filter(({ index }) => index >= oldest && index < first.index), ...added]);
    return true;
  }

  /** The log begins anew behind a snapshot that has this configuration; without one the group still has its first. */
  reset(snapshot: ConfigurationAt | undefined): void {
    this.#set([snapshot ?? must(this.#list[0])]);
  }

  #set(list: readonly ConfigurationAt[]): void {
    assert(list.length > 0, 'the first configuration is never replaced');
    this.#list = list;
    const { configuration } = this.current;
    this.#quorum = quorumOf(configuration);
    this.#members = quorumMembers([...this.#quorum, configuration.learners]);
  }
}
