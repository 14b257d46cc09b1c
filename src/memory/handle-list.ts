// A dense array of handles in chunks, so that growing never copies more than one chunk. Counts its bytes in a meter.
// Hot: indexes typed arrays directly.
import { assert } from '../base/assert.ts';
import type { Handle } from './segments.ts';

/** Bytes of tables outside segments; one for all the tables of an owner. An array, since doubles in fields cost allocations. */
export class Meter {
  readonly #bytes = new Float64Array(1);

  get bytes(): number {
    return this.#bytes[0]!;
  }

  add(bytes: number): void {
    this.#bytes[0]! += bytes;
  }
}

const CHUNK_SHIFT = 15;
const CHUNK_LENGTH = 2 ** CHUNK_SHIFT;
const CHUNK_MASK = CHUNK_LENGTH - 1;
const FIRST_LENGTH_MIN = 16;

export class HandleList {
  /** Every chunk has CHUNK_LENGTH places, but for the first while it is the only one. At most one chunk is empty. */
  #chunks: Uint32Array[] = [];
  #length = 0;
  #capacity = 0;
  readonly #meter: Meter;

  constructor(meter: Meter) {
    this.#meter = meter;
  }

  get length(): number {
    return this.#length;
  }

  at(position: number): Handle {
    return this.#chunks[position >>> CHUNK_SHIFT]![position & CHUNK_MASK]!;
  }

  set(position: number, handle: Handle): void {
    this.#chunks[position >>> CHUNK_SHIFT]![position & CHUNK_MASK] = handle;
  }

  push(handle: Handle): void {
    const position = this.#length;
    if (position === this.#capacity) this.#grow();
    this.#chunks[position >>> CHUNK_SHIFT]![position & CHUNK_MASK] = handle;
    this.#length = position + 1;
  }

  pop(): Handle {
    const position = this.#length - 1;
    assert(position >= 0, 'an empty list has no last handle');
    const handle = this.at(position);
    this.#length = position;
    if (position === 0) this.clear();
    else if (this.#capacity - position > 2 * CHUNK_LENGTH) {
      this.#chunks.pop();
      this.#setCapacity(this.#capacity - CHUNK_LENGTH);
    }
    return handle;
  }

  clear(): void {
    this.#chunks = [];
    this.#length = 0;
    this.#setCapacity(0);
  }

  #grow(): void {
    const capacity = this.#capacity;
    if (capacity >= CHUNK_LENGTH) {
      this.#chunks.push(new Uint32Array(CHUNK_LENGTH));
      this.#setCapacity(capacity + CHUNK_LENGTH);
      return;
    }
    const first = new Uint32Array(Math.max(FIRST_LENGTH_MIN, capacity * 2));
    if (capacity > 0) first.set(this.#chunks[0]!);
    this.#chunks[0] = first;
    this.#setCapacity(first.length);
  }

  #setCapacity(capacity: number): void {
    this.#meter.add((capacity - this.#capacity) * 4);
    this.#capacity = capacity;
  }
}
