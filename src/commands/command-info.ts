// COMMAND and its subcommands: everything they say derives from the declarations (spec.ts). The shapes are Redis 7.0's.
// Argument trees, history and tips are not part of a declaration, so COMMAND DOCS has no "arguments" and tips are empty.
import { Args } from '../resp/args.ts';
import type { Reply } from '../resp/reply.ts';
import type { CommandContext } from './context.ts';
import type { ServerPort } from './ports.ts';
import type { CommandFlag, CommandSpec } from './spec.ts';
import { NO_KEYS } from './spec.ts';
import { Errors } from './errors.ts';
import { globMatchText } from './glob.ts';
import { aclCategoriesOf, keyFlagsOf, keySpecCount, pushKeyPositions } from './table.ts';
import { replyHelp, replyUnknownSubcommand } from './connection.ts';

const HELP = [
  '(no subcommand)',
  '    What this node knows about every command.',
  'COUNT',
  '    The number of commands.',
  'DOCS [<command-name> ...]',
  '    Documentation of these commands, or of all.',
  'GETKEYS <full-command>',
  '    The keys of a whole command.',
  'GETKEYSANDFLAGS <full-command>',
  '    The keys of a whole command, and what it does with each.',
  'INFO [<command-name> ...]',
  '    What this node knows about these commands, or about all.',
  'LIST [FILTERBY (MODULE <name>|ACLCAT <category>|PATTERN <pattern>)]',
  '    The names of all commands, or of those that match.',
];

/** COMMAND INFO's flags, in Redis's order; may_replicate is not shown. */
const SHOWN_FLAGS: readonly CommandFlag[] = [
  'write',
  'readonly',
  'denyoom',
  'admin',
  'pubsub',
  'noscript',
  'blocking',
  'loading',
  'stale',
  'skip_monitor',
  'skip_slowlog',
  'asking',
  'fast',
  'no_auth',
  'no_async_loading',
  'no_multi',
  'movablekeys',
  'allow_busy',
];

/** A declaration with the name that clients see: "get", "config|get". */
interface Named {
  readonly name: string;
  readonly spec: CommandSpec;
}

function* subcommandsOf({ name, spec }: Named): Iterable<Named> {
  for (const sub of spec.subcommands ?? []) yield { name: `${name}|${sub.name}`, spec: sub };
}

function allCommands(server: ServerPort): Named[] {
  const commands: Named[] = [];
  for (const spec of server.commandSpecs()) commands.push({ name: spec.name, spec });
  return commands;
}

/** By the name that COMMAND prints, letters in either case. */
function findByName(server: ServerPort, name: string): Named | undefined {
  const [container = '', sub, ...more] = name.toLowerCase().split('|');
  const spec = server.findCommand(container);
  if (spec === undefined || more.length > 0) return undefined;
  if (sub === undefined) return { name: spec.name, spec };
  const found = spec.subcommands?.find((candidate) => candidate.name === sub);
  return found === undefined ? undefined : { name: `${spec.name}|${found.name}`, spec: found };
}

/** The positions of the keys among `args`, whose argument 0 is the command. Undefined: the arguments make no sense. */
function keyPositions(spec: CommandSpec, args: Args): number[] | undefined {
  const positions: number[] = [];
  pushKeyPositions(spec, args, (position) => positions.push(position));
  return positions.length > 0 ? positions : undefined;
}

function replySimpleSet(reply: Reply, values: readonly string[]): void {
  reply.set(values.length);
  for (const value of values) reply.simple(value);
}

/** Key spec number `ordinal`. A command that has several treats its keys differently, and each spec is about one key. */
function replyKeySpec(reply: Reply, spec: CommandSpec, ordinal: number): void {
  const { first, last, step } = spec.keys;
  // The keys that are counted are the last spec, after the range if there is one.
  const counted = spec.keysCountedAt !== undefined && ordinal === keySpecCount(spec) - 1;
  const known = first > 0 || counted;
  const several = keySpecCount(spec) > 1;
  reply.map(3);
  reply.bulkText('flags');
  replySimpleSet(reply, keyFlagsOf(spec, ordinal));
  reply.bulkText('begin_search');
  reply.map(2);
  reply.bulkText('type');
  reply.bulkText(known ? 'index' : 'unknown');
  reply.bulkText('spec');
  reply.map(known ? 1 : 0);
  if (known) {
    reply.bulkText('index');
    reply.integer(counted ? spec.keysCountedAt : first + ordinal * step);
  }
  reply.bulkText('find_keys');
  reply.map(2);
  reply.bulkText('type');
  reply.bulkText(counted ? 'keynum' : known ? 'range' : 'unknown');
  reply.bulkText('spec');
  reply.map(known ? 3 : 0);
  if (!known) return;
  if (counted) return replyKeyNumbers(reply);
  reply.bulkText('lastkey');
  // Here, unlike in the range, a last key counts from the first one.
  reply.integer(several ? 0 : last < 0 ? last : last - first);
  reply.bulkText('keystep');
  reply.integer(several ? 1 : step);
  reply.bulkText('limit');
  reply.integer(0);
}

