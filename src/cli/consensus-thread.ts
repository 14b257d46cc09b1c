// Entry point of the consensus thread: opens the data directory and the log, connects to the peers, and runs Consensus.
// What must hold: `dataDir` stays referenced as long as the thread lives, for it holds the directory's lock.
// A damaged log is set aside here, and the node asks to be taken in again; a log that cannot be opened ends the process.
import type { Histogram } from 'node:perf_hooks';
import { parentPort, workerData } from 'node:worker_threads';
import type { MessagePort } from 'node:worker_threads';
import { must } from '../base/assert.ts';
import type { MemberAddress } from '../base/configuration.ts';
import { errorText, OperationalError } from '../base/errors.ts';
import type { LogBase } from '../base/log-base.ts';
import { openDataDir, setDamagedLogAside, type DataDir, type DataDirIdentity } from '../adapters/data-dir.ts';
import { PinoLogger, type LoggerOptions } from '../adapters/logger.ts';
import { noPeers } from '../adapters/no-peers.ts';
import { NodeClock } from '../adapters/node-clock.ts';
import { NodeEntropy } from '../adapters/node-entropy.ts';
import { SessionPriority } from '../adapters/session-priority.ts';
import { SharedCellWriter } from '../adapters/shared-cell.ts';
import { failAfterSyncs, openWalLog, type WalLog } from '../adapters/wal-log.ts';
import { watchStalls } from '../adapters/stall-watch.ts';
import { TcpPeers } from '../adapters/tcp-peers.ts';
import { PortConsensusLink } from '../adapters/thread-link.ts';
import type { Logger } from '../ports/logger.ts';
import { initialConfiguration, seedConfiguration } from '../raft/configuration.ts';
import { Consensus } from '../replica/consensus.ts';
import { CONFIGURATIONS } from '../replica/roster.ts';
import type { Peer } from '../server/config-kinds.ts';

export interface ConsensusThreadData {
  readonly dir: string;
  readonly nodeName: string;
  /** '' when the configuration does not name one. */
  readonly clusterId: string;
  readonly clusterSecret: string;
  /** Where the configuration says that members are. */
  readonly peers: readonly Peer[];
  /** This node's, for clients. */
  readonly clientPort: number;
  /** The configuration names a peer port. */
  readonly hasPeerPort: boolean;
  readonly peerBind: string;
  readonly peerPort: number;
  /** A snapshotter is to follow the log: the peer port is open even where there are no peers. */
  readonly hasObservers: boolean;
  readonly heartbeatMs: number;
  readonly stallResolutionMs: number;
  readonly electionMs: number;
  readonly leaseDriftMs: number;
  readonly readConsistency: 'lease' | 'quorum';
  readonly logKeepBytes: number;
  readonly logKeepBytesMax: number;
  readonly logDiskBytesMax: number;
  readonly failpoints: readonly string[];
  readonly cell: SharedArrayBuffer;
  readonly link: MessagePort;
  readonly logger: Omit<LoggerOptions, 'thread'>;
}

/** Thread → main, besides the link. */
export type ConsensusThreadMessage =
  | {
      readonly type: 'ready';
      readonly nodeId: number;
      /** As this node knows them at its start. */
      readonly members: readonly MemberAddress[];
      readonly clusterId: string;
      readonly lastIndex: number;
      readonly commit: number;
      /** The log begins behind it. */
      readonly base: LogBase;
      /** Of this thread's event loop; both threads read and reset the same one. */
      readonly stalls: Histogram;
    }
  | { readonly type: 'failed'; readonly code: string; readonly message: string };

