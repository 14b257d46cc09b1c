// INFO: Redis 7.0's text from a plain object that the server fills in. Names and order as in Redis where the thing exists here;
// what Holdfast does not have (fork, AOF rewrite, Lua, modules, replication backlog) is left out, except for the fields that
// clients and monitors look for, which say what is true here.
import { REDIS_VERSION } from '../commands/connection.ts';
import type { SnapshotInfo } from './snapshots.ts';

export interface InfoServer {
  readonly holdfastVersion: string;
  /** "Linux 6.1.0 x86_64" */
  readonly os: string;
  readonly archBits: number;
  readonly processId: number;
  readonly runId: string;
  readonly tcpPort: number;
  readonly wallMs: number;
  readonly uptimeMs: number;
  readonly hz: number;
  readonly executable: string;
  readonly configFile: string;
  readonly nodeVersion: string;
}

export interface InfoClients {
  readonly connected: number;
  readonly maxClients: number;
  readonly recentMaxInputBuffer: number;
  readonly recentMaxOutputBuffer: number;
  readonly blocked: number;
}

export interface InfoMemory {
  /** Exact to the allocator: keys, values, tables. */
  readonly usedBytes: number;
  readonly peakBytes: number;
  readonly residentBytes: number;
  /** Segments and tables taken from the system for data. */
  readonly reservedBytes: number;
  /** Of usedBytes: what an empty keyspace uses. */
  readonly startupBytes: number;
  /** Of usedBytes: tables and other things that are not keys and values. */
  readonly overheadBytes: number;
  readonly systemBytes: number;
  readonly maxMemoryBytes: number;
  readonly policy: string;
  /** Buffers of clients. */
  readonly clientBytes: number;
}

export interface InfoPersistence {
  readonly loading: boolean;
  /** The log can be written and synced. */
  readonly logWritable: boolean;
  readonly snapshots: SnapshotInfo;
  /** Of this node, on disk. */
  readonly log: {
    readonly bytes: number;
    /** 0: no limit. */
    readonly bytesMax: number;
    /** At its limit: as leader this node refuses writes. */
    readonly isFull: boolean;
    /** "snapshot", "object-store" (one is published and not found there), "follower NAME". */
    readonly waitsFor: string;
    /** How much of the log is behind that. */
    readonly entriesBehind: number;
    readonly bytesBehind: number;
  };
}

export interface InfoStats {
  readonly connectionsReceived: number;
  readonly commandsProcessed: number;
  readonly opsPerSecond: number;
  readonly inputBytes: number;
  readonly outputBytes: number;
  readonly inputKbps: number;
  readonly outputKbps: number;
  readonly rejectedConnections: number;
  readonly expiredKeys: number;
  readonly evictedKeys: number;
  readonly evictedClients: number;
  readonly keyspaceHits: number;
  readonly keyspaceMisses: number;
  readonly errorReplies: number;
  readonly readsProcessed: number;
  readonly writesProcessed: number;
  /** Longest stall of each thread's event loop, ms. */
  readonly engineStallMsMax: number;
  readonly consensusStallMsMax: number;
}

export interface InfoReplica {
  readonly host: string;
  readonly port: number;
  readonly connected: boolean;
  readonly matchIndex: number;
  readonly lagMs: number;
}

export interface InfoCpu {
  readonly systemSeconds: number;
  readonly userSeconds: number;
}

export interface InfoRaft {
  readonly nodeId: string;
  readonly state: 'follower' | 'precandidate' | 'candidate' | 'leader';
  /** '' when unknown. */
  readonly leaderId: string;
  /** host:port for clients; '' when unknown. */
  readonly leaderAddr: string;
  readonly term: number;
  readonly commitIndex: number;
  readonly appliedIndex: number;
  readonly lastIndex: number;
  /** This node's log: the first entry that is kept, and its bytes on disk. */
  readonly log: { readonly firstIndex: number; readonly bytes: number };
  /** Members that count, and members that learn. */
  readonly voters: number;
  readonly learners: number;
  readonly changing: boolean;
  /** The other members, as far as the leader knows them; empty elsewhere. */
  readonly replicas: readonly InfoReplica[];
}

export interface InfoCommandStat {
  /** "get", "config|get" */
  readonly name: string;
  readonly calls: number;
  readonly usec: number;
  readonly rejected: number;
  readonly failed: number;
}

export interface InfoDatabase {
  readonly number: number;
  readonly keys: number;
  readonly expires: number;
  readonly averageTtlMs: number;
}

