/** What the monitor's checks are given: the run, and what lies in the stores, read once for all. */

import { type BaseEntry, listBaseBackups } from '../../catalog/base_catalog.ts';
import type { Store } from '../../catalog/stores.ts';
import { HoldfastError, toHoldfastError } from '../../core/errors.ts';
import type { HealthCheck, HealthFinding } from '../../core/health.ts';
import { within } from '../../process/within.ts';
import type { Context, RepositoryContext } from '../context.ts';
import { type BackupList, listBackups } from '../full/list.ts';
import { inStore } from '../store_choice.ts';

/** A store that has not told by then what lies in it is told as one that does not answer. */
const listingSecondsMax = 90;

/** What every check is given, also where there is no repository. */
export interface BareMonitorContext {
  /** Settings with every threshold, log, environment; its signal ends the run or this check. */
  readonly context: Context;
  /** The moment that every check goes by. */
  readonly now: Date;
  /** Integrity keeps to its budget; `false`: every file is read again, however long that takes. */
  readonly isQuick: boolean;
}

/** What lies in one store, or why nobody can tell. */
export type StoreListing =
  | {
      readonly store: Store;
      /** The repository as it lies in that store. */
      readonly view: RepositoryContext;
      /** Full backups, oldest first, and what is unfinished; not a file of them was read. */
      readonly full: BackupList;
      /** Base backups, oldest first. */
      readonly bases: readonly BaseEntry[];
      readonly error: null;
    }
  | { readonly store: Store; readonly error: HoldfastError };

/** What the checks of a repository are given. */
export interface MonitorContext extends BareMonitorContext {
  readonly context: RepositoryContext;
  /**
   * What lies in each store, in the order of the settings: read when it is first asked for, once.
   * It never throws: a store that cannot be read says why.
   */
  readonly listing: () => Promise<readonly StoreListing[]>;
}

/** Checks that look at the same facts. */
interface CheckGroupParts {
  readonly name: string;
  /** All that it makes: they are told as unknown where the whole group fails or takes too long. */
  readonly checks: readonly HealthCheck[];
}

/**
 * A group of checks: one line in checks.ts. It is bounded in time (its signal fires), and its
 * failure is a finding. What it cannot ask of one database or store it tells as `unknown`, and goes
 * on with the others. Groups run at the same time.
 */
export type CheckGroup =
  | (CheckGroupParts & {
      readonly needs: 'repository';
      readonly run: (monitor: MonitorContext) => Promise<readonly HealthFinding[]>;
    })
  | (CheckGroupParts & {
      /** It asks servers or this machine alone, so it is run without a repository, too. */
      readonly needs: 'nothing';
      readonly run: (monitor: BareMonitorContext) => Promise<readonly HealthFinding[]>;
    });

/** Reads what lies in one store. */
async function listStore(context: RepositoryContext, store: Store): Promise<StoreListing> {
  const late = () =>
    new HoldfastError(
      'STORE_UNREACHABLE',
      `the store ${JSON.stringify(store.spec.name)} did not tell in ${listingSecondsMax} s what ` +
        'lies in it',
      { hint: 'scripts/doctor.ts tells whether it answers.' },
    );
  const work = async (): Promise<StoreListing> => {
    const view = await inStore(context, store);
    const [full, bases] = await Promise.all([
      listBackups(view),
      listBaseBackups(view.repository.storage),
    ]);
    return { store, view, full, bases, error: null };
  };
  try {
    return await within(listingSecondsMax * 1000, work(), late);
  } catch (thrown) {
    return { store, error: toHoldfastError(thrown) };
  }
}

/** The listing of every store, read at the first call and shared by all who ask. */
export function sharedListing(context: RepositoryContext): () => Promise<readonly StoreListing[]> {
  let kept: Promise<readonly StoreListing[]> | null = null;
  return () => {
    kept ??= Promise.all(context.repository.stores.map((store) => listStore(context, store)));
    return kept;
  };
}

/** A check that could not be made: nobody knows, and why. */
export function unknownFinding(
  { check, subject }: Pick<HealthFinding, 'check' | 'subject'>,
  thrown: unknown,
  names: Partial<Pick<HealthFinding, 'cluster' | 'database' | 'expected' | 'level'>> = {},
): HealthFinding {
  const { message, hint } = toHoldfastError(thrown);
  return {
    check,
    subject,
    cluster: names.cluster ?? null,
    database: names.database ?? null,
    level: names.level ?? 'unknown',
    message: `it cannot be told: ${message}`,
    expected: names.expected ?? 'an answer',
    found: message,
    since: null,
    mend:
      hint ?? 'scripts/doctor.ts tells what is wrong with the settings, the stores and servers.',
    values: {},
  };
}
