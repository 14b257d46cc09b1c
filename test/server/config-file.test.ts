import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { OperationalError } from '../../src/base/errors.ts';
import { editDistance, loadConfig, nearestDirective, quoteWord, splitWords, type LoadedConfig } from '../../src/server/config-file.ts';
import { MemoryFiles } from './memory-files.ts';

function load(text: string, args: readonly string[] = [], more: Readonly<Record<string, string>> = {}): LoadedConfig {
  return loadConfig(new MemoryFiles({ '/etc/holdfast.conf': text, ...more }), '/etc/holdfast.conf', args);
}

/** The lines of mistakes. */
function mistakes(text: string, args: readonly string[] = [], more: Readonly<Record<string, string>> = {}): string[] {
  try {
    load(text, args, more);
  } catch (thrown) {
    expect(thrown).toBeInstanceOf(OperationalError);
    expect((thrown as OperationalError).code).toBe('CONFIG');
    return (thrown as OperationalError).message
      .split('\n')
      .slice(1)
      .map((line) => line.trim());
  }
  throw new Error('there was no mistake');
}

describe('words of a line', () => {
  test.each([
    ['a b  c\t d ', ['a', 'b', 'c', 'd']],
    ['', []],
    ['save ""', ['save', '']],
    ["x 'a b' \"c d\"", ['x', 'a b', 'c d']],
    [String.raw`x "a\n\t\x41\"\\"`, ['x', 'a\n\tA"\\']],
    [String.raw`x 'it\'s \n'`, ['x', String.raw`it's \n`]],
    ['a"b c', ['a"b', 'c']],
  ])('%j', (line, words) => {
    expect(splitWords(line)).toEqual(words);
  });

  test.each(['"open', "'open", '"a"b', String.raw`"ends with \"`])('refuses %j', (line) => {
    expect(splitWords(line)).toHaveProperty('error');
  });

  test('a quoted word reads as itself, whatever is in it', () => {
    const seed = Math.floor(Math.random() * 2 ** 31);
    const prng = new Prng(seed);
    for (let round = 0; round < 500; round++) {
      let word = '';
      for (let length = prng.below(8); length > 0; length--) word += String.fromCharCode(prng.below(2) === 0 ? prng.below(128) : prng.below(0x2000));
      expect(splitWords(`x ${quoteWord(word)} y`), `seed ${seed}`).toEqual(['x', word, 'y']);
    }
  });
});

describe('loading', () => {
  test('without anything, the defaults', () => {
    const { values, file } = loadConfig(new MemoryFiles(), undefined, []);
    expect([values.port, values['election-timeout-ms'], values.peers, file]).toEqual([6379, 500, [], undefined]);
  });

  test('comments, blank lines, either case, Windows line ends, later lines win', () => {
    const { values } = load('# port 1\n\n  PORT 7000\r\n   # x\nport 7001\nMaxMemory 2GB\nappendonly yes\n');
    expect([values.port, values.maxmemory]).toEqual([7001, 2 ** 31]);
  });

  test('values of every kind', () => {
    const { values } = load(
      [
        'bind 10.0.0.1 -::1',
        'protected-mode no',
        'unixsocketperm 700',
        'maxmemory-policy allkeys-lfu',
        'client-query-buffer-limit 2m',
        'requirepass "a b#c"',
        'client-output-buffer-limit pubsub 1mb 512kb 30',
        'client-output-buffer-limit slave 1kb 0 0',
        'node-id a',
        'cluster-secret s3cret',
        'peers a=10.0.0.1:7001/6379,b=[::1]:7002',
        'peers c=host.example:7003',
        'failpoint log-fsync-error-after 3',
        'failpoint other 1',
        'hash-max-ziplist-entries 9',
      ].join('\n'),
    );
    expect(values.bind).toEqual(['10.0.0.1', '-::1']);
    expect(values['protected-mode']).toBe(false);
    expect(values.unixsocketperm).toBe(0o700);
    expect(values['maxmemory-policy']).toBe('allkeys-lfu');
    expect(values['client-query-buffer-limit']).toBe(2_000_000);
    expect(values.requirepass).toBe('a b#c');
    expect(values['client-output-buffer-limit'].pubsub).toEqual({ hardBytes: 1 << 20, softBytes: 512 << 10, softSeconds: 30 });
    expect(values['client-output-buffer-limit'].replica).toEqual({ hardBytes: 1024, softBytes: 0, softSeconds: 0 });
    expect(values['client-output-buffer-limit'].normal.hardBytes).toBe(0);
    expect(values.peers).toEqual([
      { id: 'a', host: '10.0.0.1', peerPort: 7001, clientPort: 6379 },
      { id: 'b', host: '::1', peerPort: 7002, clientPort: undefined },
      { id: 'c', host: 'host.example', peerPort: 7003, clientPort: undefined },
    ]);
    expect(values.failpoint).toEqual(['log-fsync-error-after 3', 'other 1']);
    expect(values['hash-max-listpack-entries']).toBe(9);
  });

  test('the command line wins, and starts anew what adds up', () => {
    const { values, sources } = load('port 7000\nnode-id a\npeers a=h:1,b=h:2', ['--port', '7005', '--peers', 'a=h:3', 'z=h:4', '--peers', 'y=h:5', '--save', '']);
    expect(values.port).toBe(7005);
    expect(values.peers.map((peer) => peer.id)).toEqual(['a', 'z', 'y']);
    expect(sources.get('port')).toEqual({ kind: 'command line' });
    expect(sources.get('node-id')).toEqual({ kind: 'file', file: '/etc/holdfast.conf', line: 2 });
  });

  test('include: relative to the including file, in its place', () => {
    const { values } = load('port 1000\ninclude sub/one.conf\nhz 20', [], {
      '/etc/sub/one.conf': 'port 1001\nhz 30\ninclude ../two.conf',
      '/etc/two.conf': 'timeout 7',
    });
    expect([values.port, values.hz, values.timeout]).toEqual([1001, 20, 7]);
  });
});

