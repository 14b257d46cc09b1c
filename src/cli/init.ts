// `holdfast init`: makes a node's data directory, once in its life. This is the only way to bootstrap a cluster, so that no
// node ever starts a new one by mistake because its disk was not mounted.
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { initDataDir, openDataDir, type DataDirIdentity } from '../adapters/data-dir.ts';
import type { ConfigValues } from '../server/config-directives.ts';
import { loadConfig } from '../server/config-file.ts';
import { derivedClusterId, membersOf } from './cluster-layout.ts';
import { nodeConfigFiles } from './config-files.ts';

export function init(file: string | undefined, directives: readonly string[], rejoin: boolean): DataDirIdentity {
  return initWith(loadConfig(nodeConfigFiles, file, directives).values, rejoin);
}

/** `rejoin`: the node was a member, its directory is lost; its peers take it in again before it votes. */
export function initWith(values: Readonly<ConfigValues>, rejoin: boolean): DataDirIdentity {
  const members = membersOf(values);
  const self = members.find((member) => member.name === values['node-id'])!;
  const clusterId = values['cluster-id'] || (members.length > 1 ? derivedClusterId(members) : randomBytes(8).toString('hex'));
  const dir = path.resolve(values.dir);
  const identity = initDataDir(dir, {
    clusterId,
    nodeName: self.name,
    nodeId: self.id,
    members: members.map(({ id, name, host, peerPort }) => ({ id, name, host, port: peerPort })),
    bootstrap: {},
  });
  if (!rejoin) return identity;
  const dataDir = openDataDir(dir);
  dataDir.updateIdentity({ rejoining: { since: new Date().toISOString(), reason: 'holdfast init --rejoin yes' } });
  const rejoining = dataDir.identity;
  dataDir.release();
  return rejoining;
}
