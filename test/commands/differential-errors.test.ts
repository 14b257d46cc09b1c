// A few hundred odd invocations against this node and a live redis-server: wrong arity of everything, odd options, errors of
// subcommands, HELLO, CLIENT, CONFIG, COMMAND, OBJECT, the edges of MULTI and WATCH. The replies must be the same bytes, but
// for the differences named here, which are in docs/differences.md.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { allCommands } from '../../src/commands/all.ts';
import type { CommandSpec } from '../../src/commands/spec.ts';
import { OneNode } from './one-node.ts';
import { Oracle, oracleMissing } from './oracle.ts';
import { parseReply } from './recorded-reply.ts';

/** Holdfast's own, or newer than Redis 7.0. */
const NOT_IN_REDIS: ReadonlySet<string> = new Set(['holdfast', 'client|no-touch']);
/** They end the connection or the server, whatever follows. */
const ENDS = new Set(['shutdown', 'quit']);

/**
 * Scripts: commands apart by ';', words by blanks, '' and 'a b' quoted. Each is run on a connection of its own (to Redis:
 * after RESET), in empty databases.
 */
const SCRIPTS: Readonly<Record<string, readonly string[]>> = {
  'unknown commands': [
    'nosuch',
    'nosuch a b c',
    "nosuch '' x",
    'nosuch aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb ccccccccccc',
    "''",
    'get|x a',
    'client|getname',
    'NoSuchCommandThatIsVeryLongAndGoesOnAndOnAndOnAndOnAndOnAndOnAndOnAndOnAndOnAndOnAndOnAndOnAndOnAndOnAndOnAndOnAndOnAndOnAndOn a',
  ],
  'connection and server': [
    'ping', 'ping a', "ping ''", 'PiNg x', 'echo', 'echo a b', 'select', 'select x', 'select -1', 'select 16', 'select 99999999999', 'select 1.5', "select ''", 'select 15; dbsize', 'select 0x1',
    'auth', 'auth x', 'auth default x', 'auth nobody x', 'auth a b c', "auth ''",
    'hello 1', 'hello 4', 'hello x', 'hello 2.0', 'hello 3 auth', 'hello 3 auth a', 'hello 2 setname', "hello 2 setname 'a b'", 'hello 2 nosuch', 'hello 2 auth nobody x', 'hello 2 auth default', 'hello 99999999999999999999', 'hello -2',
    'hello 3; get x; debug protocol map', 'hello 3; select 99; nosuch; hello 2; get x', 'hello 2 setname x; client getname', 'reset; reset', 'reset x',
    'dbsize x', 'time x', 'role x', 'flushall x', 'flushall async sync', 'flushall async', 'flushall SYNC', 'flushdb x', 'flushdb async', 'flushdb sync x',
    'swapdb', 'swapdb 0', 'swapdb a 1', 'swapdb 0 b', 'swapdb 0 16', 'swapdb -1 0', 'swapdb 0 0', 'swapdb 0 99999999999', 'swapdb 1 2',
    'wait', 'wait a 0', 'wait 0 a', 'wait 0 -1', 'wait -1 0', 'wait 0 0', 'wait 1 1',
    'info nosuch', 'info nosuch other', 'info keyspace',
    'function', 'function nosuch', 'function flush x', 'function flush async', 'function flush sync', 'function flush sync x',
    'readonly', 'readwrite',
  ],
  'CLIENT': [
    'client', 'client nosuch', 'client getname', 'client getname x', 'client setname', "client setname 'a b'", "client setname 'a\nb'", "client setname ''; client getname", 'client setname ab; client getname',
    'client id x', 'client info x', 'client list type', 'client list type nosuch', 'client list id', 'client list id a', 'client list id 1 a', 'client list id -1', 'client list nosuch', 'client list type normal x', 'client list id 999999', 'client list type master', 'client list type replica', 'client list type pubsub',
    'client kill', 'client kill 1.2.3.4:5', 'client kill addr', 'client kill addr 1.2.3.4:5', 'client kill id', 'client kill id x', 'client kill id 0', 'client kill id -1', 'client kill id 999999', 'client kill type nosuch', 'client kill user nobody', 'client kill skipme x', 'client kill skipme', 'client kill id 1 addr', 'client kill nosuch x', 'client kill laddr 9.9.9.9:1', 'client kill type master', 'client kill addr 1.2.3.4:5 skipme maybe', 'client kill a b c',
    'client reply', 'client reply nosuch', 'client reply on', 'client reply on x', 'client no-evict', 'client no-evict x', 'client no-evict on', 'client no-evict off',
    'client pause', 'client pause x', 'client pause -1', 'client pause 1 nosuch', 'client pause 1 write x', 'client pause 1.5', 'client pause 0', 'client pause 0 write', 'client unpause', 'client unpause x',
    'client unblock', 'client unblock x', 'client unblock 1 nosuch', 'client unblock 999999', 'client unblock 999999 timeout', 'client unblock 999999 error', 'client unblock 999999 error x',
    'client tracking', 'client tracking nosuch', 'client tracking off', 'client tracking off x', 'client caching', 'client caching yes', 'client caching x', 'client getredir', 'client getredir x', 'client trackinginfo', 'client trackinginfo x',
  ],
  'CONFIG': [
    'config', 'config nosuch', 'config get', 'config get nosuch', 'config get nosuch other*', 'config get maxmemory', 'config get MAXMEMORY', 'config get maxmemory maxmemory', 'config get maxmemor? maxmemory',
    'config set', 'config set maxmemory', 'config set maxmemory 1 2', 'config set nosuch 1', 'config set nosuch 1 maxmemory', 'config set maxmemory x', 'config set maxmemory -1', 'config set maxmemory 1zb', 'config set maxmemory 1 maxmemory 2', 'config set maxmemory-policy nosuch', 'config set timeout -1', 'config set timeout x', 'config set timeout 99999999999', "config set timeout ''", 'config set databases 3', 'config set maxmemory-samples 0', 'config set maxmemory-samples x', 'config set hz 10; config get hz', 'config set maxmemory 0 nosuch 1', 'config set hash-max-listpack-entries x', 'config set hash-max-listpack-entries -1', 'config set lazyfree-lazy-expire x', 'config set lazyfree-lazy-expire YES', 'config set lazyfree-lazy-expire no', 'config set loglevel nosuch', 'config set client-output-buffer-limit x', "config set client-output-buffer-limit 'nosuch 1 1 1'", "config set client-output-buffer-limit 'normal 1 1'", "config set client-output-buffer-limit 'normal x 1 1'", 'config set proto-max-bulk-len 1', 'config set proto-max-bulk-len x', 'config set requirepass', "config set requirepass ''", 'config set enable-debug-command no', 'config set maxclients 0', 'config set maxclients x', 'config set tcp-keepalive -1', 'config set lfu-log-factor -1',
    'config resetstat x', 'config resetstat', 'config rewrite x', 'config rewrite',
  ],
  'COMMAND': [
    'command nosuch', 'command count x', 'command info nosuch', 'command info nosuch get nosuch', 'command info get', 'command info client|getname', 'command info client|nosuch', "command info ''", 'command docs nosuch', 'command list nosuch', 'command list filterby', 'command list filterby nosuch x', 'command list filterby aclcat', 'command list filterby aclcat nosuch', 'command list filterby pattern nosuch*', 'command list filterby module nosuch', 'command list filterby pattern get filterby pattern set', 'command list filterby pattern mg*',
    'command getkeys', 'command getkeys nosuch', 'command getkeys get', 'command getkeys get a', 'command getkeys get a b', 'command getkeys ping', 'command getkeys mset a 1 b 2', 'command getkeys mset a', 'command getkeys mget a b c', 'command getkeys copy a b', 'command getkeys lcs a b', 'command getkeys client getname', 'command getkeys object encoding k', 'command getkeys object k', 'command getkeys set', 'command getkeys watch a b', 'command getkeys flushall',
    'command getkeysandflags', 'command getkeysandflags set a b', 'command getkeysandflags get a', 'command getkeysandflags ping', 'command getkeysandflags mset a 1 b 2', 'command getkeysandflags copy a b', 'command getkeysandflags rename a b', 'command getkeysandflags set a b get', 'command getkeysandflags nosuch',
  ],
  'OBJECT, MEMORY and DEBUG': [
    'object', 'object nosuch', 'object nosuch a', 'object encoding', 'object encoding k', 'object encoding k x', 'set k 1; object encoding k', 'set k abc; object encoding k', 'set k aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; object encoding k', 'set k 1; object freq k', 'object freq k', 'object idletime k', 'object refcount k', 'set k 1; object refcount k', 'set k abc; object refcount k', 'set k 123456; object refcount k', 'OBJECT ENCODING', 'append k 1; object encoding k', 'set k 1; append k 2; object encoding k', 'set k 12345678901234567890; object encoding k', 'set k 1.5; incrbyfloat k 1; object encoding k', 'setrange k 0 1; object encoding k',
    'memory', 'memory nosuch', 'memory usage', 'memory usage k', 'memory usage k samples', 'memory usage k nosuch 1', 'memory usage k samples x', 'memory usage k samples -1', 'memory usage k samples 0', 'memory usage k samples 1 x',
    'debug', 'debug nosuch', 'debug sleep', 'debug sleep 0', 'debug sleep x', 'debug set-active-expire', 'debug protocol', 'debug protocol nosuch', 'debug protocol double', 'debug protocol attrib', 'debug error', "debug error 'A b c'", 'debug object', 'debug object k',
  ],
  'strings': [
    'set k', 'set k v x', 'set k v ex', 'set k v ex x', 'set k v ex 0', 'set k v ex -1', 'set k v px 0', 'set k v exat 0', 'set k v ex 9223372036854775807', 'set k v px 9223372036854775807', 'set k v exat 99999999999999999', 'set k v pxat 9223372036854775807', 'set k v nx xx', 'set k v ex 1 px 1', 'set k v keepttl ex 1', 'set k v get get', 'set k v nx get', 'set k v xx nx get', 'set k v keepttl keepttl', 'set k v ex 1 ex 1', 'set k v ex 1.5', 'set k v get', 'set k v xx', 'set k v nx; set k v nx; set k w nx get',
    'setex k 0 v', 'setex k -1 v', 'setex k x v', 'setex k 1.5 v', 'setex k 9223372036854775807 v', 'psetex k 0 v', 'psetex k x v', 'psetex k 9223372036854775807 v', 'getex k ex', 'getex k ex 0', 'getex k nosuch', 'getex k persist ex 1', 'set k v; getex k ex 0', 'set k v; getex k px -1', 'set k v; getex k persist persist', 'set k v; getex k ex 1 px 1', 'getex k keepttl', 'getex k exat x',
    'setrange k x v', 'setrange k -1 v', 'setrange k 536870912 v', 'setrange k 536870911 ab', "setrange k 0 ''", "setrange k 9999999999999 ''", "setrange k -1 ''", 'getrange k x 1', 'getrange k 0 y', 'getrange k 0 -1', 'set k hello; getrange k -3 99', 'substr k 0 -1', 'substr k x y',
    'incr k 1', 'set k x; incr k', 'set k 9223372036854775807; incr k', 'set k -9223372036854775808; decr k', 'incrby k x', 'incrby k 1.5', 'incrby k 9223372036854775808', 'decrby k x', 'decrby k -9223372036854775808', "set k ''; incr k", "set k ' 1'; incr k", 'set k 01; incr k', 'set k +1; incr k', 'set k 1.0; incr k', 'incrbyfloat k x', 'incrbyfloat k nan', 'incrbyfloat k inf', 'set k x; incrbyfloat k 1', "incrbyfloat k ''", "incrbyfloat k ' 1'", 'incrbyfloat k 1e400', 'set k 1.7e308; incrbyfloat k 1.7e308', 'incrbyfloat k 0x10', 'incrbyfloat k 1_0',
    'mset a', 'mset a 1 b', 'msetnx a', 'msetnx a 1 b', 'mset a 1 a 2; get a', 'msetnx a 1 a 2; get a', 'mget', 'append k', 'strlen', 'getset k', 'getdel', 'setnx k',
    'lcs a b nosuch', 'lcs a b len idx', 'lcs a b idx len', 'lcs a b minmatchlen', 'lcs a b minmatchlen x', 'lcs a b idx minmatchlen -1', 'lcs a b idx withmatchlen', 'lcs a b', 'lcs a b len', 'lcs a', 'set a ohmytext; set b mynewtext; lcs a b idx withmatchlen minmatchlen 4',
  ],
  'keys': [
    'copy a', 'copy a a', 'copy a b nosuch', 'copy a b db', 'copy a b db x', 'copy a b db 16', 'copy a b db -1', 'copy a b replace replace', 'copy a b db 1 db 2', 'copy a a db 0', 'set a 1; copy a a db 1', 'move a', 'move a 0', 'move a x', 'move a 16', 'move a -1', 'rename a b', 'rename a a', 'set a 1; rename a a', 'renamenx a b', 'set a 1; renamenx a a', 'del', 'unlink', 'exists', 'touch', 'type', 'type a', 'persist a', 'randomkey', 'randomkey x',
    'expire a x', 'expire a 1 nosuch', 'expire a 1 nx xx', 'expire a 1 nx gt', 'expire a 1 gt lt', 'expire a 1 xx nx', 'set a 1; expire a 9223372036854775807', 'set a 1; expire a -9223372036854775808', 'set a 1; pexpire a 9223372036854775807', 'expire a 1.5', 'set a 1; expireat a 9223372036854775807', 'set a 1; pexpireat a 9223372036854775807', 'set a 1; pexpireat a -1; exists a', 'pexpire a', 'expire a 9223372036854775807', 'set a 1; expire a 100 xx', 'set a 1; expire a 100 gt', 'set a 1; expire a 100 lt', 'set a 1; expire a 100 nx nx', 'set a 1; expire a 100 xx gt', 'ttl a', 'pttl a', 'expiretime a', 'pexpiretime a', 'set a 1; ttl a; expiretime a',
    'keys', 'keys a b', 'keys nosuch*', "keys '['", 'scan', 'scan x', 'scan -1', 'scan 0 count', 'scan 0 count 0', 'scan 0 count x', 'scan 0 count -1', 'scan 0 nosuch', 'scan 0 match', 'scan 0 type', 'scan 0 type nosuch', 'scan 0 match * count', 'scan 99999999999999999999999', 'scan 0 match a match b', "scan ''", 'scan 0 type string count 10', "scan ' 0'", 'scan 1.0', 'scan 0 count 9223372036854775808',
  ],
  'MULTI': [
    'exec', 'exec x', 'discard', 'discard x', 'multi x', 'multi; multi; exec', 'multi; watch a; exec', 'multi; unwatch; exec', 'multi; exec', 'multi; discard', 'multi; exec x; ping', 'multi; discard x; exec', 'multi; nosuch; exec', 'multi; get; exec', 'multi; nosuch; discard; ping', 'multi; set a 1; nosuch; exec; get a',
    'multi; set k v ex x; exec', 'multi; set k v nx xx; incr k; exec', 'multi; incrby k x; set k 1; exec; get k', 'multi; setex k 0 v; get k; exec', 'multi; expire k x; exec', 'multi; getex k ex 0; exec', 'multi; mset a; exec', 'multi; mset a 1 b; exec', 'multi; copy a a; exec', 'multi; setrange k -1 x; exec',
    'multi; select 1; set a 1; exec; get a; select 0; get a', 'multi; select 99; set a 1; exec; get a', 'multi; select x; exec', 'multi; ping; ping a; echo b; exec', 'multi; get a; exec', 'multi; dbsize; flushall; dbsize; exec', 'multi; swapdb 0 1; exec', 'multi; config set maxmemory bla; exec', 'multi; config get nosuch; exec', 'multi; client getname; client setname x; client getname; exec', 'multi; client nosuch; exec', 'multi; object encoding k; set k 1; object encoding k; exec', 'multi; command count x; exec', 'multi; info keyspace; exec', 'multi; reset; exec', 'multi; hello 2; exec', 'multi; hello 9; exec', 'multi; hello 3; exec; get x', 'hello 3; multi; get x; debug protocol map; exec', 'multi; auth x; exec', 'multi; wait 0 0; exec', 'multi; scan 0; keys *; randomkey; exec', 'multi; time x; exec', 'multi; shutdown; exec', 'multi; shutdown nosuch; exec', 'multi; debug sleep 0; exec', 'multi; debug nosuch; exec', 'multi; lcs a b nosuch; exec',
    'watch', 'watch a; multi; set a 1; exec', 'watch a; set a 1; multi; get a; exec', 'watch a; set a 1; unwatch; multi; get a; exec', 'watch a; set a 1; multi; exec', 'watch a; set a 1; multi; discard; multi; get a; exec', 'watch a a a; multi; get a; exec', 'watch a; set a 1; multi; nosuch; exec', 'watch a; set a 1; exec; multi; get a; exec', 'watch a; set a 1; exec x; multi; get a; exec', 'watch a; del a; multi; get a; exec', 'set a 1; watch a; set a 1; multi; get a; exec', 'set a 1; watch a; expire a 100; multi; get a; exec', 'set a 1; watch a; persist a; multi; get a; exec', 'set a 1; watch a; touch a; multi; get a; exec', 'set a 1; watch a; rename a b; multi; get a; exec', 'watch a; set b 1; rename b a; multi; get a; exec', 'set a 1; watch a; move a 1; multi; get a; exec', 'watch a; select 1; set a 1; select 0; multi; get a; exec', 'watch a; swapdb 0 1; multi; get a; exec', 'set a 1; watch a; swapdb 0 1; multi; get a; exec', 'watch a; flushall; multi; get a; exec', 'set a 1; watch a; flushdb; multi; get a; exec', 'set a 1; watch a; getex a persist; multi; get a; exec', 'set a 1; watch a; getex a ex 100; multi; get a; exec', 'set a 1; watch a; copy a b; multi; get a; exec', 'watch b; set a 1; copy a b; multi; get a; exec', "set a x; watch a; setrange a 0 ''; multi; get a; exec", "set a x; watch a; append a ''; multi; get a; exec", 'set a x; watch a; set a y nx; multi; get a; exec', 'watch a; reset; set a 1; multi; get a; exec', 'set a 1; watch a; incrby a 0; multi; get a; exec', 'set a 1; watch a; getset a 1; multi; get a; exec', 'watch a; set a 1; del a; multi; get a; exec',
  ],
};

