// One `holdfast serve` as a real process: started, killed, stopped, and what it logged. Owns the process and nothing else;
// its directory and its ports are the cluster's.
import { spawn, type ChildProcess } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { RespClient } from './resp.ts';
import { until, within } from './until.ts';

const root = fileURLToPath(new URL('../../..', import.meta.url));
export const MAIN = path.resolve(root, process.env['HOLDFAST_DIST'] ?? 'dist', 'cli/main.js');

const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** Any command of the holdfast binary, with all that it says. */
export class HoldfastProcess {
  readonly child: ChildProcess;
  readonly exited: Promise<Exit>;
  exit: Exit | undefined;
  output = '';

  constructor(args: readonly string[], options: { cwd?: string; detached?: boolean } = {}) {
    this.child = spawn(process.execPath, [MAIN, ...args], { stdio: ['ignore', 'pipe', 'pipe'], ...options });
    running.add(this.child);
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.setEncoding('utf8');
      stream?.on('data', (text: string) => (this.output += text));
    }
    this.exited = new Promise((resolve) => {
      this.child.on('close', (code, signal) => {
        running.delete(this.child);
        this.exit = { code, signal };
        resolve(this.exit);
      });
    });
  }

  get pid(): number {
    return this.child.pid ?? -1;
  }

  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** Waits until the output, from `from` on, matches. */
  async says(pattern: RegExp, options: { timeoutMs?: number; from?: number } = {}): Promise<string> {
    return until(
      `${String(pattern)} in the output:\n${this.output.slice(-2000)}`,
      () => pattern.exec(this.output.slice(options.from ?? 0))?.[0],
      { timeoutMs: options.timeoutMs ?? 15_000 },
    );
  }
}

/** Runs a command to its end. */
export async function runHoldfast(args: readonly string[], timeoutMs = 20_000): Promise<{ exit: Exit; output: string }> {
  const run = new HoldfastProcess(args);
  try {
    const exit = await within(`holdfast ${args.join(' ')} to end; so far:\n${run.output}`, timeoutMs, run.exited);
    return { exit, output: run.output };
  } finally {
    run.kill('SIGKILL');
  }
}

export interface NodeSpec {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly peerPort: number;
  readonly dir: string;
  readonly directives: readonly string[];
}

export type RaftInfo = ReadonlyMap<string, string>;

export class TestNode {
  readonly name: string;
  readonly port: number;
  readonly peerPort: number;
  readonly dir: string;
  readonly #spec: NodeSpec;
  readonly password: string | undefined;
  process: HoldfastProcess | undefined;
  /** Started as a service is. */
  inOwnSession = false;
  /** Everything logged by earlier processes of this node. */
  #earlier = '';

  constructor(spec: NodeSpec) {
    this.#spec = spec;
    this.name = spec.name;
    this.port = spec.port;
    this.peerPort = spec.peerPort;
    this.dir = spec.dir;
    const at = spec.directives.indexOf('--requirepass');
    this.password = at < 0 ? undefined : spec.directives[at + 1];
  }

  get directives(): readonly string[] {
    return this.#spec.directives;
  }

  async init(...more: readonly string[]): Promise<void> {
    const { exit, output } = await runHoldfast(['init', ...this.#spec.directives, ...more]);
    if (exit.code !== 0) throw new Error(`holdfast init of ${this.name} ended with ${exit.code}: ${output}`);
  }

  start(...more: readonly string[]): HoldfastProcess {
    if (this.alive) throw new Error(`${this.name} is running`);
    if (this.process !== undefined) this.#earlier += this.process.output;
    this.process = new HoldfastProcess(['serve', ...this.#spec.directives, ...more], { detached: this.inOwnSession });
    return this.process;
  }

  get alive(): boolean {
    return this.process !== undefined && this.process.exit === undefined;
  }

  get output(): string {
    return this.#earlier + (this.process?.output ?? '');
  }

  get running(): HoldfastProcess {
    if (this.process === undefined) throw new Error(`${this.name} was never started`);
    return this.process;
  }

  /** kill -9, and waits for the end. */
  async kill9(): Promise<void> {
    this.process?.kill('SIGKILL');
    await this.process?.exited;
  }

  /** The clean stop. */
  async stop(timeoutMs = 15_000): Promise<Exit> {
    this.running.kill('SIGTERM');
    return within(`${this.name} to stop; its log ends:\n${this.output.slice(-1500)}`, timeoutMs, this.running.exited);
  }

  async connect(): Promise<RespClient> {
    const client = await RespClient.connect(this.port);
    if (this.password !== undefined) await client.ask('AUTH', this.password);
    return client;
  }

  async withClient<T>(use: (client: RespClient) => Promise<T>): Promise<T> {
    const client = await this.connect();
    try {
      return await use(client);
    } finally {
      client.close();
    }
  }

  /** One command on a connection of its own; an error reply throws. */
  async ask(...words: readonly (string | number)[]): Promise<unknown> {
    return this.withClient((client) => client.ask(...words));
  }

  /** True once a linearizable read is answered: there is a leader, and this node has caught up. */
  async isReady(): Promise<boolean> {
    if (!this.alive) throw new Error(`${this.name} ended (${JSON.stringify(this.process?.exit)}); its log ends:\n${this.output.slice(-1500)}`);
    return this.withClient(async (client) => typeof (await within('an answer to DBSIZE', 2500, client.send('DBSIZE'))) === 'number');
  }

  async waitReady(timeoutMs = 30_000): Promise<void> {
    await until(`${this.name} to be ready`, () => this.isReady(), { timeoutMs, everyMs: 15 });
  }

  async info(section = 'raft'): Promise<RaftInfo> {
    const text = String(await this.ask('INFO', section));
    return new Map([...text.matchAll(/^([^:#\r\n]+):([^\r\n]*)/gm)].map((match) => [match[1] ?? '', match[2] ?? '']));
  }

  async appliedIndex(): Promise<number> {
    return Number((await this.info()).get('raft_applied_index'));
  }

  rssKb(): number {
    const status = fs.readFileSync(`/proc/${this.running.pid}/status`, 'utf8');
    return Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]);
  }
}
