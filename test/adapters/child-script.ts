// Runs a script over the real sources in a process of its own, for tests that need a second process or one to kill.
// Node 20 does not run TypeScript, so the sources are stripped of their types into a directory first, once a test file.
import { spawn } from 'node:child_process';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import ts from 'typescript';
import { afterAll } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');
const FOLDERS = ['src/base', 'src/ports', 'src/adapters'];
const NAMES = /^(sqlite-|data-dir|directory-|object-|[^-]*\.ts$|log-)/;
const OPTIONS: ts.CompilerOptions = { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022, verbatimModuleSyntax: true };

let stripped: string | undefined;
let scripts = 0;

afterAll(() => {
  if (stripped !== undefined) fs.rmSync(stripped, { recursive: true, force: true });
  stripped = undefined;
});

/** The sources as .mjs beside each other, with the real node_modules. */
function stripSources(): string {
  const dir = fs.mkdtempSync(join(tmpdir(), 'holdfast-child-'));
  for (const folder of FOLDERS) {
    fs.mkdirSync(join(dir, folder), { recursive: true });
    for (const name of fs.readdirSync(join(ROOT, folder)).filter((n) => n.endsWith('.ts') && NAMES.test(n))) {
      write(join(dir, folder, name.replace(/\.ts$/, '.mjs')), fs.readFileSync(join(ROOT, folder, name), 'utf8'));
    }
  }
  fs.symlinkSync(join(ROOT, 'node_modules'), join(dir, 'node_modules'));
  return dir;
}

function write(path: string, source: string): void {
  const { outputText } = ts.transpileModule(source, { compilerOptions: OPTIONS });
  fs.mkdirSync(dirname(path), { recursive: true });
  fs.writeFileSync(path, outputText.replaceAll(/(from\s+['"]\.[^'"]*)\.ts(['"])/g, '$1.mjs$2'));
}

export interface ChildScript {
  readonly pid: number;
  /** Resolves once that many lines of stdout came; rejects if the process ends first. */
  lines(count: number): Promise<void>;
  wholeLines(): string[];
  kill(signal: NodeJS.Signals): Promise<void>;
  exited(): Promise<{ code: number | null; stderr: string }>;
}

/** `source` imports './src/….ts' as if it stood in the repository's root. */
export function startScript(source: string, args: readonly string[]): ChildScript {
  stripped ??= stripSources();
  const path = join(stripped, `script-${++scripts}.mjs`);
  write(path, source);
  const child = spawn(process.execPath, ['--expose-gc', path, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  let ended = false;
  const wake: (() => void)[] = [];
  const changed = (): void => wake.splice(0).forEach((f) => f());
  child.stdout.on('data', (data: Buffer) => { stdout += data.toString(); changed(); });
  child.stderr.on('data', (data: Buffer) => { stderr += data.toString(); });
  child.on('close', () => { ended = true; changed(); });
  const wholeLines = (): string[] => stdout.split('\n').slice(0, -1);
  const until = async (condition: () => boolean): Promise<void> => {
    while (!condition()) {
      if (ended) throw new Error(`the script ended early, code ${child.exitCode}: ${stderr}`);
      await new Promise<void>((resolve) => wake.push(resolve));
    }
  };
  const end = async (): Promise<void> => {
    while (!ended) await new Promise<void>((resolve) => wake.push(resolve));
  };
  return {
    pid: child.pid ?? 0,
    lines: (count) => until(() => wholeLines().length >= count),
    wholeLines,
    kill: async (signal) => {
      child.kill(signal);
      await end();
    },
    exited: async () => {
      await end();
      return { code: child.exitCode, stderr };
    },
  };
}
