import * as fs from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { SessionPriority } from '../../src/adapters/session-priority.ts';
import { tempDir } from './temp-dir.ts';

const PID = 4711;

/** As /proc has it, of a process with a name that is hard to read, in this session. */
function procOf(session: number, autogroup = '/autogroup-12 nice 0\n'): string {
  const dir = tempDir();
  fs.writeFileSync(join(dir, 'stat'), `${PID} (a ) b) S 1 ${PID} ${session} 0 -1 4194304`);
  if (autogroup !== '') fs.writeFileSync(join(dir, 'autogroup'), autogroup);
  return dir;
}

describe('the priority of a session', () => {
  test.each([0, 4])('is lowered and raised again to %i, where it was', (before) => {
    const proc = procOf(PID, `/autogroup-12 nice ${before}\n`);
    const text = () => fs.readFileSync(join(proc, 'autogroup'), 'utf8');
    // The kernel takes a number and shows a line; this file is what was written last over it.
    const wrote = (nice: number) => expect(text().startsWith(String(nice))).toBe(true);
    const priority = new SessionPriority(proc, PID);
    expect(priority.restore()).toBe(true);
    expect(text()).toBe(`/autogroup-12 nice ${before}\n`);
    expect(priority.lower()).toBe(true);
    wrote(5);
    expect(priority.restore()).toBe(true);
    wrote(before);
    const raised = text();
    expect(priority.restore()).toBe(true);
    expect(text()).toBe(raised);
  });

  test('is left alone where this process does not lead its session, the machine has no such thing, it is as low, or could not be raised again', () => {
    const shell = procOf(PID - 1);
    const low = procOf(PID, '/autogroup-12 nice 7\n');
    const high = procOf(PID, '/autogroup-12 nice -3\n');
    for (const proc of [shell, low, high]) {
      const before = fs.readFileSync(join(proc, 'autogroup'), 'utf8');
      expect(new SessionPriority(proc, PID).lower()).toBe(false);
      expect(fs.readFileSync(join(proc, 'autogroup'), 'utf8')).toBe(before);
    }
    const other = procOf(PID, '');
    expect(new SessionPriority(other, PID).lower()).toBe(false);
    expect(fs.existsSync(join(other, 'autogroup'))).toBe(false);
    expect(new SessionPriority(join(other, 'none'), PID).lower()).toBe(false);
  });

  test('raising that is refused is said, and tried again', () => {
    const proc = procOf(PID);
    const priority = new SessionPriority(proc, PID);
    priority.lower();
    fs.renameSync(join(proc, 'autogroup'), join(proc, 'away'));
    expect(priority.restore()).toBe(false);
    fs.renameSync(join(proc, 'away'), join(proc, 'autogroup'));
    expect(priority.restore()).toBe(true);
  });
});
