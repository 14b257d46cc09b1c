import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { Args } from '../../src/resp/args.ts';
import { parseRequestInto, RequestDecoder } from '../../src/resp/decoder.ts';
import { bytesOf, cutAt, cutRandomly, decodeEveryWay, decodePieces, encode, LIMITS } from './decode-helper.ts';

const freshSeed = (): number => Math.floor(Math.random() * 2 ** 32);

describe('multibulk', () => {
  test('commands, one and many, whole and cut', () => {
    const stream = encode('PING') + encode('SET', 'key', 'a\r\nb\0c') + encode('ECHO', '') + encode('GET', 'key');
    const decoded = decodeEveryWay(stream);
    expect(decoded.commands).toEqual([['PING'], ['SET', 'key', 'a\r\nb\0c'], ['ECHO', ''], ['GET', 'key']]);
    expect(decoded.inline).toEqual([false, false, false, false]);
    expect(decoded.end).toBe('incomplete');
    expect(decoded.bufferedBytes).toBe(0);
  });

  test('empty and negative multibulks are skipped', () => {
    const decoded = decodeEveryWay(`*0\r\n*-1\r\n*-10\r\n*-9223372036854775808\r\n${encode('PING')}*0\r\n`);
    expect(decoded.commands).toEqual([['PING']]);
    expect(decoded.end).toBe('incomplete');
    expect(decoded.bufferedBytes).toBe(0);
  });

  test('a partial command is counted as buffered', () => {
    expect(decodeEveryWay('*2\r\n$3\r\nGET\r\n$3\r\nke').bufferedBytes).toBe(19);
    expect(decodeEveryWay('*').bufferedBytes).toBe(1);
    expect(decodeEveryWay('*1\r').bufferedBytes).toBe(3);
  });

  test('as in Redis, the bytes behind a header’s CR and behind a bulk are not looked at', () => {
    const decoded = decodeEveryWay(`*2\rX$3\r\rGETab$1\r\nk\n\n${encode('PING')}`);
    expect(decoded.commands).toEqual([['GET', 'k'], ['PING']]);
  });

  test('more arguments than an Args begins with', () => {
    const words = Array.from({ length: 1000 }, (_, i) => `word${i}`);
    const stream = bytesOf(encode(...words) + encode('PING'));
    for (const pieces of [[stream], cutAt(stream, 1), cutAt(stream, 1000)]) {
      expect(decodePieces(pieces).commands).toEqual([words, ['PING']]);
    }
  });

  test('the raw bytes of a command are given out as they came', () => {
    const decoder = new RequestDecoder(LIMITS);
    const args = new Args();
    const first = encode('SET', 'k', 'v');
    const second = encode('GET', 'k');
    decoder.feed(bytesOf(first + second));
    expect(decoder.next(args)).toBe('command');
    expect(Buffer.from(args.bytes.subarray(decoder.commandStart, decoder.commandEnd)).toString()).toBe(first);
    expect(decoder.bufferedBytes).toBe(second.length);
    expect(decoder.next(args)).toBe('command');
    expect(Buffer.from(args.bytes.subarray(decoder.commandStart, decoder.commandEnd)).toString()).toBe(second);
    expect(decoder.next(args)).toBe('incomplete');
  });

  test('a whole command is decoded in the fed bytes themselves', () => {
    const decoder = new RequestDecoder(LIMITS);
    const args = new Args();
    const chunk = bytesOf(encode('SET', 'k', 'v') + encode('GET', 'k'));
    decoder.feed(chunk);
    expect(decoder.next(args)).toBe('command');
    expect(args.bytes).toBe(chunk);
    expect(decoder.next(args)).toBe('command');
    expect(args.bytes).toBe(chunk);
    expect(decoder.memoryBytes).toBe(0);
  });
});

