// The leader's log replication: what goes to each follower, what their answers mean, what is committed (Raft thesis 3.5, 3.6, 10.2).
import { makeEntry, entryKind, EntryKind, sealEntry } from '../base/entry.ts';
import type { RaftCore } from './core.ts';
import { Leadership } from './leadership.ts';
import type { Progress } from './progress.ts';
import { quorumHas, quorumValue } from './quorum.ts';
import { releaseHeldReads, roundAnswered, startRound } from './reads.ts';
import { needsSnapshot, sendSnapshot } from './snapshot.ts';
import { handOverWhenReady, tickTransfer } from './transfer.ts';
import type { Entry, Message, NodeId } from './types.ts';
import { MessageType } from './types.ts';

/**
 * Messages that one acknowledgement lets out. A follower that is far behind is read for from the disk, and all that may be under way to it
 * at once would hold up everybody else's entries; so what is under way grows with each answer.
 */
const APPENDS_PER_ANSWER_MAX = 2;

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
  core.append([{ term: core.term, index, kind: entryKind(bytes), bytes }]);
  leadership.uncommitted.add(index, bytes.length);
  return index;
}

/** New entries, or a new commit index, to everyone who can take it. */
export function broadcastAppend(core: RaftCore, leadership: Leadership): void {
  for (const [id, progress] of leadership.progress) {
    if (!sendAppend(core, id, progress)) offerCommit(core, leadership, id, progress);
  }
}

function offerCommit(core: RaftCore, leadership: Leadership, to: NodeId, progress: Progress): void {
  if (core.config.holdsCommit !== true) tellCommit(core, to, progress);
  else if (progress.wantsCommit(core.log.commit)) leadership.commitHeld = true;
}

/** To `to`, or to all for 0: the commit index, where entries have not carried it meanwhile. */
export function tellHeldCommit(core: RaftCore, leadership: Leadership, to: NodeId): void {
  if (to === 0) leadership.commitHeld = false;
  for (const [id, progress] of leadership.progress) if (to === 0 || to === id) tellCommit(core, id, progress);
}

/** Sends the next entries, as many as one message holds. False when there are none or they may not be sent now. */
function sendAppend(core: RaftCore, to: NodeId, progress: Progress): boolean {
  const { log } = core;
  if (progress.paused || progress.next > log.lastIndex) return false;
  if (progress.state === 'replicate' && progress.inflights.full) return false;
  const previousTerm = termBefore(core, progress.next);
  if (previousTerm === undefined) {
    needsSnapshot(core, to, progress);
    return false;
  }
  post(core, to, progress, progress.next - 1, previousTerm, log.entries(progress.next, log.lastIndex, core.config.appendBytesMax));
  return true;
}

/** Asks the follower whether its log agrees up to next − 1, with entries where there are any. */
function probe(core: RaftCore, to: NodeId, progress: Progress): void {
  if (sendAppend(core, to, progress) || progress.paused) return;
  const previousTerm = termBefore(core, progress.next);
  if (previousTerm === undefined) needsSnapshot(core, to, progress);
  else post(core, to, progress, progress.next - 1, previousTerm, []);
}

/**
 * Commit without entries goes out at match and not at next − 1 (as in etcd): the transport lets small messages overtake
 * big ones, and one that came before the entries it builds on would be refused and have them all sent again.
 */
function tellCommit(core: RaftCore, to: NodeId, progress: Progress): void {
  if (!progress.wantsCommit(core.log.commit)) return;
  const matchTerm = core.log.term(progress.match);
  if (matchTerm !== undefined) post(core, to, progress, progress.match, matchTerm, []);
}

/** Term of the entry before `next`, if `next` can still be sent: both are in the log. */
function termBefore(core: RaftCore, next: number): number | undefined {
  return next < core.log.firstIndex ? undefined : core.log.term(next - 1);
}

