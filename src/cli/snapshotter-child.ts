// The snapshotter beside a node: a process of its own, started again when it ends, with growing pauses where it ends soon.
// The pipe on its standard input ends with this process however that ends, and the snapshotter with it.
import { spawn, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Logger } from '../ports/logger.ts';
import { CHILD_VARIABLE } from './snapshotter.ts';

const PAUSE_MS_MIN = 1000;
const PAUSE_MS_MAX = 300_000;
/** One that ran for so long has earned a quick restart. */
const HEALTHY_MS = 300_000;

export class SnapshotterChild {
  readonly #args: readonly string[];
  readonly #logger: Logger;
  #child: ChildProcess | undefined;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;
  #failures = 0;

  /** `args`: file and directives of this node. */
  constructor(args: readonly string[], logger: Logger) {
    this.#args = args;
    this.#logger = logger;
  }

  start(): void {
    if (this.#stopped) return;
    const startedMs = performance.now();
    const main = fileURLToPath(new URL('./main.js', import.meta.url));
    const child = spawn(process.execPath, [main, 'snapshotter', ...this.#args], {
      stdio: ['pipe', 'inherit', 'inherit'],
      env: { ...process.env, [CHILD_VARIABLE]: String(process.pid) },
    });
    this.#child = child;
    child.stdin.on('error', () => {});
    let ended = false;
    const onEnd = (reason: string): void => {
      if (ended) return;
      ended = true;
      this.#child = undefined;
      if (this.#stopped) return;
      this.#failures = performance.now() - startedMs > HEALTHY_MS ? 1 : this.#failures + 1;
      const pauseMs = Math.min(PAUSE_MS_MAX, PAUSE_MS_MIN * 2 ** Math.min(this.#failures - 1, 20));
      this.#logger.warn({ reason, seconds: pauseMs / 1000 }, 'the snapshotter has ended; this node serves on, and starts it again');
      this.#timer = setTimeout(() => this.start(), pauseMs);
    };
    child.on('error', (error) => onEnd(error.message));
    child.on('exit', (code, signal) => onEnd(signal ?? `code ${code}`));
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#child?.kill('SIGTERM');
  }
}