describe('protocol errors, in Redis’s words', () => {
  const cases: [name: string, input: string, error: string][] = [
    ['count over the limit', '*3000000000\r\n', 'invalid multibulk length'],
    ['count over ours', `*${LIMITS.multibulkMax + 1}\r\n`, 'invalid multibulk length'],
    ['count not a number', '*abc\r\n', 'invalid multibulk length'],
    ['count with a plus', '*+1\r\n$4\r\nPING\r\n', 'invalid multibulk length'],
    ['count with a leading zero', '*01\r\n$4\r\nPING\r\n', 'invalid multibulk length'],
    ['count with a space', '*1 \r\n$4\r\nPING\r\n', 'invalid multibulk length'],
    ['count empty', '*\r\n', 'invalid multibulk length'],
    ['count minus zero', '*-0\r\n', 'invalid multibulk length'],
    ['count below 64 bits', '*-9223372036854775809\r\n', 'invalid multibulk length'],
    ['count of many digits', `*${'1'.repeat(40)}\r\n`, 'invalid multibulk length'],
    ['no dollar', '*3\r\n$3\r\nSET\r\n$1\r\nx\r\nfooz\r\n', "expected '$', got 'f'"],
    ['no dollar at once', '*1\r\nfoo\r\n', "expected '$', got 'f'"],
    ['an empty line for a bulk', '*1\r\n\r\n', "expected '$', got '\r'"],
    ['a high byte for a dollar', '*1\r\n\xff\r\n', "expected '$', got '\xff'"],
    ['length negative', '*1\r\n$-10\r\n', 'invalid bulk length'],
    ['length minus one', '*1\r\n$-1\r\n', 'invalid bulk length'],
    ['length over the limit', `*1\r\n$${LIMITS.bulkBytesMax + 1}\r\n`, 'invalid bulk length'],
    ['length far over', '*1\r\n$9223372036854775807\r\n', 'invalid bulk length'],
    ['length not a number', '*1\r\n$blabla\r\n', 'invalid bulk length'],
    ['length with a leading zero', '*1\r\n$04\r\nPING\r\n', 'invalid bulk length'],
    ['length empty', '*1\r\n$\r\n', 'invalid bulk length'],
    ['count line too long', `*${'1'.repeat(LIMITS.inlineMax)}`, 'too big mbulk count string'],
    ['length line too long', `*1\r\n$${'1'.repeat(LIMITS.inlineMax)}`, 'too big bulk count string'],
    ['a bulk line that hides its end', `*1\r\n\0\r\n${'x'.repeat(LIMITS.inlineMax)}`, 'too big bulk count string'],
    ['inline too long', 'x'.repeat(LIMITS.inlineMax + 1), 'too big inline request'],
    ['inline too long, with its end', `${'x'.repeat(LIMITS.inlineMax + 1)}\r\n`, 'too big inline request'],
    ['a NUL hides the end of the line', `PING\0\r\n${'x'.repeat(LIMITS.inlineMax)}`, 'too big inline request'],
    ['unbalanced', 'set """test-key""" test-value\r\n', 'unbalanced quotes in request'],
    ['unclosed', 'set "abc\r\n', 'unbalanced quotes in request'],
    ['unclosed apostrophe', "set 'abc\r\n", 'unbalanced quotes in request'],
    ['backslash last', 'set "abc\\\r\n', 'unbalanced quotes in request'],
    ['escaped closing quote', 'set "abc\\"\r\n', 'unbalanced quotes in request'],
    ['text behind a closing apostrophe', "'a'b\r\n", 'unbalanced quotes in request'],
  ];
  test.each(cases)('%s', (_name, input, error) => {
    // A command before it is still decoded, and what comes after it is not.
    const decoded = decodeEveryWay(`${encode('PING')}${input}`);
    expect(decoded.commands).toEqual([['PING']]);
    expect(decoded.end).toBe('error');
    expect(decoded.error).toBe(`Protocol error: ${error}`);
    const more = decodePieces([bytesOf(input), bytesOf(`\r\n${encode('PING')}`)]);
    expect(more.commands).toEqual([]);
    expect(more.end).toBe('error');
  });

  test('narrow limits before authentication', () => {
    const anonymous = { authenticated: false };
    expect(decodeEveryWay('*11\r\n', anonymous).error).toBe('Protocol error: unauthenticated multibulk length');
    const ten = Array.from({ length: 10 }, () => 'x');
    expect(decodeEveryWay(encode(...ten), anonymous).commands).toEqual([ten]);
    const long = 'y'.repeat(16384);
    const pieces = (text: string): Uint8Array[][] => [[bytesOf(text)], cutAt(bytesOf(text), 1), cutAt(bytesOf(text), 999)];
    for (const way of pieces(encode('AUTH', long))) expect(decodePieces(way, anonymous).commands).toEqual([['AUTH', long]]);
    for (const way of pieces(encode('AUTH', `${long}y`))) {
      expect(decodePieces(way, anonymous).error).toBe('Protocol error: unauthenticated bulk length');
    }
    // Beyond both limits the general error comes first, as in Redis.
    expect(decodeEveryWay('*3000000000\r\n', anonymous).error).toBe('Protocol error: invalid multibulk length');
  });

  test('limits can change under way', () => {
    const decoder = new RequestDecoder({ ...LIMITS, bulkBytesMax: 4 });
    const args = new Args();
    decoder.feed(bytesOf(encode('ECHO', 'four')));
    expect(decoder.next(args)).toBe('command');
    decoder.bulkBytesMax = 5;
    decoder.feed(bytesOf(encode('ECHO', 'fives')));
    expect(decoder.next(args)).toBe('command');
    decoder.feed(bytesOf(encode('ECHO', 'sixsix')));
    expect(decoder.next(args)).toBe('error');
    expect(decoder.error).toBe('Protocol error: invalid bulk length');
    expect(decoder.errorKind).toBe('protocol');
  });
});

