// The toucher of memory/page-runs.ts, on the thread pool: /dev/zero is read into it, so that the kernel finds the pages there and not under the engine.
// Where a hypervisor has taken back what the machine did not use, a huge page costs 4 ms of whoever touches it first
// (docs/decisions/0013).
import fs from 'node:fs';
import type { Logger } from '../ports/logger.ts';

const PATH = '/dev/zero';

export class ZeroReader {
  readonly #fd: number | undefined;
  readonly #logger: Logger;
  #hasFailed = false;

  constructor(logger: Logger, path = PATH) {
    this.#logger = logger;
    try {
      this.#fd = fs.openSync(path, 'r');
    } catch (error) {
      this.#fd = undefined;
      this.#failed(error);
    }
  }

  touch(bytes: Uint8Array, start: number, length: number, done: () => void): void {
    if (this.#fd === undefined) {
      setImmediate(done);
      return;
    }
    fs.read(this.#fd, bytes, start, length, null, (error) => {
      if (error !== null) this.#failed(error);
      done();
    });
  }

  #failed(error: unknown): void {
    if (this.#hasFailed) return;
    this.#hasFailed = true;
    this.#logger.warn({ error }, `memory cannot be had ahead of its use, because ${PATH} cannot be read: commands that need new memory may take some milliseconds longer`);
  }
}
