// The parts of the core by themselves: quorums, the log, progress, reads, uncommitted bytes, judging messages.
import { describe, expect, test } from 'vitest';
import { must } from '../../src/base/assert.ts';
import { EntryKind, sealEntry } from '../../src/base/entry.ts';
import { MiB } from '../../src/base/limits.ts';
import { Prng } from '../../src/base/prng.ts';
import { RoundTimes, UncommittedBytes } from '../../src/raft/leadership.ts';
import { RaftLog } from '../../src/raft/log.ts';
import { makeMessage, messageFault } from '../../src/raft/message.ts';
import { Progress } from '../../src/raft/progress.ts';
import { majoritySize, quorumHas, quorumValue, voteResult } from '../../src/raft/quorum.ts';
import { RaftNode } from '../../src/raft/raft.ts';
import { ForwardedReads, LeaderReads } from '../../src/raft/read-only.ts';
import type { Entry, Ready } from '../../src/raft/types.ts';
import { MessageType } from '../../src/raft/types.ts';
import { SimDisk, startOf, textEntry } from './sim-node.ts';

function entry(index: number, term: number, text = '', timeMs = 0): Entry {
  const bytes = textEntry(text, timeMs);
  sealEntry(bytes, term, index, 0);
  return { term, index, kind: EntryKind.commands, bytes };
}

/** Entries from index 1 on, one for each term. */
const entriesOf = (...terms: number[]): Entry[] => terms.map((term, at) => entry(at + 1, term));

const readyOf = (entries: readonly Entry[]): Ready => ({
  entries,
  messages: [],
  messagesAfterPersist: [],
  commit: 0,
  readStates: [],
  readFailures: [],
});

function diskWith(entries: readonly Entry[], term = 1): SimDisk {
  const disk = new SimDisk('durable');
  disk.persist({ ...readyOf(entries), hardState: { term, vote: 0, commit: 0 } });
  return disk;
}

describe('quorum', () => {
  test('majority sizes', () => {
    expect([1, 2, 3, 4, 5, 6, 7].map(majoritySize)).toEqual([1, 2, 2, 3, 3, 4, 4]);
  });

  test('the value that a majority has, in one and in two majorities', () => {
    const values = new Map([[1, 5], [2, 7], [3, 2], [4, 9], [5, 0]]);
    const valueOf = (id: number): number => values.get(id) ?? 0;
    expect(quorumValue([[1]], valueOf)).toBe(5);
    expect(quorumValue([[1, 2]], valueOf)).toBe(5);
    expect(quorumValue([[1, 2, 3]], valueOf)).toBe(5);
    expect(quorumValue([[1, 2, 3, 4]], valueOf)).toBe(5);
    expect(quorumValue([[1, 2, 3, 4, 5]], valueOf)).toBe(5);
    expect(quorumValue([[2, 4], [1, 3, 5]], valueOf)).toBe(2);
    expect(quorumValue([[1, 2, 3], []], valueOf)).toBe(5);
  });

  test('where nobody votes nothing is agreed on', () => {
    for (const quorum of [[], [[]], [[], []]]) {
      expect(quorumValue(quorum, () => 5)).toBe(-Infinity);
      expect(quorumHas(quorum, () => true)).toBe(false);
      expect(voteResult(quorum, () => true)).toBe('lost');
    }
    expect(quorumHas([[1], []], () => true)).toBe(true);
  });

  test('the value is the largest that quorumHas agrees with', () => {
    const seed = Math.floor(Math.random() * 2 ** 32);
    const prng = new Prng(seed);
    for (let run = 0; run < 500; run++) {
      const values = Array.from({ length: 8 }, () => prng.below(6));
      const pick = (): number[] => [1, 2, 3, 4, 5, 6, 7].filter(() => prng.chance(0.6));
      const quorum = prng.chance(0.5) ? [[1, ...pick()]] : [[1, ...pick()], [2, ...pick()]].map((ids) => [...new Set(ids)]);
      const valueOf = (id: number): number => values[id] ?? 0;
      const value = quorumValue(quorum, valueOf);
      expect(quorumHas(quorum, (id) => valueOf(id) >= value), `seed ${seed}`).toBe(true);
      expect(quorumHas(quorum, (id) => valueOf(id) > value), `seed ${seed}`).toBe(false);
    }
  });

  test('votes', () => {
    const result = (quorum: number[][], votes: Record<number, boolean>): string => voteResult(quorum, (id) => votes[id]);
    expect(result([[1, 2, 3]], { 1: true })).toBe('pending');
    expect(result([[1, 2, 3]], { 1: true, 2: true })).toBe('won');
    expect(result([[1, 2, 3]], { 1: true, 2: false })).toBe('pending');
    expect(result([[1, 2, 3]], { 1: true, 2: false, 3: false })).toBe('lost');
    expect(result([[1, 2]], { 1: true, 2: false })).toBe('lost');
    expect(result([[1, 2, 3], [3, 4, 5]], { 1: true, 2: true, 3: true })).toBe('pending');
    expect(result([[1, 2, 3], [3, 4, 5]], { 1: true, 2: true, 4: false, 5: false })).toBe('lost');
    expect(result([[1, 2, 3], [3, 4, 5]], { 1: true, 3: true, 4: true })).toBe('won');
  });
});

