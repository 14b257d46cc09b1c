// Watches what consensus must never do, at the very step where it does it. Sees every publication of a node's cell, every
// message as it leaves, and every entry as it is applied.
//   election safety       one leader a term
//   log matching          an index, once committed anywhere, has the same bytes everywhere and for ever
//   leader completeness   a new leader has everything that was committed in earlier terms
//   state machine safety  the same entry and the same digest after it at each index, on every node
//   commit                never goes back in a life; nothing beyond it is applied
//   persist before send   no vote, no acknowledgement and no request for votes leaves before it is on the disk
//   one vote              a data directory votes for one candidate a term
//   durability            what a leader commits is on the disks of a quorum of its voters, as long as no disk was lost
//   lease                 while a lease is good nobody else leads or commits
//   digest                the record of the published snapshot is part of it
import { crc32c } from '../../../src/base/crc32c.ts';
import { ENTRY_HEADER_BYTES } from '../../../src/base/entry.ts';
import { digestText, type Machine } from '../../../src/machine/machine.ts';
import { decodePeerMessage } from '../../../src/replica/peer-message.ts';
import { quorumOf } from '../../../src/raft/configuration.ts';
import { quorumHas } from '../../../src/raft/quorum.ts';
import { MessageType } from '../../../src/raft/types.ts';
import type { Publication } from '../link.ts';
import type { Life, SimNode } from '../node.ts';
import { Violation } from '../trace.ts';

interface Committed {
  readonly term: number;
  readonly crc: number;
  /** Term of the node that was first to know: the entry was committed in it or earlier. */
  readonly inTerm: number;
}

const NO_BODY: readonly Uint8Array[] = [];
const recordsCrc = (entry: Uint8Array): number => crc32c(entry, ENTRY_HEADER_BYTES);

export class ConsensusChecker {
  /** Entry i stands at [i − 1]. */
  readonly committed: Committed[] = [];
  readonly #digests: string[] = [];
  readonly #leaders = new Map<number, string>();
  /** `incarnation/term` → candidate. */
  readonly #votes = new Map<string, number>();
  readonly #nodes: () => readonly SimNode[];
  readonly #onCommitted: (index: number, term: number, entry: Uint8Array) => void;
  leadersElected = 0;
  /** For the tests of the simulation: end-to-end checks alone must find the bug. */
  persistChecks = true;
  leaseChecks = true;
  /** A node came back with an empty disk: what it held does not count any more. */
  diskLost = false;

  constructor(nodes: () => readonly SimNode[], onCommitted: (index: number, term: number, entry: Uint8Array) => void) {
    this.#nodes = nodes;
    this.#onCommitted = onCommitted;
  }

  published(life: Life, now: Publication, before: Publication): void {
    if (now.commit < before.commit) throw new Violation('commit', `node ${life.node.id} went back from ${before.commit} to ${now.commit}`);
    if (now.term < before.term) throw new Violation('term', `node ${life.node.id} went back from ${before.term} to ${now.term}`);
    if (now.selfIsLeader && !(before.selfIsLeader && before.term === now.term)) this.#elected(life, now);
    const { base } = life.consensus.raft;
    if (base.index > 0 && this.committed[base.index - 1]?.term !== base.term) {
      throw new Violation('log matching', `node ${life.node.id} has a log behind ${base.index}/${base.term}, which was never committed`);
    }
    for (let next = Math.max(before.commit, base.index) + 1; next <= now.commit; ) {
      for (const entry of life.consensus.raft.entries(next, now.commit, 1 << 30)) {
        this.#commits(life, entry.index, entry.term, entry.bytes, now);
        next = entry.index + 1;
      }
    }
  }