/** The same beside a password: what tests/unit/auth.tcl of Redis checks (it cannot run against a server that is there already), and more. */
const PASSWORD = 'foobar';
const PASSWORD_SCRIPTS: readonly string[] = [
  'ping', 'set foo bar', 'nosuch', 'nosuch a', 'get', 'get a b', 'client getname', 'client nosuch', 'multi', 'exec', 'exec x', 'discard', 'watch a', 'reset', 'reset; ping', 'command count', 'info x', 'select 1', 'select',
  'auth wrong!', 'auth wrong!; get a', 'auth', 'auth a b c', `auth ${PASSWORD}`, `auth default ${PASSWORD}`, `auth Default ${PASSWORD}`, `auth nobody ${PASSWORD}`, 'auth default wrong!', `auth ${PASSWORD}x`, "auth ''", `auth ${PASSWORD}; set foo 100; incr foo`, `auth ${PASSWORD}; auth wrong!; get nosuch`, `auth ${PASSWORD}; reset; get foo`, `auth ${PASSWORD}; hello 2 auth default wrong!; ping`,
  'hello', 'hello 2', 'hello 3', 'hello 9', 'hello 2 setname x', 'hello 2 auth default wrong!', `hello 2 auth default ${PASSWORD}; ping`, `hello 2 auth nobody ${PASSWORD}`, `hello 3 setname x auth default ${PASSWORD}; client getname`, 'hello 2 auth default', `hello 2 auth default ${PASSWORD} nosuch; ping`, `hello 2 auth default ${PASSWORD} setname 'a b'; ping`,
  `auth ${PASSWORD}; config get requirepass`, `auth ${PASSWORD}; multi; auth wrong!; auth ${PASSWORD}; exec`, `auth ${PASSWORD}; multi; reset; get a`,
  `auth ${PASSWORD}; config set requirepass 'abc\0def'; reset; auth abc; auth 'abc\0deg'; auth 'abc\0def'; get nosuch; config set requirepass ${PASSWORD}`,
  `auth ${PASSWORD}; config set requirepass ''; reset; get nosuch; auth x; auth default x; config set requirepass ${PASSWORD}; get nosuch`,
];

