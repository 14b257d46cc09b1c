// Quorums. A quorum is a list of majorities that must all agree: one for a plain configuration, two (the old and the
// new voters) for a joint one (Raft thesis 4.3). Everything that needs agreement is asked here, so that a joint
// configuration is a longer list and nothing else. Pure functions; they know nothing of muted members: the caller's
// callback answers "nothing" for those, so that they count in the size and not in the agreement. Where nobody votes at all, as
// a node has it that is new and waits for the log, nothing is ever agreed on.
import type { NodeId } from './types.ts';

export type Quorum = readonly (readonly NodeId[])[];

export type VoteResult = 'won' | 'lost' | 'pending';

export function majoritySize(voters: number): number {
  return Math.floor(voters / 2) + 1;
}

/**
 * The largest v such that a quorum of voters has a value ≥ v: the index that may be committed, the newest round that
 * is answered, the send time a lease may count from. An empty majority beside another asks for nothing (etcd:
 * quorum/majority.go). −Infinity where nobody votes.
 */
export function quorumValue(quorum: Quorum, valueOf: (id: NodeId) => number): number {
  let lowest = Infinity;
  for (const voters of quorum) {
    if (voters.length === 0) continue;
    const values = voters.map(valueOf).sort((a, b) => b - a);
    lowest = Math.min(lowest, values[majoritySize(voters.length) - 1] ?? -Infinity);
  }
  return lowest === Infinity ? -Infinity : lowest;
}

export function quorumHas(quorum: Quorum, holds: (id: NodeId) => boolean): boolean {
  let asked = false;
  for (const voters of quorum) {
    if (voters.length === 0) continue;
    asked = true;
    let count = 0;
    for (const id of voters) if (holds(id)) count++;
    if (count < majoritySize(voters.length)) return false;
  }
  return asked;
}

/** `voteOf` answers undefined for a voter that has not answered. Lost as soon as one majority can no longer be had, and where nobody votes. */
export function voteResult(quorum: Quorum, voteOf: (id: NodeId) => boolean | undefined): VoteResult {
  if (quorumHas(quorum, (id) => voteOf(id) === true)) return 'won';
  return quorumHas(quorum, (id) => voteOf(id) !== false) ? 'pending' : 'lost';
}

export function quorumMembers(quorum: Quorum): NodeId[] {
  return [...new Set(quorum.flat())].sort((a, b) => a - b);
}