/** Of a keynum spec: where the number is, counted from the beginning of the search, and the keys after it. */
function replyKeyNumbers(reply: Reply): void {
  reply.bulkText('keynumidx');
  reply.integer(0);
  reply.bulkText('firstkey');
  reply.integer(1);
  reply.bulkText('keystep');
  reply.integer(1);
}

function replyInfo(reply: Reply, command: Named | undefined): void {
  if (command === undefined) return reply.null();
  const { name, spec } = command;
  reply.array(10);
  reply.bulkText(name);
  reply.integer(spec.arity);
  replySimpleSet(
    reply,
    SHOWN_FLAGS.filter((flag) => spec.flags.includes(flag)),
  );
  reply.integer(spec.keys.first);
  reply.integer(spec.keys.last);
  reply.integer(spec.keys.step);
  replySimpleSet(
    reply,
    aclCategoriesOf(spec).map((category) => `@${category}`),
  );
  reply.set(0);
  const keySpecs = keySpecCount(spec);
  reply.set(keySpecs);
  for (let i = 0; i < keySpecs; i++) replyKeySpec(reply, spec, i);
  const subcommands = [...subcommandsOf(command)];
  // Redis has a set where there are none, an array where there are.
  if (subcommands.length === 0) return reply.set(0);
  reply.array(subcommands.length);
  for (const sub of subcommands) replyInfo(reply, sub);
}

function replyDocs(reply: Reply, command: Named): void {
  const { spec } = command;
  const subcommands = [...subcommandsOf(command)];
  reply.map(4 + (subcommands.length > 0 ? 1 : 0));
  reply.bulkText('summary');
  reply.bulkText(spec.summary);
  reply.bulkText('since');
  reply.bulkText(spec.since);
  reply.bulkText('group');
  reply.bulkText(spec.group);
  reply.bulkText('complexity');
  reply.bulkText(spec.complexity);
  if (subcommands.length === 0) return;
  reply.bulkText('subcommands');
  reply.map(subcommands.length);
  for (const sub of subcommands) {
    reply.bulkText(sub.name);
    replyDocs(reply, sub);
  }
}

function replyInfoOfAll({ reply, server }: CommandContext): void {
  const commands = allCommands(server);
  reply.array(commands.length);
  for (const command of commands) replyInfo(reply, command);
}

function command(context: CommandContext): void {
  if (context.args.count > 1) replyUnknownSubcommand(context);
  else replyInfoOfAll(context);
}

function info(context: CommandContext): void {
  const { args, reply, server } = context;
  if (args.count === 2) return replyInfoOfAll(context);
  reply.array(args.count - 2);
  for (let i = 2; i < args.count; i++) replyInfo(reply, findByName(server, args.latin1(i)));
}

function docs({ args, reply, server }: CommandContext): void {
  const commands = args.count === 2 ? allCommands(server) : [];
  for (let i = 2; i < args.count; i++) {
    const found = findByName(server, args.latin1(i));
    if (found !== undefined) commands.push(found);
  }
  reply.map(commands.length);
  for (const found of commands) {
    reply.bulkText(found.name);
    replyDocs(reply, found);
  }
}

/** The declaration that arguments from `first` on would run: a subcommand's where the command has them. */
function resolve(server: ServerPort, args: Args, first: number): CommandSpec | undefined {
  const spec = server.findCommand(args.latin1(first).toLowerCase());
  if (spec?.subcommands === undefined || spec.subcommands.length === 0 || args.count === first + 1) return spec;
  const sub = args.latin1(first + 1).toLowerCase();
  return spec.subcommands.find((candidate) => candidate.name === sub);
}

