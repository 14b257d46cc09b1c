// The node itself: INFO ROLE TIME SHUTDOWN WAIT REPLICAOF SLAVEOF. In terms of Redis's replication the leader is the master and
// every other member a replica, offsets being log indexes; but any node takes writes, and nothing of it is set up by REPLICAOF.
import type { CommandContext } from './context.ts';
import type { RaftStatus, SessionPort } from './ports.ts';
import type { CommandSpec } from './spec.ts';
import { NO_KEYS } from './spec.ts';
import { Errors } from './errors.ts';
import { integerOrReply } from './connection.ts';

function info({ args, reply, server }: CommandContext): void {
  const sections: string[] = [];
  for (let i = 1; i < args.count; i++) sections.push(args.latin1(i).toLowerCase());
  reply.verbatim(server.info(sections.length === 0 ? ['default'] : sections), 'txt');
}

/** host:port, the host perhaps an IPv6 address in brackets. */
function splitAddress(address: string): { host: string; port: number } {
  const colon = address.lastIndexOf(':');
  if (colon < 0) return { host: '', port: 0 };
  return { host: address.slice(0, colon).replace(/^\[(.*)\]$/, '$1'), port: Number(address.slice(colon + 1)) };
}

function role({ reply, server }: CommandContext): void {
  const raft = server.raft();
  if (raft.role !== 'leader') {
    const leader = splitAddress(raft.leaderAddr);
    reply.array(5);
    reply.bulkText('slave');
    reply.bulkText(leader.host);
    reply.integer(leader.port);
    reply.bulkText(raft.leaderName === '' ? 'connect' : 'connected');
    reply.integer(raft.appliedIndex);
    return;
  }
  const replicas = raft.members.filter((member) => member.name !== raft.nodeName && member.connected);
  reply.array(3);
  reply.bulkText('master');
  reply.integer(raft.lastIndex);
  reply.array(replicas.length);
  for (const replica of replicas) {
    reply.array(3);
    reply.bulkText(replica.host);
    reply.bulkInteger(replica.clientPort);
    reply.bulkInteger(Math.max(0, replica.matchIndex));
  }
}

function time({ reply, server }: CommandContext): void {
  const ms = server.wallMs();
  reply.array(2);
  reply.bulkInteger(Math.floor(ms / 1000));
  reply.bulkInteger((ms % 1000) * 1000);
}

function shutdown({ args, reply, server, session }: CommandContext): void {
  let abort = false;
  let save = false;
  let noSave = false;
  let options = 0;
  for (let i = 1; i < args.count; i++) {
    if (args.is(i, 'ABORT')) {
      abort = true;
      continue;
    }
    if (args.is(i, 'NOSAVE')) noSave = true;
    else if (args.is(i, 'SAVE')) save = true;
    else if (!args.is(i, 'NOW') && !args.is(i, 'FORCE')) return reply.error(Errors.syntax);
    options++;
  }
  if ((abort && options > 0) || (save && noSave)) return reply.error(Errors.syntax);
  if (abort) {
    if (server.abortShutdown()) reply.ok();
    else reply.error('ERR No shutdown in progress.');
    return;
  }
  // SAVE and NOSAVE make no difference: what was acknowledged is on disk. As in Redis there is no reply but the closed connection.
  server.defer(session, (finish) => {
    server.shutdown(() => {
      server.deferredReply(session).error('ERR Errors trying to SHUTDOWN. Check logs.');
      finish();
    });
  });
}

/** Other voters that are known to have everything up to `index` on disk. What a learner has no leader could be made of, nor soon of one that leaves. */
export function acknowledged({ members, nodeName }: RaftStatus, index: number): number {
  return members.filter(({ name, role, matchIndex }) => name !== nodeName && role === 'voter' && matchIndex >= 0 && matchIndex >= index).length;
}

function waitReplicas(context: CommandContext): void {
  const { reply, server } = context;
  const session: SessionPort = context.session;
  const replicas = integerOrReply(context, 1);
  if (replicas === undefined) return;
  const timeoutMs = integerOrReply(context, 2, 'ERR timeout is not an integer or out of range');
  if (timeoutMs === undefined) return;
  if (timeoutMs < 0n) return reply.error('ERR timeout is negative');
  const now = acknowledged(server.raft(), session.lastIndex);
  if (BigInt(now) >= replicas || session.inExec) return reply.integer(now);
  server.defer(session, (finish) => {
    server.waitReplicas(session, Number(replicas), Number(timeoutMs), (count) => {
      server.deferredReply(session).integer(count);
      finish();
    });
  });
}

function replicaOf({ reply }: CommandContext): void {
  reply.error('ERR REPLICAOF is not used by Holdfast: its nodes replicate through Raft, and the members of a cluster are set by the directive peers');
}

const common = { class: 'session', insideExec: 'queue', keys: NO_KEYS, categories: [], group: 'server', complexity: 'O(1)' } as const;

export const serverAdminCommands = [
  {
    ...common,
    name: 'info',
    arity: -1,
    flags: ['loading', 'stale'],
    categories: ['dangerous'],
    since: '1.0.0',
    summary: 'The state and the counters of this node',
    handler: info,
  },
  {
    ...common,
    name: 'role',
    arity: 1,
    flags: ['noscript', 'loading', 'stale', 'fast'],
    categories: ['admin', 'dangerous'],
    since: '2.8.12',
    summary: 'Whether this node leads, and who follows or leads it',
    handler: role,
  },
  { ...common, name: 'time', arity: 1, flags: ['loading', 'stale', 'fast'], since: '2.6.0', summary: "This node's clock", handler: time },
  {
    ...common,
    name: 'shutdown',
    arity: -1,
    insideExec: 'refuse',
    flags: ['admin', 'noscript', 'loading', 'stale', 'no_multi', 'allow_busy'],
    since: '1.0.0',
    summary: 'Hands the leadership over and stops this node',
    handler: shutdown,
  },
  {
    ...common,
    name: 'wait',
    arity: 3,
    flags: ['noscript'],
    categories: ['connection'],
    group: 'generic',
    since: '3.0.0',
    summary: "Waits until more voting members have this connection's writes on disk",
    handler: waitReplicas,
  },
  {
    ...common,
    name: 'replicaof',
    arity: 3,
    flags: ['admin', 'noscript', 'stale', 'no_async_loading'],
    since: '5.0.0',
    summary: 'Always an error: Holdfast replicates through Raft',
    handler: replicaOf,
  },
  {
    ...common,
    name: 'slaveof',
    arity: 3,
    flags: ['admin', 'noscript', 'stale', 'no_async_loading'],
    since: '1.0.0',
    summary: 'Always an error: Holdfast replicates through Raft',
    handler: replicaOf,
  },
] as const satisfies readonly CommandSpec[];
