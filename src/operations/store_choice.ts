/**
 * Which of a repository's stores a command works with, and how each is seen by itself. What an
 * operation does with `context.repository.storage` it does with that store, whichever it is.
 */

import { createCatalog } from '../catalog/catalog.ts';
import type { Repository } from '../catalog/repository.ts';
import type { Store } from '../catalog/stores.ts';
import { localName } from '../config/stores.ts';
import { assert } from '../core/assert.ts';
import { type ErrorCode, exitStatus, HoldfastError, toHoldfastError } from '../core/errors.ts';
import { printable } from '../core/printable.ts';
import type { RepositoryContext } from './context.ts';

/** What an operator says about stores. */
export interface StoreChoice {
  /** This one and no other. */
  readonly store?: string | undefined;
  /** Those beside BACKUP_DIR before it. */
  readonly fromCloud?: boolean | undefined;
}

/**
 * The stores that are meant, in the order in which they are asked; without a word all of them, as
 * the settings have them.
 *
 * @throws HoldfastError USAGE for a name that no store has, with those that there are
 */
export function chooseStores(
  { stores }: Pick<Repository, 'stores'>,
  { store: name, fromCloud = false }: StoreChoice,
): readonly Store[] {
  if (name !== undefined) {
    const named = stores.find(({ spec }) => spec.name === name);
    if (named !== undefined) return [named];
    const known = stores.map(({ spec }) => printable(spec.name)).join(', ');
    throw new HoldfastError('USAGE', `there is no store ${JSON.stringify(name)}`, {
      hint: `The settings name these: ${known}.`,
    });
  }
  if (!fromCloud) return stores;
  const isLocal = ({ spec }: Store) => spec.name === localName;
  const others = stores.filter((store) => !isLocal(store));
  if (others.length > 0) return [...others, ...stores.filter(isLocal)];
  throw new HoldfastError(
    'USAGE',
    '--from-cloud needs a store beside BACKUP_DIR, and none is set',
    {
      hint: 'Set BACKUP_BUCKET, or an entry of stores: in holdfast.yaml.',
    },
  );
}

/** Whether it is the store that an operation works with where nothing else was said. */
function isFirst({ stores }: Repository, { spec }: Store): boolean {
  return stores[0].spec.name === spec.name;
}

/**
 * The repository as it lies in one store: what is there, kept for as long as that store keeps it.
 *
 * @throws HoldfastError what opening the store throws
 */
export async function inStore(
  context: RepositoryContext,
  store: Store,
): Promise<RepositoryContext> {
  const { repository, config } = context;
  const { spec } = store;
  const storage = isFirst(repository, store) ? repository.storage : await store.open();
  // BACKUP_DIR has the general settings themselves.
  const retention = spec.name === localName ? {} : spec.retention;
  return {
    ...context,
    config: { ...config, settings: { ...config.settings, ...retention } },
    repository: { ...repository, storage, stores: [store] },
    catalog: storage === repository.storage ? context.catalog : createCatalog(storage),
  };
}

/** Whether a failure is about one store, and the others may be asked all the same. */
export function isOfStore({ status, code }: HoldfastError): boolean {
  return status === exitStatus.store || code === 'CONFIG_INVALID';
}

/** What is wrong with a backup, and not with its store. */
const backupCodes: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'BACKUP_NOT_FOUND',
  'DAMAGED',
  'MANIFEST_INVALID',
  'NOT_SIGNED',
]);
/** What is wrong with the place where it lies. */
const placeCodes: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'PATH_REFUSED',
  'STORE_REFUSED',
  'STORE_UNREACHABLE',
]);

/** Whether a failure is about a backup as it lies in one store: another backup may do. */
export function isOfBackup({ code }: HoldfastError): boolean {
  return backupCodes.has(code);
}

/** Whether a failure is about one copy of a backup: that in another store may be good. */
export function isOfCopy(error: HoldfastError): boolean {
  return isOfBackup(error) || placeCodes.has(error.code);
}

/** What was done in one store. */
export interface InStore<Result> {
  readonly store: Store;
  readonly result: Result;
}

/** A store that has not answered. */
export interface StoreFailure {
  readonly store: Store;
  readonly error: HoldfastError;
}

/** What several stores have answered. */
export interface StoresAnswer<Result> {
  /** At least one, in the order in which the stores were given. */
  readonly answers: readonly InStore<Result>[];
  readonly failures: readonly StoreFailure[];
}

/**
 * Does something in several stores at once. One that does not answer is told and left out, as long
 * as another one does.
 *
 * @param work is given the repository as it lies in that store
 * @throws HoldfastError what the first store says, where none answers; what is about no store
 */
export async function inStores<Result>(
  context: RepositoryContext,
  stores: readonly Store[],
  work: (view: RepositoryContext, store: Store) => Promise<Result>,
): Promise<StoresAnswer<Result>> {
  const all = await Promise.all(
    stores.map(async (store): Promise<InStore<Result> | StoreFailure> => {
      try {
        return { store, result: await work(await inStore(context, store), store) };
      } catch (thrown) {
        const error = toHoldfastError(thrown);
        if (!isOfStore(error)) throw error;
        return { store, error };
      }
    }),
  );
  const answers = all.filter((each) => 'result' in each);
  const failures = all.filter((each) => 'error' in each);
  const [failure] = failures;
  if (answers.length === 0 && failure !== undefined) throw failure.error;
  for (const { store, error } of failures) tellFailure(context, store, error);
  return { answers, failures };
}

function tellFailure(
  { log }: RepositoryContext,
  { spec }: Store,
  { message, hint }: HoldfastError,
): void {
  const todo = hint === undefined ? '' : `. ${hint}`;
  log.warn(`the store ${printable(spec.name)} is left out: ${message}${todo}`);
}

/** Whether nothing is there, as opposed to nobody answering. */
function isNotFound(error: HoldfastError): boolean {
  return error.code === 'BACKUP_NOT_FOUND';
}

/** Of what several stores have said the failure that tells most. @param failures at least one */
export function mostTelling(failures: readonly HoldfastError[]): HoldfastError {
  // One that knows what else there is tells more than an empty store.
  const error =
    failures.find((each) => !isNotFound(each)) ??
    failures.find(({ details }) => details !== undefined) ??
    failures[0];
  assert(error !== undefined, 'there is at least one store to look in');
  return error;
}

/**
 * Looks in one store after the other until one has it.
 *
 * @param find throws BACKUP_NOT_FOUND where the store has not got it
 * @throws HoldfastError BACKUP_NOT_FOUND as a store says it that knows more; where one of several
 *   did not answer, what that one says: it might have had it
 */
export async function firstWith<Result>(
  context: RepositoryContext,
  stores: readonly Store[],
  find: (view: RepositoryContext, store: Store) => Promise<Result>,
): Promise<InStore<Result>> {
  const failures: HoldfastError[] = [];
  for (const store of stores) {
    try {
      return { store, result: await find(await inStore(context, store), store) };
    } catch (thrown) {
      const error = toHoldfastError(thrown);
      if (!isNotFound(error) && !isOfStore(error)) throw error;
      if (!isNotFound(error) && stores.length > 1) tellFailure(context, store, error);
      failures.push(error);
    }
  }
  throw mostTelling(failures);
}

/** Tells which store is used, where there are several. */
export function tellStore({ repository, log }: RepositoryContext, { spec }: Store): void {
  if (repository.stores.length > 1) log.step(`from the store ${printable(spec.name)}`);
}