describe('inline', () => {
  const cases: [line: string, words: string[]][] = [
    ['PING', ['PING']],
    ['  SET \t key   value  ', ['SET', 'key', 'value']],
    ['\v\fPING', ['PING']],
    ['a\vb', ['a\vb']],
    ['SET k "hello world"', ['SET', 'k', 'hello world']],
    ['SET k "\\x41\\xfF\\n\\r\\t\\b\\a\\\\\\"\\q"', ['SET', 'k', 'A\xff\n\r\t\b\x07\\"q']],
    ['SET k "\\x4g\\x"', ['SET', 'k', 'x4gx']],
    ["SET k 'it\\'s \\n \"'", ['SET', 'k', 'it\'s \\n "']],
    ['SET k ""', ['SET', 'k', '']],
    ["'' ''", ['', '']],
    ['a"b c" d', ['ab c', 'd']],
    ["a'b c' d", ['ab c', 'd']],
    ['a\\nb', ['a\\nb']],
    ['GET $3', ['GET', '$3']],
    ['\xff\xfe', ['\xff\xfe']],
    ['a\rb', ['a', 'b']],
  ];
  test.each(cases)('%j', (line, words) => {
    for (const end of ['\n', '\r\n']) {
      const decoded = decodeEveryWay(`${line}${end}${encode('PING')}${line}${end}`);
      expect(decoded.commands).toEqual([words, ['PING'], words]);
      expect(decoded.inline).toEqual([true, false, true]);
      expect(decoded.bufferedBytes).toBe(0);
    }
  });

  test('is rewritten as RESP', () => {
    const decoder = new RequestDecoder(LIMITS);
    const args = new Args();
    decoder.feed(bytesOf('SET key "a b"\r\n'));
    expect(decoder.next(args)).toBe('command');
    const raw = Buffer.from(args.bytes.subarray(decoder.commandStart, decoder.commandEnd)).toString();
    expect(raw).toBe(encode('SET', 'key', 'a b'));
  });

  test('empty lines are skipped', () => {
    expect(decodeEveryWay('\r\n\n\n \t \r\nPING\r\n\r\n').commands).toEqual([['PING']]);
  });

  test('a line of exactly the limit', () => {
    const line = 'x'.repeat(LIMITS.inlineMax);
    expect(decodeEveryWay(`${line}\n`).commands).toEqual([[line]]);
    expect(decodeEveryWay(`${line}\r\n`).error).toBe('Protocol error: too big inline request');
  });

  test('many words', () => {
    const limits = { inlineMax: 65536 };
    const words = Array.from({ length: 30_000 }, (_, i) => String(i % 10));
    const line = bytesOf(`${words.join(' ')}\r\n`);
    expect(decodePieces([line], { limits }).commands).toEqual([words]);
    expect(decodePieces(cutAt(line, 1000), { limits }).commands).toEqual([words]);
  });
});

