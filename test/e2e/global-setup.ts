// Compiles src once for the whole suite, into dist or the directory that HOLDFAST_DIST names; HOLDFAST_DIST_BUILT=1 takes
// what stands there as it is.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));

function newestMs(dir: string): number {
  let latest = 0;
  for (const entry of fs.readdirSync(dir, { withFileTypes: true })) {
    const full = path.join(dir, entry.name);
    latest = Math.max(latest, entry.isDirectory() ? newestMs(full) : fs.statSync(full).mtimeMs);
  }
  return latest;
}

export function setup(): void {
  if (process.env['HOLDFAST_DIST_BUILT'] === '1') return;
  const dist = path.resolve(root, process.env['HOLDFAST_DIST'] ?? 'dist');
  const stamp = path.join(dist, '.built');
  const sourcesMs = Math.max(newestMs(path.join(root, 'src')), fs.statSync(path.join(root, 'tsconfig.build.json')).mtimeMs);
  if ((fs.statSync(stamp, { throwIfNoEntry: false })?.mtimeMs ?? 0) >= sourcesMs) return;
  const tsc = path.join(root, 'node_modules/typescript/bin/tsc');
  const result = spawnSync(process.execPath, [tsc, '-p', 'tsconfig.build.json', '--outDir', dist, '--incremental', 'false'], {
    cwd: root,
    encoding: 'utf8',
  });
  if (result.status !== 0) throw new Error(`src does not compile:\n${result.stdout}${result.stderr}`);
  fs.writeFileSync(stamp, '');
}
