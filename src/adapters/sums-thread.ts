// ByteSums on a thread of their own (byte-sums-thread.ts is its entry point), for who has no time to add up what it reads. Owns
// the thread and a ring of shared memory, into whose free slots the bytes are copied.
//
// What must hold: a slot is written only while the thread does not have it.
import { Worker } from 'node:worker_threads';
import { assert, must } from '../base/assert.ts';
import { KiB } from '../base/limits.ts';
import type { ByteSums, Sums } from '../ports/byte-sums.ts';

const SLOT_BYTES = 256 * KiB;
/** As many as the caller fills while the thread starts. */
const SLOTS = 16;

export interface SumsThreadData {
  readonly ring: SharedArrayBuffer;
}
/** To the thread: bytes [from, to) of the ring are the next ones; undefined: that was all. */
export type SumsRequest = { readonly from: number; readonly to: number } | undefined;
/** From the thread: the oldest slot is free, or the sums. */
export type SumsAnswer = { readonly type: 'free' } | { readonly type: 'sums'; readonly sums: Sums };

export function startSumsThread(data: SumsThreadData): Worker {
  const entry = import.meta.url.endsWith('.ts') ? './byte-sums-thread.ts' : './byte-sums-thread.js';
  return new Worker(new URL(entry, import.meta.url), { workerData: data });
}

export class ThreadSums implements ByteSums {
  readonly #worker: Worker;
  readonly #shared = new SharedArrayBuffer(SLOTS * SLOT_BYTES);
  readonly #ring = new Uint8Array(this.#shared);
  /** Slots filled since the beginning, and given back: both in the order of the ring. */
  #filled = 0;
  #freed = 0;
  #sums: Sums | undefined;
  #failure: Error | undefined;
  #closed = false;
  /** Whoever waits for a free slot, or for the sums. */
  #wake: () => void = () => {};

  /** `start` is for tests. */
  constructor(start: (data: SumsThreadData) => Worker = startSumsThread) {
    this.#worker = start({ ring: this.#shared });
    this.#worker.on('message', (answer: SumsAnswer) => {
      if (answer.type === 'free') this.#freed++;
      else this.#sums = answer.sums;
      this.#wake();
    });
    this.#worker.on('error', (error) => this.#fail(error));
    this.#worker.on('exit', (code) => this.#fail(new Error(`the thread that adds up checksums ended with code ${code}`)));
  }

  async add(chunk: Uint8Array): Promise<void> {
    for (let at = 0; at < chunk.length; at += SLOT_BYTES) {
      await this.#until(() => this.#filled - this.#freed < SLOTS);
      const part = chunk.subarray(at, at + SLOT_BYTES);
      const from = (this.#filled++ % SLOTS) * SLOT_BYTES;
      this.#ring.set(part, from);
      this.#post({ from, to: from + part.length });
    }
  }

  async finish(): Promise<Sums> {
    this.#post(undefined);
    await this.#until(() => this.#sums !== undefined);
    return must(this.#sums);
  }

  close(): void {
    this.#closed = true;
    void this.#worker.terminate();
  }

  #post(request: SumsRequest): void {
    this.#worker.postMessage(request);
  }

  async #until(condition: () => boolean): Promise<void> {
    assert(!this.#closed, 'sums that are closed take nothing');
    while (!condition()) {
      if (this.#failure !== undefined) throw this.#failure;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#wake();
  }
}
