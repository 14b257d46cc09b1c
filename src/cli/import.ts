// `holdfast import dump.rdb --to host:port`: loads a dump of Redis, or a snapshot of Holdfast, into a cluster through a node's client
// port, as ordinary writes. The whole file is read and checked before the first of them is sent; it needs as much memory as
// the data take.
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import { OperationalError } from '../base/errors.ts';
import { KiB, MiB } from '../base/limits.ts';
import type { Database, Handle } from '../keyspace/database.ts';
import { Keyspace } from '../keyspace/keyspace.ts';
import { ValueType } from '../keyspace/types.ts';
import { RdbReader, type RdbReport } from '../snapshot/rdb-reader.ts';
import { takeFlag, takeOption } from './options.ts';
import { errorOf, parseAddress, RespClient, textOf, type Word } from './resp-client.ts';
import { bar, ProgressLine, rateText, sizeText, tableText } from './terminal.ts';

/** A large value goes out in commands of so many elements, or of so many bytes. */
const PART_ELEMENTS = 256;
const PART_BYTES = 256 * KiB;
const READ_BYTES = 1 * MiB;

export async function importDump(args: readonly string[]): Promise<void> {
  const words = [...args];
  const to = takeOption(words, 'to');
  const password = takeOption(words, 'password') ?? '';
  const force = takeFlag(words, 'force');
  const [file, ...rest] = words;
  if (file === undefined || to === undefined || rest.length > 0) {
    throw new OperationalError('CONFIG', 'command line: holdfast import FILE.rdb --to host:port [--password P] [--force]');
  }
  const client = await RespClient.connect(parseAddress(to, password));
  const line = new ProgressLine();
  try {
    const before = await keysOf(client);
    if (before.size > 0 && !force) {
      const where = [...before].map(([db, keys]) => `${keys} keys in database ${db}`).join(', ');
      throw new OperationalError('CONFIG', `${client.address} is not empty (${where}); give --force to write the dump's keys over what is there`);
    }
    const { keyspace, report } = await load(file, await databasesOf(client), line);
    const sender = new Sender(client, keyspace, report.keys, line);
    await sender.run();
    line.clear();
    process.stdout.write(`${await resultText(client, keyspace, before.size === 0, report)}\n`);
  } finally {
    line.clear();
    client.close();
  }
}

async function databasesOf(client: RespClient): Promise<number> {
  const reply = await client.ask('CONFIG', 'GET', 'databases');
  const value = reply.kind === 'array' ? reply.items[1] : undefined;
  return value === undefined ? 16 : Number(textOf(value));
}

/** Keys by database, of those that have any. */
async function keysOf(client: RespClient): Promise<Map<number, number>> {
  const text = await client.askText('INFO', 'keyspace');
  return new Map([...text.matchAll(/^db(\d+):keys=(\d+)/gm)].map(([, db, keys]) => [Number(db), Number(keys)]));
}

async function load(file: string, databases: number, line: ProgressLine): Promise<{ keyspace: Keyspace; report: RdbReport }> {
  const keyspace = new Keyspace({ databases, hashKey: new Uint8Array(randomBytes(16)) });
  let bytes = 0;
  const total = statOf(file);
  const reader = new RdbReader(keyspace, { nowMs: Date.now() });
  const startedMs = performance.now();
  try {
    for await (const chunk of fs.createReadStream(file, { highWaterMark: READ_BYTES })) {
      reader.feed(chunk as Buffer);
      bytes += (chunk as Buffer).length;
      line.show(() => bar(bytes, total, `reading ${sizeText(bytes)}`, rateText(bytes, performance.now() - startedMs)));
    }
    return { keyspace, report: reader.end() };
  } catch (thrown) {
    if (thrown instanceof OperationalError) throw new OperationalError(thrown.code, `${file}: ${thrown.message}; nothing was sent`, { cause: thrown });
    throw thrown;
  }
}

function statOf(file: string): number {
  try {
    return fs.statSync(file).size;
  } catch (thrown) {
    throw new OperationalError('CONFIG', `${file} cannot be read: ${(thrown as Error).message}`, { cause: thrown });
  }
}

class Sender {
  readonly #client: RespClient;
  readonly #keyspace: Keyspace;
  readonly #total: number;
  readonly #line: ProgressLine;
  readonly #startedMs = performance.now();
  #keys = 0;
  #bytes = 0;
  #failed: OperationalError | undefined;
  #last: Promise<unknown> = Promise.resolve();

  constructor(client: RespClient, keyspace: Keyspace, total: number, line: ProgressLine) {
    this.#client = client;
    this.#keyspace = keyspace;
    this.#total = total;
    this.#line = line;
  }

  async run(): Promise<void> {
    for (let number = 0; number < this.#keyspace.databases; number++) {
      const db = this.#keyspace.database(number);
      if (db.size > 0) await this.#sendDatabase(db);
    }
    this.#client.flush();
    await this.#last;
    if (this.#failed !== undefined) throw this.#failed;
  }

  async #sendDatabase(db: Database): Promise<void> {
    this.#send('SELECT', db.number);
    for (let position = 0; position < db.size; position++) {
      await this.#sendKey(db.at(position));
      this.#keys++;
      this.#line.show(() => bar(this.#keys, this.#total, `sent ${this.#keys} of ${this.#total} keys`, rateText(this.#bytes, performance.now() - this.#startedMs)));
    }
  }

