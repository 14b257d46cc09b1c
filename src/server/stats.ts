// Counters for INFO; all of this node only, all reset by CONFIG RESETSTAT.

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
    this.#samples.fill(0);
  }
}
