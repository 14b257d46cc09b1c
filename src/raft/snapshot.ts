// Followers that need entries which are cut from the leader's log: they are sent a reference to a snapshot, which they
// fetch by themselves (Raft thesis 5.1; etcd sends the snapshot itself). The core knows index and term; what the reference
// says, and how the state is restored, is the driver's.
//
// What must hold:
// - What is offered is committed, and not before the leader's base: with it, the rest of the log can follow.
// - A follower's log is replaced only where the snapshot ends beyond its commit and its log does not have that entry. It
//   acknowledges when that is on its disk. Whoever seeks election with the log that is replaced gives that up: in the snapshot's
//   configuration it may be no voter, or there may be none.
// - What the leader takes a follower to be at (Progress.pendingSnapshot) is what that follower says, and until it has said so the first
//   that it was told of: the log behind that is kept for it, however many newer ones are published and offered meanwhile.
// - One snapshot at a time is restored; that it goes on is nobody's to hold up: leaders may change meanwhile.
import { assert } from '../base/assert.ts';
import type { ConfigurationAt } from '../base/configuration.ts';
import type { LogBase } from '../base/log-base.ts';
import type { RaftCore } from './core.ts';
import type { Leadership } from './leadership.ts';
import type { Progress } from './progress.ts';
import type { Message, NodeId, SnapshotOffer } from './types.ts';
import { MessageType } from './types.ts';

/** What this node, leading, sends to those that need it, from now on. */
export function offerSnapshot(core: RaftCore, offer: SnapshotOffer): void {
  if (offer.index <= (core.offer?.index ?? 0)) return;
  assert(offer.index <= core.log.commit, () => `a snapshot at ${offer.index} is offered with commit ${core.log.commit}`);
  core.offer = offer;
  if (core.leadership === undefined) return;
  for (const [id, progress] of core.leadership.progress) {
    if (progress.state === 'snapshot' && progress.pendingSnapshot === 0) sendSnapshot(core, id, progress);
  }
}

/** The next entry that the follower needs is not in the log. */
export function needsSnapshot(core: RaftCore, to: NodeId, progress: Progress): void {
  progress.becomeSnapshot();
  sendSnapshot(core, to, progress);
}

/** Also sent again, the newest then, as it or its answer may be lost; a follower that is at one says which, and stays with that. */
export function sendSnapshot(core: RaftCore, to: NodeId, progress: Progress): void {
  const { offer } = core;
  if (offer === undefined || offer.index < core.log.base.index) return; // until one is offered
  if (progress.pendingSnapshot === 0) progress.pendingSnapshot = offer.index;
  const { index, term: logTerm, reference } = offer;
  core.send(MessageType.snapshot, to, { index, logTerm, reference, context: progress.epoch });
}

/** The follower is at it; or could not use it, and is sent the newest when the next silence is noticed. */
export function handleSnapshotResponse(core: RaftCore, leadership: Leadership, m: Message): void {
  const progress = leadership.progress.get(m.from);
  if (progress === undefined || m.index > core.log.lastIndex) {
    core.ignore();
    return;
  }
  progress.recentActive = true;
  if (m.context !== progress.epoch || progress.state !== 'snapshot') return;
  if (!m.reject) progress.pendingSnapshot = m.index;
  else if (m.index === progress.pendingSnapshot) progress.pendingSnapshot = 0;
}

/** From this term's leader. */
export function handleSnapshot(core: RaftCore, m: Message): void {
  const { log } = core;
  if (m.index > log.commit && log.matches(m.index, m.logTerm)) {
    log.commitTo(m.index);
    trustUpTo(core, m.index);
  }
  if (m.index <= log.commit) {
    core.send(MessageType.appendResponse, m.from, { index: log.commit, context: m.context });
    return;
  }
  if (core.restoring === undefined) {
    core.restoreToHand = { index: m.index, term: m.logTerm, reference: m.reference };
  }
  const index = core.restoring?.index ?? m.index;
  core.restoring = { index, from: m.from, term: m.term, context: m.context };
  core.send(MessageType.snapshotResponse, m.from, { index, context: m.context });
}

/** The driver has the state up to `base`, of a snapshot that was asked for or one that it found by itself. */
export function restored(core: RaftCore, base: LogBase, configuration: ConfigurationAt | undefined): void {
  const { log } = core;
  assertSameHistory(core, base);
  core.loading = false;
  if (base.term > core.term) core.becomeFollower(base.term, 0);
  if (base.index > log.commit) {
    if (log.matches(base.index, base.term)) {
      log.commitTo(base.index);
    } else {
      assert(core.leadership === undefined, () => `a snapshot at ${base.index}/${base.term} is not in the log of the leader of term ${core.term}`);
      // The votes that it asked for are for the log that goes.
      if (core.role !== 'follower') core.becomeFollower(core.term, 0);
      log.reset(base);
      core.configurations.reset(configuration);
      core.configurationChanged();
      core.resetToHand = base;
    }
    trustUpTo(core, base.index);
  }
  const asked = core.restoring;
  if (asked === undefined || asked.index > base.index) return;
  core.restoring = undefined;
  core.restoreToHand = undefined;
  if (asked.from === core.leader && asked.term === core.term) {
    core.send(MessageType.appendResponse, asked.from, { index: base.index, context: asked.context });
  }
}

/** What is committed here is part of every snapshot's past; one of another log, where two clusters share a name, is not served. */
function assertSameHistory({ id, log }: RaftCore, base: LogBase): void {
  const text = (own: string): string => `node ${id}: a snapshot at entry ${base.index} of term ${base.term} is of another log than this node's, ${own}: is it of another cluster with the same cluster-id?`;
  const own = log.term(base.index);
  if (base.index <= log.commit) assert(own === undefined || own === base.term, () => text(`whose entry there is of term ${own}`));
  else assert(base.term >= (log.term(log.commit) ?? 0), () => text(`which has entries of a later term before it`));
}

export function restoreFailed(core: RaftCore, index: number): void {
  const asked = core.restoring;
  if (asked?.index !== index) return;
  core.restoring = undefined;
  core.restoreToHand = undefined;
  if (asked.from === core.leader && asked.term === core.term) {
    core.send(MessageType.snapshotResponse, asked.from, { index, reject: true, context: asked.context });
  }
}

function trustUpTo(core: RaftCore, index: number): void {
  if (core.heartbeatCommitMax < index) core.heartbeatCommitMax = index;
}
