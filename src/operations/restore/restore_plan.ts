/** What a restore is about to do, told before it does anything. */

import { formatRough, type RestoreEstimate } from '../../core/estimate.ts';
import { formatAge, formatBytes, formatCount, formatDuration } from '../../core/units.ts';
import type { Obstacle } from './restore_obstacles.ts';

/** The facts of a restore, for people and for `--dry-run --json`. */
export interface RestorePlan {
  /** The label, or the path of the file. */
  readonly backup: string;
  readonly taken_at: string | null;
  readonly age_seconds: number | null;
  /** How long the backup took, for a first idea. */
  readonly backup_seconds: number | null;
  readonly source_database: string | null;
  readonly server: string;
  readonly target_database: string;
  /** The database that will be replaced, or `null` where none has that name. */
  readonly replaces: { readonly bytes: number; readonly connections: number } | null;
  /** The name under which the restored database is built. */
  readonly restoring_name: string;
  /** The name under which the old database stays, or `null`. */
  readonly before_name: string | null;
  readonly in_place: boolean;
  readonly keep_going: boolean;
  /** With `in_place` what the safety backup will take, and what the repository has free. */
  readonly safety_backup: { readonly bytes: number; readonly free_bytes: number | null } | null;
  readonly tables: number | null;
  readonly rows: number | null;
  readonly database_bytes: number | null;
  readonly dump_bytes: number | null;
  readonly jobs: number;
  /** Where the dump is unpacked to, with more than one job. */
  readonly unpacked_bytes: number | null;
  /** Free in the folder for it; `null` with one job. */
  readonly temp_free_bytes: number | null;
  /** Free where the server keeps its data; `null` where that cannot be seen from here. */
  readonly free_bytes: number | null;
  readonly compare: 'counts' | 'content' | 'none';
  /** `null` where no restore like this one was recorded. */
  readonly estimate: RestoreEstimate | null;
  /** Roles of the backup that the server lacks; `null` where the backup does not tell them. */
  readonly roles_to_create: readonly string[] | null;
  /** What holds on to the old database. */
  readonly obstacles: readonly Obstacle[];
  /** What else needs a hand; sentences. */
  readonly notes: readonly string[];
}

/** So many roles are named. */
const rolesNamedMax = 20;

function describeBackup(plan: RestorePlan): string {
  const parts = [plan.backup];
  if (plan.source_database !== null) parts.push(`of ${JSON.stringify(plan.source_database)}`);
  if (plan.taken_at !== null) {
    const age = plan.age_seconds === null ? '' : ` (${formatAge(plan.age_seconds)} old)`;
    parts.push(`taken ${plan.taken_at}${age}`);
  }
  if (plan.tables !== null)
    parts.push(`${formatCount(plan.tables, 'table')}, ${formatCount(plan.rows ?? 0, 'row')}`);
  if (plan.dump_bytes !== null) parts.push(`a dump of ${formatBytes(plan.dump_bytes)}`);
  if (plan.database_bytes !== null) parts.push(`${formatBytes(plan.database_bytes)} on the server`);
  return parts.join(', ');
}

function describeFill(plan: RestorePlan): string {
  const unpacked =
    plan.jobs === 1
      ? ''
      : ` with ${plan.jobs} jobs, unpacked to a temporary file` +
        (plan.unpacked_bytes === null ? '' : ` of ${formatBytes(plan.unpacked_bytes)}`);
  const errors = plan.keep_going ? '; errors are collected, and then nothing is swapped' : '';
  const name = JSON.stringify(plan.restoring_name);
  return `restore it into the new database ${name}${unpacked}${errors}`;
}

const comparisons: Readonly<Record<RestorePlan['compare'], string>> = {
  counts: 'compare its tables and rows with the backup, analyze it',
  content: 'compare every row and large object with the backup, analyze it',
  none: 'analyze it (nothing is compared)',
};

