/**
 * Looks at a folder that a restore is to change or to replace: whether it is a data directory, and
 * that no server runs on it (manual, "Shutting Down the Server", postmaster.pid). Nothing is
 * touched.
 */

import { readdir, readFile, readlink, realpath, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { HoldfastError } from '../../core/errors.ts';
import { shellQuote } from '../../core/quote.ts';
import { controlValue } from '../../postgres/recovery_settings.ts';
import { errorNumber } from '../../process/durable.ts';
import { ownIdentity, processState } from '../../process/identity.ts';
import { findUserById } from '../../process/user.ts';
import { readMark } from './pitr_folder.ts';

/** A data directory that is there. */
export interface ExistingPgdata {
  /** Its own path, whatever links lead to it. */
  readonly folder: string;
  /** `null` where a killed restore has left no mark of it. */
  readonly systemIdentifier: string | null;
  /** What the server last was, in its own words; `null` where nothing can tell. */
  readonly state: string | null;
  /** A restore into it has not ended. */
  readonly isUnfinished: boolean;
  /** Where the links of the tablespaces lead, by their OIDs. */
  readonly tablespaces: ReadonlyMap<number, string>;
}

function refused(folder: string, why: string, hint: string): HoldfastError {
  return new HoldfastError('USAGE', `${JSON.stringify(folder)} ${why}; nothing was touched`, {
    hint,
  });
}

async function isFile(path: string): Promise<boolean> {
  return (await stat(path).catch(() => null))?.isFile() === true;
}

/** Whether a process of this host has that number. */
function isAlive(pid: number): boolean {
  return processState({ ...ownIdentity(), pid, started: '' }) === 'alive';
}

/**
 * @param state of the cluster; only one that was shut down is surely used by nobody
 * @throws HoldfastError USAGE where a server runs, or may run where this host cannot see it
 */
async function requireStopped(folder: string, state: string | null): Promise<void> {
  const path = join(folder, 'postmaster.pid');
  const place = shellQuote(folder);
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    if (errorNumber(error) === 'ENOENT') return null;
    throw error;
  });
  if (text === null) return;
  const pid = Number(text.split('\n')[0]);
  if (Number.isInteger(pid) && pid > 0 && isAlive(pid)) {
    throw refused(
      folder,
      `is used by a server, process ${pid}`,
      `Stop it: pg_ctl --pgdata ${place} stop. If it is no server, remove ${shellQuote(path)}.`,
    );
  }
  if (state?.startsWith('shut down') === true) return;
  throw refused(
    folder,
    'was not shut down in order, and a server may run on it in a container or on another host',
    `Where none does, remove ${shellQuote(path)} and run this again.`,
  );
}

/** Where the links in pg_tblspc lead. */
async function tablespaceLinks(folder: string): Promise<Map<number, string>> {
  const links = new Map<number, string>();
  const parent = join(folder, 'pg_tblspc');
  for (const name of await readdir(parent).catch((): string[] => [])) {
    if (!/^\d+$/.test(name)) continue;
    const target = await readlink(join(parent, name)).catch(() => null);
    if (target !== null) links.set(Number(name), resolve(parent, target));
  }
  return links;
}

/**
 * Looks at a folder that exists and is not empty.
 *
 * @param readControl pg_controldata of a folder; `null` where this version of it cannot tell
 * @throws HoldfastError USAGE for what is no data directory or in use, WRONG_USER
 */
export async function lookAtPgdata(
  named: string,
  readControl: (folder: string, version: string) => Promise<string | null>,
): Promise<ExistingPgdata> {
  const folder = await realpath(named);
  const { uid } = await stat(folder);
  if (uid !== process.geteuid?.()) {
    const owner = findUserById(uid)?.name ?? String(uid);
    throw new HoldfastError('WRONG_USER', `${JSON.stringify(folder)} belongs to ${owner}`, {
      hint: `No server starts in the folder of another user: run this with sudo -u ${owner}.`,
    });
  }
  const mark = await readMark(folder);
  const hasControl = await isFile(join(folder, 'global/pg_control'));
  const version = await readFile(join(folder, 'PG_VERSION'), 'utf8').catch(() => null);
  if (mark?.systemIdentifier == null && (version === null || !hasControl)) {
    throw refused(
      folder,
      'is no data directory: it has no PG_VERSION, or no global/pg_control',
      'Name a new or empty folder, or the data directory itself.',
    );
  }
  const output = hasControl && version !== null ? await readControl(folder, version.trim()) : null;
  const state = output === null ? null : controlValue(output, 'Database cluster state');
  await requireStopped(folder, state);
  return {
    folder,
    systemIdentifier:
      mark?.systemIdentifier ??
      (output === null ? null : controlValue(output, 'Database system identifier')),
    state,
    isUnfinished: mark !== null,
    tablespaces: await tablespaceLinks(folder),
  };
}