export interface InfoSource {
  readonly server: InfoServer;
  readonly clients: InfoClients;
  readonly memory: InfoMemory;
  readonly persistence: InfoPersistence;
  readonly stats: InfoStats;
  readonly cpu: InfoCpu;
  readonly raft: InfoRaft;
  /** Error replies by their first word. */
  readonly errors: ReadonlyMap<string, number>;
  readonly commands: readonly InfoCommandStat[];
  readonly databases: readonly InfoDatabase[];
  readonly writes: readonly InfoWriteStep[];
}

/** One step of a write on the leader: src/replica/write-timings.ts. */
export interface InfoWriteStep {
  readonly step: string;
  readonly entries: number;
  readonly meanUs: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly share: number;
}

type Field = readonly [string, string | number];

/** Redis's bytesToHuman: B, K, M, G with two decimals. */
export function humanBytes(bytes: number): string {
  if (bytes < 1024) return `${bytes}B`;
  const units = ['K', 'M', 'G', 'T', 'P'];
  let value = bytes / 1024;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${value.toFixed(2)}${units[unit]!}`;
}

const ratio = (a: number, b: number): string => (b > 0 ? a / b : 0).toFixed(2);
const flag = (value: boolean): number => (value ? 1 : 0);

function serverSection({ server }: InfoSource): Field[] {
  const uptimeSeconds = Math.floor(server.uptimeMs / 1000);
  return [
    ['redis_version', REDIS_VERSION],
    ['redis_git_sha1', '00000000'],
    ['redis_git_dirty', 0],
    ['redis_build_id', '0000000000000000'],
    ['redis_mode', 'standalone'],
    ['os', server.os],
    ['arch_bits', server.archBits],
    ['multiplexing_api', 'libuv'],
    ['process_id', server.processId],
    ['process_supervised', 'no'],
    ['run_id', server.runId],
    ['tcp_port', server.tcpPort],
    ['server_time_usec', `${server.wallMs}000`],
    ['uptime_in_seconds', uptimeSeconds],
    ['uptime_in_days', Math.floor(uptimeSeconds / 86_400)],
    ['hz', server.hz],
    ['configured_hz', server.hz],
    ['executable', server.executable],
    ['config_file', server.configFile],
    ['io_threads_active', 0],
    ['holdfast_version', server.holdfastVersion],
    ['node_version', server.nodeVersion],
  ];
}

function clientsSection({ clients }: InfoSource): Field[] {
  return [
    ['connected_clients', clients.connected],
    ['cluster_connections', 0],
    ['maxclients', clients.maxClients],
    ['client_recent_max_input_buffer', clients.recentMaxInputBuffer],
    ['client_recent_max_output_buffer', clients.recentMaxOutputBuffer],
    ['blocked_clients', clients.blocked],
    ['tracking_clients', 0],
    ['clients_in_timeout_table', 0],
  ];
}

function memorySection({ memory }: InfoSource): Field[] {
  const peak = Math.max(memory.peakBytes, memory.usedBytes);
  const dataset = Math.max(0, memory.usedBytes - memory.overheadBytes);
  const netBytes = Math.max(0, memory.usedBytes - memory.startupBytes);
  return [
    ['used_memory', memory.usedBytes],
    ['used_memory_human', humanBytes(memory.usedBytes)],
    ['used_memory_rss', memory.residentBytes],
    ['used_memory_rss_human', humanBytes(memory.residentBytes)],
    ['used_memory_peak', peak],
    ['used_memory_peak_human', humanBytes(peak)],
    ['used_memory_peak_perc', `${ratio(memory.usedBytes * 100, peak)}%`],
    ['used_memory_overhead', memory.overheadBytes],
    ['used_memory_startup', memory.startupBytes],
    ['used_memory_dataset', dataset],
    ['used_memory_dataset_perc', `${ratio(Math.min(dataset, netBytes) * 100, netBytes)}%`],
    ['allocator_allocated', memory.usedBytes],
    ['allocator_active', memory.reservedBytes],
    ['allocator_resident', memory.reservedBytes],
    ['total_system_memory', memory.systemBytes],
    ['total_system_memory_human', humanBytes(memory.systemBytes)],
    ['maxmemory', memory.maxMemoryBytes],
    ['maxmemory_human', humanBytes(memory.maxMemoryBytes)],
    ['maxmemory_policy', memory.policy],
    ['allocator_frag_ratio', ratio(memory.reservedBytes, memory.usedBytes)],
    ['allocator_frag_bytes', memory.reservedBytes - memory.usedBytes],
    ['mem_fragmentation_ratio', ratio(memory.residentBytes, memory.usedBytes)],
    ['mem_fragmentation_bytes', memory.residentBytes - memory.usedBytes],
    ['mem_not_counted_for_evict', 0],
    ['mem_clients_normal', memory.clientBytes],
    ['mem_allocator', 'holdfast'],
    ['lazyfree_pending_objects', 0],
    ['lazyfreed_objects', 0],
  ];
}

function persistenceSection({ persistence }: InfoSource): Field[] {
  const { snapshots, log } = persistence;
  const status = persistence.logWritable ? 'ok' : 'err';
  return [
    ['loading', flag(persistence.loading)],
    ['async_loading', 0],
    ['rdb_changes_since_last_save', snapshots.changes],
    ['rdb_bgsave_in_progress', flag(snapshots.saving)],
    ['rdb_last_save_time', Math.floor(snapshots.lastSaveMs / 1000)],
    ['rdb_last_bgsave_status', snapshots.lastOk ? 'ok' : 'err'],
    ['rdb_last_bgsave_time_sec', snapshots.lastSaveSeconds],
    ['rdb_current_bgsave_time_sec', snapshots.currentSaveSeconds],
    ['aof_enabled', 1],
    ['aof_rewrite_in_progress', 0],
    ['aof_rewrite_scheduled', 0],
    ['aof_last_bgrewrite_status', 'ok'],
    ['aof_last_write_status', status],
    ['snapshot_index', snapshots.index],
    ['snapshot_time', Math.floor(snapshots.timeMs / 1000)],
    ['snapshotter_state', snapshots.snapshotterState],
    ['archive_lag_seconds', snapshots.archiveLagSeconds],
    ['log_disk_bytes', log.bytes],
    ['log_disk_bytes_max', log.bytesMax],
    ['log_full', flag(log.isFull)],
    ['log_waits_for', log.waitsFor],
    ['log_entries_behind', log.entriesBehind],
    ['log_bytes_behind', log.bytesBehind],
  ];
}

function statsSection({ stats }: InfoSource): Field[] {
  return [
    ['total_connections_received', stats.connectionsReceived],
    ['total_commands_processed', stats.commandsProcessed],
    ['instantaneous_ops_per_sec', Math.round(stats.opsPerSecond)],
    ['total_net_input_bytes', stats.inputBytes],
    ['total_net_output_bytes', stats.outputBytes],
    ['instantaneous_input_kbps', stats.inputKbps.toFixed(2)],
    ['instantaneous_output_kbps', stats.outputKbps.toFixed(2)],
    ['rejected_connections', stats.rejectedConnections],
    ['expired_keys', stats.expiredKeys],
    ['evicted_keys', stats.evictedKeys],
    ['evicted_clients', stats.evictedClients],
    ['keyspace_hits', stats.keyspaceHits],
    ['keyspace_misses', stats.keyspaceMisses],
    ['pubsub_channels', 0],
    ['pubsub_patterns', 0],
    ['latest_fork_usec', 0],
    ['total_forks', 0],
    ['unexpected_error_replies', 0],
    ['total_error_replies', stats.errorReplies],
    ['total_reads_processed', stats.readsProcessed],
    ['total_writes_processed', stats.writesProcessed],
    ['engine_stall_max_ms', stats.engineStallMsMax.toFixed(2)],
    ['consensus_stall_max_ms', stats.consensusStallMsMax.toFixed(2)],
  ];
}

/** Raft in Redis's terms: the leader is the master, offsets are log indexes. */
function replicationSection({ raft, server }: InfoSource): Field[] {
  const leads = raft.state === 'leader';
  const fields: Field[] = [['role', leads ? 'master' : 'slave']];
  if (!leads) {
    const colon = raft.leaderAddr.lastIndexOf(':');
    fields.push(
      ['master_host', colon < 0 ? '' : raft.leaderAddr.slice(0, colon).replace(/^\[(.*)\]$/, '$1')],
      ['master_port', colon < 0 ? 0 : raft.leaderAddr.slice(colon + 1)],
      ['master_link_status', raft.leaderId === '' ? 'down' : 'up'],
      ['master_sync_in_progress', 0],
      ['slave_read_repl_offset', raft.lastIndex],
      ['slave_repl_offset', raft.appliedIndex],
      ['slave_read_only', 0],
    );
  }
  const replicas = leads ? raft.replicas : [];
  fields.push(['connected_slaves', replicas.filter((replica) => replica.connected).length]);
  for (const [i, replica] of replicas.entries()) {
    const state = replica.connected ? 'online' : 'offline';
    const lagSeconds = Math.floor(replica.lagMs / 1000);
    fields.push([`slave${i}`, `ip=${replica.host},port=${replica.port},state=${state},offset=${Math.max(0, replica.matchIndex)},lag=${lagSeconds}`]);
  }
  fields.push(
    ['master_failover_state', 'no-failover'],
    ['master_replid', server.runId],
    ['master_replid2', '0'.repeat(40)],
    ['master_repl_offset', raft.lastIndex],
    ['second_repl_offset', -1],
    ['repl_backlog_active', 0],
  );
  return fields;
}

function raftSection({ raft }: InfoSource): Field[] {
  return [
    ['raft_node_id', raft.nodeId],
    ['raft_state', raft.state],
    ['raft_leader_id', raft.leaderId],
    ['raft_leader_addr', raft.leaderAddr],
    ['raft_term', raft.term],
    ['raft_commit_index', raft.commitIndex],
    ['raft_applied_index', raft.appliedIndex],
    ['raft_last_index', raft.lastIndex],
    ['raft_log_first_index', raft.log.firstIndex],
    ['raft_log_bytes', raft.log.bytes],
    ['raft_voters', raft.voters],
    ['raft_learners', raft.learners],
    ['raft_members_changing', raft.changing ? 1 : 0],
  ];
}

function cpuSection({ cpu }: InfoSource): Field[] {
  return [
    ['used_cpu_sys', cpu.systemSeconds.toFixed(6)],
    ['used_cpu_user', cpu.userSeconds.toFixed(6)],
    ['used_cpu_sys_children', '0.000000'],
    ['used_cpu_user_children', '0.000000'],
  ];
}

/** A name that cannot break the lines and fields of INFO. */
const safeName = (name: string): string => name.replace(/[#:\n\r]/g, '_');

function commandStatsSection({ commands }: InfoSource): Field[] {
  return commands
    .filter(({ calls, rejected, failed }) => calls + rejected + failed > 0)
    .map(({ name, calls, usec, rejected, failed }) => [
      `cmdstat_${safeName(name)}`,
      `calls=${calls},usec=${Math.round(usec)},usec_per_call=${ratio(usec, calls)},rejected_calls=${rejected},failed_calls=${failed}`,
    ]);
}

function errorStatsSection({ errors }: InfoSource): Field[] {
  return [...errors].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, count]) => [`errorstat_${safeName(name)}`, `count=${count}`]);
}

function keyspaceSection({ databases }: InfoSource): Field[] {
  return databases
    .filter(({ keys }) => keys > 0)
    .map(({ number, keys, expires, averageTtlMs }) => [`db${number}`, `keys=${keys},expires=${expires},avg_ttl=${Math.round(averageTtlMs)}`]);
}

/** Durations in microseconds; `share` is of the mean total. Only entries that this node proposed as leader. */
function writeLatencySection({ writes }: InfoSource): Field[] {
  return writes.map(({ step, entries, meanUs, p50Us, p99Us, share }) => [
    `write_${step}`,
    `entries=${entries},mean=${meanUs.toFixed(1)},p50=${p50Us.toFixed(1)},p99=${p99Us.toFixed(1)},share=${share.toFixed(3)}`,
  ]);
}

interface Section {
  readonly name: string;
  readonly title: string;
  /** Part of INFO without arguments. */
  readonly byDefault: boolean;
  readonly fields: (source: InfoSource) => Field[];
}

/** In the order of the text. */
const SECTIONS: readonly Section[] = [
  { name: 'server', title: 'Server', byDefault: true, fields: serverSection },
  { name: 'clients', title: 'Clients', byDefault: true, fields: clientsSection },
  { name: 'memory', title: 'Memory', byDefault: true, fields: memorySection },
  { name: 'persistence', title: 'Persistence', byDefault: true, fields: persistenceSection },
  { name: 'stats', title: 'Stats', byDefault: true, fields: statsSection },
  { name: 'replication', title: 'Replication', byDefault: true, fields: replicationSection },
  { name: 'raft', title: 'Raft', byDefault: true, fields: raftSection },
  { name: 'cpu', title: 'CPU', byDefault: true, fields: cpuSection },
  { name: 'commandstats', title: 'Commandstats', byDefault: false, fields: commandStatsSection },
  { name: 'errorstats', title: 'Errorstats', byDefault: true, fields: errorStatsSection },
  { name: 'cluster', title: 'Cluster', byDefault: true, fields: () => [['cluster_enabled', 0]] },
  { name: 'keyspace', title: 'Keyspace', byDefault: true, fields: keyspaceSection },
  { name: 'writelatency', title: 'Writelatency', byDefault: false, fields: writeLatencySection },
];

/**
 * The text for these sections, of either case: names, 'default', 'all' or 'everything' (no modules here: the same); none means
 * default. Unknown names add nothing.
 */
export function buildInfo(source: InfoSource, sections: readonly string[]): string {
  const wanted = new Set(sections.map((section) => section.toLowerCase()));
  const all = wanted.has('all') || wanted.has('everything');
  const defaults = sections.length === 0 || wanted.has('default');
  return SECTIONS.filter(({ name, byDefault }) => all || (defaults && byDefault) || wanted.has(name))
    .map(({ title, fields }) => `# ${title}\r\n${fields(source).map(([name, value]) => `${name}:${value}\r\n`).join('')}`)
    .join('\r\n');
}
