/**
 * pg_basebackup: its arguments, and what it means by its status and by what it says on stderr.
 * Where to connect stands in its environment (program_environment.ts), never in the arguments.
 */

import { type ErrorCode, HoldfastError } from '../core/errors.ts';
import { quoteIdentifier } from '../core/quote.ts';

/** How a base backup is taken. */
export interface BaseBackupOptions {
  /** Major version of pg_basebackup itself. */
  readonly major: number;
  /** Written into backup_label. */
  readonly label: string;
  /** `fast` costs the server a burst of writes; `spread` may take minutes to begin. */
  readonly checkpoint: 'fast' | 'spread';
  /** The most that is read per second, in kB of 1024 bytes, up to 1048576; `null`: no limit. */
  readonly maxRateKb: number | null;
  /** pg_basebackup compresses by itself; `null`: plain tar. */
  readonly zstd: { readonly level: number; readonly threads: number } | null;
  /** An empty or new folder; `null`: one tar archive to standard output. */
  readonly folder: string | null;
  /** The backup_manifest of the backup that this one shall be incremental to; `null`: none. */
  readonly parentManifest: string | null;
}

/** pg_basebackup compresses on this side from PostgreSQL 15 on. */
export const clientCompressionMajor = 15;
/** Incremental backups exist from PostgreSQL 17 on. */
export const incrementalMajor = 17;
/**
 * A tar archive with the WAL that makes it consistent in it (`--wal-method=fetch`), so that it
 * restores alone. Standard output takes one archive only: a cluster with tablespaces needs a
 * folder.
 */
export function baseBackupArguments(options: BaseBackupOptions): string[] {
  const { label, checkpoint, maxRateKb, zstd, folder, parentManifest, major } = options;
  const workers = zstd !== null && zstd.threads > 1 ? `,workers=${zstd.threads}` : '';
  return [
    '--format=tar',
    `--pgdata=${folder ?? '-'}`,
    '--wal-method=fetch',
    '--manifest-checksums=SHA256',
    `--checkpoint=${checkpoint}`,
    `--label=${label}`,
    '--no-password',
    // What lies there is read back and stored with an fsync of its own.
    '--no-sync',
    ...(maxRateKb === null ? [] : [`--max-rate=${maxRateKb}`]),
    ...(zstd === null || major < clientCompressionMajor
      ? []
      : [`--compress=client-zstd:level=${zstd.level}${workers}`]),
    ...(parentManifest === null ? [] : [`--incremental=${parentManifest}`]),
  ];
}

/** How pg_basebackup ended. */
export interface BaseBackupEnd {
  /** The end of what it printed on stderr. */
  readonly stderr: string;
  readonly status: number | null;
  readonly signal: string | null;
  readonly role: string;
}

/**
 * Whether it has failed for pages alone whose checksum is wrong. The server says so when all is
 * sent: the stream is whole, with its manifest, and only the cluster itself is damaged.
 */
export function isChecksumFailure({ stderr, status }: BaseBackupEnd): boolean {
  return status === 1 && /^(?:\S*\/)?pg_basebackup: error: checksum error occurred$/m.test(stderr);
}

const damagedPage = /checksum verification fail(?:ed|ures) in file|total checksum verification/;

/** Whether the server speaks of a page whose checksum is wrong, without `WARNING:`; or `null`. */
export function damagedPageOf(line: string): string | null {
  return damagedPage.test(line) ? line.replace(/^WARNING: +/, '').trim() : null;
}

/** What else it warns of, or the server does through it: the backup carries that. */
export function baseBackupWarnings(stderr: string): string[] {
  return stderr.split('\n').flatMap((line) => {
    const match = /^(?:(?:\S*\/)?pg_basebackup: warning|WARNING): +(.*)$/.exec(line);
    const text = match?.[1];
    return text === undefined || damagedPage.test(text) ? [] : [text];
  });
}

/** What the server says where it has no summaries of the WAL, or not of this WAL. */
const noIncrement: readonly RegExp[] = [
  /WAL summaries are required on .*/,
  /incremental backups cannot be taken unless .*/,
  /WAL summarization is not progressing.*/,
  /server does not support incremental backup.*/,
  /timeline \d+ found in manifest, but not in this server's history.*/,
  /manifest requires WAL from .*/,
  /system identifier in backup manifest is .*/,
];

/**
 * Why the server gives no increment, in its own words, where a whole backup can be taken instead;
 * `null` for any other failure.
 */
export function whyNoIncrement(stderr: string): string | null {
  for (const pattern of noIncrement) {
    const words = pattern.exec(stderr)?.[0];
    if (words !== undefined) return words.trim();
  }
  return null;
}

interface Described {
  readonly code: ErrorCode;
  readonly hint: string | undefined;
}

type Rule = readonly [pattern: RegExp, describe: (end: BaseBackupEnd) => Described];

