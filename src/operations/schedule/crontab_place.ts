/** Where a crontab is: a user's own, which only the program crontab may touch, or the system's. */

import { readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { CrontabText } from '../../core/crontab.ts';
import { HoldfastError, toHoldfastError } from '../../core/errors.ts';
import { shellQuote } from '../../core/quote.ts';
import { errorNumber, replaceFile } from '../../process/durable.ts';
import { findProgram } from '../../process/find_program.ts';
import { type RunResult, runCommand } from '../../process/run.ts';
import { asRoot, isRoot } from '../../process/user.ts';
import type { Context } from '../context.ts';
import { createScratchFolder } from '../scratch_folder.ts';

/** A crontab, by its bytes. */
export interface CrontabPlace {
  /** `the crontab of postgres`. */
  readonly description: string;
  /** A word for names of files. */
  readonly name: string;
  /** `null`: there is none. */
  read(): Promise<CrontabText | null>;
  /** `null`: there is to be none. */
  write(text: CrontabText | null): Promise<void>;
}

/** cron passes over names with dots in them, and over files that others may write. */
const systemFolder = '/etc/cron.d';
const systemName = 'holdfast';
const systemMode = 0o644;

const tempDirHint = 'Set TMPDIR to a folder that this user may write into.';

/** Where crontab(1) lies, whatever PATH this shell has. */
const usualFolders = '/usr/bin:/bin:/usr/sbin:/sbin:/usr/local/bin';

/**
 * Debian's `crontab -l` tells a carriage return as a backslash and an r, and a backspace likewise:
 * what it gave could not be written back. What its editor is shown is the crontab itself.
 */
const ambiguous = /\\[rb]/;
const copyVariable = 'HOLDFAST_CRONTAB_COPY';
/** An editor that changes nothing; crontab(1) hands it to a shell, with a file behind it. */
const copyingEditor = `sh -c 'cat "$1" >"$${copyVariable}"' sh`;

async function findCrontab(environment: Readonly<Record<string, string>>): Promise<string> {
  const path = [environment.PATH, usualFolders].filter(Boolean).join(':');
  const program = await findProgram('crontab', { PATH: path });
  if (program !== null) return program;
  throw new HoldfastError('PROGRAM_MISSING', 'crontab is not installed', {
    hint: 'Install cron, on Debian: apt-get install cron; or take setup_systemd.ts.',
  });
}

function failed(program: string, { status, signal, stderr }: RunResult): HoldfastError {
  const how = status === null ? `signal ${signal}` : `status ${status}`;
  const words = stderr.trim().split('\n').slice(-3).join('; ');
  return new HoldfastError('CHILD_FAILED', `${program} ended with ${how}: ${words}`, {
    hint: 'See crontab(1); a file cron.allow or cron.deny may keep this user from it.',
  });
}

/**
 * The crontab of the user that this process runs as. Its bytes go through files, since a crontab
 * need not be text in UTF-8.
 *
 * @throws HoldfastError PROGRAM_MISSING; what it gives throws CHILD_FAILED
 */
export async function userCrontab(
  { config, environment, signal }: Context,
  user: string,
): Promise<CrontabPlace> {
  const program = await findCrontab(environment);
  // Not in the repository: who only asks may have none.
  const withFile = async <Result>(work: (file: string) => Promise<Result>): Promise<Result> => {
    const parent = config.settings.temp_dir;
    const scratch = await createScratchFolder(parent, 'holdfast-crontab-', tempDirHint);
    try {
      return await work(join(scratch.path, 'crontab'));
    } finally {
      await scratch.remove();
    }
  };
  const run = (script: string, file: string) =>
    runCommand('/bin/sh', ['-c', `umask 077; ${script}`, 'sh', program, file], {
      environment: { ...environment, LC_ALL: 'C', [copyVariable]: file },
      signal,
      cwd: '/',
    });
  const readWhole = () =>
    withFile(async (file) => {
      const result = await run(
        `VISUAL=${shellQuote(copyingEditor)} EDITOR=$VISUAL
        export VISUAL EDITOR; exec "$1" -e </dev/null`,
        file,
      );
      const copied = await readFile(file).catch(() => null);
      if (result.status === 0 && copied !== null) return copied.toString('latin1');
      throw failed(`${program} -e`, result);
    });
  const write = (text: CrontabText) =>
    withFile(async (file) => {
      await replaceFile(file, Buffer.from(text, 'latin1'));
      return run('exec "$1" - <"$2"', file);
    });
  return {
    description: `the crontab of ${user}`,
    name: 'user',
    read: () =>
      withFile(async (file) => {
        const result = await run('exec "$1" -l >"$2"', file);
        if (result.status === 0) {
          const listed = (await readFile(file)).toString('latin1');
          return ambiguous.test(listed) ? await readWhole() : listed;
        }
        // cronie and Debian's say the first, busybox the second.
        if (/\bno crontab for\b|can't open .*: No such file/.test(result.stderr)) return null;
        throw failed(`${program} -l`, result);
      }),
    async write(text) {
      if (text === null) {
        const removed = await withFile((file) => run('exec "$1" -r', file));
        if (removed.status !== 0) throw failed(`${program} -r`, removed);
        return;
      }
      let result = await write(text);
      // Some refuse a crontab without a line break at its end, which others had let in.
      if (result.status !== 0 && text !== '' && !text.endsWith('\n')) {
        result = await write(`${text}\n`);
      }
      if (result.status !== 0) throw failed(`${program} -`, result);
    },
  };
}

/**
 * The system's crontab that is ours: /etc/cron.d/holdfast.
 *
 * @param folder another one stands for it in tests
 * @throws HoldfastError PROGRAM_MISSING where cron is not installed; what it gives throws
 *   WRONG_USER where root is not at hand
 */
export async function systemCrontab(folder = systemFolder): Promise<CrontabPlace> {
  const isFolder = await stat(folder).then(
    (stats) => stats.isDirectory(),
    () => false,
  );
  if (!isFolder) {
    throw new HoldfastError('PROGRAM_MISSING', `there is no folder ${folder}`, {
      hint: 'Install cron, on Debian: apt-get install cron; or take setup_systemd.ts.',
    });
  }
  const path = join(folder, systemName);
  return {
    description: path,
    name: 'system',
    read: async () => {
      try {
        return (await readFile(path)).toString('latin1');
      } catch (error) {
        if (errorNumber(error) === 'ENOENT') return null;
        throw toHoldfastError(error, `reading ${path}`);
      }
    },
    write: (text) =>
      asRoot(async () => {
        if (!isRoot() && folder === systemFolder) {
          throw new HoldfastError('WRONG_USER', `only root may write ${path}`, {
            hint: 'Start it with sudo, or without --system for a crontab of your own.',
          });
        }
        try {
          if (text === null) await rm(path, { force: true });
          else await replaceFile(path, Buffer.from(text, 'latin1'), systemMode);
        } catch (error) {
          throw toHoldfastError(error, `writing ${path}`);
        }
      }),
  };
}
