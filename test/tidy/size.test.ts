// The ratchet on sizes: files around 500 lines, functions around 70. What is larger today stands in the exemptions with
// its size, which may only shrink: a smaller number, or no entry, is the only edit this file should see.
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { expect, test } from 'vitest';

const FILE_LINES_MAX = 500;
const FUNCTION_LINES_MAX = 75;
const root = fileURLToPath(new URL('../..', import.meta.url));

const exemptions = JSON.parse(fs.readFileSync(path.join(root, 'test/tidy/size-exemptions.json'), 'utf8')) as {
  files: Record<string, number>;
  functions: Record<string, number>;
};

function files(dir: string): string[] {
  return fs.readdirSync(dir, { withFileTypes: true }).flatMap((entry) => {
    const full = path.join(dir, entry.name);
    return entry.isDirectory() ? files(full) : full.endsWith('.ts') ? [full] : [];
  });
}

const sources = files(path.join(root, 'src')).map((file) => ({ file: path.relative(root, file), text: fs.readFileSync(file, 'utf8') }));

/** Name → lines, for each function with a body; nested ones count for themselves and for what holds them. */
function functionLines(file: string, text: string): Map<string, number> {
  const tree = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
  const found = new Map<string, number>();
  const visit = (node: ts.Node): void => {
    if ((ts.isFunctionDeclaration(node) || ts.isMethodDeclaration(node) || ts.isConstructorDeclaration(node)) && node.body) {
      const from = tree.getLineAndCharacterOfPosition(node.getStart()).line;
      const to = tree.getLineAndCharacterOfPosition(node.end).line;
      const name = ts.isConstructorDeclaration(node) ? 'constructor' : (node.name?.getText() ?? 'anonymous');
      found.set(`${file} ${name}`, Math.max(found.get(`${file} ${name}`) ?? 0, to - from + 1));
    }
    ts.forEachChild(node, visit);
  };
  visit(tree);
  return found;
}

/** What is over the limit and not exempt, or above its exemption; and exemptions that are larger than need be. */
function faults(sizes: Map<string, number>, limit: number, exempt: Record<string, number>): string[] {
  const wrong: string[] = [];
  for (const [name, lines] of sizes) {
    const allowed = exempt[name] ?? limit;
    if (lines > allowed) wrong.push(`${name}: ${lines} lines, at most ${allowed}`);
  }
  for (const [name, allowed] of Object.entries(exempt)) {
    const lines = sizes.get(name);
    if (lines === undefined || lines <= limit) wrong.push(`${name}: needs no exemption any more`);
    else if (lines < allowed) wrong.push(`${name}: is down to ${lines} lines; lower its exemption from ${allowed}`);
  }
  return wrong;
}

test('files stay around 500 lines', () => {
  const sizes = new Map(sources.map(({ file, text }) => [file, text.split('\n').length - 1]));
  expect(faults(sizes, FILE_LINES_MAX, exemptions.files)).toEqual([]);
});

test('functions stay around 70 lines', () => {
  const sizes = new Map(sources.flatMap(({ file, text }) => [...functionLines(file, text)]));
  expect(sizes.size).toBeGreaterThan(100);
  expect(faults(sizes, FUNCTION_LINES_MAX, exemptions.functions)).toEqual([]);
});
