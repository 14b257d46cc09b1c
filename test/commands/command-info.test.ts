import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { dataCommands } from '../../src/commands/all.ts';
import type { CommandSpec } from '../../src/commands/spec.ts';
import { Oracle, oracleMissing } from './oracle.ts';
import { parseReply, type ReplyValue } from './recorded-reply.ts';
import { sessionCommands, SessionHarness } from './session-harness.ts';

const everything: readonly CommandSpec[] = [...dataCommands, ...sessionCommands.filter(({ name }) => !dataCommands.some((one) => one.name === name))];
/** Not Redis 7.0's. */
const OWN = ['holdfast', 'client|no-touch'];

const node = (protocol: 2 | 3 = 2): SessionHarness => new SessionHarness({ specs: everything, protocol });
const list = (value: ReplyValue | undefined): ReplyValue[] => {
  if (!Array.isArray(value)) throw new Error(`not an array: ${JSON.stringify(value)}`);
  return value;
};

describe('COMMAND', () => {
  test('bare, INFO and COUNT agree on how many there are', () => {
    expect(list(node().run('command'))).toHaveLength(everything.length);
    expect(list(node().run('command', 'info'))).toHaveLength(everything.length);
    expect(node().run('command', 'count')).toBe(everything.length);
    // LIST alone names the subcommands too.
    const names = list(node().run('command', 'list')).map(String);
    expect(names.filter((name) => !name.includes('|'))).toHaveLength(everything.length);
    expect(names).toContain('config|get');
  });

  test('INFO finds commands and subcommands in either case, and says nil for others', () => {
    const [get, sub, nothing, half] = list(node().run('command', 'info', 'GET', 'Config|Get', 'nonsense', 'config|nonsense'));
    expect(list(get).slice(0, 6)).toEqual(['get', 2, ['readonly', 'fast'], 1, 1, 1]);
    expect(list(sub)[0]).toBe('config|get');
    expect(nothing).toBeNull();
    expect(half).toBeNull();
  });

  test('LIST filters by category, pattern and module', () => {
    expect(node().run('command', 'list', 'filterby', 'aclcat', 'transaction')).toEqual(['multi', 'exec', 'discard', 'watch', 'unwatch']);
    expect(node().run('command', 'list', 'filterby', 'pattern', 'CONFIG*')).toEqual([
      'config',
      'config|get',
      'config|help',
      'config|resetstat',
      'config|rewrite',
      'config|set',
    ]);
    expect(node().run('command', 'list', 'filterby', 'module', 'x')).toEqual([]);
    expect(node().run('command', 'list', 'filterby', 'aclcat', 'nonsense')).toEqual([]);
  });

  test('GETKEYS of commands with fixed, with all and with counted keys', () => {
    expect(node().run('command', 'getkeys', 'get', 'k')).toEqual(['k']);
    expect(node().run('command', 'getkeys', 'mset', 'a', '1', 'b', '2')).toEqual(['a', 'b']);
    expect(node().run('command', 'getkeys', 'del', 'a', 'b', 'c')).toEqual(['a', 'b', 'c']);
    expect(node().run('command', 'getkeys', 'object', 'encoding', 'k')).toEqual(['k']);
  });

  test('every documented command has all fields', () => {
    for (const spec of everything) {
      for (const one of [spec, ...(spec.subcommands ?? [])]) {
        expect([one.summary, one.since, one.group, one.complexity].every((text) => text.length > 0), one.name).toBe(true);
      }
    }
    const docs = list(node().run('command', 'docs', 'get', 'nonsense', 'client|id'));
    expect([docs[0], docs[2]]).toEqual(['get', 'client|id']);
    expect(docs).toHaveLength(4);
  });
});

