// The configuration in force on this node: CONFIG GET, SET and REWRITE over the declared directives.
//
// What must hold:
// - `values` changes only through `set`, all of a CONFIG SET's local directives at once or none.
// - Replicated settings are read from the machine (`settings`), never from `values`, which only seeds them at bootstrap.
import { globMatchText } from '../commands/glob.ts';
import { REPLICATED_SETTING_NAMES, ReplicatedSettings, type ReplicatedSettingName } from '../commands/replicated-settings.ts';
import { errorText } from '../base/errors.ts';
import {
  DIRECTIVE_NAMES,
  directive,
  directiveNamed,
  directiveNamesAndAliases,
  relationMistakes,
  type ConfigValues,
  type DirectiveName,
} from './config-directives.ts';
import { rewriteFile, type ConfigFiles, type LoadedConfig } from './config-file.ts';

/** A CONFIG SET that was checked. */
export interface ConfigChange {
  readonly local: Partial<ConfigValues>;
  /** To be logged, in this order. */
  readonly replicated: ReadonlyArray<readonly [ReplicatedSettingName, number]>;
}

export type ConfigListener = (changed: ReadonlySet<DirectiveName>, values: Readonly<ConfigValues>) => void;

const isReplicated = (name: DirectiveName): name is ReplicatedSettingName & DirectiveName => directive(name).replicated;

export class Config {
  readonly #values: ConfigValues;
  readonly #file: string | undefined;
  readonly #files: ConfigFiles;
  readonly #settings: () => Readonly<ReplicatedSettings>;
  readonly #listeners: ConfigListener[] = [];

  /** `settings`: the machine's, or undefined before there is one; then those of the file are shown. */
  constructor(loaded: LoadedConfig, files: ConfigFiles, settings?: () => Readonly<ReplicatedSettings>) {
    this.#values = { ...loaded.values };
    this.#file = loaded.file;
    this.#files = files;
    this.#settings = settings ?? ((): ReplicatedSettings => this.seed());
  }

  get values(): Readonly<ConfigValues> {
    return this.#values;
  }

  /** The path of the configuration file, for INFO; '' without one. */
  get file(): string {
    return this.#file ?? '';
  }

  /** The replicated settings that the file gives, for bootstrap. */
  seed(): ReplicatedSettings {
    const settings = new ReplicatedSettings();
    for (const name of REPLICATED_SETTING_NAMES) settings[name] = this.#values[name];
    return settings;
  }

  /** Called after each change of local directives, with all that changed together. */
  onChange(listener: ConfigListener): void {
    this.#listeners.push(listener);
  }

