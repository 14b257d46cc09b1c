// Redis 7.0's error texts, each in one place.

export const Errors = {
  syntax: 'ERR syntax error',
  wrongType: 'WRONGTYPE Operation against a key holding the wrong kind of value',
  notInteger: 'ERR value is not an integer or out of range',
  notFloat: 'ERR value is not a valid float',
  hashNotInteger: 'ERR hash value is not an integer',
  hashNotFloat: 'ERR hash value is not a float',
  floatNanOrInfinity: 'ERR value is NaN or Infinity',
  outOfRange: 'ERR value is out of range',
  noSuchKey: 'ERR no such key',
  outOfRangeIndex: 'ERR index out of range',
  invalidDbIndex: 'ERR DB index is out of range',
  overflow: 'ERR increment or decrement would overflow',
  nanOrInfinity: 'ERR increment would produce NaN or Infinity',
  stringTooLong: 'ERR string exceeds maximum allowed size (proto-max-bulk-len)',
  offsetOutOfRange: 'ERR offset is out of range',
  sameObject: 'ERR source and destination objects are the same',
  noAuth: 'NOAUTH Authentication required.',
  wrongPass: 'WRONGPASS invalid username-password pair or user is disabled.',
  oom: "OOM command not allowed when used memory > 'maxmemory'.",
  execAbort: 'EXECABORT Transaction discarded because of previous errors.',
  uncertain:
    'UNCERTAIN the write was appended to the log but this node lost contact with the majority: it may or may not have been applied',
  logFull:
    "MISCONF the leader's log has reached log-disk-bytes-max: writes are refused until a snapshot lets it be cut, or the limit is raised; INFO persistence of the leader says what it waits for",
  clusterDown: 'CLUSTERDOWN no leader with a majority is known to this node; the command was not applied',
} as const;

export const wrongArity = (name: string): string => `ERR wrong number of arguments for '${name}' command`;
export const longKey = (bytes: number, bytesMax: number): string => `ERR a key of ${bytes} bytes is longer than the ${bytesMax} that one may have`;
export const invalidExpire = (name: string): string => `ERR invalid expire time in '${name}' command`;
export const unknownSubcommand = (sub: string, command: string): string =>
  `ERR unknown subcommand '${sub.slice(0, 128)}'. Try ${command.toUpperCase()} HELP.`;
