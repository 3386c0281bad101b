/** Reads which databases restores have left on a server, and whether a restore still uses them. */

import { HoldfastError } from '../core/errors.ts';
import { leftoverTarget, parseLeftoverName } from '../core/leftovers.ts';
import type { LeftoverKind } from '../core/names.ts';
import { readRestoreLocks } from './advisory_lock.ts';
import { pinSearchPath, type Queryable, queryOne, queryRows } from './query.ts';

/** A database that a restore has left, or is building now. */
export interface Leftover {
  readonly name: string;
  readonly oid: number;
  /** `before`: what a restore replaced; `restoring`: what one was building. */
  readonly kind: LeftoverKind;
  /** The database that it was made for; `null` where a shortened name does not tell. */
  readonly target: string | null;
  /** Of the restore, as the name tells it; it may lie ahead by seconds. */
  readonly createdAt: Date;
  /** pg_database_size; `null` where the role may not ask, or it has just been dropped. */
  readonly bytes: number | null;
  /** Sessions that are connected to it now. */
  readonly connections: number;
  /** Somebody is connected, or a restore of its target is running that may be building it. */
  readonly inUse: boolean;
}

interface DatabaseRow {
  readonly name: string;
  readonly oid: number;
  readonly comment: string | null;
  readonly connections: number;
  readonly sizeAllowed: boolean;
}

/** A database may be dropped between the list and the question. */
async function sizeOf(client: Queryable, oid: number): Promise<number | null> {
  try {
    const { bytes } = await queryOne<{ bytes: string | null }>(
      client,
      'SELECT pg_catalog.pg_database_size($1::oid)::text AS bytes',
      [oid],
    );
    return bytes === null ? null : Number(bytes);
  } catch (error) {
    if (error instanceof HoldfastError && error.code === 'DATABASE_UNREACHABLE') throw error;
    return null;
  }
}

/**
 * Reads the leftovers of restores, oldest first. Any role may ask, in any database of the server,
 * outside a transaction. Names only say what may be one: look at the OID before anything is done
 * to it.
 *
 * @throws HoldfastError what the server says
 */
export async function readLeftovers(client: Queryable): Promise<Leftover[]> {
  await pinSearchPath(client);
  const rows = await queryRows<DatabaseRow>(
    client,
    `SELECT d.datname AS name, d.oid, shobj_description(d.oid, 'pg_database') AS comment,
            (SELECT count(*)::int FROM pg_stat_activity AS a WHERE a.datid = d.oid) AS connections,
            has_database_privilege(d.oid, 'CONNECT') OR pg_has_role('pg_read_all_stats', 'USAGE')
              AS "sizeAllowed"
       FROM pg_database AS d`,
    [],
    { doing: 'listing what restores have left' },
  );
  const names = rows.map(({ name }) => name);
  const isRestored = await readRestoreLocks(client);
  const leftovers: Leftover[] = [];
  for (const { name, oid, comment, connections, sizeAllowed } of rows) {
    const said = parseLeftoverName(name);
    if (said === null) continue;
    const { kind, createdAt } = said;
    const target = leftoverTarget(name, names, comment);
    const isBuilt = kind === 'restoring' && target !== null && isRestored(target);
    const bytes = sizeAllowed ? await sizeOf(client, oid) : null;
    const inUse = connections > 0 || isBuilt;
    leftovers.push({ name, oid, kind, target, createdAt, bytes, connections, inUse });
  }
  const byTime = (a: Leftover, b: Leftover) => a.createdAt.getTime() - b.createdAt.getTime();
  return leftovers.sort((a, b) => byTime(a, b) || a.oid - b.oid);
}
