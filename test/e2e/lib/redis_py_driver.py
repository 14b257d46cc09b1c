"""redis-py behind line-JSON on stdin and stdout, one thread and one redis.Redis a connection.

A request is {"id", "connection", "op", ...}; its answer {"id", "value"} or {"id", "error", "kind"}, where kind is the name of
redis-py's exception. Requests of one connection are carried out in order, those of different ones at the same time.
Nothing is retried here, and redis-py retries nothing unless it is told to.
"""
import json
import queue
import sys
import threading

import redis

saying = threading.Lock()


def say(answer):
    text = json.dumps(answer, allow_nan=False)
    with saying:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


def plain(value):
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, (list, tuple, set)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


class Connection(threading.Thread):
    def __init__(self):
        super().__init__(daemon=True)
        self.requests = queue.Queue()
        self.redis = None
        # The pipeline that holds the WATCH; its connection is the one that EXEC has to go out on.
        self.watching = None

    def run(self):
        while True:
            request = self.requests.get()
            if request["op"] == "close":
                self.unwatch()
                if self.redis is not None:
                    self.redis.connection_pool.disconnect()
                return
            try:
                say({"id": request["id"], "value": plain(getattr(self, "do_" + request["op"])(request))})
            except Exception as error:
                say({"id": request["id"], "error": str(error), "kind": type(error).__name__})

    def unwatch(self):
        if self.watching is not None:
            pipeline, self.watching = self.watching, None
            pipeline.reset()

    def do_open(self, request):
        self.redis = redis.Redis(host="127.0.0.1", port=request["port"], decode_responses=True, socket_connect_timeout=5)
        return self.redis.ping()

    def do_method(self, request):
        target = self.redis if self.watching is None else self.watching
        return getattr(target, request["name"])(*request["args"], **request["options"])

    def do_watch(self, request):
        self.unwatch()
        self.watching = self.redis.pipeline(transaction=True)
        return self.watching.watch(*request["keys"])

    def do_unwatch(self, _request):
        self.unwatch()

    def do_multi(self, request):
        pipeline = self.watching
        if pipeline is None:
            pipeline = self.redis.pipeline(transaction=True)
        else:
            pipeline.multi()
        try:
            for words in request["commands"]:
                pipeline.execute_command(*words)
            return pipeline.execute()
        except redis.WatchError as error:
            # redis-py says WatchError too where the connection broke, whatever became of the EXEC.
            if "ConnectionError" in str(error):
                raise
            return None
        finally:
            self.watching = None
            pipeline.reset()


connections = {}
for line in sys.stdin.buffer:
    request = json.loads(line)
    number = request["connection"]
    if request["op"] == "open":
        connections[number] = Connection()
        connections[number].start()
    connections[number].requests.put(request)
    if request["op"] == "close":
        del connections[number]
