// What CLIENT LIST and CLIENT INFO say of a connection.
import type { ClientInfo } from '../commands/ports.ts';
import type { CommandTable } from '../commands/table.ts';
import type { Session } from './session.ts';

/** `runningBytes`: of the command that asks, where the connection is the one that asks. */
export function clientInfo(session: Session, table: CommandTable, nowMs: number, runningBytes: number): ClientInfo {
  const { transaction, decoder, socket, writer } = session;
  const outputBytes = writer.pendingBytes + socket.bufferedBytes;
  return {
    id: session.id,
    addr: socket.remoteAddr,
    laddr: socket.localAddr,
    fd: socket.fd,
    name: session.name,
    ageSeconds: Math.floor((nowMs - session.createdMs) / 1000),
    idleSeconds: Math.floor((nowMs - session.lastActiveMs) / 1000),
    flags: flagsOf(session),
    db: session.db,
    multi: transaction.active ? transaction.count : -1,
    watch: transaction.watchedCount,
    queryBufferBytes: decoder.bufferedBytes + runningBytes,
    queryBufferFreeBytes: Math.max(0, decoder.memoryBytes - decoder.bufferedBytes),
    argvBytes: 0,
    multiBytes: transaction.bytes,
    outputBufferBytes: writer.pendingBytes,
    outputListLength: 0,
    outputListBytes: socket.bufferedBytes,
    totalBytes: decoder.memoryBytes + outputBytes + transaction.bytes,
    lastCommand: session.lastSpec === undefined ? '' : table.fullName(session.lastSpec),
    user: session.user,
    protocol: session.protocol,
    type: 'normal',
  };
}

function flagsOf(session: Session): string {
  let flags = '';
  if (session.transaction.active) flags += 'x';
  if (session.closingWhenAnswered) flags += 'c';
  if (session.readonly) flags += 'r';
  if (session.socket.isUnix) flags += 'U';
  if (session.noEvict) flags += 'e';
  if (session.noTouch) flags += 'T';
  return flags === '' ? 'N' : flags;
}
