// The node's own records (expiry, eviction, settings), which have no session: who waits for each. Owns the callbacks.

export class InternalRecords {
  readonly #waiting = new Map<number, (error: string | undefined) => void>();
  #next = 1;

  /** The sequence number of a new record; `done` hears when it is applied, or why not. */
  add(done: (error: string | undefined) => void): number {
    const sequence = this.#next;
    this.#next = (sequence % 0xffff_ffff) + 1;
    this.#waiting.set(sequence, done);
    return sequence;
  }

  settle(sequence: number, error: string | undefined): void {
    const done = this.#waiting.get(sequence);
    this.#waiting.delete(sequence);
    done?.(error);
  }
}
