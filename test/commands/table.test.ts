import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { allCommands } from '../../src/commands/all.ts';
import type { CommandSpec } from '../../src/commands/spec.ts';
import { aclCategoriesOf, CommandTable, keyFlagsOf, keySpecCount, pushKeyPositions } from '../../src/commands/table.ts';
import { KEY_BYTES_MAX } from '../../src/keyspace/record.ts';
import { Args } from '../../src/resp/args.ts';
import { Oracle, oracleMissing } from './oracle.ts';
import { parseReply, type ReplyValue } from './recorded-reply.ts';

const table = new CommandTable(allCommands);

function argsOf(...words: string[]): Args {
  const args = new Args();
  args.reset(Buffer.from(words.join(''), 'latin1'));
  let at = 0;
  for (const word of words) args.push(at, (at += word.length));
  return args;
}

function keysOf(...words: string[]): number[] {
  const args = argsOf(...words);
  const positions: number[] = [];
  pushKeyPositions(table.lookup(args)!, args, (position) => positions.push(position));
  return positions;
}

/** Every declaration with its full name, subcommands too. */
function* everySpec(): Iterable<[string, CommandSpec]> {
  for (const spec of table.specs) {
    yield [spec.name, spec];
    for (const sub of spec.subcommands ?? []) yield [`${spec.name}|${sub.name}`, sub];
  }
}

describe('lookup', () => {
  test('letters in either case, and only whole names', () => {
    expect(table.lookup(argsOf('get', 'k'))?.name).toBe('get');
    expect(table.lookup(argsOf('GeT', 'k'))?.name).toBe('get');
    for (const name of ['ge', 'gett', '', 'get ', 'g\x05t', '\x07et', 'get\0', 'x'.repeat(100_000)]) {
      expect(table.lookup(argsOf(name))).toBe(undefined);
    }
  });

  test('every name is found, under its full name too', () => {
    for (const [name, spec] of everySpec()) {
      expect(table.lookup(argsOf(...name.toUpperCase().split('|'), 'x')) ?? spec.subcommands).toBe(
        spec.subcommands === undefined ? spec : spec.subcommands,
      );
      expect(table.lookupName(name)).toBe(spec);
      expect(table.fullName(spec)).toBe(name);
    }
  });

  test('subcommands', () => {
    expect(table.lookup(argsOf('object', 'ENCODING', 'k'))?.name).toBe('encoding');
    expect(table.lookup(argsOf('object'))?.name).toBe('object');
    expect(table.lookup(argsOf('object', 'nope'))).toBe(undefined);
    expect(table.unknownFault(argsOf('Object', 'nope'))).toBe("ERR unknown subcommand 'nope'. Try OBJECT HELP.");
    expect(table.lookupName('object|nope')).toBe(undefined);
    expect(table.lookupName('get|x')).toBe(undefined);
    expect(table.lookupName('object|encoding|x')).toBe(undefined);
  });

  test('error texts', () => {
    expect(table.unknownFault(argsOf('nope', 'a', 'b'))).toBe("ERR unknown command 'nope', with args beginning with: 'a' 'b' ");
    expect(table.unknownFault(argsOf('x'.repeat(200)))).toBe(`ERR unknown command '${'x'.repeat(128)}', with args beginning with: `);
    const sub = argsOf('object', 'encoding');
    expect(table.argumentsFault(table.lookup(sub)!, sub)).toBe("ERR wrong number of arguments for 'object|encoding' command");
    expect(table.argumentsFault(table.lookupName('get')!, argsOf('get', 'k'))).toBe(undefined);
    expect(table.argumentsFault(table.lookupName('get')!, argsOf('get', 'k', 'k'))).toBe("ERR wrong number of arguments for 'get' command");
    expect(table.argumentsFault(table.lookupName('del')!, argsOf('del'))).toBe("ERR wrong number of arguments for 'del' command");
  });

  test('a key that is longer than one may be is refused by its length, wherever it stands; a value is not', () => {
    const long = 'k'.repeat(KEY_BYTES_MAX + 1);
    const fault = `ERR a key of ${long.length} bytes is longer than the ${KEY_BYTES_MAX} that one may have`;
    const check = (...words: string[]): string | undefined => table.argumentsFault(table.lookupName(words[0]!)!, argsOf(...words));
    expect(check('get', long)).toBe(fault);
    expect(check('set', long, 'v')).toBe(fault);
    expect(check('mset', 'a', long, 'b', 'v', long, 'v')).toBe(fault);
    expect(check('zunion', '2', 'a', long)).toBe(fault);
    expect(check('set', 'k', long)).toBeUndefined();
    expect(check('get', long.slice(1))).toBeUndefined();
  });

  test('a name twice, or not in lower case, is a mistake', () => {
    const [spec] = allCommands;
    expect(() => new CommandTable([spec!, spec!])).toThrow('twice');
    expect(() => new CommandTable([{ ...spec!, name: 'Get' }])).toThrow('lower case');
  });
});