function openLog(dataDir: DataDir, singleVoter: boolean, logger: Logger, failpoints: readonly string[]): WalLog {
  const identity = (): { clusterId: string; incarnation: string } => dataDir.identity;
  const options = {
    path: dataDir.logPath,
    onTrouble: (trouble: string) => logger.warn({ trouble }, 'the log on disk cannot be kept as it should be; nothing is lost so far'),
    ...(failpoints.length === 0 ? {} : { failpoints: failpointsOf(failpoints) }),
  };
  try {
    const log = openWalLog({ ...options, identity: identity() });
    if (log.tornTail !== undefined) {
      logger.warn({ detail: log.tornTail }, 'the write-ahead log ends in a torn write, as after a crash; it was never acknowledged');
    }
    return log;
  } catch (thrown) {
    if (!(thrown instanceof OperationalError) || thrown.code !== 'LOG_DAMAGED') throw thrown;
    if (singleVoter) {
      throw new OperationalError(
        'LOG_DAMAGED',
        `${thrown.message}. This is the only node of its cluster, so there is no peer to fetch the log from: restore a backup of ${dataDir.path}`,
        { cause: thrown },
      );
    }
    logger.error(
      { damage: thrown.message },
      'the log on disk is damaged: it is set aside, this node does not vote from it, and fetches everything again from its peers',
    );
    setDamagedLogAside(dataDir, thrown.message);
    return openWalLog({ ...options, identity: identity() });
  }
}

function failpointsOf(texts: readonly string[]): ReturnType<typeof failAfterSyncs> {
  const match = /^log-fsync-error-after (\d+)$/.exec(texts.join(' '));
  if (match === null) throw new OperationalError('CONFIG', `failpoint: '${texts.join(' ')}' is none; known: log-fsync-error-after N`);
  return failAfterSyncs(Number(match[1]));
}

/** No longer than this a new member gives way: on a machine that is never idle it might never catch up. */
const MANNERS_MS_MAX = 600_000;
/** The priority may be raised so long after another was changed. */
const RAISE_AGAIN_MS = 200;

/** Kept for as long as the thread lives: collected, it would stop recording. */
const stallHistogram = watchStalls((workerData as ConsensusThreadData).stallResolutionMs);

/** The members that the directory was made with, where they are now. */
function membersOf(data: ConsensusThreadData, { members }: DataDirIdentity): MemberAddress[] {
  return members.map(({ id, name, host = '127.0.0.1', port = data.peerPort, clientPort = data.clientPort }) =>
    localAddress(data, members)({ id, name, host, peerPort: port, clientPort }));
}

/** `peers` in the configuration wins for those that it named when the directory was made: an operator may move a node. */
function localAddress(data: ConsensusThreadData, made: DataDirIdentity['members']): (member: MemberAddress) => MemberAddress {
  return (member) => {
    const peer = data.peers.find(({ id }) => id === member.name);
    const own = member.name === data.nodeName ? { clientPort: data.clientPort } : {};
    if (peer === undefined || !made.some(({ id, name }) => id === member.id && name === member.name)) return { ...member, ...own };
    return { ...member, host: peer.host, peerPort: peer.peerPort, clientPort: peer.clientPort ?? member.clientPort, ...own };
  };
}

async function connectPeers(data: ConsensusThreadData, dataDir: DataDir, entropy: NodeEntropy, logger: Logger): Promise<TcpPeers> {
  const { nodeId, clusterId, incarnation, rejoining } = dataDir.identity;
  const peers = new TcpPeers({
    nodeId,
    name: data.nodeName,
    clusterId,
    incarnation,
    rejoining: rejoining !== null,
    clusterSecret: data.clusterSecret,
    peers: new Map(),
    listenHost: data.peerBind,
    listenPort: data.peerPort,
    entropy,
    logger,
  });
  if (peers.warning !== undefined) logger.warn({}, peers.warning);
  await peers.listen();
  return peers;
}

/**
 * A member that does not vote yet serves nobody, and has much to do until it may: where it shares a machine with others, these go first.
 * From when it votes on the group may wait for it.
 */
class Manners {
  readonly #priority = new SessionPriority();
  readonly #clock: NodeClock;
  readonly #logger: Logger;

  constructor(clock: NodeClock, logger: Logger) {
    this.#clock = clock;
    this.#logger = logger;
  }

