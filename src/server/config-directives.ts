// Every directive of the configuration, declared once: file, command line, CONFIG GET / SET / REWRITE, the commented example and
// the docs derive from here. Redis's names and value forms wherever Redis has the thing.
//
// What must hold:
// - A value is what `parse` made of words, never anything else; parse(format(value)) is the value again.
// - A `fixed` directive names something that Redis lets one choose and Holdfast does not: it reports what is true here, and
//   setting it to anything else is an error that says why.
// - A `replicated` directive is machine state (src/commands/replicated-settings.ts): its value here only seeds a new cluster.
import { DATABASES_MAX, GiB, LOG_DISK_BYTES_MIN, MiB } from '../base/limits.ts';
import {
  REPLICATED_SETTING_ALIASES,
  REPLICATED_SETTING_RANGES,
  ReplicatedSettings,
  type ReplicatedSettingName,
} from '../commands/replicated-settings.ts';
import * as kinds from './config-kinds.ts';
import type { BufferLimits, Directive, Peer } from './config-kinds.ts';

const { bool, int, octal, memory, oneOf, text, words, fixed, list, bufferLimits, peerList } = kinds;

const INT_MAX = 2 ** 31 - 1;
const SAFE_MAX = Number.MAX_SAFE_INTEGER;

function setting(name: ReplicatedSettingName, kind: 'count' | 'memory', docs: string): Directive<number> {
  const { min, max } = REPLICATED_SETTING_RANGES[name];
  const aliases = Object.keys(REPLICATED_SETTING_ALIASES).filter((alias) => REPLICATED_SETTING_ALIASES[alias] === name);
  const declare = kind === 'memory' ? memory : int;
  return declare(new ReplicatedSettings()[name], min, max, { group: 'encodings', runtime: true, replicated: true, aliases, docs });
}

const network = {
  bind: words(['*', '-::*'], { group: 'network', docs: 'Addresses that clients may connect to. One with - in front may be missing. * and ::* are all of IPv4 and of IPv6.' }),
  port: int(6379, 0, 65535, { group: 'network', docs: 'TCP port for clients; 0: none.' }),
  unixsocket: text('', { group: 'network', docs: 'Path of a Unix socket for clients; empty: none.' }),
  unixsocketperm: octal(0, 0o777, { group: 'network', docs: 'Permissions of the Unix socket, octal; 0: as the umask leaves them.' }),
  'tcp-backlog': int(511, 0, INT_MAX, { group: 'network', docs: 'Connections that may wait to be accepted.' }),
  'tcp-keepalive': int(300, 0, INT_MAX, { group: 'network', runtime: true, docs: 'Seconds of silence after which a client is probed; 0: never. For connections from then on.' }),
  timeout: int(0, 0, INT_MAX, { group: 'network', runtime: true, docs: 'Seconds of idleness after which a client is closed; 0: never.' }),
  maxclients: int(10_000, 1, 2 ** 32 - 1, { group: 'network', runtime: true, docs: 'Clients connected at one time.' }),
  'protected-mode': bool(true, { group: 'network', runtime: true, docs: 'Without requirepass, refuse clients that are not on this machine.' }),
  requirepass: text('', { group: 'network', runtime: true, sensitive: true, docs: 'Password of the user default; empty: none. Of this node only: set it on every node.' }),
};

const clients = {
  'client-query-buffer-limit': memory(GiB, MiB, SAFE_MAX, { group: 'clients', runtime: true, docs: 'Bytes of a command that a client has not yet sent completely.' }),
  'client-output-buffer-limit': bufferLimits({
    group: 'clients',
    runtime: true,
    docs: 'For a class of clients (normal, replica, pubsub): unsent bytes at which one is closed, and bytes and seconds that it may not stay above. 0: no limit.',
  }),
};

const storage = {
  dir: text('./', { group: 'storage', docs: 'Data directory of this node.' }),
  databases: int(16, 1, DATABASES_MAX, { group: 'storage', docs: 'Number of databases. The same on every node.' }),
};

