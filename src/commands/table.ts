// The command table: from a decoded command to its declaration, without making a string; and what derives from a
// declaration: full names, arity and unknown-command errors, key positions, ACL categories.
//
// What must hold: names are lower case and unique among their siblings; only one level of subcommands.
// Hot path (`lookup`): indexes typed arrays directly.
import { assert, must } from '../base/assert.ts';
import type { Args } from '../resp/args.ts';
import { printed } from './arguments.ts';
import { unknownSubcommand, wrongArity } from './errors.ts';
import type { CommandSpec } from './spec.ts';

/** Upper to lower case for letters, harmless to the digits and dashes of names: only for hashing. */
const CASE_BIT = 0x20;

/** Names to declarations: open addressing, at most a quarter full, compared byte by byte without case. */
class NameIndex {
  readonly #mask: number;
  readonly #names: (Uint8Array | undefined)[];
  readonly #specs: (CommandSpec | undefined)[];

  constructor(specs: readonly CommandSpec[]) {
    let slots = 16;
    while (slots < specs.length * 4) slots *= 2;
    this.#mask = slots - 1;
    this.#names = new Array<Uint8Array | undefined>(slots).fill(undefined);
    this.#specs = new Array<CommandSpec | undefined>(slots).fill(undefined);
    for (const spec of specs) {
      assert(spec.name === spec.name.toLowerCase() && spec.name.length > 0, () => `command name '${spec.name}' is not lower case`);
      const name = Buffer.from(spec.name, 'latin1');
      let slot = this.#hash(name, 0, name.length) & this.#mask;
      for (; this.#names[slot] !== undefined; slot = (slot + 1) & this.#mask) {
        assert(!this.#same(slot, name, 0, name.length), () => `command '${spec.name}' is declared twice`);
      }
      this.#names[slot] = name;
      this.#specs[slot] = spec;
    }
  }

  find(bytes: Uint8Array, start: number, end: number): CommandSpec | undefined {
    let slot = this.#hash(bytes, start, end) & this.#mask;
    while (this.#names[slot] !== undefined) {
      if (this.#same(slot, bytes, start, end)) return this.#specs[slot];
      slot = (slot + 1) & this.#mask;
    }
    return undefined;
  }

  /** FNV-1a over at most 16 bytes: arguments can be long, names are not. */
  #hash(bytes: Uint8Array, start: number, end: number): number {
    const stop = Math.min(end, start + 16);
    let hash = 0x811c9dc5 ^ (end - start);
    for (let i = start; i < stop; i++) hash = Math.imul(hash ^ (bytes[i]! | CASE_BIT), 0x01000193);
    return hash ^ (hash >>> 15);
  }

  #same(slot: number, bytes: Uint8Array, start: number, end: number): boolean {
    const name = this.#names[slot]!;
    if (name.length !== end - start) return false;
    for (let i = 0; i < name.length; i++) {
      let c = bytes[start + i]!;
      if (c >= 0x41 && c <= 0x5a) c |= CASE_BIT;
      if (c !== name[i]) return false;
    }
    return true;
  }
}

export class CommandTable {
  /** Top-level declarations, in the order given. */
  readonly specs: readonly CommandSpec[];
  readonly #commands: NameIndex;
  /** Containers only. */
  readonly #subcommands = new Map<CommandSpec, NameIndex>();
  readonly #fullNames = new Map<CommandSpec, string>();

