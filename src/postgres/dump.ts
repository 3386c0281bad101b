/**
 * The argument lists of pg_dump, pg_dumpall and pg_restore. Where to connect, and the database that
 * is dumped, stand in the program's environment (program_environment.ts), never here.
 */

import { conninfoDatabase } from './program_environment.ts';

/** How pg_dump dumps. */
export interface DumpOptions {
  /** What pg_export_snapshot gave: the dump then sees what its exporter sees. */
  readonly snapshot?: string | undefined;
  /**
   * Only rows, large objects and the values of sequences. `--section=data` tells the same as
   * `--data-only`, without asking for foreign keys to bring the tables into an order.
   */
  readonly dataOnly?: boolean | undefined;
  /** How long to wait for the lock of a table that somebody has locked; for ever unless told. */
  readonly lockWaitTimeoutMs?: number | undefined;
}

/**
 * pg_dump to its standard output: the custom format, uncompressed inside, since our own filters
 * compress better and in more than one thread, and the digest of each table is told from the bytes.
 */
export function dumpArguments(options: DumpOptions = {}): string[] {
  const { snapshot, dataOnly = false, lockWaitTimeoutMs } = options;
  return [
    '--format=custom',
    '--compress=0',
    '--no-password',
    ...(dataOnly ? ['--section=data'] : []),
    ...(snapshot === undefined ? [] : [`--snapshot=${snapshot}`]),
    ...(lockWaitTimeoutMs === undefined ? [] : [`--lock-wait-timeout=${lockWaitTimeoutMs}`]),
  ];
}

/** How pg_dumpall dumps the globals. */
export interface GlobalsOptions {
  /** The role may not read pg_authid: the roles come without their passwords. */
  readonly noRolePasswords?: boolean | undefined;
  /** The database to connect to; `postgres`, else `template1`, unless told. */
  readonly database?: string | undefined;
}

/** pg_dumpall to its standard output: roles and tablespaces only. */
export function globalsArguments(options: GlobalsOptions = {}): string[] {
  const { noRolePasswords = false, database } = options;
  return [
    '--globals-only',
    '--no-password',
    ...(noRolePasswords ? ['--no-role-passwords'] : []),
    ...(database === undefined ? [] : [`--database=${conninfoDatabase(database)}`]),
  ];
}

/** How pg_restore restores. */
export interface RestoreOptions {
  /** The database to restore into; it exists. */
  readonly database: string;
  /** Several at once need `file`: a stream can be read only once. */
  readonly jobs?: number | undefined;
  /** The archive; standard input unless told. */
  readonly file?: string | undefined;
  /**
   * All in one transaction: keeps the order of rows, which a stream otherwise may change, and
   * holds a lock on every object until the end.
   */
  readonly singleTransaction?: boolean | undefined;
  /** Goes on after an error, and counts them. */
  readonly keepGoing?: boolean | undefined;
}

/** pg_restore into a database. */
export function restoreArguments(options: RestoreOptions): string[] {
  const { database, jobs = 1, file, singleTransaction = false, keepGoing = false } = options;
  return [
    '--no-password',
    `--dbname=${conninfoDatabase(database)}`,
    ...(keepGoing ? [] : ['--exit-on-error']),
    ...(singleTransaction ? ['--single-transaction'] : []),
    ...(jobs > 1 ? [`--jobs=${jobs}`] : []),
    // After "--" a path that begins with a dash is no option.
    ...(file === undefined ? [] : ['--', file]),
  ];
}

/** Whether pg_dumpall was refused the passwords of the roles: then it is asked without them. */
export function isPasswordPrivilegeError(stderr: string): boolean {
  return /permission denied for (table|relation|view) "?pg_authid"?$/m.test(stderr);
}

/**
 * What pg_dump and pg_restore warn of, without the program's name: a backup carries it, since it
 * may lack something (`subscriptions not dumped because current user is not a superuser`).
 */
export function programWarnings(stderr: string): string[] {
  return stderr.split('\n').flatMap((line) => {
    const match = /^(?:\S*\/)?pg_(?:dump|dumpall|restore): warning: (.*)$/.exec(line);
    return match?.[1] === undefined ? [] : [match[1]];
  });
}
