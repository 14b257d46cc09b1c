// What nodes say to each other, as the transport carries it: a small head (a msgpack array) and a body (log entries or
// records). The peer is authenticated, but may be of another release or broken: everything is checked before use.
//
// Heads, first element the kind:
//   [1, type, term, index, logTerm, commit, reject, hint, context, transfer, timeMs]   a Raft message; body: its entries, or
//                                 one part, the reference of a snapshot
//   [2, id, term, count]          records forwarded to the leader of `term`; body: one part, the records
//   [3, id, term, reason]         the leader of `term` did not take the forwarded records `id`
//   [4, node, incarnation, index] by the committed entry `index` member `node` is known with this data directory
//   [7, index, configuration]     the committed entry `index` holds this configuration (src/base/configuration.ts), as JSON
import { Packr } from 'msgpackr';
import { copyBytes } from '../base/bytes.ts';
import { isCount } from '../base/checks.ts';
import { configurationAtFrom, type ConfigurationAt } from '../base/configuration.ts';
import { entryFault, entryIndex, entryKind, entryTerm } from '../base/entry.ts';
import { NO_REFERENCE } from '../raft/message.ts';
import { MessageType, type Entry, type Message, type NodeId } from '../raft/types.ts';

export type PeerMessage =
  | { readonly kind: 'raft'; readonly message: Message }
  | { readonly kind: 'forward'; readonly id: number; readonly term: number; readonly count: number; readonly records: Uint8Array }
  | { readonly kind: 'forward-refused'; readonly id: number; readonly term: number; readonly reason: string }
  | { readonly kind: 'configuration'; readonly at: ConfigurationAt }
  | { readonly kind: 'member'; readonly node: number; readonly incarnation: string; readonly index: number };

const packr = new Packr({ useRecords: false, int64AsType: 'number' });
const NO_BODY: readonly Uint8Array[] = [];
const MESSAGE_TYPE_MAX = Math.max(...Object.values(MessageType));

export function encodeRaftHead(m: Message): Uint8Array {
  return packr.pack([
    1, m.type, m.term, m.index, m.logTerm, m.commit, m.reject, m.hint, m.context, m.transfer, m.timeMs,
  ]);
}

export function raftBody(m: Message): readonly Uint8Array[] {
  if (m.reference.length > 0) return [m.reference];
  return m.entries.length === 0 ? NO_BODY : m.entries.map((entry) => entry.bytes);
}

export function encodeForward(id: number, term: number, count: number): Uint8Array {
  return packr.pack([2, id, term, count]);
}

export function encodeForwardRefused(id: number, term: number, reason: string): Uint8Array {
  return packr.pack([3, id, term, reason]);
}

export function encodeMember(node: number, incarnation: string, index: number): Uint8Array {
  return packr.pack([4, node, incarnation, index]);
}

export function encodeConfigurationNews({ index, configuration }: ConfigurationAt): Uint8Array {
  return packr.pack([7, index, JSON.stringify(configuration)]);
}

/** The message, or a text that says what is wrong with it. Never throws. */
export function decodePeerMessage(
  from: NodeId,
  to: NodeId,
  head: Uint8Array,
  body: readonly Uint8Array[],
): PeerMessage | string {
  let fields: unknown;
  try {
    fields = packr.unpack(head);
  } catch (thrown) {
    return `head is not msgpack: ${thrown instanceof Error ? thrown.message : String(thrown)}`;
  }
  if (!Array.isArray(fields)) return 'head is not an array';
  const list = fields as unknown[];
  switch (list[0]) {
    case 1:
      return decodeRaft(from, to, list, body);
    case 2: {
      const [, id, term, count] = list;
      const records = body[0];
      if (!isCount(id) || !isCount(term) || !isCount(count) || records === undefined || body.length !== 1) {
        return 'forward is malformed';
      }
      return { kind: 'forward', id, term, count, records };
    }
    case 3: {
      const [, id, term, reason] = list;
      if (!isCount(id) || !isCount(term) || typeof reason !== 'string') return 'forward refusal is malformed';
      return { kind: 'forward-refused', id, term, reason };
    }
    case 4: {
      const [, node, incarnation, index] = list;
      if (!isCount(node) || typeof incarnation !== 'string' || !isCount(index)) return 'word of a member is malformed';
      return { kind: 'member', node, incarnation, index };
    }
    case 7: {
      const at = configurationAtFrom({ index: list[1], configuration: parsedJson(list[2]) });
      return at === undefined ? 'word of a configuration is malformed' : { kind: 'configuration', at };
    }
    default:
      return `unknown kind ${String(list[0])}`;
  }
}

function parsedJson(text: unknown): unknown {
  try {
    return typeof text === 'string' ? JSON.parse(text) : undefined;
  } catch {
    return undefined;
  }
}

function decodeRaft(from: NodeId, to: NodeId, list: unknown[], body: readonly Uint8Array[]): PeerMessage | string {
  const [, type, term, index, logTerm, commit, reject, hint, context, transfer, timeMs] = list;
  if (
    !isCount(type) || type < 1 || type > MESSAGE_TYPE_MAX || !isCount(term) || !isCount(index) || !isCount(logTerm) ||
    !isCount(commit) || typeof reject !== 'boolean' || !isCount(hint) || !isCount(context) ||
    typeof transfer !== 'boolean' || !isCount(timeMs)
  ) {
    return 'Raft message is malformed';
  }
  const entries: Entry[] = [];
  const reference = type === MessageType.snapshot ? copyBytes(body[0] ?? NO_REFERENCE) : NO_REFERENCE;
  for (const part of type === MessageType.snapshot ? NO_BODY : body) {
    // A part may be a view of a larger receive buffer, which a cached entry must not keep alive.
    const bytes = part.buffer.byteLength > part.length + 1024 ? copyBytes(part) : part;
    const fault = entryFault(bytes);
    if (fault !== undefined) return `entry ${index + entries.length + 1} from the peer: ${fault}`;
    entries.push({ term: entryTerm(bytes), index: entryIndex(bytes), kind: entryKind(bytes), bytes });
  }
  return {
    kind: 'raft',
    message: {
      type: type as MessageType, from, to, term, index, logTerm, entries, commit, reject, hint, context, transfer, timeMs, reference,
    },
  };
}
