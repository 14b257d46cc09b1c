// Elections (Raft thesis 3.4, 9.6 pre-vote, 4.2.3 check-quorum's refusal to be disturbed): campaigning, and answering those who do.
import { becomeLeader } from './replication.ts';
import type { RaftCore } from './core.ts';
import { voteResult } from './quorum.ts';
import type { Message } from './types.ts';
import { MessageType } from './types.ts';

export function tickElection(core: RaftCore): void {
  core.electionElapsed++;
  if (core.voteBlockedTicks > 0) core.voteBlockedTicks--;
  if (core.ticksSinceLeader < core.config.electionTicks) core.ticksSinceLeader++;
  if (core.electionElapsed < core.electionTimeout) return;
  core.electionElapsed = 0;
  campaign(core, false);
}

/**
 * Seeks election: asking first who would vote, or at once when the leader hands over (`transfer`). False when this node
 * may not: no voter, not trusted, loading, leading already, or bound by a promise, which only the leader's consent lifts.
 */
export function campaign(core: RaftCore, transfer: boolean): boolean {
  if (core.role === 'leader' || core.rejoining || core.loading || !core.configurations.mayCampaign(core.id, core.log.commit)) return false;
  if (core.voteBlockedTicks > 0 || (!transfer && core.keepsPromise)) return false;
  if (transfer || core.isSingleVoter) becomeCandidate(core, transfer);
  else becomePreCandidate(core);
  return true;
}

function becomePreCandidate(core: RaftCore): void {
  core.role = 'precandidate';
  core.startTerm(core.term);
  core.setLeader(0);
  // Its own pre-vote promises nothing and counts at once.
  core.votes.set(core.id, true);
  requestVotes(core, MessageType.preVote, core.term + 1, false);
}

function becomeCandidate(core: RaftCore, transfer: boolean): void {
  core.role = 'candidate';
  core.startTerm(core.term + 1);
  core.setLeader(0);
  core.vote = core.id;
  // Its own vote counts when it is on its disk: it comes back as a message.
  core.send(MessageType.voteResponse, core.id);
  requestVotes(core, MessageType.vote, core.term, transfer);
}

function requestVotes(core: RaftCore, type: MessageType, term: number, transfer: boolean): void {
  const { lastIndex: index, lastTerm: logTerm } = core.log;
  for (const id of core.others) if (core.isVoter(id)) core.send(type, id, { term, index, logTerm, transfer });
}

/**
 * A vote or pre-vote request. Whoever keeps a promise to a leader ignores it and its term, so that it disturbs nothing. Whether
 * the candidate or this node is a voter is for the candidate's log to say: it may be ahead of this one (thesis 4.1).
 */
export function handleVoteRequest(core: RaftCore, m: Message): void {
  const isPreVote = m.type === MessageType.preVote;
  const consented = m.transfer && !isPreVote;
  if (core.rejoining || core.voteBlockedTicks > 0) return;
  if (!consented && (core.role === 'leader' || core.keepsPromise)) return;
  if (!isPreVote && m.term > core.term) core.becomeFollower(m.term, 0);
  const free = core.vote === m.from || (core.vote === 0 && core.leader === 0) || (isPreVote && m.term > core.term);
  const granted = m.term >= core.term && free && core.log.isUpToDate(m.index, m.logTerm);
  const response = isPreVote ? MessageType.preVoteResponse : MessageType.voteResponse;
  if (!granted) {
    core.send(response, m.from, { reject: true });
    return;
  }
  core.send(response, m.from, { term: m.term });
  if (isPreVote) return;
  core.electionElapsed = 0;
  core.vote = m.from;
}

/** An answer to this node's candidacy, of the kind that its role asked for. */
export function handleVoteResponse(core: RaftCore, m: Message): void {
  const asked = core.role === 'precandidate' ? MessageType.preVoteResponse : MessageType.voteResponse;
  if (m.type !== asked || (core.role !== 'precandidate' && core.role !== 'candidate')) return;
  if (!core.votes.has(m.from)) core.votes.set(m.from, !m.reject);
  const result = voteResult(core.quorum, (id) => (core.muted.has(id) ? undefined : core.votes.get(id)));
  if (result === 'lost') core.becomeFollower(core.term, 0);
  else if (result === 'won' && core.role === 'precandidate') becomeCandidate(core, false);
  else if (result === 'won') becomeLeader(core);
}
