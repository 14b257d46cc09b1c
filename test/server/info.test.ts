import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildInfo, humanBytes, type InfoSource } from '../../src/server/info.ts';
import { Oracle, oracleMissing } from '../commands/oracle.ts';

const SNAPSHOTS = {
  lastSaveMs: 1_600_000_000_999,
  changes: 17,
  saving: true,
  lastOk: false,
  lastSaveSeconds: 4,
  currentSaveSeconds: 2,
  index: 90,
  timeMs: 1_600_000_000_999,
  snapshotterState: 'writing',
  archiveLagSeconds: 3,
};

const LOG = { bytes: 900, bytesMax: 1000, isFull: true, waitsFor: 'follower n3', entriesBehind: 70, bytesBehind: 800 };

const source: InfoSource = {
  server: {
    holdfastVersion: '0.1.0',
    os: 'Linux 6.1 x86_64',
    archBits: 64,
    processId: 7,
    runId: 'a'.repeat(40),
    tcpPort: 6379,
    wallMs: 1_700_000_000_123,
    uptimeMs: 90_061_000,
    hz: 10,
    executable: '/usr/bin/node',
    configFile: '/etc/holdfast.conf',
    nodeVersion: '20.20.0',
  },
  clients: { connected: 2, maxClients: 10_000, recentMaxInputBuffer: 1, recentMaxOutputBuffer: 2, blocked: 0 },
  memory: {
    usedBytes: 1_500_000,
    peakBytes: 1_000_000,
    residentBytes: 3_000_000,
    reservedBytes: 2_000_000,
    startupBytes: 500_000,
    overheadBytes: 600_000,
    systemBytes: 2 ** 34,
    maxMemoryBytes: 0,
    policy: 'noeviction',
    clientBytes: 9,
  },
  persistence: { loading: false, logWritable: true, snapshots: SNAPSHOTS, log: LOG },
  stats: {
    connectionsReceived: 3,
    commandsProcessed: 4,
    opsPerSecond: 1.6,
    inputBytes: 5,
    outputBytes: 6,
    inputKbps: 0.125,
    outputKbps: 2,
    rejectedConnections: 0,
    expiredKeys: 7,
    evictedKeys: 8,
    evictedClients: 0,
    keyspaceHits: 9,
    keyspaceMisses: 10,
    errorReplies: 11,
    readsProcessed: 12,
    writesProcessed: 13,
    engineStallMsMax: 14.5,
    consensusStallMsMax: 0,
  },
  cpu: { systemSeconds: 1.25, userSeconds: 2 },
  raft: {
    nodeId: 'n1',
    state: 'leader',
    leaderId: 'n1',
    leaderAddr: '127.0.0.1:6379',
    term: 3,
    commitIndex: 41,
    appliedIndex: 40,
    voters: 3,
    learners: 0,
    changing: false,
    lastIndex: 42,
    log: { firstIndex: 7, bytes: 12_345 },
    replicas: [
      { host: '10.0.0.2', port: 6380, connected: true, matchIndex: 41, lagMs: 1500 },
      { host: '10.0.0.3', port: 6381, connected: false, matchIndex: -1, lagMs: 0 },
    ],
  },
  errors: new Map([
    ['WRONGTYPE', 2],
    ['ERR', 5],
  ]),
  commands: [
    { name: 'get', calls: 4, usec: 10, rejected: 0, failed: 1 },
    { name: 'set', calls: 0, usec: 0, rejected: 0, failed: 0 },
  ],
  databases: [
    { number: 0, keys: 3, expires: 1, averageTtlMs: 1000.4 },
    { number: 1, keys: 0, expires: 0, averageTtlMs: 0 },
  ],
  writes: [{ step: 'fsync', entries: 3, meanUs: 100.25, p50Us: 90, p99Us: 400, share: 0.5 }],
};

