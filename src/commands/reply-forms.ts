// Replies of the same form from more than one command.
import type { Reply } from '../resp/reply.ts';
import type { CommandContext } from './context.ts';

export type ReplyField = readonly [name: string, value: string | number | boolean];

/** A map of these fields; the caller adds `more` pairs to it. */
export function replyFields(reply: Reply, fields: readonly ReplyField[], more = 0): void {
  reply.map(fields.length + more);
  for (const [name, value] of fields) {
    reply.bulkText(name);
    if (typeof value === 'string') reply.bulkText(value);
    else if (typeof value === 'number') reply.integer(value);
    else reply.boolean(value);
  }
}

/** OK, or the error that there is. */
export function replyOutcome(reply: Reply, error: string | undefined): void {
  if (error === undefined) reply.ok();
  else reply.error(error);
}

/** Replies as above once `start` has called back; the connection's next commands wait until then. */
export function replyOutcomeLater({ server, session }: Pick<CommandContext, 'server' | 'session'>, start: (done: (error: string | undefined) => void) => void): void {
  server.defer(session, (finish) => {
    start((error) => {
      replyOutcome(server.deferredReply(session), error);
      finish();
    });
  });
}
