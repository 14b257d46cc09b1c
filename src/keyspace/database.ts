import type { Handle } from './types.ts';
import { unreachable } from '../base/assert.ts';

export type { ByteSpan, Handle } from './types.ts';

export class Database {
  get number(): number { return unreachable(); }
  get size(): number { return unreachable(); }
  get volatileSize(): number { return unreachable(); }
  find(_bytes: Uint8Array, _start: number, _end: number): Handle { return unreachable(); }
  isExpired(_h: Handle, _nowMs: number): boolean { return unreachable(); }
  setString(_key: Uint8Array, _kStart: number, _kEnd: number, _value: Uint8Array, _vStart: number, _vEnd: number, _expiryMs: number): Handle { return unreachable(); }
  setStringRaw(_key: Uint8Array, _kStart: number, _kEnd: number, _value: Uint8Array, _vStart: number, _vEnd: number, _expiryMs: number): Handle { return unreachable(); }
  setInteger(_key: Uint8Array, _kStart: number, _kEnd: number, _value: number | bigint, _expiryMs: number): Handle { return unreachable(); }
  replaceInteger(_h: Handle, _value: number | bigint): Handle { return unreachable(); }
  append(_h: Handle, _value: Uint8Array, _vStart: number, _vEnd: number): Handle { return unreachable(); }
  setRange(_h: Handle, _offset: number, _value: Uint8Array, _vStart: number, _vEnd: number): Handle { return unreachable(); }
  setExpiry(_h: Handle, _expiryMs: number): Handle { return unreachable(); }
  remove(_h: Handle): void { unreachable(); }
  rename(_h: Handle, _newKey: Uint8Array, _start: number, _end: number): Handle { return unreachable(); }
  copyTo(_h: Handle, _target: Database, _newKey: Uint8Array, _start: number, _end: number): Handle { return unreachable(); }
  moveTo(_h: Handle, _target: Database): Handle { return unreachable(); }
  clear(): void { unreachable(); }
  at(_position: number): Handle { return unreachable(); }
  volatileAt(_position: number): Handle { return unreachable(); }
}
