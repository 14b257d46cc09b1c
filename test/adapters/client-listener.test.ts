import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { createClientListener } from '../../src/adapters/client-listener.ts';
import type { ClientEvents, ClientListener, ClientListenerOptions, ClientSocket } from '../../src/ports/client-listener.ts';

/** Notes every event, checks their order, and by default echoes. */
class Recorder implements ClientEvents {
  readonly open = new Map<ClientSocket, string[]>();
  readonly closedWith: (Error | undefined)[] = [];
  readonly received = new Map<ClientSocket, number>();
  readonly troubles: string[] = [];
  connectedCount = 0;
  drains = 0;
  onData: (socket: ClientSocket, chunk: Uint8Array) => void = (socket, chunk) => socket.write([chunk.slice()], () => undefined);
  onEnded: (socket: ClientSocket) => void = (socket) => socket.end();
  onConnected: (socket: ClientSocket) => void = () => undefined;

  connected(socket: ClientSocket): void {
    expect(this.open.has(socket)).toBe(false);
    this.open.set(socket, []);
    this.received.set(socket, 0);
    this.connectedCount++;
    this.onConnected(socket);
  }
  data(socket: ClientSocket, chunk: Uint8Array): void {
    expect(this.open.has(socket) && !socket.closing && chunk.length > 0).toBe(true);
    this.received.set(socket, this.received.get(socket)! + chunk.length);
    this.onData(socket, chunk);
  }
  ended(socket: ClientSocket): void {
    expect(this.open.has(socket)).toBe(true);
    this.onEnded(socket);
  }
  drained(socket: ClientSocket): void {
    expect(this.open.has(socket)).toBe(true);
    this.drains++;
  }
  closed(socket: ClientSocket, error: Error | undefined): void {
    expect(this.open.delete(socket)).toBe(true);
    expect(socket.closing).toBe(true);
    this.closedWith.push(error);
  }
  trouble(text: string): void {
    this.troubles.push(text);
  }
}

