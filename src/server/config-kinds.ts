// The kinds of directive: how each value is read from words, checked and written again. Error texts are those of Redis's
// CONFIG SET; `expected` says the same for the operator who reads a message about the configuration file.

export type Parsed<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: string };

export type DirectiveGroup = 'cluster' | 'network' | 'clients' | 'storage' | 'snapshots' | 'memory' | 'encodings' | 'operation' | 'fixed';

export interface Directive<T> {
  readonly group: DirectiveGroup;
  readonly defaultValue: T;
  /** CONFIG SET may change it. */
  readonly runtime: boolean;
  /** Machine state: CONFIG SET is a log record. */
  readonly replicated: boolean;
  /** Something Holdfast does not let one choose: CONFIG SET to what it is anyway is taken. */
  readonly fixed: boolean;
  /** CONFIG GET shows it only by its whole name, the example file not at all. */
  readonly hidden: boolean;
  /** Never logged. */
  readonly sensitive: boolean;
  /** Takes several words; CONFIG SET's one value is split at spaces. */
  readonly multiple: boolean;
  /** A line of the file adds to the lines before it, instead of replacing them. */
  readonly accumulates: boolean;
  readonly aliases: readonly string[];
  readonly docs: string;
  /** What a value looks like, for messages. */
  readonly expected: string;
  /** `before`: the value so far, for those that add to it or change only a part. */
  parse(this: void, words: readonly string[], before: T | undefined): Parsed<T>;
  /** CONFIG GET's text. */
  format(this: void, value: T): string;
  /** The words after the name in the file, a list for each line. */
  lines(this: void, value: T): ReadonlyArray<readonly string[]>;
}

export interface Options {
  readonly group: DirectiveGroup;
  readonly docs: string;
  readonly runtime?: boolean;
  readonly replicated?: boolean;
  readonly hidden?: boolean;
  readonly sensitive?: boolean;
  readonly aliases?: readonly string[];
}

export interface Peer {
  readonly id: string;
  readonly host: string;
  readonly peerPort: number;
  /** Port for clients; undefined: the same as this node's. */
  readonly clientPort: number | undefined;
}

export interface BufferLimit {
  readonly hardBytes: number;
  readonly softBytes: number;
  readonly softSeconds: number;
}
export interface BufferLimits {
  readonly normal: BufferLimit;
  readonly replica: BufferLimit;
  readonly pubsub: BufferLimit;
}

const fail = (error: string): { readonly ok: false; readonly error: string } => ({ ok: false, error });
const done = <T>(value: T): Parsed<T> => ({ ok: true, value });

type Codec<T> = Pick<Directive<T>, 'expected' | 'parse' | 'format'> & Partial<Pick<Directive<T>, 'lines' | 'multiple' | 'accumulates' | 'fixed'>>;

function declare<T>(defaultValue: T, options: Options, codec: Codec<T>): Directive<T> {
  return {
    runtime: false,
    replicated: false,
    hidden: false,
    sensitive: false,
    aliases: [],
    fixed: false,
    multiple: false,
    accumulates: false,
    lines: (value) => [[codec.format(value)]],
    ...options,
    ...codec,
    defaultValue,
  };
}

/** For kinds whose value is one word. */
function single<T>(parse: (word: string) => Parsed<T>): (words: readonly string[]) => Parsed<T> {
  return ([word, ...more]) => (word === undefined || more.length > 0 ? fail('wrong number of arguments') : parse(word));
}

export function bool(defaultValue: boolean, options: Options): Directive<boolean> {
  return declare(defaultValue, options, {
    expected: 'yes or no',
    parse: single((word) => {
      const lower = word.toLowerCase();
      return lower === 'yes' || lower === 'no' ? done(lower === 'yes') : fail("argument must be 'yes' or 'no'");
    }),
    format: (value) => (value ? 'yes' : 'no'),
  });
}

function inRange(value: number, min: number, max: number): Parsed<number> {
  return value >= min && value <= max ? done(value) : fail(`argument must be between ${min} and ${max} inclusive`);
}

export function int(defaultValue: number, min: number, max: number, options: Options): Directive<number> {
  return declare<number>(defaultValue, options, {
    expected: max === Number.MAX_SAFE_INTEGER ? `a whole number from ${min}` : `a whole number from ${min} to ${max}`,
    parse: single((word) =>
      /^(0|-?[1-9][0-9]{0,18})$/.test(word) ? inRange(Number(word), min, max) : fail("argument couldn't be parsed into an integer"),
    ),
    format: String,
  });
}

