/**
 * pg_receivewal: its arguments, and what it means by what it says on stderr. Where to connect
 * stands in its environment (program_environment.ts), never in the arguments.
 */

import { type ErrorCode, HoldfastError } from '../core/errors.ts';
import { formatLsn, type Lsn } from '../core/lsn.ts';
import { quoteIdentifier } from '../core/quote.ts';

/** What is received, and where it goes. */
export interface ReceiveOptions {
  /** It writes its files here, and looks here where it has to go on. */
  readonly folder: string;
  readonly slot: string;
  /** It ends when it has everything before this position; `null`: never by itself. */
  readonly end: Lsn | null;
}

/**
 * It brings to the disk what arrives and tells the server at once, so that the recovery point is
 * that of this moment, and ends when the connection does: whoever started it sees why and starts it
 * again.
 */
export function receiveArguments({ folder, slot, end }: ReceiveOptions): string[] {
  return [
    `--directory=${folder}`,
    `--slot=${slot}`,
    '--synchronous',
    '--no-loop',
    '--no-password',
    // It stops behind a position, never at it.
    ...(end === null ? [] : [`--endpos=${formatLsn(end > 0n ? end - 1n : end)}`]),
  ];
}

/** How pg_receivewal ended. */
export interface ReceiveEnd {
  /** The end of what it printed on stderr. */
  readonly stderr: string;
  readonly status: number | null;
  readonly signal: string | null;
  readonly role: string;
  readonly slot: string;
}

/** Whether it asks for WAL that the server does not have any more: there is a gap. */
export function isWalRemoved({ stderr }: Pick<ReceiveEnd, 'stderr'>): boolean {
  return /requested WAL segment \S+ has already been removed/.test(stderr);
}

type Rule = readonly [pattern: RegExp, code: ErrorCode, hint: (end: ReceiveEnd) => string];

const takeOver = 'scripts/wal_stream.ts --take-over';

/** The first that matches tells what happened. */
const rules: readonly Rule[] = [
  [
    /must be superuser or replication role|permission denied to start WAL sender/,
    'DATABASE_PRIVILEGE',
    ({ role }) => `Run as a superuser: ALTER ROLE ${quoteIdentifier(role)} REPLICATION.`,
  ],
  [
    /no pg_hba\.conf entry for replication connection|pg_hba\.conf rejects replication connection/,
    'DATABASE_AUTH',
    ({ role }) =>
      'It connects to the word "replication" as its database: add a line such as ' +
      `"host replication ${quoteIdentifier(role)} ADDRESS scram-sha-256" to pg_hba.conf, ` +
      'and reload.',
  ],
  [
    /replication slot "[^"]*" does not exist/,
    'ARCHIVING_FAILED',
    () => `Somebody has dropped it, or this is another server: ${takeOver} makes it again.`,
  ],
  [
    /replication slot "[^"]*" is active for PID/,
    'LOCKED',
    ({ slot }) =>
      `Another pg_receivewal uses ${slot}: end it, or name another slot for one of them (--slot).`,
  ],
  [
    /cannot use a logical replication slot|can(?:not| no longer) (?:read from|get changes from)/,
    'ARCHIVING_FAILED',
    () => `The slot can be used no more: ${takeOver} makes a new one.`,
  ],
  [
    /exceeds max_wal_senders|max_wal_senders/,
    'DATABASE_REFUSED',
    () => 'Raise max_wal_senders on the server (a restart), or end a replication connection.',
  ],
  [
    /ahead of the WAL flush position|is not in this server's history|is not present in the server/,
    'ARCHIVING_FAILED',
    () =>
      'The server is an older state of the cluster, or a clone: give it a CLUSTER of its own, or ' +
      'go on from it with a new base backup after moving the files of the stream away.',
  ],
  [
    /requested WAL segment \S+ has already been removed/,
    'ARCHIVING_FAILED',
    () => 'The stream goes on with what the server has; take a base backup: the WAL has a gap.',
  ],
  [
    /no space left on device|could not write to file|could not (?:create|fsync|open) .*file/i,
    'NO_SPACE',
    () => 'Free space where the repository lies; the stream goes on by itself.',
  ],
  [
    /no password supplied|no pg_hba\.conf entry|authentication failed/,
    'DATABASE_AUTH',
    () => 'Check the role, its password and pg_hba.conf on the server.',
  ],
  [
    /incompatible server version|unrecognized option/,
    'TOOL_TOO_OLD',
    () => "Install the client programs of the server's version.",
  ],
  [
    new RegExp(
      'connection to server .* failed|could not translate host name|the database system is|' +
        'server closed the conn|unexpected termination|could not (?:receive|send|read)|' +
        'terminating |replication (?:terminated|stream was terminated)',
    ),
    'DATABASE_UNREACHABLE',
    () => 'The server ended the session or is gone; the stream goes on when it is back.',
  ],
];

/** Its errors, without its own name and without what only follows from them. */
function importantWords(stderr: string): string {
  return stderr
    .split('\n')
    .map((line) => line.trim().replace(/^(?:\S*\/)?pg_receivewal: (?:error: |detail: )?/, ''))
    .filter((line) => line !== '' && line !== 'disconnected' && !line.startsWith('not renaming'))
    .slice(-4)
    .join('; ')
    .slice(0, 1500);
}

/** The error for a pg_receivewal that ended although nobody asked it to. */
export function describeReceiveFailure(end: ReceiveEnd): HoldfastError {
  const { stderr, status, signal } = end;
  const how = signal === null ? `ended with status ${status}` : `was ended by ${signal}`;
  const said = importantWords(stderr);
  const [, code, hint] = rules.find(([pattern]) => pattern.test(stderr)) ?? [];
  return new HoldfastError(
    code ?? 'ARCHIVING_FAILED',
    `pg_receivewal ${how}${said === '' ? '' : `: ${said}`}`,
    {
      hint: hint?.(end) ?? 'The stream goes on by itself.',
      details: { program: 'pg_receivewal', status, signal: signal ?? undefined },
    },
  );
}
