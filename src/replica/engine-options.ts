// What an engine is made with, and what it asks of the server beside it.
import type { MemberAddress } from '../base/configuration.ts';
import type { LogBase } from '../base/log-base.ts';
import type { ServerPort, SessionPort } from '../commands/ports.ts';
import type { Bootstrap } from '../machine/bootstrap.ts';
import type { Machine } from '../machine/machine.ts';
import type { Origin } from '../machine/record-codec.ts';
import type { Clock } from '../ports/clock.ts';
import type { LeaseCellReader } from '../ports/lease-cell.ts';
import type { EngineLink } from '../ports/link.ts';
import type { Logger } from '../ports/logger.ts';
import type { Reply } from '../resp/reply.ts';
import type { ApplyPace } from './applying.ts';
import type { SnapshotInstaller } from './installation.ts';

/** What the engine needs of the server. Sessions are numbers here. */
export interface EngineHost {
  /** The writer for the reply of record (session, sequence), or undefined when nobody waits for it any more. */
  beginReply(session: number, sequence: number, protocol: 2 | 3): Reply | undefined;
  endReply(session: number, sequence: number): void;
  /** The record will get no other answer than this error; nothing happens if it has had one. */
  fail(session: number, sequence: number, error: string): void;
  session(session: number): SessionPort | undefined;
  server(): ServerPort | undefined;
  /** Replies were written: send them. */
  flush(): void;
  /** Role, leader, or readiness changed. */
  stateChanged(): void;
  /** Room again after `congested`. */
  uncongested(): void;
  /** Who the members are, and where; before anything else, and after every change. */
  membersChanged(members: readonly MemberAddress[]): void;
  /** Consensus has stopped; an empty reason is a clean stop. */
  stopped(reason: string): void;
}

export interface EngineOptions {
  readonly machine: Machine;
  readonly link: EngineLink;
  readonly cell: LeaseCellReader;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly host: EngineHost;
  readonly origin: Origin;
  /** What to propose if this node leads a cluster that was never bootstrapped. */
  readonly bootstrap: () => Bootstrap;
  readonly readConsistency: 'lease' | 'quorum';
  /** How long a write whose outcome is unknown is waited for after leadership was lost, ms. */
  readonly uncertainAfterMs: number;
  /** How long writes and reads wait for a leader before they are refused, ms. */
  readonly leaderWaitMs: number;
  /** Highest index known committed when this process started: until it is applied, the node is loading. */
  readonly replayTo?: number;
  /** The log begins behind this: what is before comes from a snapshot, and until then the node is loading. */
  readonly startsBehind?: LogBase;
  /** Without it this node can start from no snapshot. */
  readonly installer?: SnapshotInstaller | undefined;
  /** For the simulation, whose clock stands still while records are applied; a node's own unless given. */
  readonly pace?: ApplyPace | undefined;
}
