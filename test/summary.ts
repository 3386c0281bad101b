/**
 * What test/run.sh tells of the reports that vitest (JSON) and bats (TAP) have left:
 *
 *     node test/summary.ts counts REPORT.json     `2479 9`: passed, and not passed
 *     node test/summary.ts failures FOLDER        every failed test of all the reports in there
 *     node test/summary.ts coverage               the lines covered, and whether they are enough
 */

import { readdirSync, readFileSync } from 'node:fs';
import { basename, join, relative } from 'node:path';
import { stripVTControlCharacters } from 'node:util';

const root = join(import.meta.dirname, '..');
/** Of one report: a machine on which nothing works fails by the thousand. */
const failuresMax = 40;
const columnsMax = 300;

/** The part of vitest's JSON report that counts here. */
export interface VitestReport {
  readonly numPassedTests: number;
  readonly numTotalTests: number;
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    /** Of an error outside of the tests: the file does not load, or a hook failed. */
    readonly message?: string;
    readonly assertionResults: readonly {
      readonly ancestorTitles: readonly string[];
      readonly title: string;
      readonly status: string;
      readonly failureMessages?: readonly string[] | null;
    }[];
  }[];
}

/** A failed test, and the first line of what it says. */
export interface Failure {
  readonly test: string;
  readonly message: string;
}

/** The first line that says something, without colours, and not without end. */
function firstLine(text: string): string {
  const lines = stripVTControlCharacters(text).split('\n');
  return (lines.find((line) => line.trim() !== '') ?? '').trim().slice(0, columnsMax);
}

/** How many passed, and how many did not: a skipped test has not passed. */
export function countsOf({ numPassedTests, numTotalTests }: VitestReport): [number, number] {
  return [numPassedTests, numTotalTests - numPassedTests];
}

/** The tests of a report that did not pass, and the files that failed outside of their tests. */
export function vitestFailures(report: VitestReport): Failure[] {
  return report.testResults.flatMap(({ name, status, message, assertionResults }) => {
    const file = relative(root, name);
    const bad = assertionResults.filter((test) => test.status !== 'passed');
    const failures = bad.map((test) => ({
      test: [file, ...test.ancestorTitles, test.title].join(' > '),
      message: firstLine(test.failureMessages?.[0] ?? test.status),
    }));
    const isOutside = status === 'failed' && !bad.some((test) => test.status === 'failed');
    const outside = { test: `${file}, outside of its tests`, message: firstLine(message ?? '') };
    return isOutside ? [outside, ...failures] : failures;
  });
}

/** The tests of a report of bats that did not pass, with the place and the command that failed. */
export function tapFailures(text: string): Failure[] {
  const lines = stripVTControlCharacters(text).split('\n');
  return lines.flatMap((line, at) => {
    const skipped = /^ok \d+ .* # skip/.test(line);
    const test = /^(?:not )?ok \d+ (.*)$/.exec(line)?.[1];
    if (test === undefined || !(skipped || line.startsWith('not '))) return [];
    const said = lines.slice(at + 1, at + 4).filter((next) => next.startsWith('# '));
    return [{ test, message: firstLine(said.map((next) => next.slice(2).trim()).join(' ')) }];
  });
}

/** The lines of the summary for the failures of one report. */
export function failureLines(report: string, failures: readonly Failure[]): string[] {
  const told = failures
    .slice(0, failuresMax)
    .flatMap(({ test, message }) => [`  ${report}: ${test}`, `      ${message}`]);
  const more = failures.length - failuresMax;
  return more > 0 ? [...told, `  ${report}: and ${more} more`] : told;
}

/** @param percent of the lines that the tests went through; `null`: nobody knows */
export function coverageLine(percent: number | null, demanded: number): string {
  if (percent === null) return 'unknown: there is no report';
  if (percent >= demanded) return `${percent} %, at least ${demanded} % are demanded`;
  return `${percent} %: TOO LITTLE, at least ${demanded} % are demanded, which fails the run`;
}

function readReport(path: string): Failure[] {
  try {
    const text = readFileSync(path, 'utf8');
    return path.endsWith('.tap') ? tapFailures(text) : vitestFailures(JSON.parse(text));
  } catch (error) {
    return [{ test: 'the report cannot be read', message: firstLine(String(error)) }];
  }
}

function allFailures(folder: string): string[] {
  const names = readdirSync(folder).filter((name) => /\.(?:json|tap)$/.test(name));
  return names.sort().flatMap((name) => {
    const report = basename(name).replace(/\.[^.]*$/, '');
    return failureLines(report, readReport(join(folder, name)));
  });
}

async function coverage(): Promise<string> {
  const { default: config } = await import('../vitest.config.ts');
  const { thresholds } = config.test?.coverage ?? {};
  const demanded = Number(thresholds && 'lines' in thresholds ? thresholds.lines : 0);
  let percent: number | null = null;
  try {
    const path = join(root, 'coverage/coverage-summary.json');
    percent = JSON.parse(readFileSync(path, 'utf8')).total.lines.pct;
  } catch {
    // Coverage is reported last: a run that was ended before has none.
  }
  return coverageLine(percent, demanded);
}

if (import.meta.main) {
  const [what, path = ''] = process.argv.slice(2);
  if (what === 'counts') {
    process.stdout.write(`${countsOf(JSON.parse(readFileSync(path, 'utf8'))).join(' ')}\n`);
  } else if (what === 'failures') {
    for (const line of allFailures(path)) process.stdout.write(`${line}\n`);
  } else {
    process.stdout.write(`${await coverage()}\n`);
  }
}
