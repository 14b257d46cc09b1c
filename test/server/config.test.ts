import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { ReplicatedSettings, REPLICATED_SETTING_NAMES, isReplicatedSettingValue, replicatedSettingOf } from '../../src/commands/replicated-settings.ts';
import { Config, exampleConfig } from '../../src/server/config.ts';
import { DIRECTIVE_NAMES, directive, defaultValues, directiveNamesAndAliases, peerPortOf, relationMistakes } from '../../src/server/config-directives.ts';
import { loadConfig, splitWords } from '../../src/server/config-file.ts';
import { Oracle, oracleMissing } from '../commands/oracle.ts';
import { MemoryFiles } from './memory-files.ts';

const PATH = '/etc/holdfast.conf';

interface Node {
  readonly config: Config;
  readonly files: MemoryFiles;
  readonly settings: ReplicatedSettings;
  /** CONFIG SET, replicated part included. */
  readonly set: (...words: string[]) => string | undefined;
  readonly get: (...patterns: string[]) => Record<string, string>;
}

function node(text = '', args: readonly string[] = [], more: Readonly<Record<string, string>> = {}): Node {
  const files = new MemoryFiles({ [PATH]: text, ...more });
  const settings = new ReplicatedSettings();
  const config = new Config(loadConfig(files, PATH, args), files, () => settings);
  Object.assign(settings, config.seed());
  return {
    config,
    files,
    settings,
    set: (...words) => {
      const pairs: Array<readonly [string, string]> = [];
      for (let i = 0; i < words.length; i += 2) pairs.push([words[i]!, words[i + 1]!]);
      const change = config.check(pairs);
      if (typeof change === 'string') return change;
      config.apply(change);
      for (const [name, value] of change.replicated) {
        expect(isReplicatedSettingValue(name, value)).toBe(true);
        settings[name] = value;
      }
      return undefined;
    },
    get: (...patterns) => Object.fromEntries(config.get(patterns)),
  };
}

describe('declarations', () => {
  test('every default reads back from its own lines and from its own text', () => {
    for (const name of DIRECTIVE_NAMES) {
      const { parse, lines, format, defaultValue, multiple } = directive(name);
      let value: unknown;
      for (const words of lines(defaultValue)) {
        const parsed = parse(words, value);
        if (!parsed.ok) throw new Error(`${name}: ${parsed.error}`);
        value = parsed.value;
      }
      // A list without elements has no lines.
      expect(value ?? defaultValue, name).toEqual(defaultValue);
      const text = format(defaultValue);
      const again = parse(multiple ? text.split(' ') : [text], undefined);
      expect(again.ok && again.value, name).toEqual(defaultValue);
    }
  });

  test('names and aliases are lower case and unique', () => {
    const all = DIRECTIVE_NAMES.flatMap((name) => [name as string, ...directive(name).aliases]);
    expect(new Set(all).size).toBe(all.length);
    expect(all.every((name) => /^[a-z][a-z0-9-]*$/.test(name))).toBe(true);
    expect([...directiveNamesAndAliases()]).toHaveLength(all.length);
  });

  test('the defaults fit together', () => {
    expect(relationMistakes(defaultValues())).toEqual([]);
  });

  test('the limit of the log leaves room for what it has in normal operation, where it is cut at all', () => {
    const mistakes = (values: object): string[] => relationMistakes({ ...defaultValues(), ...values }).map(({ directive: name }) => name);
    const [store, GiB] = ['/objects', 2 ** 30];
    expect(mistakes({ 'object-store': store, 'log-disk-bytes-max': 4 * GiB })).toEqual(['log-disk-bytes-max']);
    expect(mistakes({ 'object-store': store, 'log-disk-bytes-max': 4 * GiB + 2 ** 26 })).toEqual([]);
    expect(mistakes({ 'log-disk-bytes-max': 2 ** 26 - 1 })).toEqual(['log-disk-bytes-max']);
    expect(mistakes({ 'log-disk-bytes-max': 2 ** 26 })).toEqual([]);
    expect(mistakes({ 'object-store': store, 'log-disk-bytes-max': 0, 'snapshot-log-bytes': 100 * GiB })).toEqual([]);
  });

  test('replicated directives are the replicated settings, with their defaults', () => {
    expect(DIRECTIVE_NAMES.filter((name) => directive(name).replicated).sort()).toEqual([...REPLICATED_SETTING_NAMES].sort());
    expect(Object.keys(new ReplicatedSettings()).sort()).toEqual([...REPLICATED_SETTING_NAMES].sort());
    for (const name of REPLICATED_SETTING_NAMES) expect(directive(name).defaultValue).toBe(new ReplicatedSettings()[name]);
    expect(replicatedSettingOf('HASH-MAX-ziplist-value')).toBe('hash-max-listpack-value');
    expect(replicatedSettingOf('constructor')).toBeUndefined();
  });

  test('the port for peers', () => {
    expect(peerPortOf(node('port 7000').config.values)).toBe(17000);
    expect(peerPortOf(node('peers n1=h:7100').config.values)).toBe(7100);
    expect(peerPortOf(node('peers n1=h:7100\npeer-port 7200').config.values)).toBe(7200);
  });
});