/** Differences that are meant: script → id in docs/differences.md. */
const MEANT: Readonly<Record<string, string>> = {
  readonly: 'read-consistency',
  readwrite: 'read-consistency',
  'config set hash-max-listpack-entries -1': 'numbers',
  'config set proto-max-bulk-len 1': 'record-size',
};

/** Numbers of connections are each server's own. */
const normal = (reply: string): string => reply.replace(/(\$2\r\nid\r\n):\d+/, '$1:1');

const command = (line: string): string[] =>
  Array.from(line.matchAll(/'([^']*)'|(\S+)/g), ([, quoted, plain]) => quoted ?? plain ?? '');

const parse = (script: string): string[][] => script.split(';').map((line) => command(line.trim()));

/** Calls of every command that has an arity to miss. */
function wrongArities(): string[] {
  const scripts: string[] = [];
  const add = (spec: CommandSpec, words: readonly string[]): void => {
    const name = words.join('|');
    if (NOT_IN_REDIS.has(name) || ENDS.has(name)) return;
    const counts = spec.arity >= 0 ? [spec.arity - 1, spec.arity + 1] : [-spec.arity - 1];
    for (const count of counts) {
      if (count < words.length) continue;
      scripts.push([...words, ...Array.from({ length: count - words.length }, (_, i) => `x${i}`)].join(' '));
    }
    for (const sub of spec.subcommands ?? []) if (!NOT_IN_REDIS.has(spec.name)) add(sub, [...words, sub.name]);
  };
  for (const spec of allCommands) add(spec, [spec.name]);
  return scripts;
}

