// Test support: a worker thread that runs a source file. Node 20 does not read TypeScript, so the text of the file and of those that
// it imports (of its own, and node:*; none in a circle) is transpiled here and handed over.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const ROOT = new URL('../../', import.meta.url);

function moduleUrl(file: URL): string {
  const options = { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022, verbatimModuleSyntax: true };
  const { outputText } = ts.transpileModule(readFileSync(fileURLToPath(file), 'utf8'), { compilerOptions: options });
  const code = outputText.replaceAll(/(?<=from )(['"])(\.[^'"]*\.ts)\1/g, (_, __, specifier: string) => JSON.stringify(moduleUrl(new URL(specifier, file))));
  return `data:text/javascript;base64,${Buffer.from(code).toString('base64')}`;
}

/** An expression, for a worker's `eval` code, that promises the module at `path` (from the root of the repository). */
export function importInWorker(path: string): string {
  return `import(${JSON.stringify(moduleUrl(new URL(path, ROOT)))})`;
}
