// MULTI EXEC DISCARD WATCH UNWATCH. The dispatcher queues; these only start, end and watch. EXEC's and WATCH's replies are the
// session's: they come when the record is applied, or the versions are read.
import type { CommandContext } from './context.ts';
import type { CommandFlag, CommandSpec } from './spec.ts';
import { ALL_KEYS, NO_KEYS } from './spec.ts';

function multi({ reply, session }: CommandContext): void {
  if (session.inMulti) return reply.error('ERR MULTI calls can not be nested');
  session.beginMulti();
  reply.ok();
}

function exec({ reply, session }: CommandContext): void {
  if (!session.inMulti) return reply.error('ERR EXEC without MULTI');
  session.exec();
}

function discard({ reply, session }: CommandContext): void {
  if (!session.inMulti) return reply.error('ERR DISCARD without MULTI');
  session.discardMulti();
  reply.ok();
}

function watch({ reply, session }: CommandContext): void {
  if (session.inMulti) return reply.error('ERR WATCH inside MULTI is not allowed');
  session.watch(1);
}

function unwatch({ reply, session }: CommandContext): void {
  session.unwatch();
  reply.ok();
}

const flags: readonly CommandFlag[] = ['noscript', 'loading', 'stale', 'fast', 'allow_busy'];
const common = { class: 'session', insideExec: 'now', flags, keys: NO_KEYS, categories: ['transaction'], group: 'transactions' } as const;

export const transactionCommands = [
  { ...common, name: 'multi', arity: 1, since: '1.2.0', summary: 'Starts a transaction', complexity: 'O(1)', handler: multi },
  {
    ...common,
    name: 'exec',
    arity: 1,
    flags: ['noscript', 'loading', 'stale', 'skip_slowlog'],
    since: '1.2.0',
    summary: 'Runs the queued commands, all of them or none',
    complexity: 'Depends on commands in the transaction',
    handler: exec,
  },
  {
    ...common,
    name: 'discard',
    arity: 1,
    since: '2.0.0',
    summary: 'Drops the queued commands and forgets the watched keys',
    complexity: 'O(N), when N is the number of queued commands',
    handler: discard,
  },
  {
    ...common,
    name: 'watch',
    arity: -2,
    keys: ALL_KEYS,
    keyFlags: ['RO'],
    since: '2.2.0',
    summary: 'The next EXEC runs only if these keys have not changed by then',
    complexity: 'O(1) for every key.',
    handler: watch,
  },
  { ...common, name: 'unwatch', arity: 1, insideExec: 'queue', since: '2.2.0', summary: 'Forgets the watched keys', complexity: 'O(1)', handler: unwatch },
] as const satisfies readonly CommandSpec[];
