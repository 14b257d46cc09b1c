// Loading an RDB file into a keyspace that nobody uses yet: `feed` its chunks, then `end`. Reads versions 1 to 11 with all forms of
// the types that Holdfast has, and checks everything before it uses it. Anything wrong is an RdbError with the byte's offset.
//
// What must hold: nothing is half loaded. The keyspace is the caller's to throw away unless `end` returned; only then has the
// file's CRC been seen. Memory beyond the keyspace is bounded by the longest key, string, field or packed value.
import { assert, unreachable } from '../base/assert.ts';
import { copyBytes } from '../base/bytes.ts';
import { ReplicatedSettings } from '../commands/replicated-settings.ts';
import type { ByteSpan, Database, Handle } from '../keyspace/database.ts';
import { ARRIVALS_MAX } from '../keyspace/internals.ts';
import type { Keyspace } from '../keyspace/keyspace.ts';
import { KEY_BYTES_MAX } from '../keyspace/record.ts';
import { RdbError } from './rdb-error.ts';
import {
  MISSING_TYPES,
  ModuleItem,
  Opcode,
  RDB_CHECKSUM_VERSION,
  RDB_HEADER_BYTES,
  RDB_MAGIC,
  RDB_VERSION_MAX,
  RDB_VERSION_MIN,
  RdbType,
} from './rdb-format.ts';
import { EndOfInput, RdbInput, StringSpan } from './rdb-input.ts';
import { type PackedForm, scoreFrom, ValueFault, ValueLoader } from './rdb-packed.ts';

const NO_EXPIRY = -1;
const KEY_TEXT_BYTES_MAX = 64;
export const WRONG_CHECKSUM = 'the file’s checksum does not match its bytes';
/** Of the AUX fields so many are kept, the first ones, each cut off behind so many bytes: a file may have any number of any size. */
const AUX_FIELDS_MAX = 64;
const AUX_TEXT_BYTES_MAX = 256;

export interface RdbReadOptions {
  /**
   * The thresholds by which values choose their forms, as Redis does when it loads. Without them every value keeps the form that it
   * has in the file: for files that Holdfast itself wrote.
   */
  readonly settings?: ReplicatedSettings;
  /** Keys whose deadline is before this time are left out. Without it they are loaded like all others. */
  readonly nowMs?: number;
  /** The caller adds up the file's CRC, and compares it with that of the report before it uses anything. */
  readonly isSummedElsewhere?: boolean;
}

export interface RdbReport {
  readonly version: number;
  readonly bytes: number;
  readonly keys: number;
  /** Left out, being past their deadline. */
  readonly expiredKeys: number;
  /** Left out, being collections without elements, which old releases of Redis sometimes wrote. */
  readonly emptyKeys: number;
  /** Left out: what Holdfast has no place for. */
  readonly functionLibraries: number;
  readonly moduleItems: number;
  readonly aux: ReadonlyMap<string, string>;
  /** The CRC that the file ends with, 16 hexadecimal digits; undefined if the writer left it out. */
  readonly checksum: string | undefined;
  /** False if the writer left the CRC out, or somebody else is to compare it. */
  readonly checked: boolean;
}

const State = { header: 0, opcode: 1, hash: 2, zset: 3, moduleAux: 4, checksum: 5, ended: 6, broken: 7 } as const;
type State = (typeof State)[keyof typeof State];

export class RdbReader {
  readonly #keyspace: Keyspace;
  readonly #nowMs: number | undefined;
  readonly #values: ValueLoader;
  readonly #input: RdbInput;
  readonly #key = new StringSpan();
  readonly #value = new StringSpan();
  readonly #second = new StringSpan();
  readonly #aux = new Map<string, string>();
  #state: State = State.header;
  #db: Database;
  #version = 0;
  #expiryMs = NO_EXPIRY;
  /** Keys of this database, as the file says, which may say anything. */
  #expectedKeys = 0;
  /** Of the strings that are to be settled (KeyTable.settle), where they begin. */
  readonly #offsets = new Float64Array(ARRIVALS_MAX);
  #arrived = 0;
  /** Of the large value under way: elements still to come, its type, and its key for messages. */
  #left = 0;
  #type = 0;
  #keyName = '';
  #keys = 0;
  #expiredKeys = 0;
  #emptyKeys = 0;
  #functionLibraries = 0;
  #moduleItems = 0;
  #checksum: string | undefined;
  readonly #isSummedElsewhere: boolean;

