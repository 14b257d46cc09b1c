// The newest snapshot that the log says is published: machine state, set by HOLDFAST PUBLISH alone. It fences a snapshotter that
// is behind, tells every node how far its log may be cut, and where one that lacks the log begins.
//
// What must hold: the index only rises, and is never beyond what the machine had applied when it was set.
import type { Args } from '../resp/args.ts';

export interface PublishedRecord {
  /** The last entry of the log that is in the snapshot, and its term. */
  readonly index: number;
  readonly term: number;
  /** Name of its manifest in the object store, and the manifest's SHA-256 in hex. */
  readonly manifestKey: string;
  readonly manifestSha256: string;
  /** Of the machine with the snapshot loaded, 16 hex digits. */
  readonly digest: string;
  /** Log time at which it was published, ms. */
  readonly timeMs: number;
}

export class Publishing {
  #newest: PublishedRecord | undefined;

  get newest(): PublishedRecord | undefined {
    return this.#newest;
  }

  /** 0 if there is none. */
  get index(): number {
    return this.#newest?.index ?? 0;
  }

  restore(record: PublishedRecord | undefined): void {
    this.#newest = record;
  }

  /** Takes the record, or says why it does not count; `appliedIndex` is of the entry before the one that brings it. */
  publish(record: PublishedRecord, appliedIndex: number): string | undefined {
    if (record.index > appliedIndex) {
      return `ERR the snapshot is of index ${record.index}, and the log is applied up to ${appliedIndex}: it belongs to another cluster, or to a log that this one has lost`;
    }
    if (record.index <= this.index) return `ERR a newer snapshot is published, of index ${this.index}`;
    this.#newest = record;
    return undefined;
  }
}

/** All of it as one text, for the digest; empty for none. */
export function publishedText(record: PublishedRecord | undefined): string {
  if (record === undefined) return '';
  const { index, term, manifestKey, manifestSha256, digest, timeMs } = record;
  return `published=${index},${term},${manifestKey},${manifestSha256},${digest},${timeMs};`;
}

const KEY = /^[\x21-\x7e]{1,1024}$/;
const SHA256 = /^[0-9a-f]{64}$/;
const DIGEST = /^[0-9a-f]{16}$/;

/** The record that HOLDFAST PUBLISH's arguments say, or what is wrong with them. */
export function publishArguments(args: Args, timeMs: number): PublishedRecord | string {
  const index = args.integer(2);
  const term = args.integer(3);
  if (!(index > 0) || !(term > 0)) return 'ERR index and term are whole numbers from 1';
  const [manifestKey, manifestSha256, digest] = [args.latin1(4), args.latin1(5), args.latin1(6)];
  if (!KEY.test(manifestKey)) return "ERR the manifest's name has 1 to 1024 printable characters";
  if (!SHA256.test(manifestSha256)) return "ERR the manifest's SHA-256 has 64 hex digits in lower case";
  if (!DIGEST.test(digest)) return 'ERR the digest has 16 hex digits in lower case';
  return { index, term, manifestKey, manifestSha256, digest, timeMs };
}

/** What stands in a snapshot's sidecar, if it is a record. */
export function publishedFrom(value: unknown): PublishedRecord | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { index, term, manifestKey, manifestSha256, digest, timeMs } = value as Partial<Record<keyof PublishedRecord, unknown>>;
  const count = (n: unknown): n is number => typeof n === 'number' && Number.isSafeInteger(n) && n > 0;
  if (!count(index) || !count(term) || !count(timeMs)) return undefined;
  if (typeof manifestKey !== 'string' || typeof manifestSha256 !== 'string' || typeof digest !== 'string') return undefined;
  return { index, term, manifestKey, manifestSha256, digest, timeMs };
}
