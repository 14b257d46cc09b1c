// `node bench/rdb.mjs [--keys 5000000] [--value 100] [--redis]`: MB/s and keys/s of writing a keyspace as an RDB file, of loading it
// (with what a snapshot's restore adds: nothing but the digest), and of the CRC alone, in memory: no disk. With
// --redis, redis-server loads the same file, and says how long that took. Give --dist for another build than dist/.
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const option = (name, fallback) => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? fallback : process.argv[at + 1];
};
const keys = Number(option('keys', 5_000_000));
const valueBytes = Number(option('value', 100));
const dist = path.resolve(option('dist', 'dist'));
const load = (file) => import(pathToFileURL(path.join(dist, file)).href);
const { Keyspace } = await load('keyspace/keyspace.js');
const { RdbWriter } = await load('snapshot/rdb-writer.js');
const { RdbReader } = await load('snapshot/rdb-reader.js');
const { Crc64 } = await load('base/crc64.js');

const newKeyspace = () => new Keyspace({ databases: 16, hashKey: new Uint8Array(16).fill(1) });

/** Seconds on the clock and of CPU (which a busy machine leaves alone), and the longest step, milliseconds. */
function time(work) {
  const start = performance.now();
  const cpu = process.cpuUsage();
  let longest = 0;
  let before = start;
  work(() => {
    const now = performance.now();
    longest = Math.max(longest, now - before);
    before = now;
  });
  const { user, system } = process.cpuUsage(cpu);
  return { seconds: (performance.now() - start) / 1000, cpuSeconds: (user + system) / 1e6, longest };
}

function report(what, bytes, { seconds, cpuSeconds, longest }) {
  const steps = longest > 0 ? `, longest step ${longest.toFixed(1)} ms` : '';
  console.log(`${what}: ${(bytes / 1e6 / seconds).toFixed(0)} MB/s, ${(keys / seconds / 1e6).toFixed(2)} M keys/s, ${seconds.toFixed(2)} s, ${cpuSeconds.toFixed(2)} s of CPU${steps}`);
}

const keyspace = newKeyspace();
const key = Buffer.alloc(20, 'k');
const value = Buffer.alloc(valueBytes);
for (let i = 0; i < keys; i++) {
  key.write(String(i).padStart(12, '0'), 8);
  for (let at = 0; at < valueBytes; at += 8) value.writeUInt32LE(Math.imul(i + at, 2654435761) >>> 0, Math.min(at, valueBytes - 4));
  keyspace.database(0).setString(key, 0, 20, value, 0, valueBytes, -1);
}
console.log(`${keys} keys of 20 B with ${valueBytes} B, ${(keyspace.usedBytes / 1e6).toFixed(0)} MB used; node ${process.version}, ${os.cpus()[0].model}`);

const file = path.join(os.tmpdir(), `holdfast-bench-${process.pid}.rdb`);
const fd = fs.openSync(file, 'w');
let bytes = 0;
for (let round = 0; round < 2; round++) {
  const writer = new RdbWriter(keyspace, { aux: [['redis-ver', '7.0.15']] });
  const took = time((step) => {
    for (let chunk = writer.next(); chunk !== undefined; chunk = writer.next()) step();
  });
  bytes = writer.bytes;
  report('write', bytes, took);
}
for (const chunk of new RdbWriter(keyspace, { aux: [['redis-ver', '7.0.15']] }).chunks()) fs.writeSync(fd, chunk);
fs.closeSync(fd);

for (let round = 0; round < 2; round++) {
  const loaded = newKeyspace();
  const reader = new RdbReader(loaded, { fileBytes: bytes });
  const chunk = Buffer.alloc(256 * 1024);
  const input = fs.openSync(file, 'r');
  const took = time((step) => {
    for (let size = fs.readSync(input, chunk); size > 0; size = fs.readSync(input, chunk)) {
      reader.feed(chunk.subarray(0, size));
      step();
    }
    reader.end();
  });
  fs.closeSync(input);
  report('load (from page cache)', bytes, took);
  if (JSON.stringify(loaded.digest()) !== JSON.stringify(keyspace.digest())) throw new Error('the digest differs');
}

const sum = new Crc64();
const block = Buffer.alloc(256 * 1024, 7);
report('CRC-64', bytes, time(() => {
  for (let done = 0; done < bytes; done += block.length) sum.update(block);
}));

if (process.argv.includes('--redis')) {
  const server = spawn('redis-server', ['--port', '7969', '--save', '', '--dir', path.dirname(file), '--dbfilename', path.basename(file)], { stdio: ['ignore', 'pipe', 'ignore'] });
  let log = '';
  await new Promise((resolve) => {
    server.stdout.on('data', (text) => {
      log += text;
      if (log.includes('Ready to accept connections')) resolve();
    });
    server.once('exit', resolve);
  });
  const stat = fs.readFileSync(`/proc/${server.pid}/stat`, 'latin1').split(' ');
  const cpuSeconds = (Number(stat[13]) + Number(stat[14])) / 100;
  server.kill('SIGKILL');
  const seconds = Number(/DB loaded from disk: ([\d.]+) seconds/.exec(log)?.[1]);
  report('redis-server loads the same file', bytes, { seconds, cpuSeconds, longest: 0 });
}
fs.rmSync(file);
