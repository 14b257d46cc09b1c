// The configuration of a group, as the log, snapshots and the log store hold it: who votes, who only learns, and where each
// is. What it means is src/raft's (configuration.ts there).
//
// Payload of an entry of kind membership that holds one: JSON
//   {op: 'configure', lastId, members: [{id, name, host, peerPort, clientPort}], voters: [id], outgoing: [id], learners: [id]}
// Valid: every id is ≥ 1, ≤ lastId and of a member; every member is in a list; voters is not empty; nobody who votes learns.
// lastId is the highest id that was ever given: ids are not used again, so that nothing said of a removed member is ever
// taken for another one's.
import { assert, must } from './assert.ts';
import { ENTRY_HEADER_BYTES, EntryKind, makeEntry } from './entry.ts';

export interface MemberAddress {
  readonly id: number;
  readonly name: string;
  readonly host: string;
  readonly peerPort: number;
  readonly clientPort: number;
}

export interface Configuration {
  readonly lastId: number;
  readonly members: readonly MemberAddress[];
  /** Empty only on a node that is new and waits for the log's: it takes part in nothing. */
  readonly voters: readonly number[];
  /** Not empty in a joint configuration. */
  readonly outgoing: readonly number[];
  readonly learners: readonly number[];
}

/** A configuration and the entry that holds it; index 0 for the one that the node was made with. */
export interface ConfigurationAt {
  readonly index: number;
  readonly configuration: Configuration;
}

export function isMemberOf({ members }: Configuration, id: number): boolean {
  return members.some((member) => member.id === id);
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export function encodeConfiguration({ lastId, members, voters, outgoing, learners }: Configuration): Uint8Array {
  return makeEntry(EntryKind.membership, 0, 1, 0, encoder.encode(JSON.stringify({ op: 'configure', lastId, members, voters, outgoing, learners })));
}

/** The configuration that this entry holds, or undefined: membership entries hold other things as well. */
export function decodeConfiguration(kind: number, bytes: Uint8Array): Configuration | undefined {
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
  if (!isId(lastId) || !isMemberList(members)) return undefined;
  const known = new Set(members.map(({ id }) => id));
  const isList = (ids: readonly number[] | undefined): ids is readonly number[] =>
    Array.isArray(ids) && new Set<unknown>(ids).size === ids.length && ids.every((id: number) => known.has(id));
  if (!isList(voters) || !isList(outgoing) || !isList(learners)) return undefined;
  const votes = new Set([...voters, ...outgoing]);
  const listed = new Set([...votes, ...learners]);
  const sound = known.size === members.length && listed.size === known.size && Math.max(0, ...known) <= lastId;
  if (!sound || learners.some((id) => votes.has(id))) return undefined;
  const copies = members.map(({ id, name, host, peerPort, clientPort }) => ({ id, name, host, peerPort, clientPort }));
  return { lastId, members: copies, voters, outgoing, learners };
}

const isMemberList = (value: unknown): value is readonly MemberAddress[] => Array.isArray(value) && value.every(isMember);

const isId = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 1;

function isMember(value: unknown): value is MemberAddress {
  if (typeof value !== 'object' || value === null) return false;
  const { id, name, host, peerPort, clientPort } = value as Partial<MemberAddress>;
  return isId(id) && typeof name === 'string' && typeof host === 'string' && Number.isSafeInteger(peerPort) && Number.isSafeInteger(clientPort);
}

export function encodeHistory(list: readonly ConfigurationAt[]): Uint8Array {
  return encoder.encode(JSON.stringify(list));
}

/** What encodeHistory has written; undefined when the bytes are none. */
export function configurationsOf(bytes: Uint8Array): ConfigurationAt[] | undefined {
  const parsed: unknown = JSON.parse(decoder.decode(bytes));
  if (!Array.isArray(parsed) || parsed.length === 0) return undefined;
  const list: ConfigurationAt[] = [];
  for (const item of parsed) {
    const at = configurationAtFrom(item);
    if (at === undefined) return undefined;
    list.push(at);
  }
  return list;
}

/** As configurationFrom. */
export function configurationAtFrom(parsed: unknown): ConfigurationAt | undefined {
  if (typeof parsed !== 'object' || parsed === null) return undefined;
  const { index, configuration } = parsed as Partial<ConfigurationAt>;
  const sound = configurationFrom(configuration);
  return sound === undefined || !Number.isSafeInteger(index) ? undefined : { index: must(index), configuration: sound };
}
