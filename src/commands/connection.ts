// The connection family: PING ECHO HELLO AUTH SELECT QUIT RESET READONLY READWRITE, and the small helpers that the other
// session families share.
//
// What must hold: a password or name that is not valid UTF-8 matches nothing (configuration values are texts).
import type { CommandContext } from './context.ts';
import type { Args } from '../resp/args.ts';
import type { Reply } from '../resp/reply.ts';
import type { CommandFlag, CommandSpec } from './spec.ts';
import { NO_KEYS } from './spec.ts';
import { Errors, unknownSubcommand, wrongArity } from './errors.ts';

/** The Redis whose behaviour Holdfast has: what HELLO and INFO call redis_version. */
export const REDIS_VERSION = '7.0.15';
/** The only user there is. */
export const DEFAULT_USER = 'default';

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The argument as text, or undefined where it is not UTF-8. */
export function textArgument(args: Args, i: number): string | undefined {
  try {
    return strictUtf8.decode(args.view(i));
  } catch {
    return undefined;
  }
}

/** A HELP reply: Redis's head and foot, our lines between. */
export function replyHelp(reply: Reply, command: string, lines: readonly string[]): void {
  reply.array(lines.length + 3);
  reply.simple(`${command.toUpperCase()} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:`);
  for (const line of lines) reply.simple(line);
  reply.simple('HELP');
  reply.simple('    Print this help.');
}

/** For a container whose subcommand was not found: the dispatcher looks them up, so only a wrong one gets here. */
export function replyUnknownSubcommand(context: CommandContext): void {
  const { args, reply } = context;
  const container = args.latin1(0).toLowerCase();
  reply.error(args.count < 2 ? wrongArity(container) : unknownSubcommand(args.latin1(1), container));
}

/** Replies and returns false if the argument is not a whole number of 64 bits. */
export function integerOrReply(context: CommandContext, i: number, error: string = Errors.notInteger): bigint | undefined {
  const value = context.args.integer64(i);
  if (value === undefined) context.reply.error(error);
  return value;
}

/** Client names stand in CLIENT LIST, where a space ends a field. */
export function setClientName(context: CommandContext, i: number): boolean {
  const name = context.args.latin1(i);
  if (!/^[!-~]*$/.test(name)) {
    context.reply.error('ERR Client names cannot contain spaces, newlines or special characters.');
    return false;
  }
  context.session.name = name;
  return true;
}

function authenticate(context: CommandContext, user: string | undefined, password: string | undefined): boolean {
  if (user === undefined || password === undefined || !context.server.checkPassword(user, password)) {
    context.reply.error(Errors.wrongPass);
    return false;
  }
  context.session.authenticated = true;
  return true;
}

function ping({ args, reply }: CommandContext): void {
  if (args.count > 2) reply.error(wrongArity('ping'));
  else if (args.count === 1) reply.simple('PONG');
  else reply.bulk(args.bytes, args.start(1), args.end(1));
}

function hello(context: CommandContext): void {
  const { args, reply } = context;
  let version: 2 | 3 | undefined;
  if (args.count >= 2) {
    const given = integerOrReply(context, 1, 'ERR Protocol version is not an integer or out of range');
    if (given === undefined) return;
    if (given !== 2n && given !== 3n) return reply.error('NOPROTO unsupported protocol version');
    version = given === 2n ? 2 : 3;
  }
  for (let i = 2; i < args.count; i++) {
    const following = args.count - 1 - i;
    if (args.is(i, 'AUTH') && following >= 2) {
      if (!authenticate(context, textArgument(args, i + 1), textArgument(args, i + 2))) return;
      i += 2;
    } else if (args.is(i, 'SETNAME') && following >= 1) {
      if (!setClientName(context, i + 1)) return;
      i++;
    } else {
      return reply.error(`ERR Syntax error in HELLO option '${args.latin1(i)}'`);
    }
  }
  const { session, server } = context;
  if (!session.authenticated) {
    return reply.error(
      'NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time',
    );
  }
  // From here on `reply` writes the new protocol: the session sets its writer's together with its own.
  if (version !== undefined) session.protocol = version;
  reply.map(7);
  reply.bulkText('server');
  reply.bulkText('redis');
  reply.bulkText('version');
  reply.bulkText(REDIS_VERSION);
  reply.bulkText('proto');
  reply.integer(session.protocol);
  reply.bulkText('id');
  reply.integer(session.id);
  reply.bulkText('mode');
  reply.bulkText('standalone');
  reply.bulkText('role');
  reply.bulkText(server.raft().role === 'leader' ? 'master' : 'replica');
  reply.bulkText('modules');
  reply.array(0);
}

