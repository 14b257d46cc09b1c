// Making messages, and judging those that came from a peer. A peer is authenticated but may be buggy: whatever it
// sends, the worst that may happen is that the message is ignored and counted.
import { ENTRY_HEADER_BYTES, entryIndex, entryTerm } from '../base/entry.ts';
import type { Message, NodeId } from './types.ts';
import { MessageType } from './types.ts';

export const NO_REFERENCE = new Uint8Array(0);

export type MessageFields = Partial<Omit<Message, 'type' | 'from' | 'to'>>;

export function makeMessage(
  type: MessageType,
  from: NodeId,
  to: NodeId,
  term: number,
  fields: MessageFields,
): Message {
  return {
    type,
    from,
    to,
    term: fields.term ?? term,
    index: fields.index ?? 0,
    logTerm: fields.logTerm ?? 0,
    entries: fields.entries ?? [],
    commit: fields.commit ?? 0,
    reject: fields.reject ?? false,
    hint: fields.hint ?? 0,
    context: fields.context ?? 0,
    transfer: fields.transfer ?? false,
    timeMs: fields.timeMs ?? 0,
    reference: fields.reference ?? NO_REFERENCE,
  };
}

/** The longest reference: a key in an object store and a checksum. */
const REFERENCE_BYTES_MAX = 4096;

const TYPES: ReadonlySet<number> = new Set(Object.values(MessageType));

const isCount = (value: number): boolean => Number.isSafeInteger(value) && value >= 0;

/** What is wrong with the message by itself, whatever this node's state; undefined when nothing is. */
export function messageFault(m: Message): string | undefined {
  if (!TYPES.has(m.type)) return `unknown message type ${m.type}`;
  if (!isCount(m.term)) return `term ${m.term}`;
  if (!isCount(m.index)) return `index ${m.index}`;
  if (!isCount(m.logTerm)) return `log term ${m.logTerm}`;
  if (!isCount(m.commit)) return `commit ${m.commit}`;
  if (!isCount(m.hint)) return `hint ${m.hint}`;
  if (!isCount(m.context)) return `context ${m.context}`;
  if (m.type === MessageType.append) return entriesFault(m);
  if (m.type === MessageType.snapshot) {
    if (m.index === 0 || m.logTerm === 0 || m.logTerm > m.term) return `snapshot at ${m.index}/${m.logTerm}`;
    if (m.reference.length > REFERENCE_BYTES_MAX) return `reference of ${m.reference.length} bytes`;
  }
  return m.entries.length === 0 ? undefined : 'entries in a message that carries none';
}

function entriesFault(m: Message): string | undefined {
  let term = m.logTerm;
  let index = m.index;
  if (m.logTerm > m.term) return `log term ${m.logTerm} is ahead of term ${m.term}`;
  for (const entry of m.entries) {
    index += 1;
    if (entry.index !== index) return `entry ${entry.index} stands where ${index} is due`;
    if (!isCount(entry.term) || entry.term < term || entry.term > m.term) return `entry ${index} has term ${entry.term}`;
    if (entry.bytes.length < ENTRY_HEADER_BYTES) return `entry ${index} is shorter than a header`;
    if (entryTerm(entry.bytes) !== entry.term || entryIndex(entry.bytes) !== index) {
      return `entry ${index} does not repeat its header`;
    }
    term = entry.term;
  }
  return undefined;
}
