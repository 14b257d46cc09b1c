// The real Logger: pino, written synchronously, so that the line that says why a process ended is there. Each thread
// makes its own; a line is one write to a descriptor opened for appending, so lines of two threads do not mix.
//
// text:  2026-11-20T15:00:00.000Z n1 WARN consensus: message key=value key="two words"
// json:  {"level":"warn","time":"2026-11-20T15:00:00.000Z","node":"n1","thread":"consensus","key":"value","msg":"message"}
//
// A record is one line whatever is in it: in text, control characters and quotes are escaped as in JSON.
import { pino } from 'pino';
import { OperationalError, errorText } from '../base/errors.ts';
import type { Logger } from '../ports/logger.ts';

/** Redis's names for `loglevel`. Redis's levels are messages' too; ours are fewer, so verbose is as notice. */
export const LOG_LEVELS = { debug: 'debug', verbose: 'info', notice: 'info', warning: 'warn' } as const;
export type LogLevel = keyof typeof LOG_LEVELS;

export interface LoggerOptions {
  readonly level: LogLevel;
  readonly format: 'text' | 'json';
  /** A path; empty for stdout, as in Redis. */
  readonly logfile: string;
  /** Name of the node. */
  readonly node: string;
  /** Which thread or part speaks. */
  readonly thread: string;
}

/** Where lines go; pino hands over one at a time. */
export interface LineSink {
  write(line: string): void;
}

export class PinoLogger implements Logger {
  readonly #pino: pino.Logger;

  constructor(options: LoggerOptions, sink: LineSink = openSink(options.logfile)) {
    const text = options.format === 'text';
    this.#pino = pino(
      {
        level: LOG_LEVELS[options.level],
        base: text ? null : { node: options.node, thread: options.thread },
        timestamp: pino.stdTimeFunctions.isoTime,
        formatters: { level: (label) => ({ level: label }) },
        serializers: { error: serializeError, err: serializeError },
        ...(text ? { nestedKey: 'fields' } : {}),
      },
      text ? new TextLines(options.node, options.thread, sink) : sink,
    );
  }

  setLevel(level: LogLevel): void {
    this.#pino.level = LOG_LEVELS[level];
  }

  debug(fields: object, message: string): void {
    this.#pino.debug(fields, message);
  }

  info(fields: object, message: string): void {
    this.#pino.info(fields, message);
  }

  warn(fields: object, message: string): void {
    this.#pino.warn(fields, message);
  }

  error(fields: object, message: string): void {
    this.#pino.error(fields, message);
  }
}

function openSink(logfile: string): LineSink {
  try {
    const destination = pino.destination({ dest: logfile === '' ? 1 : logfile, append: true, sync: true });
    // A log that cannot be written (disk full, reader gone) loses lines; it does not end the database.
    destination.on('error', () => {});
    return destination;
  } catch (cause) {
    throw new OperationalError('CONFIG', `logfile ${logfile} cannot be written: ${errorText(cause)}`, { cause });
  }
}

/** pino's own serializer keeps the stack in `error.stack` only for Error objects; what is thrown may be anything. */
function serializeError(thrown: unknown): unknown {
  return thrown instanceof Error ? pino.stdSerializers.err(thrown) : errorText(thrown);
}

/** Turns pino's JSON lines into text ones. Logging is rare, so that parsing again is cheaper than a second serializer. */
class TextLines implements LineSink {
  readonly #node: string;
  readonly #thread: string;
  readonly #sink: LineSink;

  constructor(node: string, thread: string, sink: LineSink) {
    this.#node = node;
    this.#thread = thread;
    this.#sink = sink;
  }

  write(line: string): void {
    const record = JSON.parse(line) as { level: string; time: string; msg?: string; fields?: Record<string, unknown> };
    let text = `${record.time} ${this.#node} ${record.level.toUpperCase()} ${this.#thread}: ${escapeControls(record.msg ?? '')}`;
    for (const [key, value] of Object.entries(record.fields ?? {})) text += ` ${escapeControls(key)}=${valueText(value)}`;
    this.#sink.write(`${text}\n`);
  }
}

function valueText(value: unknown): string {
  if (typeof value === 'string') return /^[^\s"=\\\p{Cc}]+$/u.test(value) ? value : escapeControls(JSON.stringify(value));
  return escapeControls(JSON.stringify(value) ?? 'undefined');
}

/** JSON leaves DEL, C1 and the two Unicode line separators as they are; a terminal may not. */
function escapeControls(text: string): string {
  return text.replace(/[\p{Cc}\u2028\u2029]/gu, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/**
 * Holds back what repeats: each key is let through once in `everyMs`. The keys are bounded, so that a peer that
 * changes its address for every attempt is counted under one key with all others.
 */
export class LogLimiter {
  readonly #everyMs: number;
  readonly #keysMax: number;
  readonly #nowMs: () => number;
  readonly #keys = new Map<string, { untilMs: number; heldBack: number }>();

  constructor(everyMs: number, keysMax: number, nowMs: () => number) {
    this.#everyMs = everyMs;
    this.#keysMax = keysMax;
    this.#nowMs = nowMs;
  }

  /** How many with this key were held back since the last that passed, or undefined: hold this one back as well. */
  pass(key: string): number | undefined {
    const nowMs = this.#nowMs();
    let slot = this.#keys.get(key);
    if (slot === undefined) {
      if (this.#keys.size >= this.#keysMax) {
        for (const [old, { untilMs }] of this.#keys) if (untilMs <= nowMs) this.#keys.delete(old);
      }
      const shared = this.#keys.size >= this.#keysMax;
      slot = shared ? this.#keys.get('') : undefined;
      if (slot === undefined) {
        slot = { untilMs: -Infinity, heldBack: 0 };
        this.#keys.set(shared ? '' : key, slot);
      }
    }
    if (nowMs < slot.untilMs) {
      slot.heldBack++;
      return undefined;
    }
    const heldBack = slot.heldBack;
    slot.untilMs = nowMs + this.#everyMs;
    slot.heldBack = 0;
    return heldBack;
  }
}
