// What Linux tells of a thread's waiting for a CPU: the second number of /proc/…/schedstat, in ns.
import fs from 'node:fs';

const NS_PER_MS = 1e6;
const TEXT_BYTES_MAX = 64;

/** For the calling thread: how long it has queued for a CPU, ever, ms. undefined where the machine does not tell. */
export function watchQueueing(path = '/proc/thread-self/schedstat'): (() => number) | undefined {
  let fd: number;
  try {
    // It stays open, as long as the process lives: the name is whoever's who opens it.
    fd = fs.openSync(path, 'r');
  } catch {
    return undefined;
  }
  const buffer = Buffer.alloc(TEXT_BYTES_MAX);
  return () => Number(buffer.toString('latin1', 0, fs.readSync(fd, buffer, 0, buffer.length, 0)).split(' ', 2)[1]) / NS_PER_MS;
}