const snapshots = {
  'object-store': text('', { group: 'snapshots', docs: 'Where snapshots and the archived log go: a directory, or s3://bucket/prefix?endpoint=…&region=…. The same on every node; one that has another, or none, has snapshots from its peers. Empty everywhere: none is made, and the log grows up to log-disk-bytes-max.' }),
  'object-store-key-file': text('', { group: 'snapshots', docs: 'File with the keys that snapshots and archive are encrypted with; empty: they are not.' }),
  'snapshot-log-bytes': memory(GiB, MiB, SAFE_MAX, { group: 'snapshots', docs: 'Bytes of log since the last snapshot at which the next one is made.' }),
  'snapshot-interval': int(3600, 1, INT_MAX, { group: 'snapshots', docs: 'Seconds since the last snapshot after which the next one is made, if anything was written.' }),
  'snapshot-retention': int(604_800, 0, INT_MAX, { group: 'snapshots', docs: 'Seconds of the past that can be gone back to; older snapshots and log are deleted. At least snapshot-interval; 0: nothing is deleted.' }),
  'archive-interval-seconds': int(10, 1, 3600, { group: 'snapshots', docs: 'Seconds that the archived log may be behind the cluster.' }),
  'log-keep-bytes': memory(64 * MiB, 0, SAFE_MAX, { group: 'snapshots', docs: 'Bytes of log that are kept behind a published snapshot, for followers that are a little late.' }),
  'log-keep-bytes-max': memory(GiB, 0, SAFE_MAX, { group: 'snapshots', docs: 'Bytes of log at most that the leader keeps behind a published snapshot for a connected follower that still needs them; one that is later starts from the snapshot.' }),
  'log-disk-bytes-max': memory(64 * GiB, 0, SAFE_MAX, { group: 'snapshots', runtime: true, docs: 'Bytes of log on disk at which the leader refuses writes until the log can be cut; it warns at 80 %. Reads, CONFIG and changes of members go on. 0: the disk is the limit.' }),
  snapshotter: bool(true, { group: 'snapshots', docs: 'Start the process that makes snapshots and archive beside this node. It needs an object-store.' }),
};

const memoryUse = {
  maxmemory: memory(0, 0, SAFE_MAX, { group: 'memory', runtime: true, docs: 'Bytes of data above which keys are evicted, or writes that need more refused; 0: no limit. The same on every node.' }),
  'maxmemory-policy': oneOf('noeviction', ['volatile-lru', 'volatile-lfu', 'volatile-random', 'volatile-ttl', 'allkeys-lru', 'allkeys-lfu', 'allkeys-random', 'noeviction'], {
    group: 'memory',
    runtime: true,
    docs: 'Which keys are evicted. The leader chooses, and has the deletions logged.',
  }),
  'maxmemory-samples': int(5, 1, INT_MAX, { group: 'memory', runtime: true, docs: 'Keys looked at for each one that is evicted.' }),
  'lfu-log-factor': int(10, 0, INT_MAX, { group: 'memory', runtime: true, docs: 'How slowly the LFU counter grows.' }),
  'lfu-decay-time': int(1, 0, INT_MAX, { group: 'memory', runtime: true, docs: 'Minutes after which an LFU counter is lowered by one; 0: at each look.' }),
  'stall-resolution-ms': int(20, 1, 1000, { group: 'memory', docs: 'How finely stalls of the event loops are measured; INFO shows them up to this much too short. Small values cost CPU.' }),
  hz: int(10, 1, 500, { group: 'memory', runtime: true, docs: "Times a second that the node looks after idle clients, expired keys and the hash tables' growth." }),
  'active-expire-effort': int(1, 1, 10, { group: 'memory', runtime: true, docs: 'How hard the leader looks for expired keys that nobody reads.' }),
  ...lazyFree(['lazyfree-lazy-eviction', 'lazyfree-lazy-expire', 'lazyfree-lazy-server-del', 'lazyfree-lazy-user-del', 'lazyfree-lazy-user-flush']),
};