const titles = (text: string): string[] => [...text.matchAll(/^# (.*)\r$/gm)].map((match) => match[1]!);
const field = (text: string, name: string): string | undefined => new RegExp(`^${name}:(.*)\r$`, 'm').exec(text)?.[1];
const DEFAULT = ['Server', 'Clients', 'Memory', 'Persistence', 'Stats', 'Replication', 'Raft', 'CPU', 'Errorstats', 'Cluster', 'Keyspace'];

describe('sections', () => {
  test.each<[string[], string[]]>([
    [[], DEFAULT],
    [['default'], DEFAULT],
    [['CPU', 'memory'], ['Memory', 'CPU']],
    [['commandstats'], ['Commandstats']],
    [['default', 'COMMANDSTATS'], [...DEFAULT.slice(0, 8), 'Commandstats', ...DEFAULT.slice(8)]],
    [['all'], [...DEFAULT.slice(0, 8), 'Commandstats', ...DEFAULT.slice(8), 'Writelatency']],
    [['everything'], [...DEFAULT.slice(0, 8), 'Commandstats', ...DEFAULT.slice(8), 'Writelatency']],
    [['nonsense'], []],
    [['nonsense', 'raft'], ['Raft']],
  ])('%j', (sections, expected) => {
    expect(titles(buildInfo(source, sections))).toEqual(expected);
  });

  test('sections are apart by one empty line, every line ends with CR LF', () => {
    expect(buildInfo(source, ['cluster', 'keyspace'])).toBe('# Cluster\r\ncluster_enabled:0\r\n\r\n# Keyspace\r\ndb0:keys=3,expires=1,avg_ttl=1000\r\n');
    expect(buildInfo(source, ['nonsense'])).toBe('');
  });
});

describe('fields', () => {
  test('Raft, exactly', () => {
    expect(buildInfo(source, ['raft'])).toBe(
      [
        '# Raft',
        'raft_node_id:n1',
        'raft_state:leader',
        'raft_leader_id:n1',
        'raft_leader_addr:127.0.0.1:6379',
        'raft_term:3',
        'raft_commit_index:41',
        'raft_applied_index:40',
        'raft_last_index:42',
        'raft_log_first_index:7',
        'raft_log_bytes:12345',
        'raft_voters:3',
        'raft_learners:0',
        'raft_members_changing:0',
        '',
      ].join('\r\n'),
    );
  });

  test('replication: a leader lists its replicas, a follower its master', () => {
    const leader = buildInfo(source, ['replication']);
    expect(field(leader, 'role')).toBe('master');
    expect(field(leader, 'connected_slaves')).toBe('1');
    expect(field(leader, 'slave0')).toBe('ip=10.0.0.2,port=6380,state=online,offset=41,lag=1');
    expect(field(leader, 'slave1')).toBe('ip=10.0.0.3,port=6381,state=offline,offset=0,lag=0');
    const follower = buildInfo({ ...source, raft: { ...source.raft, state: 'follower', leaderAddr: '[::1]:6380' } }, ['replication']);
    expect([field(follower, 'role'), field(follower, 'master_host'), field(follower, 'master_port')]).toEqual(['slave', '::1', '6380']);
    expect(field(follower, 'connected_slaves')).toBe('0');
    const lost = buildInfo({ ...source, raft: { ...source.raft, state: 'candidate', leaderId: '', leaderAddr: '' } }, ['replication']);
    expect([field(lost, 'master_link_status'), field(lost, 'master_host')]).toEqual(['down', '']);
  });

  test('persistence: the snapshots, in Redis’s names and our own', () => {
    const text = buildInfo(source, ['persistence']);
    const names = [
      'rdb_changes_since_last_save', 'rdb_bgsave_in_progress', 'rdb_last_save_time', 'rdb_last_bgsave_status', 'rdb_last_bgsave_time_sec',
      'rdb_current_bgsave_time_sec', 'snapshot_index', 'snapshot_time', 'snapshotter_state', 'archive_lag_seconds',
    ];
    expect(names.map((name) => field(text, name))).toEqual(['17', '1', '1600000000', 'err', '4', '2', '90', '1600000000', 'writing', '3']);
    const log = ['log_disk_bytes', 'log_disk_bytes_max', 'log_full', 'log_waits_for', 'log_entries_behind', 'log_bytes_behind'];
    expect(log.map((name) => field(text, name))).toEqual(['900', '1000', '1', 'follower n3', '70', '800']);
  });

  test('versions, memory, statistics', () => {
    const text = buildInfo(source, ['all']);
    expect(field(text, 'redis_version')).toBe('7.0.15');
    expect(field(text, 'holdfast_version')).toBe('0.1.0');
    expect(field(text, 'uptime_in_days')).toBe('1');
    expect(field(text, 'server_time_usec')).toBe('1700000000123000');
    expect(field(text, 'used_memory_human')).toBe('1.43M');
    expect([field(text, 'engine_stall_max_ms'), field(text, 'consensus_stall_max_ms')]).toEqual(['14.50', '0.00']);
    expect(field(text, 'used_memory_peak')).toBe('1500000');
    expect(field(text, 'mem_fragmentation_ratio')).toBe('2.00');
    expect(field(text, 'errorstat_ERR')).toBe('count=5');
    expect(field(text, 'cmdstat_get')).toBe('calls=4,usec=10,usec_per_call=2.50,rejected_calls=0,failed_calls=1');
    expect(field(text, 'cmdstat_set')).toBeUndefined();
    expect(text.indexOf('errorstat_ERR')).toBeLessThan(text.indexOf('errorstat_WRONGTYPE'));
    expect(field(text, 'db1')).toBeUndefined();
    expect(field(text, 'write_fsync')).toBe('entries=3,mean=100.3,p50=90.0,p99=400.0,share=0.500');
  });

  test.each([
    [0, '0B'],
    [1023, '1023B'],
    [1024, '1.00K'],
    [941_088, '919.03K'],
    [25_276_502_016, '23.54G'],
  ])('%i bytes are %s', (bytes, text) => {
    expect(humanBytes(bytes)).toBe(text);
  });
});

describe.skipIf(oracleMissing !== undefined)('as redis-server answers', () => {
  let redis: Oracle;
  beforeAll(async () => {
    redis = await Oracle.start();
  });
  afterAll(() => redis.stop());

  test('sections that both have are in the same order, and their common fields too', async () => {
    const theirs = await redis.one('info', 'everything');
    const ours = buildInfo({ ...source, errors: new Map(), commands: [], databases: [] }, ['everything']);
    const common = (list: string[], other: string[]): string[] => list.filter((one) => other.includes(one));
    expect(common(titles(ours), titles(theirs))).toEqual(common(titles(theirs), titles(ours)));
    const names = (text: string): string[] => [...text.matchAll(/^([a-z0-9_]+):/gm)].map((match) => match[1]!);
    expect(common(names(ours), names(theirs))).toEqual(common(names(theirs), names(ours)));
  });
});