describe('log', () => {
  test('reads across the end of storage, bounded by bytes, one entry at least', () => {
    const log = new RaftLog(diskWith(entriesOf(1, 1)), 0);
    log.append([entry(3, 1), entry(4, 2)]);
    const indexes = (from: number, to: number, bytes: number): number[] => log.entries(from, to, bytes).map((e) => e.index);
    expect(indexes(1, 4, Infinity)).toEqual([1, 2, 3, 4]);
    expect(indexes(1, 4, 0)).toEqual([1]);
    expect(indexes(2, 4, 80)).toEqual([2, 3]);
    expect(indexes(3, 4, 0)).toEqual([3]);
    expect(log.lastTerm).toBe(2);
    expect(log.term(5)).toBeUndefined();
    expect(() => log.entries(4, 5, 0)).toThrow('not in the log');
  });

  test('replaces a tail, in storage too, and never what is committed', () => {
    const log = new RaftLog(diskWith(entriesOf(1, 1, 1)), 1);
    log.append([entry(4, 1), entry(5, 1)]);
    log.append([entry(5, 2)]);
    expect(log.lastIndex).toBe(5);
    log.append([entry(2, 3)]);
    expect([log.lastIndex, log.lastTerm, log.persistedIndex]).toEqual([2, 3, 1]);
    expect(() => log.append([entry(1, 4)])).toThrow('committed');
    expect(() => log.append([entry(4, 4)])).toThrow('gap');
  });

  test('commit never goes back and never beyond the end', () => {
    const log = new RaftLog(diskWith(entriesOf(1, 1, 1)), 2);
    expect(log.commitTo(1)).toBe(false);
    expect(log.commit).toBe(2);
    expect(() => log.commitTo(4)).toThrow('beyond');
    expect(() => new RaftLog(diskWith(entriesOf(1)), 2)).toThrow('beyond');
  });

  test('keeps the last time, through truncation and a restart', () => {
    const disk = diskWith([entry(1, 1, 'a', 500)]);
    const log = new RaftLog(disk, 0);
    expect(log.lastTimeMs).toBe(500);
    log.append([entry(2, 1, 'b', 900)]);
    expect(log.lastTimeMs).toBe(900);
    log.append([entry(2, 2, 'c', 700)]);
    expect(log.lastTimeMs).toBe(700);
  });

  test('persisted: each write for itself, or several with the last', () => {
    const log = new RaftLog(diskWith([]), 0);
    for (const index of [1, 2, 3]) {
      log.append([entry(index, 1)]);
      log.handOver();
    }
    expect(log.persisted(1, 1)).toBe(true);
    expect(log.persistedIndex).toBe(1);
    expect(log.persisted(1, 3)).toBe(true);
    expect(log.persistedIndex).toBe(3);
    expect(log.persisted(1, 3)).toBe(false);
    expect(log.persisted(9, 9)).toBe(false);
  });

  test('persisted: a write that was overtaken counts up to the truncation', () => {
    const log = new RaftLog(diskWith([]), 0);
    log.append(entriesOf(1, 1, 1));
    log.handOver();
    log.append([entry(3, 2)]);
    expect(log.persisted(1, 3)).toBe(true);
    expect(log.persistedIndex).toBe(2);
    expect(log.handOver().map((e) => e.index)).toEqual([3]);
    expect(log.persisted(2, 3)).toBe(true);
    expect(log.persistedIndex).toBe(3);
  });

  test('persisted: index and term that are the same again do not count for the first write (ABA)', () => {
    const log = new RaftLog(diskWith([]), 0);
    for (const term of [1, 2, 1]) {
      log.append([entry(1, term)]);
      log.handOver();
    }
    expect(log.persisted(1, 1)).toBe(false);
    expect(log.persistedIndex).toBe(0);
    expect(log.persisted(2, 1)).toBe(false);
    expect(log.persistedIndex).toBe(0);
    expect(log.persisted(1, 1)).toBe(true);
    expect(log.persistedIndex).toBe(1);
  });

  test('entries that were not handed over are not persisted by a write before them', () => {
    const log = new RaftLog(diskWith([]), 0);
    log.append([entry(1, 1)]);
    log.handOver();
    log.append([entry(2, 1)]);
    expect(log.persisted(1, 1)).toBe(true);
    expect(log.persistedIndex).toBe(1);
    expect(log.hasEntriesToHand).toBe(true);
  });

  test('findConflict and findConflictByTerm', () => {
    const log = new RaftLog(diskWith(entriesOf(1, 1, 1, 3, 3, 5, 5), 5), 0);
    expect(log.findConflict([entry(6, 5), entry(7, 5)])).toBe(-1);
    expect(log.findConflict([entry(7, 5), entry(8, 5)])).toBe(1);
    expect(log.findConflict([entry(4, 2), entry(5, 2)])).toBe(0);
    expect(log.findConflictByTerm(7, 5)).toEqual({ index: 7, term: 5 });
    expect(log.findConflictByTerm(7, 4)).toEqual({ index: 5, term: 3 });
    expect(log.findConflictByTerm(7, 2)).toEqual({ index: 3, term: 1 });
    expect(log.findConflictByTerm(2, 9)).toEqual({ index: 2, term: 1 });
    expect(log.findConflictByTerm(7, 0)).toEqual({ index: 0, term: 0 });
  });

  test('isUpToDate compares the last term, then the length', () => {
    const log = new RaftLog(diskWith(entriesOf(1, 2, 2), 2), 0);
    expect(log.isUpToDate(1, 3)).toBe(true);
    expect(log.isUpToDate(3, 2)).toBe(true);
    expect(log.isUpToDate(2, 2)).toBe(false);
    expect(log.isUpToDate(9, 1)).toBe(false);
  });
});

