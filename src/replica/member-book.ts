// Everybody whom this node may have to talk with: the members of the configurations that are or may come into force, of one
// that a peer has told of, and for a moment those that were just removed, who are still to hear of it.
//
// What must hold: whoever is removed was known as a member by a committed configuration, here or at a peer. An id that is
// higher than any that was given, as far as this node knows, is of a member that it has not heard of yet.
import { isMemberOf, type ConfigurationAt, type MemberAddress } from '../base/configuration.ts';
import type { RaftNode } from '../raft/raft.ts';

export type Standing = 'member' | 'removed' | 'unknown';

export class MemberBook {
  readonly #raft: RaftNode;
  /** By a peer: committed, and not known here when it came. */
  #told: ConfigurationAt | undefined;
  /** Removed a moment ago, and until when they are kept. */
  readonly #parting = new Map<number, { readonly address: MemberAddress; readonly untilMs: number }>();

  constructor(raft: RaftNode) {
    this.#raft = raft;
  }

  /** The newest configuration that is known to be committed. */
  get newest(): ConfigurationAt {
    const own = this.#raft.committedConfiguration;
    return this.#told !== undefined && this.#told.index > own.index ? this.#told : own;
  }

  /** True when that is news. */
  told(configuration: ConfigurationAt): boolean {
    if (configuration.index <= this.newest.index) return false;
    this.#told = configuration;
    return true;
  }

  standing(id: number): Standing {
    if (this.#members().some((member) => member.id === id)) return 'member';
    return id <= this.newest.configuration.lastId ? 'removed' : 'unknown';
  }

  find(id: number): MemberAddress | undefined {
    return this.#members().find((member) => member.id === id) ?? this.#parting.get(id)?.address;
  }

  /** By the newest committed configuration, this node is none of the members; the entry that says so. */
  removedAt(id: number): number {
    const { index, configuration } = this.newest;
    return index > 0 && id <= configuration.lastId && !isMemberOf(configuration, id) ? index : 0;
  }

  parts(address: MemberAddress, untilMs: number): void {
    this.#parting.set(address.id, { address, untilMs });
  }

  /** True when somebody's time is over. */
  forget(nowMs: number): boolean {
    const before = this.#parting.size;
    for (const [id, { untilMs }] of this.#parting) if (nowMs >= untilMs) this.#parting.delete(id);
    return this.#parting.size !== before;
  }

  /** All of them, by id. */
  get all(): MemberAddress[] {
    const all = new Map<number, MemberAddress>();
    for (const { address } of this.#parting.values()) all.set(address.id, address);
    for (const member of this.#members()) all.set(member.id, member);
    return [...all.values()].sort((a, b) => a.id - b.id);
  }

  /** Of the newest that is committed, and of those behind it in our log. */
  #members(): MemberAddress[] {
    const { index, configuration } = this.newest;
    const members = [...configuration.members];
    for (const later of this.#raft.configurations) {
      if (later.index <= index) continue;
      for (const member of later.configuration.members) if (!members.some(({ id }) => id === member.id)) members.push(member);
    }
    return members;
  }
}
