// How much of the machine's CPUs this process gets beside others. Linux shares them out among sessions first where it groups tasks so
// (kernel.sched_autogroup_enabled), and by the priority of threads only within one, so a thread's own priority says nothing to
// the processes of other services. That of a session may be lowered and raised again to 0 without any right; a thread's may only be lowered.
//
// What must hold: only the session of this very process is touched, which it leads: not the shell that it was started from.
import fs from 'node:fs';

/** A third of what one of 0 gets where both want all. Far lower, and beside others that are never idle it gets nowhere. */
const LOWERED = 5;
/** Of /proc/self/stat, counted from the state, which follows the name: the session. */
const FIELD_SESSION = 3;

export class SessionPriority {
  readonly #proc: string;
  readonly #pid: number;
  /** What it was before it was lowered; undefined while it is not. */
  #before: number | undefined;

  /** Both are for tests. */
  constructor(proc = '/proc/self', pid = process.pid) {
    this.#proc = proc;
    this.#pid = pid;
  }

  /** Others go first from now on. False where the machine has no such thing. */
  lower(): boolean {
    const before = this.#leadsSession ? this.#nice : undefined;
    if (before === undefined || before < 0 || before >= LOWERED || !this.#set(LOWERED)) return false;
    this.#before = before;
    return true;
  }

  /** As it was. False where that has to be tried again. */
  restore(): boolean {
    if (this.#before !== undefined && this.#set(this.#before)) this.#before = undefined;
    return this.#before === undefined;
  }

  get #leadsSession(): boolean {
    try {
      const stat = fs.readFileSync(`${this.#proc}/stat`, 'latin1');
      return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[FIELD_SESSION]) === this.#pid;
    } catch {
      return false;
    }
  }

  /** As in "/autogroup-12 nice 0". */
  get #nice(): number | undefined {
    try {
      const text = / nice (-?\d+)\s*$/.exec(fs.readFileSync(`${this.#proc}/autogroup`, 'latin1'))?.[1];
      return text === undefined ? undefined : Number(text);
    } catch {
      return undefined;
    }
  }

  /** Refused where it comes too soon after another (a tenth of a second), and without such groups. */
  #set(nice: number): boolean {
    try {
      // Not made where it is not there.
      fs.writeFileSync(`${this.#proc}/autogroup`, String(nice), { flag: 'r+' });
      return true;
    } catch {
      return false;
    }
  }
}