describe('progress', () => {
  const limits = { inflightBytesMax: 100, inflightMessagesMax: 3 };

  test('probe sends one append at a time', () => {
    const progress = new Progress(5, limits);
    progress.sent(2, 10);
    expect(progress.paused).toBe(true);
    expect(progress.next).toBe(5);
    progress.resume();
    expect(progress.paused).toBe(false);
  });

  test('replicate stops at the message and at the byte limit and goes on as answers come', () => {
    const progress = new Progress(1, limits);
    progress.becomeReplicate();
    for (const count of [1, 2, 3]) progress.sent(count, 10);
    expect([progress.next, progress.inflights.count, progress.paused]).toEqual([7, 3, true]);
    expect(progress.acknowledged(3)).toBe(true);
    progress.inflights.freeTo(3);
    expect([progress.inflights.count, progress.inflights.bytes, progress.paused]).toEqual([1, 10, false]);
    progress.sent(1, 95);
    expect(progress.paused).toBe(true);
    progress.inflights.freeTo(99);
    expect(progress.inflights.bytes).toBe(0);
  });

  test('old answers are no news', () => {
    const progress = new Progress(4, limits);
    expect(progress.refused(2, 0)).toBe(false);
    expect(progress.refused(3, 1)).toBe(true);
    expect(progress.next).toBe(2);
    progress.acknowledged(5);
    progress.becomeReplicate();
    expect(progress.acknowledged(4)).toBe(false);
    expect(progress.refused(5, 0)).toBe(false);
    expect(progress.match).toBe(5);
    progress.sent(3, 1);
    expect(progress.refused(7, 0)).toBe(true);
    expect(progress.next).toBe(6);
  });

  test('a refusal never takes next below match + 1, nor past what was refused', () => {
    const progress = new Progress(10, limits);
    progress.match = 4;
    expect(progress.refused(9, 0)).toBe(true);
    expect(progress.next).toBe(5);
    const other = new Progress(10, limits);
    expect(other.refused(9, 500)).toBe(true);
    expect(other.next).toBe(9);
  });

  test('commit is told as far as the follower can use it', () => {
    const progress = new Progress(1, limits);
    progress.acknowledged(5);
    expect(progress.wantsCommit(9)).toBe(false);
    progress.becomeReplicate();
    expect(progress.wantsCommit(9)).toBe(true);
    progress.sentCommit = 5;
    expect(progress.wantsCommit(9)).toBe(false);
    progress.acknowledged(6);
    expect(progress.wantsCommit(9)).toBe(true);
  });

  test('silence is patient with many bytes and with retries', () => {
    const rounds = (progress: Progress): number => {
      let count = 1;
      while (!progress.silent()) count++;
      return count;
    };
    const small = new Progress(1, { inflightBytesMax: 1000 * MiB, inflightMessagesMax: 256 });
    small.sent(1, 10);
    expect(Array.from({ length: 9 }, () => rounds(small))).toEqual([1, 2, 4, 8, 16, 32, 64, 64, 64]);
    small.spoke();
    expect(rounds(small)).toBe(1);
    const big = new Progress(1, { inflightBytesMax: 1000 * MiB, inflightMessagesMax: 256 });
    big.becomeReplicate();
    big.sent(1, 40 * MiB);
    expect(rounds(big)).toBe(11);
  });

  test('a reset forgets everything', () => {
    const progress = new Progress(1, limits);
    progress.acknowledged(7);
    progress.becomeReplicate();
    progress.sent(2, 50);
    progress.ackedRound = 4;
    progress.leaseFromMs = 100;
    progress.reset(12, 1, 6);
    expect(progress).toMatchObject({ match: 0, next: 12, state: 'probe', epoch: 1, ackedRound: 0, leaseFromMs: -Infinity });
    expect(progress.countedRoundMin).toBe(7);
    expect([progress.inflights.count, progress.paused]).toEqual([0, false]);
  });
});

