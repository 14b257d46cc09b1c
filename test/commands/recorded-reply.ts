// A Reply that keeps what it was told as wire text, and a parser of such text: small, plain, and apart from src/resp, so that tests
// of commands do not lean on the code under test there. Text is latin1: a char a byte.
import { formatDouble17 } from '../../src/base/double.ts';
import type { Slices } from '../../src/base/slices.ts';
import type { Reply } from '../../src/resp/reply.ts';

export interface ErrorReply {
  readonly error: string;
}

export type ReplyValue = string | number | bigint | boolean | null | ErrorReply | ReplyValue[];

export class RecordedReply implements Reply {
  readonly protocol: 2 | 3;
  errors = 0;
  #text = '';

  constructor(protocol: 2 | 3 = 2) {
    this.protocol = protocol;
  }

  clear(): void {
    this.#text = '';
  }

  peek(): string {
    return this.#text;
  }

  take(): string {
    const text = this.#text;
    this.#text = '';
    return text;
  }

  #line(text: string): void {
    this.#text += `${text}\r\n`;
  }

  #bulk(text: string, type = '$'): void {
    this.#line(`${type}${text.length}\r\n${text}`);
  }

  #three(three: string, two: string): void {
    this.#line(this.protocol === 3 ? three : two);
  }

  ok(): void {
    this.#line('+OK');
  }

  simple(text: string): void {
    this.#line(`+${text}`);
  }

  error(text: string): void {
    this.errors++;
    this.#line(`-${text.replace(/[\r\n]/g, ' ')}`);
  }

  integer(value: number): void {
    if (!Number.isSafeInteger(value)) throw new Error(`integer reply ${value}`);
    this.#line(`:${value}`);
  }

  bigInteger(value: bigint): void {
    this.#line(`:${value}`);
  }

  bulk(bytes: Uint8Array, start: number, end: number): void {
    this.#bulk(Buffer.from(bytes.subarray(start, end)).toString('latin1'));
  }

  bulks(slices: Slices): void {
    for (let i = 0; i < slices.count; i++) this.bulk(slices.bytes[slices.where[i]!]!, slices.starts[i]!, slices.ends[i]!);
  }

  bulkText(text: string): void {
    this.#bulk(Buffer.from(text, 'utf8').toString('latin1'));
  }

  bulkInteger(value: number): void {
    this.#bulk(String(value));
  }

  null(): void {
    this.#three('_', '$-1');
  }

  nullArray(): void {
    this.#three('_', '*-1');
  }

  array(count: number): void {
    this.#line(`*${count}`);
  }

  map(pairs: number): void {
    this.#three(`%${pairs}`, `*${pairs * 2}`);
  }

  set(count: number): void {
    this.#three(`~${count}`, `*${count}`);
  }

  push(count: number): void {
    this.#three(`>${count}`, `*${count}`);
  }

  attribute(pairs: number): void {
    this.#line(`|${pairs}`);
  }

  double(value: number): void {
    const text = formatDouble17(value);
    if (this.protocol === 3) this.#line(`,${text}`);
    else this.#bulk(text);
  }

  boolean(value: boolean): void {
    this.#three(value ? '#t' : '#f', value ? ':1' : ':0');
  }

  verbatim(text: string, format: 'txt' | 'mkd'): void {
    const bytes = Buffer.from(text, 'utf8').toString('latin1');
    if (this.protocol === 3) this.#bulk(`${format}:${bytes}`, '=');
    else this.#bulk(bytes);
  }

  bigNumber(text: string): void {
    if (this.protocol === 3) this.#line(`(${text}`);
    else this.#bulk(text);
  }

  beginArray(): number {
    return this.#text.length;
  }

  endArray(mark: number, count: number): void {
    this.#text = `${this.#text.slice(0, mark)}*${count}\r\n${this.#text.slice(mark)}`;
  }
}

/** Where the reply that starts at `from` ends, or -1 if it is not all there. */
export function replyEnd(text: string, from = 0): number {
  const lineEnd = text.indexOf('\r\n', from);
  if (lineEnd < 0) return -1;
  const type = text[from]!;
  const size = Number(text.slice(from + 1, lineEnd));
  let at = lineEnd + 2;
  if ('$='.includes(type)) {
    if (size < 0) return at;
    return at + size + 2 <= text.length ? at + size + 2 : -1;
  }
  if (!'*%~>'.includes(type)) return at;
  for (let left = type === '%' ? size * 2 : size; left > 0; left--) {
    at = replyEnd(text, at);
    if (at < 0) return -1;
  }
  return at;
}

/** The one reply that `text` is, as a value. Maps, sets and pushes become flat arrays. */
export function parseReply(text: string): ReplyValue {
  const [value, end] = parseAt(text, 0);
  if (end !== text.length) throw new Error(`more than one reply: ${JSON.stringify(text)}`);
  return value;
}

function parseAt(text: string, from: number): [ReplyValue, number] {
  const lineEnd = text.indexOf('\r\n', from);
  if (lineEnd < 0) throw new Error(`no reply at ${from} of ${JSON.stringify(text)}`);
  const type = text[from]!;
  const line = text.slice(from + 1, lineEnd);
  let at = lineEnd + 2;
  if (type === '+') return [line, at];
  if (type === '-') return [{ error: line }, at];
  if (type === ':') return [Number.isSafeInteger(Number(line)) ? Number(line) : BigInt(line), at];
  if (type === '_') return [null, at];
  if (type === ',') return [line.endsWith('inf') ? Number(line.replace('inf', 'Infinity')) : Number(line), at];
  if (type === '#') return [line === 't', at];
  if (type === '(') return [BigInt(line), at];
  const size = Number(line);
  if (size < 0) return [null, at];
  if (type === '$' || type === '=') return [text.slice(at, at + size), at + size + 2];
  if (!'*%~>'.includes(type)) throw new Error(`reply type ${JSON.stringify(type)}`);
  const values: ReplyValue[] = [];
  for (let left = type === '%' ? size * 2 : size; left > 0; left--) {
    const [value, next] = parseAt(text, at);
    values.push(value);
    at = next;
  }
  return [values, at];
}
