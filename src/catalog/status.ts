/**
 * status.json: the last known state of every database in one small document, for scripts and eyes.
 * It is told from, never decided by: the catalog alone says which backups there are.
 */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { toHoldfastError } from '../core/errors.ts';
import { type Static, Type } from '../core/type_builder.ts';
import { documentBytes, documentReader } from '../core/validate.ts';
import { errorNumber, replaceFile } from '../process/durable.ts';
import { withFileLock } from './lock.ts';

/** The file in the repository's folder that tells the last known state. */
const statusName = 'status.json';
const statusFormat = 1;
/** Stands for the cluster while no backup of the database has told it; the first success does. */
export const unknownCluster = 'unknown';
const lockWaitMs = 10_000;

const closed = { additionalProperties: false } as const;
const Time = Type.String({ minLength: 1 });
const Count = Type.Integer({ minimum: 0 });

/** One store, and whether the backup is in it. */
const CopyStatus = Type.Object(
  {
    name: Type.String(),
    status: Type.Union([Type.Literal('stored'), Type.Literal('missing')]),
    required: Type.Boolean(),
    bytes: Count,
    seconds: Type.Number({ minimum: 0 }),
    error: Type.Optional(Type.Object({ code: Type.String(), message: Type.String() }, closed)),
  },
  closed,
);

const LastRun = Type.Object(
  {
    started_at: Time,
    finished_at: Time,
    status: Type.Union([Type.Literal('ok'), Type.Literal('failed')]),
    exit_status: Count,
    error: Type.Optional(Type.Object({ code: Type.String(), message: Type.String() }, closed)),
    label: Type.Optional(Type.String()),
    /** Absent where nothing was written. */
    stores: Type.Optional(Type.Array(CopyStatus)),
  },
  closed,
);

const LastSuccess = Type.Object(
  {
    label: Type.String(),
    finished_at: Time,
    bytes_stored: Count,
    database_bytes: Count,
    duration_seconds: Type.Number({ minimum: 0 }),
  },
  closed,
);

const DatabaseStatus = Type.Object(
  {
    cluster: Type.String(),
    database: Type.String(),
    /** As it was named when it was last backed up: what tells two of one name apart. */
    server: Type.String(),
    last_run: LastRun,
    /** `null` as long as no backup has succeeded. */
    last_success: Type.Union([LastSuccess, Type.Null()]),
  },
  closed,
);

/** The schema of status.json. */
const statusSchema = Type.Object(
  {
    format: Type.Literal(statusFormat),
    updated_at: Time,
    databases: Type.Array(DatabaseStatus),
  },
  closed,
);

export type Status = Static<typeof statusSchema>;
export type CopyStatusEntry = Static<typeof CopyStatus>;
export type LastRunStatus = Static<typeof LastRun>;
export type LastSuccessStatus = Static<typeof LastSuccess>;

/** What a run of a backup has to tell. */
export interface StatusChange {
  readonly cluster: string;
  readonly database: string;
  /** As it was named: `db.example.com:5432`. */
  readonly server: string;
  readonly run: LastRunStatus;
  /** Absent when the run failed: the last success before it stays. */
  readonly success?: LastSuccessStatus | undefined;
}

const parseStatus = documentReader(statusSchema, {
  name: statusName,
  format: statusFormat,
  code: 'DAMAGED',
});

/**
 * Reads status.json; `null` when there is none.
 *
 * @param root the folder of the repository
 * @throws HoldfastError DAMAGED when it is not valid; STORE_REFUSED when it may not be read
 */
export async function readStatus(root: string): Promise<Status | null> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(join(root, statusName));
  } catch (error) {
    if (errorNumber(error) === 'ENOENT') return null;
    throw toHoldfastError(error, `reading ${statusName}`);
  }
  return parseStatus(bytes);
}

/** The document after a change. */
function changed(old: Status | null, change: StatusChange, now: Date): Status {
  const { cluster, database, server, run, success } = change;
  const isSame = (other: Status['databases'][number]) =>
    other.cluster === cluster && (cluster !== unknownCluster || other.server === server);
  const isIt = (other: Status['databases'][number]) =>
    other.database === database &&
    (isSame(other) ||
      (success !== undefined && other.cluster === unknownCluster && other.server === server));
  const before = old?.databases.find(isIt);
  const others = (old?.databases ?? []).filter((other) => !isIt(other));
  const last_success = success ?? before?.last_success ?? null;
  const databases = [...others, { cluster, database, server, last_run: run, last_success }];
  const order = (entry: Status['databases'][number]) =>
    JSON.stringify([entry.cluster, entry.database, entry.server]);
  databases.sort((a, b) => (order(a) < order(b) ? -1 : 1));
  return { format: statusFormat, updated_at: now.toISOString(), databases };
}

/** What is there, or nothing where it is damaged: the next runs fill it again. */
async function readOrForget(root: string): Promise<Status | null> {
  try {
    return await readStatus(root);
  } catch (error) {
    if (toHoldfastError(error).code === 'DAMAGED') return null;
    throw error;
  }
}

/**
 * Tells status.json about a run. Safe with several processes; the file is replaced whole, and a
 * damaged one begins anew.
 *
 * @param root the folder of the repository
 * @throws HoldfastError LOCKED when others hold it for 10 s; NO_SPACE, STORE_REFUSED
 */
export async function updateStatus(root: string, change: StatusChange, now: Date): Promise<void> {
  try {
    await withFileLock(join(root, 'state', 'status.lock'), { waitMs: lockWaitMs }, async () => {
      const next = changed(await readOrForget(root), change, now);
      await replaceFile(join(root, statusName), documentBytes(next));
    });
  } catch (error) {
    throw toHoldfastError(error, `writing ${statusName}`);
  }
}
