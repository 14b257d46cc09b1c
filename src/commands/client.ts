// CLIENT: what this node knows about its connections, and what a connection may change about itself. Connections of other
// nodes are not seen from here. Client-side caching (CLIENT TRACKING) is not built: turning it on is an error.
import type { CommandContext } from './context.ts';
import type { ClientFilter, ClientInfo, SessionPort } from './ports.ts';
import type { CommandFlag, CommandSpec } from './spec.ts';
import { NO_KEYS } from './spec.ts';
import { Errors } from './errors.ts';
import { DEFAULT_USER, integerOrReply, replyHelp, replyUnknownSubcommand, setClientName } from './connection.ts';

type ClientType = ClientInfo['type'];

const HELP = [
  'CACHING (YES|NO)',
  '    Part of client-side caching, which Holdfast does not have.',
  'GETNAME',
  "    This connection's name.",
  'GETREDIR',
  '    Where invalidation messages go: always -1.',
  'ID',
  "    This connection's number.",
  'INFO',
  "    This connection's line of CLIENT LIST.",
  'KILL <ip:port>',
  '    Close the connection from that address.',
  'KILL <option> <value> [<option> <value> [...]]',
  '    Close the connections of this node that match all options:',
  '    ID <id>, ADDR <ip:port>, LADDR <ip:port>, USER <name>,',
  '    TYPE (NORMAL|MASTER|REPLICA|PUBSUB), SKIPME (YES|NO), default YES.',
  'LIST [TYPE (NORMAL|MASTER|REPLICA|PUBSUB) | ID <id> [<id> ...]]',
  '    The connections of this node, a line each.',
  'NO-EVICT (ON|OFF)',
  '    Keep this connection when client memory is short.',
  'NO-TOUCH (ON|OFF)',
  '    Commands of this connection leave the access clocks of keys alone.',
  'PAUSE <milliseconds> [WRITE|ALL]',
  '    Let the clients of this node, or only their writes, wait.',
  'REPLY (ON|OFF|SKIP)',
  '    Whether this connection gets replies.',
  'SETNAME <name>',
  '    Name this connection.',
  'TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]]',
  '         [OPTIN] [OPTOUT] [NOLOOP]',
  '    Client-side caching, which Holdfast does not have: only OFF works.',
  'TRACKINGINFO',
  '    The state of client-side caching: off.',
  'UNBLOCK <id> [TIMEOUT|ERROR]',
  '    Wake a client that waits in a blocking command.',
  'UNPAUSE',
  '    End CLIENT PAUSE.',
];

/** One line of CLIENT LIST, without its line feed; fields and order as in Redis 7.0. */
export function clientLine(client: ClientInfo): string {
  return (
    `id=${client.id} addr=${client.addr} laddr=${client.laddr} fd=${client.fd} name=${client.name}` +
    ` age=${client.ageSeconds} idle=${client.idleSeconds} flags=${client.flags === '' ? 'N' : client.flags} db=${client.db}` +
    ` sub=0 psub=0 ssub=0 multi=${client.multi} qbuf=${client.queryBufferBytes} qbuf-free=${client.queryBufferFreeBytes}` +
    ` argv-mem=${client.argvBytes} multi-mem=${client.multiBytes} rbs=0 rbp=0 obl=${client.outputBufferBytes}` +
    ` oll=${client.outputListLength} omem=${client.outputListBytes} tot-mem=${client.totalBytes} events=r` +
    ` cmd=${client.lastCommand === '' ? 'NULL' : client.lastCommand} user=${client.user} redir=-1 resp=${client.protocol}`
  );
}

function typeByName(name: string): ClientType | undefined {
  switch (name.toLowerCase()) {
    case 'normal':
      return 'normal';
    case 'slave':
    case 'replica':
      return 'replica';
    case 'pubsub':
      return 'pubsub';
    case 'master':
      return 'master';
    default:
      return undefined;
  }
}

