// More than a thousand odd invocations against this node and a live redis-server: wrong arity of everything, odd options, errors of
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
    'debug', 'debug nosuch', 'debug sleep', 'debug sleep 0', 'debug sleep x', 'debug set-active-expire', 'debug protocol', 'debug protocol nosuch', 'debug protocol double', 'debug protocol attrib', 'debug error', "debug error 'A b c'", 'debug object', 'debug object k', 'debug digest-value', 'debug digest-value k', 'debug digest-value k k',
  ],
  'strings': [
    'set k', 'set k v x', 'set k v ex', 'set k v ex x', 'set k v ex 0', 'set k v ex -1', 'set k v px 0', 'set k v exat 0', 'set k v ex 9223372036854775807', 'set k v px 9223372036854775807', 'set k v exat 99999999999999999', 'set k v pxat 9223372036854775807', 'set k v nx xx', 'set k v ex 1 px 1', 'set k v keepttl ex 1', 'set k v get get', 'set k v nx get', 'set k v xx nx get', 'set k v keepttl keepttl', 'set k v ex 1 ex 1', 'set k v ex 1.5', 'set k v get', 'set k v xx', 'set k v nx; set k v nx; set k w nx get',
    'setex k 0 v', 'setex k -1 v', 'setex k x v', 'setex k 1.5 v', 'setex k 9223372036854775807 v', 'psetex k 0 v', 'psetex k x v', 'psetex k 9223372036854775807 v', 'getex k ex', 'getex k ex 0', 'getex k nosuch', 'getex k persist ex 1', 'set k v; getex k ex 0', 'set k v; getex k px -1', 'set k v; getex k persist persist', 'set k v; getex k ex 1 px 1', 'getex k keepttl', 'getex k exat x',
    'setrange k x v', 'setrange k -1 v', 'setrange k 536870912 v', 'setrange k 536870911 ab', "setrange k 0 ''", "setrange k 9999999999999 ''", "setrange k -1 ''", 'getrange k x 1', 'getrange k 0 y', 'getrange k 0 -1', 'set k hello; getrange k -3 99', 'substr k 0 -1', 'substr k x y',
    'incr k 1', 'set k x; incr k', 'set k 9223372036854775807; incr k', 'set k -9223372036854775808; decr k', 'incrby k x', 'incrby k 1.5', 'incrby k 9223372036854775808', 'decrby k x', 'decrby k -9223372036854775808', "set k ''; incr k", "set k ' 1'; incr k", 'set k 01; incr k', 'set k +1; incr k', 'set k 1.0; incr k', 'incrbyfloat k x', 'incrbyfloat k nan', 'incrbyfloat k inf', 'set k x; incrbyfloat k 1', "incrbyfloat k ''", "incrbyfloat k ' 1'", 'incrbyfloat k 1e400', 'set k 1.7e308; incrbyfloat k 1.7e308', 'incrbyfloat k 0x10', 'incrbyfloat k 1_0',
    'mset a', 'mset a 1 b', 'msetnx a', 'msetnx a 1 b', 'mset a 1 a 2; get a', 'msetnx a 1 a 2; get a', 'mget', 'append k', 'strlen', 'getset k', 'getdel', 'setnx k',
    'lcs a b nosuch', 'lcs a b len idx', 'lcs a b idx len', 'lcs a b minmatchlen', 'lcs a b minmatchlen x', 'lcs a b idx minmatchlen -1', 'lcs a b idx withmatchlen', 'lcs a b', 'lcs a b len', 'lcs a', 'set a ohmytext; set b mynewtext; lcs a b idx withmatchlen minmatchlen 4',
  ],
  'hashes': [
    'hset', 'hset k', 'hset k f', 'hset k f v g', 'hset k f v g w h', 'set k x; hset k f v', 'set k x; hset k f', 'hset k f v; hset k f w g x', 'hset k f v f w; hgetall k',
    'hmset k f', 'hmset k f v g', 'hmset k f v g w', 'set k x; hmset k f v', 'set k x; hmset k f v g',
    'hsetnx k f', 'set k x; hsetnx k f v', 'hsetnx k f v; hsetnx k f w; hget k f',
    'hget k', 'set k x; hget k f', 'hget k f', 'hmget k', 'set k x; hmget k f', 'hmget k f g f', 'hello 3; hmget k f g', 'hello 3; hget k f',
    'hdel k', 'set k x; hdel k f', 'hdel k f', 'hset k f v; hdel k f f; exists k', 'hset k f v; hdel k; exists k',
    'hexists k', 'set k x; hexists k f', 'hstrlen k f x', 'set k x; hstrlen k f', 'hset k f abc; hstrlen k f; hstrlen k g', 'set k x; hlen k', 'hlen k', 'hlen k x',
    'set k x; hgetall k', 'set k x; hkeys k', 'set k x; hvals k', 'hgetall k', 'hkeys k', 'hvals k', 'hello 3; hgetall k', 'hello 3; hkeys k', 'hello 3; hset k f v; hgetall k',
    'hincrby k f', 'hincrby k f x', 'hincrby k f 1.5', "hincrby k f ''", "hincrby k f ' 1'", 'hincrby k f 01', 'hincrby k f +1', 'hincrby k f 9223372036854775808', 'set k x; hincrby k f 1', 'set k x; hincrby k f y', 'hset k f v; hincrby k f 1', "hset k f ''; hincrby k f 1", "hset k f ' 1'; hincrby k f 1", "hset k f '1 '; hincrby k f 1", 'hset k f 1.0; hincrby k f 1', 'hset k f 9223372036854775807; hincrby k f 1', 'hset k f -9223372036854775808; hincrby k f -1', 'hset k f 9223372036854775807; hincrby k f -1', 'hset k f 01; hincrby k f 1', 'hset k f 9223372036854775808; hincrby k f 0', 'hset k f -; hincrby k f 1', 'hincrby k f 0; hget k f',
    'hincrbyfloat k f', 'hincrbyfloat k f x', "hincrbyfloat k f ''", "hincrbyfloat k f ' 1'", 'hincrbyfloat k f nan', 'hincrbyfloat k f inf', 'hincrbyfloat k f -inf', 'hincrbyfloat k f 1e400', 'hincrbyfloat k f 1e5000', 'set k x; hincrbyfloat k f 1', 'set k x; hincrbyfloat k f y', 'hset k f v; hincrbyfloat k f 1', "hset k f ''; hincrbyfloat k f 1", "hset k f ' 1'; hincrbyfloat k f 1", "hset k f '1 '; hincrbyfloat k f 1", 'hset k f inf; hincrbyfloat k f 1', 'hset k f nan; hincrbyfloat k f 1', 'hset k f 1e4900; hincrbyfloat k f 1e4900', 'hset k f 5.0e3; hincrbyfloat k f 2.0e2', 'hincrbyfloat k f 0x10', 'hincrbyfloat k f 1e-20; hget k f', 'hset k f 1.7e308; hincrbyfloat k f 1.7e308', 'hello 3; hincrbyfloat k f 1.5', 'hset k f 3; hincrbyfloat k f 0.1; hincrbyfloat k f -3.1', 'hincrbyfloat k f -0',
    'hrandfield', 'hrandfield k', 'hrandfield k x', 'hrandfield k 1 x', 'hrandfield k 1 withvalues x', 'hrandfield k x withvalues', 'hrandfield k 1.5', "hrandfield k ''", 'hrandfield k 9223372036854775808', 'hrandfield k -9223372036854775808', 'hrandfield k -9223372036854775807', 'hrandfield k -9223372036854775807 withvalues', 'hrandfield k 9223372036854775807 withvalues', 'hrandfield k 4611686018427387903 withvalues', 'hrandfield k 4611686018427387904 withvalues', 'hrandfield k -4611686018427387903 withvalues', 'hrandfield k -4611686018427387904 withvalues', 'hset k f v; hrandfield k 9223372036854775807 withvalues', 'hset k f v; hrandfield k 9223372036854775807', 'hset k f v; hrandfield k -9223372036854775807 withvalues', 'set k x; hrandfield k', 'set k x; hrandfield k 1', 'set k x; hrandfield k x', 'set k x; hrandfield k 1 x', 'hrandfield k 0', 'hset k f v; hrandfield k 0', 'hset k f v; hrandfield k 0 withvalues', 'hset k f v; hrandfield k', 'hset k f v; hrandfield k -3', 'hset k f v; hrandfield k -2 withvalues', 'hset k f v; hrandfield k 5 withvalues', 'hello 3; hset k f v; hrandfield k -2 withvalues', 'hello 3; hrandfield k', 'hello 3; hrandfield k 2 withvalues', 'hello 3; hset k f v; hrandfield k 2 withvalues', 'hello 3; hset k f v; hrandfield k 2',
    'hscan', 'hscan k', 'hscan k x', 'hscan k -1', "hscan k ''", "hscan k ' 0'", 'hscan k 1.0', 'hscan k 99999999999999999999999', 'hscan k 0 nosuch', 'hset k f v; hscan k 0 nosuch', 'hset k f v; hscan k 0 count', 'hset k f v; hscan k 0 count 0', 'hset k f v; hscan k 0 count -1', 'hset k f v; hscan k 0 count x', 'hset k f v; hscan k 0 match', 'hset k f v; hscan k 0 match f count', 'hset k f v; hscan k 0 type hash', 'hset k f v; hscan k 0 match f count 1', 'hset k f v; hscan k 0 match x match f', 'hset k f v; hscan k 0 novalues', 'hset k f v; hscan k 0 x y', 'hscan k 0 count 0', 'hscan k 0 x y', 'set k x; hscan k 0', 'set k x; hscan k x', 'set k x; hscan k 0 x y', 'hscan k 5', 'hset k f v; hscan k 5', 'hset k f v g w; hscan k 0 count 1', 'hello 3; hset k f v; hscan k 0', 'hset k f v; hscan k 0 count 9223372036854775808', 'hset k f v; hscan k 0 match g*',
    'hset k f v; get k', 'hset k f v; incr k', 'hset k f v; append k x', 'hset k f v; strlen k', 'hset k f v; getrange k 0 1', 'hset k f v; setrange k 0 x', 'hset k f v; lcs k k', 'hset k f v; getdel k', 'hset k f v; getset k x', 'hset k f v; getex k', 'hset k f v; set k x get', 'hset k f v; set k x; get k', 'hset k f v; mget k', 'hset k f v; setnx k x', 'hset k f v; msetnx k x', 'hset k f v; incrbyfloat k 1', 'hset k f v; type k; object encoding k; object refcount k',
    'hset k f v; zadd k 1 m', 'hset k f v; zscore k m', 'hset k f v; zcard k', 'hset k f v; zrange k 0 -1', 'hset k f v; zunion 1 k', 'hset k f v; zunionstore d 1 k', 'hset k f v; zunionstore k 1 none; exists k', 'hset k f v; rename k j; hgetall j', 'hset k f v; copy k j; hset k f w; hget j f', 'hset k f v; expire k 100; hset k f w; persist k', 'hset k f v; move k 1; select 1; hget k f',
    'hset k f v; multi; hset k f; hget k f; exec', 'multi; hset k f v g; exec', 'multi; hincrby k f x; hset k f 1; hincrby k f 1; exec', 'watch k; hset k f v; multi; hget k f; exec', 'hset k f v; watch k; hset k f v; multi; hget k f; exec', 'hset k f v; watch k; hdel k g; multi; hget k f; exec', 'hset k f v; watch k; hsetnx k f w; multi; hget k f; exec', 'hset k f 1; watch k; hincrby k f 0; multi; hget k f; exec', 'hset k f v; watch k; hincrby k f 1; multi; hget k f; exec', 'hset k f v; watch k; hdel k f; multi; exists k; exec', 'multi; hset k f v; hrandfield k; hscan k 0; hgetall k; exec', 'hset k f v; scan 0 type hash', 'hset k f v; scan 0 type zset',
    'command getkeys hset k f v', 'command getkeys hscan k 0', 'command getkeysandflags hset k f v', 'command getkeysandflags hdel k f', 'command getkeysandflags hsetnx k f v', 'command getkeysandflags hincrby k f 1', 'command getkeysandflags hrandfield k',
    'config set hash-max-listpack-entries 1; hset k f v; object encoding k; hset k f w; object encoding k; hset k g v; object encoding k; hdel k g; object encoding k; config set hash-max-listpack-entries 128', 'config set hash-max-ziplist-value 2; hset k f abc; object encoding k; hset j abc f; object encoding j; hset i ab cd; object encoding i; config set hash-max-listpack-value 64', 'config set hash-max-listpack-entries 0; hset k f v; object encoding k; config set hash-max-listpack-entries 128', 'config set hash-max-ziplist-entries 2; hmset k a 1 b 2 c 3; object encoding k; config set hash-max-ziplist-entries 128; config get hash-max-ziplist-entries', 'config get hash-max-listpack-value',
  ],
  'sorted sets': [
    'zadd', 'zadd k', 'zadd k 1', 'zadd k 1 a 2', 'zadd k nx', 'zadd k nx 1', 'zadd k nx 1 a', 'zadd k x a', "zadd k '' a", "zadd k ' 1' a", "zadd k '1 ' a", 'zadd k nan a', 'zadd k -nan a', 'zadd k 1e400 a', 'zadd k 1e-400 a', 'zadd k 0x a', 'zadd k 0x10 a; zscore k a', 'zadd k inf a -inf b +inf c infinity d; zrange k 0 -1 withscores', 'zadd k 1_0 a', 'zadd k 1,5 a', 'zadd k (1 a', 'zadd k + a', 'zadd k . a', 'zadd k 1e a', 'zadd k 1. a; zscore k a', 'zadd k .5 a; zscore k a', 'zadd k 1 a x b; exists k', 'zadd k 1 a 2 a 3 a', 'zadd k ch 1 a 2 a',
    'zadd k nx xx 1 a', 'zadd k xx nx 1 a', 'zadd k nx gt 1 a', 'zadd k nx lt 1 a', 'zadd k gt lt 1 a', 'zadd k nx gt lt xx 1 a', 'zadd k nx xx 1', 'zadd k incr 1 a 2 b', 'zadd k incr 1', 'zadd k nx xx incr 1 a 2 b', 'zadd k gt lt incr 1 a 2 b', 'zadd k xx gt 1 a', 'zadd k xx lt ch 1 a', 'zadd k nx nx 1 a', 'zadd k nosuch 1 a', 'zadd k nosuch 1', 'zadd k 1 nx', 'zadd k 1 nx 2', 'set k x; zadd k 1 a', 'set k x; zadd k x a', 'set k x; zadd k nx xx 1 a', 'set k x; zadd k incr 1 a', 'set k x; zadd k xx 1 a',
    'zadd k incr 1 a', 'zadd k incr xx 1 a; exists k', 'zadd k incr nx 1 a; zadd k incr nx 1 a', 'zadd k inf a; zadd k incr -inf a', 'zadd k inf a; zincrby k -inf a', 'zadd k inf a; zadd k gt incr -inf a', 'zadd k 1 a; zadd k gt incr -1 a', 'zadd k 1 a; zadd k lt incr 1 a', 'zadd k 1 a; zadd k lt incr -1 a', 'zadd k 1 a; zadd k gt incr 0 a', 'zadd k 1 a; zadd k gt ch 2 a 3 b', 'zadd k 1 a; zadd k lt 2 a', 'zadd k 1 a; zadd k xx ch 1 a 2 b', 'hello 3; zadd k incr 1.5 a', 'hello 3; zadd k incr xx 1 a', 'zadd k incr nan a', 'zadd k ch incr 1 a', 'zadd k xx 1 a; exists k', 'zadd k incr 0 a; zscore k a',
    'zincrby k', 'zincrby k 1', 'zincrby k x a', 'zincrby k nan a', 'zincrby k 1 a b', 'set k x; zincrby k 1 a', 'set k x; zincrby k x a', 'zincrby k nx a', 'zincrby nx 1 a', 'hello 3; zincrby k 1.5 a', 'zincrby k 1e400 a', 'zincrby k inf a; zincrby k 1 a', 'zincrby k -0 a', 'zincrby k 0.1 a; zincrby k 0.2 a',
    'zrem k', 'set k x; zrem k a', 'zrem k a', 'zadd k 1 a; zrem k a a; exists k', 'zadd k 1 a; zrem k b', 'zcard k', 'zcard k x', 'set k x; zcard k', 'zscore k', 'zscore k a', 'set k x; zscore k a', 'zadd k 1 a; zscore k a; zscore k b', 'hello 3; zscore k a', 'hello 3; zadd k 1 a 1.5 b inf c; zscore k a; zscore k b; zscore k c', 'zmscore k', 'zmscore k a', 'set k x; zmscore k a', 'zadd k 1.5 a; zmscore k a b a', 'hello 3; zadd k 1.5 a; zmscore k a b', 'zrank k', 'zrank k a b', 'zrank k a', 'set k x; zrank k a', 'zrevrank k a', 'zadd k 1 a 2 b; zrank k b; zrevrank k b; zrank k c', 'hello 3; zrank k a', 'zrank k a withscore',
    'zcount k', 'zcount k x 1', 'zcount k 1 x', 'zcount k nan 1', 'zcount k (1 (x', "zcount k '' ''", 'zcount k ( 1', "zcount k ' 1' 2", "zcount k '1 ' 2", 'zcount k [1 2', 'zcount k -inf +inf', 'zcount k 0x1 2', 'zcount k 1e400 1', 'zcount k (inf 1', 'set k x; zcount k 0 1', 'set k x; zcount k x 1', 'zadd k 1 a 2 b 3 c; zcount k (1 3; zcount k 1 (3; zcount k (1 (3; zcount k 3 1; zcount k -inf (inf', 'zlexcount k', 'zlexcount k a b', 'zlexcount k - +', 'zlexcount k + -', 'zlexcount k [a b', "zlexcount k '' +", 'zlexcount k -a +', 'zlexcount k - ++', 'zlexcount k [ (', 'set k x; zlexcount k - +', 'set k x; zlexcount k a b', 'zadd k 0 a 0 b 0 c; zlexcount k [b +; zlexcount k (b +; zlexcount k - (c; zlexcount k [ [; zlexcount k + -',
    'zrange k', 'zrange k 0', 'zrange k x 1', 'zrange k 0 x', 'zrange k 1.5 2', 'zrange k 0 1 nosuch', 'zrange k 0 1 withscores withscores', 'zrange k 0 1 limit', 'zrange k 0 1 limit 0', 'zrange k 0 1 limit 0 1', 'zrange k 0 1 limit x 1', 'zrange k 0 1 limit 0 x', 'zrange k 0 1 limit 0 -1', 'zrange k 0 1 limit 5 -1', 'zrange k 0 1 byscore bylex', 'zrange k 0 1 bylex', 'zrange k [a [b bylex withscores', 'zrange k [a [b bylex byscore', 'zrange k x 1 byscore', 'zrange k 1 x byscore', 'zrange k 0 1 rev rev', 'zrange k 0 1 byscore limit 0 1 limit 1 1', 'zrange k 0 1 rev limit 0 1', 'zrange k 9223372036854775808 1', 'zrange k 0 1 withscore', 'zrange k 0 -1 limit 0 1 withscores', 'set k x; zrange k 0 -1', 'set k x; zrange k x -1', 'set k x; zrange k 0 -1 nosuch', 'set k x; zrange k a b bylex', 'zrange k 0 1 bylex withscores limit 0 1', 'zrange k a b bylex withscores', 'zrange k - + bylex limit 0 x',
    'zadd k 1 a 2 b 3 c; zrange k 0 -1; zrange k -2 -1 withscores; zrange k 0 -1 rev; zrange k 2 1; zrange k 5 9; zrange k -9 0; zrange k -9223372036854775808 9223372036854775807; zrange k 0 1 rev withscores', 'zadd k 1 a 2 b 3 c; zrange k 1 3 byscore limit 1 1; zrange k 3 1 byscore rev limit 1 -1; zrange k 1 3 byscore limit -1 1; zrange k 1 3 byscore limit 9 1; zrange k 1 3 byscore limit 0 0; zrange k (1 inf byscore withscores; zrange k 1 3 byscore limit 0 -9', 'zadd k 0 a 0 b 0 c; zrange k - + bylex; zrange k + - bylex rev; zrange k - + bylex rev; zrange k [b + bylex limit 0 1; zrange k (c - rev bylex', 'hello 3; zadd k 1 a 2.5 b; zrange k 0 -1 withscores; zrange k 0 -1; zrange nosuch 0 -1 withscores',
    'zrevrange k 0', 'zrevrange k x 1', 'zrevrange k 0 1 rev', 'zrevrange k 0 1 byscore', 'zrevrange k 0 1 limit 0 1', 'zrevrange k 0 1 nosuch', 'zrevrange k 0 1 withscores withscores', 'set k x; zrevrange k 0 1', 'zrangebyscore k 0', 'zrangebyscore k x 1', 'zrangebyscore k 0 x', 'zrangebyscore k 0 1 rev', 'zrangebyscore k 0 1 byscore', 'zrangebyscore k 0 1 limit 0', 'zrangebyscore k 0 1 limit x 0', 'zrangebyscore k 0 1 limit 0 x', 'zrangebyscore k 0 1 limit 1.5 1', 'zrangebyscore k 0 1 nosuch', 'zrangebyscore k nan 1', 'zrangebyscore k 0 1 withscores limit 0 1 x', 'set k x; zrangebyscore k 0 1', 'set k x; zrangebyscore k x 1', 'set k x; zrangebyscore k 0 1 nosuch', 'zrevrangebyscore k x 1', 'zrevrangebyscore k 1 x', 'zrevrangebyscore k 1 0 rev', 'zadd k 1 a 2 b; zrevrangebyscore k 2 1; zrevrangebyscore k +inf -inf withscores limit 1 1; zrangebyscore k 1 2 withscores', 'zrangebylex k a b', 'zrangebylex k - + withscores', 'zrangebylex k - + limit 0', 'zrangebylex k - + limit x 0', 'zrangebylex k - + bylex', 'zrangebylex k - + rev', 'zrangebylex k -', "zrangebylex k '' ''", 'set k x; zrangebylex k - +', 'set k x; zrangebylex k a b', 'zrevrangebylex k -', 'zrevrangebylex k a b', 'zrevrangebylex k + - nosuch', 'zadd k 0 a 0 b; zrevrangebylex k + -; zrevrangebylex k [b (a; zrangebylex k - + limit 1 1; zrangebylex k - + limit -1 1',
    'zrangestore d', 'zrangestore d k 0', 'zrangestore d k x 1', 'zrangestore d k 0 x', 'zrangestore d k 0 1 withscores', 'zrangestore d k 0 1 limit 0 1', 'zrangestore d k 0 1 byscore bylex', 'zrangestore d k a b bylex', 'zrangestore d k x 1 byscore', 'zrangestore d k 0 1 nosuch', 'zrangestore d k 0 1 byscore limit x 1', 'zrangestore d k 0 1 limit', 'set k x; zrangestore d k 0 1', 'set k x; zrangestore d k x 1', 'set d x; zrangestore d k 0 -1; exists d', 'set d x; zadd k 1 a; zrangestore d k 0 -1; type d', 'zadd k 1 a 2 b; zrangestore k k 0 0; zrange k 0 -1', 'zadd k 1 a 2 b 3 c; zrangestore d k (1 +inf byscore limit 1 1; zrange d 0 -1 withscores', 'zadd k 1 a; zrangestore d k 5 9; exists d', 'zadd k 0 a 0 b; zrangestore d k + - bylex rev limit 0 1; zrange d 0 -1', 'zadd k 1 a 2 b; zrangestore d k 0 0 rev; zrange d 0 -1', 'multi; zrangestore d k 0 1 withscores; zrangestore d k x 1; exec',
    'zremrangebyrank k 0', 'zremrangebyrank k x 1', 'zremrangebyrank k 0 x', 'zremrangebyrank k 0 1 x', 'set k x; zremrangebyrank k 0 1', 'set k x; zremrangebyrank k x 1', 'zremrangebyrank k 0 -1', 'zadd k 1 a 2 b; zremrangebyrank k 1 5; zremrangebyrank k 0 -1; exists k', 'zadd k 1 a; zremrangebyrank k 5 9', 'zremrangebyscore k x 1', 'zremrangebyscore k 1 x', 'zremrangebyscore k nan 1', 'zremrangebyscore k 0', 'zremrangebyscore k 0 1 limit 0 1', 'set k x; zremrangebyscore k 0 1', 'set k x; zremrangebyscore k x 1', 'zremrangebyscore k 0 1', 'zadd k 1 a 2 b; zremrangebyscore k (1 2; zremrangebyscore k -inf inf; exists k', 'zremrangebylex k a b', 'zremrangebylex k -', 'zremrangebylex k - +', 'zremrangebylex k [a b', 'set k x; zremrangebylex k - +', 'set k x; zremrangebylex k a b', 'zadd k 0 a 0 b; zremrangebylex k [b +; zremrangebylex k - +; exists k',
    'zpopmin', 'zpopmin k', 'zpopmin k x', 'zpopmin k -1', 'zpopmin k 0', 'zpopmin k 1 2', 'zpopmin k 1.5', 'zpopmin k 9223372036854775808', "zpopmin k ''", 'set k x; zpopmin k', 'set k x; zpopmin k x', 'set k x; zpopmin k 0', 'set k x; zpopmin k -1', 'zadd k 1 a 2 b; zpopmin k; zpopmax k; exists k', 'zadd k 1 a 2 b; zpopmax k 9; exists k', 'zadd k 1 a; zpopmin k 0', 'zadd k 1 a; zpopmax k -1', 'zpopmax k x', 'zpopmax k 9223372036854775807', 'hello 3; zadd k 1 a 2.5 b 3 c; zpopmin k; zpopmin k 1; zpopmax k 5; zpopmax k; zpopmax k 1',
    'zmpop', 'zmpop 1', 'zmpop 1 k', 'zmpop 0 k min', 'zmpop -1 k min', 'zmpop x k min', 'zmpop 1 k x', 'zmpop 2 k min', 'zmpop 2 k j', 'zmpop 1 k min x', 'zmpop 1 k min count', 'zmpop 1 k min count 0', 'zmpop 1 k min count -1', 'zmpop 1 k min count x', 'zmpop 1 k min count 1 count 1', 'zmpop 1 k min max', 'zmpop 1 k min count 1 x', 'zmpop 9223372036854775807 k min', 'zmpop 9223372036854775808 k min', 'zmpop 1.5 k min', 'zmpop 99 k min', 'set k x; zmpop 1 k min', 'set k x; zmpop 1 k x', 'set k x; zmpop 2 j k min', 'set k x; zadd j 1 a; zmpop 2 j k min', 'zmpop 1 k min', 'hello 3; zmpop 1 k min', 'zadd k 1 a 2 b; zmpop 2 j k MAX; zmpop 1 k min count 9; exists k', 'hello 3; zadd k 1.5 a 2 b; zmpop 1 k min count 2', 'zmpop 1 k min count 9223372036854775808', 'zadd k 1 a; zmpop 1 k min count 9223372036854775807',
    'zrandmember', 'zrandmember k', 'zrandmember k x', 'zrandmember k 1 x', 'zrandmember k 1 withscores x', 'zrandmember k x withscores', 'zrandmember k 1.5', 'zrandmember k 9223372036854775808', 'zrandmember k -9223372036854775808', 'zrandmember k -9223372036854775807', 'zrandmember k -9223372036854775807 withscores', 'zrandmember k 9223372036854775807 withscores', 'zrandmember k 4611686018427387903 withscores', 'zrandmember k 4611686018427387904 withscores', 'zrandmember k -4611686018427387903 withscores', 'zrandmember k -4611686018427387904 withscores', 'zadd k 1 a; zrandmember k 9223372036854775807', 'zadd k 1 a; zrandmember k -9223372036854775807 withscores', 'set k x; zrandmember k', 'set k x; zrandmember k 1', 'set k x; zrandmember k x', 'set k x; zrandmember k 1 x', 'zrandmember k 0', 'zadd k 1 a; zrandmember k 0 withscores', 'zadd k 1 a; zrandmember k', 'zadd k 1 a; zrandmember k -3', 'zadd k 1.5 a; zrandmember k -2 withscores', 'zadd k 1 a; zrandmember k 5 withscores', 'hello 3; zadd k 1 a; zrandmember k -2 withscores', 'hello 3; zrandmember k', 'hello 3; zrandmember k 2 withscores', 'hello 3; zadd k 1 a; zrandmember k 2', 'hello 3; zadd k 1 a; zrandmember k',
    'zscan', 'zscan k', 'zscan k x', 'zscan k -1', "zscan k ''", "zscan k ' 0'", 'zscan k 99999999999999999999999', 'zscan k 0 nosuch', 'zadd k 1 a; zscan k 0 nosuch', 'zadd k 1 a; zscan k 0 count', 'zadd k 1 a; zscan k 0 count 0', 'zadd k 1 a; zscan k 0 count x', 'zadd k 1 a; zscan k 0 match', 'zadd k 1 a; zscan k 0 type zset', 'zadd k 1 a; zscan k 0 match a count 1', 'zadd k 1 a; zscan k 0 match x', 'zadd k 1.5 a; zscan k 0 x y', 'zscan k 0 count 0', 'zscan k 0 x y', 'set k x; zscan k 0', 'set k x; zscan k x', 'zscan k 5', 'zadd k 1 a; zscan k 5', 'zadd k 1.5 a inf b; zscan k 0', 'hello 3; zadd k 1.5 a; zscan k 0', 'zadd k 1e17 a 0.1 b; zscan k 0',
    'zunion', 'zunion 0 k', 'zunion -1 k', 'zunion x k', 'zunion 1.5 k', 'zunion 2 k', 'zunion 99999999999 k', 'zunion 9223372036854775808 k', 'zunion 1 k nosuch', 'zunion 1 k weights', 'zunion 1 k weights x', 'zunion 1 k weights nan', 'zunion 2 k j weights 1', 'zunion 2 k j weights 1 2 3', 'zunion 1 k weights 1 weights 2', 'zunion 1 k aggregate', 'zunion 1 k aggregate x', 'zunion 1 k aggregate sum min', 'zunion 1 k withscores withscores', 'zunion 1 k limit 1', 'set k x; zunion 1 k', 'set k x; zunion 1 k nosuch', 'set k x; zunion 1 k weights x', 'set k x; zunion 0 k', 'set k x; zunion 2 j k', 'zunion 1 k weights 1 aggregate max withscores', 'zadd k inf a; zadd j -inf a; zunion 2 k j withscores; zunion 2 k j aggregate min withscores; zunion 2 k j weights 0 0 withscores', 'hello 3; zadd k 1 a; zadd j 2 a 3 b; zunion 2 k j withscores; zunion 2 k j; zinter 2 k j withscores; zdiff 2 j k withscores',
    'zinter 0 k', 'zinter x k', 'zinter 2 k', 'zinter 1 k nosuch', 'zinter 1 k weights x', 'zinter 1 k aggregate x', 'zinter 1 k limit 1', 'set k x; zinter 1 k', 'set k x; zinter 2 j k', 'zadd k 1 a 2 b; zadd j 5 b; zinter 2 k j withscores; zinter 2 k j weights 2 3 aggregate max withscores; zinter 2 k k withscores; zinter 2 k none', 'zdiff 0 k', 'zdiff x k', 'zdiff 2 k', 'zdiff 1 k nosuch', 'zdiff 1 k weights 1', 'zdiff 1 k aggregate sum', 'zdiff 1 k withscores withscores', 'set k x; zdiff 1 k', 'set k x; zdiff 2 j k', 'zadd k 1 a 2 b; zadd j 5 b; zdiff 2 k j withscores; zdiff 2 k k; zdiff 2 none k; zdiff 1 k',
    'zunionstore d', 'zunionstore d 0 k', 'zunionstore d -1 k', 'zunionstore d x k', 'zunionstore d 2 k', 'zunionstore d 1 k withscores', 'zunionstore d 1 k weights x', 'zunionstore d 1 k weights', 'zunionstore d 1 k aggregate x', 'zunionstore d 1 k nosuch', 'set k x; zunionstore d 1 k', 'set k x; zunionstore d 1 k nosuch', 'set d x; zunionstore d 1 k; exists d', 'set d x; zadd k 1 a; zunionstore d 1 k; type d', 'zadd k 1 a; zunionstore k 2 k k weights 2 3; zrange k 0 -1 withscores', 'zinterstore d', 'zinterstore d 0 k', 'zinterstore d x k', 'zinterstore d 1 k withscores', 'zinterstore d 1 k limit 1', 'set k x; zinterstore d 1 k', 'set d x; zinterstore d 1 k; exists d', 'zadd k 1 a; zinterstore k 1 k weights 5; zscore k a', 'zdiffstore d', 'zdiffstore d 0 k', 'zdiffstore d x k', 'zdiffstore d 1 k withscores', 'zdiffstore d 1 k weights 1', 'set k x; zdiffstore d 1 k', 'set d x; zdiffstore d 1 k; exists d', 'zadd k 1 a; zdiffstore k 2 k k; exists k', 'zunionstore d 1 k weights 1 aggregate', 'multi; zunionstore d 0 k; zunionstore d 1 k nosuch; exec',
    'zintercard', 'zintercard 0 k', 'zintercard -1 k', 'zintercard x k', 'zintercard 2 k', 'zintercard 1 k limit', 'zintercard 1 k limit x', 'zintercard 1 k limit -1', 'zintercard 1 k limit 0', 'zintercard 1 k nosuch', 'zintercard 1 k nosuch 1', 'zintercard 1 k withscores', 'zintercard 1 k weights 1', 'zintercard 1 k limit 1 limit 2', 'zintercard 1 k limit 9223372036854775808', 'set k x; zintercard 1 k', 'set k x; zintercard 1 k limit x', 'zadd k 1 a 2 b; zintercard 1 k; zintercard 1 k limit 1; zintercard 2 k none; zintercard 2 k k limit 0',
    'zadd k 1 a; get k', 'zadd k 1 a; incr k', 'zadd k 1 a; append k x', 'zadd k 1 a; hset k f v', 'zadd k 1 a; hget k f', 'zadd k 1 a; hgetall k', 'zadd k 1 a; set k x; get k', 'zadd k 1 a; setnx k x', 'zadd k 1 a; mget k', 'zadd k 1 a; type k; object encoding k; object refcount k', 'zadd k 1 a; rename k j; zscore j a', 'zadd k 1 a; copy k j; zadd k 2 a; zscore j a', 'zadd k 1 a; expire k 100; zadd k 2 a; persist k', 'zadd k 1 a; expire k 100; zunionstore k 1 k; ttl k', 'zadd k 1 a; move k 1; select 1; zscore k a', 'zadd k 1 a; scan 0 type zset', 'zadd k 1 a; scan 0 type hash',
    'multi; zadd k x a; zadd k 1 a; exec', 'multi; zadd k 1; exec', 'multi; zadd k nx xx 1 a; zmpop 0 k min; zmpop 1 k min; zpopmin k x; exec', 'watch k; zadd k 1 a; multi; zcard k; exec', 'zadd k 1 a; watch k; zadd k 1 a; multi; zcard k; exec', 'zadd k 1 a; watch k; zadd k nx 2 a; multi; zcard k; exec', 'zadd k 1 a; watch k; zrem k b; multi; zcard k; exec', 'zadd k 1 a; watch k; zadd k incr 0 a; multi; zcard k; exec', 'zadd k 1 a; watch k; zincrby k 0 a; multi; zcard k; exec', 'watch d; zunionstore d 1 k; multi; exists d; exec', 'zadd d 1 a; watch d; zunionstore d 1 k; multi; exists d; exec', 'zadd k 1 a; watch k; zpopmin k 0; multi; exists k; exec', 'zadd k 1 a; watch k; zmpop 1 k min; multi; exists k; exec', 'watch d; zrangestore d k 0 -1; multi; exists d; exec', 'zadd k 1 a; watch k; zremrangebyrank k 5 9; multi; exists k; exec', 'multi; zadd k 1 a; zrandmember k; zscan k 0; zrange k 0 -1 withscores; exec',
    'command getkeys zadd k 1 a', 'command getkeys zunionstore d 2 a b', 'command getkeys zunionstore d 3 a b', 'command getkeys zunionstore d x a', 'command getkeys zunionstore d 0 a', 'command getkeys zunion 2 a b weights 1 2', 'command getkeys zinter 1 a', 'command getkeys zinter 0 a', 'command getkeys zintercard 2 a b limit 1', 'command getkeys zdiff 2 a b', 'command getkeys zdiffstore d 1 a', 'command getkeys zmpop 2 a b min', 'command getkeys zmpop 0 a min', 'command getkeys zmpop 5 a min', 'command getkeys zmpop -1 a min', 'command getkeys zmpop x a min', 'command getkeys zrangestore d k 0 1', 'command getkeysandflags zunionstore d 2 a b', 'command getkeysandflags zmpop 1 a min', 'command getkeysandflags zadd k 1 a', 'command getkeysandflags zrangestore d k 0 1', 'command getkeysandflags zpopmin k', 'command getkeysandflags zdiff 1 a', 'command getkeysandflags zintercard 1 a', 'command getkeysandflags zrem k a',
    'config set zset-max-listpack-entries 1; zadd k 1 a; object encoding k; zadd k 2 a; object encoding k; zadd k 1 b; object encoding k; zrem k b; object encoding k; zunionstore d 1 k; object encoding d; config set zset-max-listpack-entries 128', 'config set zset-max-ziplist-value 2; zadd k 1 abc; object encoding k; zadd j 1 ab; object encoding j; config set zset-max-listpack-value 64', 'config set zset-max-listpack-entries 0; zadd k 1 a; object encoding k; config set zset-max-listpack-entries 128; zrangestore d k 0 -1; object encoding d; zrangestore d k 0 5 byscore; object encoding d; zunionstore d 1 k; object encoding d', 'config get zset-max-ziplist-entries',
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
