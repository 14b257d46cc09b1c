// The serving side of the log feed on manual time, with observers that are played: who gets what, when, and how much of the
// thread it takes.
import { describe, expect, test } from 'vitest';
import { MiB } from '../../src/base/limits.ts';
import { Prng } from '../../src/base/prng.ts';
import type { FeedAnswer, ObserverEvents, ObserverTransport } from '../../src/ports/observers.ts';
import { FEED_ANSWER_BYTES_MAX, FEED_GATHER_MS, FEED_SHARE, FEED_WAIT_MS, LogFeedServer } from '../../src/replica/log-feed.ts';
import { entryIndex } from '../../src/base/entry.ts';
import { MemoryFeedLog } from './feed-log.ts';
import { StepClock } from './step-clock.ts';

class Served implements ObserverTransport {
  readonly clock = new StepClock();
  readonly log = new MemoryFeedLog();
  readonly answers: { observer: number; atMs: number; indexes: number[]; answer: FeedAnswer }[] = [];
  readonly dropped: string[] = [];
  readonly server: LogFeedServer;
  events!: ObserverEvents;
  commit = 0;
  leadership = { leads: true, hasLeader: true };
  halted = false;
  /** What reading an answer takes. */
  readMs = 0;
  onAnswer: (observer: number, answer: FeedAnswer) => void = () => undefined;

  constructor() {
    const { log, clock } = this;
    const silent = (): void => undefined;
    this.server = new LogFeedServer({
      log: {
        get firstIndex() {
          return log.firstIndex;
        },
        lend: (from, to, bytesMax) => {
          clock.nowMs += this.readMs;
          return log.lend(from, to, bytesMax);
        },
      },
      observers: this,
      link: { send: silent, onMessage: silent },
      clock,
      logger: { debug: silent, info: silent, warn: silent, error: silent },
      commit: () => this.commit,
      leadership: () => this.leadership,
      isHalted: () => this.halted,
    });
    this.server.start();
  }

  observe(events: ObserverEvents): void {
    this.events = events;
  }
  answer(observer: number, answer: FeedAnswer): void {
    this.answers.push({ observer, atMs: this.clock.nowMs, indexes: answer.entries.map(entryIndex), answer });
    this.onAnswer(observer, answer);
  }
  answerPiece(): void {
    expect.unreachable();
  }
  dropObserver(observer: number, reason: string): void {
    this.dropped.push(`${observer} ${reason}`);
    this.events.gone(observer);
  }
  commitTo(index: number): void {
    this.commit = index;
    this.server.committed();
  }
}