describe('keys', () => {
  test('positions', () => {
    expect(keysOf('GET', 'k')).toEqual([1]);
    expect(keysOf('MSET', 'a', '1', 'b', '2')).toEqual([1, 3]);
    expect(keysOf('DEL', 'a', 'b', 'c')).toEqual([1, 2, 3]);
    expect(keysOf('COPY', 'a', 'b', 'DB', '1')).toEqual([1, 2]);
    expect(keysOf('OBJECT', 'ENCODING', 'k')).toEqual([2]);
    expect(keysOf('DBSIZE')).toEqual([]);
    expect(keysOf('DEL')).toEqual([]);
  });

  test('flags by key', () => {
    const copy = table.lookupName('copy')!;
    expect(keySpecCount(copy)).toBe(2);
    expect(keyFlagsOf(copy, 0)).toEqual(['RO', 'access']);
    expect(keyFlagsOf(copy, 1)).toEqual(['OW', 'update']);
    const mget = table.lookupName('mget')!;
    expect(keyFlagsOf(mget, 5)).toEqual(['RO', 'access']);
  });
});

describe('declarations', () => {
  test.each([...everySpec()])('%s agrees with itself', (_name, spec) => {
    if (spec.subcommands === undefined) {
      if (spec.class === 'write') expect(spec.flags).toContain('write');
      if (spec.flags.includes('write')) expect(spec.class).toBe('write');
    }
    expect(spec.summary.length).toBeGreaterThan(10);
    expect(spec.complexity).not.toBe('');
    expect(spec.since).toMatch(/^\d+\.\d+\.\d+$/);
    if (spec.keys.first > 0) expect(spec.keyFlags?.length).toBeGreaterThan(0);
  });
});

/** Where a declaration is meant to differ from Redis 7.0.15's COMMAND INFO, and why. */
const DIFFERENCES: ReadonlyMap<string, string> = new Map([
  ['client|no-touch', 'of Redis 7.2: newer clients send it when they connect'],
  ['holdfast', 'ours'],
  ['holdfast|addnode', 'ours'],
  ['holdfast|help', 'ours'],
  ['holdfast|index', 'ours'],
  ['holdfast|members', 'ours'],
  ['holdfast|publish', 'ours'],
  ['holdfast|read', 'ours'],
  ['holdfast|removenode', 'ours'],
  ['holdfast|snapshots', 'ours'],
  ['holdfast|snapshotter', 'ours'],
  ['holdfast|status', 'ours'],
  ['holdfast|transfer', 'ours'],
]);

interface Info {
  readonly arity: ReplyValue;
  readonly flags: string[];
  readonly keys: ReplyValue[];
  readonly categories: string[];
  readonly keyFlags: string[][];
}

/** Redis's COMMAND INFO entries, subcommands too, by full name. */
function collect(entry: ReplyValue, into: Map<string, Info>): void {
  const [name, arity, flags, first, last, step, categories, , keySpecs, subcommands] = entry as ReplyValue[];
  into.set(name as string, {
    arity: arity!,
    flags: (flags as string[]).filter((flag) => flag !== 'movablekeys').sort(),
    keys: [first!, last!, step!],
    categories: categories as string[],
    keyFlags: (keySpecs as ReplyValue[][]).map((spec) => spec[spec.indexOf('flags') + 1] as string[]),
  });
  for (const sub of subcommands as ReplyValue[]) collect(sub, into);
}

describe.skipIf(oracleMissing !== undefined)(`COMMAND INFO of redis-server${oracleMissing === undefined ? '' : ` (skipped: ${oracleMissing})`}`, () => {
  let oracle: Oracle;
  const theirs = new Map<string, Info>();
  beforeAll(async () => {
    oracle = await Oracle.start();
    for (const entry of parseReply(await oracle.one('COMMAND')) as ReplyValue[]) collect(entry, theirs);
  });
  afterAll(() => oracle.stop());

  test.each([...everySpec()])('%s', (name, spec) => {
    if (DIFFERENCES.has(name)) return;
    const { keys } = spec;
    const ours: Info = {
      arity: spec.arity,
      flags: spec.flags.filter((flag) => flag !== 'movablekeys' && flag !== 'may_replicate').sort(),
      keys: [keys.first, keys.last, keys.step],
      categories: aclCategoriesOf(spec).map((category) => `@${category}`),
      keyFlags: Array.from({ length: keySpecCount(spec) }, (_, i) => [...keyFlagsOf(spec, i)]),
    };
    expect(ours).toEqual(theirs.get(name));
  });

  test('differences that are listed are differences', () => {
    for (const name of DIFFERENCES.keys()) {
      expect(table.lookupName(name), name).toBeDefined();
      expect(theirs.has(name), name).toBe(false);
    }
  });
});
