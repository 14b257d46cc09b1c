// Configurations: who votes, who only learns, and where each is. A node uses the newest one in its log, committed or not
// (Raft thesis 4.1): it is in force from the append on, and a truncated log falls back to the one before.
//
// Joint (thesis 4.3) is a configuration with outgoing voters: whatever needs agreement needs a majority of the voters and
// one of the outgoing voters. Learners are sent everything and count in nothing.
//
// Payload of an entry of kind membership that holds one: JSON
//   {op: 'configure', lastId, members: [{id, name, host, peerPort, clientPort}], voters: [id], outgoing: [id], learners: [id]}
// Valid: every id is ≥ 1, ≤ lastId and of a member; every member is in a list; voters is not empty; nobody who votes learns.
// lastId is the highest id that was ever given: ids are not used again, so that nothing said of a removed member is ever
// taken for another one's.
import { assert, must } from '../base/assert.ts';
import { ENTRY_HEADER_BYTES, EntryKind, makeEntry } from '../base/entry.ts';
import { quorumMembers, type Quorum } from './quorum.ts';
import type { Entry, NodeId } from './types.ts';

export interface MemberAddress {
  readonly id: NodeId;
  readonly name: string;
  readonly host: string;
  readonly peerPort: number;
  readonly clientPort: number;
}

export interface Configuration {
  readonly lastId: NodeId;
  readonly members: readonly MemberAddress[];
  /** Empty only on a node that is new and waits for the log's: it takes part in nothing. */
  readonly voters: readonly NodeId[];
  /** Not empty in a joint configuration. */
  readonly outgoing: readonly NodeId[];
  readonly learners: readonly NodeId[];
}

/** A configuration and the entry that holds it; index 0 for the one that the node was made with. */
export interface ConfigurationAt {
  readonly index: number;
  readonly configuration: Configuration;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

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

export function encodeConfiguration({ lastId, members, voters, outgoing, learners }: Configuration): Uint8Array {
  return makeEntry(EntryKind.membership, 0, 1, 0, encoder.encode(JSON.stringify({ op: 'configure', lastId, members, voters, outgoing, learners })));
}

/** The configuration that this entry holds, or undefined: membership entries hold other things as well. */
export function decodeConfiguration({ kind, bytes }: Pick<Entry, 'kind' | 'bytes'>): Configuration | undefined {
  if (kind !== EntryKind.membership) return undefined;
  const parsed = JSON.parse(decoder.decode(bytes.subarray(ENTRY_HEADER_BYTES))) as Partial<Configuration> & { op?: unknown };
  if (parsed.op !== 'configure') return undefined;
  const configuration = configurationFrom(parsed);
  assert(configuration !== undefined && configuration.voters.length > 0, 'a configuration in the log is sound');
  return configuration;
}

/** Checks what was parsed from JSON; undefined when it is no configuration. */
export function configurationFrom(parsed: unknown): Configuration | undefined {
  if (typeof parsed !== 'object' || parsed === null) return undefined;
  const { lastId, members, voters, outgoing, learners } = parsed as Partial<Configuration>;
  if (!isId(lastId) || !Array.isArray(members) || !members.every(isMember)) return undefined;
  const known = new Set(members.map(({ id }) => id));
  const isList = (ids: readonly NodeId[] | undefined): ids is readonly NodeId[] =>
    Array.isArray(ids) && new Set(ids).size === ids.length && ids.every((id) => known.has(id));
  if (!isList(voters) || !isList(outgoing) || !isList(learners)) return undefined;
  const votes = new Set([...voters, ...outgoing]);
  const listed = new Set([...votes, ...learners]);
  const sound = known.size === members.length && listed.size === known.size && Math.max(0, ...known) <= lastId;
  if (!sound || learners.some((id) => votes.has(id))) return undefined;
  const copies = members.map(({ id, name, host, peerPort, clientPort }) => ({ id, name, host, peerPort, clientPort }));
  return { lastId, members: copies, voters, outgoing, learners };
}

const isId = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 1;

function isMember(value: unknown): value is MemberAddress {
  if (typeof value !== 'object' || value === null) return false;
  const { id, name, host, peerPort, clientPort } = value as Partial<MemberAddress>;
  return isId(id) && typeof name === 'string' && typeof host === 'string' && Number.isSafeInteger(peerPort) && Number.isSafeInteger(clientPort);
}

export function encodeHistory(list: readonly ConfigurationAt[]): Uint8Array {
  return encoder.encode(JSON.stringify(list));
}

/** Undefined when the bytes are none. */
export function decodeHistory(bytes: Uint8Array): ConfigurationAt[] | undefined {
  const parsed: unknown = JSON.parse(decoder.decode(bytes));
  if (!Array.isArray(parsed) || parsed.length === 0) return undefined;
  const list: ConfigurationAt[] = [];
  for (const item of parsed as Partial<ConfigurationAt>[]) {
    const configuration = configurationFrom(item.configuration);
    if (configuration === undefined || !Number.isSafeInteger(item.index)) return undefined;
    list.push({ index: must(item.index), configuration });
  }
  return list;
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
      const configuration = decodeConfiguration(entry);
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
