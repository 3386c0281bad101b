/** How the units of the schedule are: when each runs next, how its last run ended. */

import { type KnownJob, readJobs } from '../../catalog/jobs.ts';
import { parseUnits, parseUnitTime, type UnitProperties } from '../../core/systemd_show.ts';
import { shipJob, unitName } from '../../schedule/render_systemd.ts';
import { control, type Systemd } from './systemd.ts';
import { ourUnits } from './systemd_units.ts';

/** One job that is installed. */
export interface UnitStatus {
  readonly job: string;
  /** Its service, and what starts it: the timer, or for a resident one the service itself. */
  readonly service: string;
  readonly starter: string;
  /** Whether it is started at all: the timer is active, the resident service runs. */
  readonly isActive: boolean;
  /** Whether it will be after the next boot. */
  readonly isEnabled: boolean;
  /** When it runs next, ISO 8601 UTC; `null` for a resident one, and where none is planned. */
  readonly next: string | null;
  /** As systemd says it: `active`, `activating`, `inactive`, `failed`. */
  readonly state: string;
  /** Why it failed: `exit-code`, `signal`, `oom-kill`; `success` otherwise. */
  readonly result: string;
  /** Its last run, as it was recorded; `null` where it never ran as a job. */
  readonly run: KnownJob | null;
}

const serviceSuffix = '.service';
const prefix = unitName('');

/** The jobs that our files are for, in the order of the files' names. */
function jobsOf(names: readonly string[]): string[] {
  return names
    .filter((name) => name.endsWith(serviceSuffix) && !name.includes('@'))
    .map((name) => name.slice(prefix.length, -serviceSuffix.length));
}

async function showUnits(systemd: Systemd, names: readonly string[]) {
  const properties = 'Id,ActiveState,UnitFileState,Result,NextElapseUSecRealtime';
  const text = await control(systemd, 'show', `--property=${properties}`, ...names);
  return new Map(parseUnits(text).map((unit): [string, UnitProperties] => [unit.Id ?? '', unit]));
}

/**
 * Reads how every installed job is.
 *
 * @param stateDir the repository's folder for what is local; `null`: there is none yet
 * @throws HoldfastError CHILD_FAILED, STORE_REFUSED
 */
export async function readUnitStatus(
  systemd: Systemd,
  stateDir: string | null,
): Promise<UnitStatus[]> {
  const jobs = jobsOf(await ourUnits(systemd));
  if (jobs.length === 0) return [];
  const starterOf = (job: string) =>
    `${unitName(job)}${job === shipJob ? serviceSuffix : '.timer'}`;
  const services = jobs.map((job) => `${unitName(job)}${serviceSuffix}`);
  const units = await showUnits(systemd, [...new Set([...services, ...jobs.map(starterOf)])]);
  const runs = stateDir === null ? [] : await readJobs(stateDir);
  return jobs.map((job): UnitStatus => {
    const service = `${unitName(job)}${serviceSuffix}`;
    const starter = starterOf(job);
    const { ActiveState: active, UnitFileState: file, ...timer } = units.get(starter) ?? {};
    return {
      job,
      service,
      starter,
      isActive: active === 'active',
      isEnabled: file === 'enabled',
      next: parseUnitTime(timer.NextElapseUSecRealtime),
      state: units.get(service)?.ActiveState ?? 'unknown',
      result: units.get(service)?.Result ?? 'unknown',
      run: runs.find(({ record }) => record.job === job) ?? null,
    };
  });
}

/** How one run of a service that was started now has ended. */
export interface ServiceRun {
  /** The status of its program; `null` where it was killed or never started. */
  readonly exitStatus: number | null;
  /** As systemd says it. */
  readonly result: string;
  /** What it said, as the journal has it. */
  readonly lines: readonly string[];
}

/** Starts a service, waits for its end, and reads what it said. Its failure is a result. */
export async function runService(systemd: Systemd, service: string): Promise<ServiceRun> {
  await systemd.control(['start', service]);
  const properties = '--property=Id,Result,ExecMainCode,ExecMainStatus,InvocationID';
  const [unit] = parseUnits(await control(systemd, 'show', properties, service));
  const { InvocationID: id = '', Result: result = 'unknown', ExecMainStatus: status } = unit ?? {};
  // 1: it ended by itself (CLD_EXITED of sigaction(2)).
  const exitStatus = unit?.ExecMainCode === '1' ? Number(status) : null;
  // What was said last may not have arrived yet.
  await systemd.journal(['--sync']);
  const said = await systemd.journal([`_SYSTEMD_INVOCATION_ID=${id}`, '--output=cat']);
  const lines = said.stdout.split('\n').filter((line) => line !== '' && !line.startsWith('-- '));
  return { exitStatus, result, lines };
}
