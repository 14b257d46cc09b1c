// `holdfast local` (npm start): N nodes on this machine, each a process of its own, as children of this one. For trying
// Holdfast out, for development and for tests; data are kept and used again at the next start.
import { spawn, type ChildProcess } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { OperationalError } from '../base/errors.ts';
import { loadConfig } from '../server/config-file.ts';
import { initWith } from './init.ts';
import { nodeConfigFiles } from './config-files.ts';
import { takeOption } from './options.ts';
import { clusterIdOf } from './store-options.ts';

const PEER_PORT_OFFSET = 10_000;
/** Where the kernel backs memory with huge pages only for who asks (`madvise`, Debian's default), glibc 2.35 and newer asks with this. */
const HUGE_PAGES = 'glibc.malloc.hugetlb=1';
/**
 * Of V8, where a node is alone: a young generation of 8 MiB instead of 16 and more (docs/decisions/0011-garbage-and-pages.md). It
 * cannot be changed once the process runs.
 */
const V8_FLAGS_ALONE = ['--max-semi-space-size=4'];
const READY_MS_MAX = 60_000;

function wholeNumber(text: string | undefined, fallback: number, name: string, min: number, max: number): number {
  if (text === undefined) return fallback;
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < min || value > max) {
    throw new OperationalError('CONFIG', `command line: --${name} is a whole number from ${min} to ${max}, not '${text}'`);
  }
  return value;
}

export async function local(words: readonly string[]): Promise<void> {
  const args = [...words];
  const nodes = wholeNumber(takeOption(args, 'nodes'), 3, 'nodes', 1, 7);
  const port = wholeNumber(takeOption(args, 'port'), 6379, 'port', 1, 65_535 - PEER_PORT_OFFSET - nodes);
  const dir = path.resolve(takeOption(args, 'dir') ?? './data');
  const names = Array.from({ length: nodes }, (_, i) => `n${i + 1}`);
  const peers = names.map((name, i) => `${name}=127.0.0.1:${port + PEER_PORT_OFFSET + i}/${port + i}`).join(',');
  const children = new Map<string, ChildProcess>();
  let stopping = false;
  const stopAll = (signal: NodeJS.Signals): void => {
    if (stopping) return;
    stopping = true;
    process.stdout.write(`\nholdfast: stopping ${children.size} node${children.size === 1 ? '' : 's'}\n`);
    for (const child of children.values()) child.kill(signal);
  };

  // All directories are there before the first node is started: what is wrong with one is told while nothing runs.
  const clusterIds = new Map<string, string>();
  const nodeDirectives = names.map((name, i) => {
    const nodeDir = path.join(dir, name);
    const directives = [
      '--node-id', name, '--port', String(port + i), '--bind', '127.0.0.1', '--dir', nodeDir,
      ...(nodes > 1 ? ['--peers', peers] : []),
      // One snapshotter does for the cluster.
      '--object-store', path.join(dir, 'objects'), '--snapshotter', i === 0 ? 'yes' : 'no',
      ...args,
    ];
    const { values } = loadConfig(nodeConfigFiles, undefined, directives);
    if (!fs.existsSync(path.join(nodeDir, 'identity.json'))) initWith(values, false);
    clusterIds.set(name, clusterIdOf(values) ?? '');
    return directives;
  });
  if (new Set(clusterIds.values()).size > 1) {
    const which = [...clusterIds].map(([name, id]) => `${name} of ${id}`).join(', ');
    throw new OperationalError('CONFIG', `${dir} holds nodes of different clusters (${which}); give --nodes as many as the cluster was made or restored with, or another --dir`);
  }
  for (const [i, name] of names.entries()) {
    const directives = nodeDirectives[i] ?? [];
    const flags = nodes === 1 ? V8_FLAGS_ALONE : [];
    const child = spawn(process.execPath, [...flags, fileURLToPath(new URL('./main.js', import.meta.url)), 'serve', ...directives], {
      stdio: ['ignore', 'inherit', 'inherit'],
      env: { ...process.env, GLIBC_TUNABLES: [process.env['GLIBC_TUNABLES'], HUGE_PAGES].filter(Boolean).join(':') },
      // Ctrl-C reaches the whole group of the terminal; this process passes it on, so that each node hears it once.
      detached: true,
    });
    children.set(name, child);
    child.on('exit', (code, signal) => {
      children.delete(name);
      if (!stopping) {
        process.stderr.write(`holdfast: node ${name} ended (${signal ?? `code ${code}`}); the others go on. Start again to bring it back.\n`);
      }
      if (children.size === 0) process.exit(stopping ? 0 : 1);
    });
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => stopAll('SIGTERM'));

  const deadline = Date.now() + READY_MS_MAX;
  for (let i = 0; i < nodes; i++) {
    while (!stopping && !(await answers(port + i))) {
      if (Date.now() > deadline) {
        process.stderr.write(`holdfast: node ${names[i]!} on port ${port + i} is not ready after ${READY_MS_MAX / 1000} s; see its log above\n`);
        break;
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
  if (stopping) return;
  const addresses = names.map((_, i) => `127.0.0.1:${port + i}`).join('  ');
  process.stdout.write(
    `\nholdfast: ready. ${nodes === 1 ? 'One node' : `${nodes} nodes`}, any of which takes reads and writes:\n` +
      `    ${addresses}\n` +
      `    redis-cli -p ${port}\n` +
      `Data are in ${dir}. Ctrl-C stops ${nodes === 1 ? 'it' : 'all'} cleanly.\n\n`,
  );
}

/** True once the node answers a linearizable read: it has a leader and has caught up. */
function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect({ port, host: '127.0.0.1' });
    let text = '';
    const done = (result: boolean): void => {
      socket.destroy();
      resolve(result);
    };
    socket.setTimeout(2000, () => done(false));
    socket.on('error', () => done(false));
    socket.on('connect', () => socket.write('DBSIZE\r\n'));
    socket.on('data', (data) => {
      text += data.toString('latin1');
      if (text.includes('\r\n')) done(text.startsWith(':') || text.startsWith('-NOAUTH'));
    });
  });
}
