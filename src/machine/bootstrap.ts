// The bootstrap entry: what a cluster is born with and all nodes must agree on. Proposed once, by the first leader whose
// machine has none; the first in the log counts. Payload: JSON, for it is written once and must stay readable for ever.
import { assert } from '../base/assert.ts';
import { ENTRY_HEADER_BYTES, EntryKind, makeEntry } from '../base/entry.ts';
import { DATABASES_MAX } from '../base/limits.ts';

export interface Bootstrap {
  /** Number of databases (`databases`). */
  readonly databases: number;
  /** 16 bytes: the key of the keyspace's hash. */
  readonly hashKey: Uint8Array;
  /** Initial values of the replicated settings. */
  readonly settings: ReadonlyArray<readonly [string, number]>;
}

export function makeBootstrapEntry(bootstrap: Bootstrap, timeMs: number): Uint8Array {
  const payload = new TextEncoder().encode(
    JSON.stringify({
      databases: bootstrap.databases,
      hashKey: Buffer.from(bootstrap.hashKey).toString('hex'),
      settings: bootstrap.settings,
    }),
  );
  return makeEntry(EntryKind.bootstrap, 0, 1, timeMs, payload);
}

export function bootstrapFrom(entry: Uint8Array): Bootstrap {
  const raw = JSON.parse(new TextDecoder().decode(entry.subarray(ENTRY_HEADER_BYTES))) as {
    databases: number;
    hashKey: string;
    settings: [string, number][];
  };
  const hashKey = new Uint8Array(Buffer.from(raw.hashKey, 'hex'));
  assert(hashKey.length === 16, 'the hash key has 16 bytes');
  assert(raw.databases >= 1 && raw.databases <= DATABASES_MAX, () => `${raw.databases} databases`);
  return { databases: raw.databases, hashKey, settings: raw.settings };
}