  #current(name: DirectiveName): unknown {
    return isReplicated(name) ? this.#settings()[name] : this.#values[name];
  }

  /** CONFIG GET: names as asked for, or as declared where a pattern matched; each once. */
  get(patterns: readonly string[]): Array<readonly [string, string]> {
    const found = new Map<string, string>();
    const show = (shown: string, name: DirectiveName): void => {
      if (!found.has(shown)) found.set(shown, directive(name).format(this.#current(name)));
    };
    for (const pattern of patterns) {
      if (!/[[*?]/.test(pattern)) {
        const name = directiveNamed(pattern);
        if (name !== undefined) show(pattern, name);
        continue;
      }
      for (const [known, name] of directiveNamesAndAliases()) {
        if (!directive(name).hidden && globMatchText(pattern, known, true)) show(known, name);
      }
    }
    return [...found];
  }

  /** CONFIG SET's checks: everything that must be known before anything changes. A string is the error reply. */
  check(pairs: ReadonlyArray<readonly [string, string]>): ConfigChange | string {
    const names: DirectiveName[] = [];
    let refused: string | undefined;
    for (const [given] of pairs) {
      const name = directiveNamed(given);
      if (name === undefined) return refused ?? `ERR Unknown option or number of arguments for CONFIG SET - '${given}'`;
      if (!directive(name).runtime) refused ??= failed(given, "can't set immutable config");
      else if (names.includes(name)) refused ??= failed(given, 'duplicate parameter');
      names.push(name);
    }
    if (refused !== undefined) return refused;
    const local: Partial<ConfigValues> = {};
    const replicated: Array<readonly [ReplicatedSettingName, number]> = [];
    for (const [i, [, text]] of pairs.entries()) {
      const name = names[i]!;
      const declaration = directive(name);
      const words = declaration.multiple ? text.split(' ').filter((word, _, all) => word !== '' || all.length === 1) : [text];
      // Those that add up within a file are replaced whole by CONFIG SET; client-output-buffer-limit changes the named classes only.
      const before = name === 'client-output-buffer-limit' ? this.#current(name) : undefined;
      const parsed = declaration.parse(words, before);
      if (!parsed.ok) return failed(name, parsed.error);
      if (isReplicated(name)) replicated.push([name, parsed.value as number]);
      else (local as Record<string, unknown>)[name] = parsed.value;
    }
    const [mistake] = relationMistakes({ ...this.#values, ...local });
    if (mistake !== undefined) return failed(mistake.directive, mistake.problem);
    return { local, replicated };
  }

  /** Puts the local part of a checked change in force. */
  apply(change: ConfigChange): void {
    const changed = new Set<DirectiveName>();
    for (const name of DIRECTIVE_NAMES) {
      const { format } = directive(name);
      if (Object.hasOwn(change.local, name) && format(change.local[name]) !== format(this.#values[name])) changed.add(name);
    }
    Object.assign(this.#values, change.local);
    if (changed.size > 0) for (const listener of this.#listeners) listener(changed, this.#values);
  }

  /** CONFIG REWRITE: an error reply's text, or undefined when the file is written. */
  rewrite(): string | undefined {
    if (this.#file === undefined) return 'ERR The server is running without a config file';
    try {
      rewriteFile(this.#files, this.#file, (name) => this.#current(name));
      return undefined;
    } catch (thrown) {
      return `ERR Rewriting config file: ${errorText(thrown)}`;
    }
  }
}

function failed(name: string, problem: string): string {
  return `ERR CONFIG SET failed (possibly related to argument '${name}') - ${problem}`;
}

/** The commented example, config/holdfast.conf: every directive with its default, commented out. */
export function exampleConfig(): string {
  const titles: ReadonlyArray<readonly [string, string]> = [
    ['cluster', 'The cluster'],
    ['network', 'Clients: the network'],
    ['clients', 'Clients: their buffers'],
    ['storage', 'Storage'],
    ['snapshots', 'Snapshots and the archive'],
    ['memory', 'Memory and expiry'],
    ['encodings', 'Replicated settings. They seed a new cluster; after that CONFIG SET changes them, on all nodes at once.'],
    ['operation', 'Operation'],
    ['fixed', "Redis's directives whose value is given in Holdfast. A line that says anything else is refused."],
  ];
  const out = [
    '# Holdfast: every directive, with its default. The syntax is that of redis.conf.',
    '# Sizes take units: 1k is 1000 bytes, 1kb 1024, and so on with m, mb, g, gb.',
    '# Names are of either case; include <path> reads another file there; a later line wins.',
    '# (runtime): CONFIG SET changes it. Checked against the declarations by test/server/config-example.test.ts.',
  ];
  for (const [group, title] of titles) {
    out.push('', `# ${'-'.repeat(Math.min(100, title.length))}`, `# ${title}`);
    for (const name of DIRECTIVE_NAMES) {
      const { group: own, docs, hidden, runtime, aliases, defaultValue, lines } = directive(name);
      if (own !== group || hidden) continue;
      const notes = [...(runtime && own !== 'fixed' ? ['runtime'] : []), ...aliases.map((alias) => `also ${alias}`)];
      out.push('', ...wrap(`${docs}${notes.length > 0 ? ` (${notes.join(', ')})` : ''}`));
      for (const words of lines(defaultValue)) out.push(`# ${[name, ...words.map((word) => (word === '' ? '""' : word))].join(' ')}`);
    }
  }
  return `${out.join('\n')}\n`;
}

function wrap(text: string): string[] {
  const lines: string[] = [];
  let line = '#';
  for (const word of text.split(' ')) {
    if (line.length + 1 + word.length > 110) {
      lines.push(line);
      line = '#';
    }
    line += ` ${word}`;
  }
  lines.push(line);
  return lines;
}