/** `"shop" (8.0 MB, 3 connections now, which are ended)` */
function describeOld(plan: RestorePlan, old: NonNullable<RestorePlan['replaces']>): string {
  const connections = `${formatCount(old.connections, 'connection')} now, which are ended`;
  return `${JSON.stringify(plan.target_database)} (${formatBytes(old.bytes)}, ${connections})`;
}

function describeSafety(plan: RestorePlan): string {
  const { safety_backup: safety } = plan;
  const target = JSON.stringify(plan.target_database);
  const size = safety === null ? '' : `about ${formatBytes(safety.bytes)}`;
  const free =
    safety === null || safety.free_bytes === null ? '' : `, ${formatBytes(safety.free_bytes)} free`;
  return `take a safety backup of ${target} into the repository (${size}${free}) and read it back`;
}

function describeSteps(plan: RestorePlan): string[] {
  const { replaces } = plan;
  const target = JSON.stringify(plan.target_database);
  const steps = ['read the whole backup and check every digest'];
  if (replaces !== null && plan.in_place) {
    steps.push(
      describeSafety(plan),
      `DROP ${describeOld(plan, replaces)}: from here on there is no ${target} until the last step`,
    );
  }
  steps.push(describeFill(plan), comparisons[plan.compare]);
  if (replaces === null) steps.push(`name it ${target}, which does not exist yet`);
  else if (plan.in_place) steps.push(`name it ${target}`);
  else {
    const before = JSON.stringify(plan.before_name);
    steps.push(
      `swap: ${describeOld(plan, replaces)} becomes ${before} and the new one takes its name`,
    );
  }
  return steps.map((step, index) => `${index + 1}. ${step}`);
}

function describeTime(plan: RestorePlan): string {
  const { estimate, jobs, backup_seconds } = plan;
  const safety = plan.safety_backup === null ? '' : ', and the safety backup before it';
  if (estimate !== null) {
    const from = `${formatCount(estimate.restores, 'restore')} with ${formatCount(jobs, 'job')}`;
    return `${formatRough(estimate.seconds)} (from ${from})${safety}`;
  }
  const took = backup_seconds === null ? '' : `; the backup took ${formatDuration(backup_seconds)}`;
  return `not known: no restore like this one was recorded here yet${took}${safety}`;
}

function describeSpace(plan: RestorePlan): string[] {
  const { database_bytes: needed, free_bytes: free, temp_free_bytes: temporary } = plan;
  const parts: string[] = [];
  if (needed !== null) parts.push(`about ${formatBytes(needed)} needed on the server`);
  if (free !== null) parts.push(`${formatBytes(free)} free there`);
  else if (needed !== null) parts.push('its free space cannot be seen from here');
  if (temporary !== null) parts.push(`${formatBytes(temporary)} free for the temporary file`);
  return parts.length === 0 ? [] : [`space:   ${parts.join(', ')}`];
}

function describeRoles(plan: RestorePlan): string[] {
  const roles = plan.roles_to_create;
  if (roles === null || roles.length === 0) return [];
  const named = roles.slice(0, rolesNamedMax).map((role) => JSON.stringify(role));
  const more = roles.length > rolesNamedMax ? ` and ${roles.length - rolesNamedMax} more` : '';
  return [`roles:   missing, will be created: ${named.join(', ')}${more}`];
}

function describeObstacle({ message, sql }: Obstacle): string[] {
  return [`note:    ${message}`, ...sql.map((statement) => `  type:  ${statement}`)];
}

/** The plan as lines for people. */
export function describePlan(plan: RestorePlan): string[] {
  return [
    `backup:  ${describeBackup(plan)}`,
    `server:  ${plan.server}`,
    ...describeSteps(plan),
    `time:    ${describeTime(plan)}`,
    ...describeSpace(plan),
    ...describeRoles(plan),
    ...plan.obstacles.flatMap(describeObstacle),
    ...plan.notes.map((note) => `note:    ${note}`),
  ];
}