/** Runs the scripts on both and returns those whose replies differ, or do not where they are meant to. */
async function compare(oracle: Oracle, node: OneNode, before: readonly string[][], scripts: readonly string[]): Promise<string[]> {
  const differences: string[] = [];
  for (const script of scripts) {
    const commands = parse(script);
    const theirs = (await oracle.wire([['reset'], ...before, ...commands])).slice(1 + before.length);
    const ours = (await node.connect().wire([...before, ...commands])).slice(before.length);
    const same = ours.every((reply, i) => normal(reply) === normal(theirs[i]!));
    if (same === (MEANT[script] === undefined)) continue;
    differences.push(`${script}\n  redis:    ${JSON.stringify(theirs.join(''))}\n  holdfast: ${JSON.stringify(ours.join(''))}`);
  }
  return differences;
}

const title = `odd invocations, beside redis-server${oracleMissing === undefined ? '' : ` (skipped: ${oracleMissing})`}`;

describe.skipIf(oracleMissing !== undefined)(title, () => {
  let oracle: Oracle;
  let node: OneNode;

  beforeAll(async () => {
    oracle = await Oracle.start();
    node = await OneNode.start('--enable-debug-command', 'yes');
  });

  afterAll(async () => {
    node.stop();
    await oracle.stop();
  });

  test('wrong arity of every command', async () => {
    expect(await compare(oracle, node, [['flushall']], wrongArities())).toEqual([]);
  });

  test('COMMAND LIST names nothing that Redis does not, but for our own', async () => {
    const names = async (server: Pick<Oracle, 'wire'>): Promise<string[]> => parseReply((await server.wire([['command', 'list']]))[0]!) as string[];
    const theirs = new Set(await names(oracle));
    const own = (await names(node.connect())).filter((name) => !theirs.has(name));
    expect(own.filter((name) => !name.startsWith('holdfast|')).sort()).toEqual([...NOT_IN_REDIS].sort());
  });

  test.each(Object.entries(SCRIPTS))('%s', async (_area, scripts) => {
    expect(await compare(oracle, node, [['flushall']], scripts)).toEqual([]);
  });
});

describe.skipIf(oracleMissing !== undefined)(`${title}, with a password`, () => {
  test('before and after AUTH', async () => {
    const oracle = await Oracle.start('--requirepass', PASSWORD);
    const node = await OneNode.start('--requirepass', PASSWORD);
    try {
      expect(await compare(oracle, node, [], PASSWORD_SCRIPTS)).toEqual([]);
    } finally {
      node.stop();
      await oracle.stop();
    }
  });
});
