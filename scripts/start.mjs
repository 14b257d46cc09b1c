// `npm start [-- --nodes N --port P --dir D --directive value …]`: installs and builds if needed, then runs a local cluster.
import { spawn } from 'node:child_process';
import path from 'node:path';
import { build, install, root } from './prepare.mjs';

install();
build();
const child = spawn(process.execPath, [path.join(root, 'dist/cli/main.js'), 'local', ...process.argv.slice(2)], { stdio: 'inherit' });
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal));
child.on('exit', (code) => process.exit(code ?? 1));
