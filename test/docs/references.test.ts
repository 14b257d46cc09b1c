// Keeps the documentation true: every file, link, command, directive, field and reply that it names is there.
import fs from 'node:fs';
import path from 'node:path';
import ts from 'typescript';
import { describe, expect, test } from 'vitest';
import { allCommands } from '../../src/commands/all.ts';
import { CommandTable } from '../../src/commands/table.ts';
import { directiveNamed } from '../../src/server/config-directives.ts';
import { anchors, codeSpans, fences, links, page, pages, prose, read, root } from './markdown.ts';

function files(dir: string, extension: string): string[] {
  return fs.readdirSync(path.join(root, dir), { withFileTypes: true }).flatMap((entry) => {
    const file = path.join(dir, entry.name);
    return entry.isDirectory() ? files(file, extension) : file.endsWith(extension) ? [file] : [];
  });
}

/** All sources, with strings that are put together over several lines in one piece. */
const source = files('src', '.ts').map(read).join('\n').replace(/['"`] \+\s*['"`]/g, '').replaceAll("\\'", "'");
const manifest = JSON.parse(read('package.json')) as { name: string; version: string; bin: Record<string, string>; scripts: Record<string, string>; dependencies: object; devDependencies: object };
const packages = [...Object.keys(manifest.dependencies), ...Object.keys(manifest.devDependencies)];

/** Everything of one kind in all pages, as "page: what". */
function all(pick: (text: string) => Iterable<string>): { page: string; what: string }[] {
  return pages.flatMap(({ file, text }) => [...pick(text)].map((what) => ({ page: file, what })));
}

const wrong = (found: { page: string; what: string }[], isRight: (what: string, file: string) => boolean): string[] =>
  found.filter(({ what, page: file }) => !isRight(what, file)).map(({ what, page: file }) => `${file}: ${what}`);

function matches(pattern: RegExp): (text: string) => string[] {
  return (text) => [...text.matchAll(pattern)].map((match) => match[1] ?? '');
}

describe('what the documentation names is there', () => {
  test('links, with their anchors', () => {
    const found = all(links).filter(({ what }) => !/^https?:/.test(what));
    expect(found.length).toBeGreaterThan(20);
    const resolves = (target: string, from: string): boolean => {
      const [file = '', anchor] = target.split('#');
      const to = file === '' ? from : path.join(path.dirname(from), file);
      if (!fs.existsSync(path.join(root, to))) return false;
      return anchor === undefined || anchors(read(to)).has(anchor);
    };
    expect(wrong(found, resolves)).toEqual([]);
  });

  test('files and folders', () => {
    const found = all((text) => codeSpans(text).filter((span) => /^(src|test|docs|config|scripts|bench)\/[\w./-]+$/.test(span)));
    expect(found.length).toBeGreaterThan(60);
    expect(wrong(found, (file) => fs.existsSync(path.join(root, file)))).toEqual([]);
  });

  test('npm scripts', () => {
    const found = all(matches(/npm (?:run )?((?!run\b|ci\b|install\b)[\w-]+)/g));
    expect(new Set(found.map(({ what }) => what))).toContain('start');
    expect(wrong(found, (script) => manifest.scripts[script] !== undefined)).toEqual([]);
  });

  test('commands of the command line', () => {
    const usage = read('src/cli/main.ts');
    const found = all(matches(/(?:npx )?holdfast (init|serve|local|version|snapshotter|snapshot|restore|import|[a-z]+(?= (?:FILE|--)))/g));
    expect(found.length).toBeGreaterThan(5);
    expect(wrong(found, (command) => usage.includes(`case '${command}'`))).toEqual([]);
    expect(manifest.bin['holdfast']).toBeDefined();
  });

  test('directives', () => {
    // Options that are no directives: of the command line, and of the scripts.
    const options = new Set(['nodes', 'rejoin', 'join', 'to', 'out', 'all', 'from', 'cluster', 'key-file', 'index', 'to-time', 'to-index', 'dry-run', 'force']);
    const scripts = files('scripts', '.mjs').map(read).join('\n');
    const flags = all((text) => matches(/(?:^|[\s`"])--([a-z][\w-]*)/g)(text));
    expect(flags.length).toBeGreaterThan(5);
    expect(wrong(flags, (flag) => options.has(flag) || directiveNamed(flag) !== undefined || scripts.includes(`--${flag}`))).toEqual([]);
    // Whatever is written as a directive is: lower case with hyphens. Differences have names like that, and tell of what is missing.
    const others = new Set([...packages, 'redis-cli', 'redis-server', 'redis-benchmark', 'npm-ci', 'msgpackr-extract', 'node-redis']);
    const spans = all((text) => text.startsWith('# Differences') ? [] : codeSpans(text).filter((span) => /^[a-z]+(-[a-z0-9]+)+( |$)/.test(span)).map((span) => span.split(' ')[0] ?? ''));
    expect(spans.length).toBeGreaterThan(20);
    expect(wrong(spans, (name) => others.has(name) || directiveNamed(name) !== undefined || source.includes(`'${name}'`))).toEqual([]);
    const configuration = fences(page('docs/operations.md'), '').find((block) => block.startsWith('# n1.conf')) ?? '';
    const lines = configuration.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
    expect(lines.length).toBeGreaterThan(4);
    expect(lines.map((line) => line.split(' ')[0] ?? '').filter((name) => directiveNamed(name) === undefined)).toEqual([]);
  });

  test('fields of INFO, and all other names with an underscore', () => {
    const info = read('src/server/info.ts');
    const found = all((text) => codeSpans(text).filter((span) => /^[a-z]+(_[a-z0-9A-Z]+)+$/.test(span)));
    expect(found.length).toBeGreaterThan(10);
    const isThere = (name: string): boolean =>
      info.includes(`'${name}'`) || (name.startsWith('errorstat_') && info.includes('errorstat_')) || new RegExp(`\\b${name}\\b`).test(source);
    expect(wrong(found, isThere)).toEqual([]);
    expect(wrong(all(matches(/\b(raft_\w+)/g)), (name) => info.includes(`'${name}'`))).toEqual([]);
    const declared = [...info.matchAll(/\['(raft_\w+)'/g)].map((match) => match[1] ?? '');
    expect(declared.filter((name) => !page('docs/operations.md').includes(`\`${name}\``))).toEqual([]);
  });

  test('subcommands and read levels of HOLDFAST', () => {
    const commands = new CommandTable(allCommands);
    const found = all(matches(/HOLDFAST ([A-Z]+)/g));
    expect(found.length).toBeGreaterThan(3);
    expect(wrong(found, (name) => commands.lookupName(`holdfast|${name.toLowerCase()}`) !== undefined)).toEqual([]);
  });

  test('error replies, word for word', () => {
    const found = all((text) => codeSpans(text).filter((span) => /^-[A-Z]{2,} ./.test(span)));
    expect(found.length).toBeGreaterThan(6);
    expect(wrong(found, (reply) => source.includes(reply.slice(1)))).toEqual([]);
    const codes = all((text) => codeSpans(text).filter((span) => /^-[A-Z]{2,}$/.test(span)));
    expect(wrong(codes, (code) => new RegExp(`['"\`]-?${code.slice(1)} `).test(source))).toEqual([]);
  });
});

describe('the README', () => {
  const readme = page('README.md');

  test('is short, and has the place for figures', () => {
    expect(readme.split('\n').length).toBeLessThanOrEqual(151);
    expect(readme).toMatch(/<!-- figures:start -->[\s\S]*<!-- figures:end -->/);
  });

  test('has the two commands first, and its script is JavaScript that parses', () => {
    expect(fences(readme, 'sh')[0]).toMatch(/^npm start .*\nnpm test /);
    const script = fences(readme, 'js')[0] ?? '';
    expect(script).toContain("from 'ioredis'");
    const { diagnostics } = ts.transpileModule(script, { reportDiagnostics: true, compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 } });
    expect(diagnostics?.map((fault) => ts.flattenDiagnosticMessageText(fault.messageText, ' '))).toEqual([]);
  });

  test('names no command of a type that is not there as if it were', () => {
    const commands = new CommandTable(allCommands);
    const shell = fences(readme, 'sh').join('\n');
    const used = [...shell.matchAll(/redis-cli -p \S+ ([a-z]+)/g)].map((match) => match[1] ?? '');
    expect(used.length).toBeGreaterThan(4);
    expect(used.filter((name) => commands.lookupName(name) === undefined)).toEqual([]);
  });
});

test('decisions are numbered without gaps, short, and say context, decision and consequence', () => {
  const notes = pages.filter(({ file }) => file.startsWith('docs/decisions/')).sort((a, b) => (a.file < b.file ? -1 : 1));
  expect(notes.length).toBeGreaterThanOrEqual(7);
  notes.forEach(({ file, text }, i) => {
    const number = String(i + 1).padStart(4, '0');
    expect(path.basename(file).startsWith(`${number}-`), file).toBe(true);
    expect(text.startsWith(`# ${number} `), file).toBe(true);
    expect(text.split('\n').length, file).toBeLessThanOrEqual(41);
    for (const part of ['**Context.**', '**Decision.**', '**Consequence.**']) expect(text.includes(part), `${file}: ${part}`).toBe(true);
  });
});

test('the checks themselves find what they look for', () => {
  expect(links('see [a](b.md#c) and `[x](y)`\n```\n[no](no)\n```')).toContain('b.md#c');
  expect(links('```\n[no](no)\n```')).toEqual([]);
  expect(codeSpans('`a-b` and\n```\n`no`\n```\n`c`')).toEqual(['a-b', 'c']);
  expect(anchors('## The lease, and what it assumes of clocks')).toEqual(new Set(['the-lease-and-what-it-assumes-of-clocks']));
  expect(prose('a\n```sh\nb\n```\nc')).not.toContain('b');
});
