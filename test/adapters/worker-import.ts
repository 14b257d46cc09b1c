// Test support: a worker thread that runs a source file. Node 20 does not read TypeScript, so the text of the file
// (which must import nothing but node:* and, for its assertions, src/base/assert.ts) is transpiled here and handed over.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const ROOT = new URL('../../', import.meta.url);

function transpiled(path: string): string {
  const source = readFileSync(fileURLToPath(new URL(path, ROOT)), 'utf8');
  const options = { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022, verbatimModuleSyntax: true };
  return ts.transpileModule(source, { compilerOptions: options }).outputText;
}

const dataUrl = (code: string): string => `data:text/javascript;base64,${Buffer.from(code).toString('base64')}`;

/** An expression, for a worker's `eval` code, that promises the module at `path` (from the root of the repository). */
export function importInWorker(path: string): string {
  const assertUrl = dataUrl(transpiled('src/base/assert.ts'));
  const code = transpiled(path).replaceAll(/(['"])\.\.\/base\/assert\.ts\1/g, () => JSON.stringify(assertUrl));
  return `import(${JSON.stringify(dataUrl(code))})`;
}