function lazyFree<N extends string>(names: readonly N[]): Record<N, Directive<boolean>> {
  const docs = 'Taken for compatibility, changes nothing: memory is freed by the command that gives it up, on every node alike.';
  return Object.fromEntries(names.map((name) => [name, bool(false, { group: 'memory', runtime: true, docs })])) as Record<N, Directive<boolean>>;
}

const encodings = {
  'proto-max-bulk-len': setting('proto-max-bulk-len', 'memory', 'Longest string and argument. At most what fits in one log record.'),
  'hash-max-listpack-entries': setting('hash-max-listpack-entries', 'count', 'Fields of a hash in its packed form.'),
  'hash-max-listpack-value': setting('hash-max-listpack-value', 'memory', 'Bytes of a field or value of a hash in its packed form.'),
  'list-max-listpack-size': setting('list-max-listpack-size', 'count', "Elements of a list's chunk, or -1 to -5 for a size of 4, 8, 16, 32 or 64 KiB."),
  'list-compress-depth': setting('list-compress-depth', 'count', 'Chunks at both ends of a list that stay uncompressed; 0: all.'),
  'set-max-intset-entries': setting('set-max-intset-entries', 'count', 'Members of a set of whole numbers in its packed form.'),
  'zset-max-listpack-entries': setting('zset-max-listpack-entries', 'count', 'Members of a sorted set in its packed form.'),
  'zset-max-listpack-value': setting('zset-max-listpack-value', 'memory', 'Bytes of a member of a sorted set in its packed form.'),
  'stream-node-max-bytes': setting('stream-node-max-bytes', 'memory', "Bytes of a stream's block; 0: no limit."),
  'stream-node-max-entries': setting('stream-node-max-entries', 'count', "Entries of a stream's block; 0: no limit."),
  'hll-sparse-max-bytes': setting('hll-sparse-max-bytes', 'memory', "Bytes of a HyperLogLog's sparse form."),
};

const operation = {
  loglevel: oneOf('notice', ['debug', 'verbose', 'notice', 'warning'], { group: 'operation', runtime: true, docs: 'How much is logged.' }),
  logfile: text('', { group: 'operation', docs: 'File that the log goes to; empty: standard output.' }),
  'log-format': oneOf('text', ['text', 'json'], { group: 'operation', docs: 'Log lines for people, or JSON for machines.' }),
  'shutdown-timeout': int(10, 0, INT_MAX, { group: 'operation', runtime: true, docs: 'Seconds that a clean stop waits for the leadership to be handed over and for replies to go out.' }),
  'enable-debug-command': oneOf('no', ['no', 'yes', 'local'], { group: 'operation', docs: 'Who may use DEBUG: nobody, everybody, or clients on this machine.' }),
  failpoint: list({ group: 'operation', hidden: true, docs: 'Makes a fault happen, for chaos tests: failpoint log-fsync-error-after N.' }),
};

const cluster = {
  'node-id': text('n1', { group: 'cluster', form: /^[A-Za-z0-9_-]{1,32}$/, expected: 'a name of up to 32 letters, digits, - and _', docs: "This node's name in peers. Never changes once the node has data." }),
  'cluster-id': text('', { group: 'cluster', form: /^[A-Za-z0-9_-]{0,64}$/, expected: 'a name of up to 64 letters, digits, - and _', docs: 'Name of the cluster; nodes of another one are refused. Empty: chosen when the cluster is bootstrapped.' }),
  peers: peerList({ group: 'cluster', docs: 'The members at bootstrap, this node among them: name=host:peer-port, or name=host:peer-port/client-port. Empty: a cluster of this node alone.' }),
  'peer-port': int(0, 0, 65535, { group: 'cluster', docs: 'TCP port for the other nodes; 0: the one that peers gives for this node, else port + 10000.' }),
  'peer-bind': words(['127.0.0.1'], { group: 'cluster', docs: 'Address that the other nodes may connect to. Anything but this machine needs a cluster-secret.' }),
  'cluster-secret': text('', { group: 'cluster', sensitive: true, docs: 'Shared by all nodes: what peers prove to each other.' }),
  'read-consistency': oneOf('lease', ['lease', 'quorum'], { group: 'cluster', docs: 'How the leader makes sure that it leads before it answers a linearizable read: by its lease (clocks of bounded drift), or by asking a majority.' }),
  'follower-writes': oneOf('forward', ['forward', 'moved', 'error'], { group: 'cluster', runtime: true, docs: 'What a node that does not lead does with a write: forwards it, answers -MOVED, or refuses it.' }),
  'election-timeout-ms': int(500, 50, 60_000, { group: 'cluster', docs: 'Silence of the leader after which a follower stands for election. At least 5 × heartbeat-interval-ms.' }),
  'heartbeat-interval-ms': int(50, 5, 10_000, { group: 'cluster', docs: 'Time between heartbeats of the leader.' }),
  'lease-drift-ms': int(50, 0, 10_000, { group: 'cluster', docs: "Taken off the leader's lease, for clocks that do not run alike." }),
  'uncertain-after-ms': int(5000, 100, 3_600_000, { group: 'cluster', runtime: true, docs: 'Time after which a write that was logged and is neither committed nor lost is answered with UNCERTAIN.' }),
};

