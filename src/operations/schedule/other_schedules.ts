/**
 * A schedule belongs into one place: in two every job would start twice, and the second would fail
 * each time, since no job overlaps itself.
 */

import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { blockMarks } from '../../core/crontab.ts';
import { HoldfastError } from '../../core/errors.ts';
import { runCommand } from '../../process/run.ts';
import { asRoot, isRoot, type OsUser } from '../../process/user.ts';
import { repositoryLine, unitHeader } from '../../schedule/render_systemd.ts';
import type { RepositoryContext } from '../context.ts';

/** Where a schedule can be. */
export type SchedulePlace = 'crontab' | 'cron.d' | 'systemd';

/** What is looked at; other places stand for it in tests. */
export interface OtherPlaces {
  readonly cronFile: string;
  readonly unitFolders: readonly string[];
}

const takeOut = {
  crontab: 'setup_cron.ts uninstall',
  'cron.d': 'setup_cron.ts uninstall --system',
  systemd: 'setup_systemd.ts uninstall',
} as const satisfies Record<SchedulePlace, string>;

const usualPlaces = ({ home }: OsUser): OtherPlaces => ({
  cronFile: '/etc/cron.d/holdfast',
  unitFolders: ['/etc/systemd/system', join(home, '.config/systemd/user')],
});

function hasBlock(text: string, repository: string): boolean {
  const [begin] = blockMarks(repository);
  return text.split(/\r?\n/).includes(begin);
}

/** A user's crontab, as far as it can be asked for: a machine without cron has none. */
async function inCrontab(
  { repository, environment, signal }: RepositoryContext,
  user: OsUser,
): Promise<boolean> {
  try {
    const { stdout } = await asRoot(() => {
      const args = isRoot() ? ['-u', user.name, '-l'] : ['-l'];
      return runCommand('crontab', args, { environment, signal, cwd: '/' });
    });
    return hasBlock(stdout, repository.root);
  } catch (error) {
    if (error instanceof HoldfastError && error.code === 'PROGRAM_MISSING') return false;
    throw error;
  }
}

async function inUnits(folders: readonly string[], repository: string): Promise<boolean> {
  // What cannot stand in a unit is in none.
  if (/\p{Cc}/u.test(repository)) return false;
  const written = `\n${repositoryLine(repository)}\n`;
  for (const folder of folders) {
    const names = await readdir(folder).catch(() => []);
    for (const name of names) {
      if (!/^holdfast-[a-z-]+\.service$/.test(name)) continue;
      const text = await readFile(join(folder, name), 'utf8').catch(() => '');
      if (text.startsWith(unitHeader) && text.includes(written)) return true;
    }
  }
  return false;
}

/**
 * Refuses to install a schedule beside one of the same repository.
 *
 * @param own where it is to be installed
 * @param user who runs the jobs
 * @throws HoldfastError CONFIRMATION_NEEDED with what to type first
 */
export async function requireNoOther(
  context: RepositoryContext,
  own: SchedulePlace,
  user: OsUser,
  { cronFile, unitFolders } = usualPlaces(user),
): Promise<void> {
  const { root } = context.repository;
  const looks: Readonly<Record<SchedulePlace, () => Promise<boolean>>> = {
    crontab: () => inCrontab(context, user),
    'cron.d': async () => hasBlock(await readFile(cronFile, 'utf8').catch(() => ''), root),
    systemd: () => inUnits(unitFolders, root),
  };
  const told = {
    crontab: `the crontab of ${user.name}`,
    'cron.d': cronFile,
    systemd: 'systemd',
  } as const satisfies Record<SchedulePlace, string>;
  for (const place of Object.keys(looks) as SchedulePlace[]) {
    if (place === own || !(await looks[place]())) continue;
    throw new HoldfastError('CONFIRMATION_NEEDED', `${told[place]} has the schedule already`, {
      hint: `Take it out there first: ${takeOut[place]}.`,
    });
  }
}
