/** Our files among the units of a machine: which are ours, what would change, writing, removing. */

import { lstat, mkdir, readdir, readFile, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError, toHoldfastError } from '../../core/errors.ts';
import { errorNumber, partialSuffix, replaceFile } from '../../process/durable.ts';
import { asRoot } from '../../process/user.ts';
import { shipJob, type UnitFile, unitHeader, unitName } from '../../schedule/render_systemd.ts';
import { control, type Systemd } from './systemd.ts';

/** What an installation does with files. */
export interface UnitPlan {
  /** New, or with another text than there is. */
  readonly write: readonly UnitFile[];
  /** Of ours, and no longer wanted. */
  readonly remove: readonly string[];
  /** All that are wanted. */
  readonly wanted: readonly UnitFile[];
}

const ourNames = /^holdfast-[a-z-]+@?\.(?:service|timer)$/;
const unitMode = 0o644;
const unitFolderMode = 0o755;

const shipUnit = `${unitName(shipJob)}.service`;

/** A file's text; `null` where there is none; a link or anything else is somebody's own doing. */
async function readUnit(path: string): Promise<string | null> {
  try {
    return (await lstat(path)).isFile() ? await readFile(path, 'utf8') : '';
  } catch (error) {
    if (errorNumber(error) === 'ENOENT') return null;
    throw toHoldfastError(error, `reading ${path}`);
  }
}

function isOurs(text: string | null): boolean {
  return text?.startsWith(`${unitHeader}\n`) === true;
}

/** The names of our files there, by their first line; what a killed run has left, too. */
export async function ourUnits({ unitDir }: Systemd): Promise<string[]> {
  const names = await readdir(unitDir).catch((error: unknown) => {
    if (errorNumber(error) === 'ENOENT') return [];
    throw toHoldfastError(error, `reading ${unitDir}`);
  });
  const ours: string[] = [];
  for (const name of names.toSorted()) {
    if (!ourNames.test(name) && !name.endsWith(partialSuffix)) continue;
    if (isOurs(await readUnit(join(unitDir, name)))) ours.push(name);
  }
  return ours;
}

/**
 * What each of our units does: the times of a timer, the command of a service.
 *
 * @throws HoldfastError STORE_REFUSED where they may not be read
 */
export async function readUnits(systemd: Systemd) {
  const units: { readonly name: string; readonly starts: readonly string[] }[] = [];
  for (const name of await ourUnits(systemd)) {
    const text = (await readUnit(join(systemd.unitDir, name))) ?? '';
    const starts = [...text.matchAll(/^(?:OnCalendar|ExecStart)=(.*)$/gm)].map(
      ([, value]) => value,
    );
    units.push({ name, starts: starts.map((value) => value ?? '') });
  }
  return units;
}

/**
 * Decides what an installation does.
 *
 * @throws HoldfastError USAGE where a file of that name is not ours
 */
export async function planUnits(systemd: Systemd, wanted: readonly UnitFile[]): Promise<UnitPlan> {
  const write: UnitFile[] = [];
  for (const file of wanted) {
    const path = join(systemd.unitDir, file.name);
    const before = await readUnit(path);
    if (before === file.text) continue;
    if (before !== null && !isOurs(before)) {
      throw new HoldfastError('USAGE', `${path} is there, and is not made by setup_systemd.ts`, {
        hint: `Nothing was changed. Look what it is, and move it away: mv ${path} ${path}.before.`,
      });
    }
    write.push(file);
  }
  const names = new Set(wanted.map(({ name }) => name));
  const remove = (await ourUnits(systemd)).filter((name) => !names.has(name));
  return { write, remove, wanted };
}

/** What is switched on by itself: the timers, and the resident helper. */
function enabledOf(names: readonly string[]): string[] {
  return names.filter((name) => name.endsWith('.timer') || name === shipUnit);
}

async function removeFiles({ unitDir, stampDir }: Systemd, names: readonly string[]) {
  await asRoot(async () => {
    for (const name of names) {
      await rm(join(unitDir, name), { force: true });
      if (name.endsWith('.timer')) await rm(join(stampDir, `stamp-${name}`), { force: true });
    }
  });
}

/** Switches off and removes. The runs that are under way end by themselves, but for the helper. */
async function takeAway(systemd: Systemd, names: readonly string[]): Promise<void> {
  const enabled = enabledOf(names);
  if (enabled.length > 0) await control(systemd, 'disable', '--now', ...enabled);
  await removeFiles(systemd, names);
}

/**
 * Does what was decided. Killed half-way it has left what the next one mends.
 *
 * @throws HoldfastError STORE_REFUSED, NO_SPACE, CHILD_FAILED
 */
export async function installUnits(systemd: Systemd, plan: UnitPlan): Promise<void> {
  const { unitDir } = systemd;
  await takeAway(systemd, plan.remove);
  try {
    await asRoot(async () => {
      await mkdir(unitDir, { recursive: true, mode: unitFolderMode });
      for (const { name, text } of plan.write) {
        await replaceFile(join(unitDir, name), Buffer.from(text), unitMode);
      }
    });
  } catch (error) {
    throw toHoldfastError(error, `writing into ${unitDir}`);
  }
  await control(systemd, 'daemon-reload');
  const enabled = enabledOf(plan.wanted.map(({ name }) => name));
  await control(systemd, 'enable', ...enabled);
  const written = new Set(plan.write.map(({ name }) => name));
  // A timer goes by its new times, and the helper by its settings of now, only when started anew.
  const changed = enabled.filter((name) => written.has(name) || name === shipUnit);
  if (changed.length > 0) await control(systemd, 'restart', ...changed);
  await control(systemd, 'start', ...enabled);
}

/** One folder for each repository: src/operations/alerts/spare_place.ts. */
const spareName = /^[0-9a-f]{16}$/;

/** Removes what services have remembered outside of the repository. */
async function forgetState(folder: string): Promise<void> {
  const names = await readdir(folder).catch(() => []);
  for (const name of names.filter((each) => spareName.test(each))) {
    await rm(join(folder, name), { recursive: true, force: true });
  }
  await rmdir(folder).catch(() => undefined);
}

/**
 * Removes everything of ours.
 *
 * @returns the names of the files that were removed
 * @throws HoldfastError STORE_REFUSED, CHILD_FAILED
 */
export async function uninstallUnits(systemd: Systemd): Promise<string[]> {
  const names = await ourUnits(systemd);
  await takeAway(systemd, names);
  await control(systemd, 'daemon-reload');
  // It is known only where one has failed.
  await systemd.control(['reset-failed', 'holdfast-*']);
  const cache = join(systemd.cacheDir, 'holdfast');
  await asRoot(async () => {
    await rm(join(cache, 'node'), { recursive: true, force: true });
    await rmdir(cache).catch(() => undefined);
    for (const each of systemd.stateDirs) await forgetState(join(each, 'holdfast'));
  });
  return names;
}
