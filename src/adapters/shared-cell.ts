// The cell that consensus writes and the engine reads, over a SharedArrayBuffer of 32-bit words:
//
//   word  0       version: counts publications, modulo 2^32
//   word  1       (unused)
//   words 2–9     slot 0      each slot: lease until (float64, 2 words), term (2), commit (2), leader id, self is leader
//   words 10–17   slot 1
//
// A publication goes into the slot that is not current, (version + 1) & 1, and then moves the version on. A reader takes
// the version, reads the slot `version & 1`, and takes the version again: if it has not moved, the writer has touched at
// most the other slot. So a writer that is stalled half-way never holds a reader up, as it would with one slot.
// Every access is an Atomics operation, hence sequentially consistent: with plain loads a weakly ordered processor may
// move them past the second reading of the version.
//
// One writer only. Hot: indexes typed arrays directly.
import { assert } from '../base/assert.ts';
import type { LeaseCellReader, LeaseCellWriter } from '../ports/lease-cell.ts';

const SLOT_WORDS = 8;
const SLOTS_AT = 2;
const WORDS = SLOTS_AT + 2 * SLOT_WORDS;
const TWO_32 = 0x1_0000_0000;

/** An empty cell, to be given to both threads. */
export function createSharedCell(): SharedArrayBuffer {
  return new SharedArrayBuffer(WORDS * 4);
}

export class SharedCellWriter implements LeaseCellWriter {
  readonly #words: Int32Array;
  readonly #double = new Float64Array(1);
  readonly #doubleWords = new Int32Array(this.#double.buffer);

  constructor(cell: SharedArrayBuffer) {
    assert(cell.byteLength === WORDS * 4, 'the shared cell has its size');
    this.#words = new Int32Array(cell);
  }

  publish(leaseUntilMs: number, term: number, commit: number, leaderId: number, selfIsLeader: boolean): void {
    const words = this.#words;
    const version = (Atomics.load(words, 0) + 1) | 0;
    const at = SLOTS_AT + (version & 1) * SLOT_WORDS;
    this.#double[0] = leaseUntilMs;
    Atomics.store(words, at, this.#doubleWords[0]!);
    Atomics.store(words, at + 1, this.#doubleWords[1]!);
    Atomics.store(words, at + 2, term | 0);
    Atomics.store(words, at + 3, Math.floor(term / TWO_32));
    Atomics.store(words, at + 4, commit | 0);
    Atomics.store(words, at + 5, Math.floor(commit / TWO_32));
    Atomics.store(words, at + 6, leaderId | 0);
    Atomics.store(words, at + 7, selfIsLeader ? 1 : 0);
    Atomics.store(words, 0, version);
  }
}

export class SharedCellReader implements LeaseCellReader {
  leaseUntilMs = 0;
  term = 0;
  commit = 0;
  leaderId = 0;
  selfIsLeader = false;

  readonly #words: Int32Array;
  readonly #double = new Float64Array(1);
  readonly #doubleWords = new Int32Array(this.#double.buffer);

  constructor(cell: SharedArrayBuffer) {
    assert(cell.byteLength === WORDS * 4, 'the shared cell has its size');
    this.#words = new Int32Array(cell);
    this.load();
  }

  load(): void {
    const words = this.#words;
    for (;;) {
      const version = Atomics.load(words, 0);
      const at = SLOTS_AT + (version & 1) * SLOT_WORDS;
      const leaseLow = Atomics.load(words, at);
      const leaseHigh = Atomics.load(words, at + 1);
      const termLow = Atomics.load(words, at + 2);
      const termHigh = Atomics.load(words, at + 3);
      const commitLow = Atomics.load(words, at + 4);
      const commitHigh = Atomics.load(words, at + 5);
      const leaderId = Atomics.load(words, at + 6);
      const selfIsLeader = Atomics.load(words, at + 7);
      if (Atomics.load(words, 0) !== version) continue;
      this.#doubleWords[0] = leaseLow;
      this.#doubleWords[1] = leaseHigh;
      this.leaseUntilMs = this.#double[0]!;
      this.term = (termLow >>> 0) + termHigh * TWO_32;
      this.commit = (commitLow >>> 0) + commitHigh * TWO_32;
      this.leaderId = leaderId >>> 0;
      this.selfIsLeader = selfIsLeader === 1;
      return;
    }
  }
}