const fixedTruths = {
  appendonly: fixed('yes', 'every write is in the replicated log before its reply'),
  appendfsync: fixed('always', 'every write is synced to disk on a majority before its reply'),
  'no-appendfsync-on-rewrite': fixed('no', 'every write is synced to disk on a majority before its reply'),
  save: fixed('', 'the replicated log is what persists, there are no timed RDB files'),
  'activerehashing': fixed('yes', 'hash tables always grow in small steps'),
  'io-threads': fixed('1', 'one thread runs the commands and their sockets'),
  daemonize: fixed('no', 'the process stays in the foreground, for a service manager to run'),
  supervised: fixed('no', 'the process does not talk to a service manager'),
  'cluster-enabled': fixed('no', 'the whole keyspace is one replicated database'),
  replicaof: fixed('', 'nodes replicate through Raft: see peers', ['slaveof']),
  'replica-read-only': fixed('no', 'every node takes writes: see follower-writes', ['slave-read-only']),
  'min-replicas-to-write': fixed('0', 'every write needs a majority of the members', ['min-slaves-to-write']),
  'tls-port': fixed('0', 'TLS is not supported yet'),
  aclfile: fixed('', 'there is only the user default, with requirepass'),
  'slowlog-log-slower-than': fixed('-1', 'there is no slow log yet'),
  'latency-monitor-threshold': fixed('0', 'there is no latency monitor yet'),
};

/** All of them, in the order of the example file. */
export const DIRECTIVES = { ...cluster, ...network, ...clients, ...storage, ...snapshots, ...memoryUse, ...encodings, ...operation, ...fixedTruths };

export type DirectiveName = keyof typeof DIRECTIVES;
type ValueOf<D> = D extends Directive<infer T> ? T : never;
export type ConfigValues = { -readonly [N in DirectiveName]: ValueOf<(typeof DIRECTIVES)[N]> };

export const DIRECTIVE_NAMES = Object.keys(DIRECTIVES) as readonly DirectiveName[];

/** The declaration without its value's type, for code that treats all alike. */
export function directive(name: DirectiveName): Directive<unknown> {
  return DIRECTIVES[name];
}

const byName = new Map<string, DirectiveName>();
for (const name of DIRECTIVE_NAMES) {
  byName.set(name, name);
  for (const alias of directive(name).aliases) byName.set(alias, name);
}

/** The directive of this name or alias, letters in either case. */
export function directiveNamed(name: string): DirectiveName | undefined {
  return byName.get(name.toLowerCase());
}

/** Every name CONFIG GET knows, aliases included. */
export function* directiveNamesAndAliases(): Iterable<readonly [string, DirectiveName]> {
  for (const entry of byName) yield entry;
}

export function defaultValues(): ConfigValues {
  return Object.fromEntries(DIRECTIVE_NAMES.map((name) => [name, directive(name).defaultValue])) as ConfigValues;
}