describe('leadership', () => {
  test('uncommitted bytes', () => {
    const bytes = new UncommittedBytes();
    for (let index = 1; index <= 5_000; index++) bytes.add(index, 10);
    bytes.committed(4_000);
    expect(bytes.bytes).toBe(10_000);
    bytes.committed(3_000);
    bytes.committed(4_999);
    expect(bytes.bytes).toBe(10);
    bytes.add(5_001, 7);
    bytes.committed(9_999);
    expect(bytes.bytes).toBe(0);
  });

  test('a round that is forgotten has no send time', () => {
    const times = new RoundTimes();
    for (let round = 1; round <= 2_000; round++) times.set(round, round * 10);
    expect(times.sentMs(2_000)).toBe(20_000);
    expect(times.sentMs(977)).toBe(9_770);
    expect(times.sentMs(976)).toBe(-Infinity);
    expect(times.sentMs(2_001)).toBe(-Infinity);
  });
});

describe('reads', () => {
  test('a round confirms what was queued before it and nothing later', () => {
    const reads = new LeaderReads();
    reads.queue({ from: 1, context: 1, index: 5 });
    reads.roundStarts(1);
    reads.queue({ from: 1, context: 2, index: 6 });
    expect(reads.confirmed(1).map((read) => read.context)).toEqual([1]);
    expect(reads.confirmed(1)).toEqual([]);
    reads.roundStarts(2);
    reads.roundStarts(3);
    reads.queue({ from: 2, context: 3, index: 7 });
    reads.holdUntilCommit({ from: 3, context: 4 });
    expect(reads.takeAll().map((read) => read.context)).toEqual([2, 3, 4]);
    expect([reads.hasQueued, reads.roundUnderWay, reads.full]).toEqual([false, false, false]);
  });

  test('numbers of forwarded reads start anew after a restart, and each is answered once', () => {
    const prng = new Prng(7);
    const first = new ForwardedReads((bound) => prng.below(bound));
    const second = new ForwardedReads((bound) => prng.below(bound));
    const number = first.add(1);
    expect(Number.isSafeInteger(number)).toBe(true);
    expect(second.add(1)).not.toBe(number);
    expect(second.take(number)).toBeUndefined();
    expect(first.take(number)).toBe(1);
    expect(first.take(number)).toBeUndefined();
    first.add(2);
    expect(first.tick(2)).toEqual([]);
    first.add(3);
    expect(first.tick(2)).toEqual([2]);
    expect(first.takeAll()).toEqual([3]);
  });
});

