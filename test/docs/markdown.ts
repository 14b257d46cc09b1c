// What the checks of the documentation need of Markdown: files, code, links, tables. Reads files; changes nothing.
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../..', import.meta.url));

export interface Page {
  /** From the project's root. */
  readonly file: string;
  readonly text: string;
}

function pagesUnder(dir: string): string[] {
  return fs.readdirSync(path.join(root, dir), { withFileTypes: true }).flatMap((entry) => {
    const file = path.join(dir, entry.name);
    return entry.isDirectory() ? pagesUnder(file) : file.endsWith('.md') ? [file] : [];
  });
}

export const read = (file: string): string => fs.readFileSync(path.join(root, file), 'utf8');

export const pages: readonly Page[] = ['README.md', ...pagesUnder('docs')].map((file) => ({ file, text: read(file) }));

export function page(file: string): string {
  const found = pages.find((each) => each.file === file);
  if (found === undefined) throw new Error(`${file} is not among the pages`);
  return found.text;
}

/** Without fenced blocks. */
export const prose = (text: string): string => text.replace(/^```[\s\S]*?^```/gm, '');

/** The contents of fenced blocks of this language ('' for any). */
export function fences(text: string, language: string): string[] {
  return [...text.matchAll(/^```(\w*)\n([\s\S]*?)^```/gm)].filter((match) => language === '' || match[1] === language).map((match) => match[2] ?? '');
}

/** What stands in backticks, outside fenced blocks. */
export const codeSpans = (text: string): string[] => [...prose(text).matchAll(/`([^`\n]+)`/g)].map((match) => match[1] ?? '');

/** Targets of links and images. */
export const links = (text: string): string[] => [...prose(text).matchAll(/\]\(([^)\s]+)\)/g)].map((match) => match[1] ?? '');

/** GitHub's anchors of a page's headings. */
export function anchors(text: string): Set<string> {
  return new Set(
    [...prose(text).matchAll(/^#+ (.+)$/gm)].map((match) =>
      (match[1] ?? '').toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, '').replaceAll(' ', '-'),
    ),
  );
}

/** Cells of the rows (without head) of the table whose head begins with these cells; each cell as written. */
export function table(text: string, ...head: readonly string[]): string[][] {
  const lines = text.split('\n');
  const start = lines.findIndex((line) => line.startsWith(`| ${head.join(' | ')} |`));
  if (start < 0) throw new Error(`no table begins with | ${head.join(' | ')} |`);
  const rows: string[][] = [];
  for (let i = start + 2; lines[i]?.startsWith('|') === true; i++) {
    rows.push((lines[i] ?? '').split(/(?<!\\)\|/).slice(1, -1).map((cell) => cell.trim()));
  }
  if (rows.length === 0) throw new Error(`the table | ${head.join(' | ')} | is empty`);
  return rows;
}

/** `text` without its backticks. */
export const bare = (text: string | undefined): string => (text ?? '').replaceAll('`', '');
