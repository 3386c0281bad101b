/** The time zone of the machine, which is the one that cron goes by. */

import { readFile, readlink } from 'node:fs/promises';
import { HoldfastError } from '../../core/errors.ts';

/**
 * A zone under the one name that it is known by here.
 *
 * @throws HoldfastError CONFIG_INVALID for a zone that is none
 */
function canonical(timeZone: string): string {
  try {
    return new Intl.DateTimeFormat('en', { timeZone }).resolvedOptions().timeZone;
  } catch (cause) {
    throw new HoldfastError(
      'CONFIG_INVALID',
      `schedule.time_zone (SCHEDULE_TIME_ZONE) is ${JSON.stringify(timeZone)}: no such time zone`,
      { hint: 'Write its name as in Europe/Berlin, or leave it out.', cause },
    );
  }
}

/**
 * The machine's time zone, whatever TZ this shell has: /etc/localtime, else /etc/timezone, else
 * UTC.
 *
 * @param folder of both files
 */
export async function systemTimeZone(folder = '/etc'): Promise<string> {
  const link = await readlink(`${folder}/localtime`).catch(() => '');
  const text = await readFile(`${folder}/timezone`, 'utf8').catch(() => '');
  for (const name of [/zoneinfo\/(?:posix\/|right\/)?(.+)$/.exec(link)?.[1], text.trim()]) {
    if (name === undefined || name === '') continue;
    try {
      return canonical(name);
    } catch {
      // A name that Node does not know: the other file may tell one.
    }
  }
  return 'UTC';
}

/**
 * Refuses a time zone that cron would not go by.
 *
 * @param wanted the setting `schedule.time_zone`
 * @param machine {@link systemTimeZone}
 * @throws HoldfastError CONFIG_INVALID
 */
export function requireSystemZone(wanted: string | null, machine: string): void {
  if (wanted === null || canonical(wanted) === machine) return;
  throw new HoldfastError(
    'CONFIG_INVALID',
    `schedule.time_zone is ${wanted}, and cron goes by the machine's own, ${machine}`,
    { hint: 'Leave it out and write the times of the machine, or take setup_systemd.ts.' },
  );
}