  constructor(...families: ReadonlyArray<readonly CommandSpec[]>) {
    this.specs = families.flat();
    this.#commands = new NameIndex(this.specs);
    for (const spec of this.specs) {
      this.#fullNames.set(spec, spec.name);
      if (spec.subcommands === undefined) continue;
      this.#subcommands.set(spec, new NameIndex(spec.subcommands));
      for (const sub of spec.subcommands) {
        assert(sub.subcommands === undefined, () => `subcommand '${sub.name}' has subcommands`);
        assert(!this.#fullNames.has(sub), () => `subcommand '${sub.name}' is in two containers`);
        this.#fullNames.set(sub, `${spec.name}|${sub.name}`);
      }
    }
  }

  /**
   * What these arguments would run: the subcommand's declaration where the command is a container and has a second argument.
   * Undefined for an unknown command or subcommand (`unknownFault` says which). Arity is not looked at.
   */
  lookup(args: Args): CommandSpec | undefined {
    if (args.count === 0) return undefined;
    const { bytes, starts, ends } = args;
    const spec = this.#commands.find(bytes, starts[0]!, ends[0]!);
    if (spec === undefined || spec.subcommands === undefined || args.count === 1) return spec;
    return this.#subcommands.get(spec)!.find(bytes, starts[1]!, ends[1]!);
  }

  /** By the name that COMMAND prints, "get" or "config|get", letters in either case. */
  lookupName(name: string): CommandSpec | undefined {
    const [command, sub, ...more] = name.split('|').map((word) => Buffer.from(word, 'latin1'));
    if (command === undefined || more.length > 0) return undefined;
    const spec = this.#commands.find(command, 0, command.length);
    if (spec === undefined || sub === undefined) return spec;
    return this.#subcommands.get(spec)?.find(sub, 0, sub.length);
  }

  /** "get", or "config|get" for a subcommand. */
  fullName(spec: CommandSpec): string {
    return must(this.#fullNames.get(spec), () => `'${spec.name}' is not in this table`);
  }

  /** The error text for a command that `lookup` did not find. */
  unknownFault(args: Args): string {
    const name = printed(args, 0);
    if (args.count > 1 && this.#commands.find(args.bytes, args.start(0), args.end(0)) !== undefined) {
      return unknownSubcommand(printed(args, 1), name);
    }
    let shown = '';
    for (let i = 1; i < args.count && shown.length < 128; i++) shown += `'${printed(args, i).slice(0, 128 - shown.length)}' `;
    return `ERR unknown command '${name.slice(0, 128)}', with args beginning with: ${shown}`;
  }

  /** The error text if the number of arguments is wrong, else undefined. */
  arityFault(spec: CommandSpec, args: Args): string | undefined {
    const { arity } = spec;
    if (arity >= 0 ? args.count === arity : args.count >= -arity) return undefined;
    return wrongArity(this.fullName(spec));
  }
}

/** Calls `push` with the position of every key among the arguments; not at all where the number of keys makes no sense. */
export function pushKeyPositions(spec: CommandSpec, args: Args, push: (position: number) => void): void {
  if (spec.keysFrom !== undefined) return spec.keysFrom(args, push);
  const countedAt = spec.keysCountedAt ?? 0;
  const counted = countedAt === 0 ? 0 : countedKeys(args, countedAt);
  if (counted === undefined) return;
  const { first, last, step } = spec.keys;
  if (first !== 0) {
    const end = Math.min(last < 0 ? args.count + last : last, args.count - 1);
    for (let position = first; position <= end; position += step) push(position);
  }
  for (let position = countedAt + 1; position <= countedAt + counted; position++) push(position);
}

/** The number at argument `at`, if that many keys follow it. */
function countedKeys(args: Args, at: number): number | undefined {
  const count = at < args.count ? args.integer(at) : NaN;
  return count > 0 && at + count < args.count ? count : undefined;
}

/** Stands in `keyFlags` between the flags of the first key and those of the next, where a command treats them differently (COPY). */
const NEXT_KEY = '/';

/** The flags of the command's key spec number `ordinal` (0 for the first key); the last spec holds for all keys after it. */
export function keyFlagsOf(spec: CommandSpec, ordinal: number): readonly string[] {
  const groups: string[][] = [[]];
  for (const flag of spec.keyFlags ?? []) {
    if (flag === NEXT_KEY) groups.push([]);
    else groups[groups.length - 1]!.push(flag);
  }
  return groups[Math.min(ordinal, groups.length - 1)]!;
}

/** How many key specs the declaration has. */
export function keySpecCount(spec: CommandSpec): number {
  if (spec.keys.first === 0 && spec.keysFrom === undefined && spec.keysCountedAt === undefined) return 0;
  return 1 + (spec.keyFlags ?? []).filter((flag) => flag === NEXT_KEY).length;
}

/** All ACL categories of Redis 7.0, in the order in which it lists them. */
export const ACL_CATEGORIES = [
  'keyspace',
  'read',
  'write',
  'set',
  'sortedset',
  'list',
  'hash',
  'string',
  'bitmap',
  'hyperloglog',
  'geo',
  'stream',
  'pubsub',
  'admin',
  'fast',
  'slow',
  'blocking',
  'dangerous',
  'connection',
  'transaction',
  'scripting',
] as const;

/** The command's ACL categories without @: those declared and those that follow from its flags, in Redis's order. */
export function aclCategoriesOf(spec: CommandSpec): string[] {
  const has = new Set(spec.categories);
  const flags = new Set(spec.flags);
  if (flags.has('write')) has.add('write');
  if (flags.has('readonly') && !has.has('scripting')) has.add('read');
  if (flags.has('admin')) has.add('admin').add('dangerous');
  if (flags.has('pubsub')) has.add('pubsub');
  if (flags.has('blocking')) has.add('blocking');
  if (flags.has('fast')) has.add('fast');
  if (!has.has('fast')) has.add('slow');
  return ACL_CATEGORIES.filter((category) => has.has(category));
}