describe('the serving side of a log feed', () => {
  test('entries are lent until the observer asks for something else, and for good to one that goes', () => {
    const node = new Served();
    node.log.grow(4);
    for (const observer of [1, 2, 3]) {
      node.commit = observer;
      node.events.fetch(observer, observer);
      node.clock.pass(1);
    }
    expect([...node.log.lent]).toEqual(['1', '2', '3']);
    node.events.fetch(1, 2);
    node.events.piece(2, { manifestKey: 'k', manifestSha256: '0'.repeat(64), part: 'data', from: 0, bytesMax: 1 });
    node.events.gone(3);
    expect([...node.log.lent]).toEqual(['3']);
  });

  test('gives committed entries only, and new ones as they are committed', () => {
    const node = new Served();
    node.log.grow(5);
    node.commit = 3;
    node.events.fetch(1, 1);
    node.clock.pass(1);
    expect(node.answers).toMatchObject([{ observer: 1, indexes: [1, 2, 3], answer: { commitIndex: 3, firstIndex: 1, leads: true, hasLeader: true } }]);
    node.events.fetch(1, 4);
    node.clock.pass(FEED_GATHER_MS * 2);
    expect(node.answers).toHaveLength(1);
    node.commitTo(4);
    node.clock.pass(1);
    expect(node.answers.at(-1)).toMatchObject({ indexes: [4] });
  });

  test('what is committed in small pieces gathers for a moment, once the end was reached', () => {
    const node = new Served();
    node.log.grow(1000);
    node.onAnswer = (observer, { entries }) => node.events.fetch(observer, entryIndex(entries.at(-1)!) + 1);
    node.commit = 1;
    node.events.fetch(1, 1);
    for (let index = 2; index <= 1000; index++) {
      node.commitTo(index);
      node.clock.pass(1);
    }
    node.clock.pass(FEED_GATHER_MS);
    expect(node.answers.flatMap(({ indexes }) => indexes)).toEqual(Array.from({ length: 1000 }, (_, i) => i + 1));
    expect(node.answers.length).toBeLessThanOrEqual(1000 / FEED_GATHER_MS + 2);
  });

  test('an answer has at most its bytes, but for an entry that is larger alone', () => {
    const node = new Served();
    node.log.grow(3, 400 * 1024).grow(1, 3 * MiB).grow(1);
    node.commit = 5;
    node.onAnswer = (observer, { entries }) => node.events.fetch(observer, entryIndex(entries.at(-1)!) + 1);
    node.events.fetch(1, 1);
    node.clock.pass(FEED_WAIT_MS / 2);
    expect(node.answers.map(({ indexes }) => indexes)).toEqual([[1, 2], [3], [4], [5]]);
    for (const { answer: { entries } } of node.answers) {
      if (entries.length > 1) expect(entries.reduce((sum, entry) => sum + entry.length, 0)).toBeLessThanOrEqual(FEED_ANSWER_BYTES_MAX);
    }
  });

  test('with nothing to give it answers after a while all the same, with how this node stands', () => {
    const node = new Served();
    node.leadership = { leads: false, hasLeader: false };
    node.events.fetch(1, 1);
    node.clock.pass(FEED_WAIT_MS - 1);
    expect(node.answers).toEqual([]);
    node.clock.pass(1);
    expect(node.answers).toMatchObject([{ indexes: [], answer: { commitIndex: 0, leads: false, hasLeader: false } }]);
    // One that is ahead of this node, a follower that lags, is not sent away.
    node.events.fetch(1, 900);
    node.clock.pass(FEED_WAIT_MS);
    expect(node.answers.at(-1)).toMatchObject({ indexes: [], answer: { commitIndex: 0 } });
  });

  test('what the log has lost is said at once, and nothing is read for it', () => {
    const node = new Served();
    node.log.grow(9).firstIndex = 5;
    node.commit = 9;
    node.events.fetch(1, 4);
    node.clock.pass(1);
    expect(node.answers).toMatchObject([{ indexes: [], answer: { firstIndex: 5, commitIndex: 9 } }]);
    expect(node.log.reads).toBe(0);
    node.events.fetch(1, 5);
    node.clock.pass(FEED_GATHER_MS);
    expect(node.answers.at(-1)).toMatchObject({ indexes: [5, 6, 7, 8, 9] });
  });

  test('a log that is cut while an observer waits says so when it is looked at', () => {
    const node = new Served();
    node.log.grow(3);
    node.commit = 3;
    node.events.fetch(1, 4);
    node.clock.pass(10);
    node.log.grow(6).firstIndex = 8;
    node.commitTo(9);
    node.clock.pass(1);
    expect(node.answers).toMatchObject([{ indexes: [], answer: { firstIndex: 8 } }]);
  });

  test('many observers share what one may take of the thread, and none of them starves', () => {
    const seed = Math.floor(Math.random() * 2 ** 32);
    const random = new Prng(seed);
    const node = new Served();
    node.log.grow(4000, 1000);
    node.commit = 4000;
    node.readMs = 2;
    const next = new Map<number, number>();
    node.onAnswer = (observer, { entries }) => {
      // From the start again: nobody ever runs out.
      const from = entries.length === 0 ? 1 : (entryIndex(entries.at(-1)!) % 4000) + 1;
      next.set(observer, from);
      node.events.fetch(observer, from);
    };
    for (let observer = 1; observer <= 8; observer++) node.events.fetch(observer, random.between(1, 4000));
    const busy = (): number => node.log.reads * node.readMs;
    node.clock.pass(10_000);
    expect(busy() / 10_000, `seed ${seed}`).toBeLessThanOrEqual(FEED_SHARE + 0.01);
    expect(busy() / 10_000, `seed ${seed}`).toBeGreaterThan(FEED_SHARE / 2);
    const counts = [1, 2, 3, 4, 5, 6, 7, 8].map((observer) => node.answers.filter((one) => one.observer === observer).length);
    expect(Math.min(...counts) / Math.max(...counts), `seed ${seed}: ${counts.join(' ')}`).toBeGreaterThan(0.7);
  });

  test('a log that cannot be read sends the observer away, and the node goes on', () => {
    const node = new Served();
    node.log.grow(9).damagedIndex = 3;
    node.commit = 9;
    node.events.fetch(1, 1);
    node.events.fetch(2, 5);
    node.clock.pass(FEED_GATHER_MS);
    expect(node.dropped).toEqual(['1 the log cannot be read here']);
    expect(node.answers).toMatchObject([{ observer: 2, indexes: [5, 6, 7, 8, 9] }]);
  });

  test('one that goes is forgotten; a node that stops answers nothing', () => {
    const node = new Served();
    node.log.grow(1);
    node.events.fetch(1, 1);
    node.events.fetch(2, 1);
    node.events.gone(1);
    node.commitTo(1);
    node.clock.pass(1);
    expect(node.answers.map(({ observer }) => observer)).toEqual([2]);
    expect(node.events.admit()).toBeUndefined();
    node.halted = true;
    expect(node.events.admit()).toMatch(/stopping/);
    node.events.fetch(2, 1);
    node.clock.pass(FEED_WAIT_MS);
    expect(node.answers).toHaveLength(1);
  });
});
