// The keyspace's model: plain maps and arrays, and a driver that does the same random things to both and compares.
import { expect } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import type { Database, Handle } from '../../src/keyspace/database.ts';
import { Keyspace } from '../../src/keyspace/keyspace.ts';
import { encodingName } from '../../src/keyspace/types.ts';

interface ModelKey {
  value: Buffer;
  encoding: string;
  expiryMs: number;
  version: number;
}

/** A database by the rules: order is append, overwrite in place, remove by moving the last. */
class ModelDatabase {
  readonly keys = new Map<string, ModelKey>();
  readonly order = new SwapList();
  readonly volatile = new SwapList();

  put(text: string, key: ModelKey): void {
    const old = this.keys.get(text);
    if (old === undefined) this.order.add(text);
    const was = old !== undefined && old.expiryMs >= 0;
    if (!was && key.expiryMs >= 0) this.volatile.add(text);
    if (was && key.expiryMs < 0) this.volatile.remove(text);
    this.keys.set(text, key);
  }

  remove(text: string): void {
    if (this.keys.get(text)!.expiryMs >= 0) this.volatile.remove(text);
    this.keys.delete(text);
    this.order.remove(text);
  }

  clear(): void {
    this.keys.clear();
    this.order.clear();
    this.volatile.clear();
  }
}

class SwapList {
  readonly items: string[] = [];
  readonly #positions = new Map<string, number>();

  add(text: string): void {
    this.#positions.set(text, this.items.length);
    this.items.push(text);
  }

  remove(text: string): void {
    const position = this.#positions.get(text)!;
    this.#positions.delete(text);
    const last = this.items.pop()!;
    if (last === text) return;
    this.items[position] = last;
    this.#positions.set(last, position);
  }

  clear(): void {
    this.items.length = 0;
    this.#positions.clear();
  }
}

export const HASH_KEY = Uint8Array.from({ length: 16 }, (_, i) => i * 11);
export const DATABASES = 3;
const POOL = makePool(8 * 1024 * 1024);
const PAD = Buffer.from('..');

function makePool(length: number): Buffer {
  const random = new Prng(99);
  const pool = Buffer.alloc(length);
  for (let i = 0; i < length; i += 4) pool.writeUInt32LE(random.uint32(), i);
  return pool;
}

export function canonicalInteger(value: Buffer): boolean {
  if (value.length === 0 || value.length > 20) return false;
  const text = value.toString('latin1');
  if (!/^(0|-?[1-9][0-9]*)$/.test(text)) return false;
  const number = BigInt(text);
  return number === BigInt.asIntN(64, number);
}

function encodingOf(value: Buffer): string {
  return canonicalInteger(value) ? 'int' : value.length <= 44 ? 'embstr' : 'raw';
}

export class Driver {
  readonly keyspace: Keyspace;
  readonly random: Prng;
  /** What only the node itself may notice: clocks, idle work. A generator of its own, so that it changes nothing else. */
  readonly local: Prng;
  dbs = Array.from({ length: DATABASES }, () => new ModelDatabase());
  #record = 0;
  readonly #keyCount: number;
  readonly #label: string;

  constructor(seed: number, localSeed: number, keyCount: number, label = `seed ${seed}`) {
    this.random = new Prng(seed);
    this.local = new Prng(localSeed, 1);
    this.#keyCount = keyCount;
    this.#label = label;
    this.keyspace = new Keyspace({ databases: DATABASES, hashKey: HASH_KEY, clockMs: () => this.local.below(2 ** 31) });
  }

