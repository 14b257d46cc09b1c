// The two right ways to limit a rate over a sliding window with a sorted set of what was admitted (score: when), and the
// model that judges them by the admitted operations' own times.
//
// A client's clock is read before its transaction takes its place in the log, and across a failover that may be seconds
// before. So the plain recipe (remove what is older than now − window, count, add) lets too many through: an operation of
// an early time finds those of its window removed by one of a later time that overtook it. Right are
// - `guarded`: WATCH, then read; the time is never below the newest in the set, and EXEC fails if anything came between. So
//   times rise in the order of the log, and what is removed is in no later window.
// - `lenient`: nothing is removed until it is older than the window and a slack that no transaction is late by; what counts is
//   ZCOUNT from now − window on, and who is over the limit takes itself out again (`ZREM`, as often as it takes).
import type { Word } from './clients.ts';
import type { Driver } from './drivers.ts';

export interface Window {
  readonly key: string;
  readonly limit: number;
  readonly windowMs: number;
}

/** over: denied, and still to be taken out. */
export type Verdict = 'admitted' | 'denied' | 'over' | 'conflict';

export interface Decision {
  readonly verdict: Verdict;
  readonly atMs: number;
}

/** Called when the transaction is about to be sent: up to there a lost connection changes nothing. */
export type Sending = (atMs: number) => void;

export async function guarded(driver: Driver, { key, limit, windowMs }: Window, id: string, sending: Sending): Promise<Decision> {
  await driver.watch(key);
  const [newest] = await driver.zRange(key, -1, -1);
  const atMs = Math.max(Date.now(), newest?.[1] ?? 0);
  if ((await driver.zCount(key, String(atMs - windowMs), '+inf')) >= limit) {
    await driver.unwatch();
    return { verdict: 'denied', atMs };
  }
  sending(atMs);
  const replies = await driver.multi([
    ['ZREMRANGEBYSCORE', key, '-inf', `(${atMs - windowMs}`],
    ['ZCARD', key],
    ['ZADD', key, atMs, id],
    ['PEXPIRE', key, 2 * windowMs],
  ]);
  if (replies === null) return { verdict: 'conflict', atMs };
  const [, card, added, expires] = replies.map(Number);
  if (card === undefined || card >= limit || added !== 1 || expires !== 1) throw new Error(`${key}: WATCH let ${JSON.stringify(replies)} through`);
  return { verdict: 'admitted', atMs };
}

export const SLACK_MS = 60_000;

export async function lenient(driver: Driver, { key, limit, windowMs }: Window, id: string, sending: Sending): Promise<Decision> {
  const atMs = Date.now();
  sending(atMs);
  const commands: readonly (readonly Word[])[] = [
    ['ZREMRANGEBYSCORE', key, '-inf', `(${atMs - windowMs - SLACK_MS}`],
    ['ZCOUNT', key, atMs - windowMs, '+inf'],
    ['ZADD', key, atMs, id],
    ['PEXPIRE', key, windowMs + SLACK_MS],
  ];
  const replies = await driver.multi(commands);
  const [, count, added] = (replies ?? []).map(Number);
  if (count === undefined || added !== 1) throw new Error(`${key}: ${id} was answered ${JSON.stringify(replies)}`);
  return { verdict: count < limit ? 'admitted' : 'over', atMs };
}

/** The most that any window, both ends included, holds. */
export function mostInWindow(timesMs: readonly number[], windowMs: number): number {
  const sorted = [...timesMs].sort((a, b) => a - b);
  let most = 0;
  let from = 0;
  for (const [i, time] of sorted.entries()) {
    while (time - (sorted[from] ?? time) > windowMs) from++;
    most = Math.max(most, i - from + 1);
  }
  return most;
}