describe('CONFIG GET', () => {
  test('names, aliases, patterns, either case, each once, hidden ones by name only', () => {
    const { get } = node('failpoint x 1');
    expect(get('port', 'PORT', 'nonsense')).toEqual({ port: '6379', PORT: '6379' });
    expect(get('hash-max-ziplist-*', 'hash-max-ziplist-entries')).toEqual({ 'hash-max-ziplist-entries': '512', 'hash-max-ziplist-value': '64' });
    expect(Object.keys(get('*'))).toEqual([...directiveNamesAndAliases()].map(([name]) => name).filter((name) => name !== 'failpoint'));
    expect(get('failpoint')).toEqual({ failpoint: 'x 1' });
    expect(get('appendonly', 'appendfsync', 'save')).toEqual({ appendonly: 'yes', appendfsync: 'always', save: '' });
  });

  test('replicated settings are those of the machine, not of the file', () => {
    const { get, settings } = node('hash-max-listpack-entries 7');
    expect(get('hash-max-listpack-entries')).toEqual({ 'hash-max-listpack-entries': '7' });
    settings['hash-max-listpack-entries'] = 9;
    expect(get('hash-max-listpack-entries')).toEqual({ 'hash-max-listpack-entries': '9' });
  });
});

describe('CONFIG SET', () => {
  test('changes all of them or none, and tells listeners once', () => {
    const { set, get, config } = node();
    const heard: string[][] = [];
    config.onChange((changed) => heard.push([...changed].sort()));
    expect(set('maxmemory', '1mb', 'Timeout', '5')).toBeUndefined();
    expect(get('maxmemory', 'timeout')).toEqual({ maxmemory: '1048576', timeout: '5' });
    expect(set('maxmemory', '2mb', 'timeout', 'x')).toMatch(/possibly related to argument 'timeout'/);
    expect(set('maxmemory', '2mb', 'nonsense', '1')).toBe("ERR Unknown option or number of arguments for CONFIG SET - 'nonsense'");
    expect(get('maxmemory')).toEqual({ maxmemory: '1048576' });
    expect(set('timeout', '5')).toBeUndefined();
    expect(heard).toEqual([['maxmemory', 'timeout']]);
  });

  test('machine state is only checked and handed on', () => {
    const { config } = node();
    const change = config.check([
      ['hash-max-ziplist-entries', '3'],
      ['maxmemory', '5'],
      ['list-max-listpack-size', '-5'],
    ]);
    expect(change).toEqual({
      local: { maxmemory: 5 },
      replicated: [
        ['hash-max-listpack-entries', 3],
        ['list-max-listpack-size', -5],
      ],
    });
    expect(config.values.maxmemory).toBe(0);
  });

  test('fixed truths take only themselves, in either case', () => {
    const { set } = node();
    expect(set('appendonly', 'YES', 'appendfsync', 'always', 'save', '')).toBeUndefined();
    expect(set('appendonly', 'no')).toBe(
      "ERR CONFIG SET failed (possibly related to argument 'appendonly') - it is always yes in Holdfast: every write is in the replicated log before its reply",
    );
    expect(set('save', '900 1')).toMatch(/always ""/);
  });

  test('what only a start can change', () => {
    const { set } = node();
    for (const name of ['port', 'peers', 'dir', 'databases', 'node-id', 'election-timeout-ms', 'bind']) {
      expect(set(name, '1')).toBe(`ERR CONFIG SET failed (possibly related to argument '${name}') - can't set immutable config`);
    }
  });

  test('client-output-buffer-limit changes the classes that it names', () => {
    const { set, get } = node();
    expect(set('client-output-buffer-limit', 'pubsub 1 2 3 normal 4mb 0 0')).toBeUndefined();
    expect(get('client-output-buffer-limit')).toEqual({ 'client-output-buffer-limit': 'normal 4194304 0 0 slave 268435456 67108864 60 pubsub 1 2 3' });
  });

  test('relations hold after it, too', () => {
    expect(node().set('uncertain-after-ms', '200')).toMatch(/possibly related to argument 'uncertain-after-ms'.*election-timeout-ms/);
  });
});

