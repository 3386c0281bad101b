/** Turns what pg_dump, pg_dumpall and pg_restore say on stderr into our errors. Pure. */

import { type ErrorCode, HoldfastError } from '../core/errors.ts';
import { quoteIdentifier } from '../core/quote.ts';
import { lockTableHint, readGrantHint, refusedObject } from './server_error.ts';

/** How a program of PostgreSQL ended. */
export interface ProgramFailure {
  readonly program: 'pg_dump' | 'pg_dumpall' | 'pg_restore' | 'psql';
  /** The end of what it printed on stderr. */
  readonly stderr: string;
  readonly status: number | null;
  /** The signal that ended it, or `null`. */
  readonly signal?: string | null;
  readonly database: string;
  readonly role?: string | undefined;
}

interface Described {
  readonly code: ErrorCode;
  readonly hint: string | undefined;
}

/** One identifier as SQL prints it. */
const identifier = '(?:"(?:[^"]|"")+"|[\\w$\\u0080-\\uffff]+)';

/**
 * The full name of the refused object, as the query in the next line prints it: the server's
 * message leaves the schema out. `null` when two schemas have that name.
 */
function sqlNameOf(name: string, stderr: string): string | null {
  const query = /Query was: ([\s\S]*)$/.exec(stderr)?.[1] ?? '';
  const names = new Set(query.match(new RegExp(`${identifier}\\.${identifier}`, 'g')));
  const found = [...names].filter((sqlName) => {
    const last = new RegExp(`\\.(${identifier})$`).exec(sqlName)?.[1] ?? '';
    return last === name || last === quoteIdentifier(name);
  });
  return found.length === 1 ? (found[0] ?? null) : null;
}

function describePrivilege(failure: ProgramFailure): Described | null {
  const { stderr, role } = failure;
  const refused = refusedObject(stderr);
  if (refused === null) return null;
  const { kind, name } = refused;
  const plain = kind === 'large object' ? name : quoteIdentifier(name);
  const sqlName = sqlNameOf(name, stderr) ?? plain;
  return { code: 'DATABASE_PRIVILEGE', hint: readGrantHint(kind, sqlName, role) };
}

function describeRowSecurity(failure: ProgramFailure): Described {
  const role = failure.role === undefined ? '<role>' : quoteIdentifier(failure.role);
  const hint =
    `The dump would miss rows: ALTER ROLE ${role} BYPASSRLS; as a superuser, or dump as the ` +
    'owner of the table.';
  return { code: 'DATABASE_PRIVILEGE', hint };
}

/** Objects are given back to their owners: only their members may do that. */
function describeOwnership({ stderr, role }: ProgramFailure): Described {
  const owner = /(?:member of role|SET ROLE) "(.*)"/.exec(stderr)?.[1] ?? '';
  const member = role === undefined ? '<role>' : quoteIdentifier(role);
  const grant = `GRANT ${quoteIdentifier(owner)} TO ${member};`;
  const hint = `Restore as a superuser (--username, PGUSER), or as a superuser: ${grant}`;
  return { code: 'DATABASE_PRIVILEGE', hint };
}

type Rule = readonly [pattern: RegExp, describe: (failure: ProgramFailure) => Described | null];

function fixed(code: ErrorCode, hint: string): Rule[1] {
  return () => ({ code, hint });
}

