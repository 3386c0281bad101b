/** Turns what the server says about a statement into our errors, with its own words kept. */

import { type ErrorCode, HoldfastError } from '../core/errors.ts';
import { quoteIdentifier } from '../core/quote.ts';

/** What an error tells besides the server's own words. */
export interface StatementContext {
  /** What was being done, in lower case, for the message: `reading the roles`. */
  readonly doing?: string | undefined;
  readonly database?: string | undefined;
  readonly role?: string | undefined;
}

/** What node-postgres tells of an error (manual, "Error and Notice Message Fields"). */
interface ServerError extends Error {
  readonly code?: string;
  readonly detail?: string;
  readonly hint?: string;
}

/** How a role is named in a GRANT that is shown: the real name, or a placeholder. */
function grantee(role: string | undefined): string {
  return role === undefined ? '<role>' : quoteIdentifier(role);
}

/** What lets a role read each kind of object, by its name in `permission denied for …`. */
const readGrants: Readonly<Record<string, string>> = {
  table: 'SELECT ON TABLE',
  view: 'SELECT ON TABLE',
  'materialized view': 'SELECT ON TABLE',
  'foreign table': 'SELECT ON TABLE',
  sequence: 'SELECT ON SEQUENCE',
  schema: 'USAGE ON SCHEMA',
  'large object': 'SELECT ON LARGE OBJECT',
  function: 'EXECUTE ON FUNCTION',
  type: 'USAGE ON TYPE',
  'foreign server': 'USAGE ON FOREIGN SERVER',
};

/** An object that the server refused to a role. */
export interface RefusedObject {
  readonly kind: string;
  /** As the server names it: without its schema. */
  readonly name: string;
}

/** The longest first: a `foreign table` is no `table`. */
const refusedPattern = new RegExp(
  `permission denied for (${Object.keys(readGrants)
    .sort((a, b) => b.length - a.length)
    .join('|')}) (.+)$`,
  'm',
);

/** What a `permission denied for table orders` is about, or `null`. */
export function refusedObject(message: string): RefusedObject | null {
  const [, kind, name] = refusedPattern.exec(message) ?? [];
  return kind === undefined || name === undefined ? null : { kind, name };
}

/** The kinds that pg_read_all_data opens (manual, "Predefined Roles"). */
const readAllKinds: ReadonlySet<string> = new Set(['table', 'view', 'sequence', 'schema']);

/**
 * The GRANT that lets a role read an object, as a hint.
 *
 * @param sqlName the object's name as SQL, quoted and with its schema where it is known
 */
export function readGrantHint(kind: string, sqlName: string, role: string | undefined): string {
  const grant = readGrants[kind];
  if (grant === undefined) return 'Grant the role what is missing, or connect as another role.';
  const to = grantee(role);
  const one = `GRANT ${grant} ${sqlName} TO ${to};`;
  return readAllKinds.has(kind)
    ? `As its owner or a superuser: ${one} For everything: GRANT pg_read_all_data TO ${to};`
    : `As its owner or a superuser: ${one}`;
}

function privilegeHint(message: string, role: string | undefined): string {
  if (/permission denied to create database$/.test(message)) {
    const who = role === undefined ? '…' : quoteIdentifier(role);
    return `As a superuser: ALTER ROLE ${who} CREATEDB;`;
  }
  const refused = refusedObject(message);
  if (refused === null) return 'Grant the role what is missing, or connect as another role.';
  const sqlName = refused.kind === 'large object' ? refused.name : quoteIdentifier(refused.name);
  return readGrantHint(refused.kind, sqlName, role);
}

/** For SQLSTATE 53200, `out of shared memory` (manual, `max_locks_per_transaction`). */
export const lockTableHint =
  'Raise max_locks_per_transaction on the server (it needs a restart): a dump locks every table ' +
  'at once.';

