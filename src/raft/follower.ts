// A follower's side of replication (Raft thesis 3.5). Its answers leave when what they acknowledge is on its disk.
import { assert } from '../base/assert.ts';
import { campaign } from './election.ts';
import type { RaftCore } from './core.ts';
import type { Message } from './types.ts';
import { MessageType } from './types.ts';

/** An append or heartbeat of the current term. False (and counted) when it can't be from this term's leader. */
export function acceptLeader(core: RaftCore, m: Message): boolean {
  if (core.role === 'leader' || (core.leader !== 0 && core.leader !== m.from)) {
    core.ignore();
    return false;
  }
  if (core.role !== 'follower') core.becomeFollower(core.term, m.from);
  core.setLeader(m.from);
  core.heardLeader();
  return true;
}

export function handleAppend(core: RaftCore, m: Message): void {
  const { log } = core;
  if (m.index <= log.commit) assertAgreesWithCommitted(core, m);
  if (m.index < log.commit) {
    // Old news: this node has committed further, and the leader has all that is committed.
    core.send(MessageType.appendResponse, m.from, { index: log.commit, context: m.context });
    return;
  }
  if (!log.matches(m.index, m.logTerm)) {
    refuse(core, m);
    return;
  }
  const conflict = log.findConflict(m.entries);
  if (conflict >= 0) {
    core.append(m.entries.slice(conflict));
  }
  const last = m.index + m.entries.length;
  if (core.heartbeatCommitMax < last) core.heartbeatCommitMax = last;
  log.commitTo(Math.min(m.commit, last));
  core.send(MessageType.appendResponse, m.from, { index: last, context: m.context });
}

/**
 * A leader has every committed entry, so no append of its own, however late or often it comes, differs from what is
 * committed here. One that does says that safety is lost: this node stops rather than go along.
 */
function assertAgreesWithCommitted(core: RaftCore, m: Message): void {
  const check = (index: number, term: number): void => {
    const own = core.log.term(index);
    assert(
      own === undefined || own === term,
      () => `node ${core.id}: leader ${m.from} of term ${m.term} has ${index}/${term}, committed here is ${index}/${own}`,
    );
  };
  check(m.index, m.logTerm);
  for (const entry of m.entries) {
    if (entry.index > core.log.commit) return;
    check(entry.index, entry.term);
  }
}

function refuse(core: RaftCore, m: Message): void {
  const { log } = core;
  const hint = log.findConflictByTerm(Math.min(m.index, log.lastIndex), m.logTerm);
  core.send(MessageType.appendResponse, m.from, {
    index: m.index,
    reject: true,
    hint: hint.index,
    logTerm: hint.term,
    context: m.context,
  });
}

/** The leader says no more than it knows this node to have, so a commit beyond the log's end is nonsense. */
export function handleHeartbeat(core: RaftCore, m: Message): void {
  const commit = Math.min(m.commit, core.heartbeatCommitMax);
  if (commit > core.log.lastIndex) core.ignore();
  else core.log.commitTo(commit);
  core.send(MessageType.heartbeatResponse, m.from, { context: m.context });
}

export function handleTimeoutNow(core: RaftCore, m: Message): void {
  if (core.role === 'leader' || (core.leader !== 0 && core.leader !== m.from)) {
    core.ignore();
    return;
  }
  campaign(core, true);
}