/** TCP port to listen on for the other nodes. */
export function peerPortOf(values: Readonly<ConfigValues>): number {
  if (values['peer-port'] !== 0) return values['peer-port'];
  const self = values.peers.find((peer) => peer.id === values['node-id']);
  return self?.peerPort ?? values.port + 10_000;
}

const LOOPBACK = /^-?(127(\.\d+){3}|::1|localhost)$/i;

/** What must hold between directives; one text for each that does not, naming both. */
export function relationMistakes(values: Readonly<ConfigValues>): Array<{ readonly directive: DirectiveName; readonly problem: string }> {
  const mistakes: Array<{ directive: DirectiveName; problem: string }> = [];
  const require = (holds: boolean, name: DirectiveName, problem: string): void => {
    if (!holds) mistakes.push({ directive: name, problem });
  };
  const election = values['election-timeout-ms'];
  const heartbeat = values['heartbeat-interval-ms'];
  const drift = values['lease-drift-ms'];
  require(election >= 5 * heartbeat, 'election-timeout-ms', `${election} is less than 5 × heartbeat-interval-ms (${heartbeat}); expected at least ${5 * heartbeat}`);
  require(drift + heartbeat < election, 'lease-drift-ms', `${drift} leaves no lease: expected less than election-timeout-ms − heartbeat-interval-ms (${election - heartbeat})`);
  const uncertain = values['uncertain-after-ms'];
  require(uncertain >= election, 'uncertain-after-ms', `${uncertain} is less than election-timeout-ms (${election}); an ordinary election would make writes uncertain`);
  const retention = values['snapshot-retention'];
  const interval = values['snapshot-interval'];
  require(retention === 0 || retention >= interval, 'snapshot-retention', `${retention} is less than snapshot-interval (${interval}); the only snapshot would be deleted before the next`);
  const disk = values['log-disk-bytes-max'];
  const needed = LOG_DISK_BYTES_MIN + (values['object-store'] === '' ? 0 : 2 * (values['snapshot-log-bytes'] + values['log-keep-bytes-max']));
  require(disk === 0 || disk >= needed, 'log-disk-bytes-max', `${disk} is less than the log has in normal operation: expected 0, or at least 64 MiB and, with an object-store, twice snapshot-log-bytes and log-keep-bytes-max (${needed})`);
  for (const mistake of peerMistakes(values)) mistakes.push(mistake);
  return mistakes;
}

function* peerMistakes(values: Readonly<ConfigValues>): Iterable<{ directive: DirectiveName; problem: string }> {
  const { peers } = values;
  const nodeId = values['node-id'];
  const ids = peers.map((peer) => peer.id);
  const addresses = peers.map((peer) => `${peer.host}:${peer.peerPort}`);
  const twice = (all: readonly string[]): string | undefined => all.find((one, i) => all.indexOf(one) !== i);
  const repeatedId = twice(ids);
  if (repeatedId !== undefined) yield { directive: 'peers', problem: `${repeatedId} is named twice` };
  const repeatedAddress = twice(addresses);
  if (repeatedAddress !== undefined) yield { directive: 'peers', problem: `two members have the address ${repeatedAddress}` };
  if (peers.length > 0 && !ids.includes(nodeId)) {
    yield { directive: 'peers', problem: `node-id ${nodeId} is not among them (${ids.join(', ')})` };
  }
  const peerPort = peerPortOf(values);
  if (peerPort > 65535) yield { directive: 'peer-port', problem: `port + 10000 is ${peerPort}, beyond 65535: give a peer-port` };
  else if (peerPort === values.port) yield { directive: 'peer-port', problem: `${peerPort} is also the port for clients` };
  if (values['peer-bind'].length !== 1) yield { directive: 'peer-bind', problem: 'is one address' };
  const open = values['peer-bind'].find((address) => !LOOPBACK.test(address));
  if (open !== undefined && values['cluster-secret'] === '') {
    yield { directive: 'peer-bind', problem: `${open} lets other machines connect, which needs a cluster-secret` };
  }
}

export type { BufferLimits, Directive, Peer };
