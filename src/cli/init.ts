// `holdfast init`: makes a node's data directory, once in its life. This is the only way to bootstrap a cluster, so that no
// node ever starts a new one by mistake because its disk was not mounted.
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { initDataDir, openDataDir, type DataDirIdentity } from '../adapters/data-dir.ts';
import { OperationalError } from '../base/errors.ts';
import type { ConfigValues } from '../server/config-directives.ts';
import { loadConfig } from '../server/config-file.ts';
import { decodeRestoreMeta, RestoreFile, type RestoreMeta } from '../snapshot/restore-files.ts';
import { derivedClusterId, membersOf } from './cluster-layout.ts';
import { nodeConfigFiles } from './config-files.ts';

export function init(file: string | undefined, directives: readonly string[], rejoin: boolean): DataDirIdentity {
  return initWith(loadConfig(nodeConfigFiles, file, directives).values, rejoin);
}

/** `rejoin`: the node was a member, its directory is lost; its peers take it in again before it votes. */
export function initWith(values: Readonly<ConfigValues>, rejoin: boolean): DataDirIdentity {
  const members = membersOf(values);
  const self = members.find((member) => member.name === values['node-id'])!;
  const dir = path.resolve(values.dir);
  const restored = restoredMeta(dir, values['cluster-id']);
  const clusterId = restored?.clusterId ?? (values['cluster-id'] || (members.length > 1 ? derivedClusterId(members) : randomBytes(8).toString('hex')));
  const identity = initDataDir(dir, {
    clusterId,
    nodeName: self.name,
    nodeId: self.id,
    members: members.map(({ id, name, host, peerPort }) => ({ id, name, host, port: peerPort })),
    bootstrap: {},
    ...(restored === undefined ? {} : { logBase: { index: restored.index, term: restored.term, timeMs: restored.timeMs } }),
  });
  if (!rejoin) return identity;
  const dataDir = openDataDir(dir);
  dataDir.updateIdentity({ rejoining: { since: new Date().toISOString(), reason: 'holdfast init --rejoin yes' } });
  const rejoining = dataDir.identity;
  dataDir.release();
  return rejoining;
}

/** What the new cluster goes on from, where `holdfast restore` made this directory. */
function restoredMeta(dir: string, configured: string): RestoreMeta | undefined {
  const file = path.join(dir, RestoreFile.meta);
  if (!fs.existsSync(file)) {
    const folder = path.join(dir, RestoreFile.folder);
    if (!fs.existsSync(folder)) return undefined;
    throw new OperationalError('DATA_DIR', `${folder} has no restore.json: the restore, or the copy of it, did not finish, and this node would begin empty; remove the directory, and run holdfast restore (or copy it) again`);
  }
  const meta = decodeRestoreMeta(fs.readFileSync(file, 'utf8'), file);
  const { clusterId } = meta;
  if (configured !== '' && configured !== clusterId) {
    throw new OperationalError('CONFIG', `cluster-id: it is ${configured}, and ${dir} was restored as the new cluster ${clusterId}; take the directive out, or set it to ${clusterId} on every node`);
  }
  return meta;
}
