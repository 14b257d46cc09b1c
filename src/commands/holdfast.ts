// HOLDFAST: what Redis has no command for. The read level of a connection, the index that it has seen, the state of the group;
// and, from members.ts and snapshots.ts, the members and snapshots.
import type { CommandContext } from './context.ts';
import type { ReadConsistency } from './ports.ts';
import type { CommandFlag, CommandSpec } from './spec.ts';
import { NO_KEYS } from './spec.ts';
import { Errors, wrongArity } from './errors.ts';
import { MEMBERS_HELP, memberSubcommands } from './members.ts';
import { snapshotSubcommands } from './snapshots.ts';
import { replyHelp, replyUnknownSubcommand, textArgument } from './connection.ts';
import { replyFields, replyOutcomeLater } from './reply-forms.ts';

const HELP = [
  ...MEMBERS_HELP.slice(0, 2),
  'INDEX',
  '    The log index of the newest state that this connection has written or seen,',
  '    for HOLDFAST READ causal on another connection or node.',
  'READ',
  "    This connection's read level.",
  'READ linearizable',
  '    Reads see every write that was acknowledged before them (the default).',
  'READ bounded <milliseconds>',
  '    Reads see a state that was the newest at most so long ago.',
  'READ causal <index>',
  '    Reads see at least the state of that index, and never an older one than before.',
  'READ eventual',
  "    Reads see this node's state, however old.",
  ...MEMBERS_HELP.slice(4),
  'PUBLISH <index> <term> <manifest> <sha256> <digest>',
  '    Have the log record a snapshot (for the snapshotter).',
  ...MEMBERS_HELP.slice(2, 4),
  'SNAPSHOTS',
  '    The published snapshot, and what the snapshotter does.',
  'SNAPSHOTTER <json>',
  '    The snapshotter says how far it is (for the snapshotter).',
  'STATUS',
  '    The state of the Raft group as this node knows it.',
  'TRANSFER [<node>]',
  '    Hand the leadership to that member, or to the one that is furthest along.',
];

function levelName(level: ReadConsistency): string {
  switch (level.kind) {
    case 'bounded':
      return `bounded ${level.stalenessMs}`;
    case 'causal':
      return `causal ${level.index}`;
    case 'linearizable':
    case 'eventual':
      return level.kind;
  }
}

/** The level that the arguments name, or an error's text. */
function parseLevel({ args }: CommandContext): ReadConsistency | string {
  const alone = args.count === 3;
  if (args.is(2, 'LINEARIZABLE')) return alone ? { kind: 'linearizable' } : Errors.syntax;
  if (args.is(2, 'EVENTUAL')) return alone ? { kind: 'eventual' } : Errors.syntax;
  const bounded = args.is(2, 'BOUNDED');
  if (!bounded && !args.is(2, 'CAUSAL')) {
    return `ERR unknown read level '${args.latin1(2).slice(0, 128)}': it is linearizable, bounded <milliseconds>, causal <index> or eventual`;
  }
  if (args.count !== 4) return Errors.syntax;
  const value = args.integer(3);
  if (!(value >= 0)) return Errors.notInteger;
  return bounded ? { kind: 'bounded', stalenessMs: value } : { kind: 'causal', index: value };
}

function read(context: CommandContext): void {
  const { args, reply, session } = context;
  if (args.count === 2) {
    return reply.bulkText(levelName(session.readConsistency));
  }
  if (args.count > 4) return reply.error(wrongArity('holdfast|read'));
  const level = parseLevel(context);
  if (typeof level === 'string') return reply.error(level);
  // The level that was asked for last holds, so it ends READONLY.
  session.readonly = false;
  session.readConsistency = level;
  reply.ok();
}

function status({ reply, server }: CommandContext): void {
  const raft = server.raft();
  replyFields(reply, [
    ['node', raft.nodeName],
    ['state', raft.role],
    ['leader', raft.leaderName],
    ['leader-address', raft.leaderAddr],
    ['cluster', raft.clusterId],
    ['term', raft.term],
    ['commit-index', raft.commitIndex],
    ['applied-index', raft.appliedIndex],
    ['last-index', raft.lastIndex],
  ], 1);
  reply.bulkText('members');
  reply.array(raft.members.length);
  for (const member of raft.members) {
    replyFields(reply, [
      ['name', member.name], ['role', member.role], ['host', member.host], ['client-port', member.clientPort],
      ['match-index', member.matchIndex], ['connected', member.connected], ['lag-ms', Math.round(member.lagMs)],
    ]);
  }
}

function transfer({ args, reply, server, session }: CommandContext): void {
  if (args.count > 3) return reply.error(wrongArity('holdfast|transfer'));
  const target = args.count === 3 ? textArgument(args, 2) : undefined;
  const raft = server.raft();
  if (args.count === 3 && !raft.members.some((member) => member.name === target)) {
    return reply.error(`ERR no member is named '${args.latin1(2).slice(0, 128)}'; the members are ${raft.members.map((member) => member.name).join(', ')}`);
  }
  replyOutcomeLater({ server, session }, (done) => server.transferLeadership(target, done));
}

const flags: readonly CommandFlag[] = ['noscript', 'loading', 'stale', 'fast'];
const common = {
  class: 'session',
  insideExec: 'queue',
  flags,
  keys: NO_KEYS,
  categories: ['connection'],
  group: 'holdfast',
  since: '0.1.0',
  complexity: 'O(1)',
} as const;

export const holdfastCommands = [
  {
    ...common,
    name: 'holdfast',
    arity: -2,
    flags: [],
    categories: [],
    summary: 'Read levels and the state of the Raft group',
    complexity: 'Depends on subcommand.',
    handler: replyUnknownSubcommand,
    subcommands: [
      { ...common, name: 'help', arity: 2, summary: 'The subcommands of HOLDFAST', handler: ({ reply }) => replyHelp(reply, 'holdfast', HELP) },
      {
        ...common,
        name: 'index',
        arity: 2,
        summary: 'The newest log index that this connection has written or seen',
        handler: ({ reply, session }) => reply.integer(session.lastIndex),
      },
      { ...common, name: 'read', arity: -2, summary: "The connection's read level", handler: read },
      {
        ...common,
        name: 'status',
        arity: 2,
        flags: ['admin', 'noscript', 'loading', 'stale'],
        summary: 'The Raft group as this node knows it',
        complexity: 'O(N) where N is the number of members',
        handler: status,
      },
      ...memberSubcommands,
      ...snapshotSubcommands,
      {
        ...common,
        name: 'transfer',
        arity: -2,
        insideExec: 'refuse',
        flags: ['admin', 'noscript', 'loading', 'stale', 'no_multi'],
        summary: 'Hands the leadership to another member',
        handler: transfer,
      },
    ],
  },
] as const satisfies readonly CommandSpec[];
