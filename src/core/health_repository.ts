/** The monitor's check `repository`: whether the stores are there and take more. Pure. */

import type { HealthFinding } from './health.ts';
import { shownFinding } from './health_words.ts';
import { printable } from './printable.ts';
import { shellQuote } from './quote.ts';
import { formatCount } from './units.ts';

/** What is wrong with a folder on this machine; `null`: nothing. */
export type FolderProblem =
  /** Its file system is mounted read-only. */
  | { readonly kind: 'read-only'; readonly path: string }
  /** This user may not write there. */
  | { readonly kind: 'mode'; readonly path: string }
  | {
      readonly kind: 'owner';
      readonly path: string;
      readonly owner: string;
      readonly user: string;
    };

/** A store, as it was found. */
export interface StoreFacts {
  readonly name: string;
  /** Whether a run needs it. */
  readonly isRequired: boolean;
  /** `local store /backup`: never with a secret. */
  readonly description: string;
  /** Why it does not answer, or cannot be read; `null`: it does. */
  readonly failure: { readonly message: string; readonly hint: string | null } | null;
  /** Of a store that is a folder. */
  readonly problem: FolderProblem | null;
  /** `holdfast.json` says so; `null`: there is none yet. */
  readonly repositoryId: string | null;
  /** What this repository is. */
  readonly expectedId: string;
  readonly backups: number;
}

/** What is wrong, and what to do about it. */
interface Trouble {
  readonly message: string;
  readonly found: string;
  readonly mend: string;
}

function folderTrouble(problem: FolderProblem): Trouble {
  const { path } = problem;
  switch (problem.kind) {
    case 'read-only':
      return {
        message: 'nothing can be written there: its file system is read-only',
        found: `${path} on a file system that is mounted read-only`,
        mend: 'Look into dmesg for errors of the disk, then type sudo mount -o remount,rw there.',
      };
    case 'mode':
      return {
        message: 'nothing can be written there: the mode does not allow it',
        found: `${path}, which this user may not write`,
        mend: `Type chmod u+rwx ${shellQuote(path)}.`,
      };
    default:
      return {
        message: `it belongs to ${problem.owner}, and this is ${problem.user}`,
        found: `${path} of ${problem.owner}`,
        mend: `Run the monitor as ${problem.owner}, or type sudo chown -R for ${shellQuote(path)}.`,
      };
  }
}

function troubleOf(facts: StoreFacts): Trouble | null {
  const { failure, problem, repositoryId, expectedId, backups } = facts;
  if (failure !== null) {
    return {
      message: 'it does not answer, or cannot be read',
      found: failure.message,
      mend: failure.hint ?? 'Type scripts/doctor.ts, which tries each thing by itself.',
    };
  }
  if (problem !== null) return folderTrouble(problem);
  if (repositoryId === null && backups > 0) {
    return {
      message: 'there are backups in it, but no holdfast.json',
      found: `${formatCount(backups, 'backup')} and no holdfast.json`,
      mend: 'Copy holdfast.json there from another store, or from BACKUP_DIR.',
    };
  }
  if (repositoryId !== null && repositoryId !== expectedId) {
    return {
      message: 'another repository lies in it',
      found: `the repository ${repositoryId}`,
      mend: 'Look whether the settings of the store name the right folder, bucket and prefix.',
    };
  }
  return null;
}

/** Whether one store is there, is the right one, and takes what the next run brings. */
export function storeHealth(facts: StoreFacts): HealthFinding {
  const { name, isRequired, description, repositoryId, backups, expectedId } = facts;
  const shown = JSON.stringify(printable(name));
  const trouble = troubleOf(facts);
  const about = {
    check: 'repository',
    subject: printable(name),
    expected: `a store that can be read and written, of the repository ${expectedId}`,
    values: { backups, required: isRequired ? 1 : 0 },
  } as const;
  if (trouble === null) {
    const begun = repositoryId === null ? 'nothing yet: the next backup begins it' : null;
    const holds = begun ?? formatCount(backups, 'backup');
    const message = `the store ${shown} (${description}) holds ${holds}`;
    return shownFinding({ ...about, level: 'ok', message });
  }
  return shownFinding({
    ...about,
    level: isRequired ? 'critical' : 'warning',
    message: `the store ${shown}: ${trouble.message}`,
    found: `${description}: ${trouble.found}`,
    mend: trouble.mend,
  });
}
