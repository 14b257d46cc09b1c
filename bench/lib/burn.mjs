// `node burn.mjs CORES SECONDS NICE [SESSION_NICE]`: uses so much of the processor, at this priority, for so long: what a process that takes a
// snapshot, say, costs others only by being busy. Prints the seconds of CPU that it got.
import fs from 'node:fs';
import os from 'node:os';
import { isMainThread, Worker, workerData } from 'node:worker_threads';

const SLICE_MS = 5;

function burn({ cores, endMs, startMs, usedBefore, cell }) {
  const numbers = new Float64Array(1 << 16);
  for (let nowMs = Date.now(), at = 0; nowMs < endMs; nowMs = Date.now()) {
    const { user, system } = process.cpuUsage();
    if ((user + system) / 1000 - usedBefore > cores * (nowMs - startMs)) {
      Atomics.wait(cell, 0, 0, SLICE_MS);
      continue;
    }
    for (const untilMs = nowMs + SLICE_MS; Date.now() < untilMs; ) {
      for (let i = 0; i < 1000; i++) numbers[(at = (at * 5 + 12345) & 0xffff)] += i;
    }
  }
}

if (!isMainThread) burn(workerData);
else {
  const [cores, seconds, nice, sessionNice] = process.argv.slice(2).map(Number);
  // A priority is a thread's own; those made later take over that of the one that makes them.
  for (const thread of fs.readdirSync('/proc/self/task').map(Number)) os.setPriority(thread, nice);
  if (sessionNice > 0) fs.writeFileSync('/proc/self/autogroup', String(sessionNice));
  const { user, system } = process.cpuUsage();
  const startMs = Date.now();
  const data = { cores, startMs, endMs: startMs + seconds * 1000, usedBefore: (user + system) / 1000, cell: new Int32Array(new SharedArrayBuffer(4)) };
  const workers = Array.from({ length: Math.ceil(cores) - 1 }, () => new Worker(new URL(import.meta.url), { workerData: data }));
  burn(data);
  await Promise.all(workers.map((worker) => new Promise((resolve) => worker.once('exit', resolve))));
  const after = process.cpuUsage();
  console.log(((after.user + after.system) / 1e6 - data.usedBefore / 1000).toFixed(2));
}
