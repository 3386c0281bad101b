/**
 * What is ours in a crontab: the lines between two marks, each with the name of the repository that
 * they are for. All other bytes stay as they are, and taking ours out gives what was there before.
 */

import { HoldfastError } from './errors.ts';
import { jobNames } from './schedule.ts';

/** What a crontab is by its bytes: a character for each (latin1), so that none is changed. */
export type CrontabText = string;

const markPattern = /^# (BEGIN|END) holdfast (.*?)\r?$/s;

/** Notes between the marks, for who takes them out again. */
const notes = {
  noNewline: '# The line before this block had no line break at its end.',
  noCrontab: '# There was no crontab before.',
} as const;
type Note = keyof typeof notes;

/** The text in which a crontab is edited. */
export function crontabText(text: string): CrontabText {
  return Buffer.from(text, 'utf8').toString('latin1');
}

/** What people see of it. */
function crontabWords(text: CrontabText): string {
  return Buffer.from(text, 'latin1').toString('utf8');
}

/** The name of a repository's block: its path, on one line. */
function blockName(repository: string): string {
  return /\p{Cc}/u.test(repository) ? JSON.stringify(repository) : repository;
}

/** The first and the last line of a block, without line breaks. */
export function blockMarks(repository: string): readonly [string, string] {
  const name = blockName(repository);
  return [`# BEGIN holdfast ${name}`, `# END holdfast ${name}`];
}

interface Parts {
  readonly before: CrontabText;
  /** With both marks and the line break behind the last. */
  readonly block: CrontabText;
  readonly after: CrontabText;
}

function damaged(fact: string): HoldfastError {
  return new HoldfastError('CONFIG_UNREADABLE', `the crontab is damaged: ${fact}`, {
    hint: 'Take what is left of "# BEGIN holdfast" … "# END holdfast" out, and install again.',
  });
}

/** Every block by its name, from its first character to the one behind its last line break. */
function findBlocks(text: CrontabText): Map<CrontabText, readonly [number, number]> {
  const blocks = new Map<CrontabText, readonly [number, number]>();
  let open: { readonly name: CrontabText; readonly start: number } | null = null;
  let start = 0;
  while (start < text.length) {
    const end = text.indexOf('\n', start);
    const next = end === -1 ? text.length : end + 1;
    const [, mark, name = ''] = markPattern.exec(text.slice(start, end === -1 ? next : end)) ?? [];
    const shown = crontabWords(name);
    if (mark === 'BEGIN') {
      if (open !== null) throw damaged(`the block of ${crontabWords(open.name)} has no end`);
      if (blocks.has(name)) throw damaged(`the block of ${shown} is there twice`);
      open = { name, start };
    } else if (mark === 'END') {
      if (open?.name !== name) throw damaged(`a block of ${shown} ends that has not begun`);
      blocks.set(name, [open.start, next]);
      open = null;
    }
    start = next;
  }
  if (open !== null) throw damaged(`the block of ${crontabWords(open.name)} has no end`);
  return blocks;
}

function split(text: CrontabText, repository: string): Parts | null {
  const place = findBlocks(text).get(crontabText(blockName(repository)));
  if (place === undefined) return null;
  const [start, end] = place;
  return { before: text.slice(0, start), block: text.slice(start, end), after: text.slice(end) };
}

function notesIn(block: CrontabText): Note[] {
  const lines = block.split(/\r?\n/);
  return (Object.keys(notes) as Note[]).filter((note) => lines.includes(notes[note]));
}

function withNotes(block: CrontabText, found: readonly Note[]): CrontabText {
  const end = block.indexOf('\n') + 1;
  const lines = found.map((note) => `${notes[note]}\n`).join('');
  return block.slice(0, end) + lines + block.slice(end);
}

/**
 * The block of a repository as it was put in, without notes; `null` where there is none.
 *
 * @throws HoldfastError CONFIG_UNREADABLE where marks are missing or doubled
 */
export function readBlock(text: CrontabText, repository: string): CrontabText | null {
  const block = split(text, repository)?.block;
  if (block === undefined) return null;
  return Object.values(notes).reduce((rest, note) => rest.replace(`${note}\n`, ''), block);
}

/**
 * A crontab with a block in it: in the place of the one of the same repository, else at the end.
 *
 * @param text `null`: there is no crontab
 * @param block both marks and what is between them, with a line break at its end
 * @throws HoldfastError CONFIG_UNREADABLE where marks are missing or doubled
 */
export function putBlock(text: CrontabText | null, repository: string, block: string): CrontabText {
  const added = crontabText(block);
  if (text === null) return withNotes(added, ['noCrontab']);
  const parts = split(text, repository);
  if (parts !== null) return parts.before + withNotes(added, notesIn(parts.block)) + parts.after;
  if (text === '' || text.endsWith('\n')) return text + added;
  return `${text}\n${withNotes(added, ['noNewline'])}`;
}

/**
 * A crontab without the block of a repository: what it was before {@link putBlock}, to the byte.
 *
 * @returns `null`: there is to be no crontab
 * @throws HoldfastError CONFIG_UNREADABLE where marks are missing or doubled
 */
export function removeBlock(text: CrontabText, repository: string): CrontabText | null {
  const parts = split(text, repository);
  if (parts === null) return text;
  const { before, block, after } = parts;
  const found = notesIn(block);
  if (after !== '') return before + after;
  if (found.includes('noCrontab') && before === '') return null;
  return found.includes('noNewline') ? before.replace(/\n$/, '') : before;
}

/** A job as it stands in a block. */
export interface InstalledJob {
  readonly name: string;
  /** Five fields. */
  readonly when: string;
  /** What cron runs. */
  readonly command: string;
}

const linePattern = /^((?:\S+ ){5})(.* --job ([a-z_-]+)(?: .*)?)$/;

/** The jobs of a block, in their order. */
export function installedJobs(block: CrontabText): InstalledJob[] {
  return block.split(/\r?\n/).flatMap((line) => {
    const [, when, command, name] = linePattern.exec(line) ?? [];
    if (when === undefined || command === undefined || name === undefined) return [];
    if (!jobNames.some((known) => known === name)) return [];
    return [{ name, when: when.trim(), command: crontabWords(command) }];
  });
}
