// Types of points.mjs, for the tests.
export interface Run {
  readonly at: string;
  readonly bench: string;
  readonly commit: string;
  readonly date: string;
  readonly [field: string]: unknown;
}

export interface Point {
  /** Place of the commit among all, by date. */
  readonly x: number;
  readonly label: string;
  readonly y: number;
}

export interface Panel {
  readonly title: string;
  /** The peer that the ratios are to. */
  readonly of: string;
  readonly floor: number | undefined;
  readonly series: ReadonlyArray<{ readonly peer: string; readonly points: readonly Point[] }>;
}

export interface Plot {
  readonly commits: readonly string[];
  readonly panels: readonly Panel[];
}

export const SERIES: readonly string[];
export function parseResults(text: string): Run[];
export function newest(runs: readonly Run[], bench: string): Run | undefined;
export function plotOf(runs: readonly Run[]): Plot;