function getKeys({ args, reply, server }: CommandContext, withFlags: boolean): void {
  const spec = resolve(server, args, 2);
  if (spec === undefined) return reply.error('ERR Invalid command specified');
  if (keySpecCount(spec) === 0) return reply.error('ERR The command has no key arguments');
  const count = args.count - 2;
  if ((spec.arity > 0 && spec.arity !== count) || count < -spec.arity) {
    return reply.error('ERR Invalid number of arguments specified for command');
  }
  const inner = new Args();
  inner.reset(args.bytes);
  for (let i = 2; i < args.count; i++) inner.push(args.start(i), args.end(i));
  const positions = keyPositions(spec, inner);
  if (positions === undefined) return reply.error('ERR Invalid arguments specified for command');
  reply.array(positions.length);
  positions.forEach((position, ordinal) => {
    if (withFlags) reply.array(2);
    reply.bulk(inner.bytes, inner.start(position), inner.end(position));
    if (withFlags) replySimpleSet(reply, spec.keyFlagsFrom?.(inner) ?? keyFlagsOf(spec, ordinal));
  });
}

function list({ args, reply, server }: CommandContext): void {
  let keep: ((command: Named) => boolean) | undefined;
  if (args.count > 2) {
    if (args.count !== 5 || !args.is(2, 'FILTERBY')) return reply.error(Errors.syntax);
    const wanted = args.latin1(4);
    if (args.is(3, 'MODULE')) keep = () => false;
    else if (args.is(3, 'ACLCAT')) keep = ({ spec }) => aclCategoriesOf(spec).includes(wanted.toLowerCase());
    else if (args.is(3, 'PATTERN')) keep = ({ name }) => globMatchText(wanted, name, true);
    else return reply.error(Errors.syntax);
  }
  const names: string[] = [];
  for (const found of allCommands(server)) {
    if (keep === undefined || keep(found)) names.push(found.name);
    for (const sub of subcommandsOf(found)) if (keep === undefined || keep(sub)) names.push(sub.name);
  }
  reply.array(names.length);
  for (const name of names) reply.bulkText(name);
}

const common = {
  class: 'session',
  insideExec: 'queue',
  flags: ['loading', 'stale'],
  keys: NO_KEYS,
  categories: ['connection'],
  group: 'server',
} as const;
const perCommand = 'O(N) where N is the number of commands to look up';
const perArgument = 'O(N) where N is the number of arguments to the command';

export const commandInfoCommands = [
  {
    ...common,
    name: 'command',
    arity: -1,
    since: '2.8.13',
    summary: 'What this node knows about its commands',
    complexity: 'O(N) where N is the total number of Redis commands',
    handler: command,
    subcommands: [
      {
        ...common,
        name: 'count',
        arity: 2,
        since: '2.8.13',
        summary: 'The number of commands',
        complexity: 'O(1)',
        handler: ({ reply, server }) => reply.integer(allCommands(server).length),
      },
      { ...common, name: 'docs', arity: -2, since: '7.0.0', summary: 'Documentation of commands', complexity: perCommand, handler: docs },
      {
        ...common,
        name: 'getkeys',
        arity: -4,
        since: '2.8.13',
        summary: 'The keys of a whole command',
        complexity: perArgument,
        handler: (context) => getKeys(context, false),
      },
      {
        ...common,
        name: 'getkeysandflags',
        arity: -4,
        since: '7.0.0',
        summary: 'The keys of a whole command, and what it does with each',
        complexity: perArgument,
        handler: (context) => getKeys(context, true),
      },
      {
        ...common,
        name: 'help',
        arity: 2,
        since: '5.0.0',
        summary: 'The subcommands of COMMAND',
        complexity: 'O(1)',
        handler: ({ reply }) => replyHelp(reply, 'command', HELP),
      },
      { ...common, name: 'info', arity: -2, since: '2.8.13', summary: 'What this node knows about some commands', complexity: perCommand, handler: info },
      {
        ...common,
        name: 'list',
        arity: -2,
        since: '7.0.0',
        summary: 'The names of the commands',
        complexity: 'O(N) where N is the total number of Redis commands',
        handler: list,
      },
    ],
  },
] as const satisfies readonly CommandSpec[];