function typeOrReply(context: CommandContext, i: number): ClientType | undefined {
  const name = context.args.latin1(i);
  const type = typeByName(name);
  if (type === undefined) context.reply.error(`ERR Unknown client type '${name}'`);
  return type;
}

/** ON or OFF at argument `i`; undefined, with the error written, for anything else. */
function switchOrReply(context: CommandContext, i: number): boolean | undefined {
  if (context.args.is(i, 'ON')) return true;
  if (context.args.is(i, 'OFF')) return false;
  context.reply.error(Errors.syntax);
  return undefined;
}

function list(context: CommandContext): void {
  const { args, reply, server } = context;
  const lines: string[] = [];
  if (args.count === 2) {
    for (const client of server.clients()) lines.push(clientLine(client));
  } else if (args.count === 4 && args.is(2, 'TYPE')) {
    const type = typeOrReply(context, 3);
    if (type === undefined) return;
    for (const client of server.clients()) if (client.type === type) lines.push(clientLine(client));
  } else if (args.count > 3 && args.is(2, 'ID')) {
    for (let i = 3; i < args.count; i++) {
      const id = integerOrReply(context, i, 'ERR Invalid client ID');
      if (id === undefined) return;
      const client = server.clientById(Number(id));
      if (client !== undefined) lines.push(clientLine(client.info));
    }
  } else {
    return reply.error(Errors.syntax);
  }
  reply.verbatim(lines.map((line) => `${line}\n`).join(''), 'txt');
}

interface KillOptions {
  filter: ClientFilter;
  skipMe: boolean;
}

function killOptions(context: CommandContext): KillOptions | undefined {
  const { args, reply } = context;
  let filter: ClientFilter = {};
  let skipMe = true;
  for (let i = 2; i < args.count; i += 2) {
    const option = args.latin1(i).toUpperCase();
    if (i + 1 >= args.count) return void reply.error(Errors.syntax);
    const value = args.latin1(i + 1);
    switch (option) {
      case 'ID': {
        const id = args.integer64(i + 1);
        if (id === undefined || id < 1n) return void reply.error('ERR client-id should be greater than 0');
        filter = { ...filter, id: Number(id) };
        break;
      }
      case 'TYPE': {
        const type = typeOrReply(context, i + 1);
        if (type === undefined) return undefined;
        filter = { ...filter, type };
        break;
      }
      case 'ADDR':
        filter = { ...filter, addr: value };
        break;
      case 'LADDR':
        filter = { ...filter, laddr: value };
        break;
      case 'USER':
        if (value !== DEFAULT_USER) return void reply.error(`ERR No such user '${value}'`);
        filter = { ...filter, user: value };
        break;
      case 'SKIPME':
        if (!args.is(i + 1, 'YES') && !args.is(i + 1, 'NO')) return void reply.error(Errors.syntax);
        skipMe = args.is(i + 1, 'YES');
        break;
      default:
        return void reply.error(Errors.syntax);
    }
  }
  return { filter, skipMe };
}

function matches(client: ClientInfo, filter: ClientFilter): boolean {
  return (
    (filter.id === undefined || client.id === filter.id) &&
    (filter.addr === undefined || client.addr === filter.addr) &&
    (filter.laddr === undefined || client.laddr === filter.laddr) &&
    (filter.type === undefined || client.type === filter.type) &&
    (filter.user === undefined || client.user === filter.user)
  );
}

function kill(context: CommandContext): void {
  const { args, reply, server, session } = context;
  const addressOnly = args.count === 3;
  const options = addressOnly ? { filter: { addr: args.latin1(2) }, skipMe: false } : killOptions(context);
  if (options === undefined) return;
  // Its own connection closes only after the reply, so it is not left to killClients.
  const self = !options.skipMe && matches(session.info, options.filter);
  const killed = server.killClients({ ...options.filter, skipId: session.id }) + (self ? 1 : 0);
  if (!addressOnly) reply.integer(killed);
  else if (killed === 0) reply.error('ERR No such client');
  else reply.ok();
  if (self) session.closeAfterReply();
}