function auth(context: CommandContext): void {
  const { args, reply, server } = context;
  if (args.count > 3) return reply.error(Errors.syntax);
  if (args.count === 2 && server.requirePass === '') {
    return reply.error(
      'ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?',
    );
  }
  const user = args.count === 2 ? DEFAULT_USER : textArgument(args, 1);
  if (authenticate(context, user, textArgument(args, args.count - 1))) reply.ok();
}

function select(context: CommandContext): void {
  const { keyspace, reply } = context;
  const index = integerOrReply(context, 1);
  if (index === undefined) return;
  if (index < -(2n ** 31n) || index >= 2n ** 31n) return reply.error('ERR value is out of range, value must between -2147483648 and 2147483647');
  if (index < 0n || index >= BigInt(keyspace.databases)) return reply.error(Errors.invalidDbIndex);
  context.db = keyspace.database(Number(index));
  // Runs where the client is only; inside EXEC the machine has moved `context.db` on every node by itself.
  context.session.db = Number(index);
  reply.ok();
}

function quit({ reply, session }: CommandContext): void {
  reply.ok();
  session.closeAfterReply();
}

function reset({ reply, session }: CommandContext): void {
  session.discardMulti();
  session.reset();
  reply.simple('RESET');
}

function readOnly({ reply, session }: CommandContext): void {
  session.readonly = true;
  session.readConsistency = { kind: 'eventual' };
  reply.ok();
}

function readWrite({ reply, session }: CommandContext): void {
  if (session.readonly) session.readConsistency = { kind: 'linearizable' };
  session.readonly = false;
  reply.ok();
}

const handshake: readonly CommandFlag[] = ['noscript', 'loading', 'stale', 'fast', 'no_auth', 'allow_busy'];
const anyTime: readonly CommandFlag[] = ['loading', 'stale', 'fast'];
const common = {
  class: 'session',
  insideExec: 'queue',
  keys: NO_KEYS,
  categories: ['connection'],
  group: 'connection',
  complexity: 'O(1)',
} as const;

export const connectionCommands = [
  { ...common, name: 'ping', arity: -1, flags: ['fast'], since: '1.0.0', summary: 'Answers PONG, or the given message', handler: ping },
  {
    ...common,
    name: 'echo',
    arity: 2,
    flags: anyTime,
    since: '1.0.0',
    summary: 'Answers the given message',
    handler: ({ args, reply }) => reply.bulk(args.bytes, args.start(1), args.end(1)),
  },
  { ...common, name: 'hello', arity: -1, flags: handshake, since: '6.0.0', summary: 'Chooses the protocol, authenticates and names the connection', handler: hello },
  {
    ...common,
    name: 'auth',
    arity: -2,
    flags: handshake,
    since: '1.0.0',
    summary: 'Authenticates the connection',
    complexity: 'O(N) where N is the number of passwords defined for the user',
    handler: auth,
  },
  { ...common, name: 'select', arity: 2, flags: anyTime, since: '1.0.0', summary: "Changes the connection's database", handler: select },
  { ...common, name: 'quit', arity: -1, insideExec: 'now', flags: handshake, since: '1.0.0', summary: 'Closes the connection once its replies are out', handler: quit },
  { ...common, name: 'reset', arity: 1, insideExec: 'now', flags: handshake, since: '6.2.0', summary: 'Puts the connection back as it was when it was new', handler: reset },
  {
    ...common,
    name: 'readonly',
    arity: 1,
    flags: anyTime,
    group: 'cluster',
    since: '3.0.0',
    summary: "Reads of this connection take this node's own state, however old (HOLDFAST READ eventual)",
    handler: readOnly,
  },
  {
    ...common,
    name: 'readwrite',
    arity: 1,
    flags: anyTime,
    group: 'cluster',
    since: '3.0.0',
    summary: 'Ends READONLY',
    handler: readWrite,
  },
] as const satisfies readonly CommandSpec[];
