/**
 * Looks at everything that a backup or a restore will need, and says how to mend what is wrong.
 * Nothing is written, but for probes in the stores beside BACKUP_DIR, which are removed again; no
 * check waits for ever, and none hides another.
 */

import { mapBounded } from '../../catalog/map_bounded.ts';
import type { Finding } from '../../core/doctor.ts';
import { formatBytes } from '../../core/units.ts';
import { configuredTargets, type ResolvedTarget } from '../../postgres/connection.ts';
import { chooseTargets, targetNames } from '../backup_targets.ts';
import type { Context } from '../context.ts';
import { type DatabaseReport, examineDatabase } from './doctor_database.ts';
import { examineEncryption } from './doctor_encryption.ts';
import { failureFinding, finding } from './doctor_finding.ts';
import { examineHooks } from './doctor_hooks.ts';
import { examineMachine, examinePrograms } from './doctor_machine.ts';
import { examineRepository, type RepositoryFacts } from './doctor_repository.ts';
import { examineSettings, type SettingFact, settingsInEffect } from './doctor_settings.ts';
import { examineStores } from './doctor_stores.ts';

/** So many databases are looked at at the same time: a dead server makes the others wait less. */
const databasesAtOnce = 4;

/** Nearly every server has it. */
const serverDatabase = 'postgres';

/** All that was found. */
export interface DoctorReport {
  /** In the order in which they were looked at. */
  readonly findings: readonly Finding[];
  readonly settings: readonly SettingFact[];
}

/** Which databases. */
export interface DoctorWish {
  readonly named: readonly string[];
  readonly all: boolean;
}

interface Targets {
  readonly targets: readonly ResolvedTarget[];
  readonly findings: readonly Finding[];
}

/**
 * The targets, each tried for itself first: one that is written wrongly hides no other. What the
 * choice warns of is a finding.
 */
async function findTargets(context: Context, { named, all }: DoctorWish): Promise<Targets> {
  const findings: Finding[] = [];
  const warnings = new Set<string>();
  const log = { ...context.log, warn: (message: string) => void warnings.add(message) };
  const check = all ? 'connection' : 'settings';
  const choose = async (subject: string, names: readonly string[]) => {
    try {
      return await chooseTargets({ ...context, log }, names, all);
    } catch (thrown) {
      if (context.signal.aborted) throw context.signal.reason;
      findings.push(failureFinding({ check, subject }, thrown));
      return null;
    }
  };
  const names = all || named.length > 0 ? named : configuredTargets(context.config);
  let targets: readonly ResolvedTarget[] = [];
  if (names.length === 0 && !all) {
    // As on a new machine, before the restore: the server is looked at all the same.
    const message = `no database is named or configured: only ${serverDatabase} is looked at`;
    const mend = 'scripts/doctor.ts DATABASE';
    findings.push(finding({ check, subject: '' }, 'warning', message, mend));
    targets = (await choose(serverDatabase, [serverDatabase])) ?? [];
  } else if (names.length < 2) targets = (await choose(names[0] ?? '', names)) ?? [];
  else {
    const good: string[] = [];
    for (const name of names) {
      const chosen = await choose(name, [name]);
      if (chosen === null) continue;
      good.push(name);
      targets = [...targets, ...chosen];
    }
    // Together they may be too many for one place in the repository, or one of them twice.
    if (good.length > 0) targets = (await choose('', good)) ?? targets;
  }
  const files = targets.flatMap(({ candidates }) => candidates.map(({ passfile }) => passfile));
  for (const message of warnings) {
    // The password file has a finding of its own, with what to type.
    if (files.some((file) => message.startsWith(`the password file ${file} `))) continue;
    findings.push(finding({ check, subject: '' }, 'warning', message));
  }
  return { targets, findings };
}

/** All backups of one night have to fit together. */
function totalSpace(reports: readonly DatabaseReport[], { freeBytes }: RepositoryFacts): Finding[] {
  const needs = reports.flatMap(({ need }) => need ?? []);
  const total = needs.reduce((sum, { storedBytes }) => sum + storedBytes, 0);
  if (freeBytes === null || needs.length < 2 || total <= freeBytes) return [];
  const message =
    `the next backups of ${needs.length} databases need about ${formatBytes(total)} together, ` +
    `and ${formatBytes(freeBytes)} are free`;
  const mend = 'Free space in the repository, or set BACKUP_DIR to a larger file system.';
  return [finding({ check: 'space', subject: '' }, 'warning', message, mend)];
}

/** The findings of each server once, from whichever of its databases they came first. */
function serverFindings(reports: readonly DatabaseReport[]): Finding[] {
  const byServer = new Map<string, readonly Finding[]>();
  for (const { server, serverFindings: found } of reports) {
    const key = server === null ? '' : server.system_identifier;
    if (key !== '' && !byServer.has(key)) byServer.set(key, found);
  }
  return [...byServer.values()].flat();
}

async function programFindings(
  context: Context,
  reports: readonly DatabaseReport[],
): Promise<Finding[]> {
  const majors = new Set(reports.flatMap(({ server }) => server?.major ?? []));
  if (majors.size === 0) return examinePrograms(context, null);
  const findings: Finding[] = [];
  for (const major of majors) findings.push(...(await examinePrograms(context, major)));
  return findings;
}

/**
 * Examines this machine, the settings, the repository, and every database that is meant.
 *
 * @throws HoldfastError INTERRUPTED; whatever is wrong is a finding
 */
export async function examine(context: Context, wish: DoctorWish): Promise<DoctorReport> {
  const machine = await examineMachine(context);
  const settings = await examineSettings(context);
  const repository = await examineRepository(context);
  const stores = await examineStores(context);
  const encryption = await examineEncryption(context);
  const hooks = await examineHooks(context);
  const { targets, findings } = await findTargets(context, wish);
  const names = targetNames(targets);
  const numbered = targets.map((target, index) => ({ target, subject: names[index] ?? '' }));
  const reports = await mapBounded(numbered, databasesAtOnce, ({ target, subject }) =>
    examineDatabase(context, target, repository, subject),
  );
  return {
    findings: [
      ...machine,
      ...settings,
      ...repository.findings,
      ...stores,
      ...encryption,
      ...hooks,
      ...findings,
      ...(await programFindings(context, reports)),
      ...serverFindings(reports),
      ...reports.flatMap((report) => report.findings),
      ...totalSpace(reports, repository),
    ],
    settings: settingsInEffect(context),
  };
}
