// An object that is encrypted and came as it is stored, since no key file is named: known by the first bytes of its layout
// (src/adapters/encrypted-store.ts).
import { OperationalError } from '../base/errors.ts';

const MAGIC = 'HOLDENC';

export function assertNotSealed(bytes: Uint8Array, where: string): void {
  if (Buffer.from(bytes.subarray(0, MAGIC.length)).toString('latin1') !== MAGIC) return;
  throw new OperationalError('ENCRYPTION_KEY', `${where} is encrypted, and no key file is named; give it (object-store-key-file, or --key-file)`);
}
