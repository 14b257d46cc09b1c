// What the object stores have in common: the check of an object's content against the length and the SHA-256 that the
// caller knows, and the texts of what was asked wrongly.
import { createHash } from 'node:crypto';
import { assert } from '../base/assert.ts';
import { OperationalError } from '../base/errors.ts';
import { objectKeyFault } from '../ports/object-store.ts';
import type { ByteRange, GetOptions } from '../ports/object-store.ts';

export interface KnownContent {
  readonly bytes?: number;
  readonly sha256?: string;
}

/** Adds up an object's content as it passes. */
export class ContentCheck {
  readonly #hash = createHash('sha256');
  readonly #known: KnownContent;
  bytes = 0;

  constructor(known: KnownContent = {}) {
    this.#known = known;
  }

  update(chunk: Uint8Array): void {
    this.#hash.update(chunk);
    this.bytes += chunk.length;
  }

  /** The SHA-256 in hex; throws OBJECT_DAMAGED if this is not the content that was to be. `what` begins the text. */
  finish(what: string, advice: string): string {
    const sha256 = this.#hash.digest('hex');
    const { bytes, sha256: expected } = this.#known;
    if (bytes !== undefined && bytes !== this.bytes) {
      throw new OperationalError('OBJECT_DAMAGED', `${what} has ${this.bytes} bytes, not ${bytes}; ${advice}`);
    }
    if (expected !== undefined && expected.toLowerCase() !== sha256) {
      throw new OperationalError('OBJECT_DAMAGED', `${what} has SHA-256 ${sha256}, not ${expected}; ${advice}`);
    }
    return sha256;
  }
}

export const DAMAGED_ADVICE = 'it was changed or cut off in the store or on the way: verify the snapshots and use another one';
export const SOURCE_ADVICE = 'nothing was stored';

/** The content on its way out, with its check behind the last chunk. */
export async function* checked(chunks: AsyncIterable<Uint8Array>, known: KnownContent, what: string): AsyncGenerator<Uint8Array> {
  const check = new ContentCheck(known);
  for await (const chunk of chunks) {
    check.update(chunk);
    yield chunk;
  }
  check.finish(what, DAMAGED_ADVICE);
}

/** Keys and ranges come from our own code; a wrong one must not get as far as a path or a URL. */
export function assertKey(key: string): void {
  const fault = objectKeyFault(key);
  assert(fault === undefined, () => `object key ${JSON.stringify(key)}: ${fault}`);
}

export function assertGet(key: string, options: GetOptions): void {
  assertKey(key);
  const { range } = options;
  if (range === undefined) return;
  assert(isRange(range), () => `range [${range.from}, ${range.to}) of ${key}`);
  assert(options.sha256 === undefined && options.bytes === undefined, 'a range has no checksum to compare with');
}

function isRange({ from, to }: ByteRange): boolean {
  return Number.isSafeInteger(from) && Number.isSafeInteger(to) && from >= 0 && from < to;
}