export function octal(defaultValue: number, max: number, options: Options): Directive<number> {
  const form = /^[0-7]{1,8}$/;
  return declare<number>(defaultValue, options, {
    expected: `an octal number from 0 to ${max.toString(8)}`,
    parse: single((word) => {
      if (!form.test(word)) return fail("argument couldn't be parsed as an octal number");
      const value = parseInt(word, 8);
      return value <= max ? done(value) : fail(`argument must be between 0 and ${max.toString(8)} inclusive`);
    }),
    format: (value) => value.toString(8),
  });
}

const UNITS: Readonly<Record<string, number>> = { '': 1, b: 1, k: 1000, kb: 1024, m: 1000 ** 2, mb: 1024 ** 2, g: 1000 ** 3, gb: 1024 ** 3 };

/** Bytes with redis.conf's units, or undefined. */
export function parseBytes(word: string): number | undefined {
  const match = /^([0-9]{1,20})([a-z]{0,2})$/i.exec(word);
  const unit = match === null ? undefined : UNITS[match[2]!.toLowerCase()];
  return match === null || unit === undefined ? undefined : Number(match[1]) * unit;
}

/** As CONFIG REWRITE writes bytes: in the largest unit that divides them. */
export function formatBytes(bytes: number): string {
  for (const unit of ['gb', 'mb', 'kb']) if (bytes > 0 && bytes % UNITS[unit]! === 0) return `${bytes / UNITS[unit]!}${unit}`;
  return String(bytes);
}

export function memory(defaultValue: number, min: number, max: number, options: Options): Directive<number> {
  const upTo = max === Number.MAX_SAFE_INTEGER ? '' : ` to ${formatBytes(max)}`;
  return declare<number>(defaultValue, options, {
    expected: `bytes with an optional unit (b, k, kb, m, mb, g, gb), from ${formatBytes(min)}${upTo}`,
    parse: single((word) => {
      const bytes = parseBytes(word);
      return bytes === undefined ? fail('argument must be a memory value') : inRange(bytes, min, max);
    }),
    format: String,
    lines: (value) => [[formatBytes(value)]],
  });
}

export function oneOf<E extends string>(defaultValue: NoInfer<E>, values: readonly E[], options: Options): Directive<E> {
  return declare<E>(defaultValue, options, {
    expected: `one of ${values.join(', ')}`,
    parse: single((word) => {
      const value = values.find((candidate) => candidate === word.toLowerCase());
      return value === undefined ? fail(`argument(s) must be one of the following: ${values.join(', ')}`) : done(value);
    }),
    format: (value) => value,
  });
}

export function text(defaultValue: string, options: Options & { readonly form?: RegExp; readonly expected?: string }): Directive<string> {
  const { form, expected = 'a text', ...rest } = options;
  return declare(defaultValue, rest, {
    expected,
    parse: single((word) => (form === undefined || form.test(word) ? done(word) : fail(`argument must be ${expected}`))),
    format: (value) => value,
  });
}

/** Words of which the last line counts, as bind. */
export function words(defaultValue: readonly string[], options: Options): Directive<readonly string[]> {
  return declare(defaultValue, options, {
    expected: 'one or more words',
    multiple: true,
    parse: (given) => done(given.length === 1 && given[0] === '' ? [] : [...given]),
    format: (value) => value.join(' '),
    lines: (value) => [value.length === 0 ? [''] : value],
  });
}

/** Lines that are kept as they are, one text each. */
export function list(options: Options): Directive<readonly string[]> {
  return declare<readonly string[]>([], options, {
    expected: 'words',
    multiple: true,
    accumulates: true,
    parse: (given, before) => done(given.length === 1 && given[0] === '' ? [] : [...(before ?? []), given.join(' ')]),
    format: (value) => value.join(', '),
    lines: (value) => value.map((line) => line.split(' ')),
  });
}

export function fixed(value: string, why: string, aliases: readonly string[] = []): Directive<string> {
  const shown = value === '' ? '""' : value;
  return declare(value, { group: 'fixed', runtime: true, aliases, docs: `Always ${shown}: ${why}.` }, {
    expected: `${shown}, or no such line`,
    fixed: true,
    multiple: true,
    parse: (given) => (given.join(' ').toLowerCase() === value ? done(value) : fail(`it is always ${shown} in Holdfast: ${why}`)),
    format: (current) => current,
  });
}

