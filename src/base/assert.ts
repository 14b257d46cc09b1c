// Assertions stay on in production. A failed assertion is a broken invariant: the process (or, in simulation,
// the run) ends with the message. Never use one for bad input.

export class AssertionError extends Error {
  override readonly name = 'AssertionError';
}

/** Throws AssertionError unless `condition`. Give a function as message on hot paths, so that it is built only on failure. */
export function assert(condition: unknown, message?: string | (() => string)): asserts condition {
  if (!condition) {
    throw new AssertionError(typeof message === 'function' ? message() : (message ?? 'assertion failed'));
  }
}

/** For the default branch of an exhaustive switch, and for places no input can reach. */
export function unreachable(value?: never, message = 'unreachable'): never {
  throw new AssertionError(value === undefined ? message : `${message}: ${String(value)}`);
}

export function must<T>(value: T | undefined | null, message: string | (() => string) = 'value is missing'): T {
  if (value === undefined || value === null) {
    throw new AssertionError(typeof message === 'function' ? message() : message);
  }
  return value;
}
