/**
 * The one table of error codes, and the one error class.
 *
 * A code says what kind of trouble it is and which exit status the command ends with; the message
 * says the fact that matters (which file, which host, which setting), in lower case without a full
 * stop; the hint is one sentence that says what to do next. docs/reference/errors.md is held equal
 * to this table by test/docs.test.ts.
 */

import { redactPasswords } from './secret.ts';

/** Exit statuses of every command (PRODUCT.md, "Exit statuses"). */
export const exitStatus = {
  done: 0,
  unexpected: 1,
  usage: 2,
  failed: 3,
  verification: 4,
  notFound: 5,
  locked: 6,
  store: 7,
  database: 8,
  interrupted: 130,
} as const;

export type ExitStatus = (typeof exitStatus)[keyof typeof exitStatus];

interface ErrorKind {
  readonly status: ExitStatus;
  /** What the code means, for the documentation. */
  readonly summary: string;
}

/** Every code with its exit status, grouped by it; docs/reference/errors.md says what to do. */
export const errorTable = {
  UNEXPECTED: { status: exitStatus.unexpected, summary: 'a fault of Holdfast itself' },

  USAGE: { status: exitStatus.usage, summary: 'an argument or flag is wrong or missing' },
  CONFIG_UNREADABLE: {
    status: exitStatus.usage,
    summary: 'a configuration file cannot be read or is not valid YAML or .env text',
  },
  CONFIG_UNKNOWN_KEY: { status: exitStatus.usage, summary: 'a setting does not exist' },
  CONFIG_INVALID: {
    status: exitStatus.usage,
    summary: 'a setting has a value that is not allowed',
  },
  CONFIRMATION_NEEDED: {
    status: exitStatus.usage,
    summary: 'the command changes a system and nobody has confirmed it',
  },
  WRONG_USER: {
    status: exitStatus.usage,
    summary: 'the operating-system user may not use the repository or the checkout',
  },

  CHILD_FAILED: { status: exitStatus.failed, summary: 'a program that was started failed' },
  NO_SPACE: { status: exitStatus.failed, summary: 'the disk is full or will not hold the result' },
  LIMIT_REACHED: {
    status: exitStatus.failed,
    summary: 'a limit of the operating system was reached, such as that of open files',
  },
  DUMP_FAILED: {
    status: exitStatus.failed,
    summary: 'pg_dump, pg_dumpall or pg_basebackup failed',
  },
  RESTORE_FAILED: { status: exitStatus.failed, summary: 'pg_restore or a step around it failed' },
  SWAP_FAILED: {
    status: exitStatus.failed,
    summary: 'the restored database could not take the place of the old one',
  },
  RETENTION_GUARD: {
    status: exitStatus.failed,
    summary: 'retention would remove so much, or so strangely, that somebody has to look first',
  },
  ARCHIVING_FAILED: {
    status: exitStatus.failed,
    summary: 'the server does not archive its WAL, or cannot',
  },
  HOOK_FAILED: {
    status: exitStatus.failed,
    summary: 'a hook of the settings failed, hung, or could not be run',
  },
  PROGRAM_MISSING: {
    status: exitStatus.failed,
    summary: 'a program that is needed (zstd, gzip, …) is not installed',
  },

  DAMAGED: {
    status: exitStatus.verification,
    summary: 'a file of a backup is missing, cut, or differs from its digest',
  },
  MANIFEST_INVALID: {
    status: exitStatus.verification,
    summary: 'a manifest is not valid or of a newer format',
  },
  NOT_SIGNED: {
    status: exitStatus.verification,
    summary: 'nobody whose signature counts has signed the backup',
  },
  WRONG_KEY: {
    status: exitStatus.verification,
    summary: 'it is encrypted for other keys than those at hand',
  },
  NOT_A_DUMP: {
    status: exitStatus.verification,
    summary: 'a file is no dump that can be restored',
  },
  DIFFERENT: {
    status: exitStatus.verification,
    summary: 'what was restored differs from what was backed up',
  },

  BACKUP_NOT_FOUND: { status: exitStatus.notFound, summary: 'there is no such backup' },
  TARGET_UNREACHABLE: {
    status: exitStatus.notFound,
    summary: 'no backup and no archived WAL lead to the recovery target',
  },

  LOCKED: { status: exitStatus.locked, summary: 'another run holds the lock' },
  LOCK_LOST: {
    status: exitStatus.locked,
    summary: 'the lock was lost during the run, so its result was thrown away',
  },

  STORE_UNREACHABLE: { status: exitStatus.store, summary: 'a store cannot be reached' },
  STORE_REFUSED: { status: exitStatus.store, summary: 'a store refuses (permissions, read-only)' },
  STORE_EXISTS: {
    status: exitStatus.store,
    summary: 'an object of that name is in the store already; nothing is ever overwritten',
  },
  ARCHIVE_CLAIMED: {
    status: exitStatus.store,
    summary: 'another server writes into this archive of WAL',
  },
  PATH_REFUSED: { status: exitStatus.store, summary: 'a path leads out of the repository' },

  DATABASE_UNREACHABLE: {
    status: exitStatus.database,
    summary: 'the server does not answer, or refuses the connection',
  },
  DATABASE_AUTH: {
    status: exitStatus.database,
    summary: 'the server refuses the role or password',
  },
  DATABASE_NOT_FOUND: {
    status: exitStatus.database,
    summary: 'the server has no database of that name',
  },
  DATABASE_PRIVILEGE: { status: exitStatus.database, summary: 'the role lacks a privilege' },
  DATABASE_REFUSED: {
    status: exitStatus.database,
    summary: 'the server refuses or breaks off a statement',
  },
  TOOL_TOO_OLD: {
    status: exitStatus.database,
    summary: "no client program of the server's major version or newer is installed",
  },

  INTERRUPTED: { status: exitStatus.interrupted, summary: 'the run was interrupted by a signal' },
} as const satisfies Record<string, ErrorKind>;