  /** `keyspace` is empty. */
  constructor(keyspace: Keyspace, options: RdbReadOptions) {
    this.#keyspace = keyspace;
    this.#nowMs = options.nowMs;
    this.#isSummedElsewhere = options.isSummedElsewhere === true;
    this.#input = new RdbInput(!this.#isSummedElsewhere);
    this.#values = new ValueLoader(keyspace, options.settings ?? new ReplicatedSettings(), options.settings === undefined);
    this.#db = keyspace.database(0);
  }

  /** Bytes of whole keys and elements taken so far. */
  get offset(): number {
    return this.#input.offset;
  }

  get keys(): number {
    return this.#keys;
  }

  /** Takes the next bytes of the file, however many; they may change afterwards. */
  feed(chunk: Uint8Array): void {
    assert(this.#state !== State.broken, 'a reader that has failed takes no more');
    const input = this.#input;
    const isWorthTrying = input.add(chunk);
    try {
      while (isWorthTrying) {
        input.begin();
        if (this.#state === State.ended && input.left === 0) break;
        this.#unit();
      }
    } catch (thrown) {
      if (!(thrown instanceof EndOfInput)) this.#fail(thrown);
    }
    input.rest();
  }

  /** The file ends here. */
  end(): RdbReport {
    assert(this.#state !== State.broken, 'a reader that has failed cannot end');
    if (this.#state !== State.ended) {
      const offset = this.#input.offset + this.#input.left;
      this.#state = State.broken;
      this.#settle();
      throw new RdbError('the file ends too early', offset);
    }
    for (let number = 0; number < this.#keyspace.databases; number++) this.#keyspace.database(number).trim();
    return {
      version: this.#version,
      bytes: this.#input.offset,
      keys: this.#keys,
      expiredKeys: this.#expiredKeys,
      emptyKeys: this.#emptyKeys,
      functionLibraries: this.#functionLibraries,
      moduleItems: this.#moduleItems,
      aux: this.#aux,
      checksum: this.#checksum,
      checked: this.#checksum !== undefined && !this.#isSummedElsewhere,
    };
  }

  #fail(thrown: unknown): never {
    this.#state = State.broken;
    // A key that comes twice was there before what has just been found.
    if (thrown instanceof ValueFault || thrown instanceof RdbError) this.#settle();
    if (!(thrown instanceof ValueFault)) throw thrown;
    throw new RdbError(`key ${this.#keyName} of database ${this.#db.number} has ${thrown.message}`, this.#input.unitOffset);
  }

  /** Reads one unit: all of it, or nothing if it ends beyond what has come. State changes once it is whole. */
  #unit(): void {
    switch (this.#state) {
      case State.header:
        return this.#readHeader();
      case State.opcode:
        return this.#readOpcode();
      case State.hash:
        return this.#readField();
      case State.zset:
        return this.#readMember();
      case State.moduleAux:
        return this.#readModuleItem();
      case State.checksum:
        return this.#readChecksum();
      case State.ended:
        throw new RdbError('bytes after the end of the file', this.#input.offset);
      case State.broken:
        return unreachable(undefined, 'a reader that has failed reads on');
    }
  }

  #readHeader(): void {
    const text = this.#input.latin1(RDB_HEADER_BYTES);
    const version = /^\d{4}$/.test(text.slice(RDB_MAGIC.length)) ? Number(text.slice(RDB_MAGIC.length)) : NaN;
    if (!text.startsWith(RDB_MAGIC) || Number.isNaN(version)) throw new RdbError('this is no RDB file', 0);
    if (version < RDB_VERSION_MIN || version > RDB_VERSION_MAX) {
      throw new RdbError(
        `RDB version ${version}: this release reads versions ${RDB_VERSION_MIN} to ${RDB_VERSION_MAX} (Redis up to 7.2)`,
        RDB_MAGIC.length,
      );
    }
    this.#version = version;
    this.#state = State.opcode;
  }

  #readOpcode(): void {
    const input = this.#input;
    const opcode = input.byte();
    switch (opcode) {
      case Opcode.aux:
        return this.#readAux();
      case Opcode.selectDb: {
        const number = input.length();
        if (number >= this.#keyspace.databases) {
          throw new RdbError(`database ${number}, where there are ${this.#keyspace.databases}`, input.unitOffset);
        }
        this.#settle();
        this.#db = this.#keyspace.database(number);
        this.#expectedKeys = 0;
        return;
      }
      case Opcode.resizeDb:
        return this.#readSizes();
      case Opcode.expiryMs:
        this.#expiryMs = input.int64();
        return;
      case Opcode.expirySeconds:
        this.#expiryMs = input.int32() * 1000;
        return;
      case Opcode.idle:
        input.length();
        return;
      case Opcode.freq:
        input.byte();
        return;
      case Opcode.functionLibrary:
        input.skipString();
        this.#functionLibraries++;
        return;
      case Opcode.functionPrerelease:
        return this.#skipPrereleaseFunction();
      case Opcode.moduleAux:
        return this.#readModuleHead();
      case Opcode.end:
        this.#settle();
        this.#state = this.#version < RDB_CHECKSUM_VERSION ? State.ended : State.checksum;
        return;
      default:
        return this.#readKey(opcode);
    }
  }

  /** Keys, and those with a deadline. */
  #readSizes(): void {
    const keys = this.#input.length();
    this.#input.length();
    this.#expectedKeys = keys;
  }

  #readAux(): void {
    this.#input.string(this.#key);
    this.#input.string(this.#value);
    if (this.#aux.size < AUX_FIELDS_MAX) this.#aux.set(this.#key.text(AUX_TEXT_BYTES_MAX), this.#value.text(AUX_TEXT_BYTES_MAX));
  }

  /** Name, engine, a description if one is announced, code. */
  #skipPrereleaseFunction(): void {
    const input = this.#input;
    input.skipString();
    input.skipString();
    if (input.length() !== 0) input.skipString();
    input.skipString();
    this.#functionLibraries++;
  }

