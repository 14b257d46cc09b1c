// What the Raft core of a node is made with: the driver's options, the limits, and the configurations that the log store holds.
import { configurationsOf, type Configuration, type ConfigurationAt } from '../base/configuration.ts';
import { OperationalError } from '../base/errors.ts';
import { APPEND_MESSAGE_BYTES_MAX, INFLIGHT_BYTES_MAX, INFLIGHT_MESSAGES_MAX, UNCOMMITTED_BYTES_MAX } from '../base/limits.ts';
import type { LogStore } from '../ports/log-store.ts';
import type { RaftConfig } from '../raft/types.ts';
import type { CachedLog } from './cached-log.ts';
import type { ConsensusOptions } from './consensus-options.ts';
import { CONFIGURATIONS } from './roster.ts';

export function raftConfig(options: ConsensusOptions, log: CachedLog): RaftConfig {
  const { id, store, electionTicks, heartbeatTicks, tickMs, leaseDriftMs, readConsistency, rejoining, random } = options;
  return {
    id,
    configurations: storedConfigurations(store, options.configuration),
    storage: log,
    electionTicks,
    heartbeatTicks,
    tickMs,
    leaseDriftMs,
    appendBytesMax: APPEND_MESSAGE_BYTES_MAX,
    inflightBytesMax: INFLIGHT_BYTES_MAX,
    inflightMessagesMax: INFLIGHT_MESSAGES_MAX,
    uncommittedBytesMax: UNCOMMITTED_BYTES_MAX,
    readConsistency,
    holdsCommit: true,
    restarted: store.hardState.term > 0 || store.lastIndex > 0,
    rejoining,
    loading: store.base.index > 0,
    random,
  };
}

/** Of the log; `first` where it has none, which is what the node was made with. */
function storedConfigurations(store: LogStore, first: Configuration): readonly ConfigurationAt[] {
  const bytes = store.meta(CONFIGURATIONS);
  if (bytes === undefined) return [{ index: 0, configuration: first }];
  const list = configurationsOf(bytes);
  if (list === undefined) throw new OperationalError('DATA_DIR', 'what the log store holds of the members cannot be read by this release; use the one that wrote it');
  return list;
}
