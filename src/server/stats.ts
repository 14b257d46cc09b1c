// Counters for INFO; all of this node only, all reset by CONFIG RESETSTAT.
import type { CommandSpec } from '../commands/spec.ts';

/** Above this many calls of a command only one in so many is timed, for so many. */
const TIMED_CALLS = 64;

/** What INFO commandstats says of one command. */
export class CommandStat {
  calls = 0;
  usec = 0;
  rejected = 0;
  failed = 0;

  /** True if the call that starts now is to be timed: clocks are not free. */
  get timesNext(): boolean {
    return this.calls < TIMED_CALLS || this.calls % TIMED_CALLS === 0;
  }

  /** A call is done. `elapsedMs` is negative where it was not timed. */
  count(elapsedMs: number, failed: boolean): void {
    if (elapsedMs >= 0) this.usec += elapsedMs * 1000 * (this.calls < TIMED_CALLS ? 1 : TIMED_CALLS);
    this.calls++;
    if (failed) this.failed++;
  }
}

export class Stats {
  connections = 0;
  rejectedConnections = 0;
  commands = 0;
  inputBytes = 0;
  outputBytes = 0;
  errors = 0;
  evictions = 0;
  /** Reads that met an expired key and had its deletion logged. */
  expiredReads = 0;
  /** First word of each error reply → how many. Bounded: error codes are ours. */
  readonly errorCodes = new Map<string, number>();
  readonly #byCommand = new Map<CommandSpec, CommandStat>();
  #samples: number[] = new Array<number>(16).fill(0);
  #sampleAt = 0;
  #commandsBefore = 0;

  countError(text: string): void {
    this.errors++;
    const space = text.indexOf(' ');
    const code = space < 0 ? text : text.slice(0, space);
    if (this.errorCodes.size < 128 || this.errorCodes.has(code)) {
      this.errorCodes.set(code, (this.errorCodes.get(code) ?? 0) + 1);
    }
  }

  ofCommand(spec: CommandSpec): CommandStat {
    let stat = this.#byCommand.get(spec);
    if (stat === undefined) this.#byCommand.set(spec, (stat = new CommandStat()));
    return stat;
  }

  get byCommand(): ReadonlyMap<CommandSpec, CommandStat> {
    return this.#byCommand;
  }

  /** Called ten times a second or so: keeps the rate of commands. */
  sample(elapsedMs: number): void {
    if (elapsedMs <= 0) return;
    this.#samples[this.#sampleAt] = ((this.commands - this.#commandsBefore) * 1000) / elapsedMs;
    this.#sampleAt = (this.#sampleAt + 1) % this.#samples.length;
    this.#commandsBefore = this.commands;
  }

  /** Commands a second over the last samples. */
  get commandsPerSecond(): number {
    return Math.round(this.#samples.reduce((sum, x) => sum + x, 0) / this.#samples.length);
  }

  reset(): void {
    this.connections = 0;
    this.rejectedConnections = 0;
    this.commands = 0;
    this.#commandsBefore = 0;
    this.inputBytes = 0;
    this.outputBytes = 0;
    this.errors = 0;
    this.evictions = 0;
    this.expiredReads = 0;
    this.errorCodes.clear();
    this.#byCommand.clear();
    this.#samples.fill(0);
  }
}
