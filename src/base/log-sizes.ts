// How many bytes of entries a log has behind each index, roughly: a mark every MARK_BYTES instead of a number for each
// entry. For deciding how much of a log may be cut. What must hold: marks rise in index and in bytes.
import { MiB } from './limits.ts';

const MARK_BYTES = 1 * MiB;

interface Mark {
  readonly index: number;
  /** Of all entries up to and with this one, counted from an arbitrary origin. */
  readonly bytes: number;
}

export class LogSizes {
  #marks: Mark[];
  #lastIndex: number;
  #bytes = 0;

  /** Of a log that is empty and begins behind `baseIndex`. */
  constructor(baseIndex: number) {
    this.#marks = [{ index: baseIndex, bytes: 0 }];
    this.#lastIndex = baseIndex;
  }

  /** The entry at `index` has `bytes`; what stood there and behind it is gone. */
  add(index: number, bytes: number): void {
    if (index <= this.#lastIndex) this.#truncate(index - 1);
    this.#lastIndex = index;
    this.#bytes += bytes;
    if (this.#bytes - this.#last.bytes >= MARK_BYTES) this.#marks.push({ index, bytes: this.#bytes });
  }

  cut(to: number): void {
    const first = this.#marks.findIndex((mark) => mark.index > to);
    const kept = first < 0 ? [] : this.#marks.slice(first);
    const before = this.#marks[(first < 0 ? this.#marks.length : first) - 1];
    this.#marks = [{ index: to, bytes: before?.bytes ?? 0 }, ...kept];
  }

  /** The highest marked index with at least `bytes` behind it; the base where there are fewer. */
  keeping(bytes: number): number {
    for (let at = this.#marks.length - 1; at > 0; at--) {
      const mark = this.#marks[at]!;
      if (this.#bytes - mark.bytes >= bytes) return mark.index;
    }
    return this.#marks[0]!.index;
  }

  /** Bytes of entries behind `index`, a mark's worth more or less. */
  behind(index: number): number {
    const mark = this.#marks.findLast((one) => one.index <= index) ?? this.#marks[0]!;
    return this.#bytes - mark.bytes;
  }

  get #last(): Mark {
    return this.#marks[this.#marks.length - 1]!;
  }

  #truncate(to: number): void {
    while (this.#marks.length > 1 && this.#last.index > to) this.#marks.pop();
    // What lay between the last mark and `to` is counted no more; it is less than a mark's worth.
    this.#bytes = this.#last.bytes;
    this.#lastIndex = to;
  }
}
