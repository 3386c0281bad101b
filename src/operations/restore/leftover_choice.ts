/** Finds among the leftovers of a server those that a command is about. */

import { HoldfastError } from '../../core/errors.ts';
import { leftoversOf, parseLeftoverName } from '../../core/leftovers.ts';
import { isLeftoverNameOf } from '../../core/names.ts';
import { formatAge, formatBytes, formatCount } from '../../core/units.ts';
import {
  type ConnectionParameters,
  describeServer,
  type ResolvedTarget,
} from '../../postgres/connection.ts';
import type { Leftover } from '../../postgres/leftovers.ts';
import type { Context } from '../context.ts';
import { connectMaintenance } from '../open_database.ts';

/** What a command names: a database, or the very leftover that is meant. */
export interface LeftoverWish {
  /** The server; its database is what was named. */
  readonly server: ResolvedTarget;
  /** The database that the leftovers were made for, where it is not the one that was named. */
  readonly target: string | undefined;
}

/** What was found. */
export interface LeftoverChoice {
  readonly database: string;
  /** The leftover itself was named. */
  readonly isExact: boolean;
  /** Youngest first; only the one that was named, where one was. */
  readonly before: readonly Leftover[];
  /** Of killed restores, and of one that is running. */
  readonly restoring: readonly Leftover[];
}

/** One leftover as plans and JSON tell it. */
export interface LeftoverFacts {
  readonly name: string;
  readonly oid: number;
  readonly kind: Leftover['kind'];
  readonly created_at: string;
  readonly age_seconds: number;
  /** `null` where the role may not ask. */
  readonly bytes: number | null;
  readonly connections: number;
}

/** The facts of a leftover at that time. */
export function leftoverFacts(leftover: Leftover, now: Date): LeftoverFacts {
  const { name, oid, kind, createdAt, bytes, connections } = leftover;
  const age_seconds = Math.round((now.getTime() - createdAt.getTime()) / 1000);
  const created_at = createdAt.toISOString();
  return { name, oid, kind, created_at, age_seconds, bytes, connections };
}

/** `3 days old`, also of one that was made a moment ago. */
function tellAge(ageSeconds: number): string {
  return ageSeconds < -60 ? 'dated in the future' : `${formatAge(Math.max(0, ageSeconds))} old`;
}

/** `12.3 MB, 3 days old` */
export function describeLeftover({ bytes, age_seconds, connections }: LeftoverFacts): string {
  return [
    bytes === null ? 'size not told' : formatBytes(bytes),
    tellAge(age_seconds),
    ...(connections === 0 ? [] : [formatCount(connections, 'connection')]),
  ].join(', ');
}

/**
 * Connects to a database of the server that the command is not about.
 *
 * @throws HoldfastError as {@link connectMaintenance}
 */
export function connectBeside(
  context: Context,
  { server, target }: LeftoverWish,
  applicationName: string,
): ReturnType<typeof connectMaintenance> {
  const said = parseLeftoverName(server.database);
  // A leftover that was named is no place to work from: it is renamed or dropped.
  const beside = said === null ? server : { ...server, database: 'postgres' };
  return connectMaintenance(
    context,
    beside,
    applicationName,
    target ?? said?.front ?? server.database,
  );
}

function named(leftovers: readonly Leftover[], wish: LeftoverWish): LeftoverChoice | null {
  const { server, target } = wish;
  const found = leftovers.find(({ name }) => name === server.database);
  if (found === undefined) return null;
  const database = target ?? found.target;
  if (database === null) {
    throw new HoldfastError(
      'USAGE',
      `the shortened name ${JSON.stringify(found.name)} does not tell for certain which database ` +
        'it was made for',
      { hint: 'Name that one too: --target-database NAME.' },
    );
  }
  if (!isLeftoverNameOf(found.name, database)) {
    throw new HoldfastError(
      'USAGE',
      `${JSON.stringify(found.name)} was not left by a restore of ${JSON.stringify(database)}`,
      { hint: 'Leave --target-database out, or name the database that was restored.' },
    );
  }
  const is = (kind: Leftover['kind']) => (found.kind === kind ? [found] : []);
  return { database, isExact: true, before: is('before'), restoring: is('restoring') };
}

/**
 * The leftovers that are meant: the very one that was named, else all that surely were made for the
 * database.
 *
 * @throws HoldfastError USAGE where a name does not tell whose leftover it is
 */
export function chooseLeftovers(
  leftovers: readonly Leftover[],
  wish: LeftoverWish,
): LeftoverChoice {
  const exact = named(leftovers, wish);
  if (exact !== null) return exact;
  const database = wish.target ?? wish.server.database;
  return {
    database,
    isExact: false,
    before: leftoversOf(leftovers, 'before', database),
    restoring: leftoversOf(leftovers, 'restoring', database),
  };
}

/** So many names are listed in a hint. */
const namesMax = 10;

/** There is none: says which there are, and those that may be meant. */
export function noLeftover(
  leftovers: readonly Leftover[],
  database: string,
  parameters: ConnectionParameters,
): HoldfastError {
  const possible = leftovers.filter(
    ({ name, target }) => target === null && isLeftoverNameOf(name, database),
  );
  const kept = leftovers.filter(({ kind }) => kind === 'before');
  const shown = (possible.length > 0 ? possible : kept).map(({ name }) => JSON.stringify(name));
  const more = shown.length > namesMax ? ` and ${shown.length - namesMax} more` : '';
  const list = `${shown.slice(0, namesMax).join(', ')}${more}`;
  const hint =
    possible.length > 0
      ? `These may be meant, so name one, with --target-database: ${list}.`
      : shown.length > 0
        ? `The server has: ${list}.`
        : 'A restore keeps the old database; the server has none that one has left.';
  return new HoldfastError(
    'BACKUP_NOT_FOUND',
    `no restore has left an old database of ${JSON.stringify(database)} on ` +
      describeServer(parameters),
    { hint, details: { leftovers: kept.map(({ name }) => name) } },
  );
}
