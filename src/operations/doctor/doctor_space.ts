/** Whether the next backup and a restore will find room; and how old the last backup is. */

import type { CatalogEntry } from '../../catalog/catalog.ts';
import type { Finding } from '../../core/doctor.ts';
import { parseLabel } from '../../core/label.ts';
import { formatAge, formatBytes } from '../../core/units.ts';
import type { Connected } from '../../postgres/connection.ts';
import type { ServerFacts } from '../../postgres/facts.ts';
import { queryOne } from '../../postgres/query.ts';
import { freeBytesAt } from '../../process/file_facts.ts';
import { checkSpace, estimateSize } from '../backup_space.ts';
import type { Context } from '../context.ts';
import { readRestoreServer } from '../restore/restore_server.ts';
import { attempt, finding } from './doctor_finding.ts';
import type { RepositoryFacts } from './doctor_repository.ts';

/** What the next backup of a database will take. */
export interface SpaceNeed {
  readonly storedBytes: number;
}

/** The backups of a database, oldest first; `null` where the repository cannot be read. */
function backupsOf(
  context: Context,
  { server, repository }: Known,
  database: string,
): CatalogEntry[] | null {
  const cluster = context.config.settings.cluster ?? server.system_identifier;
  const { entries } = repository;
  if (entries === null) return null;
  return entries.filter((each) => each.cluster === cluster && each.database === database);
}

function lastBackupFinding(context: Context, subject: string, last: CatalogEntry | null): Finding {
  const about = { check: 'backups', subject } as const;
  if (last === null) return finding(about, 'note', 'there is no backup of it yet');
  const startedMs = parseLabel(last.label)?.startedAt.getTime() ?? 0;
  const ageSeconds = (context.clock().getTime() - startedMs) / 1000;
  return finding(about, 'ok', `the last backup is ${last.label}, age ${formatAge(ageSeconds)}`);
}

/** Room for the new database beside the old one, where the server's disk can be seen. */
async function restoreSpaceFinding(
  { client, parameters }: Connected,
  neededBytes: number,
  subject: string,
): Promise<Finding> {
  const about = { check: 'space', subject } as const;
  const { freeBytes } = await readRestoreServer(client, parameters);
  const needed = `a restore beside the old database needs about ${formatBytes(neededBytes)}`;
  if (freeBytes === null) {
    return finding(about, 'note', `${needed}; the server's disk cannot be seen from here`);
  }
  const message = `${needed} of ${formatBytes(freeBytes)} free where the server keeps its data`;
  if (neededBytes <= freeBytes) return finding(about, 'ok', message);
  return finding(about, 'warning', message, 'Free space there, or plan to restore elsewhere.');
}

/** What is known before a database is looked at. */
interface Known {
  readonly server: ServerFacts;
  readonly repository: RepositoryFacts;
}

/** Compares what the next backup and a restore need with what is free. */
export async function examineSpace(
  context: Context,
  connected: Connected,
  known: Known,
  subject: string,
): Promise<{ readonly findings: readonly Finding[]; readonly need: SpaceNeed }> {
  const { settings } = context.config;
  const about = { check: 'space', subject } as const;
  const { name, bytes } = await queryOne<{ name: string; bytes: string }>(
    connected.client,
    `SELECT datname AS name, pg_catalog.pg_database_size(oid)::text AS bytes
       FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()`,
    [],
    { doing: 'reading the size of the database' },
  );
  const backups = backupsOf(context, known, name);
  const last = backups?.findLast(({ manifest }) => manifest !== null);
  const estimate = estimateSize(Number(bytes), last?.manifest ?? null);
  const findings = backups === null ? [] : [lastBackupFinding(context, subject, last ?? null)];
  const { freeBytes } = known.repository;
  const backup = await attempt(context, about, async () => {
    const tight = checkSpace(estimate, freeBytes, settings.min_disk_space_gb * 1e9);
    if (tight !== null) return [finding(about, 'warning', tight, 'Free space in the repository.')];
    const free = freeBytes === null ? '' : ` of ${formatBytes(freeBytes)} free`;
    const text = `the next backup needs about ${formatBytes(estimate.storedBytes)}${free}`;
    return [finding(about, 'ok', text)];
  });
  const restore = known.server.in_recovery
    ? [finding(about, 'note', 'the server is a standby, which takes no restore')]
    : await attempt(context, about, async () => [
        await restoreSpaceFinding(connected, Number(bytes), subject),
      ]);
  const temporary = await freeBytesAt(settings.temp_dir);
  if (settings.restore_jobs > 1 && temporary !== null && temporary < estimate.plainBytes) {
    const message =
      `restores with --jobs unpack about ${formatBytes(estimate.plainBytes)} in ` +
      `${settings.temp_dir}, where ${formatBytes(temporary)} are free`;
    const unpack = { check: 'temporary', subject } as const;
    findings.push(finding(unpack, 'warning', message, 'Set TMPDIR to a larger file system.'));
  }
  const need = { storedBytes: estimate.storedBytes };
  return { findings: [...findings, ...backup, ...restore], need };
}