describe('memory', () => {
  test('a big bulk in pieces: bounded, and given back', () => {
    const decoder = new RequestDecoder({ ...LIMITS, bulkBytesMax: 1 << 26 });
    const args = new Args();
    const head = bytesOf('*2\r\n$4\r\nECHO\r\n$33554432\r\n');
    decoder.feed(head);
    expect(decoder.next(args)).toBe('incomplete');
    expect(decoder.memoryBytes).toBeLessThan(4096);
    const piece = new Uint8Array(65536).fill(0x61);
    let fed = head.length;
    for (let i = 0; i < 512; i++) {
      decoder.feed(piece);
      expect(decoder.next(args)).toBe('incomplete');
      fed += piece.length;
      expect(decoder.bufferedBytes).toBe(fed);
      expect(decoder.memoryBytes).toBeLessThan(4 * fed + 4096);
    }
    expect(decoder.memoryBytes).toBeLessThan(33554432 + 4096);
    decoder.feed(bytesOf(`\r\n${encode('PING')}`));
    expect(decoder.next(args)).toBe('command');
    expect(args.length(1)).toBe(33554432);
    expect(args.view(1).every((byte) => byte === 0x61)).toBe(true);
    expect(decoder.next(args)).toBe('command');
    expect(args.latin1(0)).toBe('PING');
    expect(decoder.next(args)).toBe('incomplete');
    expect(decoder.memoryBytes).toBeLessThan(4096);
  });

  test('a command of very many bulks in pieces takes linear time', () => {
    const bulks = Array.from({ length: 200_000 }, (_, i) => `$${String(i).length + 1}\r\nk${i}\r\n`);
    const stream = bytesOf(`*200001\r\n$4\r\nMSET\r\n${bulks.join('')}`);
    const started = performance.now();
    const decoder = new RequestDecoder(LIMITS);
    const args = new Args();
    let result: string = 'incomplete';
    for (const piece of cutAt(stream, 100)) {
      decoder.feed(piece);
      result = decoder.next(args);
    }
    expect(result).toBe('command');
    expect(args.count).toBe(200_001);
    expect(args.latin1(200_000)).toBe('k199999');
    expect(performance.now() - started).toBeLessThan(5000);
  });

  test('a huge announced count allocates nothing', () => {
    const decoder = new RequestDecoder(LIMITS);
    const args = new Args();
    decoder.feed(bytesOf('*1048576\r\n$4\r\nMSET\r\n'));
    expect(decoder.next(args)).toBe('incomplete');
    expect(decoder.memoryBytes).toBeLessThan(4096);
    expect(args.starts.length).toBe(32);
  });

  test('a caller that takes no commands: what is fed is kept, up to the query buffer limit', () => {
    const decoder = new RequestDecoder({ ...LIMITS, queryBufferBytesMax: 100_000 });
    const args = new Args();
    const command = encode('SET', 'key', 'x'.repeat(900));
    const chunk = bytesOf(command);
    let fed = 0;
    for (; fed + chunk.length <= 100_000; fed += chunk.length) {
      const copy = chunk.slice();
      decoder.feed(copy);
      decoder.detach();
      copy.fill(0);
      expect(decoder.bufferedBytes).toBe(fed + chunk.length);
    }
    expect(decoder.next(args)).toBe('command');
    expect(args.latin1(2)).toBe('x'.repeat(900));
    decoder.feed(chunk);
    decoder.detach();
    for (let i = 0; i < fed / chunk.length; i++) {
      expect(decoder.next(args)).toBe('command');
      expect(args.latin1(2)).toBe('x'.repeat(900));
    }
    expect(decoder.next(args)).toBe('incomplete');
    expect(decoder.memoryBytes).toBe(0);
    for (let i = 0; i < 200; i++) decoder.feed(chunk);
    expect(decoder.next(args)).toBe('error');
    expect(decoder.errorKind).toBe('queryBufferLimit');
    expect(decoder.memoryBytes).toBeLessThan(4096);
  });

  test('one command beyond the query buffer limit', () => {
    const limits = { queryBufferBytesMax: 50_000 };
    const stream = bytesOf(encode('SET', 'k', 'x'.repeat(60_000)));
    for (const step of [1, 4096]) {
      const decoded = decodePieces(cutAt(stream, step), { limits });
      expect(decoded.end).toBe('error');
      expect(decoded.error).toBe('query buffer limit exceeded');
    }
  });
});