  begin(): void {
    if (!this.#priority.lower()) return;
    this.#logger.info({ minutesMax: MANNERS_MS_MAX / 60_000 }, 'this node gives way to others on this machine until it votes');
    this.#clock.after(MANNERS_MS_MAX, () => this.end());
  }

  end(): void {
    if (!this.#priority.restore()) this.#clock.after(RAISE_AGAIN_MS, () => this.end());
  }
}

async function main(): Promise<void> {
  const data = workerData as ConsensusThreadData;
  const parent = must(parentPort, 'the consensus thread has a parent');
  const logger = new PinoLogger({ ...data.logger, thread: 'consensus' });
  const dataDir = openDataDir(data.dir, {
    nodeName: data.nodeName,
    ...(data.clusterId === '' ? {} : { clusterId: data.clusterId }),
  });
  const members = membersOf(data, dataDir.identity);
  const singleVoter = members.length === 1;
  const store = openLog(dataDir, singleVoter, logger, data.failpoints);
  const { nodeId, clusterId, incarnation, rejoining } = dataDir.identity;
  if (rejoining !== null) {
    logger.warn({ since: rejoining.since, reason: rejoining.reason }, 'this node rejoins as a replaced member: it does not vote until its peers have taken it in');
  }
  const entropy = new NodeEntropy();
  const alone = singleVoter && !data.hasObservers && !data.hasPeerPort && store.meta(CONFIGURATIONS) === undefined;
  const peers = alone ? undefined : await connectPeers(data, dataDir, entropy, logger);
  const electionTicks = Math.max(2, Math.round(data.electionMs / data.heartbeatMs));
  const clock = new NodeClock();
  const manners = new Manners(clock, logger);
  const consensus = new Consensus({
    id: nodeId,
    incarnation,
    rejoining: rejoining !== null,
    configuration: dataDir.identity.joined === true ? seedConfiguration(members) : initialConfiguration(members),
    localAddress: localAddress(data, dataDir.identity.members),
    unreachable: alone ? 'this node is alone and its peer port is closed: set peer-port in its configuration, restart it, and try again' : undefined,
    store,
    transport: peers ?? noPeers,
    observers: peers,
    link: new PortConsensusLink(data.link),
    clock,
    cell: new SharedCellWriter(data.cell),
    logger,
    random: (bound) => entropy.uint32() % bound,
    tickMs: data.heartbeatMs,
    electionTicks,
    heartbeatTicks: 1,
    leaseDriftMs: data.leaseDriftMs,
    readConsistency: data.readConsistency,
    logKeepBytes: data.logKeepBytes,
    logKeepBytesMax: data.logKeepBytesMax,
    logDiskBytesMax: data.logDiskBytesMax,
    // Not the only node any more: if its log is damaged one day, there are others to fetch it from.
    onMembers: ({ members: now, voters }) => {
      if (voters.includes(nodeId)) manners.end();
      if (dataDir.identity.members.length > 1 || now.length === 1) return;
      dataDir.updateIdentity({ joined: true, members: now.map(({ id, name, host, peerPort: port, clientPort }) => ({ id, name, host, port, clientPort })) });
    },
    onRejoined: () => {
      dataDir.updateIdentity({ rejoining: null });
      peers?.setRejoining(false);
    },
  });
  if (dataDir.identity.joined === true && !consensus.raft.configuration.voters.includes(nodeId)) manners.begin();
  const { base, lastIndex, hardState: { commit } } = store;
  const ready = { nodeId, members: consensus.raft.configuration.members.map(localAddress(data, dataDir.identity.members)) };
  parent.postMessage({ type: 'ready', ...ready, clusterId, lastIndex, commit, base, stalls: stallHistogram } satisfies ConsensusThreadMessage);
  consensus.start();
}

main().catch((thrown: unknown) => {
  must(parentPort).postMessage({
    type: 'failed',
    code: thrown instanceof OperationalError ? thrown.code : 'INTERNAL',
    message: thrown instanceof OperationalError ? thrown.message : thrown instanceof Error ? (thrown.stack ?? thrown.message) : errorText(thrown),
  } satisfies ConsensusThreadMessage);
});
