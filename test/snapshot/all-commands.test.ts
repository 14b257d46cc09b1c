// A node restored from a snapshot and one that never restarted run the same random stream on, of every command that there is: equal
// replies and digests all the way, and equal encodings, orders, versions and random picks. And that this can fail.
import { describe, expect, test } from 'vitest';
import type { Machine } from '../../src/machine/machine.ts';
import { VERSION_BUCKETS } from '../../src/keyspace/versions.ts';
import { LOCAL_READS, READS, WRITES } from './any-command.ts';
import { namesOf, Twins } from './twins.ts';

const SEEDS = 6;
const SEEDS_MAX = 40;
const STEPS = 400;
const DAMAGE_SEEDS = 12;
/** Seeds that failed once. */
const REGRESSIONS: readonly number[] = [3939860497];
/** A command that changes nothing that a digest tells. */
const WITHOUT_EFFECT: ReadonlySet<string> = new Set(['function|flush']);

const fresh = (): number => Math.floor(Math.random() * 2 ** 32);

test('every write and every read of the command table is in the stream', () => {
  expect(Object.keys(WRITES).sort()).toEqual(namesOf('write'));
  expect([...Object.keys(READS), ...LOCAL_READS].sort()).toEqual(namesOf('read'));
});

test('machines of snapshots go on as the one that never restarted', () => {
  const called = new Map<string, number>();
  const changed = new Map<string, number>();
  const counts = { restored: 0, executed: 0, aborted: 0 };
  const idle = (): string[] => namesOf('write').filter((name) => !WITHOUT_EFFECT.has(name) && !changed.has(name));
  const seeds = [...REGRESSIONS, ...Array.from({ length: SEEDS_MAX }, fresh)];
  for (const [i, seed] of seeds.entries()) {
    // More only until each command has changed something: a few seldom find what they need.
    if (i >= REGRESSIONS.length + SEEDS && idle().length === 0) break;
    const twins = new Twins({ seed, steps: STEPS });
    expect(twins.run()).toBeUndefined();
    for (const [total, own] of [[called, twins.called], [changed, twins.changed]] as const) {
      for (const [name, count] of own) total.set(name, (total.get(name) ?? 0) + count);
    }
    for (const name of ['restored', 'executed', 'aborted'] as const) counts[name] += twins.counts[name];
  }
  expect(idle(), `seeds ${seeds.join()}: these changed nothing`).toEqual([]);
  expect(namesOf('write').filter((name) => !called.has(name))).toEqual([]);
  expect(counts.restored).toBeGreaterThan(SEEDS);
  expect(counts.executed).toBeGreaterThan(100);
  expect(counts.aborted).toBeGreaterThan(20);
});

const DAMAGES: readonly (readonly [string, (machine: Machine) => void])[] = [
  ['versions of keys', ({ keyspace }) => {
    for (let n = 0; n < keyspace.databases; n++) for (let i = 0; i < keyspace.database(n).size; i++) keyspace.restoreKeyVersion(keyspace.database(n).at(i), 0);
  }],
  ['versions of absent keys', ({ keyspace }) => {
    for (let bucket = 0; bucket < VERSION_BUCKETS; bucket++) keyspace.restoreAbsentVersion(bucket, 0);
  }],
  ['the last checkpoint', (machine) => (machine.lastCheckpointIndex = 0)],
  ['what is published', ({ publishing }) => publishing.restore(undefined)],
  ['a setting', ({ settings }) => (settings['zset-max-listpack-entries'] += 1)],
  ['the order of keys', ({ keyspace }) => {
    for (let n = 0; n < keyspace.databases; n++) {
      const db = keyspace.database(n);
      if (db.size < 3) continue;
      const key = Buffer.from(keyspace.keyText(db.at(0)), 'latin1');
      const spare = Buffer.from('spare', 'latin1');
      db.rename(db.at(0), spare, 0, spare.length);
      db.rename(db.find(spare, 0, spare.length), key, 0, key.length);
    }
  }],
  ['a string that is raw', ({ keyspace }) => {
    const nothing = new Uint8Array(0);
    for (let i = 0; i < keyspace.database(0).size; i++) {
      const h = keyspace.database(0).at(i);
      if (keyspace.type(h) === 0) keyspace.database(0).append(h, nothing, 0, 0);
    }
  }],
];

describe('the comparison finds a machine that came of a snapshot without', () => {
  test.each(DAMAGES)('%s', (_, damage) => {
    const first = fresh();
    for (let seed = first; seed < first + DAMAGE_SEEDS; seed++) {
      let difference: string | undefined;
      try {
        difference = new Twins({ seed, steps: STEPS, damage }).run();
      } catch (thrown) {
        // Found by a checkpoint record; whatever else is thrown is a fault of the test.
        if (!/diverged at/.test(String(thrown instanceof Error ? (thrown.cause ?? thrown) : thrown))) throw thrown;
        difference = 'diverged';
      }
      if (difference !== undefined) return;
    }
    throw new Error(`none of ${DAMAGE_SEEDS} seeds from ${first} on found it`);
  });
});
