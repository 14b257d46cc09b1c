// Whole numbers in bytes, little-endian: 32 bits, and numbers below 2^53 in 64 bits, low word first.
//
// Hot: indexes typed arrays directly. A DataView would be an allocation at every call.
const TWO_32 = 0x1_0000_0000;

export function readUint32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
}

export function writeUint32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 24;
}

export function readUint53(bytes: Uint8Array, at: number): number {
  return readUint32(bytes, at + 4) * TWO_32 + readUint32(bytes, at);
}

export function writeUint53(bytes: Uint8Array, at: number, value: number): void {
  writeUint32(bytes, at, value >>> 0);
  writeUint32(bytes, at + 4, Math.floor(value / TWO_32));
}
