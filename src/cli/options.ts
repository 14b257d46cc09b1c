// Options of the command line that are no directives.
import { OperationalError } from '../base/errors.ts';

/** Takes `--name value` out of the words; the directives stay. */
export function takeOption(args: string[], name: string): string | undefined {
  const at = args.indexOf(`--${name}`);
  if (at < 0) return undefined;
  const value = args[at + 1];
  if (value === undefined || value.startsWith('--')) {
    throw new OperationalError('CONFIG', `command line: --${name} needs a value`);
  }
  args.splice(at, 2);
  return value;
}

/** Takes `--name`, which has no value, out of the words; says whether it was there. */
export function takeFlag(args: string[], name: string): boolean {
  const at = args.indexOf(`--${name}`);
  if (at < 0) return false;
  args.splice(at, 1);
  return true;
}