/** By SQLSTATE (manual, "PostgreSQL Error Codes"): our code, and a hint where one helps. */
const bySqlState: Readonly<Record<string, { code: ErrorCode; hint?: string }>> = {
  '3D000': { code: 'DATABASE_NOT_FOUND', hint: 'Name a database that the server has.' },
  '53100': { code: 'NO_SPACE', hint: "Free space on the server's disk." },
  '53200': { code: 'DATABASE_REFUSED', hint: lockTableHint },
  '53300': {
    code: 'DATABASE_UNREACHABLE',
    hint: 'Every connection slot is taken: end some, or raise max_connections.',
  },
  '57P01': { code: 'DATABASE_UNREACHABLE', hint: 'An administrator ended the session: try again.' },
  '57P02': { code: 'DATABASE_UNREACHABLE', hint: 'The server crashed: look into its log.' },
  '57P03': {
    code: 'DATABASE_UNREACHABLE',
    hint: 'The server is starting, stopping or recovering: try again when it is ready.',
  },
  '57014': {
    code: 'DATABASE_REFUSED',
    hint: 'The statement was cancelled: look for a statement_timeout of the role or database.',
  },
  '55P03': {
    code: 'DATABASE_REFUSED',
    hint: 'Another session holds a lock: look into pg_locks, and try again when it is done.',
  },
};

/** What node-postgres says, without a SQLSTATE, when the connection is gone. */
const connectionLost =
  /connection terminated|connection error|not queryable|client has already been|socket hang up/i;

/** Whether the connection is gone, and not just the statement refused. */
export function isConnectionLost(thrown: unknown): boolean {
  if (!(thrown instanceof Error)) return false;
  const code = (thrown as ServerError).code ?? '';
  return (
    /^(57P0[123]|08...|E[A-Z]+)$/.test(code) || (code === '' && connectionLost.test(thrown.message))
  );
}

/** The SQLSTATE of what node-postgres threw, also behind an error of ours; or `null`. */
export function sqlState(thrown: unknown): string | null {
  const error = thrown instanceof HoldfastError ? thrown.cause : thrown;
  const code = error instanceof Error ? (error as ServerError).code : undefined;
  return code !== undefined && /^[0-9A-Z]{5}$/.test(code) && !/^E[A-Z]{4}$/.test(code)
    ? code
    : null;
}

function classify(
  error: ServerError,
  role: string | undefined,
): { code: ErrorCode; hint?: string } {
  const state = sqlState(error) ?? '';
  const known = bySqlState[state];
  if (known !== undefined) return known;
  if (state === '42501') {
    return { code: 'DATABASE_PRIVILEGE', hint: privilegeHint(error.message, role) };
  }
  if (state.startsWith('28')) return { code: 'DATABASE_AUTH' };
  if (isConnectionLost(error)) {
    const hint = 'Look into the log of the server, and at the network between.';
    return { code: 'DATABASE_UNREACHABLE', hint };
  }
  return { code: 'DATABASE_REFUSED' };
}

/**
 * Says what went wrong with a statement: what was being done, the server's own words, its detail,
 * and what to do (ours where we know it, else the server's own hint).
 *
 * @param thrown what `client.query` threw; an error of ours comes back as it is
 */
export function describeServerError(
  thrown: unknown,
  context: StatementContext = {},
): HoldfastError {
  if (thrown instanceof HoldfastError) return thrown;
  const error: ServerError = thrown instanceof Error ? thrown : new Error(String(thrown));
  if (error.name === 'AbortError') {
    return new HoldfastError('INTERRUPTED', 'interrupted', { cause: thrown });
  }
  const { code, hint } = classify(error, context.role);
  const where =
    context.database === undefined ? '' : `database ${JSON.stringify(context.database)}: `;
  const doing = context.doing === undefined ? '' : `${context.doing}: `;
  const detail = error.detail === undefined ? '' : ` (${error.detail})`;
  return new HoldfastError(code, `${where}${doing}${error.message}${detail}`, {
    hint: hint ?? error.hint,
    cause: thrown,
    details: { sqlstate: sqlState(error) ?? undefined },
  });
}
