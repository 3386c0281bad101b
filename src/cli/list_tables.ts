/** What is in one backup, for scripts/list_backups.ts: its tables, as its manifest tells them. */

import { exitStatus } from '../core/errors.ts';
import type { Manifest } from '../core/manifest.ts';
import { printable } from '../core/printable.ts';
import { formatBytes, formatCount } from '../core/units.ts';
import type { RepositoryContext } from '../operations/context.ts';
import { firstWith } from '../operations/store_choice.ts';
import type { CommandResult, Flags } from './command.ts';
import { formatTable } from './table.ts';

function describeTables(manifest: Manifest): string {
  const { database, label, started_at: startedAt, tables, large_objects: large } = manifest;
  const title = `${label}: ${printable(database)} as of ${startedAt}\n`;
  if (tables === null) return `${title}its tables were not counted when it was taken\n`;
  const rows = tables.map((table) => [
    printable(table.schema),
    printable(table.name),
    String(table.rows),
    formatBytes(table.bytes),
  ]);
  const objects =
    large === null || large.count === 0
      ? ''
      : `${formatCount(large.count, 'large object')}, ${formatBytes(large.bytes)}\n`;
  return title + formatTable(['schema', 'table', 'rows', 'data'], rows) + objects;
}

/**
 * The tables of one backup.
 *
 * @throws HoldfastError BACKUP_NOT_FOUND when there is no such label, and what is wrong with its
 *   manifest
 */
export async function listTables(
  context: RepositoryContext,
  label: string,
  flags: Flags,
): Promise<CommandResult> {
  const cluster = flags.cluster as string | undefined;
  const { result } = await firstWith(context, context.repository.stores, (view) =>
    view.catalog.findBackup(label, { cluster }),
  );
  const { manifest, problem } = result;
  if (problem !== null) throw problem;
  const { database, started_at, tables, large_objects } = manifest;
  const json = { label, cluster: manifest.cluster, database, started_at, tables, large_objects };
  return { status: exitStatus.done, json, text: describeTables(manifest) };
}