  /** One random command, done to both. */
  step(): void {
    const { random, keyspace } = this;
    this.#record++;
    keyspace.beginRecord(Math.floor(this.#record / 3) + 2 ** 32 - 1000, this.#record % 3);
    const number = random.chance(0.8) ? 0 : random.below(DATABASES);
    const db = keyspace.database(number);
    const model = this.dbs[number]!;
    const text = this.#key();
    const key = Buffer.concat([PAD, Buffer.from(text, 'latin1'), PAD]);
    const h = db.find(key, 2, key.length - 2);
    const known = model.keys.get(text);
    if ((h !== 0) !== (known !== undefined)) this.fail(`${text} is ${h}`);
    const kind = random.below(1000);
    if (kind < 400) this.#set(db, model, text, key, random.chance(0.1));
    else if (kind === 400 && random.chance(0.05)) this.#swap();
    else if (kind === 401 && random.chance(0.1)) this.#clear(db, model);
    else if (kind < 430) this.#setInteger(db, model, text, key);
    else if (h !== 0 && known !== undefined) this.#change(kind, db, model, text, h, known, number);
    this.#idle();
  }

  fail(message: string): never {
    expect.fail(`${this.#label}, record ${this.#record}: ${message}`);
  }

  get version(): number {
    const index = (Math.floor(this.#record / 3) + 2 ** 32 - 1000) % 2 ** 32;
    return (index * 65_536 + (this.#record % 3)) * 2;
  }

  #key(): string {
    const n = this.random.below(this.#keyCount);
    // A few keys are long enough for a length of their own.
    return n % 97 === 0 ? `k${n}:`.padEnd(4000 + (n % 300), 'x') : `k${n}`;
  }

  #value(): Buffer {
    const { random } = this;
    const kind = random.below(1000);
    if (kind < 150) return Buffer.from(String(random.below(1000) - 500));
    if (kind < 180) return Buffer.from(String(BigInt.asIntN(64, (BigInt(random.uint32()) << 32n) | BigInt(random.uint32()))));
    if (kind < 200) return Buffer.from(random.pick(['9223372036854775807', '-9223372036854775808', '9223372036854775808', '007', '-0', '+1', '', '-']));
    let length = random.below(120);
    if (kind > 800) length = random.below(1200);
    if (kind > 950) length = random.below(10_000);
    if (kind > 990) length = random.below(100_000);
    if (kind === 999 && random.chance(0.2)) length = random.below(4_000_000);
    return this.#bytes(length);
  }

  #bytes(length: number): Buffer {
    const at = this.random.below(POOL.length - length);
    return POOL.subarray(at, at + length);
  }

  #set(db: Database, model: ModelDatabase, text: string, key: Buffer, raw: boolean): void {
    const { random } = this;
    const value = this.#value();
    const expiryMs = random.chance(0.3) ? random.below(2 ** 30) * 4096 : -1;
    const padded = Buffer.concat([PAD, value, PAD]);
    if (raw) db.setStringRaw(key, 2, key.length - 2, padded, 2, padded.length - 2, expiryMs);
    else db.setString(key, 2, key.length - 2, padded, 2, padded.length - 2, expiryMs);
    model.put(text, { value, encoding: raw ? 'raw' : encodingOf(value), expiryMs, version: this.version });
  }

  #setInteger(db: Database, model: ModelDatabase, text: string, key: Buffer): void {
    const value = this.random.chance(0.5) ? this.random.below(2 ** 32) - 2 ** 31 : BigInt.asIntN(64, BigInt(this.random.uint32()) ** 2n);
    db.setInteger(key, 2, key.length - 2, value, -1);
    model.put(text, { value: Buffer.from(String(value)), encoding: 'int', expiryMs: -1, version: this.version });
  }

  #swap(): void {
    const a = this.random.below(DATABASES);
    const b = this.random.below(DATABASES);
    this.keyspace.swap(a, b);
    const first = this.dbs[a]!;
    this.dbs[a] = this.dbs[b]!;
    this.dbs[b] = first;
  }

  #clear(db: Database, model: ModelDatabase): void {
    if (this.random.chance(0.3)) {
      this.keyspace.flushAll();
      for (const each of this.dbs) each.clear();
      if (this.keyspace.usedBytes !== 0 || this.keyspace.reservedBytes !== 0) this.fail(`${this.keyspace.usedBytes} bytes after FLUSHALL`);
    } else {
      db.clear();
      model.clear();
    }
  }

