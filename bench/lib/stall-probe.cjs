// Required into a server under test (NODE_OPTIONS): every thread's timer of 5 ms notes each round that came late, with what
// the kernel says of it: on which CPU the thread was last, and how long it queued for one. Lines of JSON into the file that
// HOLDFAST_STALL_PROBE names; times of the monotonic clock, ms. What a round took above its 5 ms is its stall.
const fs = require('node:fs');
const { threadId } = require('node:worker_threads');

const EVERY_MS = 5;
const NOTED_MS = 8;
const NS_PER_MS = 1e6;
/** Of /proc/…/stat, counted from the state, which follows the name. */
const FIELD_PROCESSOR = 36;

const file = process.env.HOLDFAST_STALL_PROBE;
if (file !== undefined) {
  const out = fs.openSync(file, 'a');
  const scheduled = fs.openSync('/proc/thread-self/schedstat');
  const stat = fs.openSync('/proc/thread-self/stat');
  const buffer = Buffer.alloc(1024);
  const nowMs = () => {
    const [seconds, nanoseconds] = process.hrtime();
    return seconds * 1000 + nanoseconds / NS_PER_MS;
  };
  const look = () => {
    const text = buffer.latin1Slice(0, fs.readSync(scheduled, buffer, 0, buffer.length, 0));
    return { atMs: nowMs(), queuedMs: text.split(' ', 2)[1] / NS_PER_MS };
  };
  const processor = () => {
    const text = buffer.latin1Slice(0, fs.readSync(stat, buffer, 0, buffer.length, 0));
    return Number(text.slice(text.lastIndexOf(')') + 2).split(' ')[FIELD_PROCESSOR]);
  };
  let last = look();
  setInterval(() => {
    const now = look();
    const wallMs = now.atMs - last.atMs;
    if (wallMs > EVERY_MS + NOTED_MS) {
      const round = { pid: process.pid, threadId, processor: processor(), fromMs: last.atMs, toMs: now.atMs, queuedMs: now.queuedMs - last.queuedMs };
      fs.writeSync(out, `${JSON.stringify(round)}\n`);
    }
    last = now;
  }, EVERY_MS).unref();
}