describe('mistakes', () => {
  test('all at once, each with file, line, directive, what was given and what was expected', () => {
    expect(mistakes('port x\nprot 1\nmaxmemory 5q\nrequirepass a b\n\nappendfsync no\nprotected-mode maybe', ['--hz', '0'])).toEqual([
      "/etc/holdfast.conf:1: port: argument couldn't be parsed into an integer; given: x; expected: a whole number from 0 to 65535",
      '/etc/holdfast.conf:2: prot: there is no such directive; did you mean port?',
      '/etc/holdfast.conf:3: maxmemory: argument must be a memory value; given: 5q; expected: bytes with an optional unit (b, k, kb, m, mb, g, gb), from 0',
      '/etc/holdfast.conf:4: requirepass: wrong number of arguments; given: (not shown); expected: a text',
      '/etc/holdfast.conf:6: appendfsync: it is always always in Holdfast: every write is synced to disk on a majority before its reply; given: no; expected: always, or no such line',
      "/etc/holdfast.conf:7: protected-mode: argument must be 'yes' or 'no'; given: maybe; expected: yes or no",
      'command line: hz: argument must be between 1 and 500 inclusive; given: 0; expected: a whole number from 1 to 500',
    ]);
  });

  test('quotes, includes that are missing or go round, stray words on the command line', () => {
    const found = mistakes('port "1\ninclude a.conf\ninclude\ninclude none.conf', ['stray', '--timeout'], {
      '/etc/a.conf': 'include holdfast.conf\nport',
    });
    expect(found).toEqual([
      '/etc/holdfast.conf:1: the " at column 6 has no other end: port "1',
      '/etc/a.conf:1: include goes round in a circle: /etc/holdfast.conf → /etc/a.conf → /etc/holdfast.conf',
      '/etc/a.conf:2: port: wrong number of arguments; given: nothing; expected: a whole number from 0 to 65535',
      '/etc/holdfast.conf:3: include takes one path, 0 words were given',
      "/etc/holdfast.conf:4: cannot read /etc/none.conf: ENOENT: no such file or directory, open '/etc/none.conf'",
      'command line: stray: expected --directive before it',
      'command line: timeout: wrong number of arguments; given: nothing; expected: a whole number from 0 to 2147483647',
    ]);
  });

  test.each([
    ['election-timeout-ms 200', /election-timeout-ms: 200 is less than 5 × heartbeat-interval-ms \(50\)/],
    ['lease-drift-ms 450', /lease-drift-ms: 450 leaves no lease/],
    ['uncertain-after-ms 400', /uncertain-after-ms: 400 is less than election-timeout-ms/],
    ['peers a=h:1,b=h:2', /peers: node-id n1 is not among them \(a, b\)/],
    ['peers n1=h:1,n1=h:2', /peers: n1 is named twice/],
    ['peers n1=h:1,n2=h:1', /peers: two members have the address h:1/],
    ['peer-bind 0.0.0.0', /peer-bind: 0\.0\.0\.0 lets other machines connect, which needs a cluster-secret/],
    ['port 60000', /peer-port: port \+ 10000 is 70000/],
    ['peer-port 6379', /peer-port: 6379 is also the port for clients/],
    ['peers n1=h', /peers: 'n1=h' is not of the form/],
    ['peers n1=h:0', /is not of the form/],
    ['node-id a.b', /node-id: argument must be a name of up to 32 letters/],
    ['databases 0', /databases: argument must be between 1 and 1024 inclusive/],
    ['save 900 1', /save: it is always "" in Holdfast/],
    ['replicaof h 1', /replicaof: .*Raft/],
  ])('%j', (text, message) => {
    const found = mistakes(text);
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(message);
  });

  test('a relation names the line that set the value', () => {
    expect(mistakes('\nelection-timeout-ms 100')[0]).toMatch(/^\/etc\/holdfast\.conf:2: /);
  });

  test('suggestions', () => {
    expect(nearestDirective('maxmemroy')).toBe('maxmemory');
    expect(nearestDirective('HASH-max-zplist-entries')).toBe('hash-max-ziplist-entries');
    expect(nearestDirective('follower-write')).toBe('follower-writes');
    expect(nearestDirective('failpoints')).toBeUndefined();
    expect(nearestDirective('completely-else')).toBeUndefined();
    expect(editDistance('ab', 'ba')).toBe(1);
    expect(editDistance('', 'abc')).toBe(3);
  });
});
