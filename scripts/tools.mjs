// What some tests need beyond Node: redis-server and redis-benchmark (oracle), redis-cli, tcl, python3-redis and python3-swift
// (an S3 server). Installed from Debian where this process may do so; a test that misses its tool says that it was skipped.
import { spawnSync } from 'node:child_process';

const TOOLS = [
  { name: 'redis-server', package: 'redis-server', check: ['redis-server', ['--version']] },
  { name: 'redis-cli', package: 'redis-tools', check: ['redis-cli', ['--version']] },
  { name: 'python3-redis', package: 'python3-redis', check: ['/usr/bin/python3', ['-c', 'import redis']] },
  // A library: it starts no service. test/adapters/object-store/swift-s3.py runs it.
  { name: 'python3-swift', package: 'python3-swift', check: ['/usr/bin/python3', ['-c', 'import swift, eventlet, paste.deploy']] },
];

const works = ([command, args]) => spawnSync(command, args, { stdio: 'ignore' }).status === 0;

export function ensureTools() {
  const missing = TOOLS.filter(({ check }) => !works(check));
  if (missing.length === 0) return;
  const names = missing.map(({ name }) => name).join(', ');
  const isRoot = process.getuid?.() === 0;
  if (!isRoot || !works(['apt-get', ['--version']])) {
    console.error(`holdfast: ${names} missing, and cannot be installed here (not root, or no apt-get): the tests that need them are skipped`);
    return;
  }
  console.error(`holdfast: installing ${names} from Debian for the tests`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' };
  spawnSync('apt-get', ['update'], { stdio: 'ignore', env });
  // The package would start a server of its own on 6379; policy-rc.d's usual answer 101 forbids it.
  const result = spawnSync('apt-get', ['install', '-y', '--no-install-recommends', ...missing.map((tool) => tool.package)], { stdio: 'ignore', env });
  if (works(['redis-server', ['--version']])) spawnSync('sh', ['-c', 'systemctl stop redis-server || service redis-server stop'], { stdio: 'ignore' });
  const still = TOOLS.filter(({ check }) => !works(check)).map(({ name }) => name);
  if (result.status !== 0 || still.length > 0) {
    console.error(`holdfast: could not install ${still.join(', ')}: the tests that need them are skipped`);
  }
}
