// Reads the configuration: a file in redis.conf's syntax, what it includes, then the directives of the command line. Every
// mistake is collected, so that the operator sees all of them at once; nothing starts with one of them left.
//
// Lines: words separated by blanks; "…" with \n \r \t \b \a \" \\ \xHH, '…' with \'; a line that begins with # is a comment.
// Names are of either case. `include <path>` reads that file there, a relative path being relative to the including file.
// A later line wins; a directive that accumulates adds, and the first one on the command line starts anew.
import { unreachable } from '../base/assert.ts';
import { OperationalError, errorText } from '../base/errors.ts';
import {
  DIRECTIVE_NAMES,
  defaultValues,
  directive,
  directiveNamed,
  directiveNamesAndAliases,
  relationMistakes,
  type ConfigValues,
  type DirectiveName,
} from './config-directives.ts';

/** Files, for a server that may not touch them itself. Both throw what the system says. */
export interface ConfigFiles {
  read(path: string): string;
  /** Puts `text` in place of the file at once and durably: temporary file, fsync, rename, fsync of the directory. */
  replace(path: string, text: string): void;
  /** `path` as seen from the directory of the file `from`; absolute and without . or .. */
  resolve(from: string, path: string): string;
}

/** Where a value comes from. */
export type ConfigSource =
  | { readonly kind: 'default' }
  | { readonly kind: 'file'; readonly file: string; readonly line: number }
  | { readonly kind: 'command line' };

export interface LoadedConfig {
  readonly values: ConfigValues;
  readonly sources: ReadonlyMap<DirectiveName, ConfigSource>;
  /** The file that CONFIG REWRITE writes; undefined: there is none. */
  readonly file: string | undefined;
}

const INCLUDE_DEPTH_MAX = 16;

/** The words of a line, or what is wrong with it. */
export function splitWords(line: string): readonly string[] | { readonly error: string } {
  const words: string[] = [];
  let at = 0;
  for (;;) {
    while (at < line.length && /\s/.test(line[at]!)) at++;
    if (at >= line.length) return words;
    const quote = line[at];
    if (quote === '"' || quote === "'") {
      const quoted = quote === '"' ? readDoubleQuoted(line, at + 1) : readSingleQuoted(line, at + 1);
      if (quoted === undefined) return { error: `the ${quote} at column ${at + 1} has no other end` };
      if (quoted.end < line.length && !/\s/.test(line[quoted.end]!)) return { error: `there must be a blank after the closing ${quote} at column ${quoted.end}` };
      words.push(quoted.text);
      at = quoted.end;
    } else {
      const start = at;
      while (at < line.length && !/\s/.test(line[at]!)) at++;
      words.push(line.slice(start, at));
    }
  }
}

interface Quoted {
  readonly text: string;
  readonly end: number;
}

const ESCAPES: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', b: '\b', a: '\x07' };

function readDoubleQuoted(line: string, start: number): Quoted | undefined {
  let text = '';
  for (let at = start; at < line.length; at++) {
    const c = line[at]!;
    if (c === '"') return { text, end: at + 1 };
    if (c !== '\\' || at + 1 >= line.length) {
      text += c;
      continue;
    }
    const hex = /^x([0-9a-fA-F]{2})/.exec(line.slice(at + 1, at + 4));
    if (hex !== null) {
      text += String.fromCharCode(parseInt(hex[1]!, 16));
      at += 3;
    } else {
      const escaped = line[++at]!;
      text += ESCAPES[escaped] ?? escaped;
    }
  }
  return undefined;
}

function readSingleQuoted(line: string, start: number): Quoted | undefined {
  let text = '';
  for (let at = start; at < line.length; at++) {
    const c = line[at]!;
    if (c === "'") return { text, end: at + 1 };
    if (c === '\\' && line[at + 1] === "'") {
      text += "'";
      at++;
    } else {
      text += c;
    }
  }
  return undefined;
}

/** A word as it must stand in a file to be read as itself. */
export function quoteWord(word: string): string {
  if (word !== '' && !/[\s"'\\#\x00-\x1f\x7f]/.test(word)) return word;
  const escaped = word.replace(/[\\"\x00-\x1f\x7f]/g, (c) => {
    if (c === '\\' || c === '"') return `\\${c}`;
    if (c === '\n') return '\\n';
    if (c === '\r') return '\\r';
    if (c === '\t') return '\\t';
    return `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`;
  });
  return `"${escaped}"`;
}

/** Number of letters to insert, leave out, replace or swap with the next to get from one name to the other. */
export function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let cost = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) cost = Math.min(cost, beforeLast[j - 2]! + 1);
      row.push(cost);
    }
    beforeLast = last;
    last = row;
  }
  return last[b.length]!;
}

