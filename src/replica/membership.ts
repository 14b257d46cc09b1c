// Who is who in the cluster: the data directory (incarnation) that each member is known by. Owns the pins, which keep a
// wiped disk from coming back as a voter that forgot, and the membership entries that move them.
//
// A pin is taken at first contact, on disk before anything that the peer says is used, and again from the log. Rules of `admit`:
// - a member that was removed: refused, in words that it knows (saysRemoved);
// - the pinned incarnation, or one that an entry in our log names: welcome;
// - another one that asks to rejoin: welcome, but muted (it neither votes nor acknowledges) until the log names it;
// - another one: refused, with the way out.
// Entry payload (kind membership): JSON {op: 'pin' | 'replace', node, incarnation}. `replace` counts from its commit;
// it is safe in one step because the node replaced is muted: the entry commits without it, so a quorum of the others
// holds everything that was ever committed (docs/consistency.md).
// A node that was away while another was replaced refuses that one, even as its leader, and where it goes on from a snapshot
// it never sees the entry. Peers tell it what their committed membership entries say: whom they connect to, whom they send a
// snapshot, and who asks for a pre-vote (`known`, `attested`).
import { EntryKind, ENTRY_HEADER_BYTES, entryIndex, makeEntry } from '../base/entry.ts';
import type { LogStore } from '../ports/log-store.ts';
import type { PeerIdentity } from '../ports/transport.ts';
import type { MemberBook } from './member-book.ts';

export interface MembershipChange {
  readonly op: 'pin' | 'replace';
  readonly node: number;
  readonly incarnation: string;
}

export type Admission = { readonly admit: true; readonly muted: boolean } | { readonly admit: false; readonly reason: string };

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const pinName = (node: number): string => `pin:${node}`;
const pinnedAtName = (node: number): string => `pinned-at:${node}`;
const loggedName = (node: number): string => `logged:${node}`;
const loggedAtName = (node: number): string => `logged-at:${node}`;

export type KnownMembers = Pick<MemberBook, 'all' | 'find' | 'standing' | 'newest'>;

export class Membership {
  readonly #self: { readonly id: number; readonly incarnation: string };
  /** Known by first contact or by a committed entry; on disk. */
  readonly #pins = new Map<number, string>();
  /** Index of the committed entry that a pin comes from; absent for first contact. Never goes back: on disk with the pin. */
  readonly #pinnedAt = new Map<number, number>();
  /** Named by the newest membership entry, committed or not, that our log has or a snapshot stands for; on disk with it. */
  readonly #logged = new Map<number, string>();
  /** Index of that entry; absent in a directory of before it was kept. */
  readonly #loggedAt = new Map<number, number>();
  readonly #book: KnownMembers;
  readonly #store: LogStore;
  /** Nodes whose values were read from the store. */
  readonly #loaded = new Set<number>();

  constructor(self: { id: number; incarnation: string }, book: KnownMembers, store: LogStore) {
    this.#self = self;
    this.#book = book;
    this.#store = store;
    for (const { id } of book.all) this.#load(id);
  }

  #load(id: number): void {
    if (this.#loaded.has(id)) return;
    this.#loaded.add(id);
    const pin = this.#store.meta(pinName(id));
    if (pin !== undefined) this.#pins.set(id, decoder.decode(pin));
    const pinnedAt = this.#store.meta(pinnedAtName(id));
    if (pinnedAt !== undefined) this.#pinnedAt.set(id, Number(decoder.decode(pinnedAt)));
    const logged = this.#store.meta(loggedName(id));
    if (logged !== undefined) this.#logged.set(id, decoder.decode(logged));
    const loggedAt = this.#store.meta(loggedAtName(id));
    if (loggedAt !== undefined) this.#loggedAt.set(id, Number(decoder.decode(loggedAt)));
  }

  /** The incarnation that the log gives this node, or undefined. */
  logged(node: number): string | undefined {
    this.#load(node);
    return this.#logged.get(node);
  }

  /** Index of the entry that says so; 0 where it was not kept. */
  loggedAt(node: number): number {
    this.#load(node);
    return this.#loggedAt.get(node) ?? 0;
  }

  pin(node: number): string | undefined {
    this.#load(node);
    return this.#pins.get(node);
  }

