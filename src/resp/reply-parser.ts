// An incremental, strict parser of RESP2 and RESP3 replies, for tests and tools; the server itself never reads replies.
// Owns the bytes that it has been fed and not yet parsed. Strict: anything that Redis would not send is an error, and
// after an error the parser is of no more use. Streamed RESP3 types (`$?`, `*?`), which Redis never sends, are errors.
import { assert } from '../base/assert.ts';

const CR = 0x0d;
const LF = 0x0a;
const LINE_BYTES_MAX = 64 * 1024 * 1024;
const DEPTH_MAX = 128;

export type RespValue =
  | { readonly kind: 'simple' | 'error' | 'bigNumber'; readonly text: string }
  | { readonly kind: 'integer'; readonly value: bigint }
  | { readonly kind: 'bulk' | 'blobError'; readonly bytes: Uint8Array }
  | { readonly kind: 'verbatim'; readonly format: string; readonly bytes: Uint8Array }
  /** `form`: as which type it came. */
  | { readonly kind: 'null'; readonly form: '$' | '*' | '_' }
  | { readonly kind: 'double'; readonly value: number; readonly text: string }
  | { readonly kind: 'boolean'; readonly value: boolean }
  | { readonly kind: 'array' | 'set' | 'push'; readonly items: readonly RespValue[] }
  | { readonly kind: 'map'; readonly entries: readonly (readonly [RespValue, RespValue])[] }
  /** RESP3 attributes and the value that they stand before. */
  | { readonly kind: 'attribute'; readonly entries: readonly (readonly [RespValue, RespValue])[]; readonly value: RespValue };

interface Frame {
  readonly kind: 'array' | 'set' | 'push' | 'map' | 'attribute';
  /** Values in all: two an entry, and one more behind attributes. */
  readonly count: number;
  readonly items: RespValue[];
}

export class ReplyParser {
  #bytes: Uint8Array = new Uint8Array(0);
  #at = 0;
  #end = 0;
  #stack: Frame[] = [];
  /** How far the line at #at has been searched for its end. */
  #searched = 0;
  /** What was wrong with the bytes, once something was. */
  error: string | undefined;

  /** Bytes fed that are not part of a finished element. */
  get bufferedBytes(): number {
    return this.#end - this.#at;
  }

  /** True between replies. */
  get idle(): boolean {
    return this.#stack.length === 0 && this.#at === this.#end;
  }