function pause(context: CommandContext): void {
  const { args, reply, server } = context;
  if (args.count > 4) return replyWrongForm(context);
  let writesOnly = false;
  if (args.count === 4) {
    writesOnly = args.is(3, 'WRITE');
    if (!writesOnly && !args.is(3, 'ALL')) return reply.error('ERR CLIENT PAUSE mode must be WRITE or ALL');
  }
  const timeoutMs = integerOrReply(context, 2, 'ERR timeout is not an integer or out of range');
  if (timeoutMs === undefined) return;
  if (timeoutMs < 0n) return reply.error('ERR timeout is negative');
  server.pauseClients(server.monotonicMs() + Number(timeoutMs), writesOnly);
  reply.ok();
}

function replyMode({ args, reply, session }: CommandContext): void {
  if (args.is(2, 'ON')) {
    session.replyMode = 'on';
    reply.ok();
  } else if (args.is(2, 'OFF')) {
    session.replyMode = 'off';
  } else if (args.is(2, 'SKIP')) {
    if (session.replyMode !== 'off') session.replyMode = 'skip-next';
  } else {
    reply.error(Errors.syntax);
  }
}

function unblock(context: CommandContext): void {
  const { args, reply } = context;
  if (args.count > 4) return replyWrongForm(context);
  if (args.count === 4 && !args.is(3, 'TIMEOUT') && !args.is(3, 'ERROR')) {
    return reply.error('ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR');
  }
  if (integerOrReply(context, 2) === undefined) return;
  // No command blocks yet, so no client is blocked.
  reply.integer(0);
}

function tracking(context: CommandContext): void {
  const { args, reply, server } = context;
  let redirected = false;
  for (let i = 3; i < args.count; i++) {
    const more = i + 1 < args.count;
    if (args.is(i, 'REDIRECT') && more) {
      if (redirected) return reply.error('ERR A client can only redirect to a single other client');
      const id = integerOrReply(context, ++i);
      if (id === undefined) return;
      if (server.clientById(Number(id)) === undefined) return reply.error('ERR The client ID you want redirect to does not exist');
      redirected = true;
    } else if (args.is(i, 'PREFIX') && more) {
      i++;
    } else if (!args.is(i, 'BCAST') && !args.is(i, 'OPTIN') && !args.is(i, 'OPTOUT') && !args.is(i, 'NOLOOP')) {
      return reply.error(Errors.syntax);
    }
  }
  const on = switchOrReply(context, 2);
  if (on === undefined) return;
  if (on) return reply.error('ERR client-side caching (CLIENT TRACKING) is not supported by this version of Holdfast');
  reply.ok();
}

function trackingInfo({ reply }: CommandContext): void {
  reply.map(3);
  reply.bulkText('flags');
  reply.set(1);
  reply.bulkText('off');
  reply.bulkText('redirect');
  reply.integer(-1);
  reply.bulkText('prefixes');
  reply.array(0);
}

function replyWrongForm({ args, reply }: CommandContext): void {
  reply.error(`ERR unknown subcommand or wrong number of arguments for '${args.latin1(1).slice(0, 128)}'. Try CLIENT HELP.`);
}

function getName({ reply, session }: CommandContext): void {
  if (session.name === '') reply.null();
  else reply.bulkText(session.name);
}

function setSwitch(set: (session: SessionPort, on: boolean) => void): (context: CommandContext) => void {
  return (context) => {
    const on = switchOrReply(context, 2);
    if (on === undefined) return;
    set(context.session, on);
    context.reply.ok();
  };
}

const flags: readonly CommandFlag[] = ['noscript', 'loading', 'stale'];
const adminFlags: readonly CommandFlag[] = ['admin', 'noscript', 'loading', 'stale'];
const common = {
  class: 'session',
  insideExec: 'queue',
  flags,
  keys: NO_KEYS,
  categories: ['connection'],
  group: 'connection',
  complexity: 'O(1)',
} as const;
const perClient = 'O(N) where N is the number of client connections';

