// What consensus is made with: this node's identity, its ports, and the times.
import type { Configuration, MemberAddress } from '../base/configuration.ts';
import type { Clock } from '../ports/clock.ts';
import type { LeaseCellWriter } from '../ports/lease-cell.ts';
import type { ConsensusLink } from '../ports/link.ts';
import type { Logger } from '../ports/logger.ts';
import type { LogStore } from '../ports/log-store.ts';
import type { ObserverTransport } from '../ports/observers.ts';
import type { Transport } from '../ports/transport.ts';

export interface ConsensusOptions {
  readonly id: number;
  readonly incarnation: string;
  readonly rejoining: boolean;
  /** What the node was made with; the log's go before it. */
  readonly configuration: Configuration;
  /** Where this node's operator wants a member to be reached, where that differs from what the log says. */
  readonly localAddress?: (member: MemberAddress) => MemberAddress;
  /** A newer configuration is known to be committed. */
  readonly onMembers?: (configuration: Configuration) => void;
  /** Why no other node can reach this one, so that none can be added; undefined where they can. */
  readonly unreachable?: string | undefined;
  readonly store: LogStore;
  readonly transport: Transport;
  /** Those who follow the log and are no members; without it there are none. */
  readonly observers?: ObserverTransport | undefined;
  readonly link: ConsensusLink;
  readonly clock: Clock;
  readonly cell: LeaseCellWriter;
  readonly logger: Logger;
  /** A whole number in [0, bound), for election jitter. */
  readonly random: (bound: number) => number;
  readonly tickMs: number;
  readonly electionTicks: number;
  readonly heartbeatTicks: number;
  readonly leaseDriftMs: number;
  readonly readConsistency: 'lease' | 'quorum';
  /** What is kept of the log for followers (log-keeper.ts). */
  readonly logKeepBytes?: number;
  readonly logKeepBytesMax?: number;
  /** Bytes of log on disk at which this node, leading, takes no more writes; 0, or none given: no limit. */
  readonly logDiskBytesMax?: number;
  /** This node was taken in again under its incarnation: from now on it votes. Stores that beside the log. */
  readonly onRejoined: () => void;
}
