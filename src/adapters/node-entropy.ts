// The real Entropy: the system's generator, read 1 KiB at a time so that one number costs no system call.
import { randomFillSync } from 'node:crypto';
import type { Entropy } from '../ports/entropy.ts';

export class NodeEntropy implements Entropy {
  readonly #pool = new Uint32Array(256);
  /** Numbers of the pool handed out; each is handed out once. */
  #used = this.#pool.length;

  uint32(): number {
    if (this.#used === this.#pool.length) {
      randomFillSync(this.#pool);
      this.#used = 0;
    }
    return this.#pool[this.#used++] as number;
  }
}
