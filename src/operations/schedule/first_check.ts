/**
 * The first look of the monitor, with next to no environment, as cron gives it: what is wrong with
 * what the schedule will start shows now, and not tonight.
 */

import { join } from 'node:path';
import { toHoldfastError } from '../../core/errors.ts';
import { runCommand } from '../../process/run.ts';
import { asRoot, findUserById, type OsUser } from '../../process/user.ts';
import type { RepositoryContext } from '../context.ts';

/** What the monitor has said. */
export interface FirstCheck {
  /** `OK`, `WARNING`, …; in other words where it could not be run. */
  readonly verdict: string;
  readonly exitStatus: number | null;
  /** What it printed, line by line. */
  readonly lines: readonly string[];
}

const timeoutMs = 120_000;
/** By exit status (PRODUCT.md, "Commands"). */
const verdicts = ['OK', 'WARNING', 'CRITICAL', 'UNKNOWN'];
const barePath = '/usr/bin:/bin';

/**
 * Runs `monitor_backups.ts check` once, as the user that this process acts as.
 *
 * @param settingsArgs what every scheduled command is told
 */
export async function checkOnce(
  { config, signal }: RepositoryContext,
  settingsArgs: readonly string[],
): Promise<FirstCheck> {
  const scripts = join(config.projectDir, 'scripts');
  const acting: OsUser | null = findUserById(process.geteuid?.() ?? 0);
  const environment = {
    PATH: barePath,
    SHELL: '/bin/sh',
    HOME: acting?.home ?? '/',
    ...(acting === null ? {} : { LOGNAME: acting.name, USER: acting.name }),
  };
  const args = [join(scripts, 'monitor_backups.ts'), 'check', ...settingsArgs];
  try {
    const result = await asRoot(() => {
      const mustChange = acting !== null && acting.uid !== process.geteuid?.();
      const user = mustChange ? acting : undefined;
      const options = { environment, signal, timeoutMs, cwd: '/', user };
      return runCommand(join(scripts, 'run_node.sh'), args, options);
    });
    const { status, stdout, stderr } = result;
    const verdict = status === null ? 'nothing in time' : (verdicts[status] ?? `status ${status}`);
    const lines = `${stderr}${stdout}`.split('\n').filter((line) => line.trim() !== '');
    return { verdict, exitStatus: status, lines };
  } catch (error) {
    const { code, message } = toHoldfastError(error);
    if (code === 'INTERRUPTED') throw error;
    return { verdict: message, exitStatus: null, lines: [] };
  }
}
