/** psql as what restores SQL: its arguments, its restricted mode, and what its errors mean. */

import { HoldfastError } from '../core/errors.ts';
import { shownIdentifier } from '../core/quote.ts';
import { runCommand } from '../process/run.ts';
import { describeDumpFailure } from './dump_failure.ts';
import { conninfoDatabase } from './program_environment.ts';
import type { Tool } from './tools.ts';

/**
 * psql that takes SQL from its standard input and ends at the first error. Where to connect stands
 * in its environment (program_environment.ts). `--file=-` makes it tell the lines of errors.
 */
export function psqlArguments(database: string): string[] {
  return [
    '--no-psqlrc',
    '--no-password',
    '--quiet',
    '--set=ON_ERROR_STOP=1',
    // What SELECT answers, such as that of setval: nobody reads it.
    '--output=/dev/null',
    `--dbname=${conninfoDatabase(database)}`,
    '--file=-',
  ];
}

/**
 * Whether this psql has a restricted mode, in which a text can give it no command (`\restrict`,
 * PostgreSQL 13.22, 14.19, 15.14, 16.10, 17.6 and 18): it says so itself, whoever built it.
 *
 * @throws HoldfastError CHILD_FAILED when it does not answer
 */
export async function hasRestrictedMode(
  psql: Tool,
  environment: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<boolean> {
  const args = ['--no-psqlrc', '--help=commands'];
  const { stdout, stderr, status } = await runCommand(psql.path, args, { environment, signal });
  // No answer is no "no": the restricted mode is what holds against a text made to deceive.
  if (status !== 0) {
    const words = stderr.trim() === '' ? '' : `: ${stderr.trim()}`;
    throw new HoldfastError('CHILD_FAILED', `${psql.path} does not tell its commands${words}`);
  }
  return /^\s*\\restrict /m.test(stdout);
}

/** How psql ended. */
export interface PsqlFailure {
  /** The end of what it printed on stderr. */
  readonly stderr: string;
  readonly status: number | null;
  readonly signal: string | null;
  readonly database: string;
  readonly role: string;
  /** Lines that were sent before the first of the text. */
  readonly linesBefore: number;
}

/** `psql:<stdin>:12: ERROR:  …` with the line of the text. */
function withLines(stderr: string, linesBefore: number): string {
  return stderr
    .split('\n')
    .map((line) =>
      line.replace(/^psql:<stdin>:(\d+): (?=\S)/, (_, number) => {
        return `line ${Math.max(Number(number) - linesBefore, 1)}: `;
      }),
    )
    .join('\n');
}

/**
 * The error for a psql that did not end with 0: the line, the server's own words, what mends it.
 * Without a rule that fits: RESTORE_FAILED.
 */
export function describePsqlFailure(failure: PsqlFailure): HoldfastError {
  const { linesBefore, ...rest } = failure;
  const stderr = withLines(failure.stderr, linesBefore);
  const error = describeDumpFailure({ ...rest, program: 'psql', stderr });
  const role = /role "(.+)" does not exist$/m.exec(stderr)?.[1];
  if (role === undefined) return error;
  return new HoldfastError(error.code, error.message, {
    hint: `Type CREATE ROLE ${shownIdentifier(role)}; in psql and restore again.`,
    details: error.details,
  });
}
