// Who the members are, for everybody on this node who has to know: the transport is told whom to connect with, the engine
// where each is, peers what is committed, and this node itself when it is none of them any more.
//
// What must hold: what peers and the operator are told of as removed is so by a committed configuration.
import { encodeHistory, isMemberOf, type Configuration, type ConfigurationAt, type MemberAddress } from '../base/configuration.ts';
import type { Clock } from '../ports/clock.ts';
import type { ConsensusLink } from '../ports/link.ts';
import type { Logger } from '../ports/logger.ts';
import type { Transport } from '../ports/transport.ts';
import type { RaftNode } from '../raft/raft.ts';
import { MemberBook } from './member-book.ts';
import { saysRemoved } from './membership.ts';
import { encodeConfigurationNews } from './peer-message.ts';

/** Name in the log store of the configurations that the log may fall back to. */
export const CONFIGURATIONS = 'configurations';
/** How long a member that was removed is kept connected, to hear of it. */
const PARTING_MS = 3000;
const NO_BODY: readonly Uint8Array[] = [];

export interface RosterOptions {
  readonly id: number;
  readonly raft: RaftNode;
  readonly transport: Transport;
  readonly link: ConsensusLink;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Where this node's operator wants a member to be reached, where that differs from what the log says. */
  readonly localAddress: (member: MemberAddress) => MemberAddress;
  readonly onMembers?: (configuration: Configuration) => void;
}

export class Roster {
  readonly book: MemberBook;
  readonly #options: RosterOptions;
  #committedIndex: number;
  #removal: string | undefined;

  constructor(options: RosterOptions) {
    this.#options = options;
    this.book = new MemberBook(options.raft);
    this.#committedIndex = this.book.newest.index;
  }

  name(id: number): string {
    return this.book.find(id)?.name ?? String(id);
  }

  /** Of the configuration in force. */
  get members(): MemberAddress[] {
    return this.#options.raft.configuration.members.map(this.#options.localAddress);
  }

  /** Why this node stops, once it is no member any more. */
  get removal(): string | undefined {
    return this.#removal;
  }

  start(): void {
    this.#tell();
    this.#checkSelf();
  }

  /** What goes to disk with the entries that changed it. */
  changed(configurations: readonly ConfigurationAt[]): readonly [string, Uint8Array] {
    this.#tell();
    return [CONFIGURATIONS, encodeHistory(configurations)];
  }

  /** The commit index has moved. */
  committed(): void {
    if (this.book.newest.index !== this.#committedIndex) this.#newest();
  }

  /** By a peer: this configuration is committed. */
  told(at: ConfigurationAt): void {
    if (this.book.told(at)) this.#newest();
  }

  /** A peer can be told: it may have missed who the members are. */
  meet(peer: number): void {
    const { newest } = this.book;
    if (newest.index > 0) this.#options.transport.send(peer, encodeConfigurationNews(newest), NO_BODY);
  }

  /** A peer refuses this node. */
  refused(reason: string): void {
    if (saysRemoved(reason)) this.#removal ??= reason;
  }

  tick(): void {
    if (this.book.forget(this.#options.clock.monotonicMs())) this.#tell();
  }

  /** A newer configuration is known to be committed. */
  #newest(): void {
    const { clock, logger, id } = this.#options;
    const { index, configuration } = this.book.newest;
    this.#committedIndex = index;
    const { voters, outgoing, learners } = configuration;
    const names = (ids: readonly number[]): string => ids.map((one) => this.name(one)).join(' ');
    logger.info({ index, voters: names(voters), outgoing: names(outgoing), learners: names(learners) }, 'the members of the cluster changed');
    for (const member of this.#known) {
      if (member.id === id || isMemberOf(configuration, member.id) || this.book.standing(member.id) !== 'removed') continue;
      this.book.parts(member, clock.monotonicMs() + PARTING_MS);
      this.meet(member.id);
    }
    this.#tell();
    this.#checkSelf();
    this.#options.onMembers?.(configuration);
  }

  /** As last told to the transport. */
  #known: readonly MemberAddress[] = [];

  #tell(): void {
    const { transport, link, id, localAddress } = this.#options;
    this.#known = this.book.all.map(localAddress);
    transport.setPeers(new Map(this.#known.filter((member) => member.id !== id).map(({ id: peer, name, host, peerPort }) => [peer, { name, host, port: peerPort }])));
    link.send({ type: 'members', members: this.members });
  }

  #checkSelf(): void {
    const index = this.book.removedAt(this.#options.id);
    if (index > 0) this.#removal ??= `entry ${index} of the log says that this node is no member of the cluster any more`;
  }
}
