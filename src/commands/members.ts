// HOLDFAST ADDNODE, REMOVENODE, MEMBERS: who the members are, and changing that.
import { wrongArity } from './errors.ts';
import type { CommandContext } from './context.ts';
import type { MemberChange } from './ports.ts';
import { replyFields, replyOutcomeLater } from './reply-forms.ts';
import type { CommandSpec } from './spec.ts';
import { NO_KEYS } from './spec.ts';

/** As in the peers directive, without the name. */
const ADDRESS_FORM = /^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})(?:\/([0-9]{1,5}))?$/;
const NAME_FORM = /^[A-Za-z0-9_-]{1,32}$/;
const CLIENT_PORT_OFFSET = 10_000;

export const MEMBERS_HELP = [
  'ADDNODE <node> <host>:<peer port>[/<client port>]',
  '    Take a new member in. It learns first, and votes as soon as it has caught up.',
  'REMOVENODE <node>',
  '    Have a member leave; it stops by itself.',
  'MEMBERS',
  '    The members, how far each is, and what it is.',
];

function portOf(text: string | undefined): number {
  const port = Number(text);
  return port >= 1 && port <= 65_535 ? port : 0;
}

/** Without a client port, the one that belongs to the peer port where neither is configured. */
export function addressFrom(text: string): { readonly host: string; readonly peerPort: number; readonly clientPort: number } | undefined {
  const [, host = '', peer, client] = ADDRESS_FORM.exec(text) ?? [];
  const peerPort = portOf(peer);
  const clientPort = client === undefined ? Math.max(0, peerPort - CLIENT_PORT_OFFSET) : portOf(client);
  if (peerPort === 0 || clientPort === 0) return undefined;
  return { host: host.replace(/^\[(.*)\]$/, '$1'), peerPort, clientPort };
}

function change({ server, session }: CommandContext, wanted: MemberChange): void {
  replyOutcomeLater({ server, session }, (done) => server.changeMembers(wanted, done));
}

function addNode(context: CommandContext): void {
  const { args, reply } = context;
  const name = args.latin1(2);
  if (!NAME_FORM.test(name)) return reply.error(`ERR '${args.latin1(2).slice(0, 128)}' is no name of a node: up to 32 letters, digits, - and _`);
  const address = addressFrom(args.latin1(3));
  if (address === undefined) {
    return reply.error(
      `ERR '${args.latin1(3).slice(0, 128)}' is no address of a node: it is <host>:<peer port>/<client port>, and a peer port above ${CLIENT_PORT_OFFSET} may stand alone, for a client port ${CLIENT_PORT_OFFSET} below`,
    );
  }
  change(context, { kind: 'add', name, ...address });
}

function members(context: CommandContext): void {
  const { server, session } = context;
  if (context.args.count !== 2) return context.reply.error(wrongArity('holdfast|members'));
  server.defer(session, (finish) => {
    server.members((all) => {
      const later = server.deferredReply(session);
      later.array(all.length);
      for (const member of all) {
        replyFields(later, [
          ['name', member.name], ['role', member.role], ['host', member.host], ['directory', member.incarnation],
          ['id', member.id], ['peer-port', member.peerPort], ['client-port', member.clientPort],
          ['match-index', member.matchIndex], ['lag-ms', Math.round(member.lagMs)],
          ['connected', member.connected],
        ]);
      }
      finish();
    });
  });
}

const common = {
  class: 'session',
  insideExec: 'refuse',
  flags: ['admin', 'noscript', 'loading', 'stale', 'no_multi'],
  keys: NO_KEYS,
  categories: ['connection'],
  group: 'holdfast',
  since: '0.1.0',
  complexity: 'O(N) where N is the number of members',
} as const;

export const memberSubcommands = [
  { ...common, name: 'addnode', arity: 4, summary: 'Takes a new member in', handler: addNode },
  { ...common, name: 'members', arity: 2, summary: 'The members, how far each is, and what it is', handler: members },
  {
    ...common,
    name: 'removenode',
    arity: 3,
    summary: 'Has a member leave',
    handler: (context) => change(context, { kind: 'remove', name: context.args.latin1(2) }),
  },
] as const satisfies readonly CommandSpec[];
