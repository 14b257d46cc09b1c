// Copies of bytes. Buffer.prototype.slice is a view where Uint8Array's is a copy, and a Buffer passes for a Uint8Array
// everywhere: so a copy that must outlive its source is made here, never by `.slice` on bytes of unknown make.

/** A buffer that holds nothing else, for bytes that are all written next: its contents are arbitrary. */
export function arbitraryBytes(length: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.allocUnsafeSlow(length).buffer);
}

/** bytes[start, end) in a buffer that holds nothing else. */
export function copyBytes(bytes: Uint8Array, start = 0, end = bytes.length): Uint8Array<ArrayBuffer> {
  const copy = arbitraryBytes(end - start);
  copy.set(start === 0 && end === bytes.length ? bytes : bytes.subarray(start, end));
  return copy;
}