  #change(kind: number, db: Database, model: ModelDatabase, text: string, h: Handle, known: ModelKey, number: number): void {
    const { random } = this;
    if (kind < 600) {
      db.remove(h);
      model.remove(text);
    } else if (kind < 700) this.#append(db, model, text, h, known);
    else if (kind < 780) this.#setRange(db, model, text, h, known);
    else if (kind < 880) {
      const expiryMs = random.chance(0.4) ? -1 : random.below(2 ** 30) * 4096 + 1;
      db.setExpiry(h, expiryMs);
      if (expiryMs >= 0 || known.expiryMs >= 0) model.put(text, { ...known, expiryMs, version: this.version });
    } else if (kind < 920) {
      const value = random.chance(0.8) ? random.below(10_000) : -(2n ** 63n);
      db.replaceInteger(h, value);
      model.put(text, { ...known, value: Buffer.from(String(value)), encoding: 'int', version: this.version });
    } else this.#relocate(kind, db, model, text, h, known, number);
  }

  #append(db: Database, model: ModelDatabase, text: string, h: Handle, known: ModelKey): void {
    const times = this.random.below(4) + 1;
    let value = known.value;
    for (let i = 0; i < times && value.length < 5_000_000; i++) {
      const more = this.#bytes(this.random.chance(0.9) ? this.random.below(60) : this.random.below(20_000));
      h = db.append(h, more, 0, more.length);
      value = Buffer.concat([value, more]);
    }
    if (value !== known.value) model.put(text, { ...known, value, encoding: 'raw', version: this.version });
  }

  #setRange(db: Database, model: ModelDatabase, text: string, h: Handle, known: ModelKey): void {
    const { random } = this;
    const more = this.#bytes(random.chance(0.9) ? random.below(60) : random.below(20_000));
    const offset = random.chance(0.8) ? random.below(known.value.length + 1) : random.below(known.value.length + 9000);
    db.setRange(h, offset, more, 0, more.length);
    if (more.length === 0) return;
    const value = Buffer.alloc(Math.max(known.value.length, offset + more.length));
    known.value.copy(value);
    more.copy(value, offset);
    model.put(text, { ...known, value, encoding: 'raw', version: this.version });
  }

  #relocate(kind: number, db: Database, model: ModelDatabase, text: string, h: Handle, known: ModelKey, number: number): void {
    const otherNumber = (number + 1) % DATABASES;
    const target = kind < 950 ? db : this.keyspace.database(kind < 970 ? number : otherNumber);
    const targetModel = kind < 970 ? model : this.dbs[otherNumber]!;
    const newText = kind >= 985 ? text : this.#key();
    if (targetModel === model && newText === text) return;
    const newKey = Buffer.from(newText, 'latin1');
    const there = target.find(newKey, 0, newKey.length);
    if (there !== 0) {
      target.remove(there);
      targetModel.remove(newText);
      // Removal moves no record, so `h` is still good.
    }
    if (kind < 950) {
      db.rename(h, newKey, 0, newKey.length);
      model.remove(text);
    } else if (kind < 985) db.copyTo(h, target, newKey, 0, newKey.length);
    else {
      db.moveTo(h, target);
      model.remove(text);
    }
    targetModel.put(newText, { ...known, version: this.version });
  }

  /** Reads and idle work, which nothing replicated may follow. */
  #idle(): void {
    const { local, keyspace } = this;
    if (local.chance(0.02)) keyspace.rehashStep(local.below(100));
    if (local.chance(0.02)) keyspace.defragStep(local.below(10_000));
    if (local.chance(0.0005)) keyspace.policy = local.chance(0.5) ? 'lru' : 'lfu';
    if (!local.chance(0.2)) return;
    const db = keyspace.database(local.below(DATABASES));
    if (db.size === 0) return;
    const h = db.at(local.below(db.size));
    keyspace.touch(h);
    keyspace.idleMs(h);
    keyspace.stringSpan(h);
  }

  /** Compares one key, found by its bytes, with the model. */
  checkKey(number: number, text: string): void {
    const { keyspace } = this;
    const db = keyspace.database(number);
    const key = Buffer.from(text, 'latin1');
    const h = db.find(key, 0, key.length);
    const known = this.dbs[number]!.keys.get(text);
    if (known === undefined) return h === 0 ? undefined : this.fail(`${text} exists`);
    if (h === 0) return this.fail(`${text} is missing`);
    const encoding = encodingName(keyspace.encoding(h));
    if (encoding !== known.encoding) this.fail(`${text} is ${encoding}, not ${known.encoding}`);
    const { bytes, start, end } = keyspace.stringSpan(h);
    if (keyspace.stringLength(h) !== known.value.length || known.value.compare(bytes, start, end) !== 0) {
      this.fail(`${text} has another value, ${end - start} bytes, not ${known.value.length}`);
    }
    const integer = canonicalInteger(known.value) ? BigInt(known.value.toString()) : undefined;
    if (keyspace.integer64(h) !== integer) this.fail(`${text} is not ${integer}`);
    if (keyspace.isInteger(h) !== (encoding === 'int')) this.fail(`${text} isInteger`);
    if (keyspace.expiryMs(h) !== known.expiryMs) this.fail(`${text} expires ${keyspace.expiryMs(h)}, not ${known.expiryMs}`);
    if (keyspace.keyText(h) !== text || keyspace.keyLength(h) !== text.length) this.fail(`${text} has key ${keyspace.keyText(h)}`);
    if (keyspace.version(number, key, 0, key.length, known.expiryMs) !== known.version) this.fail(`${text} has another version`);
    if (db.isExpired(h, known.expiryMs)) this.fail(`${text} is expired at its deadline`);
    if (known.expiryMs >= 0 && !db.isExpired(h, known.expiryMs + 1)) this.fail(`${text} is not expired after its deadline`);
  }

  /** Compares everything. */
  checkAll(): void {
    const { keyspace } = this;
    for (let number = 0; number < DATABASES; number++) {
      const db = keyspace.database(number);
      const model = this.dbs[number]!;
      expect(db.number).toBe(number);
      expect(this.order(number), this.#label).toEqual(model.order.items);
      expect(this.volatile(number), this.#label).toEqual(model.volatile.items);
      for (const text of model.keys.keys()) this.checkKey(number, text);
    }
    expect(keyspace.digest(), this.#label).toEqual(keyspace.digestSlow());
  }

  order(number: number): string[] {
    const db = this.keyspace.database(number);
    return Array.from({ length: db.size }, (_, i) => this.keyspace.keyText(db.at(i)));
  }

  volatile(number: number): string[] {
    const db = this.keyspace.database(number);
    return Array.from({ length: db.volatileSize }, (_, i) => this.keyspace.keyText(db.volatileAt(i)));
  }

  memoryOfKeys(): number {
    let sum = 0;
    for (let number = 0; number < DATABASES; number++) {
      const db = this.keyspace.database(number);
      for (let i = 0; i < db.size; i++) sum += this.keyspace.memoryUsage(db.at(i));
    }
    return sum;
  }
}
