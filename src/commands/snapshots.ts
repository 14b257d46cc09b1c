// Snapshots as clients see them: Redis's SAVE BGSAVE LASTSAVE, and HOLDFAST PUBLISH SNAPSHOTS SNAPSHOTTER. The snapshotter, a
// process of its own, makes them; a node only asks for one, hears how far it is, and knows by the log what is published.
import type { CommandContext } from './context.ts';
import { Errors } from './errors.ts';
import { publishArguments } from './publishing.ts';
import { replyFields, replyOutcome, replyOutcomeLater } from './reply-forms.ts';
import type { CommandSpec } from './spec.ts';
import { NO_KEYS } from './spec.ts';

function save({ reply, server, session }: CommandContext): void {
  const { snapshots } = server;
  const refusal = snapshots.request();
  if (refusal !== undefined) return reply.error(refusal);
  replyOutcomeLater({ server, session }, (done) => snapshots.whenPublished(session.id, done));
}

function bgsave({ args, reply, server }: CommandContext): void {
  const schedule = args.count === 2 && args.is(1, 'SCHEDULE');
  if (args.count > 1 && !schedule) return reply.error(Errors.syntax);
  const refusal = server.snapshots.request();
  if (refusal !== undefined) return reply.error(refusal);
  reply.simple('Background saving started');
}

function publish(context: CommandContext): void {
  const { args, reply } = context;
  const record = publishArguments(args, context.nowMs);
  if (typeof record === 'string') return reply.error(record);
  replyOutcome(reply, context.publishing.publish(record, context.entryIndex - 1));
}

function snapshots({ reply, server }: CommandContext): void {
  const { published, facts } = server.snapshots;
  reply.map(2);
  reply.bulkText('published');
  if (published === undefined) {
    reply.null();
  } else {
    replyFields(reply, [
      ['index', published.index], ['term', published.term], ['time-ms', published.timeMs],
      ['manifest', published.manifestKey], ['sha256', published.manifestSha256], ['digest', published.digest],
    ]);
  }
  reply.bulkText('snapshotter');
  replyFields(reply, facts);
}

function snapshotter({ args, reply, server }: CommandContext): void {
  const { bytes } = args;
  const orders = server.snapshots.report(Buffer.from(bytes.buffer, bytes.byteOffset + args.start(2), args.end(2) - args.start(2)).toString('utf8'));
  if (orders === undefined) return reply.error('ERR the report is no JSON object with the state of a snapshotter');
  reply.bulkText(orders);
}

const common = { class: 'session', insideExec: 'queue', keys: NO_KEYS, categories: [], group: 'server', complexity: 'O(1)' } as const;

export const saveCommands = [
  {
    ...common,
    name: 'save',
    arity: 1,
    insideExec: 'refuse',
    flags: ['admin', 'noscript', 'no_async_loading', 'no_multi'],
    since: '1.0.0',
    summary: 'Asks for a snapshot and waits until it is published',
    complexity: 'O(N) where N is the total number of keys in all databases, in another process',
    handler: save,
  },
  {
    ...common,
    name: 'bgsave',
    arity: -1,
    flags: ['admin', 'noscript', 'no_async_loading'],
    since: '1.0.0',
    summary: 'Asks for a snapshot',
    handler: bgsave,
  },
  {
    ...common,
    name: 'lastsave',
    arity: 1,
    flags: ['loading', 'stale', 'fast'],
    categories: ['admin', 'dangerous'],
    since: '1.0.0',
    summary: 'When the newest snapshot was published',
    handler: ({ reply, server }) => reply.integer(Math.floor(server.snapshots.lastSaveMs / 1000)),
  },
] as const satisfies readonly CommandSpec[];

const holdfast = { ...common, group: 'holdfast', since: '0.1.0', insideExec: 'refuse' } as const;

/** Subcommands of HOLDFAST. */
export const snapshotSubcommands = [
  {
    ...holdfast,
    name: 'publish',
    arity: 7,
    class: 'write',
    flags: ['write', 'admin', 'noscript', 'no_multi'],
    summary: 'Has the log record a snapshot that the snapshotter has verified',
    validate: (args) => {
      const record = publishArguments(args, 0);
      return typeof record === 'string' ? record : undefined;
    },
    handler: publish,
  },
  {
    ...holdfast,
    name: 'snapshots',
    arity: 2,
    flags: ['admin', 'noscript', 'loading', 'stale', 'no_multi'],
    summary: 'The published snapshot, and what the snapshotter does',
    handler: snapshots,
  },
  {
    ...holdfast,
    name: 'snapshotter',
    arity: 3,
    flags: ['admin', 'noscript', 'loading', 'stale', 'no_multi'],
    summary: 'The snapshotter says how far it is, and hears what is asked of it',
    handler: snapshotter,
  },
] as const satisfies readonly CommandSpec[];
