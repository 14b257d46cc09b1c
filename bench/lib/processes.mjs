// What Linux tells of processes and folders.
import fs from 'node:fs';
import path from 'node:path';

const TICKS_PER_SECOND = 100;
const TMPFS = 0x01021994;

/** Resident bytes of a process. */
export function residentBytes(pid) {
  const match = /^VmRSS:\s+(\d+) kB$/m.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'));
  if (match === null) throw new Error(`process ${pid} has no VmRSS`);
  return Number(match[1]) * 1024;
}

/** Fields of /proc/PID/stat from the third on: what stands before may have blanks in it. */
function statOf(pid) {
  const text = fs.readFileSync(`/proc/${pid}/stat`, 'latin1');
  return text.slice(text.lastIndexOf(')') + 2).split(' ');
}

/** Seconds of CPU that all threads of a process have used. */
export function cpuSeconds(pid) {
  const stat = statOf(pid);
  return (Number(stat[11]) + Number(stat[12])) / TICKS_PER_SECOND;
}

/** The priority of a process's session among others, 0 as usual and 19 the lowest; 0 as well where the machine knows no such thing. */
export function sessionNice(pid) {
  try {
    return Number(/nice (-?\d+)/.exec(fs.readFileSync(`/proc/${pid}/autogroup`, 'utf8'))?.[1] ?? 0);
  } catch {
    // No such thing, or it has ended.
    return 0;
  }
}

export function childrenOf(pid) {
  return fs.readdirSync('/proc').filter((name) => {
    try {
      return /^\d+$/.test(name) && Number(statOf(name)[1]) === pid;
    } catch {
      // It has ended since.
      return false;
    }
  }).map(Number);
}

export function kill(pid, signal) {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (error.code !== 'ESRCH') throw error;
  }
}

/** Of all files below a folder; one that goes away meanwhile counts nothing. */
export function folderBytes(folder) {
  let bytes = 0;
  for (const entry of fs.readdirSync(folder, { withFileTypes: true })) {
    const full = path.join(folder, entry.name);
    if (entry.isDirectory()) bytes += folderBytes(full);
    else bytes += fs.statSync(full, { throwIfNoEntry: false })?.size ?? 0;
  }
  return bytes;
}

export function freeBytes(folder) {
  const { bavail, bsize } = fs.statfsSync(folder);
  return bavail * bsize;
}

/** Throws where the folder is in memory, or its disk has not so much room. */
export function requireDisk(folder, bytes) {
  if (fs.statfsSync(folder).type === TMPFS) throw new Error(`${folder} is in memory, and what is measured is on a disk: set TMPDIR`);
  const free = freeBytes(folder);
  if (free < bytes) {
    throw new Error(`${folder} has ${(free / 1e9).toFixed(1)} GB free, and up to ${(bytes / 1e9).toFixed(1)} GB are needed: make room, set TMPDIR, or choose less with --keys`);
  }
}