  #readModuleHead(): void {
    const input = this.#input;
    input.length();
    if (input.length() !== ModuleItem.unsigned) throw new RdbError('data of a module that is damaged', input.unitOffset);
    input.length();
    this.#state = State.moduleAux;
  }

  #readModuleItem(): void {
    const input = this.#input;
    switch (input.length()) {
      case ModuleItem.end:
        this.#moduleItems++;
        this.#state = State.opcode;
        return;
      case ModuleItem.signed:
      case ModuleItem.unsigned:
        input.length();
        return;
      case ModuleItem.float:
        return input.skip(4);
      case ModuleItem.double:
        return input.skip(8);
      case ModuleItem.string:
        return input.skipString();
      default:
        throw new RdbError('data of a module that is damaged', input.unitOffset);
    }
  }

  #readChecksum(): void {
    const checksum = this.#input.checksum();
    if (checksum === 'wrong') throw new RdbError(WRONG_CHECKSUM, this.#input.unitOffset);
    this.#checksum = checksum;
    this.#state = State.ended;
  }

  /** A key with its value, or with the head of a large one. */
  #readKey(type: number): void {
    const input = this.#input;
    const key = this.#key;
    const missing = MISSING_TYPES[type];
    if (missing === undefined && !TYPES[type]) throw new RdbError(`an unknown type or opcode (${type})`, input.unitOffset);
    input.string(key);
    if (missing !== undefined) {
      throw new RdbError(
        `key ${nameOf(key)} of database ${this.#db.number} holds ${missing}, which Holdfast does not have yet`,
        input.unitOffset,
      );
    }
    if (key.length > KEY_BYTES_MAX) throw new RdbError(`a key of ${key.length} bytes; ${KEY_BYTES_MAX} are the most`, input.unitOffset);
    switch (type) {
      case RdbType.string:
        return this.#readString();
      case RdbType.hash:
        return this.#beginLarge(type, State.hash);
      case RdbType.zset:
      case RdbType.zsetAscii:
        return this.#beginLarge(type, State.zset);
      default:
        return this.#readPacked(type);
    }
  }

  #readString(): void {
    const key = this.#key;
    const value = this.#value;
    this.#input.string(value);
    if (this.#isPast()) {
      this.#skipKey();
      return;
    }
    this.#db.loadString(key.bytes, key.start, key.end, value.bytes, value.start, value.end, this.#deadline());
    this.#offsets[this.#arrived++] = this.#input.unitOffset;
    this.#keys++;
    this.#expiryMs = NO_EXPIRY;
    if (this.#arrived === ARRIVALS_MAX) this.#settle();
  }

  /** Before anything but a string is done to the database. */
  #settle(): void {
    const count = this.#arrived;
    if (count === 0) return;
    const db = this.#db;
    this.#arrived = 0;
    const settled = db.settle(this.#expectedKeys);
    if (settled < count) throw this.#twice(this.#keyspace.keySpan(db.at(db.size - count + settled)), this.#offsets[settled]!);
  }

  #readPacked(type: number): void {
    this.#input.string(this.#value);
    this.#expectNew();
    this.#keyName = nameOf(this.#key);
    const form = FORMS[type]!;
    const isHash = type !== RdbType.zsetListpack && type !== RdbType.zsetZiplist;
    this.#finish(
      isHash ? this.#values.hash(this.#db, this.#key, form, this.#value) : this.#values.zset(this.#db, this.#key, form, this.#value),
    );
  }

  #beginLarge(type: number, state: State): void {
    const key = this.#key;
    const count = this.#input.length();
    this.#expectNew();
    if (count === 0) {
      this.#finish(0);
      return;
    }
    this.#keyName = nameOf(key);
    if (state === State.hash) this.#values.beginHash(this.#db, key, count);
    else this.#values.beginZset(this.#db, copyBytes(key.bytes, key.start, key.end), count);
    this.#type = type;
    this.#left = count;
    this.#state = state;
  }

  #readField(): void {
    this.#input.string(this.#value);
    this.#input.string(this.#second);
    this.#values.field(this.#value, this.#second);
    if (--this.#left === 0) this.#finish(this.#values.endHash());
  }

  #readMember(): void {
    const member = this.#value;
    this.#input.string(member);
    const score = this.#type === RdbType.zset ? this.#input.double() : this.#readAsciiScore();
    this.#values.member(member.bytes, member.start, member.end, score);
    if (--this.#left === 0) this.#finish(this.#values.endZset());
  }

  /** A byte's length and text; 253, 254 and 255 for what is no finite number. */
  #readAsciiScore(): number {
    const length = this.#input.byte();
    if (length === 255) return -Infinity;
    if (length === 254) return Infinity;
    return length === 253 ? NaN : scoreFrom(this.#input.latin1(length));
  }

  /** The value of the key is whole; 0 if it is empty. */
  #finish(h: Handle): void {
    this.#state = State.opcode;
    if (h === 0) {
      this.#emptyKeys++;
      this.#expiryMs = NO_EXPIRY;
      return;
    }
    if (this.#isPast()) {
      this.#db.remove(h);
      this.#skipKey();
      return;
    }
    this.#db.setExpiry(h, this.#deadline());
    this.#keys++;
    this.#expiryMs = NO_EXPIRY;
  }

  #isPast(): boolean {
    return this.#nowMs !== undefined && this.#expiryMs !== NO_EXPIRY && this.#expiryMs < this.#nowMs;
  }

  #skipKey(): void {
    this.#expiredKeys++;
    this.#expiryMs = NO_EXPIRY;
  }

  /** A deadline that Holdfast can hold: before its first millisecond and after its last there is nothing to tell apart. */
  #deadline(): number {
    if (this.#expiryMs === NO_EXPIRY) return NO_EXPIRY;
    return Math.min(Math.max(0, this.#expiryMs), Number.MAX_SAFE_INTEGER);
  }

  #expectNew(): void {
    this.#settle();
    const { bytes, start, end } = this.#key;
    if (this.#db.find(bytes, start, end) !== 0) throw this.#twice(this.#key, this.#input.unitOffset);
  }

  #twice(key: ByteSpan, offset: number): RdbError {
    return new RdbError(`key ${nameOf(key)} comes twice in database ${this.#db.number}`, offset);
  }
}

function nameOf({ bytes, start, end }: ByteSpan): string {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset + start, Math.min(end - start, KEY_TEXT_BYTES_MAX)).toString('latin1');
  return JSON.stringify(text) + (end - start > KEY_TEXT_BYTES_MAX ? '…' : '');
}

const TYPES: readonly boolean[] = Array.from({ length: 256 }, (_, type) => Object.values<number>(RdbType).includes(type));
const FORMS: Readonly<Record<number, PackedForm>> = {
  [RdbType.hashListpack]: 'listpack',
  [RdbType.zsetListpack]: 'listpack',
  [RdbType.hashZiplist]: 'ziplist',
  [RdbType.zsetZiplist]: 'ziplist',
  [RdbType.hashZipmap]: 'zipmap',
};