export const clientCommands = [
  {
    name: 'client',
    arity: -2,
    class: 'session',
    insideExec: 'queue',
    flags: [],
    keys: NO_KEYS,
    categories: [],
    group: 'connection',
    since: '2.4.0',
    summary: 'Commands about client connections',
    complexity: 'Depends on subcommand.',
    handler: replyUnknownSubcommand,
    subcommands: [
      {
        ...common,
        name: 'caching',
        arity: 3,
        since: '6.0.0',
        summary: 'Part of client-side caching, which is not supported',
        handler: ({ reply }) =>
          reply.error('ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled'),
      },
      { ...common, name: 'getname', arity: 2, since: '2.6.9', summary: "The connection's name", handler: getName },
      { ...common, name: 'getredir', arity: 2, since: '6.0.0', summary: 'Where invalidation messages go: -1', handler: ({ reply }) => reply.integer(-1) },
      {
        ...common,
        name: 'help',
        arity: 2,
        flags: ['loading', 'stale'],
        since: '5.0.0',
        summary: 'The subcommands of CLIENT',
        handler: ({ reply }) => replyHelp(reply, 'client', HELP),
      },
      { ...common, name: 'id', arity: 2, since: '5.0.0', summary: "The connection's number", handler: ({ reply, session }) => reply.integer(session.id) },
      {
        ...common,
        name: 'info',
        arity: 2,
        since: '6.2.0',
        summary: "The connection's line of CLIENT LIST",
        handler: ({ reply, session }) => reply.verbatim(`${clientLine(session.info)}\n`, 'txt'),
      },
      { ...common, name: 'kill', arity: -3, flags: adminFlags, since: '2.4.0', summary: 'Closes connections', complexity: perClient, handler: kill },
      { ...common, name: 'list', arity: -2, flags: adminFlags, since: '2.4.0', summary: "This node's connections", complexity: perClient, handler: list },
      {
        ...common,
        name: 'no-evict',
        arity: 3,
        flags: adminFlags,
        since: '7.0.0',
        summary: 'Keeps the connection when client memory is short',
        handler: setSwitch((session, on) => (session.noEvict = on)),
      },
      {
        ...common,
        name: 'no-touch',
        arity: 3,
        since: '7.2.0',
        summary: "The connection's commands leave the access clocks of keys alone",
        handler: setSwitch((session, on) => (session.noTouch = on)),
      },
      { ...common, name: 'pause', arity: -3, flags: adminFlags, since: '2.9.50', summary: 'Lets clients wait for some time', handler: pause },
      { ...common, name: 'reply', arity: 3, since: '3.2.0', summary: 'Whether the connection gets replies', handler: replyMode },
      {
        ...common,
        name: 'setname',
        arity: 3,
        since: '2.6.9',
        summary: 'Names the connection',
        handler: (context) => {
          if (setClientName(context, 2)) context.reply.ok();
        },
      },
      {
        ...common,
        name: 'tracking',
        arity: -3,
        since: '6.0.0',
        summary: 'Client-side caching, which is not supported: only OFF works',
        complexity: 'O(1). Some options may introduce additional complexity.',
        handler: tracking,
      },
      { ...common, name: 'trackinginfo', arity: 2, since: '6.2.0', summary: 'The state of client-side caching', handler: trackingInfo },
      {
        ...common,
        name: 'unblock',
        arity: -3,
        flags: adminFlags,
        since: '5.0.0',
        summary: 'Wakes a client that waits in a blocking command',
        complexity: 'O(log N) where N is the number of client connections',
        handler: unblock,
      },
      {
        ...common,
        name: 'unpause',
        arity: 2,
        flags: adminFlags,
        since: '6.2.0',
        summary: 'Ends CLIENT PAUSE',
        complexity: 'O(N) Where N is the number of paused clients',
        handler: ({ reply, server }) => {
          server.unpauseClients();
          reply.ok();
        },
      },
    ],
  },
] as const satisfies readonly CommandSpec[];
