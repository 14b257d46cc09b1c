// The leader's log replication: what goes to each follower, what their answers mean, what is committed (Raft thesis 3.5, 3.6, 10.2).
import { makeEntry, entryKind, EntryKind, sealEntry } from '../base/entry.ts';
import type { RaftCore } from './core.ts';
import { Leadership } from './leadership.ts';
import type { Progress } from './progress.ts';
import { quorumValue } from './quorum.ts';
import { releaseHeldReads, roundAnswered, startRound } from './reads.ts';
import { handOverWhenReady } from './transfer.ts';
import type { Entry, Message, NodeId } from './types.ts';
import { MessageType } from './types.ts';

export function becomeLeader(core: RaftCore): void {
  core.role = 'leader';
  core.startTerm(core.term);
  core.setLeader(core.id);
  core.ticksSinceLeader = core.config.electionTicks;
  const leadership = new Leadership(core.log.lastIndex + 1, core.others, core.config);
  core.leadership = leadership;
  appendEntry(core, leadership, makeEntry(EntryKind.noop, 0, 0, core.log.lastTimeMs, new Uint8Array(0)));
  broadcastAppend(core, leadership);
  startRound(core, leadership);
}

/** Seals the entry and puts it at the end of the log. It counts for the leader itself once it is on its disk. */
export function appendEntry(core: RaftCore, leadership: Leadership, bytes: Uint8Array): number {
  const index = core.log.lastIndex + 1;
  sealEntry(bytes, core.term, index, core.log.lastTimeMs);
  core.log.append([{ term: core.term, index, kind: entryKind(bytes), bytes }]);
  leadership.uncommitted.add(index, bytes.length);
  return index;
}

export function broadcastAppend(core: RaftCore, leadership: Leadership): void {
  for (const [id, progress] of leadership.progress) sendAppend(core, id, progress, true);
}

/** True when an append left. `evenEmpty`: also without entries, to tell the commit index or to probe. */
export function sendAppend(core: RaftCore, to: NodeId, progress: Progress, evenEmpty: boolean): boolean {
  if (progress.paused) return false;
  const { log } = core;
  const previous = progress.next - 1;
  const previousTerm = log.term(previous);
  if (previousTerm === undefined || progress.next < log.firstIndex) {
    progress.becomeSnapshot();
    return false;
  }
  const mayCarry = progress.state !== 'replicate' || !progress.inflights.full;
  const entries: readonly Entry[] =
    mayCarry && progress.next <= log.lastIndex
      ? log.entries(progress.next, log.lastIndex, core.config.appendBytesMax)
      : [];
  if (entries.length === 0 && !evenEmpty) return false;
  core.send(MessageType.append, to, {
    index: previous,
    logTerm: previousTerm,
    entries,
    commit: log.commit,
    context: progress.epoch,
  });
  let bytes = 0;
  for (const entry of entries) bytes += entry.bytes.length;
  progress.sent(entries.length, bytes);
  progress.sentCommit = log.commit;
  return true;
}

export function handleAppendResponse(core: RaftCore, leadership: Leadership, m: Message): void {
  const progress = leadership.progress.get(m.from);
  if (progress === undefined || m.index > core.log.lastIndex) {
    core.ignore();
    return;
  }
  if (m.context !== progress.epoch) return; // an answer from before the member was replaced
  progress.recentActive = true;
  if (m.reject) handleRefusal(core, progress, m);
  else handleAcknowledgement(core, leadership, progress, m);
}

function handleRefusal(core: RaftCore, progress: Progress, m: Message): void {
  const hint = Math.min(m.hint, m.index);
  const agreed = m.logTerm > 0 ? core.log.findConflictByTerm(hint, m.logTerm).index : hint;
  if (!progress.refused(m.index, agreed)) return;
  if (progress.state === 'replicate') progress.becomeProbe();
  sendAppend(core, m.from, progress, true);
}

function handleAcknowledgement(core: RaftCore, leadership: Leadership, progress: Progress, m: Message): void {
  const isNews = progress.acknowledged(m.index);
  if (!isNews && !(progress.state === 'probe' && m.index === progress.match)) return;
  if (progress.state === 'probe') progress.becomeReplicate();
  else if (progress.state === 'replicate') progress.inflights.freeTo(m.index);
  else if (progress.match + 1 >= core.log.firstIndex) progress.becomeReplicate();
  if (maybeCommit(core, leadership)) {
    broadcastAppend(core, leadership);
  } else if (progress.wantsCommit(core.log.commit)) {
    sendAppend(core, m.from, progress, true);
  }
  while (sendAppend(core, m.from, progress, false));
  handOverWhenReady(core, leadership);
}

export function handleHeartbeatResponse(core: RaftCore, leadership: Leadership, m: Message): void {
  const progress = leadership.progress.get(m.from);
  if (progress === undefined || m.context > leadership.round) {
    core.ignore();
    return;
  }
  progress.recentActive = true;
  nudge(core, leadership, progress, m);
  roundAnswered(core, leadership, progress, m.context);
}

/**
 * An answer to a heartbeat says that messages get through: a probe may go on, and a follower that lacks entries gets
 * an append even if all were sent, for one may have been lost. Once a tick's round, not once a read's.
 */
function nudge(core: RaftCore, leadership: Leadership, progress: Progress, m: Message): void {
  if (m.context < leadership.tickRound || progress.nudgedRound >= leadership.tickRound) return;
  progress.nudgedRound = leadership.tickRound;
  progress.resume();
  if (progress.match < core.log.lastIndex || progress.state === 'probe') sendAppend(core, m.from, progress, true);
}

/** How far a member's log is known to be on its disk; 0 for a muted one. */
function countedMatch(core: RaftCore, leadership: Leadership, id: NodeId): number {
  if (id === core.id) return core.log.persistedIndex;
  return core.muted.has(id) ? 0 : (leadership.progress.get(id)?.match ?? 0);
}

/** Commits what a quorum has, if its last entry is of this term (thesis 3.6.2, figure 3.7: older ones only along with it). */
export function maybeCommit(core: RaftCore, leadership: Leadership): boolean {
  const index = quorumValue(core.quorum, (id) => countedMatch(core, leadership, id));
  if (index <= core.log.commit || core.log.term(index) !== core.term) return false;
  core.log.commitTo(index);
  leadership.uncommitted.committed(index);
  releaseHeldReads(core, leadership);
  return true;
}
