// The CONFIG parameters that apply reads. They are machine state: changed only by a log record (CONFIG SET becomes one),
// part of the snapshot and the digest. The configuration file only seeds them when a cluster is bootstrapped.
//
// What must hold:
// - Every value is a whole number inside its range, so that a record, a snapshot and the digest carry it as one.
// - REPLICATED_SETTING_NAMES is the order in snapshots and in the digest: names are only ever added, at its end.
// - The class has fields only: its keys are the settings.
import { BULK_BYTES_DEFAULT, MiB, RECORD_BYTES_MAX } from '../base/limits.ts';

export class ReplicatedSettings {
  /** Longest string that APPEND and SETRANGE may make, bytes. */
  'proto-max-bulk-len' = BULK_BYTES_DEFAULT;
  /** A hash with more fields than this, or a longer field or value, leaves its packed form. */
  'hash-max-listpack-entries' = 512;
  'hash-max-listpack-value' = 64;
  /** Positive: elements in a list's chunk. −1 to −5: a chunk of 4, 8, 16, 32, 64 KiB. */
  'list-max-listpack-size' = -2;
  /** Chunks at each end of a list that stay uncompressed; 0: nothing is compressed. */
  'list-compress-depth' = 0;
  /** A set of whole numbers with more members than this leaves its intset form. */
  'set-max-intset-entries' = 512;
  'zset-max-listpack-entries' = 128;
  'zset-max-listpack-value' = 64;
  /** Size of a stream's packed block, bytes and entries; 0: no bound. */
  'stream-node-max-bytes' = 4096;
  'stream-node-max-entries' = 100;
  /** A HyperLogLog's sparse form becomes dense beyond this, bytes. */
  'hll-sparse-max-bytes' = 3000;
}

export type ReplicatedSettingName = keyof ReplicatedSettings;

export const REPLICATED_SETTING_NAMES: readonly ReplicatedSettingName[] = [
  'proto-max-bulk-len',
  'hash-max-listpack-entries',
  'hash-max-listpack-value',
  'list-max-listpack-size',
  'list-compress-depth',
  'set-max-intset-entries',
  'zset-max-listpack-entries',
  'zset-max-listpack-value',
  'stream-node-max-bytes',
  'stream-node-max-entries',
  'hll-sparse-max-bytes',
];

export interface ReplicatedSettingRange {
  readonly min: number;
  readonly max: number;
}

const INT_MAX = 2 ** 31 - 1;
const ANY_COUNT: ReplicatedSettingRange = { min: 0, max: Number.MAX_SAFE_INTEGER };

export const REPLICATED_SETTING_RANGES: Readonly<Record<ReplicatedSettingName, ReplicatedSettingRange>> = {
  // A string that is written in one piece must fit in one log record, with its envelope.
  'proto-max-bulk-len': { min: MiB, max: RECORD_BYTES_MAX - MiB },
  'hash-max-listpack-entries': ANY_COUNT,
  'hash-max-listpack-value': ANY_COUNT,
  'list-max-listpack-size': { min: -(2 ** 31), max: INT_MAX },
  'list-compress-depth': { min: 0, max: INT_MAX },
  'set-max-intset-entries': ANY_COUNT,
  'zset-max-listpack-entries': ANY_COUNT,
  'zset-max-listpack-value': ANY_COUNT,
  'stream-node-max-bytes': ANY_COUNT,
  'stream-node-max-entries': ANY_COUNT,
  'hll-sparse-max-bytes': ANY_COUNT,
};

/** Redis's older names. */
export const REPLICATED_SETTING_ALIASES: Readonly<Record<string, ReplicatedSettingName>> = {
  'hash-max-ziplist-entries': 'hash-max-listpack-entries',
  'hash-max-ziplist-value': 'hash-max-listpack-value',
  'list-max-ziplist-size': 'list-max-listpack-size',
  'zset-max-ziplist-entries': 'zset-max-listpack-entries',
  'zset-max-ziplist-value': 'zset-max-listpack-value',
};

export function isReplicatedSetting(name: string): name is ReplicatedSettingName {
  return (REPLICATED_SETTING_NAMES as readonly string[]).includes(name);
}

/** The setting that CONFIG SET would mean by this name, letters in either case, aliases included. */
export function replicatedSettingOf(name: string): ReplicatedSettingName | undefined {
  const lower = name.toLowerCase();
  if (isReplicatedSetting(lower)) return lower;
  return Object.hasOwn(REPLICATED_SETTING_ALIASES, lower) ? REPLICATED_SETTING_ALIASES[lower] : undefined;
}

/** What apply checks of a record that sets one. */
export function isReplicatedSettingValue(name: ReplicatedSettingName, value: number): boolean {
  const { min, max } = REPLICATED_SETTING_RANGES[name];
  return Number.isSafeInteger(value) && value >= min && value <= max;
}
