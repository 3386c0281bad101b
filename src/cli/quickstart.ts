/** The command scripts/quickstart.ts. */

import { relative } from 'node:path';
import { exitStatus } from '../core/errors.ts';
import { formatBytes, formatDuration } from '../core/units.ts';
import { type QuickstartResult, runQuickstart } from '../operations/quickstart/quickstart.ts';
import type { CommandResult, Invocation } from './command.ts';
import { needRepository } from './open_context.ts';

/** What happened, where the files are, what to type next. */
function describe(result: QuickstartResult, cwd: string, seconds: number): string {
  const { label, stored_bytes: stored, database_bytes: bytes, rows, tables, recovery } = result;
  const folder = relative(cwd, result.folder);
  const shown = folder.startsWith('..') ? result.folder : folder;
  const root = shown.slice(0, shown.indexOf('/full/'));
  const backedUpIn = formatDuration(result.backup_seconds);
  const restoredIn = formatDuration(result.restore_seconds);
  const { table, rows: back, rows_after_base: late } = recovery;
  const recoveredIn = formatDuration(recovery.restore_seconds);
  const [droppedAt, target] = [recovery.dropped_at, recovery.target_time].map(clockOf);
  return `
What happened, in ${formatDuration(seconds)}:
  A sample database of ${formatBytes(bytes)} (PostgreSQL ${result.server_version}) was backed up
  into ${formatBytes(stored)} in ${backedUpIn}. The backup was read back, verified to the last byte,
  and restored under another name in ${restoredIn}: ${tables} tables with ${rows} rows are equal.

  Then its WAL was archived and a base backup taken. The table ${table} was dropped at
  ${droppedAt}. The whole server was restored beside it to ${target} (UTC)
  in ${recoveredIn}: all ${back} rows were there, also the ${late} that came after the base backup,
  and were copied back. Nothing of this is left; docs/runbook_recovery.md is how to do it for real.

Where the files are:
  ${shown}
  restore.sh in there restores it with stock tools alone: sh restore.sh --help

What to type next:
  scripts/list_backups.ts --backup-dir ${root}
  scripts/verify_backups.ts --backup-dir ${root} ${label}

  For a database of your own (PGHOST, PGUSER, PGPASSWORD as for psql, or .env):
  scripts/backup_full.ts mastertrade
  scripts/restore_backup.ts --latest mastertrade --target-database mastertrade_check

  For every moment, not only last night (as the server's own user, mostly postgres):
  scripts/setup_archiving.ts
  scripts/backup_incremental.ts
`;
}

/** `10:42:17.123` of an ISO 8601 time in UTC. */
function clockOf(time: string): string {
  return time.slice('2026-11-21T'.length, -1);
}

/** Runs the command. */
export async function quickstartCommand(invocation: Invocation): Promise<CommandResult> {
  const context = needRepository(invocation.context);
  const startedSeconds = context.stopwatch();
  const result = await runQuickstart(context);
  const seconds = context.stopwatch() - startedSeconds;
  const text = describe(result, invocation.world.cwd, seconds);
  return { status: exitStatus.done, json: { exit_status: exitStatus.done, ...result }, text };
}
