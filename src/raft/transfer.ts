// Leadership transfer (Raft thesis 3.10): bring the target up to date, then tell it to campaign at once.
import type { RaftCore } from './core.ts';
import type { Leadership } from './leadership.ts';
import type { NodeId } from './types.ts';
import { MessageType } from './types.ts';

/** False when `to` can't take over: a learner, or a voter on its way out. Another transfer under way is replaced. */
export function beginTransfer(core: RaftCore, leadership: Leadership, to: NodeId): boolean {
  if (!leadership.progress.has(to) || core.muted.has(to)) return false;
  if (!core.configurations.current.configuration.voters.includes(to)) return false;
  if (leadership.transferee === to) return true;
  leadership.transferee = to;
  leadership.transferTicks = 0;
  handOverWhenReady(core, leadership);
  return true;
}

/** Called when the target's match may have moved. Proposals are refused meanwhile, so the log's end stands still. */
export function handOverWhenReady(core: RaftCore, leadership: Leadership): void {
  const to = leadership.transferee;
  if (to === 0 || leadership.progress.get(to)?.match !== core.log.lastIndex) return;
  leadership.timeoutNowSent = true;
  core.send(MessageType.timeoutNow, to);
}

/** A transfer that takes longer than an election timeout is given up; proposals are taken again. */
export function tickTransfer(core: RaftCore, leadership: Leadership): void {
  if (leadership.transferee === 0) return;
  leadership.transferTicks++;
  if (leadership.transferTicks >= core.config.electionTicks) abortTransfer(leadership);
}

export function abortTransfer(leadership: Leadership): void {
  leadership.transferee = 0;
  leadership.transferTicks = 0;
}