describe('random streams', () => {
  test('commands of all kinds decode to what was sent, however cut', () => {
    const seed = freshSeed();
    const prng = new Prng(seed);
    for (let round = 0; round < 150; round++) {
      const commands: string[][] = [];
      let stream = '';
      for (let i = prng.below(20); i >= 0; i--) {
        const words = Array.from({ length: prng.between(1, 6) }, () => randomWord(prng));
        if (prng.chance(0.2)) {
          const line = words.map((word) => quote(word.slice(0, 3), prng)).join(' ');
          stream += `${line}\r\n`;
          commands.push(words.map((word) => word.slice(0, 3)));
        } else {
          stream += encode(...words);
          commands.push(words);
        }
        if (prng.chance(0.1)) stream += prng.pick(['*0\r\n', '*-1\r\n', '\r\n']);
      }
      const limits = { inlineMax: 1024 };
      const bytes = bytesOf(stream);
      const ways = [[bytes], cutAt(bytes, 1), cutRandomly(bytes, prng, 10), cutRandomly(bytes, prng, 1000)];
      for (const pieces of ways) {
        for (const detach of [false, true]) {
          const decoded = decodePieces(pieces, { limits, detach });
          expect(decoded.commands, `seed ${seed} round ${round}`).toEqual(commands);
          expect(decoded.end).toBe('incomplete');
          expect(decoded.bufferedBytes).toBe(0);
        }
      }
    }
  });

  test('garbage never throws or hangs, and means the same however cut', () => {
    const seed = freshSeed();
    const prng = new Prng(seed);
    const scraps = ['*', '$', '\r\n', '\n', '\r', '\0', '"', "'", '\\', '-', '0', '1', '2', '3', '9', ' ', 'a', '*1\r\n', '*2\r\n', '$1\r\n', '$3\r\n', 'GET', encode('PING'), encode('SET', 'a', 'b')];
    for (let round = 0; round < 3000; round++) {
      let stream = '';
      for (let i = prng.below(30); i >= 0; i--) stream += prng.chance(0.1) ? String.fromCharCode(prng.below(256)) : prng.pick(scraps);
      const bytes = bytesOf(stream);
      const limits = { inlineMax: 20, bulkBytesMax: 50, multibulkMax: 30 };
      const authenticated = prng.chance(0.5);
      const whole = decodePieces([bytes], { limits, authenticated });
      for (const pieces of [cutAt(bytes, 1), cutRandomly(bytes, prng, 9)]) {
        for (const detach of [false, true]) {
          const decoded = decodePieces(pieces, { limits, authenticated, detach });
          expect(decoded, `seed ${seed} round ${round}: ${JSON.stringify(stream)}`).toEqual(whole);
        }
      }
    }
  });

  test('one flipped byte never makes parseRequestInto throw or read past the end', () => {
    const seed = freshSeed();
    const prng = new Prng(seed);
    const args = new Args();
    const clean = bytesOf(encode('SET', 'key:000000000012', 'x'.repeat(70)));
    for (let round = 0; round < 20_000; round++) {
      const bytes = new Uint8Array(clean.length + 20);
      bytes.fill(0x24);
      bytes.set(clean, 10);
      bytes[10 + prng.below(clean.length)] = prng.chance(0.5) ? prng.below(256) : prng.between(0x30, 0x39);
      if (!parseRequestInto(args, bytes, 10, 10 + clean.length)) continue;
      for (let i = 0; i < args.count; i++) {
        expect(args.start(i) >= 10 && args.start(i) <= args.end(i) && args.end(i) <= 10 + clean.length, `seed ${seed}`).toBe(true);
      }
    }
  });

  test('parseRequestInto takes exactly one command', () => {
    const args = new Args();
    const one = bytesOf(encode('GET', 'k'));
    expect(parseRequestInto(args, one, 0, one.length)).toBe(true);
    for (let end = 0; end < one.length; end++) expect(parseRequestInto(args, one, 0, end)).toBe(false);
    const two = bytesOf(encode('GET', 'k') + encode('GET', 'k'));
    expect(parseRequestInto(args, two, 0, two.length)).toBe(false);
    expect(parseRequestInto(args, two, one.length, two.length)).toBe(true);
    expect(args.latin1(1)).toBe('k');
    expect(parseRequestInto(args, bytesOf('*0\r\n'), 0, 4)).toBe(false);
    expect(parseRequestInto(args, bytesOf('PING\r\n'), 0, 6)).toBe(false);
  });
});

function randomWord(prng: Prng): string {
  const length = prng.chance(0.05) ? prng.below(5000) : prng.below(20);
  return Array.from({ length }, () => String.fromCharCode(prng.below(256))).join('');
}

function quote(word: string, prng: Prng): string {
  const plain = /^[a-zA-Z0-9]+$/.test(word);
  if (plain && prng.chance(0.5)) return word;
  // Apostrophes cannot carry line ends, NULs, or a backslash before an apostrophe.
  if (/^[^\n\r\0'\\]*$/.test(word) && prng.chance(0.5)) return `'${word}'`;
  return `"${Array.from(word, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`).join('')}"`;
}