export type ErrorCode = keyof typeof errorTable;

export interface ErrorOptions {
  /** One sentence that says what to do next. */
  readonly hint?: string | undefined;
  readonly cause?: unknown;
  /** Facts for the JSON output and the log; never a secret. */
  readonly details?: Readonly<Record<string, unknown>> | undefined;
}

/**
 * The only error class that this project throws on purpose. Its message may quote what the user
 * wrote: passwords are taken out.
 */
export class HoldfastError extends Error {
  override readonly name = 'HoldfastError';
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly details: Readonly<Record<string, unknown>> | undefined;

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(
      redactPasswords(message),
      options.cause === undefined ? undefined : { cause: options.cause },
    );
    this.code = code;
    this.hint = options.hint;
    this.details = options.details;
  }

  /** The exit status of a command that ends with this error. */
  get status(): ExitStatus {
    return errorTable[this.code].status;
  }
}

/** For EMFILE and ENFILE: no file, socket or child can be opened any more. */
export const openFilesHint =
  'Too many files are open on this machine or in this process: raise the limit (ulimit -n).';

/**
 * Makes a HoldfastError of whatever was thrown. The error numbers that every layer can meet are
 * told as what they are: a full disk, a refused permission.
 *
 * @param doing what was being done, in lower case, for the message ("writing the manifest")
 */
export function toHoldfastError(thrown: unknown, doing?: string): HoldfastError {
  if (thrown instanceof HoldfastError) return thrown;
  const error = thrown instanceof Error ? thrown : new Error(String(thrown));
  const prefix = doing === undefined ? '' : `${doing}: `;
  const errno = (error as NodeJS.ErrnoException).code;
  if (errno === 'ENOSPC' || errno === 'EDQUOT') {
    return new HoldfastError('NO_SPACE', `${prefix}no space left on the disk (${error.message})`, {
      hint: 'Free space on that file system, or set BACKUP_DIR to a larger one.',
      cause: thrown,
    });
  }
  if (errno === 'EACCES' || errno === 'EPERM' || errno === 'EROFS') {
    return new HoldfastError('STORE_REFUSED', `${prefix}${error.message}`, {
      hint: 'Run as the user that owns the repository, or mend the permissions.',
      cause: thrown,
    });
  }
  if (errno === 'ENAMETOOLONG' || errno === 'ENOTDIR' || errno === 'ELOOP') {
    return new HoldfastError('STORE_REFUSED', `${prefix}${error.message}`, {
      hint: 'Check the path that the message names.',
      cause: thrown,
    });
  }
  if (errno === 'EMFILE' || errno === 'ENFILE') {
    const text = `${prefix}${error.message}`;
    return new HoldfastError('LIMIT_REACHED', text, { hint: openFilesHint, cause: thrown });
  }
  if (error.name === 'AbortError') {
    return new HoldfastError('INTERRUPTED', `${prefix}interrupted`, { cause: thrown });
  }
  return new HoldfastError('UNEXPECTED', `${prefix}${error.message}`, {
    hint: 'This is a fault of Holdfast: please report it with the log of this run.',
    cause: thrown,
  });
}
