// What the tools of the command line show: one line that is written over where standard error is a terminal, sizes and times in
// words of people.
import { KiB, MiB } from '../base/limits.ts';

const REDRAW_MS = 100;

export class ProgressLine {
  readonly #stream = process.stderr;
  #shownMs = 0;
  #width = 0;

  /** Now and then; elsewhere than on a terminal never. */
  show(text: () => string): void {
    const nowMs = performance.now();
    if (!this.#stream.isTTY || nowMs - this.#shownMs < REDRAW_MS) return;
    this.#shownMs = nowMs;
    const line = text().slice(0, this.#stream.columns - 1);
    this.#stream.write(`\r${line.padEnd(this.#width)}`);
    this.#width = line.length;
  }

  /** The line goes; what is printed next stands in its place. */
  clear(): void {
    if (this.#width > 0) this.#stream.write(`\r${' '.repeat(this.#width)}\r`);
    this.#width = 0;
    this.#shownMs = 0;
  }
}

/** "[#####     ] 50% what 12.3 MB/s". */
export function bar(done: number, total: number, what: string, perSecond?: string): string {
  const part = total > 0 ? Math.min(1, done / total) : 0;
  const filled = Math.round(part * 24);
  return `[${'#'.repeat(filled)}${' '.repeat(24 - filled)}] ${String(Math.floor(part * 100)).padStart(3)}% ${what}${perSecond === undefined ? '' : `, ${perSecond}`}`;
}

export function sizeText(bytes: number): string {
  if (bytes < KiB) return `${bytes} B`;
  if (bytes < MiB) return `${(bytes / KiB).toFixed(1)} KiB`;
  return bytes < KiB * MiB ? `${(bytes / MiB).toFixed(1)} MiB` : `${(bytes / KiB / MiB).toFixed(2)} GiB`;
}

export function rateText(bytes: number, ms: number): string {
  return `${sizeText(Math.round((bytes * 1000) / Math.max(1, ms)))}/s`;
}

export function timeText(ms: number): string {
  return new Date(ms).toISOString();
}

/** Rows in columns, the head first. */
export function tableText(rows: ReadonlyArray<readonly string[]>): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  return rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ').trimEnd()).join('\n');
}
