// Every command there is. A family adds its array here, and nothing else anywhere.
import { clientCommands } from './client.ts';
import { commandInfoCommands } from './command-info.ts';
import { configCommands } from './config-command.ts';
import { connectionCommands } from './connection.ts';
import { counterCommands } from './counters.ts';
import { databaseCommands } from './databases.ts';
import { debugCommands } from './debug.ts';
import { hashReadCommands } from './hashes-read.ts';
import { hashWalkCommands } from './hashes-walk.ts';
import { hashWriteCommands } from './hashes.ts';
import { holdfastCommands } from './holdfast.ts';
import { expiryCommands } from './keys-expiry.ts';
import { keyCommands } from './keys.ts';
import { objectCommands } from './keys-object.ts';
import { scanCommands } from './keys-scan.ts';
import { lcs } from './lcs.ts';
import { serverAdminCommands } from './server-admin.ts';
import { saveCommands } from './snapshots.ts';
import type { CommandSpec } from './spec.ts';
import { stringPartCommands } from './string-parts.ts';
import { stringCommands } from './strings.ts';
import { transactionCommands } from './transactions.ts';
import { zsetAlgebraCommands } from './zset-algebra.ts';
import { zsetMemberCommands } from './zsets.ts';
import { zsetRangeCommands } from './zset-ranges.ts';
import { zsetWalkCommands } from './zset-walk.ts';

/** Commands on the data: strings, hashes, sorted sets and keys. */
export const dataCommands: readonly CommandSpec[] = [
  ...stringCommands,
  ...stringPartCommands,
  ...counterCommands,
  lcs,
  ...hashReadCommands,
  ...hashWriteCommands,
  ...hashWalkCommands,
  ...zsetMemberCommands,
  ...zsetRangeCommands,
  ...zsetAlgebraCommands,
  ...zsetWalkCommands,
  ...keyCommands,
  ...expiryCommands,
  ...scanCommands,
  ...objectCommands,
  ...databaseCommands,
];

/** Commands about the connection and the node. */
export const serverCommands: readonly CommandSpec[] = [
  ...connectionCommands,
  ...clientCommands,
  ...transactionCommands,
  ...commandInfoCommands,
  ...configCommands,
  ...serverAdminCommands,
  ...saveCommands,
  ...holdfastCommands,
  ...debugCommands,
];

export const allCommands: readonly CommandSpec[] = [...dataCommands, ...serverCommands];
