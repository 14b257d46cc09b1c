// Whether too much is on its way to the log, and who is to hear when that is over: sockets are not read meanwhile.

export class Congestion {
  readonly #holds: () => boolean;
  readonly #onEnd: () => void;
  #noted = false;

  constructor(holds: () => boolean, onEnd: () => void) {
    this.#holds = holds;
    this.#onEnd = onEnd;
  }

  /** Somebody stopped reading sockets on account of it. */
  note(): void {
    this.#noted = true;
  }

  check(): void {
    if (!this.#noted || this.#holds()) return;
    this.#noted = false;
    this.#onEnd();
  }
}
