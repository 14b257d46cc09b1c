// Snapshots in both directions with a live redis-server 7.0: ours passes redis-check-rdb and gives the same DEBUG DIGEST there; its
// dumps, with LZF, integers, packed and large values, deadlines and several databases, give the same digest here, and
// the same encodings that Redis itself gives them when it loads the file.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { DatasetDigest } from '../../src/commands/debug-digest.ts';
import { ReplicatedSettings } from '../../src/commands/replicated-settings.ts';
import type { Keyspace } from '../../src/keyspace/keyspace.ts';
import { encodingName } from '../../src/keyspace/types.ts';
import { Harness } from '../commands/harness.ts';
import { Oracle, oracleMissing } from '../commands/oracle.ts';
import { load, write } from './files.ts';
import { fillCommands } from './fill.ts';

const SEEDS = 3;
const KEYS = 300;
const FAR_MS = 4_000_000_000_000;

const checkRdb = spawnSync('redis-check-rdb', ['--version']).status === null ? 'redis-check-rdb is not installed' : undefined;

function allKeys(keyspace: Keyspace): { db: number; key: string; encoding: string }[] {
  const found: { db: number; key: string; encoding: string }[] = [];
  for (let number = 0; number < keyspace.databases; number++) {
    const db = keyspace.database(number);
    for (let i = 0; i < db.size; i++) found.push({ db: number, key: keyspace.keyText(db.at(i)), encoding: encodingName(keyspace.encoding(db.at(i))) });
  }
  return found;
}

/** Redis's encodings of these keys. */
async function encodingsOf(oracle: Oracle, keys: readonly { db: number; key: string }[]): Promise<string[]> {
  const replies = await oracle.wire(keys.flatMap(({ db, key }) => [['SELECT', db], ['OBJECT', 'ENCODING', key]]));
  return replies.filter((_, i) => i % 2 === 1).map((reply) => reply.split('\r\n')[1]!);
}

describe.skipIf(oracleMissing !== undefined)(`with redis-server (${oracleMissing ?? 'installed'})`, () => {
  let dir = '';
  const oracles: Oracle[] = [];
  const start = async (...options: string[]): Promise<Oracle> => {
    const oracle = await Oracle.start('--dir', dir, ...options);
    oracles.push(oracle);
    return oracle;
  };

  beforeAll(() => {
    dir = fs.mkdtempSync(path.join(os.tmpdir(), 'holdfast-rdb-'));
  });

  afterAll(async () => {
    for (const oracle of oracles) await oracle.stop();
    fs.rmSync(dir, { recursive: true, force: true });
  });

  test.for(Array.from({ length: SEEDS }, () => Math.floor(Math.random() * 2 ** 32)))('both ways, seed %i', async (seed) => {
    const random = new Prng(seed);
    const harness = new Harness();
    const oracle = await start('--dbfilename', `theirs-${seed}.rdb`);
    // Without scores of −0: Redis makes them 0 where a sorted set comes to be packed in a load.
    const commands = [...fillCommands(random, KEYS, FAR_MS, ['0'])];
    for (const { db, words } of commands) {
      harness.db = db;
      harness.wire(...words);
    }
    await oracle.wire(commands.flatMap(({ db, words }) => [['SELECT', db], words]));
    const digest = `+${new DatasetDigest(harness.keyspace).all()}\r\n`;
    expect(await oracle.one('DEBUG', 'DIGEST')).toBe(digest);

    const ours = path.join(dir, `ours-${seed}.rdb`);
    fs.writeFileSync(ours, write(harness.keyspace, [['redis-ver', '7.0.15'], ['holdfast-index', '12']]));
    if (checkRdb === undefined) {
      const check = spawnSync('redis-check-rdb', [ours], { encoding: 'utf8' });
      expect(check.stdout).toContain('\\o/ RDB looks OK! \\o/');
      expect(check.status).toBe(0);
    }
    const reader = await start('--dbfilename', path.basename(ours));
    expect(await reader.one('DEBUG', 'DIGEST')).toBe(digest);

    expect(await oracle.one('SAVE')).toBe('+OK\r\n');
    const theirs = fs.readFileSync(path.join(dir, `theirs-${seed}.rdb`));
    const { keyspace, report } = load(theirs, { settings: new ReplicatedSettings() }, 50_000, random);
    expect(report.checked).toBe(true);
    expect(report.aux.get('redis-ver')).toBe('7.0.15');
    expect(keyspace.digest()).toEqual(keyspace.digestSlow());
    const again = await start('--dbfilename', `theirs-${seed}.rdb`);
    expect(`+${new DatasetDigest(keyspace).all()}\r\n`).toBe(digest);
    const keys = allKeys(keyspace);
    expect(await encodingsOf(again, keys)).toEqual(keys.map(({ encoding }) => encoding));
    for (const one of oracles.splice(0)) await one.stop();
  });

  test('digests of single values are those of Redis', async () => {
    const harness = new Harness();
    const oracle = await start();
    const commands = [...fillCommands(new Prng(11), 60, FAR_MS)].filter(({ db }) => db === 0);
    for (const { words } of commands) harness.wire(...words);
    await oracle.wire(commands.map(({ words }) => words));
    const { keyspace } = harness;
    const db = keyspace.database(0);
    const digest = new DatasetDigest(keyspace);
    const keys = Array.from({ length: db.size }, (_, i) => keyspace.keyText(db.at(i)));
    const own = Array.from({ length: db.size }, (_, i) => digest.value(db.at(i)));
    const reply = await oracle.one('DEBUG', 'DIGEST-VALUE', ...keys, 'missing');
    expect(reply.split('\r\n').slice(1, -1)).toEqual([...own, digest.value(0)].map((text) => `+${text}`));
  });

  test('a dump with lists, sets and streams names the first that we do not have', async () => {
    const oracle = await start('--dbfilename', 'others.rdb');
    for (const words of [['RPUSH', 'thelist', 'a'], ['SADD', 'theset', 'a'], ['SADD', 'ints', 1], ['XADD', 'thestream', '*', 'a', 'b']]) {
      await oracle.one('FLUSHALL');
      await oracle.one('SET', 'a', 'b');
      await oracle.one(...words);
      await oracle.one('SAVE');
      const file = fs.readFileSync(path.join(dir, 'others.rdb'));
      expect(() => load(file, {})).toThrow(/^key "(thelist|theset|ints|thestream)" of database 0 holds a (list|set|stream), which Holdfast does not have yet, at byte \d+$/);
    }
  });

  test('functions are left out and counted', async () => {
    const oracle = await start('--dbfilename', 'functions.rdb');
    await oracle.one('FUNCTION', 'LOAD', "#!lua name=lib\nredis.register_function('f', function() return 1 end)");
    await oracle.one('SET', 'a', 'b');
    await oracle.one('SAVE');
    expect(load(fs.readFileSync(path.join(dir, 'functions.rdb')), {}).report).toMatchObject({ functionLibraries: 1, keys: 1 });
  });
});