function post(core: RaftCore, to: NodeId, progress: Progress, index: number, logTerm: number, entries: readonly Entry[]): void {
  const { commit } = core.log;
  core.send(MessageType.append, to, { index, logTerm, entries, commit, context: progress.epoch });
  let bytes = 0;
  for (const entry of entries) bytes += entry.bytes.length;
  progress.sent(entries.length, bytes);
  progress.sentCommit = Math.max(progress.sentCommit, Math.min(commit, index + entries.length));
}

export function handleAppendResponse(core: RaftCore, leadership: Leadership, m: Message): void {
  const progress = leadership.progress.get(m.from);
  if (progress === undefined || m.index > core.log.lastIndex) {
    core.ignore();
    return;
  }
  if (m.context !== progress.epoch) return; // an answer from before the member was replaced
  progress.recentActive = true;
  progress.spoke();
  if (m.reject) handleRefusal(core, progress, m);
  else handleAcknowledgement(core, leadership, progress, m);
}

function handleRefusal(core: RaftCore, progress: Progress, m: Message): void {
  const hint = Math.min(m.hint, m.index);
  const agreed = m.logTerm > 0 ? core.log.findConflictByTerm(hint, m.logTerm).index : hint;
  if (!progress.refused(m.index, agreed)) return;
  if (progress.state === 'replicate') progress.becomeProbe();
  probe(core, m.from, progress);
}

function handleAcknowledgement(core: RaftCore, leadership: Leadership, progress: Progress, m: Message): void {
  const isNews = progress.acknowledged(m.index);
  if (!isNews && !(progress.state === 'probe' && m.index === progress.match)) return;
  if (progress.state === 'probe') progress.becomeReplicate();
  else if (progress.state === 'replicate') progress.inflights.freeTo(m.index);
  else if (progress.match + 1 >= core.log.firstIndex) progress.becomeReplicate();
  else needsSnapshot(core, m.from, progress);
  if (maybeCommit(core, leadership)) broadcastAppend(core, leadership);
  for (let sent = 0; sent < APPENDS_PER_ANSWER_MAX && sendAppend(core, m.from, progress); sent++);
  offerCommit(core, leadership, m.from, progress);
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
 * An answer to a tick's round (not to one for reads) says that messages get through. If the follower lacks entries and
 * has answered no append for too long, one was lost, or its answer was: it is asked.
 */
function nudge(core: RaftCore, leadership: Leadership, progress: Progress, m: Message): void {
  if (m.context < leadership.tickRound || progress.silenceRound >= leadership.tickRound) return;
  progress.silenceRound = leadership.tickRound;
  const lacks = progress.match < core.log.lastIndex || progress.state === 'probe';
  if (!lacks || !progress.silent()) return;
  progress.resume();
  if (progress.state === 'snapshot') sendSnapshot(core, m.from, progress);
  else probe(core, m.from, progress);
}

/** A transfer is about to wait for this follower: an append that was lost is found out at once. */
export function hurry(core: RaftCore, leadership: Leadership, to: NodeId): void {
  const progress = leadership.progress.get(to);
  if (progress !== undefined && progress.match < core.log.lastIndex) probe(core, to, progress);
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

export function tickLeader(core: RaftCore, leadership: Leadership): void {
  core.electionElapsed++;
  core.heartbeatElapsed++;
  tickTransfer(core, leadership);
  if (core.electionElapsed >= core.config.electionTicks) {
    core.electionElapsed = 0;
    if (!quorumIsActive(core, leadership)) {
      core.becomeFollower(core.term, 0);
      return;
    }
  }
  if (core.heartbeatElapsed < core.config.heartbeatTicks) return;
  core.heartbeatElapsed = 0;
  leadership.tickRound = leadership.round + 1;
  startRound(core, leadership);
}

/** Check-quorum (Raft thesis 6.2): whether a quorum has answered anything since the last time. */
function quorumIsActive(core: RaftCore, leadership: Leadership): boolean {
  const active = quorumHas(
    core.quorum,
    (id) => id === core.id || (!core.muted.has(id) && leadership.progress.get(id)?.recentActive === true),
  );
  for (const progress of leadership.progress.values()) progress.recentActive = false;
  return active;
}
