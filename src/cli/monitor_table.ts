/** What the monitor has found, as people read it: the headline first, the worst last. */

import { styleText } from 'node:util';
import { type HealthFinding, type HealthLevel, healthChecks } from '../core/health.ts';
import type { MonitorReport, RecoverablePoint } from '../core/monitor_report.ts';
import { printable, printableText } from '../core/printable.ts';
import { formatAge, formatCount } from '../core/units.ts';
import type { OutputStream } from './command.ts';
import { formatTable } from './table.ts';

/** How much is told. */
export type Detail = 'wrong' | 'short' | 'all';

/** How a level is written and coloured: what is wrong is loud. */
const marks: Readonly<
  Record<HealthLevel, readonly [string, 'green' | 'magenta' | 'yellow' | 'red']>
> = {
  ok: ['ok', 'green'],
  unknown: ['unknown', 'magenta'],
  warning: ['warning', 'yellow'],
  critical: ['CRITICAL', 'red'],
};
const markWidth = Math.max(...Object.values(marks).map(([word]) => word.length));
const checkWidth = Math.max(...healthChecks.map((check) => check.length));
/** Below a finding, the word before each of its explanations. */
const wordWidth = 'expected'.length;

function pointName({ cluster, database }: RecoverablePoint): string {
  if (database === null) return `cluster ${printable(cluster ?? '')}`;
  return cluster === null ? printable(database) : `${printable(database)} of ${printable(cluster)}`;
}

/** How far back everything can be recovered: the work of so long would be lost now. */
function describeHeadline(headline: readonly RecoverablePoint[]): string {
  if (headline.length === 0) return 'Nobody can tell what could be recovered.\n';
  const rows = headline.map((point) => [
    pointName(point),
    point.age_seconds === null ? 'not at all' : formatAge(point.age_seconds),
    point.at ?? '',
  ]);
  return formatTable(['recoverable', 'work lost', 'newest point'], rows);
}

function mark(level: HealthLevel, stdout: OutputStream): string {
  const [word, style] = marks[level];
  const padded = word.padEnd(markWidth);
  return stdout.isTTY === true ? styleText(style, padded, { stream: stdout }) : padded;
}

/** `main/shop`, a store, a server: what a finding is about. */
function aboutOf({ subject }: HealthFinding): string {
  return subject === '' ? '' : `${printable(subject)}: `;
}

function line(level: HealthLevel, check: string, text: string, stdout: OutputStream): string {
  return `${mark(level, stdout)}  ${check.padEnd(checkWidth)}  ${text}\n`;
}

/** One finding with everything that it says of itself. */
function explain(finding: HealthFinding, stdout: OutputStream): string {
  const { check, level, message, expected, found, since, mend } = finding;
  const indent = ' '.repeat(markWidth + 2);
  const more: readonly (readonly [string, string | null])[] = [
    ['expected', expected],
    ['found', found],
    ['since', since],
    ['do', mend],
  ];
  const below = more.flatMap(([word, text]) =>
    text === null ? [] : [`${indent}${word.padEnd(wordWidth)}  ${printableText(text)}\n`],
  );
  const first = line(level, check, `${aboutOf(finding)}${printableText(message)}`, stdout);
  return `${first}${below.join('')}`;
}

/** What is fine, one line for each check. */
function describeFine(fine: readonly HealthFinding[], stdout: OutputStream): string {
  const lines = healthChecks.flatMap((check) => {
    const own = fine.filter((finding) => finding.check === check);
    const [only] = own;
    if (only === undefined) return [];
    const text =
      own.length === 1
        ? `${aboutOf(only)}${printableText(only.message)}`
        : `all ${own.length} are fine`;
    return [line('ok', check, text, stdout)];
  });
  return lines.join('');
}

function summary(report: MonitorReport): string {
  const count = (level: HealthLevel) =>
    report.findings.filter((finding) => finding.level === level).length;
  const [critical, warning, unknown] = [count('critical'), count('warning'), count('unknown')];
  const looked = formatCount(report.findings.length, 'finding');
  if (critical + warning + unknown === 0) return `All is well: ${looked}.\n`;
  const warnings = formatCount(warning, 'warning');
  return `${looked}: ${critical} critical, ${warnings}, ${unknown} unknown.\n`;
}

/**
 * A report for people.
 *
 * @param detail `wrong`: what is not fine alone; `short`: what is fine in one line for each check;
 *   `all`: everything at length
 */
export function describeReport(
  report: MonitorReport,
  detail: Detail,
  stdout: OutputStream,
): string {
  const wrong = report.findings.filter(({ level }) => level !== 'ok');
  const fine = report.findings.filter(({ level }) => level === 'ok');
  if (detail === 'wrong' && wrong.length === 0) return '';
  const head = `${describeHeadline(report.headline)}\n`;
  const told = {
    wrong: '',
    short: describeFine(fine, stdout),
    all: fine.map((finding) => explain(finding, stdout)).join(''),
  }[detail];
  const body = `${told}${wrong.map((finding) => explain(finding, stdout)).join('')}`;
  const first = detail === 'all' ? `${printable(report.host)} at ${report.checked_at}\n\n` : '';
  return `${first}${head}${body}${body === '' ? '' : '\n'}${summary(report)}`;
}