describe('messages', () => {
  const append = (entries: readonly Entry[], logTerm = 1): ReturnType<typeof makeMessage> =>
    makeMessage(MessageType.append, 1, 2, 3, { index: 4, logTerm, entries });

  test('sound ones pass', () => {
    expect(messageFault(append([entry(5, 1), entry(6, 3)]))).toBeUndefined();
    expect(messageFault(makeMessage(MessageType.heartbeat, 1, 2, 3, {}))).toBeUndefined();
  });

  test.each([
    ['a gap', append([entry(6, 1)]), 'stands where'],
    ['a term that goes back', append([entry(5, 2), entry(6, 1)]), 'has term'],
    ['an entry of a later term than its leader', append([entry(5, 4)]), 'has term'],
    ['an entry before its predecessor', append([entry(5, 1)], 2), 'has term'],
    ['a predecessor of a later term', append([], 4), 'ahead of term'],
    ['an entry without a header', append([{ ...entry(5, 1), bytes: new Uint8Array(8) }]), 'shorter'],
    ['an entry that says otherwise', append([{ ...entry(5, 1), bytes: entry(5, 2).bytes }]), 'header'],
    ['entries in a heartbeat', makeMessage(MessageType.heartbeat, 1, 2, 3, { entries: [entry(1, 1)] }), 'carries none'],
    ['a fraction', makeMessage(MessageType.heartbeat, 1, 2, 3, { commit: 0.5 }), 'commit'],
  ])('%s', (_name, message, fault) => {
    expect(messageFault(message)).toContain(fault);
  });
});

function nodeOver(disk: SimDisk, id: number, voters: readonly number[], electionTicks: number): RaftNode {
  return new RaftNode({
    id,
    configurations: startOf(id, voters),
    storage: disk,
    electionTicks,
    heartbeatTicks: 1,
    tickMs: 100,
    leaseDriftMs: 10,
    appendBytesMax: 1000,
    inflightBytesMax: 1000,
    inflightMessagesMax: 10,
    uncommittedBytesMax: 1000,
    readConsistency: 'lease',
    restarted: true,
    rejoining: false,
    random: () => 0,
  });
}

