/** The checks of runs and of the schedule: what the records in `state/` tell. */

import { readFile } from 'node:fs/promises';
import { type KnownJob, readJobs } from '../../catalog/jobs.ts';
import { folderAbove } from '../../catalog/repository.ts';
import { type KnownRun, knownRuns } from '../../catalog/runs.ts';
import { isUsable } from '../../core/base_chain.ts';
import type { HealthFinding } from '../../core/health.ts';
import {
  type DeadRunFacts,
  deadRun,
  type JobRunFacts,
  jobOnTime,
  jobRun,
} from '../../core/health_runs.ts';
import { parseBaseLabel, parseLabel } from '../../core/label.ts';
import { decodeComponent } from '../../core/names.ts';
import { planSchedule } from '../../core/schedule.ts';
import { nextRun } from '../../schedule/next_run.ts';
import { type CheckGroup, type MonitorContext, unknownFinding } from './monitor_context.ts';

/** When the youngest good backup in a folder of backups began, in whatever store; by the folder. */
async function youngestGood(monitor: MonitorContext): Promise<ReadonlyMap<string, Date>> {
  const youngest = new Map<string, Date>();
  const add = (folder: string, startedAt: Date | undefined) => {
    const above = folderAbove(folder);
    const known = youngest.get(above);
    if (startedAt !== undefined && (known === undefined || known < startedAt)) {
      youngest.set(above, startedAt);
    }
  };
  for (const listing of await monitor.listing()) {
    if (listing.error !== null) continue;
    for (const { folder, label, state } of listing.full.backups) {
      if (state === 'complete') add(folder, parseLabel(label)?.startedAt);
    }
    for (const { folder, label } of listing.bases.filter(isUsable)) {
      add(folder, parseBaseLabel(label)?.startedAt);
    }
  }
  return youngest;
}

function deadFacts(
  { record, state }: KnownRun,
  jobs: readonly KnownJob[],
  youngest: ReadonlyMap<string, Date>,
): DeadRunFacts[] {
  const { run_id: runId, command, folder, started_at } = record;
  if (state !== 'dead' || folder === null) return [];
  // The job that it was a part of is told.
  const isTold = jobs.some((job) => job.state === 'dead' && runId.startsWith(job.record.run_id));
  if (isTold) return [];
  const [top, clusterPart = '', databasePart = ''] = folder.split('/');
  const cluster = decodeComponent(clusterPart) ?? clusterPart;
  const database = top === 'full' ? (decodeComponent(databasePart) ?? databasePart) : null;
  const startedAt = new Date(started_at);
  const good = youngest.get(folderAbove(folder));
  const isMadeUp = good !== undefined && good.getTime() > startedAt.getTime();
  return [{ command, runId, cluster, database, startedAt, isMadeUp }];
}

async function deadFindings(
  monitor: MonitorContext,
  jobs: readonly KnownJob[],
): Promise<HealthFinding[]> {
  const runs = await knownRuns(monitor.context.repository.stateDir);
  if (!runs.some(({ state }) => state === 'dead')) return [];
  const youngest = await youngestGood(monitor);
  const found = runs.flatMap((run) => deadFacts(run, jobs, youngest)).flatMap(deadRun);
  // Of several that died for the same database the last one is told.
  const last = new Map<string, HealthFinding>();
  for (const finding of found) {
    const known = last.get(finding.subject);
    if (known === undefined || (known.since ?? '') < (finding.since ?? '')) {
      last.set(finding.subject, finding);
    }
  }
  return [...last.values()];
}

/** The last run of a job, as its record tells it. */
export function jobRunFacts({ record, state }: KnownJob): JobRunFacts {
  const finished = record.finished_at;
  return {
    job: record.job,
    command: record.command,
    runId: record.run_id,
    startedAt: new Date(record.started_at),
    finishedAt: finished === null ? null : new Date(finished),
    exitStatus: record.exit_status,
    statusBefore: record.status_before,
    state,
  };
}

/** When this machine was started; `null` where nobody tells (proc(5), `btime`). */
async function bootedAt(): Promise<Date | null> {
  const text = await readFile('/proc/stat', 'latin1').catch(() => '');
  const seconds = /^btime (\d+)$/m.exec(text)?.[1];
  return seconds === undefined ? null : new Date(Number(seconds) * 1000);
}

/** The jobs that the settings ask for and that have run before: those are installed. */
async function scheduleFindings(
  { context, now }: MonitorContext,
  known: readonly KnownJob[],
): Promise<HealthFinding[]> {
  if (known.length === 0) return [];
  // What is left out has no record, so that nothing else has to be known of it.
  const facts = { isArchiving: true, isIncrementalSet: true, namesDatabase: true };
  const { jobs, timeZone } = planSchedule(context.config.settings.schedule, facts);
  const zone = timeZone ?? Intl.DateTimeFormat().resolvedOptions().timeZone;
  const booted = await bootedAt();
  const findings: HealthFinding[] = [];
  for (const { name, when } of jobs) {
    const job = known.find(({ record }) => record.job === name);
    if (job === undefined) continue;
    const lastStartedAt = new Date(job.record.started_at);
    // What should have begun while the machine was off, nobody could begin.
    const isOff = booted !== null && booted > lastStartedAt && booted <= now;
    const dueAt = await nextRun(when, isOff ? booted : lastStartedAt, zone);
    const isRunning = job.state === 'running';
    findings.push(jobOnTime({ job: name, when, lastStartedAt, dueAt, isRunning }, now));
  }
  return findings;
}

async function checkRuns(monitor: MonitorContext): Promise<readonly HealthFinding[]> {
  const { context, now } = monitor;
  const jobs = await readJobs(context.repository.stateDir);
  const findings = jobs.map((job) => jobRun(jobRunFacts(job), now));
  findings.push(...(await deadFindings(monitor, jobs)));
  try {
    findings.push(...(await scheduleFindings(monitor, jobs)));
  } catch (thrown) {
    findings.push(unknownFinding({ check: 'schedule', subject: 'schedule' }, thrown));
  }
  return findings;
}

/** Whether what was begun has ended, and what should have been begun was. */
export const runsGroup: CheckGroup = {
  name: 'runs',
  checks: ['runs', 'schedule'],
  needs: 'repository',
  run: checkRuns,
};
