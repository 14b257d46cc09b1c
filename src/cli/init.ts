// `holdfast init`: makes a node's data directory, once in its life. This is the only way to bootstrap a cluster, so that no
// node ever starts a new one by mistake because its disk was not mounted.
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { initDataDir, openDataDir, type DataDirIdentity } from '../adapters/data-dir.ts';
import { OperationalError } from '../base/errors.ts';
import { peerPortOf, type ConfigValues } from '../server/config-directives.ts';
import { loadConfig } from '../server/config-file.ts';
import { RestoreFile, type RestoreMeta } from '../snapshot/restore-files.ts';
import { derivedClusterId, membersOf } from './cluster-layout.ts';
import { nodeConfigFiles } from './config-files.ts';
import { askCluster } from './members-command.ts';
import { parseAddress } from './resp-client.ts';
import { readMeta } from './snapshot-files.ts';

export function init(file: string | undefined, directives: readonly string[], rejoin: boolean): DataDirIdentity {
  return initWith(loadConfig(nodeConfigFiles, file, directives).values, rejoin);
}

/**
 * Of a node that was added while the cluster lived (HOLDFAST ADDNODE), or of any member of a cluster that has had others come and
 * go: what it has to know is asked of `through`, a member.
 */
export async function join(file: string | undefined, directives: readonly string[], through: string, rejoin: boolean): Promise<DataDirIdentity> {
  const { values } = loadConfig(nodeConfigFiles, file, directives);
  const { clusterId, members } = await askCluster(parseAddress(through, values.requirepass));
  const name = values['node-id'];
  const self = members.find((member) => member.name === name);
  if (self === undefined) {
    throw new OperationalError('CONFIG', `node-id: the cluster at ${through} has no member ${name}, but ${members.map((member) => member.name).join(', ')}; add it first: holdfast addnode ${name} HOST:PEERPORT/PORT --to ${through}`);
  }
  if (values['cluster-id'] !== '' && values['cluster-id'] !== clusterId) {
    throw new OperationalError('CONFIG', `cluster-id: it is ${values['cluster-id']}, and ${through} belongs to cluster ${clusterId}`);
  }
  if (self.peerPort !== peerPortOf(values)) {
    throw new OperationalError('CONFIG', `peer-port: this node would listen on ${peerPortOf(values)}, and the cluster at ${through} expects ${name} on ${self.host}:${self.peerPort}`);
  }
  if (self.incarnation !== '' && !rejoin) {
    throw new OperationalError('CONFIG', `${name} was met with data directory ${self.incarnation}; if that is lost, add --rejoin yes, and the others take it in again`);
  }
  const dir = path.resolve(values.dir);
  const identity = initDataDir(dir, {
    clusterId,
    nodeName: name,
    nodeId: self.id,
    members: members.map(({ id, name: member, host, peerPort, clientPort }) => ({ id, name: member, host, port: peerPort, clientPort })),
    bootstrap: {},
    joined: true,
  });
  return rejoin ? rejoining(dir, 'holdfast init --rejoin yes') : identity;
}

function rejoining(dir: string, reason: string): DataDirIdentity {
  const dataDir = openDataDir(dir);
  dataDir.updateIdentity({ rejoining: { since: new Date().toISOString(), reason } });
  const { identity } = dataDir;
  dataDir.release();
  return identity;
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
    members: members.map(({ id, name, host, peerPort, clientPort }) => ({ id, name, host, port: peerPort, clientPort })),
    bootstrap: {},
    ...(restored === undefined ? {} : { logBase: { index: restored.index, term: restored.term, timeMs: restored.timeMs } }),
  });
  return rejoin ? rejoining(dir, 'holdfast init --rejoin yes') : identity;
}

/** What the new cluster goes on from, where `holdfast restore` made this directory. */
function restoredMeta(dir: string, configured: string): RestoreMeta | undefined {
  const folder = path.join(dir, RestoreFile.folder);
  const meta = readMeta(folder);
  if (meta === undefined) {
    if (!fs.existsSync(folder)) return undefined;
    throw new OperationalError('DATA_DIR', `${folder} has no restore.json: the restore, or the copy of it, did not finish, and this node would begin empty; remove the directory, and run holdfast restore (or copy it) again`);
  }
  const { clusterId } = meta;
  if (configured !== '' && configured !== clusterId) {
    throw new OperationalError('CONFIG', `cluster-id: it is ${configured}, and ${dir} was restored as the new cluster ${clusterId}; take the directive out, or set it to ${clusterId} on every node`);
  }
  return meta;
}
