import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { LogLimiter, PinoLogger, type LogLevel, type LoggerOptions } from '../../src/adapters/logger.ts';
import { OperationalError } from '../../src/base/errors.ts';

function capture(overrides: Partial<LoggerOptions> = {}): { logger: PinoLogger; lines: string[] } {
  const lines: string[] = [];
  const options: LoggerOptions = { level: 'debug', format: 'text', logfile: '', node: 'n1', thread: 'consensus', ...overrides };
  return { logger: new PinoLogger(options, { write: (line) => lines.push(line) }), lines };
}

describe('the logger', () => {
  test('writes one readable line a record', () => {
    const { logger, lines } = capture();
    logger.warn({ peer: 'n2', term: 7, reason: 'two words', nothing: null, list: [1, 2] }, 'lost the peer');
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z n1 WARN consensus: lost the peer /);
    expect(lines[0]).toMatch(/ peer=n2 term=7 reason="two words" nothing=null list=\[1,2\]\n$/);
  });

  test('keeps a record on one line, whatever is in it', () => {
    const { logger, lines } = capture();
    logger.info({ key: 'a\nb\u2028c\x1b[2J\x7f', 'bad\nkey': 'x="y"' }, 'first\nsecond');
    expect(lines).toHaveLength(1);
    expect(lines[0]?.slice(0, -1)).toMatch(/^[\x20-\x7e]+$/);
    expect(lines[0]).toMatch('key="a\\nb\\u2028c\\u001b[2J\\u007f"');
  });

  test('fields cannot pose as time or level', () => {
    const { logger, lines } = capture();
    logger.info({ time: 'never', level: 'none', msg: 'other' }, 'message');
    expect(lines[0]).toMatch(/Z n1 INFO consensus: message time=never level=none msg=other\n$/);
  });

  test('shows an error with its stack, and anything else that was thrown', () => {
    const { logger, lines } = capture();
    logger.error({ error: new OperationalError('LISTEN', 'port taken') }, 'failed');
    logger.error({ error: 'just text' }, 'failed');
    expect(lines[0]).toMatch('port taken');
    expect(lines[0]).toMatch('logger.test.ts');
    expect(lines[1]).toMatch('error="just text"');
  });

  test('writes JSON if asked to', () => {
    const { logger, lines } = capture({ format: 'json' });
    logger.warn({ peer: 'n2' }, 'lost the peer');
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({ level: 'warn', node: 'n1', thread: 'consensus', peer: 'n2', msg: 'lost the peer' });
  });

  test.each<[LogLevel, number]>([
    ['debug', 4],
    ['verbose', 3],
    ['notice', 3],
    ['warning', 2],
  ])('at loglevel %s shows %i of the four levels, also when set later', (level, shown) => {
    const first = capture({ level });
    const later = capture({ level: level === 'debug' ? 'warning' : 'debug' });
    later.logger.setLevel(level);
    for (const { logger, lines } of [first, later]) {
      logger.debug({}, 'd');
      logger.info({}, 'i');
      logger.warn({}, 'w');
      logger.error({}, 'e');
      expect(lines).toHaveLength(shown);
    }
  });

  test('appends to its file at once, beside another thread’s logger', () => {
    const directory = mkdtempSync(join(tmpdir(), 'holdfast-log-'));
    try {
      const options: LoggerOptions = { level: 'notice', format: 'text', logfile: join(directory, 'log'), node: 'n1', thread: 'engine' };
      const one = new PinoLogger(options);
      const two = new PinoLogger({ ...options, thread: 'consensus' });
      one.info({}, 'first');
      two.info({}, 'second');
      one.info({}, 'third');
      const lines = readFileSync(options.logfile, 'utf8').trimEnd().split('\n');
      expect(lines.map((line) => line.split(' ').slice(3).join(' '))).toEqual(['engine: first', 'consensus: second', 'engine: third']);
      expect(() => new PinoLogger({ ...options, logfile: join(directory, 'none', 'log') })).toThrow(OperationalError);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});

describe('the log limiter', () => {
  test('lets a key pass once in its time and says how many it held back', () => {
    let nowMs = 0;
    const limiter = new LogLimiter(1000, 8, () => nowMs);
    expect(limiter.pass('a')).toBe(0);
    expect(limiter.pass('a')).toBeUndefined();
    expect(limiter.pass('a')).toBeUndefined();
    expect(limiter.pass('b')).toBe(0);
    nowMs = 1000;
    expect(limiter.pass('a')).toBe(2);
    expect(limiter.pass('a')).toBeUndefined();
  });

  test('counts under one key when there are too many', () => {
    let nowMs = 0;
    const limiter = new LogLimiter(1000, 8, () => nowMs);
    let passed = 0;
    for (let i = 0; i < 1000; i++) if (limiter.pass(`key ${i}`) !== undefined) passed++;
    expect(passed).toBe(9);
    nowMs = 1000;
    expect(limiter.pass('key 5000')).toBe(0);
  });
});
