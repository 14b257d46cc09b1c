// Changing who the members are, on the leader (Raft thesis 4.1 to 4.3): a change is one entry where the voters stay the
// same (learners come and go), and a joint configuration else, which the leader ends by itself as soon as it is committed.
//
// What must hold:
// - A change begins only where the newest configuration is committed and not joint, and so is an entry of this term (else
//   two leaders could each have one under way that knows nothing of the other's: the flaw of the single-server change).
// - A leader that is no voter any more leads until the entry that says so is committed, counting itself in nothing.
import { encodeConfiguration } from '../base/configuration.ts';
import type { RaftCore } from './core.ts';
import { entering, isJoint, leaving } from './configuration.ts';
import type { Leadership } from './leadership.ts';
import { committedInTerm } from './reads.ts';
import { appendEntry, broadcastAppend } from './replication.ts';
import type { ChangeResult, ConfigurationChange, NodeId } from './types.ts';
import { MessageType } from './types.ts';

export function proposeChange(core: RaftCore, leadership: Leadership, change: ConfigurationChange): ChangeResult {
  const { configurations, log } = core;
  if (leadership.transferee !== 0) return { ok: false, reason: 'transferring' };
  if (!configurations.isSettled(log.commit) || !committedInTerm(core, leadership)) return { ok: false, reason: 'change-under-way' };
  const { configuration } = configurations.current;
  const index = appendEntry(core, leadership, encodeConfiguration(entering(configuration, change.voters, change.learners, change.added)));
  broadcastAppend(core, leadership);
  return { ok: true, term: core.term, index };
}

/** After every input: what follows from a configuration that is committed. */
export function advanceChange(core: RaftCore, leadership: Leadership): void {
  const { current } = core.configurations;
  if (current.index > core.log.commit || !committedInTerm(core, leadership)) return;
  if (isJoint(current.configuration)) {
    // While leadership moves, the log's end stands still; it is ended later, or by the next leader.
    if (leadership.transferee !== 0) return;
    appendEntry(core, leadership, encodeConfiguration(leaving(current.configuration)));
    broadcastAppend(core, leadership);
  } else if (!core.isVoter(core.id)) {
    stepDown(core, leadership);
  }
}

/** No member any more. Somebody takes over at once if there is somebody; no lease outlives this. */
function stepDown(core: RaftCore, leadership: Leadership): void {
  const successor = bestSuccessor(core, leadership);
  if (successor !== 0) core.send(MessageType.timeoutNow, successor);
  core.becomeFollower(core.term, 0);
}

function bestSuccessor(core: RaftCore, leadership: Leadership): NodeId {
  let best: NodeId = 0;
  let bestMatch = core.log.commit - 1;
  for (const id of core.configurations.current.configuration.voters) {
    const progress = leadership.progress.get(id);
    if (progress === undefined || core.muted.has(id) || progress.match <= bestMatch) continue;
    best = id;
    bestMatch = progress.match;
  }
  return best;
}
