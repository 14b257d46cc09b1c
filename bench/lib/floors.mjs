// What Holdfast is to reach, as a share of a peer in the same run: reads beside redis-server with nothing on disk, writes
// beside redis-server with appendfsync always, the nearest that a single Redis comes to an acknowledged write.
/** For the geometric means of the leaderboard. */
export const LEADERBOARD_FLOORS = {
  'reads P1': { of: 'redis', share: 0.8 },
  'reads P16': { of: 'redis', share: 0.8 },
  'writes P1': { of: 'redis-aof-always', share: 0.5 },
  'writes P16': { of: 'redis-aof-always', share: 0.9 },
};

/** By the load's name; of writes, those of one node (three nodes: 0.35 and 0.5). */
export const THROUGHPUT_FLOORS = {
  'SET P1': { of: 'redis-aof-always', share: 0.5 },
  'GET P1': { of: 'redis', share: 0.85 },
  'SET P16': { of: 'redis-aof-always', share: 1 },
  'GET P16': { of: 'redis', share: 0.8 },
};
