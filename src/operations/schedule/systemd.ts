/** systemd on this machine: its manager, asked through `systemctl`, and where its files lie. */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { HoldfastError } from '../../core/errors.ts';
import { findProgram } from '../../process/find_program.ts';
import { type RunResult, runCommand } from '../../process/run.ts';
import { asRoot, type OsUser } from '../../process/user.ts';
import type { UnitFile } from '../../schedule/render_systemd.ts';
import type { Context } from '../context.ts';

/** systemd is the first process where this folder is (manual of sd_booted(3)). */
const bootedFolder = '/run/systemd/system';
/** The monitor may take its time. */
const controlMsMax = 20 * 60_000;

/** The manager that is worked with: the system's, or that of a user. */
export interface Systemd {
  readonly isUser: boolean;
  /** Where units of one's own go. */
  readonly unitDir: string;
  /** Where the stamps of `Persistent=` timers lie, and the cache of services. */
  readonly stampDir: string;
  readonly cacheDir: string;
  /** Where `StateDirectory=` may be: alerts are remembered there while the repository is gone. */
  readonly stateDirs: readonly string[];
  /** `systemctl` with these arguments, whatever its status. Times come as UTC. */
  readonly control: (args: readonly string[]) => Promise<RunResult>;
  /** `journalctl` likewise. */
  readonly journal: (args: readonly string[]) => Promise<RunResult>;
}

/** Places of a user's manager (file-hierarchy(7), "Home Directory"). */
function placesOf(user: OsUser, environment: Readonly<Record<string, string>>) {
  return {
    unitDir: join(environment.XDG_CONFIG_HOME || join(user.home, '.config'), 'systemd/user'),
    stampDir: join(environment.XDG_DATA_HOME || join(user.home, '.local/share'), 'systemd/timers'),
    cacheDir: environment.XDG_CACHE_HOME || join(user.home, '.cache'),
    // The second one before version 254.
    stateDirs: [
      environment.XDG_STATE_HOME || join(user.home, '.local/state'),
      environment.XDG_CONFIG_HOME || join(user.home, '.config'),
    ],
  };
}

const systemPlaces = {
  unitDir: '/etc/systemd/system',
  stampDir: '/var/lib/systemd/timers',
  cacheDir: '/var/cache',
  stateDirs: ['/var/lib'],
} as const;

/**
 * Finds the manager.
 *
 * @param user whose manager it is; without one the system's
 * @throws HoldfastError PROGRAM_MISSING where systemd does not run this machine, or the user's
 *   manager does not answer
 */
export async function findSystemd(context: Context, user: OsUser | null): Promise<Systemd> {
  const { environment, signal } = context;
  if (!existsSync(bootedFolder) || (await findProgram('systemctl', environment)) === null) {
    throw new HoldfastError('PROGRAM_MISSING', 'systemd does not run this machine', {
      hint: 'Take setup_cron.ts, which needs none; setup_systemd.ts print shows the units.',
    });
  }
  const places = user === null ? systemPlaces : placesOf(user, environment);
  const runtime = user === null ? {} : { XDG_RUNTIME_DIR: `/run/user/${user.uid}` };
  const all = { ...runtime, ...environment, TZ: 'UTC', LC_ALL: 'C.UTF-8', SYSTEMD_COLORS: '0' };
  const options = { environment: all, signal, timeoutMs: controlMsMax };
  const manager = user === null ? [] : ['--user'];
  const run = (program: string) => (args: readonly string[]) =>
    asRoot(() => runCommand(program, [...manager, '--no-pager', ...args], options));
  const systemd: Systemd = {
    isUser: user !== null,
    ...places,
    control: run('systemctl'),
    journal: run('journalctl'),
  };
  if (user === null) return systemd;
  const { status, stderr } = await systemd.control(['show', '--property=Version']);
  if (status === 0) return systemd;
  throw new HoldfastError(
    'PROGRAM_MISSING',
    `no systemd of ${user.name} answers: ${stderr.trim()}`,
    {
      hint: `Log in as ${user.name}, or let it run without: loginctl enable-linger ${user.name}.`,
    },
  );
}

/**
 * `systemctl` whose failure is a failure of the caller.
 *
 * @throws HoldfastError CHILD_FAILED with what it said
 */
export async function control(systemd: Systemd, ...args: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await systemd.control(args);
  if (status === 0) return stdout;
  const words = stderr.trim().split('\n').slice(-3).join('; ');
  throw new HoldfastError('CHILD_FAILED', `systemctl ${args[0]}: ${words}`, {
    hint: 'What was begun is mended by running setup_systemd.ts again.',
  });
}

/** From this version on systemd hands files to services (systemd.exec(5), LoadCredential=). */
const credentialsVersion = 247;

/**
 * Refuses units that hand files over where systemd is too old for it.
 *
 * @throws HoldfastError WRONG_USER with what to do instead
 */
export async function requireCredentials(
  systemd: Systemd,
  units: readonly UnitFile[],
): Promise<void> {
  const line = units.flatMap(({ text }) => /^LoadCredential=[^:]+:(.*)$/m.exec(text)?.[1] ?? [])[0];
  if (line === undefined) return;
  const version = /\d+/.exec(await control(systemd, '--version'))?.[0];
  if (Number(version) >= credentialsVersion) return;
  throw new HoldfastError('WRONG_USER', `the user of the services may not read ${line}`, {
    hint: `Let it: chgrp and chmod 640; systemd ${version} cannot hand files over, 247 can.`,
  });
}

/** Whether a user's manager runs while nobody is logged in (loginctl(1), enable-linger). */
export function lingers({ name }: OsUser): boolean {
  return existsSync(join('/var/lib/systemd/linger', name));
}
