// What of the log may go: nothing behind the published snapshot, nothing that is not on disk, and what connected followers need
// stays within its limit.
import { describe, expect, test } from 'vitest';
import { LOG_DISK_BYTES_MIN } from '../../src/base/limits.ts';
import type { RaftNode } from '../../src/raft/raft.ts';
import type { PeerStatus } from '../../src/raft/types.ts';
import type { CachedLog } from '../../src/replica/cached-log.ts';
import { LogKeeper } from '../../src/replica/log-keeper.ts';

const quiet = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
const peer = (id: number, match: number, more: Partial<PeerStatus> = {}): PeerStatus => ({
  id, voter: true, match, next: match + 1, state: 'replicate', pendingSnapshot: 0, muted: false, recentActive: true, ...more,
});

/** A log of [1, 1000], each entry of one byte. */
function make(options: { peers?: PeerStatus[]; connected?: number[]; persisted?: number; keep?: number; keepMax?: number; diskMax?: number }) {
  const cuts: number[] = [];
  const offers: number[] = [];
  const lines: string[] = [];
  const note = (fields: object, message: string): void => void lines.push(`${message} ${JSON.stringify(fields)}`);
  const state = { base: 0, last: 1000, peers: options.peers ?? [], persisted: options.persisted ?? 1000, connected: options.connected ?? [2, 3] };
  const keeper = new LogKeeper({
    log: {
      get base() {
        return { index: state.base, term: 1, timeMs: 0 };
      },
      get firstIndex() {
        return state.base + 1;
      },
      get lastIndex() {
        return state.last;
      },
      term: (index: number) => (index < state.base || index > state.last ? undefined : 1),
      cut: (to: number) => {
        cuts.push(to);
        state.base = to;
      },
      cutKeeping: (bytes: number) => Math.max(state.base, state.last - bytes),
      behind: (index: number) => state.last - index,
    } as unknown as CachedLog,
    raft: {
      status: () => ({ peers: state.peers, persistedIndex: state.persisted }),
      offerSnapshot: ({ index }: { index: number }) => offers.push(index),
    } as unknown as RaftNode,
    logger: { ...quiet, warn: note, error: note },
    isConnected: (id) => state.connected.includes(id),
    keepBytes: options.keep ?? 100,
    keepBytesMax: options.keepMax ?? 400,
    memberName: (id) => `n${id}`,
    diskBytesMax: () => options.diskMax ?? 0,
  });
  const published = (index: number, term = 1): void => keeper.published({ index, term, reference: new Uint8Array(1) });
  const look = (): void => {
    for (let i = 0; i < 20; i++) keeper.tick();
  };
  return { cuts, offers, state, lines, published, look, keeper };
}

describe('the log is cut', () => {
  test('not without a published snapshot, and never beyond the newest', () => {
    const { cuts, offers, published, look } = make({});
    look();
    expect(cuts).toEqual([]);
    published(500);
    published(400);
    look();
    expect(cuts).toEqual([500]);
    expect(offers).toEqual([500]);
    published(950);
    expect(cuts).toEqual([500, 900]);
  });

  test('not beyond what is on this disk', () => {
    const { cuts, state, published, look } = make({ persisted: 300 });
    published(500);
    expect(cuts).toEqual([300]);
    state.persisted = 1000;
    look();
    expect(cuts).toEqual([300, 500]);
  });

  test('not beyond what a connected follower needs, up to a limit', () => {
    const { cuts, state, published, look } = make({ peers: [peer(2, 700), peer(3, 990)] });
    published(950);
    expect(cuts).toEqual([700]);
    state.peers = [peer(2, 990), peer(3, 990)];
    look();
    expect(cuts).toEqual([700, 900]);
    const far = make({ peers: [peer(2, 10), peer(3, 990)] });
    far.published(950);
    expect(far.cuts).toEqual([600]);
  });

  test('to within half of the limit on disk, where more than that was to be kept: else a full log would stay full', () => {
    const { cuts, published } = make({ peers: [peer(2, 10)], keep: 900, keepMax: 900, diskMax: LOG_DISK_BYTES_MIN + 600 });
    published(950);
    expect(cuts).toEqual([700]);
    const least = make({ keep: 900, keepMax: 900, diskMax: LOG_DISK_BYTES_MIN });
    least.published(950);
    expect(least.cuts).toEqual([950]);
  });

  test('as if there were none, where a follower is not connected or not known', () => {
    const away = make({ peers: [peer(2, 10)], connected: [3] });
    away.published(950);
    expect(away.cuts).toEqual([900]);
    const following = make({ peers: [peer(2, 0, { state: 'unknown' })] });
    following.published(950);
    expect(following.cuts).toEqual([900]);
  });

  test('with what stands behind the snapshot that a follower restores kept for it', () => {
    const { cuts, published } = make({ peers: [peer(2, 10, { state: 'snapshot', pendingSnapshot: 750 })] });
    published(950);
    expect(cuts).toEqual([750]);
  });

  test('not behind a snapshot of another log', () => {
    const { cuts, offers, lines, published } = make({});
    published(500, 2);
    expect([cuts, offers]).toEqual([[], []]);
    expect(lines.join()).toMatch(/not of this log.*"index":500,"term":2,"own":1/);
    published(600);
    expect(cuts).toEqual([600]);
  });
});

