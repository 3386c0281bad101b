/** How findings of the monitor call things, on one line, with what to type. Pure. */

import type { HealthFinding } from './health.ts';
import { type HealthWords, healthFinding } from './health_finding.ts';
import { printable, printableText } from './printable.ts';
import { shellQuote } from './quote.ts';
import { formatAge } from './units.ts';

const hourMs = 3_600_000;
/** Up to so many hours an age is told in hours. */
const shownHoursMax = 72;
/** So many names are told, and of the others how many there are. */
const namesMax = 3;

/** A finding as far as its check has something to say; the rest follows. */
export type FindingParts = Pick<HealthFinding, 'check' | 'subject'> &
  Partial<Pick<HealthFinding, 'cluster' | 'database'>> &
  HealthWords;

/** One line with nothing in it that a terminal would act on. */
function oneLine(text: string): string {
  return printableText(text.replaceAll('\n', ' ').replaceAll('\t', ' '));
}

/** A finding; whatever it quotes from elsewhere is one line that can be shown. */
export function shownFinding(parts: FindingParts): HealthFinding {
  const { check, subject, cluster = null, database = null, ...words } = parts;
  const { message, expected, found = message, mend } = words;
  return healthFinding(
    { check, subject, cluster, database },
    {
      ...words,
      message: oneLine(message),
      expected: oneLine(expected),
      found: oneLine(found),
      ...(mend === undefined ? {} : { mend: oneLine(mend) }),
    },
  );
}

/** A name as a part of a subject: two different names never make one subject. */
function subjectPart(name: string): string {
  return name.includes('/') ? JSON.stringify(printable(name)) : printable(name);
}

/** `<cluster>/<database>`, whatever is in them. */
export function databaseSubject(cluster: string | null, database: string): string {
  return `${subjectPart(cluster ?? '?')}/${subjectPart(database)}`;
}

/**
 * A name as one types it; `null` where it holds what no line can show, such as a line break: then
 * no command can be told that does not look like another one.
 */
export function typedName(name: string): string | null {
  if (printable(name) !== name || name === '') return null;
  return /^[A-Za-z0-9_][A-Za-z0-9_.-]*$/.test(name) ? name : shellQuote(name);
}

/** `25 h`, `3 days`: how old something is, in words. */
export function ageText(ageMs: number): string {
  const hours = ageMs / hourMs;
  if (hours >= 1.5 && hours < shownHoursMax) return `${Math.floor(hours)} h`;
  return formatAge(ageMs / 1000);
}

/** `25 h`, `0.5 h`: a setting in hours. */
export function hoursText(hours: number): string {
  return `${Math.round(hours * 100) / 100} h`;
}

/** `a, b, c and 2 more`. */
export function someNames(names: readonly string[]): string {
  const shown = names.slice(0, namesMax).join(', ');
  return names.length > namesMax ? `${shown} and ${names.length - namesMax} more` : shown;
}

/** `backup_full.ts` → `backup_full`: what a command is called, however a record has it. */
export function commandName(text: string): string {
  return text.replace(/\.ts$/, '');
}