describe('CONFIG REWRITE', () => {
  test('keeps comments, order and what it need not touch; changes lines in place; adds the rest at the end', () => {
    const { set, config, files } = node('# My node\nport 7000\n\n# memory\nmaxmemory 100mb   \nTimeout 3\nmaxmemory 200mb\n');
    set('maxmemory', '1gb', 'maxclients', '50', 'requirepass', 'a "b"');
    expect(config.rewrite()).toBeUndefined();
    expect(files.contents.get(PATH)).toBe(
      '# My node\nport 7000\n\n# memory\nmaxmemory 1gb\nTimeout 3\n# Generated by CONFIG REWRITE\nmaxclients 50\nrequirepass "a \\"b\\""\n',
    );
    expect(config.rewrite()).toBeUndefined();
    expect(loadConfig(files, PATH, []).values).toEqual(config.values);
  });

  test('what an included file sets goes to the end, where it wins', () => {
    const { set, config, files } = node('maxmemory 1mb\ninclude b.conf\nhz 20', [], { '/etc/b.conf': 'maxmemory 2mb\ntimeout 5\n' });
    set('maxmemory', '3mb', 'timeout', '0');
    config.rewrite();
    expect(files.contents.get(PATH)).toBe('include b.conf\nhz 20\n# Generated by CONFIG REWRITE\ntimeout 0\nmaxmemory 3mb\n');
    expect(files.contents.get('/etc/b.conf')).toBe('maxmemory 2mb\ntimeout 5\n');
    expect(loadConfig(files, PATH, []).values).toEqual(config.values);
  });

  test('any values, set in any order, are read back the same', () => {
    const seed = Math.floor(Math.random() * 2 ** 31);
    const prng = new Prng(seed);
    const candidates: ReadonlyArray<readonly [string, readonly string[]]> = [
      ['maxmemory', ['0', '1gb', '12345', '100kb']],
      ['maxmemory-policy', ['noeviction', 'allkeys-lru']],
      ['timeout', ['0', '9']],
      ['requirepass', ['', 'p', "it's # \"x\" \\ \t"]],
      ['client-output-buffer-limit', ['normal 1 2 3', 'replica 0 0 0 pubsub 7mb 1kb 2']],
      ['hash-max-listpack-value', ['64', '1kb']],
      ['protected-mode', ['yes', 'no']],
      ['loglevel', ['debug', 'notice']],
    ];
    for (let round = 0; round < 100; round++) {
      const { set, config, files, settings } = node('timeout 4\n# c\nclient-output-buffer-limit pubsub 1 1 1\ninclude x', ['--hz', '50'], {
        '/etc/x': 'maxmemory 3\nloglevel verbose\n',
      });
      for (let step = prng.below(6); step > 0; step--) {
        const [name, values] = candidates[prng.below(candidates.length)]!;
        expect(set(name, values[prng.below(values.length)]!), `seed ${seed}`).toBeUndefined();
        if (prng.below(3) === 0) config.rewrite();
      }
      expect(config.rewrite()).toBeUndefined();
      const again = loadConfig(files, PATH, []).values;
      expect(again, `seed ${seed} round ${round}`).toEqual({ ...config.values, ...settings });
    }
  });

  test('a list that an included file gives cannot be overruled, and the file stays as it was', () => {
    const text = 'include p.conf\n';
    const { config, files } = node(text, ['--peers', 'n1=h:1'], { '/etc/p.conf': 'peers n1=h:1,n2=h:2\n' });
    expect(config.rewrite()).toMatch(/^ERR Rewriting config file: peers: set in an included file/);
    expect(files.contents.get(PATH)).toBe(text);
  });

  test('without a change nothing is written', () => {
    const { config, files } = node('port   7000');
    files.failReplace = 'must not';
    expect(config.rewrite()).toBeUndefined();
  });

  test('its errors', () => {
    const files = new MemoryFiles();
    expect(new Config(loadConfig(files, undefined, []), files).rewrite()).toBe('ERR The server is running without a config file');
    const broken = node('port 1');
    broken.set('timeout', '1');
    broken.files.failReplace = 'EROFS: read-only file system';
    expect(broken.config.rewrite()).toBe('ERR Rewriting config file: EROFS: read-only file system');
  });
});

