/**
 * The quickstart's second half: the WAL is archived, a table is dropped by mistake, and the whole
 * server is restored beside itself to the second before. All of it lies in the private folder of
 * the scratch server and goes with it.
 */

import { stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from 'pg';
import { createCatalog } from '../../catalog/catalog.ts';
import { openRepository } from '../../catalog/repository.ts';
import { HoldfastError } from '../../core/errors.ts';
import { parseTarget } from '../../core/recovery_target.ts';
import type { ScratchCluster } from '../../postgres/cluster.ts';
import { connect } from '../../postgres/connection.ts';
import type { ConnectionParameters } from '../../postgres/connection_parameters.ts';
import { execute, queryOne } from '../../postgres/query.ts';
import { makeFolders } from '../../process/durable.ts';
import { runChecked, runCommand } from '../../process/run.ts';
import { becomeUser } from '../../process/user.ts';
import { withArchivingServer } from '../archiving/archiving_server.ts';
import { install, planInstall } from '../archiving/setup_archiving.ts';
import { moveForward } from '../base/backup_incremental.ts';
import type { RepositoryContext } from '../context.ts';
import { planPitr } from '../recovery/pitr_plan.ts';
import { restorePitr } from '../recovery/restore_pitr.ts';
import { readTemplate } from '../template.ts';

/** What was shown, for the summary. Times ISO 8601 UTC. */
export interface RecoveryShown {
  readonly base_label: string;
  readonly table: string;
  readonly dropped_at: string;
  readonly target_time: string;
  /** In the table, all of them as before the mistake. */
  readonly rows: number;
  /** Of them, so many came after the base backup: the archived WAL alone had them. */
  readonly rows_after_base: number;
  readonly segments: number;
  /** Until the restored server had reached the moment and was promoted. */
  readonly restore_seconds: number;
}

/** Where it is shown: the server, its database, and the folder that goes with both. */
export interface RecoveryStage {
  readonly cluster: ScratchCluster;
  readonly database: string;
}

const table = 'payments';
const rowsBefore = 1000;
const rowsAfter = 500;
/** So long before the mistake the rows had come, and so far back the recovery goes. */
const secondMs = 1000;
const quietMs = 1200;

const createTable = `
  CREATE TABLE ${table}
    (id bigint PRIMARY KEY, paid timestamptz NOT NULL, amount numeric NOT NULL)`;

/** Rows from one number to another. */
function insertRows(from: number, to: number): string {
  return `INSERT INTO ${table}
    SELECT i, clock_timestamp(), (i * 104729 % 100000) / 100.0
      FROM generate_series(${from}, ${to}) AS i`;
}

interface Content {
  readonly rows: number;
  readonly digest: string;
}

function contentOf(client: Client): Promise<Content> {
  return queryOne<Content & Record<string, unknown>>(
    client,
    `SELECT count(*)::int AS rows, sum(hashtextextended(t::text, 0))::text AS digest
       FROM ${table} AS t`,
  );
}

async function withClient<T>(
  parameters: ConnectionParameters,
  work: (client: Client) => Promise<T>,
): Promise<T> {
  const client = await connect(parameters, { applicationName: 'holdfast' });
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/**
 * A context with a repository of the server's own user, who has to write into it. Where root has
 * started the quickstart, the process becomes that user here, for good: nobody restores as root.
 */
async function openStage(
  context: RepositoryContext,
  { cluster }: RecoveryStage,
): Promise<RepositoryContext> {
  const folder = dirname(cluster.dataDirectory);
  for (const name of ['restore_base.sh', 'wal_fetch.sh', 'wal_push.sh'] as const) {
    readTemplate(name);
  }
  const { osUser } = cluster;
  const changed = osUser === null ? {} : becomeUser(osUser);
  const environment = { ...context.environment, ...changed };
  const root = join(folder, 'repository');
  await makeFolders(root);
  const repository = await openRepository(root, { create: true, now: context.clock() });
  const { settings } = context.config;
  const connection = {
    ...settings.connection,
    host: cluster.socketDirectory,
    port: String(cluster.port),
    user: cluster.superuser,
  };
  const own = { backup_dir: root, temp_dir: folder, min_disk_space_gb: 0, connection };
  const config = { ...context.config, environment, settings: { ...settings, ...own } };
  const catalog = createCatalog(repository.storage);
  return { ...context, config, environment, repository, catalog };
}

/** As `setup_archiving.ts` does it, with the restart that it leaves to the operator. */
async function switchOn(context: RepositoryContext, cluster: ScratchCluster): Promise<void> {
  const { restart } = await withArchivingServer(context, async (server) => {
    const plan = await planInstall(context, server, { force: false, takeOver: false });
    return install(context, server, plan);
  });
  if (restart.length === 0) return;
  context.log.step(`   restarting it, for ${restart.join(' and ')}`);
  await cluster.restart();
}

/** The mistake. @returns when it happened, ISO 8601 UTC, and the moment to go back to */
async function dropByMistake(client: Client): Promise<{ droppedAt: string; targetTime: string }> {
  const { now } = await queryOne<{ now: Date }>(client, 'SELECT clock_timestamp() AS now');
  await execute(client, `DROP TABLE ${table}`);
  const targetTime = new Date(now.getTime() - secondMs).toISOString();
  return { droppedAt: now.toISOString(), targetTime };
}

/** Ends the restored server, whatever became of it. */
async function stopRestored(context: RepositoryContext, cluster: ScratchCluster, pgdata: string) {
  if ((await stat(join(pgdata, 'postmaster.pid')).catch(() => null)) === null) return;
  const { environment } = context;
  const args = ['stop', '--silent', `--pgdata=${pgdata}`, '--mode=immediate'];
  await runCommand(join(cluster.binDirectory, 'pg_ctl'), args, { environment });
}

/** The table out of the restored server into the one in use, through a file. */
async function bringBack(
  context: RepositoryContext,
  { cluster, database }: RecoveryStage,
  restoredAt: ConnectionParameters,
): Promise<void> {
  const { signal } = context;
  const environment = { ...context.environment, ...cluster.environment(database) };
  const file = join(dirname(cluster.dataDirectory), 'table.dump');
  const program = (name: string) => join(cluster.binDirectory, name);
  const dump = ['--format=custom', `--file=${file}`, `--table=${table}`];
  await runChecked(program('pg_dump'), dump, {
    environment: { ...environment, PGHOST: restoredAt.host, PGPORT: String(restoredAt.port) },
    signal,
  });
  const restore = ['--exit-on-error', '--single-transaction', `--dbname=${database}`, file];
  await runChecked(program('pg_restore'), restore, { environment, signal });
}

/** @throws HoldfastError DIFFERENT */
function requireSame(where: string, found: Content, expected: Content): void {
  if (found.rows === expected.rows && found.digest === expected.digest) return;
  throw new HoldfastError('DIFFERENT', `${table} in ${where} differs from before the mistake`, {
    hint: 'Please report this with the log of this run.',
    details: { found, expected },
  });
}

/**
 * Shows it on a server that archives nothing yet.
 *
 * @throws HoldfastError DIFFERENT when a row does not come back; whatever failed
 */
export async function showRecovery(
  outer: RepositoryContext,
  stage: RecoveryStage,
): Promise<RecoveryShown> {
  const { cluster, database } = stage;
  const { log, signal } = outer;
  log.step('7. archiving its WAL from now on (setup_archiving.ts)');
  const context = await openStage(outer, stage);
  await switchOn(context, cluster);
  const parameters = cluster.parameters(database);
  await withClient(parameters, async (client) => {
    await execute(client, createTable);
    await execute(client, insertRows(1, rowsBefore));
  });
  log.step('8. taking a base backup of the whole server (backup_incremental.ts)');
  const { base } = (await moveForward(context, { base: 'now' })).result;
  const mistake = await withClient(parameters, async (client) => {
    await execute(client, insertRows(rowsBefore + 1, rowsBefore + rowsAfter));
    const content = await contentOf(client);
    await sleep(quietMs, undefined, { signal });
    return { content, ...(await dropByMistake(client)) };
  });
  const { droppedAt, targetTime, content } = mistake;
  log.step(`9. ${rowsAfter} rows more, then somebody drops the table ${table}, at ${droppedAt}`);
  await moveForward(context, { base: 'none' });
  const pgdata = join(cluster.socketDirectory, 'restored');
  log.step(`10. restoring the server beside itself: restore_pitr.ts --target-time ${targetTime}`);
  const target = parseTarget({ time: targetTime });
  const recovery = { target, isInclusive: true, timeline: 'latest' } as const;
  const startedSeconds = context.stopwatch();
  try {
    const plan = await planPitr(context, recovery, undefined);
    const request = { recovery, pgdata, action: 'promote', tablespaces: new Map() } as const;
    await restorePitr(context, plan, { ...request, startPort: cluster.port });
    const seconds = context.stopwatch() - startedSeconds;
    log.step(`11. comparing ${table} with what it was, and copying it into the server in use`);
    const restoredAt = { ...parameters, host: pgdata };
    const restored = `the server restored into ${basename(pgdata)}/`;
    requireSame(restored, await withClient(restoredAt, contentOf), content);
    await bringBack(context, stage, restoredAt);
    requireSame('the server in use', await withClient(parameters, contentOf), content);
    return {
      base_label: base?.label ?? '',
      table,
      dropped_at: droppedAt,
      target_time: targetTime,
      rows: content.rows,
      rows_after_base: rowsAfter,
      segments: plan.segments.length,
      restore_seconds: seconds,
    };
  } finally {
    await stopRestored(context, cluster, pgdata);
  }
}
