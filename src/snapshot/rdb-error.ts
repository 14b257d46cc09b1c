// What is wrong with a file that was to be loaded. Nothing of it counts then: the keyspace that was being filled is thrown away.
import { OperationalError } from '../base/errors.ts';

export class RdbError extends OperationalError {
  constructor(
    what: string,
    /** Byte of the file at which it shows. */
    readonly offset: number,
  ) {
    super('SNAPSHOT', `${what}, at byte ${offset}`);
  }
}
