// The harness's own load generator, for what redis-benchmark cannot do: dependent commands, exact percentiles, and the
// longest wait around one moment. Closed loop: each connection sends `pipeline` operations, waits for all replies, and
// goes on. One process for every peer alike; it takes a good part of a core, which lessens all differences.
import { Connection, integerAt } from './resp.mjs';

/** Milliseconds on the monotonic clock. */
export function nowMs() {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1000 + nanoseconds / 1e6;
}

/** xorshift32: the same choices for every peer. */
export class Random {
  #state;

  constructor(seed) {
    this.#state = seed >>> 0 || 1;
  }

  below(bound) {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x >>> 0;
    return this.#state % bound;
  }
}

/** As redis-benchmark writes __rand_int__. */
export const twelveDigits = (number) => String(number).padStart(12, '0');

/**
 * Runs a closed loop until `requests` operations are done or `stop.asked` is true.
 * `first(random)` is an operation's command as RESP; `second(n)`, if any, the command that follows from its integer reply.
 * `onDone(startMs, endMs)` hears of each round trip of `pipeline` operations.
 */
export async function closedLoop({ port, clients, pipeline = 1, requests = Infinity, stop = { asked: false }, first, second, onDone, seed = 1 }) {
  const connections = await Promise.all(Array.from({ length: clients }, () => Connection.open(port)));
  let left = requests;
  let done = 0;
  const startMs = nowMs();
  try {
    await Promise.all(
      connections.map(
        (connection, number) =>
          new Promise((resolve, reject) => {
            connection.onFailure = reject;
            const random = new Random(seed * 7919 + number + 1);
            run(connection, random, resolve, reject);
          }),
      ),
    );
  } finally {
    for (const connection of connections) connection.close();
  }
  const elapsedMs = nowMs() - startMs;
  return { done, elapsedMs, rps: (done * 1000) / elapsedMs };

  function run(connection, random, resolve, reject) {
    let waiting = 0;
    let size = 0;
    let sentMs = 0;
    let following = '';
    let isSecond = false;
    const begin = () => {
      size = Math.min(pipeline, left);
      if (size <= 0 || stop.asked) {
        resolve();
        return;
      }
      left -= size;
      waiting = size;
      isSecond = false;
      following = '';
      let batch = '';
      for (let i = 0; i < size; i++) batch += first(random);
      sentMs = nowMs();
      connection.send(batch);
    };
    connection.onReply = (bytes, at) => {
      if (second !== undefined && !isSecond) {
        // ':' – anything else says that the key or member is not there, and the figure would be of misses.
        if (bytes[at] !== 0x3a) {
          reject(new Error(`port ${port}: a dependent operation got no number: ${bytes.toString('latin1', at, at + 40)}`));
          return;
        }
        following += second(integerAt(bytes, at));
      }
      if (--waiting > 0) return;
      if (second !== undefined && !isSecond) {
        isSecond = true;
        waiting = size;
        connection.send(following);
        return;
      }
      done += size;
      onDone?.(sentMs, nowMs());
      begin();
    };
    begin();
  }
}

const SATURATION_WARM_UP_REQUESTS = 20_000;
const SATURATION_MS = 5000;

/** Commands a second of clients that each wait for their reply, once warm. */
export async function saturationOf({ port, clients, first }) {
  await closedLoop({ port, clients, requests: SATURATION_WARM_UP_REQUESTS, first });
  const stop = { asked: false };
  const timer = setTimeout(() => (stop.asked = true), SATURATION_MS);
  const { rps } = await closedLoop({ port, clients, stop, first });
  clearTimeout(timer);
  return rps;
}

/** Sends `count` commands, `command(i)` as RESP, in pipelines; resolves to the seconds it took. */
export async function load({ port, count, command, clients = 4, pipeline = 64 }) {
  let next = 0;
  const { elapsedMs } = await closedLoop({ port, clients, pipeline, requests: count, first: () => command(next++) });
  return elapsedMs / 1000;
}

/** The value that a share of all is not above; `sorted` ascending. */
export function percentile(sorted, share) {
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)] ?? 0;
}
