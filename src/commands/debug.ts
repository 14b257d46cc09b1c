// DEBUG: the few that tests of clients and of Holdfast need. Allowed as the directive enable-debug-command says.
// SLEEP makes this connection wait, not the whole node: nothing that a client sends may stop the engine.
import { encodingName } from '../keyspace/types.ts';
import type { CommandContext } from './context.ts';
import { DatasetDigest } from './debug-digest.ts';
import type { CommandSpec } from './spec.ts';
import { NO_KEYS } from './spec.ts';
import { Errors } from './errors.ts';
import { replyHelp } from './connection.ts';

const HELP = [
  'DIGEST',
  '    A digest of all keys, their values and whether they expire, the same that Redis gives.',
  'DIGEST-VALUE <key> [<key> ...]',
  '    The same of the values of keys, one each, whatever the key and the encoding.',
  'ERROR <string>',
  '    Answer with this error.',
  'OBJECT <key>',
  '    Where and how the value of <key> is kept.',
  'PROTOCOL <type>',
  '    Answer with a value of this type: string, integer, double, bignum, null, array,',
  '    set, map, attrib, push, verbatim, true or false.',
  'SET-ACTIVE-EXPIRE <0|1>',
  '    Whether this node, while it leads, looks for expired keys that nobody reads.',
  'SLEEP <seconds>',
  '    Answer after so long. Decimals allowed; only this connection waits.',
];

function allowed({ server, session }: CommandContext): boolean {
  const [directive] = server.configGet(['enable-debug-command']);
  const value = directive?.[1] ?? 'no';
  if (value === 'yes') return true;
  const { addr } = session.info;
  const local = addr.startsWith('127.') || addr.startsWith('[::1]:') || addr.startsWith('/');
  return value === 'local' && local;
}

function sleep(context: CommandContext): void {
  const { args, reply, server, session } = context;
  const seconds = parseFloat(args.latin1(2));
  if (!(seconds > 0)) return reply.ok();
  if (session.inExec) return reply.error('ERR DEBUG SLEEP is not possible inside a transaction');
  server.defer(session, (finish) => {
    server.after(seconds * 1000, () => {
      server.deferredReply(session).ok();
      finish();
    });
  });
}

function setActiveExpire({ args, reply, server }: CommandContext): void {
  server.setActiveExpire(parseInt(args.latin1(2), 10) !== 0);
  reply.ok();
}

/** A value of each type, the same ones that Redis gives. */
function protocol({ args, reply }: CommandContext): void {
  switch (args.latin1(2).toLowerCase()) {
    case 'string':
      return reply.bulkText('Hello World');
    case 'integer':
      return reply.integer(12345);
    case 'double':
      return reply.double(3.141);
    case 'null':
      return reply.null();
    case 'array':
      reply.array(3);
      for (let i = 0; i < 3; i++) reply.integer(i);
      return;
    case 'set':
      reply.set(3);
      for (let i = 0; i < 3; i++) reply.integer(i);
      return;
    case 'map':
      reply.map(3);
      for (let i = 0; i < 3; i++) {
        reply.integer(i);
        reply.boolean(i === 1);
      }
      return;
    case 'attrib':
      if (reply.protocol === 3) {
        reply.attribute(1);
        reply.bulkText('key-popularity');
        reply.array(2);
        reply.bulkText('key:123');
        reply.integer(90);
      }
      return reply.bulkText('Some real reply following the attribute');
    case 'push':
      // RESP2 has no place for a message out of turn.
      if (reply.protocol < 3) return reply.error('ERR RESP2 is not supported by this command');
      reply.push(2);
      reply.bulkText('server-cpu-usage');
      reply.integer(42);
      // A push is no answer: a client that waits for one needs it as well.
      return reply.bulkText('Some real reply following the push reply');
    case 'true':
      return reply.boolean(true);
    case 'false':
      return reply.boolean(false);
    case 'verbatim':
      return reply.verbatim('This is a verbatim\nstring', 'txt');
    case 'bignum':
      return reply.bigNumber('1234567999999999999999999999999999999');
    default:
      return reply.error(
        'ERR Wrong protocol type name. Please use one of the following: string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false',
      );
  }
}

/** In Redis's form; the address is the record's handle, and what this node has now is what it says. */
function object(context: CommandContext): void {
  const { keyspace, reply } = context;
  const key = context.lookupPeek(2);
  if (key === 0) return reply.error(Errors.noSuchKey);
  const idleSeconds = keyspace.policy === 'lfu' ? 0 : Math.floor(keyspace.idleMs(key) / 1000);
  reply.simple(
    `Value at:0x${key.toString(16)} refcount:1 encoding:${encodingName(keyspace.encoding(key))} ` +
      `memory:${keyspace.memoryUsage(key)} lru_seconds_idle:${idleSeconds}`,
  );
}

function digestValues({ args, db, keyspace, reply }: CommandContext): void {
  const digest = new DatasetDigest(keyspace);
  reply.array(args.count - 2);
  for (let i = 2; i < args.count; i++) reply.simple(digest.value(db.find(args.bytes, args.start(i), args.end(i))));
}

function debug(context: CommandContext): void {
  const { args, reply } = context;
  if (!allowed(context)) {
    return reply.error(
      'ERR DEBUG command not allowed. If the enable-debug-command option is set to "local", you can run it from a local connection, otherwise you need to set this option in the configuration file, and then restart the server.',
    );
  }
  if (args.count === 2 && args.is(1, 'HELP')) return replyHelp(reply, 'debug', HELP);
  if (args.count === 2 && args.is(1, 'DIGEST')) return reply.simple(new DatasetDigest(context.keyspace).all());
  if (args.count >= 2 && args.is(1, 'DIGEST-VALUE')) return digestValues(context);
  if (args.count === 3) {
    if (args.is(1, 'SLEEP')) return sleep(context);
    if (args.is(1, 'SET-ACTIVE-EXPIRE')) return setActiveExpire(context);
    if (args.is(1, 'PROTOCOL')) return protocol(context);
    if (args.is(1, 'OBJECT')) return object(context);
    if (args.is(1, 'ERROR')) {
      const text = args.latin1(2);
      return reply.error(text === '' ? Errors.syntax : text);
    }
  }
  reply.error(`ERR unknown subcommand or wrong number of arguments for '${args.latin1(1).slice(0, 128)}'. Try DEBUG HELP.`);
}

export const debugCommands = [
  {
    name: 'debug',
    arity: -2,
    class: 'session',
    insideExec: 'queue',
    flags: ['admin', 'noscript', 'loading', 'stale'],
    keys: NO_KEYS,
    categories: [],
    group: 'server',
    since: '1.0.0',
    summary: 'Helps for tests',
    complexity: 'Depends on subcommand.',
    handler: debug,
  },
] as const satisfies readonly CommandSpec[];
