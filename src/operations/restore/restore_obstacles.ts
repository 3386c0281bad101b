/** What holds on to the database that a restore replaces, and what to type about it. */

import type { Client } from 'pg';
import { quoteLiteral, shownIdentifier } from '../../core/quote.ts';
import { formatBytes } from '../../core/units.ts';
import { readPreparedTransactions, readSubscriptions } from '../../postgres/facts.ts';
import { queryRows } from '../../postgres/query.ts';

/** One thing that holds on to the old database. */
export interface Obstacle {
  readonly kind: 'slot' | 'subscription' | 'prepared_transaction' | 'template';
  readonly name: string;
  /** Of a slot whether it is in use, of a subscription whether it is enabled; else `null`. */
  readonly active: boolean | null;
  /** The WAL that a slot holds back; else `null`. */
  readonly retained_bytes: number | null;
  /** Whether the old database can be renamed with it, and whether it can be dropped with it. */
  readonly blocks: { readonly swap: boolean; readonly drop: boolean };
  /** What it means, in a sentence. */
  readonly message: string;
  /** What takes it away, connected to the old database, statement by statement. */
  readonly sql: readonly string[];
}

interface SlotRow {
  readonly name: string;
  readonly plugin: string;
  readonly active: boolean;
  readonly pid: number | null;
  readonly retained: string | null;
}

/** Logical slots belong to one database; a drop takes them along, unless they are in use. */
async function slots(admin: Client, oid: number): Promise<Obstacle[]> {
  const rows = await queryRows<SlotRow>(
    admin,
    `SELECT slot_name::text AS name, plugin::text AS plugin, active, active_pid AS pid,
            pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), restart_lsn)::text
              AS retained
       FROM pg_catalog.pg_replication_slots WHERE datoid = $1::oid ORDER BY slot_name`,
    [oid],
  );
  return rows.map(({ name, plugin, active, pid, retained }) => {
    const retained_bytes = retained === null ? null : Number(retained);
    const holds = retained_bytes === null ? '' : `holds ${formatBytes(retained_bytes)} of WAL and `;
    const drop = `SELECT pg_drop_replication_slot(${quoteLiteral(name)});`;
    return {
      kind: 'slot',
      name,
      active,
      retained_bytes,
      blocks: { swap: false, drop: active },
      message:
        `the replication slot ${JSON.stringify(name)} (${plugin}, ` +
        `${active ? `in use by process ${pid}` : 'not in use'}) stays with the old database: it ` +
        `${holds}${active ? 'blocks its drop' : 'goes when that is dropped'}`,
      sql: active && pid !== null ? [`SELECT pg_terminate_backend(${pid});`, drop] : [drop],
    };
  });
}

async function subscriptions(admin: Client, oid: number): Promise<Obstacle[]> {
  return (await readSubscriptions(admin, oid)).map(({ name, enabled, slot }) => {
    const shown = shownIdentifier(name);
    const keeps =
      slot === null
        ? ''
        : `, with the slot ${JSON.stringify(slot)} on the publisher, which holds WAL`;
    return {
      kind: 'subscription',
      name,
      active: enabled,
      retained_bytes: null,
      blocks: { swap: false, drop: true },
      message:
        `the subscription ${JSON.stringify(name)} stays with the old database and blocks its ` +
        `drop${keeps}; the restored one is disabled, without a slot`,
      sql: [
        `ALTER SUBSCRIPTION ${shown} DISABLE;`,
        `ALTER SUBSCRIPTION ${shown} SET (slot_name = NONE);`,
        `DROP SUBSCRIPTION ${shown};`,
      ],
    };
  });
}

async function preparedTransactions(admin: Client, oid: number): Promise<Obstacle[]> {
  return (await readPreparedTransactions(admin, oid)).map(({ gid, owner, preparedAt }) => ({
    kind: 'prepared_transaction',
    name: gid,
    active: null,
    retained_bytes: null,
    blocks: { swap: true, drop: true },
    message:
      `the prepared transaction ${JSON.stringify(gid)} of role ${JSON.stringify(owner)} ` +
      `(${preparedAt}) blocks the swap: COMMIT PREPARED or ROLLBACK PREPARED it first`,
    sql: [`ROLLBACK PREPARED ${quoteLiteral(gid)};`],
  }));
}

/** A template cannot be dropped, but renamed (manual, "DROP DATABASE"). */
async function template(admin: Client, oid: number): Promise<Obstacle[]> {
  const rows = await queryRows<{ name: string }>(
    admin,
    'SELECT datname AS name FROM pg_catalog.pg_database WHERE oid = $1::oid AND datistemplate',
    [oid],
  );
  return rows.map(({ name }) => ({
    kind: 'template',
    name,
    active: null,
    retained_bytes: null,
    blocks: { swap: false, drop: true },
    message: `${JSON.stringify(name)} is a template, which blocks its drop`,
    sql: [`ALTER DATABASE ${shownIdentifier(name)} IS_TEMPLATE false;`],
  }));
}

/**
 * All that holds on to a database. Nothing is touched, and no session in it is needed.
 *
 * @param admin a session in another database of the same server
 */
export async function readObstacles(admin: Client, oid: number): Promise<Obstacle[]> {
  return [
    ...(await slots(admin, oid)),
    ...(await subscriptions(admin, oid)),
    ...(await preparedTransactions(admin, oid)),
    ...(await template(admin, oid)),
  ];
}