const CLASSES: ReadonlyArray<readonly [keyof BufferLimits, string]> = [
  ['normal', 'normal'],
  ['replica', 'slave'],
  ['pubsub', 'pubsub'],
];
const MIB = 1024 * 1024;
const BUFFER_LIMITS_DEFAULT: BufferLimits = {
  normal: { hardBytes: 0, softBytes: 0, softSeconds: 0 },
  replica: { hardBytes: 256 * MIB, softBytes: 64 * MIB, softSeconds: 60 },
  pubsub: { hardBytes: 32 * MIB, softBytes: 8 * MIB, softSeconds: 60 },
};

function parseBufferLimits(given: readonly string[], before: BufferLimits): Parsed<BufferLimits> {
  if (given.length === 0 || given.length % 4 !== 0) return fail('Wrong number of arguments in buffer limit configuration.');
  let limits = before;
  for (let i = 0; i < given.length; i += 4) {
    const name = given[i]!.toLowerCase();
    const found = CLASSES.find(([own, redis]) => own === name || redis === name);
    if (found === undefined) return fail('Invalid client class specified in buffer limit configuration.');
    const hardBytes = parseBytes(given[i + 1]!);
    const softBytes = parseBytes(given[i + 2]!);
    if (hardBytes === undefined || softBytes === undefined || !/^[0-9]{1,9}$/.test(given[i + 3]!)) {
      return fail('Error in hard, soft or soft_seconds setting in buffer limit configuration.');
    }
    limits = { ...limits, [found[0]]: { hardBytes, softBytes, softSeconds: Number(given[i + 3]) } };
  }
  return done(limits);
}

export function bufferLimits(options: Options): Directive<BufferLimits> {
  return declare(BUFFER_LIMITS_DEFAULT, options, {
    expected: '<normal|replica|pubsub> <hard bytes> <soft bytes> <soft seconds>, once for each class',
    multiple: true,
    accumulates: true,
    parse: (given, before) => parseBufferLimits(given, before ?? BUFFER_LIMITS_DEFAULT),
    format: (value) =>
      CLASSES.map(([own, redis]) => `${redis} ${value[own].hardBytes} ${value[own].softBytes} ${value[own].softSeconds}`).join(' '),
    lines: (value) =>
      CLASSES.map(([own]) => [own, formatBytes(value[own].hardBytes), formatBytes(value[own].softBytes), String(value[own].softSeconds)]),
  });
}

const PEER_FORM = /^([A-Za-z0-9_-]{1,32})=(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})(?:\/([0-9]{1,5}))?$/;

function parsePeer(word: string): Peer | undefined {
  const match = PEER_FORM.exec(word);
  if (match === null) return undefined;
  const peerPort = Number(match[3]);
  const clientPort = match[4] === undefined ? undefined : Number(match[4]);
  const valid = (port: number | undefined): boolean => port === undefined || (port > 0 && port <= 65535);
  if (!valid(peerPort) || !valid(clientPort)) return undefined;
  return { id: match[1]!, host: match[2]!.replace(/^\[(.*)\]$/, '$1'), peerPort, clientPort };
}

export function formatPeer({ id, host, peerPort, clientPort }: Peer): string {
  return `${id}=${host.includes(':') ? `[${host}]` : host}:${peerPort}${clientPort === undefined ? '' : `/${clientPort}`}`;
}

export function peerList(options: Options): Directive<readonly Peer[]> {
  const form = '<name>=<host>:<peer port>[/<client port>]';
  return declare<readonly Peer[]>([], options, {
    expected: `members as ${form}, separated by commas or spaces`,
    multiple: true,
    accumulates: true,
    parse: (given, before) => {
      const members = given.flatMap((word) => word.split(',')).filter((word) => word !== '');
      if (members.length === 0) return done([]);
      const peers: Peer[] = [...(before ?? [])];
      for (const member of members) {
        const peer = parsePeer(member);
        if (peer === undefined) return fail(`'${member}' is not of the form ${form}`);
        peers.push(peer);
      }
      return done(peers);
    },
    format: (value) => value.map(formatPeer).join(','),
    lines: (value) => [[value.map(formatPeer).join(',')]],
  });
}
