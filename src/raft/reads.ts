// Heartbeat rounds and what they prove: that this node still led when the round began. A quorum's answers to a round
// confirm the reads that came in before it, and renew the lease from the round's send time (Raft thesis 6.4, 6.4.1).
import type { RaftCore } from './core.ts';
import type { Leadership } from './leadership.ts';
import type { Progress } from './progress.ts';
import { quorumValue } from './quorum.ts';
import type { Message, NodeId } from './types.ts';
import { MessageType } from './types.ts';

export function committedInTerm(core: RaftCore, leadership: Leadership): boolean {
  return core.log.commit >= leadership.noopIndex;
}

/** Sends a round of heartbeats, which takes every queued read along. */
export function startRound(core: RaftCore, leadership: Leadership): void {
  leadership.round++;
  leadership.roundSentMs = core.nowMs;
  leadership.roundTimes.set(leadership.round, core.nowMs);
  leadership.reads.roundStarts(leadership.round);
  for (const [id, progress] of leadership.progress) {
    const commit = Math.min(progress.match, core.log.commit);
    core.send(MessageType.heartbeat, id, { commit, context: leadership.round });
  }
  confirmReads(core, leadership);
}

/** A follower answered `round`. It counts from the round's own send time, however late or often the answer comes. */
export function roundAnswered(core: RaftCore, leadership: Leadership, progress: Progress, round: number): void {
  if (round < progress.countedRoundMin) return;
  progress.ackedRound = Math.max(progress.ackedRound, round);
  progress.leaseFromMs = Math.max(progress.leaseFromMs, leadership.roundTimes.sentMs(round));
  confirmReads(core, leadership);
}

function confirmReads(core: RaftCore, leadership: Leadership): void {
  if (!leadership.reads.roundUnderWay) return;
  const round = quorumValue(core.quorum, (id) => {
    if (id === core.id) return leadership.round;
    return core.muted.has(id) ? 0 : (leadership.progress.get(id)?.ackedRound ?? 0);
  });
  for (const read of leadership.reads.confirmed(round)) answerRead(core, read.from, read.context, read.index);
  if (leadership.reads.hasQueued && !leadership.reads.roundUnderWay) startRound(core, leadership);
}

/** Until when no other node can have been elected, on this node's monotonic clock; −Infinity without a lease. */
export function leaseUntilMs(core: RaftCore, leadership: Leadership): number {
  if (leadership.timeoutNowSent || !committedInTerm(core, leadership)) return -Infinity;
  const fromMs = quorumValue(core.quorum, (id) => {
    if (id === core.id) return leadership.roundSentMs;
    return core.muted.has(id) ? -Infinity : (leadership.progress.get(id)?.leaseFromMs ?? -Infinity);
  });
  // A follower counts its promise in ticks, the first of which may come at once: one is taken off.
  return fromMs + (core.config.electionTicks - 1) * core.config.tickMs - core.config.leaseDriftMs;
}

function holdsLease(core: RaftCore, leadership: Leadership): boolean {
  return core.config.readConsistency === 'lease' && core.nowMs < leaseUntilMs(core, leadership);
}

/** A read of this node's own or of a follower. core.nowMs is the present. */
export function leaderRead(core: RaftCore, leadership: Leadership, from: NodeId, context: number): void {
  if (leadership.reads.full) {
    core.failRead(from, context);
  } else if (!committedInTerm(core, leadership)) {
    leadership.reads.holdUntilCommit({ from, context });
  } else if (holdsLease(core, leadership)) {
    answerRead(core, from, context, core.log.commit);
  } else {
    confirmByRound(core, leadership, from, context);
  }
}

function confirmByRound(core: RaftCore, leadership: Leadership, from: NodeId, context: number): void {
  leadership.reads.queue({ from, context, index: core.log.commit });
  // One round of reads at a time; those that come meanwhile share the next one.
  if (!leadership.reads.roundUnderWay) startRound(core, leadership);
}

/** The first entry of the term is committed. Not by lease: the time known here may be that of an earlier event. */
export function releaseHeldReads(core: RaftCore, leadership: Leadership): void {
  if (!committedInTerm(core, leadership)) return;
  for (const read of leadership.reads.takeHeld()) confirmByRound(core, leadership, read.from, read.context);
}

function answerRead(core: RaftCore, to: NodeId, context: number, index: number): void {
  if (to === core.id) core.readStates.push({ context, index, timeMs: 0 });
  else core.send(MessageType.readIndexResponse, to, { context, index });
}

/** A read of this node's own while it follows: the leader is asked. */
export function followerRead(core: RaftCore, context: number): void {
  if (core.leader === 0 || core.forwarded.full) {
    core.readFailures.push(context);
    return;
  }
  core.send(MessageType.readIndex, core.leader, { context: core.forwarded.add(context) });
}

export function handleReadIndexResponse(core: RaftCore, m: Message): void {
  const context = core.forwarded.take(m.context);
  if (context === undefined) return; // failed meanwhile, or a duplicate
  if (m.reject) core.readFailures.push(context);
  else core.readStates.push({ context, index: m.index, timeMs: m.timeMs });
}
