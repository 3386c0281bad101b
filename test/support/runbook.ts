/** The runbooks as they stand: the commands under each heading, to be typed by a test. */

import { readText } from './source_tree.ts';

/** The blocks of commands of a page; each section is taken once. */
export interface Runbook {
  /** The lines of each sh block under a heading. */
  take(title: string): string[][];
  /** The headings whose commands nobody has taken. */
  left(): string[];
}

/** Reads a page. @param path within the project */
export function readRunbook(path: string): Runbook {
  const blocks = new Map<string, string[][]>();
  for (const part of readText(path).split(/^## /m)) {
    const [title = ''] = part.split('\n');
    const found = [...part.matchAll(/^```sh\n([\s\S]*?)^```$/gm)];
    blocks.set(
      title,
      found.map((match) => (match[1] ?? '').trim().split('\n')),
    );
  }
  return {
    take(title) {
      const found = blocks.get(title);
      if (found === undefined) throw new Error(`the runbook has no section ${title}`);
      blocks.delete(title);
      return found;
    },
    left: () => [...blocks].filter(([, lines]) => lines.length > 0).map(([title]) => title.trim()),
  };
}
