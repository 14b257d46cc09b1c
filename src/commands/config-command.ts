// CONFIG: the directives themselves, their checks and the file are the server's (src/server/config.ts).
//
// A CONFIG SET of machine state (replicated-settings.ts) is a log record: it replies once that is applied. Such a one cannot
// run inside EXEC, where a reply must come at once.
import type { CommandContext } from './context.ts';
import type { CommandFlag, CommandSpec } from './spec.ts';
import { NO_KEYS } from './spec.ts';
import { Errors } from './errors.ts';
import { replicatedSettingOf } from './replicated-settings.ts';
import { replyHelp, replyUnknownSubcommand, textArgument } from './connection.ts';
import { replyFields, replyOutcome, replyOutcomeLater } from './reply-forms.ts';

const HELP = [
  'GET <pattern> [<pattern> ...]',
  '    The directives that match, with their values.',
  'SET <directive> <value> [<directive> <value> ...]',
  '    Change directives: all of them, or none.',
  'RESETSTAT',
  '    Set the counters of INFO to zero.',
  'REWRITE',
  '    Write the values in force into the configuration file.',
];

function get({ args, reply, server }: CommandContext): void {
  const patterns: string[] = [];
  for (let i = 2; i < args.count; i++) patterns.push(args.latin1(i));
  replyFields(reply, server.configGet(patterns));
}

function set(context: CommandContext): void {
  const { args, reply, server, session } = context;
  if (args.count % 2 !== 0) return reply.error(Errors.syntax);
  const pairs: Array<readonly [string, string]> = [];
  for (let i = 2; i < args.count; i += 2) {
    const name = args.latin1(i);
    const value = textArgument(args, i + 1);
    if (value === undefined) return reply.error(`ERR CONFIG SET failed (possibly related to argument '${name}') - the value is not valid UTF-8`);
    pairs.push([name, value]);
  }
  if (session.inExec && pairs.some(([name]) => replicatedSettingOf(name) !== undefined)) {
    return reply.error('ERR CONFIG SET of a setting that is replicated is not possible inside a transaction');
  }
  // Local directives are in force when configSet returns: then nothing waits. Only a replicated one defers.
  let deferred: ((error: string | undefined) => void) | undefined;
  let result: { readonly error: string | undefined } | undefined;
  server.configSet(pairs, (error) => {
    if (deferred !== undefined) deferred(error);
    else result = { error };
  });
  if (result !== undefined) {
    replyOutcome(reply, result.error);
    return;
  }
  replyOutcomeLater({ server, session }, (done) => {
    deferred = done;
  });
}

function rewrite({ reply, server }: CommandContext): void {
  replyOutcome(reply, server.configRewrite());
}

const flags: readonly CommandFlag[] = ['admin', 'noscript', 'loading', 'stale'];
const common = { class: 'session', insideExec: 'queue', flags, keys: NO_KEYS, categories: [], group: 'server' } as const;
const perDirective = 'O(N) when N is the number of configuration parameters provided';

export const configCommands = [
  {
    ...common,
    name: 'config',
    arity: -2,
    flags: [],
    since: '2.0.0',
    summary: "Commands about this node's configuration",
    complexity: 'Depends on subcommand.',
    handler: replyUnknownSubcommand,
    subcommands: [
      { ...common, name: 'get', arity: -3, since: '2.0.0', summary: 'Values of directives', complexity: perDirective, handler: get },
      {
        ...common,
        name: 'help',
        arity: 2,
        flags: ['loading', 'stale'],
        since: '5.0.0',
        summary: 'The subcommands of CONFIG',
        complexity: 'O(1)',
        handler: ({ reply }) => replyHelp(reply, 'config', HELP),
      },
      {
        ...common,
        name: 'resetstat',
        arity: 2,
        since: '2.0.0',
        summary: 'Sets the counters of INFO to zero',
        complexity: 'O(1)',
        handler: ({ reply, server }) => {
          server.resetStats();
          reply.ok();
        },
      },
      { ...common, name: 'rewrite', arity: 2, since: '2.8.0', summary: 'Writes the values in force into the configuration file', complexity: 'O(1)', handler: rewrite },
      { ...common, name: 'set', arity: -4, since: '2.0.0', summary: 'Changes directives: all of them, or none', complexity: perDirective, handler: set },
    ],
  },
] as const satisfies readonly CommandSpec[];