/** The first that matches tells what happened. */
const rules: readonly Rule[] = [
  [/query would be affected by row-level security/, describeRowSecurity],
  [/permission denied for /, describePrivilege],
  [
    /server version mismatch/,
    fixed(
      'TOOL_TOO_OLD',
      "Install the client programs of the server's version, or set pg_bin_dir.",
    ),
  ],
  [
    /unsupported version \(.*\) in file header/,
    fixed('TOOL_TOO_OLD', 'Install a pg_restore as new as the pg_dump that made the archive.'),
  ],
  [/out of shared memory/, fixed('DATABASE_REFUSED', lockTableHint)],
  [
    /could not extend file|could not write to (file|temporary file)|No space left on device/i,
    fixed('NO_SPACE', "Free space on the server's disk, and on the one that is written to."),
  ],
  [
    /no password supplied|no pg_hba\.conf entry|authentication failed/,
    fixed('DATABASE_AUTH', 'Check the role, its password and pg_hba.conf on the server.'),
  ],
  [
    /FATAL: {2}database ".*" does not exist/,
    fixed('DATABASE_NOT_FOUND', 'Name a database that the server has.'),
  ],
  [
    /lock timeout|could not obtain lock/,
    fixed(
      'DATABASE_REFUSED',
      'Another session holds a lock on that table: try again when it is done.',
    ),
  ],
  [
    /invalid snapshot identifier|snapshot "[^"]*" does not exist/,
    fixed('DATABASE_UNREACHABLE', 'The session that held the snapshot was ended: try again.'),
  ],
  [
    /canceling statement due to conflict with recovery/,
    fixed(
      'DATABASE_REFUSED',
      'Back up from the primary, or set max_standby_streaming_delay = -1 on the standby.',
    ),
  ],
  [
    /terminating connection|server closed the conn|server was lost|could not (receive|send) data/,
    fixed(
      'DATABASE_UNREACHABLE',
      'The server ended the session: look into its log, and try again.',
    ),
  ],
  [
    /could not translate host name|connection to server .* failed|the database system is/,
    fixed(
      'DATABASE_UNREACHABLE',
      'Check that the server runs there and that PGHOST and PGPORT are right.',
    ),
  ],
  [/must be (?:member of role|able to SET ROLE) "/, describeOwnership],
  [
    /must be (superuser|owner)|permission denied to /,
    fixed('DATABASE_PRIVILEGE', 'Connect as a role that may do this, such as a superuser.'),
  ],
];

const killedHint = 'Something killed it: look for the out-of-memory killer in the system log.';

function isRestore(program: ProgramFailure['program']): boolean {
  return program === 'pg_restore' || program === 'psql';
}

/** How the program ended, in words; a shell tells a signal as 128 and its number. */
function describeEnd(failure: ProgramFailure): { words: string; killed: boolean } {
  const { status, signal } = failure;
  if (signal != null) return { words: `was ended by ${signal}`, killed: signal === 'SIGKILL' };
  return { words: `ended with status ${status}`, killed: status === 137 };
}

/** What counts in stderr: the errors with their details, without progress and warnings. */
function importantWords(stderr: string): string {
  const lines = stderr.split('\n').map((line) => line.trim());
  const telling = lines.filter(
    (line) => line !== '' && !/: warning: |: (reading|dumping) /.test(line),
  );
  const first = telling.findIndex((line) => /: error: |FATAL|ERROR/.test(line));
  return telling
    .slice(Math.max(first, 0), Math.max(first, 0) + 4)
    .map((line) => line.replace(/^(?:\S*\/)?pg_\w+: (error: |detail: )?/, ''))
    .join('; ')
    .slice(0, 1500);
}

/**
 * The error for a program that did not end with 0: the server's own words, and what mends it.
 * Without a rule that fits: DUMP_FAILED, or RESTORE_FAILED.
 */
export function describeDumpFailure(failure: ProgramFailure): HoldfastError {
  const { program, stderr, database } = failure;
  const { words, killed } = describeEnd(failure);
  const said = importantWords(stderr);
  const message = `${program} of database ${JSON.stringify(database)} ${words}`;
  const rule = rules.find(([pattern]) => pattern.test(stderr));
  const described = rule?.[1](failure) ?? {
    code: isRestore(program) ? ('RESTORE_FAILED' as const) : ('DUMP_FAILED' as const),
    hint: killed ? killedHint : undefined,
  };
  return new HoldfastError(described.code, said === '' ? message : `${message}: ${said}`, {
    hint: described.hint,
    details: { program, status: failure.status, signal: failure.signal ?? undefined },
  });
}
