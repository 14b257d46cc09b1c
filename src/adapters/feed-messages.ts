// What an observer and a member say to each other, as heads of peer messages (peer-frame.ts). Both sides' bytes are
// checked here, before anything is done with them.
//
//   observer → member   [5, from]                                             no body
//   member → observer   [6, firstIndex, commitIndex, leads, hasLeader, name]  body: a sealed entry each part
import { Packr } from 'msgpackr';
import { assert } from '../base/assert.ts';
import { isCount } from '../base/checks.ts';
import { entryFault, entryIndex, entryTerm, entryTimeMs } from '../base/entry.ts';
import type { FeedAnswer } from '../ports/observers.ts';

const FETCH = 5;
const ANSWER = 6;
const NAME_CHARS_MAX = 64;

const packr = new Packr({ useRecords: false, int64AsType: 'number' });

export function encodeFetch(from: number): Uint8Array {
  return packr.pack([FETCH, from]);
}

/** The index that is asked for, or a text that says what is wrong. Never throws. */
export function decodeFetch(fields: readonly unknown[] | undefined, body: readonly Uint8Array[]): number | string {
  if (fields === undefined || fields.length !== 2 || fields[0] !== FETCH) return 'an observer sent what is no fetch';
  const from = fields[1];
  if (body.length > 0 || !isCount(from) || from < 1) return 'an observer sent a fetch that is malformed';
  return from;
}

export function encodeAnswer({ firstIndex, commitIndex, leads, hasLeader }: FeedAnswer, nodeName: string): Uint8Array {
  return packr.pack([ANSWER, firstIndex, commitIndex, leads, hasLeader, nodeName]);
}

export interface NamedAnswer extends FeedAnswer {
  readonly nodeName: string;
}

/** The answer, its entries not yet looked at, or a text that says what is wrong. Never throws. */
export function decodeAnswer(head: Uint8Array, body: readonly Uint8Array[]): NamedAnswer | string {
  const fields = headFields(head);
  if (fields === undefined || fields[0] !== ANSWER) return 'it sent what is no answer to a fetch';
  const [, firstIndex, commitIndex, leads, hasLeader, nodeName] = fields;
  if (!isCount(firstIndex) || !isCount(commitIndex) || typeof leads !== 'boolean' || typeof hasLeader !== 'boolean' || typeof nodeName !== 'string') {
    return 'it sent an answer that is malformed';
  }
  return { entries: body, firstIndex, commitIndex, leads, hasLeader, nodeName: nodeName.replace(/[^\x21-\x7e]/g, '?').slice(0, NAME_CHARS_MAX) };
}

/** Follows what was read so far: each entry continues the one before it. */
export class FeedOrder {
  #next: number;
  #term = 0;
  #timeMs = 0;

  constructor(from: number) {
    assert(from >= 1, () => `a log begins at 1, not at ${from}`);
    this.#next = from;
  }

  /** The index that comes next. */
  get next(): number {
    return this.#next;
  }

  /** Takes the entries, or says why they are not the log's next ones. */
  take({ entries, commitIndex }: FeedAnswer): string | undefined {
    let next = this.#next;
    let term = this.#term;
    let timeMs = this.#timeMs;
    for (const entry of entries) {
      const fault = entryFault(entry);
      if (fault !== undefined) return `entry ${next}: ${fault}`;
      if (entryIndex(entry) !== next) return `it sent entry ${entryIndex(entry)} in the place of ${next}`;
      if (next > commitIndex) return `it sent entry ${next} and knows only ${commitIndex} to be committed`;
      if (entryTerm(entry) < term || entryTimeMs(entry) < timeMs) return `entry ${next} is of an earlier term or time than the one before it`;
      term = entryTerm(entry);
      timeMs = entryTimeMs(entry);
      next++;
    }
    this.#next = next;
    this.#term = term;
    this.#timeMs = timeMs;
    return undefined;
  }
}

/** What a head says, its kind first; undefined for bytes that are no array in msgpack. */
export function headFields(head: Uint8Array): readonly unknown[] | undefined {
  try {
    const fields: unknown = packr.unpack(head);
    return Array.isArray(fields) ? (fields as unknown[]) : undefined;
  } catch {
    return undefined;
  }
}