/** The known name that an unknown one is most likely meant to be. */
export function nearestDirective(name: string): string | undefined {
  const lower = name.toLowerCase();
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(lower.length / 4)) + 1;
  for (const [known, canonical] of directiveNamesAndAliases()) {
    if (directive(canonical).hidden) continue;
    const distance = editDistance(lower, known);
    if (distance < bestDistance) {
      best = known;
      bestDistance = distance;
    }
  }
  return best;
}

class Loader {
  readonly values: ConfigValues = defaultValues();
  readonly sources = new Map<DirectiveName, ConfigSource>();
  /** Directives that a file inside another one sets. */
  readonly included = new Set<DirectiveName>();
  readonly mistakes: string[] = [];
  readonly #files: ConfigFiles;

  constructor(files: ConfigFiles) {
    this.#files = files;
  }

  readFile(path: string, from: string, above: readonly string[]): void {
    let text: string;
    try {
      text = this.#files.read(path);
    } catch (thrown) {
      this.mistakes.push(`${from}: cannot read ${path}: ${errorText(thrown)}`);
      return;
    }
    const chain = [...above, path];
    text.split('\n').forEach((line, i) => this.#line(line, path, i + 1, chain));
  }

  #line(line: string, file: string, number: number, chain: readonly string[]): void {
    const trimmed = line.trim();
    if (trimmed === '' || trimmed.startsWith('#')) return;
    const where = `${file}:${number}`;
    const words = splitWords(trimmed);
    if ('error' in words) {
      this.mistakes.push(`${where}: ${words.error}: ${trimmed}`);
      return;
    }
    const [name = '', ...rest] = words;
    if (name.toLowerCase() === 'include') this.#include(rest, file, where, chain);
    else this.set(name, rest, where, { kind: 'file', file, line: number }, chain.length > 1);
  }

  #include(words: readonly string[], file: string, where: string, chain: readonly string[]): void {
    const [path] = words;
    if (path === undefined || words.length > 1) {
      this.mistakes.push(`${where}: include takes one path, ${words.length} words were given`);
      return;
    }
    const target = this.#files.resolve(file, path);
    if (chain.includes(target)) {
      this.mistakes.push(`${where}: include goes round in a circle: ${[...chain, target].join(' → ')}`);
    } else if (chain.length >= INCLUDE_DEPTH_MAX) {
      this.mistakes.push(`${where}: more than ${INCLUDE_DEPTH_MAX} files inside one another`);
    } else {
      this.readFile(target, where, chain);
    }
  }

  set(given: string, words: readonly string[], where: string, source: ConfigSource, included: boolean): void {
    const name = directiveNamed(given);
    if (name === undefined) {
      const nearest = nearestDirective(given);
      this.mistakes.push(`${where}: ${given}: there is no such directive${nearest === undefined ? '' : `; did you mean ${nearest}?`}`);
      return;
    }
    const declaration = directive(name);
    const earlier = this.sources.get(name);
    // The command line replaces what files say, it does not add to it.
    const before = earlier?.kind === source.kind ? this.values[name] : undefined;
    const parsed = declaration.parse(words, before);
    this.sources.set(name, source);
    if (included) this.included.add(name);
    if (parsed.ok) {
      (this.values as Record<string, unknown>)[name] = parsed.value;
      return;
    }
    const shown = declaration.sensitive ? '(not shown)' : words.length === 0 ? 'nothing' : words.map(quoteWord).join(' ');
    this.mistakes.push(`${where}: ${given}: ${parsed.error}; given: ${shown}; expected: ${declaration.expected}`);
  }

  /** Where it was set, for messages. */
  where(name: DirectiveName): string {
    const source = this.sources.get(name);
    return source === undefined ? 'default' : source.kind === 'file' ? `${source.file}:${source.line}` : source.kind;
  }
}

/** `--name value … --name value …` as lines of words; what does not fit is a mistake. */
function commandLineDirectives(args: readonly string[], mistakes: string[]): string[][] {
  const directives: string[][] = [];
  for (const arg of args) {
    if (arg.startsWith('--') && arg.length > 2) directives.push([arg.slice(2)]);
    else if (directives.length > 0) directives[directives.length - 1]!.push(arg);
    else mistakes.push(`command line: ${arg}: expected --directive before it`);
  }
  return directives;
}