describe('the example', () => {
  test('reads as the defaults with every comment sign taken away', () => {
    const lines = exampleConfig()
      .split('\n')
      .filter((line) => {
        const words = splitWords(line.slice(2));
        return line.startsWith('# ') && !('error' in words) && DIRECTIVE_NAMES.includes(words[0] as never) && !/[.:]$/.test(line);
      })
      .map((line) => line.slice(2));
    const named = new Set(lines.map((line) => line.split(' ')[0]));
    for (const name of DIRECTIVE_NAMES) if (!directive(name).hidden) expect(named, name).toContain(name);
    expect(node(lines.join('\n')).config.values).toEqual(defaultValues());
  });
});

describe.skipIf(oracleMissing !== undefined)('as redis-server answers', () => {
  let redis: Oracle;
  beforeAll(async () => {
    redis = await Oracle.start();
  });
  afterAll(() => redis.stop());

  /** Redis has these, and Holdfast has another default on purpose. */
  const OTHER_DEFAULTS = ['port', 'dir', 'appendonly', 'appendfsync', 'slowlog-log-slower-than', 'replica-read-only', 'slave-read-only', 'save', 'enable-debug-command'];

  test('CONFIG GET of everything both have gives the same text', async () => {
    const { get } = node();
    for (const [name, text] of Object.entries(get('*'))) {
      if (OTHER_DEFAULTS.includes(name)) continue;
      const theirs = /^\*2\r\n\$\d+\r\n[^\r]+\r\n\$\d+\r\n([^\r]*)\r\n$/.exec(await redis.one('config', 'get', name))?.[1];
      if (theirs !== undefined) expect([name, text]).toEqual([name, theirs]);
    }
  });

  const same: ReadonlyArray<readonly string[]> = [
    ['maxmemory', '10q'],
    ['maxmemory', '-1'],
    ['MAXMEMORY', '1', 'maxmemory', '2'],
    ['maxmemory', '1', 'nonsense', '2'],
    ['nonsense', '1'],
    ['maxmemory-policy', 'x'],
    ['protected-mode', 'x'],
    ['timeout', 'x'],
    ['timeout', '-1'],
    ['timeout', '007'],
    ['maxmemory-samples', '0'],
    ['active-expire-effort', '11'],
    ['databases', '3'],
    ['tcp-backlog', '3'],
    ['databases', '3', 'nonsense', '1'],
    ['client-output-buffer-limit', 'normal 1 2'],
    ['client-output-buffer-limit', 'x 1 2 3'],
    ['client-output-buffer-limit', 'master 1 2 3'],
    ['client-output-buffer-limit', 'normal 1q 2 3'],
    ['client-output-buffer-limit', 'normal 1 2 -3'],
    ['client-query-buffer-limit', '1'],
    ['list-compress-depth', '-1'],
    ['list-max-listpack-size', '3000000000'],
    ['loglevel', 'x'],
  ];
  test.each(same.map((words) => [words.join(' '), words] as const))('CONFIG SET %s', async (_name, words) => {
    const ours = node().set(...words);
    const theirs = await redis.one('config', 'set', ...words);
    // Our whole numbers end at 2^53 − 1, Redis's at 2^63 − 1.
    expect(`-${ours}\r\n`.replace('9007199254740991', 'MAX')).toBe(theirs.replace('9223372036854775807', 'MAX'));
  });
});
