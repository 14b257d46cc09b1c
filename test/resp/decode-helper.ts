// Runs a request decoder over one byte stream cut in several ways.
import { expect } from 'vitest';
import type { Prng } from '../../src/base/prng.ts';
import { Args } from '../../src/resp/args.ts';
import { parseRequestInto, RequestDecoder } from '../../src/resp/decoder.ts';

export const LIMITS = { bulkBytesMax: 1 << 20, multibulkMax: 1 << 20, inlineMax: 64, queryBufferBytesMax: 1 << 26 };

export interface Decoded {
  commands: string[][];
  inline: boolean[];
  end: 'incomplete' | 'error';
  error: string;
  bufferedBytes: number;
}

export interface DecodeOptions {
  authenticated?: boolean;
  limits?: Partial<typeof LIMITS>;
  /** Stop asking after each command and let go of the chunk, as for a blocked client. */
  detach?: boolean;
}

export const bytesOf = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'latin1'));

export const encode = (...parts: string[]): string =>
  `*${parts.length}\r\n` + parts.map((part) => `$${part.length}\r\n${part}\r\n`).join('');

/** Feeds the pieces, each in a buffer that is overwritten as soon as the decoder has let go of it. */
export function decodePieces(pieces: readonly Uint8Array[], options: DecodeOptions = {}): Decoded {
  const decoder = new RequestDecoder({ ...LIMITS, ...options.limits });
  decoder.authenticated = options.authenticated ?? true;
  const args = new Args();
  const again = new Args();
  const decoded: Decoded = { commands: [], inline: [], end: 'incomplete', error: '', bufferedBytes: 0 };
  let waiting: Uint8Array | undefined;
  const drain = (once: boolean): boolean => {
    for (;;) {
      const result = decoder.next(args);
      if (result !== 'command') {
        decoded.end = result;
        return true;
      }
      const words = Array.from({ length: args.count }, (_, i) => args.latin1(i));
      decoded.commands.push(words);
      decoded.inline.push(decoder.inline);
      const raw = Uint8Array.prototype.slice.call(args.bytes, decoder.commandStart, decoder.commandEnd);
      expect(parseRequestInto(again, raw, 0, raw.length)).toBe(true);
      expect(Array.from({ length: again.count }, (_, i) => again.latin1(i))).toEqual(words);
      if (once) return false;
    }
  };
  for (const piece of pieces) {
    const chunk = new Uint8Array(piece);
    decoder.feed(chunk);
    if (options.detach === true) {
      drain(true);
      decoder.detach();
    } else {
      drain(false);
    }
    chunk.fill(0x58);
    waiting = chunk;
  }
  if (waiting !== undefined) drain(false);
  decoded.error = decoded.end === 'error' ? decoder.error : '';
  decoded.bufferedBytes = decoder.bufferedBytes;
  return decoded;
}

export function cutAt(bytes: Uint8Array, step: number): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += step) pieces.push(bytes.subarray(at, at + step));
  return pieces;
}

export function cutRandomly(bytes: Uint8Array, prng: Prng, lengthMax: number): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = prng.between(1, lengthMax);
    pieces.push(bytes.subarray(at, at + length));
    at += length;
  }
  return pieces;
}

/** Whole; byte by byte; in two at every place (short streams); letting go after each command. All must agree. */
export function decodeEveryWay(text: string | Uint8Array, options: DecodeOptions = {}): Decoded {
  const bytes = typeof text === 'string' ? bytesOf(text) : text;
  const whole = decodePieces([bytes], options);
  expect(decodePieces(cutAt(bytes, 1), options), 'byte by byte').toEqual(whole);
  expect(decodePieces(cutAt(bytes, 1), { ...options, detach: true }), 'byte by byte, detached').toEqual(whole);
  expect(decodePieces(cutAt(bytes, 7), { ...options, detach: true }), 'by sevens, detached').toEqual(whole);
  if (bytes.length <= 400) {
    for (let cut = 1; cut < bytes.length; cut++) {
      const pieces = [bytes.subarray(0, cut), bytes.subarray(cut)];
      expect(decodePieces(pieces, options), `cut at ${cut}`).toEqual(whole);
    }
  }
  return whole;
}
