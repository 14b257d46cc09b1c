// ByteSums on the caller's own thread.
import { createHash } from 'node:crypto';
import { Crc64 } from '../base/crc64.ts';
import type { ByteSums, Sums } from '../ports/byte-sums.ts';

/** The CRC at the end of an RDB file, which is not part of what it counts. */
const TRAILER_BYTES = 8;

export class LocalSums implements ByteSums {
  readonly #hash = createHash('sha256');
  readonly #crc = new Crc64();
  #bytes = 0;
  /** The last bytes that came, up to a trailer: not in the CRC yet. */
  #rest = new Uint8Array(0);

  add(chunk: Uint8Array): Promise<void> {
    this.addNow(chunk);
    return Promise.resolve();
  }

  addNow(chunk: Uint8Array): void {
    const rest = this.#rest;
    this.#hash.update(chunk);
    this.#bytes += chunk.length;
    const summed = Math.max(0, rest.length + chunk.length - TRAILER_BYTES);
    const ofRest = Math.min(rest.length, summed);
    this.#crc.update(rest, 0, ofRest);
    this.#crc.update(chunk, 0, summed - ofRest);
    const next = new Uint8Array(rest.length + chunk.length - summed);
    next.set(rest.subarray(ofRest));
    next.set(chunk.subarray(summed - ofRest), rest.length - ofRest);
    this.#rest = next;
  }

  finish(): Promise<Sums> {
    return Promise.resolve(this.finishNow());
  }

  finishNow(): Sums {
    return { bytes: this.#bytes, sha256: this.#hash.digest('hex'), crc64: this.#crc.text() };
  }

  close(): void {}
}
