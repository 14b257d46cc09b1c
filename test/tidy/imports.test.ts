// Holds the folder plan: who may import whom (docs/architecture.md), and which folders may touch the outside world.
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { describe, expect, test } from 'vitest';

const src = fileURLToPath(new URL('../../src', import.meta.url));

/** Folder → folders that it may import besides itself. `*`: any. */
const MAY_IMPORT: Readonly<Record<string, readonly string[] | '*'>> = {
  base: [],
  memory: ['base'],
  keyspace: ['memory', 'base'],
  resp: ['base'],
  commands: ['keyspace', 'resp', 'base'],
  machine: ['commands', 'keyspace', 'resp', 'base'],
  raft: ['base'],
  ports: ['base'],
  replica: ['raft', 'machine', 'ports', 'commands', 'resp', 'base'],
  snapshot: ['machine', 'commands', 'keyspace', 'memory', 'resp', 'ports', 'base'],
  server: ['replica', 'machine', 'commands', 'keyspace', 'resp', 'ports', 'base'],
  adapters: ['ports', 'base'],
  cli: '*',
};

/** Folder → packages that it may import. */
const PACKAGES: Readonly<Record<string, readonly string[]>> = {
  replica: ['msgpackr'],
  adapters: ['@aws-sdk/client-s3', 'better-sqlite3', 'msgpackr', 'pino'],
};

/** Only these touch node:*, timers, clocks and the process. */
const OUTSIDE = new Set(['adapters', 'cli']);
/** Replicated code has no promises and no timers (style: consensus is a function of its inputs). */
const SYNCHRONOUS = new Set(['base', 'memory', 'keyspace', 'resp', 'commands', 'machine', 'raft']);

function files(dir: string): string[] {
  return fs.readdirSync(dir, { withFileTypes: true }).flatMap((entry) => {
    const full = path.join(dir, entry.name);
    return entry.isDirectory() ? files(full) : full.endsWith('.ts') ? [full] : [];
  });
}

function tree(text: string): ts.SourceFile {
  return ts.createSourceFile('a.ts', text, ts.ScriptTarget.Latest, true);
}

function importsOf(text: string): string[] {
  return ts.preProcessFile(text, true, true).importedFiles.map((file) => file.fileName);
}

/** Every node of the code that `pick` says something about. */
function findings(text: string, pick: (node: ts.Node) => string | undefined): string[] {
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    const finding = pick(node);
    if (finding !== undefined) found.push(finding);
    ts.forEachChild(node, visit);
  };
  visit(tree(text));
  return found;
}

const TIMERS = new Set(['setTimeout', 'setInterval', 'setImmediate', 'queueMicrotask', 'clearTimeout', 'clearInterval', 'fetch']);
const GLOBALS = new Set(['Date', 'process', 'performance']);

/** A use of the clock, a timer, the process or ambient randomness. */
function outsideUse(node: ts.Node): string | undefined {
  if (ts.isCallExpression(node) && ts.isIdentifier(node.expression) && TIMERS.has(node.expression.text)) return node.expression.text;
  if (ts.isNewExpression(node) && ts.isIdentifier(node.expression) && node.expression.text === 'Date') return 'new Date';
  if (ts.isPropertyAccessExpression(node) && ts.isIdentifier(node.expression)) {
    const { text } = node.expression;
    if (GLOBALS.has(text) || (text === 'Math' && node.name.text === 'random')) return node.getText();
  }
  return undefined;
}

function promiseUse(node: ts.Node): string | undefined {
  if (node.kind === ts.SyntaxKind.AsyncKeyword || ts.isAwaitExpression(node)) return 'async';
  return ts.isIdentifier(node) && node.text === 'Promise' ? 'Promise' : undefined;
}

function styleFault(node: ts.Node): string | undefined {
  if (node.kind === ts.SyntaxKind.AnyKeyword) return 'any';
  if (ts.isExportAssignment(node) || node.kind === ts.SyntaxKind.DefaultKeyword && !ts.isDefaultClause(node.parent)) return 'default export';
  if (ts.isExportDeclaration(node) && node.exportClause === undefined) return 'barrel';
  return ts.isEnumDeclaration(node) ? 'enum' : undefined;
}

const all = files(src).map((file) => ({ file: path.relative(src, file), folder: path.relative(src, file).split(path.sep)[0]!, text: fs.readFileSync(file, 'utf8') }));

describe('the import table', () => {
  test('every folder of src is in it', () => {
    expect([...new Set(all.map(({ folder }) => folder))].filter((folder) => MAY_IMPORT[folder] === undefined)).toEqual([]);
  });

  test('no file imports what its folder may not', () => {
    const wrong: string[] = [];
    for (const { file, folder, text } of all) {
      const allowed = MAY_IMPORT[folder] ?? [];
      for (const specifier of importsOf(text)) {
        if (specifier.startsWith('.')) {
          const target = path.relative(src, path.resolve(src, path.dirname(file), specifier)).split(path.sep)[0]!;
          if (target !== folder && allowed !== '*' && !allowed.includes(target)) wrong.push(`${file} imports ${specifier}`);
        } else if (specifier.startsWith('node:')) {
          if (!OUTSIDE.has(folder)) wrong.push(`${file} imports ${specifier}`);
        } else if (folder !== 'cli' && !(PACKAGES[folder] ?? []).includes(specifier)) {
          wrong.push(`${file} imports the package ${specifier}`);
        }
      }
    }
    expect(wrong).toEqual([]);
  });

  const check = (folders: (folder: string) => boolean, pick: (node: ts.Node) => string | undefined): string[] =>
    all.filter(({ folder }) => folders(folder)).flatMap(({ file, text }) => findings(text, pick).map((what) => `${file}: ${what}`));

  test('only adapters and cli touch clocks, timers, randomness and the process', () => {
    expect(check((folder) => !OUTSIDE.has(folder), outsideUse)).toEqual([]);
  });

  test('replicated code has no promises', () => {
    expect(check((folder) => SYNCHRONOUS.has(folder), promiseUse)).toEqual([]);
  });

  test('no default exports, no barrels, no enums, no any', () => {
    expect(check(() => true, styleFault)).toEqual([]);
  });

  test('the checks themselves find what they look for', () => {
    expect(findings('const t = Date.now(); setTimeout(f, 1); Math.random(); new Date();', outsideUse)).toHaveLength(4);
    expect(findings('// Date.now()\nconst a = "setTimeout()"; Math.floor(1);', outsideUse)).toEqual([]);
    expect(findings('async function f() { await g(); }', promiseUse).length).toBeGreaterThan(0);
    expect(findings('let a: any; export * from "x"; export default 1; enum A {}', styleFault)).toHaveLength(4);
    expect(importsOf("import type { A } from '../raft/types.ts';\nexport { b } from './b.ts';")).toEqual(['../raft/types.ts', './b.ts']);
  });
});