/**
 * The configuration that the file (if any) and the command line's `--directive value…` give.
 * Throws OperationalError CONFIG with all mistakes, one a line.
 */
export function loadConfig(files: ConfigFiles, file: string | undefined, args: readonly string[]): LoadedConfig {
  const loader = new Loader(files);
  const path = file === undefined ? undefined : files.resolve('', file);
  if (path !== undefined) loader.readFile(path, 'command line', []);
  for (const [name = '', ...words] of commandLineDirectives(args, loader.mistakes)) {
    loader.set(name, words, 'command line', { kind: 'command line' }, false);
  }
  // Relations between values that could not be read say nothing.
  if (loader.mistakes.length === 0) {
    for (const { directive: name, problem } of relationMistakes(loader.values)) {
      loader.mistakes.push(`${loader.where(name)}: ${name}: ${problem}`);
    }
  }
  failWith(loader.mistakes);
  return { values: loader.values, sources: loader.sources, file: path };
}

function failWith(mistakes: readonly string[]): void {
  if (mistakes.length === 0) return;
  const head = mistakes.length === 1 ? 'the configuration has a mistake' : `the configuration has ${mistakes.length} mistakes`;
  throw new OperationalError('CONFIG', `${head}:\n${mistakes.map((mistake) => `  ${mistake}`).join('\n')}`);
}

/** What the file alone says, relations unchecked: the command line may be what makes them hold. */
function readFileAlone(files: ConfigFiles, file: string): Loader {
  const loader = new Loader(files);
  loader.readFile(file, file, []);
  failWith(loader.mistakes);
  return loader;
}

const REWRITE_SIGNATURE = '# Generated by CONFIG REWRITE';

/**
 * Writes the values that `currentOf` gives into the file. Comments, order and every line that already says the right thing stay;
 * a directive that has changed is replaced where it stands; one that is not in the file is put at its end, and so is one that an
 * included file sets, for there it wins. The new text is read again before it is written: it must give these values.
 */
export function rewriteFile(files: ConfigFiles, file: string, currentOf: (name: DirectiveName) => unknown): void {
  const before = files.read(file);
  const old = readFileAlone(files, file);
  const differs = (loader: Loader, name: DirectiveName): boolean => {
    const { format } = directive(name);
    return format(loader.values[name]) !== format(currentOf(name));
  };
  const changed = DIRECTIVE_NAMES.filter((name) => differs(old, name));
  if (changed.length === 0) return;
  const text = rewriteText(before, changed, old.included, currentOf);
  const preview: ConfigFiles = {
    read: (path) => (path === file ? text : files.read(path)),
    replace: () => unreachable(),
    resolve: (from, path) => files.resolve(from, path),
  };
  const again = readFileAlone(preview, file);
  const wrong = DIRECTIVE_NAMES.filter((name) => differs(again, name));
  if (wrong.length > 0) throw new OperationalError('CONFIG', `${wrong.join(', ')}: set in an included file in a way that ${file} cannot overrule`);
  files.replace(file, text);
}

function rewriteText(
  before: string,
  changed: readonly DirectiveName[],
  included: ReadonlySet<DirectiveName>,
  currentOf: (name: DirectiveName) => unknown,
): string {
  const lines: Array<string | undefined> = before.split('\n');
  if (lines[lines.length - 1] === '') lines.pop();
  const standing = new Map<DirectiveName, number[]>();
  lines.forEach((line = '', i) => {
    const words = line.trim().startsWith('#') ? [] : splitWords(line.trim());
    const name = 'error' in words || words[0] === undefined ? undefined : directiveNamed(words[0]);
    if (name !== undefined) standing.set(name, [...(standing.get(name) ?? []), i]);
  });
  const appended: string[] = [];
  for (const name of changed) {
    const wanted = directive(name)
      .lines(currentOf(name))
      .map((words) => [name, ...words.map(quoteWord)].join(' '));
    for (const place of standing.get(name) ?? []) lines[place] = included.has(name) ? undefined : wanted.shift();
    appended.push(...wanted);
  }
  const kept = lines.filter((line) => line !== undefined);
  if (appended.length > 0 && !kept.includes(REWRITE_SIGNATURE)) kept.push(REWRITE_SIGNATURE);
  return `${[...kept, ...appended].join('\n')}\n`;
}