test('a log that grows is told of each time that it has doubled, and anew once it was cut', () => {
  const { lines, state, published, look } = make({ keepMax: 400 });
  const told = (): number => lines.splice(0).filter((line) => line.startsWith('the log grows')).length;
  state.last = 800;
  look();
  expect(told()).toBe(0);
  state.last = 801;
  look();
  look();
  expect(told()).toBe(1);
  state.last = 7000;
  for (let i = 0; i < 5; i++) look();
  expect(told()).toBe(3);
  state.persisted = 7000;
  published(6950);
  look();
  expect([state.base, told()]).toEqual([6900, 0]);
  state.last = 8000;
  look();
  expect(told()).toBe(1);
});

describe('what a follower needs that starts from a snapshot', () => {
  const loading = (at: number): PeerStatus => peer(2, 10, { state: 'snapshot', pendingSnapshot: at });
  const grown = (state: { last: number; persisted: number }, last: number): void => void Object.assign(state, { last, persisted: last });

  test('is kept while it loads and until it has caught up, however much that is, and then no longer', () => {
    const { state, published, look } = make({ peers: [loading(900), peer(3, 1000)] });
    published(900);
    grown(state, 3000);
    published(2900);
    look();
    expect(state.base).toBe(900);
    // It is there, and far behind: what it asks for next is there as well.
    state.peers = [peer(2, 900), peer(3, 3000)];
    look();
    expect(state.base).toBe(900);
    state.peers = [peer(2, 2000), peer(3, 3000)];
    look();
    expect(state.base).toBe(2000);
    // Near the end it is a follower like others: slow again, it is left behind.
    state.peers = [peer(2, 2800), peer(3, 3000)];
    look();
    expect(state.base).toBe(2800);
    grown(state, 4000);
    state.peers = [peer(2, 2800), peer(3, 4000)];
    published(3900);
    expect(state.base).toBe(3600);
  });

  test('is kept up to a bound: eight times as much as for others, or half of the limit on disk', () => {
    for (const [diskMax, kept] of [[0, 3200], [LOG_DISK_BYTES_MIN + 10_000, 5000], [LOG_DISK_BYTES_MIN + 200, 100]] as const) {
      const { state, published } = make({ peers: [loading(900), peer(3, 1000)], diskMax });
      published(900);
      grown(state, 9000);
      published(8900);
      expect(state.base).toBe(9000 - kept);
    }
  });

  test('is not kept for one that could not use it, or is gone', () => {
    const failed = make({ peers: [loading(900)] });
    failed.published(900);
    failed.state.peers = [loading(0)];
    grown(failed.state, 3000);
    failed.published(2900);
    expect(failed.state.base).toBe(2600);
    const gone = make({ peers: [loading(900)] });
    gone.published(900);
    gone.state.connected = [3];
    grown(gone.state, 3000);
    gone.published(2900);
    expect(gone.state.base).toBe(2900);
  });
});

test('it says what the log waits for', () => {
  const { state, published, keeper } = make({ peers: [peer(2, 700), peer(3, 990)] });
  expect(keeper.held()).toEqual({ heldBy: 0, heldAt: 0, heldEntries: 1000, heldBytes: 1000 });
  published(950);
  expect(keeper.held()).toEqual({ heldBy: 2, heldAt: 700, heldEntries: 300, heldBytes: 300 });
  state.peers = [peer(2, 990), peer(3, 990)];
  expect(keeper.held()).toEqual({ heldBy: 0, heldAt: 950, heldEntries: 50, heldBytes: 50 });
});
