// expected.json: every failing test of Redis's suite has a reason, each reason stands in docs/differences.md, and the counts agree.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { MiB } from '../../src/base/limits.ts';
import { allCommands } from '../../src/commands/all.ts';
import { PICKS_MAX } from '../../src/commands/hashes-walk.ts';
import { CommandTable } from '../../src/commands/table.ts';
import { MEMBER_BYTES_MAX } from '../../src/commands/zset-values.ts';
import { FIELD_AND_VALUE_BYTES_MAX } from '../../src/keyspace/field-table.ts';
import { FREED_AT_ONCE_MAX, PACKED_BYTES_MAX } from '../../src/keyspace/value-kinds.ts';
import { DIRECTIVE_NAMES, directive } from '../../src/server/config-directives.ts';

interface Failure {
  readonly reason: string;
  /** The command, or the use of one, that the test needs and Holdfast does not have. */
  readonly needs?: string;
  /** For `follows`: the failing test before it that left the connection unusable. */
  readonly after?: string;
  readonly note?: string;
}

interface Unit {
  readonly ok: number;
  readonly err: number;
  readonly ignored: number;
  readonly failures: Readonly<Record<string, Failure>>;
}

interface Expectation {
  readonly suite: string;
  readonly units: Readonly<Record<string, Unit>>;
  readonly throughFollower: Readonly<Record<string, Readonly<Record<string, Failure>>>>;
}

const read = (path: string): string => readFileSync(fileURLToPath(new URL(`../../${path}`, import.meta.url)), 'utf8');
const expectation = JSON.parse(read('test/redis-suite/expected.json')) as Expectation;
const differences = read('docs/differences.md');

/** Rows of the page's tables: id → the row. */
const rows = new Map(Array.from(differences.matchAll(/^\| `([a-z-]+)` \|.*$/gm), ([row, id]) => [id!, row] as const));

const failures: Array<readonly [string, string, Failure]> = [
  ...Object.entries(expectation.units).flatMap(([unit, { failures: of }]) => Object.entries(of).map(([name, why]) => [unit, name, why] as const)),
  ...Object.entries(expectation.throughFollower).flatMap(([unit, of]) => Object.entries(of).map(([name, why]) => [unit, name, why] as const)),
];

/** The units that the issues ask for. */
const WANTED = [
  'unit/type/string', 'unit/type/incr', 'unit/keyspace', 'unit/expire', 'unit/multi', 'unit/protocol', 'unit/scan', 'unit/quit', 'unit/info-command', 'unit/auth',
  'unit/type/hash', 'unit/type/zset',
];

describe("what Redis's suite is expected to say", () => {
  test('is known for every unit', () => {
    expect(Object.keys(expectation.units)).toEqual(expect.arrayContaining(WANTED));
    for (const [unit, { err, failures: of }] of Object.entries(expectation.units)) {
      expect(Object.keys(of), `${unit}: err`).toHaveLength(err);
    }
  });

  test.each(failures)('%s: %s has a reason that is documented', (unit, _name, { reason, needs, after }) => {
    expect(rows.get(reason), `'${reason}' is an id in docs/differences.md`).toBeDefined();
    if (reason !== 'follows') {
      expect(needs ?? '', 'what it needs').not.toBe('');
      return;
    }
    const cause = expectation.units[unit]!.failures[after ?? ''];
    expect(cause, `the test that it follows, '${after}', fails too`).toBeDefined();
    expect(cause!.reason, 'and for a reason of its own').not.toBe('follows');
  });

  test('a command that it needs is not there, or the list is out of date', () => {
    const table = new CommandTable(allCommands);
    const present = failures
      .filter(([, , { reason }]) => reason === 'command-of-another-issue')
      .map(([, , { needs }]) => needs!)
      .filter((needs) => table.lookupName(needs.toLowerCase().replace(' ', '|')) !== undefined);
    expect(present).toEqual([]);
  });
});

describe('docs/differences.md', () => {
  test('each table is sorted by id, and no id is there twice', () => {
    for (const table of differences.split(/^## /m)) {
      const ids = Array.from(table.matchAll(/^\| `([a-z-]+)` \|/gm), ([, id]) => id!);
      expect(ids).toEqual([...new Set(ids)].sort());
    }
    expect(rows.size).toBeGreaterThan(20);
  });

  test('every row says what and why', () => {
    for (const [id, row] of rows) {
      const cells = row.split('|').slice(1, -1).map((cell) => cell.trim());
      expect(cells.every((cell) => cell !== ''), id).toBe(true);
    }
  });

  test('the limits that it names are the ones there are', () => {
    const named = (id: string): number[] => Array.from(rows.get(id)!.matchAll(/\d[\d.]*/g), ([digits]) => Number(digits));
    expect(named('element-size')).toEqual(expect.arrayContaining([FIELD_AND_VALUE_BYTES_MAX, MEMBER_BYTES_MAX, MEMBER_BYTES_MAX / MiB]));
    expect(named('packed-size')).toContain(PACKED_BYTES_MAX / MiB);
    expect(named('random-picks')).toContain(PICKS_MAX);
    expect(named('memory')).toContain(FREED_AT_ONCE_MAX);
  });

  test('the directives of one value that it names are the ones there are', () => {
    const named = Array.from(rows.get('config-fixed')!.matchAll(/`([a-z-]+)`/g), ([, name]) => name!).slice(1);
    expect(named).toEqual(DIRECTIVE_NAMES.filter((name) => directive(name).group === 'fixed').sort());
  });
});
