// The command line: mistakes are named where they are, nothing starts by accident, and nothing shares a directory.
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { freePort, startCluster, tempDir } from './lib/cluster.ts';
import { HoldfastProcess, runHoldfast } from './lib/node-process.ts';
import { RespClient } from './lib/resp.ts';

function scratch(): string {
  const dir = tempDir();
  onTestFinished(() => fs.rmSync(dir, { recursive: true, force: true }));
  return dir;
}

async function fails(...args: string[]): Promise<string> {
  const { exit, output } = await runHoldfast(args);
  expect(exit, output).toEqual({ code: 1, signal: null });
  expect(output).toMatch(/^holdfast: /m);
  expect(output, 'an operator gets no stack trace').not.toMatch(/\n\s+at .*:\d+:\d+/);
  return output;
}

test('a mistake in the file names the file, the line and what was expected; all of them at once', async () => {
  const dir = scratch();
  const file = path.join(dir, 'holdfast.conf');
  fs.writeFileSync(file, ['# comment', 'port 7000', 'prot 7001', '', 'maxmemory lots', 'appendfsync everysec', 'node-id "unclosed'].join('\n'));
  const output = await fails('serve', file);
  expect(output).toContain(`${file}:3: `);
  expect(output).toMatch(/:3: .*prot.*\bport\b/);
  expect(output).toMatch(/:5: .*maxmemory.*lots/);
  expect(output).toMatch(/:6: .*appendfsync.*every write is synced to disk on a majority/);
  expect(output).toMatch(/:7: the " at column 9 has no other end/);
});

test('a mistake on the command line names the directive', async () => {
  expect(await fails('serve', '--port', 'seven')).toMatch(/port.*seven.*0.*65535/);
  expect(await fails('serve', '--election-timeout-ms', '100', '--heartbeat-interval-ms', '50')).toMatch(/election-timeout-ms.*250/);
  expect(await fails('init', '--peers', 'n2=127.0.0.1:1,n3=127.0.0.1:2', '--dir', scratch())).toMatch(/n1.*n2, n3/);
  expect(await fails('serve', '--peer-bind', '0.0.0.0')).toMatch(/cluster-secret/);
  expect(await fails('local', '--nodes', '12')).toMatch(/--nodes is a whole number from 1 to 7, not '12'/);
  expect(await fails('srve')).toMatch(/there is no command 'srve'/);
  expect(await fails('serve', path.join(scratch(), 'missing.conf'))).toMatch(/missing\.conf/);
});

test('version and help', async () => {
  expect((await runHoldfast(['version'])).output).toMatch(/^\d+\.\d+\.\d+\n$/);
  expect((await runHoldfast([])).output).toMatch(/holdfast init .*\n[^]*holdfast serve /);
});

test('serve without init says what to do', async () => {
  const dir = scratch();
  const port = String(await freePort());
  expect(await fails('serve', '--port', port, '--dir', path.join(dir, 'nothing'))).toMatch(/does not exist.*holdfast init/);
  expect(await fails('serve', '--port', port, '--dir', dir)).toMatch(/holds no node.*holdfast init/);
});

test('init happens once; a directory belongs to one node, and to one process', async () => {
  const cluster = await startCluster({ nodes: 1 });
  const node = cluster.node(0);
  expect(await fails('init', ...node.directives)).toMatch(/is in use by process|holds a node already/);
  const other = [...node.directives];
  other[other.indexOf('--port') + 1] = String(await freePort());
  expect(await fails('serve', ...other)).toMatch(new RegExp(`is in use by process ${node.running.pid}; stop it first`));
  expect(await node.ask('SET', 'undisturbed', 'yes')).toBe('OK');
  expect(await node.stop()).toEqual({ code: 0, signal: null });
  expect(await fails('init', ...node.directives)).toMatch(/holds a node already; a directory is initialised once/);
  other[other.indexOf('--node-id') + 1] = 'n9';
  expect(await fails('serve', ...other)).toMatch(/belongs to node n1, not n9/);
});

test('ports that are taken are named', async () => {
  const cluster = await startCluster({ cold: true });
  const node = cluster.node(0);
  await node.init();
  for (const [port, pattern] of [[node.port, /cannot listen on 127\.0\.0\.1 port \d+: .*EADDRINUSE/], [node.peerPort, /the peer port .* cannot be bound: .*EADDRINUSE/]] as const) {
    const server = net.createServer();
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
    try {
      expect(await fails('serve', ...node.directives)).toMatch(pattern);
    } finally {
      await new Promise((resolve) => server.close(resolve));
    }
  }
});

test('a file as redis.conf has it: quotes, units, include; the command line wins; CONFIG REWRITE keeps it', async () => {
  const dir = scratch();
  const port = await freePort();
  const included = path.join(dir, 'more.conf');
  const file = path.join(dir, 'holdfast.conf');
  fs.writeFileSync(included, 'maxmemory 100mb\nmaxclients 77\n');
  fs.writeFileSync(file, `# ours\nport ${port}\nbind 127.0.0.1\ndir "${dir}/d\\x61ta"\npeer-port ${port + 10_000}\nMAXMEMORY 1gb\ninclude more.conf\n`);
  const init = await runHoldfast(['init', file]);
  expect(init.output).toMatch(/^made the data directory of node n1 in cluster [0-9a-f]{16}\n$/);
  const process = new HoldfastProcess(['serve', file, '--maxclients', '55']);
  onTestFinished(async () => {
    process.kill('SIGKILL');
    await process.exited;
  });
  await process.says(/ready to serve/);
  expect(fs.existsSync(path.join(dir, 'data', 'identity.json'))).toBe(true);
  const client = await RespClient.connect(port);
  expect(await client.ask('CONFIG', 'GET', 'maxclients')).toEqual(['maxclients', '55']);
  expect(await client.ask('CONFIG', 'GET', 'maxmemory')).toEqual(['maxmemory', String(100 * 1024 * 1024)]);
  expect(await client.ask('CONFIG', 'SET', 'maxmemory', '200mb')).toBe('OK');
  expect(await client.ask('CONFIG', 'REWRITE')).toBe('OK');
  expect(fs.readFileSync(file, 'utf8')).toMatch(/^# ours\n/);
  process.kill('SIGTERM');
  expect(await process.exited).toEqual({ code: 0, signal: null });
  const again = new HoldfastProcess(['serve', file]);
  onTestFinished(async () => {
    again.kill('SIGKILL');
    await again.exited;
  });
  await again.says(/ready to serve/);
  const second = await RespClient.connect(port);
  expect(await second.ask('CONFIG', 'GET', 'maxmemory')).toEqual(['maxmemory', String(200 * 1024 * 1024)]);
  const shutdown = second.send('SHUTDOWN').catch(() => 'closed');
  expect(await again.exited).toEqual({ code: 0, signal: null });
  expect(await shutdown).toBe('closed');
});