  async #sendKey(h: Handle): Promise<void> {
    const keyspace = this.#keyspace;
    const key = copyOf(keyspace.keySpan(h));
    const expiryMs = keyspace.expiryMs(h);
    if (keyspace.type(h) === ValueType.string) {
      const value = copyOf(keyspace.stringSpan(h));
      if (expiryMs === -1) this.#send('SET', key, value);
      else this.#send('SET', key, value, 'PXAT', expiryMs);
      await this.#room();
      return;
    }
    // What --force writes over goes first: HSET and ZADD only add.
    this.#send('DEL', key);
    if (keyspace.type(h) === ValueType.hash) await this.#sendFields(h, key);
    else await this.#sendMembers(h, key);
    if (expiryMs !== -1) this.#send('PEXPIREAT', key, expiryMs);
  }

  async #sendFields(h: Handle, key: Uint8Array): Promise<void> {
    const { hashes } = this.#keyspace;
    const part = new Part('HSET', key);
    for (hashes.walk(h); hashes.next(); ) {
      part.add(copyOf(hashes.field()), copyOf(hashes.value()));
      if (part.full) await this.#sendPart(part);
    }
    await this.#sendPart(part);
  }

  async #sendMembers(h: Handle, key: Uint8Array): Promise<void> {
    const { view } = this.#keyspace.zsets;
    const part = new Part('ZADD', key);
    view.open(h);
    for (view.seek(0); view.valid; view.next()) {
      const { score } = view;
      view.load();
      part.add(scoreText(score), copyOf({ bytes: view.memberBytes, start: view.memberStart, end: view.memberEnd }));
      if (part.full) await this.#sendPart(part);
    }
    await this.#sendPart(part);
  }

  async #sendPart(part: Part): Promise<void> {
    if (part.elements === 0) return;
    this.#send(...part.take());
    await this.#room();
  }

  async #room(): Promise<void> {
    if (this.#client.full) await this.#client.room();
    if (this.#failed !== undefined) throw this.#failed;
  }

  #send(...words: readonly Word[]): void {
    for (const word of words) this.#bytes += typeof word === 'number' ? 8 : word.length;
    const command = String(words[0]);
    this.#last = this.#client.send(words).then(
      (reply) => {
        const error = errorOf(reply);
        if (error === undefined || this.#failed !== undefined) return;
        const key = words[1] instanceof Uint8Array ? JSON.stringify(Buffer.from(words[1]).toString('latin1').slice(0, 64)) : '';
        this.#failed = new OperationalError('PEER', `${this.#client.address} answered ${command} ${key} with: ${error}; ${this.#keys} keys had been sent. Empty the target, or go on with --force once the cause is gone`);
      },
      (thrown: unknown) => {
        this.#failed ??= thrown as OperationalError;
      },
    );
  }
}

/** A command that gathers elements. */
class Part {
  elements = 0;
  readonly #head: readonly Word[];
  #words: Word[] = [];
  #bytes = 0;

  constructor(command: string, key: Uint8Array) {
    this.#head = [command, key];
  }

  get full(): boolean {
    return this.elements >= PART_ELEMENTS || this.#bytes >= PART_BYTES;
  }

  add(first: Uint8Array | string, second: Uint8Array): void {
    this.#words.push(first, second);
    this.#bytes += first.length + second.length;
    this.elements++;
  }

  take(): Word[] {
    const words = [...this.#head, ...this.#words];
    this.#words = [];
    this.#bytes = 0;
    this.elements = 0;
    return words;
  }
}

function copyOf({ bytes, start, end }: { readonly bytes: Uint8Array; readonly start: number; readonly end: number }): Uint8Array {
  return bytes.slice(start, end);
}

/** Seventeen digits and fewer, which give the same number back. */
function scoreText(score: number): string {
  if (score === Infinity) return '+inf';
  if (score === -Infinity) return '-inf';
  return Object.is(score, -0) ? '-0' : String(score);
}

async function resultText(client: RespClient, keyspace: Keyspace, wasEmpty: boolean, report: RdbReport): Promise<string> {
  const there = await keysOf(client);
  const rows: string[][] = [['database', 'in the dump', 'there now']];
  const wrong: number[] = [];
  const nowMs = Date.now();
  for (let number = 0; number < keyspace.databases; number++) {
    const db = keyspace.database(number);
    if (db.size === 0) continue;
    const now = there.get(number) ?? 0;
    rows.push([String(number), String(db.size), String(now)]);
    if (now < db.size - expiredBy(keyspace, db, nowMs) || (wasEmpty && now > db.size)) wrong.push(number);
  }
  if (wrong.length > 0) {
    throw new OperationalError('PEER', `the dump was sent, but the counts differ in database ${wrong.join(', ')}; did others write meanwhile?\n${tableText(rows)}`);
  }
  const left = [
    ...(report.expiredKeys > 0 ? [`${report.expiredKeys} keys past their deadline`] : []),
    ...(report.emptyKeys > 0 ? [`${report.emptyKeys} empty collections`] : []),
    ...(report.functionLibraries > 0 ? [`${report.functionLibraries} function libraries`] : []),
    ...(report.moduleItems > 0 ? [`${report.moduleItems} items of modules`] : []),
  ];
  return `imported ${report.keys} keys of an RDB file of version ${report.version}\n${tableText(rows)}${left.length === 0 ? '' : `\nleft out: ${left.join(', ')}`}`;
}

function expiredBy(keyspace: Keyspace, db: Database, nowMs: number): number {
  let count = 0;
  for (let position = 0; position < db.size; position++) {
    const expiryMs = keyspace.expiryMs(db.at(position));
    if (expiryMs !== -1 && expiryMs <= nowMs) count++;
  }
  return count;
}
