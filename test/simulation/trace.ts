// What happened, as text: the tail is kept for failure reports, and a hash of all of it shows whether two runs of one
// seed were the same run.

const TAIL_LINES = 400;

export class Trace {
  readonly #tail: string[] = [];
  #next = 0;
  #hash = 0x811c9dc5;
  lines = 0;

  add(nowMs: number, text: string): void {
    const line = `${nowMs.toFixed(3).padStart(11)} ${text}`;
    let hash = this.#hash;
    for (let i = 0; i < line.length; i++) hash = Math.imul(hash ^ line.charCodeAt(i), 0x01000193);
    this.#hash = hash;
    this.#tail[this.#next] = line;
    this.#next = (this.#next + 1) % TAIL_LINES;
    this.lines++;
  }

  get hash(): string {
    return (this.#hash >>> 0).toString(16).padStart(8, '0');
  }

  tail(lines = TAIL_LINES): string[] {
    const ordered = [...this.#tail.slice(this.#next), ...this.#tail.slice(0, this.#next)];
    return ordered.slice(-lines);
  }
}

/** What a checker throws: the cluster did what it must never do. */
export class Violation extends Error {
  readonly rule: string;

  constructor(rule: string, text: string) {
    super(`${rule}: ${text}`);
    this.name = 'Violation';
    this.rule = rule;
  }
}
