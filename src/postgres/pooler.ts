/**
 * Finds a connection pooler in the way. A server tells each session its process number when it
 * begins (manual, "Message Formats", BackendKeyData); a pooler tells a number of its own, since
 * behind it the process may be another one each time. A proxy that only passes bytes on is none.
 */

import type { Client } from 'pg';
import { execute, type Queryable, queryOne } from './query.ts';

/** What stands between this process and the server. */
export interface PoolerSigns {
  /** The session's process is not the one that was told: a pooler answers. */
  readonly isThere: boolean;
  /** Two sessions got the same process in turn: no state outlives a transaction. */
  readonly sharesProcesses: boolean;
  /** Where the server itself listens, as it sees it: `10.0.0.5`; `null` behind a socket. */
  readonly serverAddress: string | null;
  readonly serverPort: number;
}

/** What node-postgres has beside its declared types. */
interface KeyData {
  readonly processID: number | null;
}

async function processNumber(client: Queryable): Promise<number> {
  const { pid } = await queryOne<{ pid: number }>(
    client,
    'SELECT pg_catalog.pg_backend_pid() AS pid',
  );
  return pid;
}

/**
 * Whether a second session is given the process of the first, which waits between two statements:
 * poolers in transaction mode hand on the one that was used last.
 */
async function isShared(first: Queryable, second: Queryable): Promise<boolean> {
  const pid = await processNumber(first);
  try {
    await execute(second, 'BEGIN');
  } catch {
    // Statement pooling allows no transaction.
    return true;
  }
  try {
    return (await processNumber(second)) === pid;
  } finally {
    await execute(second, 'ROLLBACK');
  }
}

/**
 * Looks for a pooler.
 *
 * @param client a session without an open transaction
 * @param openSecond opens another one of the same kind; called only where a pooler answers
 */
export async function detectPooler(
  client: Client,
  openSecond: () => Promise<Client>,
): Promise<PoolerSigns> {
  const told = (client as unknown as KeyData).processID;
  const isThere = told !== null && told !== (await processNumber(client));
  const server = await queryOne<{ address: string | null; port: number }>(
    client,
    `SELECT pg_catalog.host(pg_catalog.inet_server_addr()) AS address,
            pg_catalog.current_setting('port')::int AS port`,
  );
  const where = { serverAddress: server.address, serverPort: server.port };
  if (!isThere) return { isThere, sharesProcesses: false, ...where };
  const second = await openSecond();
  try {
    return { isThere, sharesProcesses: await isShared(client, second), ...where };
  } finally {
    await second.end();
  }
}