  #elected(life: Life, now: Publication): void {
    const who = `node ${life.node.id} (life ${life.number})`;
    const other = this.#leaders.get(now.term);
    if (other !== undefined && other !== who) throw new Violation('election safety', `${other} and ${who} both lead term ${now.term}`);
    if (other === undefined) {
      this.leadersElected++;
      this.#leaders.set(now.term, who);
    }
    const { raft } = life.consensus;
    // From the end: by log matching one that agrees vouches for all before it.
    for (let index = this.committed.length; index > 0; index--) {
      const entry = this.committed[index - 1]!;
      if (entry.inTerm >= now.term) continue;
      if (index < raft.base.index) break;
      if (raft.entryTerm(index) === entry.term) break;
      throw new Violation(
        'leader completeness',
        `${who} leads term ${now.term} with term ${raft.entryTerm(index)} at ${index}, where term ${entry.term} was committed in term ${entry.inTerm}`,
      );
    }
    this.#nobodyElseHasLease(life, now, 'was elected');
  }

  #commits(life: Life, index: number, term: number, bytes: Uint8Array, now: Publication): void {
    const known = this.committed[index - 1];
    const crc = crc32c(bytes, 4);
    if (known === undefined) {
      if (index !== this.committed.length + 1) throw new Violation('log matching', `${index} is committed after ${this.committed.length}`);
      this.committed.push({ term, crc, inTerm: now.term });
      this.#nobodyElseHasLease(life, now, `committed ${index}`);
      if (now.selfIsLeader && this.persistChecks && !this.diskLost) this.#isDurable(life, index, term);
      this.#onCommitted(index, term, bytes);
    } else if (known.term !== term || known.crc !== crc) {
      throw new Violation('log matching', `node ${life.node.id} commits another entry at ${index}: term ${term} in place of ${known.term}`);
    }
  }

  #isDurable(life: Life, index: number, term: number): void {
    const quorum = quorumOf(life.consensus.raft.configuration);
    const holds = (id: number): boolean => {
      const disk = this.#nodes().find((node) => node.id === id)?.disk.durable;
      return disk !== undefined && (disk.base.index >= index || disk.term(index) === term);
    };
    if (quorumHas(quorum, holds)) return;
    throw new Violation('durability', `node ${life.node.id} commits ${index}/${term}, which is on the disks of ${quorum.flat().filter(holds).join()} of ${JSON.stringify(quorum)}`);
  }

  #nobodyElseHasLease(life: Life, now: Publication, what: string): void {
    if (!this.leaseChecks) return;
    for (const node of this.#nodes()) {
      const other = node.life;
      if (other === undefined || other === life) continue;
      const cell = other.cell.current;
      if (cell.selfIsLeader && cell.term < now.term && node.time.monotonicMs() < cell.leaseUntilMs) {
        throw new Violation('lease', `node ${life.node.id} ${what} in term ${now.term} while node ${node.id} has the lease of term ${cell.term}`);
      }
    }
  }

  /** A machine was made of a snapshot. */
  restored(life: Life, index: number, digest: string): void {
    const known = this.#digests[index];
    if (known !== undefined && !known.endsWith(digest)) throw new Violation('state machine safety', `node ${life.node.id} starts from state ${digest} after ${index}, others had ${known}`);
  }

  expectPublishedInDigest(life: Life, machine: Machine): void {
    const { newest } = machine.publishing;
    const digest = digestText(machine.digest());
    machine.publishing.restore(undefined);
    const without = digestText(machine.digest());
    machine.publishing.restore(newest);
    if (digest === without) throw new Violation('digest', `on node ${life.node.id} it does not tell that a snapshot at ${newest?.index} is published`);
  }

  /** `published` is told from the digest, so that a digest that lacks it does not hide that nodes differ. */
  applied(life: Life, index: number, entry: Uint8Array, digest: string, published: string): void {
    const known = this.committed[index - 1];
    const { commit } = life.cell.current;
    if (index > commit || known === undefined) throw new Violation('commit', `node ${life.node.id} applies ${index} with commit ${commit}`);
    const fingerprint = `${recordsCrc(entry)} ${published} ${digest}`;
    const before = this.#digests[index];
    if (before === undefined) this.#digests[index] = fingerprint;
    else if (before !== fingerprint) {
      throw new Violation('state machine safety', `node ${life.node.id} has state ${fingerprint} after ${index}, others ${before}`);
    }
  }

  sending(life: Life, to: number, head: Uint8Array): void {
    const { node } = life;
    const decoded = decodePeerMessage(node.id, to, head, NO_BODY);
    if (typeof decoded === 'string' || decoded.kind !== 'raft') return;
    const { type, term, index, reject } = decoded.message;
    if (reject) return;
    const promisesVote = type === MessageType.voteResponse || type === MessageType.vote;
    if (!promisesVote && type !== MessageType.appendResponse) return;
    const candidate = type === MessageType.vote ? node.id : to;
    if (promisesVote) this.#voted(node, term, candidate);
    if (!this.persistChecks) return;
    const { hardState, lastIndex } = node.disk.durable;
    if (hardState.term < term) throw new Violation('persist before send', `node ${node.id} speaks in term ${term}, its disk is in ${hardState.term}`);
    if (hardState.term > term) return;
    if (promisesVote && hardState.vote !== candidate) {
      throw new Violation('persist before send', `node ${node.id} votes for ${candidate} in term ${term}, its disk says ${hardState.vote}`);
    }
    if (type === MessageType.appendResponse && lastIndex < index) {
      throw new Violation('persist before send', `node ${node.id} acknowledges ${index}, its disk ends at ${lastIndex}`);
    }
  }

  #voted(node: SimNode, term: number, candidate: number): void {
    const key = `${node.incarnation}/${term}`;
    const before = this.#votes.get(key);
    if (before === undefined) this.#votes.set(key, candidate);
    else if (before !== candidate) throw new Violation('one vote', `node ${node.id} votes for ${before} and ${candidate} in term ${term}`);
  }
}
