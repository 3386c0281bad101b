/** What the two commands that install a schedule have in common: actions, places of settings. */

import { resolve } from 'node:path';
import { HoldfastError } from '../core/errors.ts';
import type { SettingsPlaces } from '../operations/schedule/lasting_settings.ts';
import { findUserById, type OsUser } from '../process/user.ts';
import type { Invocation } from './command.ts';

const actions = ['install', 'status', 'list', 'uninstall', 'print'] as const;
export type ScheduleAction = (typeof actions)[number];

/** @throws HoldfastError USAGE for a word that is no action */
export function readScheduleAction(operands: readonly string[]): ScheduleAction {
  const [word = 'install', second] = operands;
  const action = actions.find((candidate) => candidate === word);
  if (action !== undefined && second === undefined) return action;
  throw new HoldfastError('USAGE', `no action is called ${JSON.stringify(second ?? word)}`, {
    hint: `Name one of ${actions.join(', ')}, or none for install.`,
  });
}

/** Where the flags of this run say that the settings are: what is scheduled is told the same. */
export function settingsPlaces({ flags, world }: Invocation): SettingsPlaces {
  const path = (name: string) => {
    const given = flags[name];
    return typeof given === 'string' ? resolve(world.cwd, given) : null;
  };
  return { envFile: path('env-file'), configFile: path('config'), backupDir: path('backup-dir') };
}

/**
 * Who runs the jobs: the user that this process acts as.
 *
 * @throws HoldfastError WRONG_USER for one that the system has no name for
 */
export function actingUser(): OsUser {
  const uid = process.geteuid?.() ?? 0;
  const user = findUserById(uid);
  if (user !== null) return user;
  throw new HoldfastError('WRONG_USER', `this user (uid ${uid}) has no name`, {
    hint: 'Run it as root, or as the user that owns the repository.',
  });
}