describe.skipIf(oracleMissing !== undefined)('as redis-server answers', () => {
  let redis: Oracle;
  beforeAll(async () => {
    redis = await Oracle.start();
  });
  afterAll(() => redis.stop());

  /** What must be the same: name, arity, flags, key positions, categories, key specs. Tips and notes are left out. */
  function comparable(info: ReplyValue): unknown {
    if (info === null) return null;
    const [name, arity, flags, first, last, step, categories, , keySpecs] = list(info);
    const withoutNotes = list(keySpecs).map((keySpec) => (list(keySpec)[0] === 'notes' ? list(keySpec).slice(2) : keySpec));
    const sorted = (values: ReplyValue | undefined): ReplyValue[] => [...list(values)].sort();
    return { name, arity, flags: sorted(flags), first, last, step, categories: sorted(categories), keySpecs: withoutNotes };
  }

  const names = everything
    .flatMap((spec) => [spec.name, ...(spec.subcommands ?? []).map((sub) => `${spec.name}|${sub.name}`)])
    .filter((name) => !OWN.some((own) => name === own || name.startsWith(`${own}|`)));
  test.each(names)('COMMAND INFO %s', async (name) => {
    const [ours] = list(node().run('command', 'info', name));
    const [theirs] = list(parseReply(await redis.one('command', 'info', name)));
    expect(comparable(ours!)).toEqual(comparable(theirs!));
  });

  test.each(names)('COMMAND DOCS %s: since, group', async (name) => {
    const fields = (docs: ReplyValue): Map<ReplyValue, ReplyValue> => {
      const flat = list(list(docs)[1]);
      return new Map(flat.flatMap((field, i) => (i % 2 === 0 ? [[field, flat[i + 1]!] as const] : [])));
    };
    const ours = fields(node().run('command', 'docs', name)!);
    const theirs = fields(parseReply(await redis.one('command', 'docs', name)));
    for (const field of ['since', 'group']) expect(ours.get(field), field).toEqual(theirs.get(field));
  });

  test.each(['string', 'hash', 'sortedset'])('every command of the category %s is there, but for those that block', async (category) => {
    const theirs = list(parseReply(await redis.one('command', 'list', 'filterby', 'aclcat', category)));
    const blocking = new Set(list(parseReply(await redis.one('command', 'list', 'filterby', 'aclcat', 'blocking'))));
    const ours = list(node().run('command', 'list', 'filterby', 'aclcat', category));
    expect(theirs.length).toBeGreaterThan(15);
    // SORT is of three categories, and comes with the last of their types.
    const wanted = theirs.filter((name) => !blocking.has(name) && name !== 'sort' && name !== 'sort_ro');
    expect([...ours].sort()).toEqual(wanted.sort());
  });

  const same: ReadonlyArray<readonly string[]> = [
    ['command', 'getkeys', 'nonsense', 'x'],
    ['command', 'getkeys', 'ping', 'x'],
    ['command', 'getkeys', 'get', 'x', 'y'],
    ['command', 'getkeys', 'mset', 'a', 'b', 'c', 'd'],
    ['command', 'getkeys', 'get'],
    ['command', 'getkeys', 'config', 'get', 'x'],
    ['command', 'getkeys', 'config', 'nonsense'],
    ['command', 'getkeysandflags', 'mset', 'k', 'v', 'l', 'w'],
    ['command', 'getkeysandflags', 'copy', 'a', 'b'],
    ['command', 'list', 'filterby'],
    ['command', 'list', 'filterby', 'x', 'y'],
    ['command', 'list', 'nonsense'],
    ['command', 'list', 'filterby', 'aclcat', 'nonsense'],
    ['command', 'docs', 'nonsense'],
    ['command', 'info', 'nonsense'],
  ];
  test.each(same.map((words) => [words.join(' '), words] as const))('%s', async (_name, words) => {
    expect(node().wire(...words)).toBe(await redis.one(...words));
  });

  test('in RESP3, too, the shapes are the same', async () => {
    await redis.one('hello', '3');
    for (const name of ['get', 'mget', 'copy', 'watch', 'ping']) {
      // Tips differ: ours are always the empty set.
      const withoutTips = (wire: string): string => wire.replace(/~\d+\r\n(\$\d+\r\n(nondeterministic|request_policy|response_policy)[a-z_:]*\r\n)+/, '~0\r\n');
      const [theirs, ours] = [await redis.one('command', 'info', name), node(3).wire('command', 'info', name)];
      const kinds = (wire: string): string => withoutTips(wire).replace(/^\+.*\r\n/gm, '+\r\n');
      expect(kinds(ours), name).toBe(kinds(theirs));
    }
    await redis.one('hello', '2');
  });
});