  /** Copies the chunk. */
  feed(chunk: Uint8Array): void {
    if (this.#end + chunk.length > this.#bytes.length) {
      const rest = this.#end - this.#at;
      const target = new Uint8Array(Math.max(4096, (rest + chunk.length) * 2));
      target.set(this.#bytes.subarray(this.#at, this.#end));
      this.#bytes = target;
      this.#searched -= this.#at;
      this.#at = 0;
      this.#end = rest;
    }
    this.#bytes.set(chunk, this.#end);
    this.#end += chunk.length;
  }

  /** The next whole reply, or undefined where more bytes are needed or `error` is set. */
  next(): RespValue | undefined {
    while (this.error === undefined) {
      let value = this.#element();
      if (value === undefined) return undefined;
      if (value === 'opened') continue;
      for (;;) {
        const frame = this.#stack.at(-1);
        if (frame === undefined) return value;
        frame.items.push(value);
        if (frame.items.length < frame.count) break;
        this.#stack.pop();
        value = close(frame);
      }
    }
    return undefined;
  }

  /** One element that is not an aggregate, or an empty one; 'opened' for the head of an aggregate with items. */
  #element(): RespValue | 'opened' | undefined {
    const lineEnd = this.#line();
    if (lineEnd < 0) return undefined;
    const type = String.fromCharCode(this.#bytes[this.#at]!);
    const text = latin1(this.#bytes, this.#at + 1, lineEnd);
    if (type === '$' || type === '=' || type === '!') return this.#blob(type, text, lineEnd + 2);
    this.#advance(lineEnd + 2);
    switch (type) {
      case '+':
        return { kind: 'simple', text };
      case '-':
        return { kind: 'error', text };
      case ':':
        return /^-?(0|[1-9][0-9]*)$/.test(text) ? { kind: 'integer', value: BigInt(text) } : this.#fail(`integer ${text}`);
      case '_':
        return text === '' ? { kind: 'null', form: '_' } : this.#fail(`null with text ${text}`);
      case '#':
        return text === 't' || text === 'f' ? { kind: 'boolean', value: text === 't' } : this.#fail(`boolean ${text}`);
      case ',':
        return this.#double(text);
      case '(':
        return /^-?[0-9]+$/.test(text) ? { kind: 'bigNumber', text } : this.#fail(`big number ${text}`);
      case '*':
      case '~':
      case '>':
      case '%':
      case '|':
        return this.#aggregate(type, text);
      default:
        return this.#fail(`type byte ${JSON.stringify(type)}`);
    }
  }

  #aggregate(type: '*' | '~' | '>' | '%' | '|', text: string): RespValue | 'opened' | undefined {
    if (text === '-1' && type === '*') return { kind: 'null', form: '*' };
    const count = length(text);
    if (count < 0) return this.#fail(`length ${type}${text}`);
    if (this.#stack.length >= DEPTH_MAX) return this.#fail(`nesting deeper than ${DEPTH_MAX}`);
    const kind = ({ '*': 'array', '~': 'set', '>': 'push', '%': 'map', '|': 'attribute' } as const)[type];
    const values = kind === 'map' ? 2 * count : kind === 'attribute' ? 2 * count + 1 : count;
    if (values === 0) return close({ kind, count: 0, items: [] });
    this.#stack.push({ kind, count: values, items: [] });
    return 'opened';
  }

  #blob(type: '$' | '=' | '!', text: string, start: number): RespValue | undefined {
    if (text === '-1' && type === '$') {
      this.#advance(start);
      return { kind: 'null', form: '$' };
    }
    const bytes = length(text);
    if (bytes < 0) return this.#fail(`length ${type}${text}`);
    const end = start + bytes;
    if (end + 2 > this.#end) return undefined;
    if (this.#bytes[end] !== CR || this.#bytes[end + 1] !== LF) return this.#fail(`a ${type} of ${bytes} bytes has no line end`);
    const content = this.#bytes.slice(start, end);
    this.#advance(end + 2);
    if (type === '$') return { kind: 'bulk', bytes: content };
    if (type === '!') return { kind: 'blobError', bytes: content };
    if (bytes < 4 || content[3] !== 0x3a) return this.#fail('a verbatim string has no format');
    return { kind: 'verbatim', format: latin1(content, 0, 3), bytes: content.subarray(4) };
  }

  #double(text: string): RespValue | undefined {
    if (text === 'inf') return { kind: 'double', value: Infinity, text };
    if (text === '-inf') return { kind: 'double', value: -Infinity, text };
    if (text === 'nan') return { kind: 'double', value: NaN, text };
    if (!/^-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?$/.test(text)) return this.#fail(`double ${text}`);
    return { kind: 'double', value: Number(text), text };
  }

  /** Where the line at #at ends (its CR), or −1. */
  #line(): number {
    for (let i = Math.max(this.#searched, this.#at); i < this.#end; i++) {
      const c = this.#bytes[i]!;
      if (c === LF) {
        this.#fail('a line feed without a carriage return');
        return -1;
      }
      if (c !== CR) continue;
      if (i === this.#at) this.#fail('an empty line');
      else if (i + 1 === this.#end) this.#searched = i;
      else if (this.#bytes[i + 1] === LF) return i;
      else this.#fail('a carriage return without a line feed');
      return -1;
    }
    this.#searched = this.#end;
    if (this.#end - this.#at > LINE_BYTES_MAX) this.#fail('a line has no end');
    return -1;
  }

  #advance(at: number): void {
    assert(at <= this.#end, 'only bytes that came are parsed');
    this.#at = at;
    this.#searched = at;
  }

  #fail(what: string): undefined {
    this.error = `not RESP: ${what}`;
    return undefined;
  }
}

function close(frame: Frame): RespValue {
  if (frame.kind !== 'map' && frame.kind !== 'attribute') return { kind: frame.kind, items: frame.items };
  const entries: [RespValue, RespValue][] = [];
  for (let i = 0; i + 1 < frame.items.length; i += 2) entries.push([frame.items[i]!, frame.items[i + 1]!]);
  if (frame.kind === 'map') return { kind: 'map', entries };
  return { kind: 'attribute', entries, value: frame.items.at(-1)! };
}

function length(text: string): number {
  return /^(0|[1-9][0-9]{0,9})$/.test(text) ? Number(text) : -1;
}

function latin1(bytes: Uint8Array, start: number, end: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString('latin1');
}

/** A reply as plain data, for comparing in tests: blobs as latin1 text, integers as numbers where safe, errors as `-text`. */
export function plain(value: RespValue): unknown {
  switch (value.kind) {
    case 'simple':
    case 'bigNumber':
      return value.text;
    case 'error':
      return `-${value.text}`;
    case 'integer':
      return Number.isSafeInteger(Number(value.value)) ? Number(value.value) : value.value;
    case 'bulk':
    case 'verbatim':
      return latin1(value.bytes, 0, value.bytes.length);
    case 'blobError':
      return `-${latin1(value.bytes, 0, value.bytes.length)}`;
    case 'null':
      return null;
    case 'double':
    case 'boolean':
      return value.value;
    case 'array':
    case 'set':
    case 'push':
      return value.items.map(plain);
    case 'map':
      return value.entries.map(([key, item]) => [plain(key), plain(item)]);
    case 'attribute':
      return plain(value.value);
  }
}

/** Every reply in `bytes`, which must end with a whole one. */
export function parseReplies(bytes: Uint8Array): RespValue[] {
  const parser = new ReplyParser();
  parser.feed(bytes);
  const values: RespValue[] = [];
  for (let value = parser.next(); value !== undefined; value = parser.next()) values.push(value);
  assert(parser.error === undefined && parser.idle, () => parser.error ?? `${parser.bufferedBytes} bytes are no whole reply`);
  return values;
}