describe('node', () => {
  function follower(entries: readonly Entry[], commit: number): { node: RaftNode; ready: () => Ready } {
    const disk = diskWith(entries, 3);
    disk.persist({ ...readyOf([]), hardState: { term: 3, vote: 0, commit } });
    const node = nodeOver(disk, 2, [1, 2, 3], 10);
    return { node, ready: () => node.ready() };
  }

  test('a snapshot of another log is no news and no reset, but an end', () => {
    const base = (index: number, term: number) => ({ index, term, timeMs: 0 });
    const { node } = follower(entriesOf(1, 1, 2, 2), 3);
    for (const [index, term] of [[2, 2], [3, 1], [90, 1]] as const) {
      expect(() => node.restored(base(index, term))).toThrow(/is of another log than this node's.*same cluster-id/);
    }
    expect([node.commit, node.lastIndex]).toEqual([3, 4]);
    node.restored(base(2, 1));
    expect([node.commit, node.lastIndex, node.base.index]).toEqual([3, 4, 0]);
    node.restored(base(90, 2));
    expect([node.commit, node.lastIndex, node.base.index]).toEqual([90, 90, 90]);
  });

  test('an append says no more about commit than it checks: a tail behind it may differ from the leader', () => {
    const { node } = follower(entriesOf(1, 1, 1, 2), 1);
    node.step(makeMessage(MessageType.append, 1, 2, 3, { index: 2, logTerm: 1, commit: 9 }), 0);
    expect(node.commit).toBe(2);
    node.step(makeMessage(MessageType.append, 1, 2, 3, { index: 2, logTerm: 1, commit: 9, entries: [entry(3, 1)] }), 0);
    expect(node.commit).toBe(3);
    expect(node.lastIndex).toBe(4);
  });

  test('entries that are there already truncate nothing', () => {
    const { node, ready } = follower(entriesOf(1, 1, 1, 2), 0);
    node.step(makeMessage(MessageType.append, 1, 2, 3, { index: 1, logTerm: 1, entries: [entry(2, 1)] }), 0);
    const { entries, messagesAfterPersist } = ready();
    expect(entries).toEqual([]);
    expect(node.lastIndex).toBe(4);
    expect(must(messagesAfterPersist[0])).toMatchObject({ index: 2, reject: false });
  });

  test('what would replace a committed entry ends the node, what is merely old does not', () => {
    const { node } = follower(entriesOf(1, 1, 1), 2);
    const append = (index: number, logTerm: number, entries: readonly Entry[] = []): void => {
      node.step(makeMessage(MessageType.append, 1, 2, 3, { index, logTerm, entries }), 0);
    };
    append(2, 1, [entry(3, 3)]);
    append(2, 1, [entry(3, 3)]);
    append(0, 0, [entry(1, 1), entry(2, 1), entry(3, 3)]);
    expect(node.entryTerm(3)).toBe(3);
    expect(() => append(1, 1, [entry(2, 2)])).toThrow('committed here is 2/1');
    expect(() => append(2, 3)).toThrow('committed here is 2/1');
    expect(() => append(1, 0)).toThrow('committed here is 1/1');
  });

  test('a commit alone is no write, and rides along with the next one', () => {
    const { node, ready } = follower(entriesOf(1, 1), 0);
    node.step(makeMessage(MessageType.append, 1, 2, 3, { index: 2, logTerm: 1, commit: 2 }), 0);
    const first = ready();
    expect(first.hardState).toBeUndefined();
    expect(first.commit).toBe(2);
    node.step(makeMessage(MessageType.append, 1, 2, 3, { index: 2, logTerm: 1, commit: 2, entries: [entry(3, 3)] }), 0);
    expect(ready().hardState).toEqual({ term: 3, vote: 0, commit: 2 });
    expect(node.hasReady()).toBe(false);
  });

  test('time is raised in the seal, never lowered, and the no-op repeats the last', () => {
    const disk = diskWith([entry(1, 1, 'a', 5_000)], 1);
    const node = nodeOver(disk, 1, [1], 3);
    expect(node.campaign()).toBe(true);
    for (const message of node.ready().messagesAfterPersist) node.step(message, 0);
    expect(node.lastTimeMs).toBe(5_000);
    expect(node.propose(textEntry('b', 100), 0)).toEqual({ ok: true, term: 2, index: 3 });
    expect(node.lastTimeMs).toBe(5_000);
    node.propose(textEntry('c', 6_000), 0);
    expect(node.lastTimeMs).toBe(6_000);
  });
});
