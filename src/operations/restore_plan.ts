/** What a restore is about to do, told before it does anything. */

import { formatBytes } from '../core/units.ts';

/** The facts of a restore, for people and for `--dry-run --json`. */
export interface RestorePlan {
  /** The label, or the path of the file. */
  readonly backup: string;
  readonly taken_at: string | null;
  readonly source_database: string | null;
  readonly server: string;
  readonly target_database: string;
  /** The database that will be replaced, or `null` where none has that name. */
  readonly replaces: { readonly bytes: number; readonly connections: number } | null;
  /** The name under which the restored database is built. */
  readonly restoring_name: string;
  /** The name under which the old database stays, or `null`. */
  readonly before_name: string | null;
  readonly tables: number | null;
  readonly rows: number | null;
  readonly database_bytes: number | null;
  readonly dump_bytes: number | null;
  readonly jobs: number;
  /** Where the dump is unpacked to, with more than one job. */
  readonly unpacked_bytes: number | null;
  /** Free where the server keeps its data; `null` where that cannot be seen from here. */
  readonly free_bytes: number | null;
  readonly compare: 'counts' | 'none';
  /** What stands in the way of the swap or needs a hand afterwards; sentences. */
  readonly notes: readonly string[];
}

function describeBackup(plan: RestorePlan): string {
  const parts = [plan.backup];
  if (plan.source_database !== null) parts.push(`of ${JSON.stringify(plan.source_database)}`);
  if (plan.taken_at !== null) parts.push(`taken ${plan.taken_at}`);
  if (plan.tables !== null) parts.push(`${plan.tables} tables, ${plan.rows ?? 0} rows`);
  if (plan.database_bytes !== null) parts.push(`${formatBytes(plan.database_bytes)} on the server`);
  return parts.join(', ');
}

/** The plan as lines for people. */
export function describePlan(plan: RestorePlan): string[] {
  const target = JSON.stringify(plan.target_database);
  const lines = [
    `backup:  ${describeBackup(plan)}`,
    `server:  ${plan.server}`,
    `1. read the whole backup and check every digest`,
    `2. restore it into the new database ${JSON.stringify(plan.restoring_name)}` +
      (plan.jobs > 1
        ? ` with ${plan.jobs} jobs, unpacked to a temporary file` +
          (plan.unpacked_bytes === null ? '' : ` of ${formatBytes(plan.unpacked_bytes)}`)
        : ''),
    plan.compare === 'counts'
      ? '3. compare its tables and rows with the backup, analyze it'
      : '3. analyze it (nothing is compared)',
  ];
  if (plan.replaces === null) {
    lines.push(`4. name it ${target}, which does not exist yet`);
  } else {
    const { bytes, connections } = plan.replaces;
    lines.push(
      `4. swap: ${target} (${formatBytes(bytes)}, ${connections} connections now, which are ` +
        `ended) becomes ${JSON.stringify(plan.before_name)} and the new one takes its name`,
    );
  }
  if (plan.free_bytes !== null) lines.push(`space:   ${formatBytes(plan.free_bytes)} free`);
  for (const note of plan.notes) lines.push(`note:    ${note}`);
  return lines;
}
