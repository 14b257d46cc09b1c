"""A real S3 server for the tests: OpenStack Swift with its s3api, all of it in this one process on loopback.

Usage: /usr/bin/python3 swift-s3.py DIR        (Debian: python3-swift)

Prints "ready PORT" and serves until its standard input ends. Account `test:tester`, secret `testing`. DIR must be on a
file system with user xattrs. Nothing outside of DIR is read or written; /etc/swift is not needed.
"""
import logging
import os
import socket
import sys

import eventlet

eventlet.monkey_patch()

from eventlet import wsgi  # noqa: E402
from paste.deploy import loadapp  # noqa: E402
from swift.common import utils  # noqa: E402

utils.HASH_PATH_SUFFIX = b'holdfast'
utils.HASH_PATH_PREFIX = b''
utils.validate_configuration = lambda: None

from swift.account.server import AccountController  # noqa: E402
from swift.common.ring.builder import RingBuilder  # noqa: E402
from swift.container.server import ContainerController  # noqa: E402
from swift.obj.server import ObjectController  # noqa: E402

logging.disable(logging.CRITICAL)
root = os.path.abspath(sys.argv[1])
devices = os.path.join(root, 'devices')
os.makedirs(os.path.join(devices, 'd1'), exist_ok=True)


class NoCache:
    """s3api insists on memcached; without one every request looks its container up."""

    def get(self, *_, **__):
        return None

    set = delete = get


class NullLog:
    def info(self, *_):
        pass

    debug = info


class HttpProtocol(wsgi.HttpProtocol):
    """As swift.common.wsgi.SwiftHttpProtocol in what matters here: header names keep their case, no MIME defaults."""

    default_request_version = 'HTTP/1.0'

    def log_message(self, *_):
        pass


def serve(app):
    sock = eventlet.listen(('127.0.0.1', 0), backlog=512)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    eventlet.spawn(wsgi.server, sock, app, log=NullLog(), log_output=False, protocol=HttpProtocol, keepalive=True)
    return sock.getsockname()[1]


def ring(name, port):
    builder = RingBuilder(2, 1, 0)  # 4 partitions, 1 replica
    builder.add_dev({'id': 0, 'region': 1, 'zone': 1, 'weight': 1.0, 'ip': '127.0.0.1', 'port': port, 'device': 'd1'})
    builder.rebalance()
    builder.get_ring().save(os.path.join(root, name + '.ring.gz'))


conf = {'devices': devices, 'mount_check': 'false', 'swift_dir': root, 'fallocate_reserve': '0', 'disable_fallocate': 'true',
        'recon_cache_path': root, 'auto_create_account_prefix': '.'}
ring('account', serve(AccountController(conf)))
ring('container', 1)  # read by the object server, which tells containers of their objects through the proxy's headers
container_port = serve(ContainerController(conf))
ring('container', container_port)
ring('object', serve(ObjectController(conf)))

with open(os.path.join(root, 'proxy.conf'), 'w') as file:
    file.write(f"""
[DEFAULT]
swift_dir = {root}
log_level = CRITICAL
[pipeline:main]
pipeline = catch_errors gatekeeper listing_formats s3api tempauth copy bulk slo dlo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
min_segment_size = 5242880
allow_multipart_uploads = true
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
[filter:copy]
use = egg:swift#copy
[filter:bulk]
use = egg:swift#bulk
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
""")

app = loadapp('config:' + os.path.join(root, 'proxy.conf'))


def front(environ, start_response):
    environ['swift.cache'] = NoCache()
    if environ['REQUEST_METHOD'] != 'HEAD':
        return app(environ, start_response)

    def start(status, headers, *rest):
        # Without a length eventlet ends a HEAD's answer with an empty chunk, which HTTP forbids.
        if not any(name.lower() == 'content-length' for name, _ in headers):
            headers = [*headers, ('Content-Length', '0')]
        return start_response(status, headers, *rest)

    return app(environ, start)


port = serve(front)
print(f'ready {port}', flush=True)
from eventlet import tpool  # noqa: E402

tpool.execute(sys.stdin.read)
os._exit(0)
