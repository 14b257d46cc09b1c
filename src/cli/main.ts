// The command line: `holdfast serve | init | local | …`. Composition only; each command is a file beside this one.
import { errorText, OperationalError } from '../base/errors.ts';
import { importDump } from './import.ts';
import { init, join } from './init.ts';
import { local } from './local.ts';
import { addNode, members, removeNode } from './members-command.ts';
import { takeOption } from './options.ts';
import { restore } from './restore.ts';
import { serve } from './serve.ts';
import { snapshotCommand } from './snapshot-command.ts';
import { snapshotter } from './snapshotter.ts';
import { VERSION } from './version.ts';

const USAGE = `holdfast ${VERSION}: a primary database that speaks Redis

  holdfast init  [FILE] [--directive value ...]   make this node's data directory, once
                 --rejoin yes                     ... for a member whose directory is lost: its peers take it in again
                 --join HOST:PORT                 ... for a member that was added later, or whose cluster has had others come and go
  holdfast serve [FILE] [--directive value ...]   run this node
  holdfast local [--nodes N] [--port P] [--dir D] [--directive value ...]
                                                  run N nodes (3) on this machine, RESP on P, P+1, ... (6379), data under D (./data)
  holdfast addnode NAME HOST:PEERPORT/PORT | removenode NAME | members   --to HOST:PORT [--password P]
                                                  take a new member in, have one leave, or show who they are
  holdfast snapshotter [FILE] [--directive value ...]
                                                  follow the log, archive it and make snapshots (serve starts one by default)
  holdfast snapshot list | verify [--all] | export --out FILE.rdb   [--index N] STORE
  holdfast snapshot create --to HOST:PORT         have a snapshot made now, and wait for it
  holdfast restore --to-time 2026-01-31T12:00:00Z | --to-index N   --dir NEW [--nodes N] [--dry-run] STORE
                                                  make a new cluster's data directories from a moment in the past
  holdfast import FILE.rdb --to HOST:PORT [--password P] [--force]
                                                  load a dump of Redis into a cluster
  holdfast version

STORE is --from URL [--cluster ID] [--key-file FILE], or [FILE] [--directive value ...] of a node.
FILE has the syntax of redis.conf; every directive is in config/holdfast.conf. Command line directives win.
`;

/** FILE is the first word if it is no directive. */
function split(args: readonly string[]): { file: string | undefined; directives: string[] } {
  const [first, ...rest] = args;
  if (first === undefined || first.startsWith('--')) return { file: undefined, directives: [...args] };
  return { file: first, directives: rest };
}

async function run(argv: readonly string[]): Promise<void> {
  const [command, ...args] = argv;
  switch (command) {
    case 'serve': {
      const { file, directives } = split(args);
      await serve(file, directives);
      return;
    }
    case 'init': {
      const { file, directives } = split(args);
      const rejoin = takeOption(directives, 'rejoin');
      if (rejoin !== undefined && rejoin !== 'yes' && rejoin !== 'no') {
        throw new OperationalError('CONFIG', `command line: --rejoin is yes or no, not '${rejoin}'`);
      }
      const through = takeOption(directives, 'join');
      const identity = through === undefined ? init(file, directives, rejoin === 'yes') : await join(file, directives, through, rejoin === 'yes');
      process.stdout.write(
        `made the data directory of node ${identity.nodeName} in cluster ${identity.clusterId}` +
          `${identity.rejoining !== null ? '; it asks its peers to be taken in again when it starts' : ''}\n`,
      );
      return;
    }
    case 'local':
      await local(args);
      return;
    case 'addnode':
      await addNode(args);
      return;
    case 'removenode':
      await removeNode(args);
      return;
    case 'members':
      await members(args);
      return;
    case 'snapshotter': {
      const { file, directives } = split(args);
      await snapshotter(file, directives);
      return;
    }
    case 'snapshot':
      await snapshotCommand(args);
      return;
    case 'restore':
      await restore(args);
      return;
    case 'import':
      await importDump(args);
      return;
    case 'version':
    case '--version':
      process.stdout.write(`${VERSION}\n`);
      return;
    case undefined:
    case 'help':
    case '--help':
      process.stdout.write(USAGE);
      return;
    default:
      throw new OperationalError('CONFIG', `command line: there is no command '${command}'\n\n${USAGE}`);
  }
}

run(process.argv.slice(2)).catch((thrown: unknown) => {
  const text = thrown instanceof OperationalError ? thrown.message : thrown instanceof Error ? (thrown.stack ?? thrown.message) : errorText(thrown);
  process.stderr.write(`holdfast: ${text}\n`);
  process.exit(1);
});