async function until(condition: () => boolean, what: string, deadlineMs = 20_000): Promise<void> {
  const started = performance.now();
  while (!condition()) {
    if (performance.now() - started > deadlineMs) throw new Error(`not within ${deadlineMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

async function readAll(socket: Socket): Promise<string> {
  const parts: Buffer[] = [];
  socket.on('data', (part: Buffer) => parts.push(part));
  await once(socket, 'end');
  return Buffer.concat(parts).toString('latin1');
}

describe.each([true, false])('client listener, shared read buffer %s', (shareReadBuffer) => {
  let listener: ClientListener | undefined;
  const clients: Socket[] = [];
  const directories: string[] = [];
  const oldLimits: string[] = [];

  async function start(events: ClientEvents, options: Partial<ClientListenerOptions> = {}): Promise<ClientListener> {
    listener = createClientListener({ bind: ['127.0.0.1'], port: 0, backlog: 511, keepAliveSeconds: 300, ...options }, events, shareReadBuffer);
    await listener.listen();
    return listener;
  }

  async function dial(options: { allowHalfOpen?: boolean } = {}): Promise<Socket> {
    const client = connect({ port: listener!.port!, host: '127.0.0.1', ...options });
    client.on('error', () => undefined);
    clients.push(client);
    await once(client, 'connect');
    return client;
  }

  /** A listener that leaves what comes alone, and one connection to it: both its ends. */
  async function connected(): Promise<{ events: Recorder; client: Socket; socket: ClientSocket }> {
    const events = new Recorder();
    events.onData = () => undefined;
    await start(events);
    const client = await dial();
    await until(() => events.open.size === 1, 'connected');
    const [socket] = events.open.keys();
    return { events, client, socket: socket! };
  }

  function directory(): string {
    const path = mkdtempSync(join(tmpdir(), 'holdfast-listener-'));
    directories.push(path);
    return path;
  }

  afterEach(async () => {
    for (const limit of oldLimits.splice(0)) execFileSync('prlimit', ['--pid', String(process.pid), `--nofile=${limit}:`]);
    for (const client of clients.splice(0)) client.destroy();
    await listener?.close();
    listener = undefined;
    for (const path of directories.splice(0)) rmSync(path, { recursive: true, force: true });
  });

  test('echoes, and tells who is there', async () => {
    const events = new Recorder();
    await start(events);
    const client = await dial();
    client.write('PING');
    const [reply] = (await once(client, 'data')) as [Buffer];
    expect(reply.toString()).toBe('PING');
    const [socket] = events.open.keys();
    expect(socket).toMatchObject({ id: 1, isUnix: false, isLoopback: true, closing: false });
    expect(socket!.remoteAddr).toBe(`127.0.0.1:${(client.address() as AddressInfo).port}`);
    expect(socket!.localAddr).toBe(`127.0.0.1:${listener!.port}`);
    if (process.platform === 'linux') expect(socket!.fd).toBeGreaterThan(2);
    client.destroy();
    await until(() => events.open.size === 0, 'closed');
  });

  test('many connections at once: no byte of one reaches another', async () => {
    const events = new Recorder();
    await start(events);
    const text = (i: number): string => `${i};`.repeat(20_000);
    const replies = await Promise.all(
      Array.from({ length: 50 }, async (_, i) => {
        const client = await dial({ allowHalfOpen: true });
        const reply = readAll(client);
        client.end(text(i));
        return reply;
      }),
    );
    replies.forEach((reply, i) => expect(reply === text(i), `client ${i}`).toBe(true));
    await until(() => events.open.size === 0, 'all closed');
    expect(events.closedWith.every((error) => error === undefined)).toBe(true);
  });

  test('a client that has ended still gets its reply', async () => {
    const events = new Recorder();
    const calls: string[] = [];
    events.onData = (socket) => {
      calls.push('data');
      setTimeout(() => {
        socket.write([Buffer.from('+OK\r\n')], () => calls.push('done'));
        socket.end();
      }, 20);
    };
    events.onEnded = () => calls.push('ended');
    await start(events);
    const client = await dial({ allowHalfOpen: true });
    client.end('SET a 1\r\n');
    expect(await readAll(client)).toBe('+OK\r\n');
    await until(() => events.open.size === 0, 'closed');
    expect(calls).toEqual(['data', 'ended', 'done']);
    expect(events.closedWith).toEqual([undefined]);
  });

  test('end sends everything first, and does not wait for the client to close', async () => {
    const events = new Recorder();
    const big = Buffer.alloc(3_000_000, 'x');
    events.onData = (socket) => {
      socket.write([Buffer.from('head'), big, Buffer.from('tail')], () => undefined);
      socket.end();
      expect(socket.closing).toBe(true);
      socket.end();
    };
    await start(events);
    const client = await dial({ allowHalfOpen: true });
    client.write('go');
    const reply = await readAll(client);
    expect(reply.length).toBe(3_000_008);
    expect(reply.startsWith('headx') && reply.endsWith('xtail')).toBe(true);
    await until(() => events.open.size === 0, 'closed although the client has not');
  });

  test('several small buffers arrive in order', async () => {
    const events = new Recorder();
    let done = 0;
    events.onData = (socket) => {
      for (let i = 0; i < 100; i++) {
        const buffers = Array.from({ length: 1 + (i % 5) }, (_, k) => Buffer.from(`${i}.${k} `));
        socket.write(buffers, () => {
          expect(done++).toBe(i);
        });
        expect(done).toBe(0);
      }
      socket.end();
    };
    await start(events);
    const client = await dial({ allowHalfOpen: true });
    client.write('go');
    let expected = '';
    for (let i = 0; i < 100; i++) for (let k = 0; k <= i % 5; k++) expected += `${i}.${k} `;
    expect(await readAll(client)).toBe(expected);
    expect(done).toBe(100);
  });

  test('short writes and others arrive in order, also where the client is slow; a buffer is free at once', async () => {
    const { events, client, socket } = await connected();
    let read = '';
    client.on('data', (part: Buffer) => (read += part.toString('latin1')));
    const buffer = Buffer.alloc(70_000);
    let expected = '';
    let done = 0;
    let others = 0;
    let highest = 0;
    for (let i = 0; i < 3000; i++) {
      if (i === 300) client.pause();
      if (i === 2000) client.resume();
      const end = i % 7 === 0 ? 66_000 : 1 + ((i * 37) % 3000);
      buffer.fill(0x30 + (i % 70), 0, end);
      expected += buffer.toString('latin1', 0, end);
      if (i % 5 === 0) {
        others++;
        socket.write([Buffer.from(buffer.subarray(0, 1)), Buffer.from(buffer.subarray(1, end))], () => done++);
      } else socket.writeShort(buffer, end);
      buffer.fill(0x21, 0, end);
      highest = Math.max(highest, socket.bufferedBytes);
      if (i % 50 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await until(() => read.length === expected.length && done === others, 'all read');
    expect(read === expected).toBe(true);
    expect(highest).toBeGreaterThan(1_000_000);
    await until(() => socket.bufferedBytes === 0 && events.drains > 0, 'drained');
    socket.writeShort(buffer, 0);
    socket.writeShort(Buffer.from('once more'), 9);
    await until(() => read.length === expected.length + 9, 'the last');
  });

  test('short writes to a connection that is gone go nowhere, least of all to the one that has its descriptor now', async () => {
    const ways: ((socket: ClientSocket, client: Socket) => void)[] = [
      (socket) => socket.destroy(),
      (_socket, client) => client.resetAndDestroy(),
      (_socket, client) => client.destroy(),
      (socket) => socket.end(),
    ];
    const text = Buffer.from('for the dead');
    for (const way of ways) {
      const { events, client, socket } = await connected();
      way(socket, client);
      await until(() => {
        if (events.open.size > 0) socket.writeShort(text, text.length);
        return events.open.size === 0;
      }, 'closed');
      const next = await dial();
      await until(() => events.open.size === 1, 'the next one connected');
      let received = '';
      next.on('data', (part: Buffer) => (received += part.toString()));
      const [other] = events.open.keys();
      socket.writeShort(text, text.length);
      other!.writeShort(Buffer.from('for the living'), 14);
      await until(() => received.length >= 14, 'received');
      expect(received).toBe('for the living');
      await listener!.close();
    }
  });

  test('a client that does not read: bytes pile up, are counted, and drain when it does', async () => {
    const events = new Recorder();
    let done = 0;
    events.onData = () => undefined;
    await start(events);
    const client = await dial();
    client.pause();
    client.write('x');
    await until(() => events.received.size === 1 && [...events.received.values()][0] === 1, 'received');
    const [socket] = events.open.keys();
    const piece = Buffer.alloc(1_000_000, 'y');
    for (let i = 0; i < 40; i++) socket!.write([piece], () => done++);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(socket!.bufferedBytes).toBeGreaterThan(10_000_000);
    expect(done).toBeLessThan(40);
    expect(events.drains).toBe(0);
    let read = 0;
    client.on('data', (part: Buffer) => (read += part.length));
    client.resume();
    await until(() => read === 40_000_000 && done === 40, 'all read');
    await until(() => events.drains > 0, 'drained');
    expect(socket!.bufferedBytes).toBe(0);
  });

  test('pause holds the client back, resume goes on, nothing is lost', async () => {
    const events = new Recorder();
    let seen = 0;
    events.onData = (socket, chunk) => {
      seen += chunk.length;
      socket.pause();
    };
    await start(events);
    const client = await dial();
    let taken = false;
    client.write(Buffer.alloc(20_000_000, 'z'), () => (taken = true));
    await until(() => seen > 0, 'first chunk');
    await new Promise((resolve) => setTimeout(resolve, 50));
    const [socket] = events.open.keys();
    const before = seen;
    expect(before).toBeLessThanOrEqual(65536);
    expect(taken).toBe(false);
    events.onData = (_socket, chunk) => void (seen += chunk.length);
    socket!.resume();
    await until(() => seen === 20_000_000, 'the rest');
  });

  test('every done is called, whatever becomes of the connection', async () => {
    const ways: ((socket: ClientSocket, client: Socket) => void)[] = [
      (socket) => socket.destroy(),
      (_socket, client) => client.resetAndDestroy(),
      (_socket, client) => client.destroy(),
      (socket) => socket.end(),
      (socket, client) => {
        socket.end();
        client.destroy();
      },
    ];
    for (const way of ways) {
      const { events, client, socket } = await connected();
      client.pause();
      const done = Array.from({ length: 12 }, () => 0);
      const piece = Buffer.alloc(1_000_000);
      for (let i = 0; i < 8; i++) socket.write(i % 2 === 0 ? [piece] : [piece, piece], () => done[i]!++);
      way(socket, client);
      socket.write([piece], () => done[8]!++);
      socket.write([piece, piece], () => done[9]!++);
      socket.write([], () => done[10]!++);
      expect(done.every((count) => count === 0)).toBe(true);
      client.resume();
      await until(() => events.open.size === 0, 'closed');
      socket.write([piece], () => done[11]!++);
      await until(() => done.every((count) => count > 0), `all done: ${done.join()}`);
      socket.pause();
      socket.resume();
      socket.end();
      socket.destroy();
      await new Promise((resolve) => setTimeout(resolve, 10));
      expect(done.every((count) => count === 1)).toBe(true);
      await listener!.close();
      expect(listener!.connections).toBe(0);
    }
  });

  test('a reset is reported with its error', async () => {
    const events = new Recorder();
    await start(events);
    const client = await dial();
    await until(() => events.open.size === 1, 'connected');
    client.resetAndDestroy();
    await until(() => events.open.size === 0, 'closed');
    expect(events.closedWith[0]).toMatchObject({ code: 'ECONNRESET' });
  });

  test('destroy from inside connected and data', async () => {
    const events = new Recorder();
    events.onConnected = (socket) => {
      if (socket.id === 1) socket.destroy();
      if (socket.id === 2) {
        socket.write([Buffer.from('-ERR max number of clients reached\r\n')], () => undefined);
        socket.end();
      }
    };
    events.onData = (socket) => socket.destroy();
    await start(events);
    const first = await dial();
    first.write('data that nobody gets');
    await until(() => events.closedWith.length === 1, 'first closed');
    const second = await dial({ allowHalfOpen: true });
    expect(await readAll(second)).toBe('-ERR max number of clients reached\r\n');
    const third = await dial();
    third.write('x');
    await until(() => events.closedWith.length === 3, 'third closed');
    expect([...events.received.values()]).toEqual([0, 0, 1]);
  });

  test('2,000 connections, opened and dropped in every way', async () => {
    const events = new Recorder();
    await start(events);
    for (let wave = 0; wave < 10; wave++) {
      const wanted = (wave + 1) * 200;
      const dialled = await Promise.all(Array.from({ length: 200 }, () => dial()));
      dialled.forEach((client, i) => client.write(Buffer.alloc(i * 10 + 1)));
      await until(() => events.connectedCount === wanted, `${wanted} accepted`);
      dialled.forEach((client, i) => {
        if (i % 4 === 0) client.destroy();
        else if (i % 4 === 1) client.end();
        else if (i % 4 === 2) client.resetAndDestroy();
      });
      const sockets = [...events.open.keys()];
      sockets.forEach((socket, i) => {
        if (i % 3 === 0) socket.destroy();
        else if (i % 3 === 1) socket.end();
      });
      for (const client of dialled) client.destroy();
      await until(() => events.open.size === 0, 'all gone');
    }
    expect(events.connectedCount).toBe(2000);
    expect(events.closedWith.length).toBe(2000);
    expect(listener!.connections).toBe(0);
    const client = await dial();
    client.write('still there');
    expect(String((await once(client, 'data'))[0])).toBe('still there');
  });

  test('unix socket: replaces a stale one, sets its mode', async () => {
    const path = join(directory(), 'holdfast.sock');
    writeFileSync(path, 'stale');
    const events = new Recorder();
    await start(events, { port: undefined, unixSocket: path, unixSocketPermissions: 0o700 });
    expect(listener!.port).toBeUndefined();
    expect(statSync(path).mode & 0o777).toBe(0o700);
    const client = connect(path);
    clients.push(client);
    client.write('hello');
    expect(String((await once(client, 'data'))[0])).toBe('hello');
    const [socket] = events.open.keys();
    expect(socket).toMatchObject({ isUnix: true, isLoopback: true, remoteAddr: `${path}:0` });
  });

  test('several addresses, optional ones left out', async () => {
    const events = new Recorder();
    await start(events, { bind: ['127.0.0.1', '127.0.0.2', '-192.0.2.1'] });
    expect(events.troubles.join()).toContain('192.0.2.1');
    const client = connect(listener!.port!, '127.0.0.2');
    clients.push(client);
    client.write('x');
    await once(client, 'data');
    expect([...events.open.keys()][0]!.localAddr).toBe(`127.0.0.2:${listener!.port}`);
  });

  test('an address that cannot be bound: none is', async () => {
    const events = new Recorder();
    await expect(start(events, { bind: ['127.0.0.1', '192.0.2.1'] })).rejects.toMatchObject({ code: 'LISTEN', message: /192\.0\.2\.1/ });
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.2', () => resolve()));
    const port = (taken.address() as AddressInfo).port;
    await expect(start(events, { bind: ['127.0.0.1', '-127.0.0.2'], port })).rejects.toThrow(`127.0.0.2 port ${port}`);
    await new Promise<void>((resolve) => taken.close(() => resolve()));
    // Everything was given back.
    await start(events, { bind: ['127.0.0.1', '127.0.0.2'], port });
    await expect(start(events, { bind: ['-192.0.2.1'] })).rejects.toThrow('none of the addresses');
  });

  test('stopAccepting leaves connections; another listener takes over, ids go on', async () => {
    const events = new Recorder();
    let id = 0;
    const first = await start(events, { nextId: () => ++id });
    const before = await dial();
    await until(() => events.open.size === 1, 'connected');
    const port = first.port!;
    await first.stopAccepting();
    const second = await start(events, { port, nextId: () => ++id });
    const after = await dial();
    for (const client of [before, after]) {
      client.write('x');
      expect(String((await once(client, 'data'))[0])).toBe('x');
    }
    expect([...events.open.keys()].map((socket) => socket.id)).toEqual([1, 2]);
    expect([first.connections, second.connections]).toEqual([1, 1]);
    await first.close();
    expect([first.connections, second.connections]).toEqual([0, 1]);
  });

  test.runIf(process.platform === 'linux' && hasPrlimit())('a full file table is survived', async () => {
    const events = new Recorder();
    const open = readdirSync('/proc/self/fd').length;
    const soft = execFileSync('prlimit', ['--pid', String(process.pid), '--nofile', '--noheadings', '--output', 'SOFT'], { encoding: 'utf8' }).trim();
    oldLimits.push(soft);
    execFileSync('prlimit', ['--pid', String(process.pid), `--nofile=${open + 20}:`]);
    await start(events);
    const script =
      `const net = require('net'); for (let i = 0; i < 60; i++) { const s = net.connect(${listener!.port}, '127.0.0.1');` +
      `s.on('error', () => {}); s.on('connect', () => s.write('x')); } process.stdin.on('data', () => process.exit(0)); setInterval(() => {}, 1000);`;
    const child = spawn(process.execPath, ['-e', script], { stdio: ['pipe', 'ignore', 'inherit'] });
    await until(() => events.connectedCount >= 5, 'some accepted');
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(events.connectedCount).toBeLessThan(60);
    // Starting prlimit needs descriptors too.
    for (const socket of events.open.keys()) socket.destroy();
    await until(() => events.open.size === 0, 'made room');
    for (const limit of oldLimits.splice(0)) execFileSync('prlimit', ['--pid', String(process.pid), `--nofile=${limit}:`]);
    expect(events.troubles.join()).toContain('file descriptors are used up');
    child.stdin.write('x');
    await once(child, 'exit');
    await until(() => events.open.size === 0, 'all gone');
    const client = await dial();
    client.write('again');
    expect(String((await once(client, 'data'))[0])).toBe('again');
  });
});

function hasPrlimit(): boolean {
  try {
    execFileSync('prlimit', ['--version']);
    return true;
  } catch {
    return false;
  }
}
