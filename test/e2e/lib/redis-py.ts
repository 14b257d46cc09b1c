// The Python process that drives redis-py (redis_py_driver.py), and what its exceptions mean for a command's outcome.
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Outcome } from './load.ts';

const SCRIPT = fileURLToPath(new URL('redis_py_driver.py', import.meta.url));

let python: string | undefined;

/** A Python that has redis-py. */
export function findPython(): string | undefined {
  return (python ??= ['/usr/bin/python3', 'python3'].find((candidate) => spawnSync(candidate, ['-c', 'import redis']).status === 0));
}

const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

export class PythonError extends Error {
  /** The name of redis-py's exception. */
  readonly kind: string;

  constructor(kind: string, text: string) {
    super(`${kind}: ${text}`);
    this.kind = kind;
  }

  get isOfConnection(): boolean {
    return this.kind === 'ConnectionError' || this.kind === 'TimeoutError' || this.kind === 'WatchError';
  }

  get outcome(): Exclude<Outcome, 'acked'> {
    switch (this.kind) {
      case 'ConnectionError':
      case 'TimeoutError':
        // Not connected: nothing was sent.
        return /connecting to/i.test(this.message) ? 'refused' : 'unknown';
      case 'WatchError':
        return 'unknown';
      // redis-py takes the code away from these.
      case 'BusyLoadingError':
      case 'ReadOnlyError':
      case 'ExecAbortError':
        return 'refused';
      case 'ResponseError':
        if (/UNCERTAIN /.test(this.message)) return 'unknown';
        if (/(CLUSTERDOWN|MISCONF|OOM|MOVED) /.test(this.message)) return 'refused';
    }
    throw this;
  }
}

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

interface Answer {
  readonly id: number;
  readonly value?: unknown;
  readonly error?: string;
  readonly kind?: string;
}

export class PythonProcess {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 1;
  #nextConnection = 1;
  #stderr = '';
  #ended = false;

  constructor() {
    const found = findPython();
    if (found === undefined) throw new Error('redis-py is not installed');
    this.#child = spawn(found, ['-u', SCRIPT], { stdio: ['pipe', 'pipe', 'pipe'] });
    running.add(this.#child);
    this.#child.stderr?.on('data', (text: Buffer) => (this.#stderr += text.toString()));
    this.#child.stdin?.on('error', () => undefined);
    if (this.#child.stdout !== null) createInterface({ input: this.#child.stdout }).on('line', (line) => this.#answer(line));
    this.#child.on('close', (code) => {
      running.delete(this.#child);
      this.#ended = true;
      for (const { reject } of this.#waiting.values()) reject(new Error(`the Python process ended with ${code}: ${this.#stderr.slice(-2000)}`));
      this.#waiting.clear();
    });
  }

  #answer(line: string): void {
    const { id, value, error, kind } = JSON.parse(line) as Answer;
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error === undefined) waiting?.resolve(value);
    else waiting?.reject(new PythonError(kind ?? '', error));
  }

  ask(request: Readonly<Record<string, unknown>>): Promise<unknown> {
    if (this.#ended) return Promise.reject(new Error(`the Python process has ended: ${this.#stderr.slice(-2000)}`));
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#child.stdin?.write(`${JSON.stringify({ ...request, id })}\n`);
    });
  }

  /** The number of a new connection, which has answered a PING. */
  async open(port: number): Promise<number> {
    const connection = this.#nextConnection++;
    try {
      await this.ask({ op: 'open', connection, port });
    } catch (thrown) {
      this.closeConnection(connection);
      throw thrown;
    }
    return connection;
  }

  closeConnection(connection: number): void {
    if (!this.#ended && connection > 0) this.#child.stdin?.write(`${JSON.stringify({ op: 'close', connection, id: 0 })}\n`);
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }
}