  admit(peer: PeerIdentity): Admission {
    const name = this.#book.find(peer.nodeId)?.name ?? `with id ${peer.nodeId}`;
    if (this.#book.standing(peer.nodeId) === 'removed') {
      return { admit: false, reason: removalText(name, this.#book.newest.index) };
    }
    if (peer.rejoining) return { admit: true, muted: true };
    const pin = this.pin(peer.nodeId);
    if (pin === undefined || pin === peer.incarnation || this.logged(peer.nodeId) === peer.incarnation) {
      return { admit: true, muted: false };
    }
    return {
      admit: false,
      reason:
        `node ${name} is known with data directory ${pin}, but this one is ${peer.incarnation}: it was wiped, replaced or ` +
        `restored from a copy. A voter that forgot its votes could lose acknowledged writes, so it is not let in. ` +
        `Put the old directory back, or take the node in again as a replaced member: empty the directory and run ` +
        `"holdfast init --rejoin yes" with its configuration, then start it`,
    };
  }

  /** The meta values to store so that `peer` is pinned, or undefined when it is already. The pin counts once they are on disk: call `pinned` then. */
  pinMeta(peer: PeerIdentity): ReadonlyMap<string, Uint8Array> | undefined {
    if (peer.rejoining || this.#pins.get(peer.nodeId) === peer.incarnation) return undefined;
    return new Map([[pinName(peer.nodeId), encoder.encode(peer.incarnation)]]);
  }

  pinned(node: number, incarnation: string): void {
    this.#pins.set(node, incarnation);
  }

  /** Takes note of a membership entry that is being appended; returns what to store with it. */
  appended(entry: Uint8Array): ReadonlyMap<string, Uint8Array> | undefined {
    const change = decodeMembership(entry);
    if (change === undefined) return undefined;
    this.#load(change.node);
    return this.#setLogged(change.node, change.incarnation, entryIndex(entry));
  }

  #setLogged(node: number, incarnation: string, index: number): Map<string, Uint8Array> {
    this.#logged.set(node, incarnation);
    this.#loggedAt.set(node, index);
    return new Map([
      [loggedName(node), encoder.encode(incarnation)],
      [loggedAtName(node), encoder.encode(String(index))],
    ]);
  }

  /** A membership entry is committed: returns the change and what to store. Also called for old ones, after a restart. */
  committed(entry: Uint8Array): { change: MembershipChange; meta: ReadonlyMap<string, Uint8Array>; self: boolean } | undefined {
    const change = decodeMembership(entry);
    if (change === undefined) return undefined;
    return {
      change,
      meta: this.attested(change.node, change.incarnation, entryIndex(entry)) ?? new Map<string, Uint8Array>(),
      self: change.node === this.#self.id && change.incarnation === this.#self.incarnation,
    };
  }

  /** A committed entry, here or at a peer, names this member's data directory; returns what to store if that is news. */
  attested(node: number, incarnation: string, index: number): ReadonlyMap<string, Uint8Array> | undefined {
    this.#load(node);
    if (index <= (this.#pinnedAt.get(node) ?? 0)) return undefined;
    this.#pins.set(node, incarnation);
    this.#pinnedAt.set(node, index);
    // What our log said before is out of date: an entry that it does not have, a snapshot's perhaps, took the member in anew.
    const meta = index > (this.#loggedAt.get(node) ?? 0) ? this.#setLogged(node, incarnation, index) : new Map<string, Uint8Array>();
    meta.set(pinName(node), encoder.encode(incarnation));
    meta.set(pinnedAtName(node), encoder.encode(String(index)));
    return meta;
  }

  /** What committed membership entries say. */
  known(): { node: number; incarnation: string; index: number }[] {
    const told: { node: number; incarnation: string; index: number }[] = [];
    for (const [node, index] of this.#pinnedAt) {
      const incarnation = this.#pins.get(node);
      if (incarnation !== undefined) told.push({ node, incarnation, index });
    }
    return told;
  }
}

const REMOVED = 'removed from the cluster:';

/** What a peer that was removed is told, and stops for. */
function removalText(name: string, index: number): string {
  return `${REMOVED} node ${name} is no member any more, by entry ${index} of the log`;
}

/** Whether a peer refuses this node because it was removed. */
export function saysRemoved(reason: string): boolean {
  return reason.startsWith(REMOVED);
}

export function encodeMembership(change: MembershipChange): Uint8Array {
  return makeEntry(EntryKind.membership, 0, 1, 0, encoder.encode(JSON.stringify(change)));
}

export function decodeMembership(entry: Uint8Array): MembershipChange | undefined {
  const parsed = JSON.parse(decoder.decode(entry.subarray(ENTRY_HEADER_BYTES))) as Partial<MembershipChange>;
  const { op, node, incarnation } = parsed;
  if ((op !== 'pin' && op !== 'replace') || typeof node !== 'number' || typeof incarnation !== 'string') return undefined;
  return { op, node, incarnation };
}
