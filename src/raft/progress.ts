// What a leader knows of one follower, and how much it may send (etcd: tracker/progress.go, inflights.go).
//   probe      where the logs agree is not known: one append at a time, the next after an answer or a heartbeat's answer
//   replicate  they agree up to match: appends are pipelined, as many as the inflight limits allow
//   snapshot   the entries it needs are cut from the leader's log: it is told of a snapshot, and sent no entries until it has that
import { MiB } from '../base/limits.ts';

export type ProgressState = 'probe' | 'replicate' | 'snapshot';

export interface ProgressLimits {
  readonly inflightBytesMax: number;
  readonly inflightMessagesMax: number;
}

/** Bytes a follower is trusted to take in from one tick's round to the next, before its silence counts. */
const BYTES_PER_ROUND = 4 * MiB;
/** Retries double the patience this many times at most. */
const PATIENCE_DOUBLINGS_MAX = 6;

interface Inflight {
  readonly lastIndex: number;
  readonly bytes: number;
}

/** Appends that carry entries and are not answered: first in, first out. */
export class Inflights {
  readonly #limits: ProgressLimits;
  #items: Inflight[] = [];
  #bytes = 0;

  constructor(limits: ProgressLimits) {
    this.#limits = limits;
  }

  get count(): number {
    return this.#items.length;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get full(): boolean {
    return this.#items.length >= this.#limits.inflightMessagesMax || this.#bytes >= this.#limits.inflightBytesMax;
  }

  add(lastIndex: number, bytes: number): void {
    this.#items.push({ lastIndex, bytes });
    this.#bytes += bytes;
  }

  /** Everything up to `index` was received. */
  freeTo(index: number): void {
    let freed = 0;
    for (const item of this.#items) {
      if (item.lastIndex > index) break;
      this.#bytes -= item.bytes;
      freed++;
    }
    if (freed > 0) this.#items.splice(0, freed);
  }

  clear(): void {
    this.#items = [];
    this.#bytes = 0;
  }
}

export class Progress {
  state: ProgressState = 'probe';
  /** On the follower's disk and equal to ours up to here. Never goes back, except by a reset. match < next. */
  match = 0;
  /** Where the next append starts. */
  next: number;
  /** Answered anything since the last check of the quorum. */
  recentActive = false;
  /** What it may commit by the messages it was sent: their commit, or their last index if that is lower. Lowered when an append is known to be lost. */
  sentCommit = 0;
  /** Raised by a reset. Appends carry it and answers repeat it, so that what an earlier incarnation acknowledged is never taken for the new one's. */
  epoch = 0;
  /** Newest heartbeat round that it answered. */
  ackedRound = 0;
  /** Answers to rounds below do not count: they may be an earlier incarnation's. */
  countedRoundMin = 1;
  /** Send time of the newest round that it answered, from which its promise not to vote counts. */
  leaseFromMs = -Infinity;
  /** Newest tick's round whose answer was looked at for silence. */
  silenceRound = 0;
  /** While state is 'snapshot': index of the one that it is at, as far as is known; 0 for none yet, or where it could not use it. */
  pendingSnapshot = 0;
  readonly inflights: Inflights;
  #flowPaused = false;
  /** Tick's rounds answered since it last answered an append, or since the last retry. */
  #silentRounds = 0;
  #retries = 0;
  /** Of the append that probes. */
  #probeBytes = 0;

  constructor(next: number, limits: ProgressLimits) {
    this.next = next;
    this.inflights = new Inflights(limits);
  }

  get paused(): boolean {
    return this.state === 'snapshot' || this.#flowPaused;
  }

  resume(): void {
    this.#flowPaused = false;
  }

  /** It answered an append, whichever way: messages get through. */
  spoke(): void {
    this.#silentRounds = 0;
    this.#retries = 0;
  }

  /**
   * It answered a tick's round and no append since the one before. True when that has gone on for long enough to take
   * an append for lost: at once for a small one, later for many bytes, and ever later as retries go unanswered.
   */
  silent(): boolean {
    this.#silentRounds++;
    const bytes = this.state === 'replicate' ? this.inflights.bytes : this.#probeBytes;
    const patience = (1 + Math.floor(bytes / BYTES_PER_ROUND)) * 2 ** this.#retries;
    if (this.#silentRounds < patience) return false;
    this.#silentRounds = 0;
    this.#retries = Math.min(this.#retries + 1, PATIENCE_DOUBLINGS_MAX);
    return true;
  }

  becomeProbe(): void {
    this.#become('probe', this.match + 1);
  }

  becomeReplicate(): void {
    this.#become('replicate', this.match + 1);
  }

  becomeSnapshot(): void {
    this.#become('snapshot', this.next);
  }

  #become(state: ProgressState, next: number): void {
    this.state = state;
    this.next = next;
    this.pendingSnapshot = 0;
    this.sentCommit = Math.min(this.sentCommit, next - 1);
    this.#flowPaused = false;
    this.#probeBytes = 0;
    this.inflights.clear();
  }

  /** An append with `count` entries of `bytes` in all left. While replicating, one sent at the inflight limit is the last until an answer. */
  sent(count: number, bytes: number): void {
    if (this.state === 'replicate') {
      if (count > 0) {
        this.next += count;
        this.inflights.add(this.next - 1, bytes);
      }
      this.#flowPaused = this.inflights.full;
    } else {
      this.#probeBytes = bytes;
      if (count > 0) this.#flowPaused = true;
    }
  }

  /** The follower has everything up to `index`. False when that is old news. */
  acknowledged(index: number): boolean {
    if (index <= this.match) return false;
    this.match = index;
    this.next = Math.max(this.next, index + 1);
    this.#flowPaused = false;
    return true;
  }

  /** The append after `rejected` was refused, the logs may agree at `hint`. False when the refusal is stale. */
  refused(rejected: number, hint: number): boolean {
    if (this.state === 'snapshot') return false;
    // Stale; or it lost what it had acknowledged (a disk that lied, an old copy of a directory), and answering at once
    // would have the two refuse each other as fast as the network goes. Then it is probed with the heartbeats only.
    if (rejected <= this.match) return false;
    if (this.state === 'replicate') {
      this.next = this.match + 1;
    } else {
      if (this.next - 1 !== rejected) return false;
      this.next = Math.max(Math.min(rejected, hint + 1), this.match + 1);
    }
    this.sentCommit = Math.min(this.sentCommit, this.next - 1);
    this.#flowPaused = false;
    return true;
  }

  /** True when a message that says `commit` would let the follower commit more than it was told. */
  wantsCommit(commit: number): boolean {
    return this.state === 'replicate' && Math.min(commit, this.match) > this.sentCommit;
  }

  /** The member was replaced: nothing it ever answered counts. */
  reset(next: number, epoch: number, round: number): void {
    this.match = 0;
    this.sentCommit = 0;
    this.recentActive = false;
    this.epoch = epoch;
    this.spoke();
    this.forgetRounds(round);
    this.#become('probe', next);
  }

  /** No answer to `round` or one before it counts any more. */
  forgetRounds(round: number): void {
    this.ackedRound = 0;
    this.leaseFromMs = -Infinity;
    this.countedRoundMin = round + 1;
  }
}
