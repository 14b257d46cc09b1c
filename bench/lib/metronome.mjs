// Wakes every millisecond and writes each gap above 2 ms, `from to` in ms of the monotonic clock. Run on one CPU at real-time
// priority, nothing but the machine itself (a hypervisor that stops the CPU, a kernel that does not yield) makes it late.
import fs from 'node:fs';
import { nowMs } from './load.mjs';

const GAP_MS = 2;
const out = fs.openSync(process.argv[2], 'a');
const cell = new Int32Array(new SharedArrayBuffer(4));
let last = nowMs();
for (;;) {
  Atomics.wait(cell, 0, 0, 1);
  const now = nowMs();
  if (now - last > GAP_MS) fs.writeSync(out, `${last} ${now}\n`);
  last = now;
}