function fixed(code: ErrorCode, hint: string): Rule[1] {
  return () => ({ code, hint });
}

/** The first that matches tells what happened. */
const rules: readonly Rule[] = [
  [
    /must be superuser or replication role|permission denied to start WAL sender/,
    ({ role }) => ({
      code: 'DATABASE_PRIVILEGE',
      hint: `Run as a superuser: ALTER ROLE ${quoteIdentifier(role)} REPLICATION.`,
    }),
  ],
  [
    /no pg_hba\.conf entry for replication connection|pg_hba\.conf rejects replication connection/,
    ({ role }) => ({
      code: 'DATABASE_AUTH',
      hint:
        'Base backups connect to the word "replication" as their database: add a line such as ' +
        `"local replication ${quoteIdentifier(role)} peer" (or "host …" with its address) ` +
        'to pg_hba.conf, and reload.',
    }),
  ],
  [
    /exceeds max_wal_senders|max_wal_senders/,
    fixed(
      'DATABASE_REFUSED',
      'Raise max_wal_senders on the server (a restart), or end a replication connection.',
    ),
  ],
  [
    /WAL level not sufficient/,
    fixed('DATABASE_REFUSED', "Set wal_level = 'replica' on the server, and restart it."),
  ],
  [
    /requested WAL segment \S+ has already been removed|could not find (?:any )?WAL file/,
    fixed(
      'DATABASE_REFUSED',
      'The server has removed WAL that the backup needs: raise wal_keep_size, for example ' +
        "ALTER SYSTEM SET wal_keep_size = '4GB'; SELECT pg_reload_conf();",
    ),
  ],
  [
    /standby was promoted during online backup/,
    fixed('DATABASE_REFUSED', 'The standby has become a primary meanwhile: take it again.'),
  ],
  [
    /full_page_writes=off was replayed/,
    fixed(
      'DATABASE_REFUSED',
      'Set full_page_writes = on on the primary and CHECKPOINT; there, then take it again.',
    ),
  ],
  [
    /can only write single tablespace to stdout/,
    fixed('DATABASE_REFUSED', 'A tablespace was created just now: take the backup again.'),
  ],
  [
    /build does not support compression|could not set compression/,
    fixed('PROGRAM_MISSING', 'This pg_basebackup has no zstd: set COMPRESSION=gzip.'),
  ],
  [
    /No space left on device|could not write to file|could not extend file/i,
    fixed('NO_SPACE', 'Free space where it is written to (setting temp_dir), and on the server.'),
  ],
  [
    /no password supplied|no pg_hba\.conf entry|authentication failed/,
    fixed('DATABASE_AUTH', 'Check the role, its password and pg_hba.conf on the server.'),
  ],
  [
    new RegExp(
      'terminating |server closed the conn|server was lost|unexpected termination|' +
        'canceling statement|could not (?:receive|read|send|get) |COPY stream ended',
    ),
    fixed(
      'DATABASE_UNREACHABLE',
      'The server ended the session: look into its log, and take it again.',
    ),
  ],
  [
    /could not translate host name|connection to server .* failed|the database system is/,
    fixed(
      'DATABASE_UNREACHABLE',
      'Check that the server runs there and that PGHOST and PGPORT are right.',
    ),
  ],
  [
    /unrecognized option|unknown compression|invalid value for option/,
    fixed('TOOL_TOO_OLD', "Install the client programs of the server's version."),
  ],
];

const killedHint = 'Something killed it: look for the out-of-memory killer in the system log.';

/** What counts in stderr: the errors with what follows them, without warnings and progress. */
function importantWords(stderr: string): string {
  const lines = stderr
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !/^WARNING: |: warning: /.test(line));
  const first = lines.findIndex((line) => /: error: |FATAL|ERROR/.test(line));
  return lines
    .slice(Math.max(first, 0), Math.max(first, 0) + 4)
    .map((line) => line.replace(/^(?:\S*\/)?pg_basebackup: (?:error: |detail: )?/, ''))
    .join('; ')
    .slice(0, 1500);
}

/** The error for a pg_basebackup that did not end with 0: its own words, and what mends it. */
export function describeBaseBackupFailure(end: BaseBackupEnd): HoldfastError {
  const { status, signal, stderr } = end;
  const how = signal === null ? `ended with status ${status}` : `was ended by ${signal}`;
  const said = importantWords(stderr);
  const rule = rules.find(([pattern]) => pattern.test(stderr));
  const described = rule?.[1](end) ?? {
    code: 'DUMP_FAILED' as const,
    hint: signal === 'SIGKILL' ? killedHint : undefined,
  };
  const message = `pg_basebackup ${how}${said === '' ? '' : `: ${said}`}`;
  return new HoldfastError(described.code, message, {
    hint: described.hint,
    details: { program: 'pg_basebackup', status, signal: signal ?? undefined },
  });
}
