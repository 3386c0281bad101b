/** As much of Markdown as the tests of the documentation need. */

/** A heading's text and what stands below it, up to the next heading of its level or above. */
export interface Section {
  readonly title: string;
  readonly body: string;
}

/** The text without its fenced code blocks. */
export function withoutCode(text: string): string {
  return text.replaceAll(/^(```|~~~)[\s\S]*?^\1[ \t]*$/gm, '');
}

/** The fenced code blocks, joined. */
export function codeBlocks(text: string): string {
  return [...text.matchAll(/^```\w*\n([\s\S]*?)^```[ \t]*$/gm)].map((match) => match[1]).join('\n');
}

/** The sections of one level: `sections(text, 2)` are those under `## …`. */
export function sections(text: string, level: number): Section[] {
  const found: { title: string; lines: string[] }[] = [];
  let open = false;
  for (const line of withoutCode(text).split('\n')) {
    const heading = /^(#+) (.*)$/.exec(line);
    const depth = heading?.[1]?.length ?? Number.POSITIVE_INFINITY;
    if (depth === level) found.push({ title: heading?.[2] ?? '', lines: [] });
    if (depth <= level) open = depth === level;
    else if (open) found.at(-1)?.lines.push(line);
  }
  return found.map(({ title, lines }) => ({ title, body: lines.join('\n') }));
}

/** The rows of all tables, without their headings: the texts of the cells. */
export function tableRows(text: string): string[][] {
  const lines = text.split('\n');
  return lines
    .filter((line, index) => line.startsWith('|') && !isHeading(line, lines[index + 1] ?? ''))
    .map((line) => line.replace(/^\|/, '').replace(/\|\s*$/, ''))
    .map((line) => line.split(/(?<!\\)\|/).map((cell) => cell.trim()));
}

function isHeading(line: string, next: string): boolean {
  return /^\|[\s:|-]+\|$/.test(line) || /^\|[\s:|-]+\|$/.test(next);
}

/** The texts between backticks. */
export function codeSpans(text: string): string[] {
  return [...text.matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? '');
}

/** The targets of the links, as they are written. */
export function linkTargets(text: string): string[] {
  return [...withoutCode(text).matchAll(/\]\(([^()\s]+)\)/g)].map((match) => match[1] ?? '');
}

/** The anchors that the headings of a page make, as GitHub does. */
export function anchors(text: string): Set<string> {
  const headings = withoutCode(text).matchAll(/^#+ (.*)$/gm);
  return new Set(
    [...headings].map((match) =>
      (match[1] ?? '')
        .toLowerCase()
        .replaceAll(/[^\p{Letter}\p{Number}\s_-]/gu, '')
        .replaceAll(/\s/g, '-'),
    ),
  );
}
