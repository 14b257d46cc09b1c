// The reply of a record whose client is on another node, or that has no client: everything is taken, nothing kept.
import type { Slices } from '../base/slices.ts';
import type { Reply } from './reply.ts';

export class NullReply implements Reply {
  protocol: 2 | 3 = 2;
  errors = 0;

  error(_text: string): void {
    this.errors++;
  }

  beginArray(): number {
    return 0;
  }

  ok(): void {}
  simple(_text: string): void {}
  integer(_value: number): void {}
  bigInteger(_value: bigint): void {}
  bulk(_bytes: Uint8Array, _start: number, _end: number): void {}
  bulks(_slices: Slices): void {}
  bulkText(_text: string): void {}
  bulkInteger(_value: number): void {}
  null(): void {}
  nullArray(): void {}
  array(_count: number): void {}
  map(_pairs: number): void {}
  set(_count: number): void {}
  push(_count: number): void {}
  attribute(_pairs: number): void {}
  double(_value: number): void {}
  boolean(_value: boolean): void {}
  verbatim(_text: string, _format: 'txt' | 'mkd'): void {}
  bigNumber(_text: string): void {}
  endArray(_mark: number, _count: number): void {}
}
