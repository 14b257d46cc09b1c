// Shared by the scripts: brings node_modules and dist up to date, so that `npm start` and `npm test` are all anyone types.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('..', import.meta.url));

/** Runs a command with the terminal's streams; ends this process if it fails. */
export function run(command, args, options = {}) {
  const result = spawnSync(command, args, { cwd: root, stdio: 'inherit', ...options });
  if (result.error) {
    console.error(`holdfast: cannot run ${command}: ${result.error.message}`);
    process.exit(1);
  }
  if (result.status !== 0) process.exit(result.status ?? 1);
}

const modified = (file) => fs.statSync(path.join(root, file), { throwIfNoEntry: false })?.mtimeMs ?? 0;

/** npm ci where node_modules is missing or older than the lock file. */
export function install() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < 20 || (major === 20 && minor < 19)) {
    console.error(`holdfast: Node.js ${process.versions.node} is too old; 20.19 or newer is needed`);
    process.exit(1);
  }
  if (modified('node_modules/.package-lock.json') >= modified('package-lock.json') && modified('node_modules/.package-lock.json') > 0) return;
  console.error('holdfast: installing dependencies (the first time takes a minute: SQLite is compiled)');
  run('npm', ['ci', '--no-audit', '--no-fund']);
  const now = new Date();
  fs.utimesSync(path.join(root, 'node_modules/.package-lock.json'), now, now);
}

function newest(dir) {
  let latest = 0;
  for (const entry of fs.readdirSync(dir, { withFileTypes: true })) {
    const full = path.join(dir, entry.name);
    latest = Math.max(latest, entry.isDirectory() ? newest(full) : fs.statSync(full).mtimeMs);
  }
  return latest;
}

/** Compiles src to dist where dist is missing or older. */
export function build(force = false) {
  const stamp = path.join(root, 'dist/.built');
  const sources = Math.max(newest(path.join(root, 'src')), modified('tsconfig.json'), modified('tsconfig.build.json'), modified('package-lock.json'));
  if (!force && (fs.statSync(stamp, { throwIfNoEntry: false })?.mtimeMs ?? 0) >= sources) return;
  run(process.execPath, [path.join(root, 'node_modules/typescript/bin/tsc'), '-p', 'tsconfig.build.json']);
  fs.writeFileSync(stamp, '');
}
