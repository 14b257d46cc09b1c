import * as fs from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { SessionPriority } from '../../src/adapters/session-priority.ts';
import { tempDir } from './temp-dir.ts';

const PID = 4711;

/** As /proc has it, of a process with a name that is hard to read, in this session. */
function procOf(session: number, autogroup = true): string {
  const dir = tempDir();
  fs.writeFileSync(join(dir, 'stat'), `${PID} (a ) b) S 1 ${PID} ${session} 0 -1 4194304`);
  if (autogroup) fs.writeFileSync(join(dir, 'autogroup'), '');
  return dir;
}

describe('the priority of a session', () => {
  test('is lowered and raised again', () => {
    const proc = procOf(PID);
    const priority = new SessionPriority(proc, PID);
    expect(priority.restore()).toBe(true);
    expect(fs.readFileSync(join(proc, 'autogroup'), 'utf8')).toBe('');
    expect(priority.lower()).toBe(true);
    expect(fs.readFileSync(join(proc, 'autogroup'), 'utf8')).toBe('5');
    expect(priority.restore()).toBe(true);
    expect(fs.readFileSync(join(proc, 'autogroup'), 'utf8')).toMatch(/^0/);
  });

  test('is left alone where this process does not lead its session, or the machine has no such thing', () => {
    const shell = procOf(PID - 1);
    expect(new SessionPriority(shell, PID).lower()).toBe(false);
    expect(fs.readFileSync(join(shell, 'autogroup'), 'utf8')).toBe('');
    const other = procOf(PID, false);
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
