import type { Memory } from '../memory/allocator.ts';
import type { Database } from './database.ts';
import type { ByteSpan, Digest, Encoding, Handle, ValueType } from './types.ts';
import { unreachable } from '../base/assert.ts';

export interface KeyspaceOptions {
  databases: number;
  /** 16 bytes, replicated. */
  hashKey: Uint8Array;
  memory?: Memory;
  /** Local access clock; never read by replicated code. */
  clockMs?: () => number;
}

export class Keyspace {
  readonly databases: number;
  expiredKeys = 0;
  evictedKeys = 0;
  policy: 'lru' | 'lfu' = 'lru';
  constructor(options: KeyspaceOptions) {
    this.databases = options.databases;
  }
  get usedBytes(): number { return unreachable(); }
  get reservedBytes(): number { return unreachable(); }
  database(_number: number): Database { return unreachable(); }
  swap(_a: number, _b: number): void { unreachable(); }
  beginRecord(_index: number, _record: number): void { unreachable(); }
  type(_h: Handle): ValueType { return unreachable(); }
  encoding(_h: Handle): Encoding { return unreachable(); }
  expiryMs(_h: Handle): number { return unreachable(); }
  keyLength(_h: Handle): number { return unreachable(); }
  keySpan(_h: Handle): ByteSpan { return unreachable(); }
  keyText(_h: Handle): string { return unreachable(); }
  stringLength(_h: Handle): number { return unreachable(); }
  stringSpan(_h: Handle): ByteSpan { return unreachable(); }
  isInteger(_h: Handle): boolean { return unreachable(); }
  integer(_h: Handle): number { return unreachable(); }
  integer64(_h: Handle): bigint | undefined { return unreachable(); }
  touch(_h: Handle): void { unreachable(); }
  idleMs(_h: Handle): number { return unreachable(); }
  lfuFrequency(_h: Handle): number { return unreachable(); }
  memoryUsage(_h: Handle): number { return unreachable(); }
  rehashStep(_budgetEntries: number): boolean { return unreachable(); }
  defragStep(_budgetBytes: number): boolean { return unreachable(); }
  flushAll(): void { unreachable(); }
  digest(): Digest { return unreachable(); }
  digestSlow(): Digest { return unreachable(); }
  version(_db: number, _bytes: Uint8Array, _start: number, _end: number, _nowMs: number): number { return unreachable(); }
}
