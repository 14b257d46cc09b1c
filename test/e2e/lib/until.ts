// Waiting for conditions. Nothing in this suite sleeps for a length of time and hopes.

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const nowMs = (): number => performance.now();

/** Polls until `condition` gives something other than undefined or false; a throw counts as "not yet" and is told at the end. */
export async function until<T>(
  what: string,
  condition: () => T | undefined | false | Promise<T | undefined | false>,
  { timeoutMs = 30_000, everyMs = 10 }: { timeoutMs?: number; everyMs?: number } = {},
): Promise<T> {
  const deadline = nowMs() + timeoutMs;
  let trouble: unknown;
  for (;;) {
    try {
      const result = await condition();
      if (result !== undefined && result !== false) return result;
      trouble = undefined;
    } catch (thrown) {
      trouble = thrown;
    }
    if (nowMs() > deadline) {
      const why = trouble === undefined ? '' : ` (last: ${trouble instanceof Error ? trouble.message : JSON.stringify(trouble)})`;
      throw new Error(`not within ${timeoutMs} ms: ${what}${why}`);
    }
    await pause(everyMs);
  }
}

/** Fails after `timeoutMs` instead of hanging. */
export async function within<T>(what: string, timeoutMs: number, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${timeoutMs} ms: ${what}`)), timeoutMs);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

export interface Spread {
  readonly min: number;
  readonly median: number;
  readonly max: number;
}

export function spread(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  return { min: sorted[0] ?? NaN, median: sorted[Math.floor(sorted.length / 2)] ?? NaN, max: sorted.at(-1) ?? NaN };
}

export const spreadText = (values: readonly number[]): string => {
  const { min, median, max } = spread(values);
  return `min ${Math.round(min)} ms, median ${Math.round(median)} ms, max ${Math.round(max)} ms (n=${values.length})`;
};
