/** The command scripts/verify_backups.ts. */

import { type BaseEntry, findBaseBackup, listBaseBackups } from '../catalog/base_catalog.ts';
import type { CatalogEntry } from '../catalog/catalog.ts';
import type { Store } from '../catalog/stores.ts';
import { exitStatus, HoldfastError } from '../core/errors.ts';
import { parseBaseLabel } from '../core/label.ts';
import { totalBytes } from '../core/manifest_sizes.ts';
import { printable } from '../core/printable.ts';
import type { RunOutcome } from '../core/run_outcome.ts';
import { formatBytes, formatCount, formatDuration } from '../core/units.ts';
import type { BaseVerifyResult } from '../operations/base/base_verify.ts';
import type { RepositoryContext } from '../operations/context.ts';
import { type VerifyResult, verifyBackup } from '../operations/full/verify.ts';
import {
  chooseStores,
  firstWith,
  type InStore,
  inStore,
  inStores,
  tellStore,
} from '../operations/store_choice.ts';
import type { CommandResult, Flags, Invocation } from './command.ts';
import { needRepository } from './open_context.ts';
import { readStoreChoice } from './store_options.ts';

/** A backup of a database, or a base backup of a whole cluster. */
type AnyEntry = CatalogEntry | BaseEntry;
type AnyResult = VerifyResult | BaseVerifyResult;

/**
 * The youngest of each cluster that has a database of that name, also one that was found damaged
 * before. A safety backup counts where there is no other: no `--latest` is ever that one.
 */
function youngestOf(entries: readonly CatalogEntry[]): CatalogEntry[] {
  const clusters = new Set(entries.map(({ cluster }) => cluster));
  return [...clusters].flatMap((cluster) => {
    const own = entries.filter((entry) => entry.cluster === cluster);
    return own.findLast(({ manifest }) => manifest?.safety !== true) ?? own.at(-1) ?? [];
  });
}

/** The backups that the arguments name. @throws HoldfastError USAGE unless it is one of the ways */
async function chooseEntries(
  context: RepositoryContext,
  operands: readonly string[],
  flags: Flags,
): Promise<readonly AnyEntry[]> {
  const { catalog, repository } = context;
  const cluster = flags.cluster as string | undefined;
  const latest = flags.latest as string | undefined;
  const ways = [operands.length > 0, latest !== undefined, flags.all === true];
  if (ways.filter(Boolean).length !== 1) {
    throw new HoldfastError('USAGE', 'name labels, or take --latest or --all: one of the three', {
      hint: 'For example: scripts/verify_backups.ts --latest mastertrade.',
    });
  }
  if (flags.all === true) {
    const bases = await listBaseBackups(repository.storage, { cluster });
    return [...(await catalog.listBackups({ cluster })), ...bases];
  }
  if (latest !== undefined) {
    const youngest = youngestOf(await catalog.listBackups({ database: latest, cluster }));
    if (youngest.length > 0) return youngest;
    return [(await catalog.latestBackup(latest, { cluster })).entry];
  }
  return Promise.all(
    operands.map((label) =>
      parseBaseLabel(label) === null
        ? catalog.findBackup(label, { cluster })
        : findBaseBackup(repository.storage, label, { cluster }),
    ),
  );
}

/** What it is a backup of. */
function subjectOf(entry: AnyEntry): string {
  return 'database' in entry ? entry.database : `cluster ${entry.cluster}`;
}

/** What was found of the copy in one store. */
interface CopyResult {
  readonly store: Store;
  readonly result: AnyResult;
}

/** @param isOneOfSeveral whether it has to be said in which store that copy lies */
function tell(
  context: RepositoryContext,
  { store, result }: CopyResult,
  isOneOfSeveral: boolean,
): void {
  const { entry, findings, bytes, seconds } = result;
  const where = isOneOfSeveral ? ` in ${printable(store.spec.name)}` : '';
  const what = `${entry.label} of ${subjectOf(entry)}${where}`;
  if (result.ok) {
    context.log.step(`${what}: verified, ${formatBytes(bytes)} in ${formatDuration(seconds)}`);
    if (result.locked.length > 0) {
      context.log.step(
        `  only its stored bytes: no private key for ${result.locked.join(', ')} is here, so the ` +
          'inside was not looked at',
      );
    }
    const deep = 'deep' in result ? result.deep : null;
    if (deep !== null)
      context.log.step(`  checked by PostgreSQL as restored from ${deep.join(', ')}`);
  } else {
    const isOther = findings.every(({ check }) => check === 'chain');
    context.log.warn(`${what} ${isOther ? 'CANNOT BE RESTORED' : 'is DAMAGED'}`);
    for (const { file, check, message } of findings) {
      context.log.warn(`  ${file}: ${check}: ${message}`);
    }
  }
  if (result.notRecorded !== null) {
    context.log.warn(`the result could not be kept: ${result.notRecorded.message}`);
  }
}

function describe({ store, result }: CopyResult): object {
  const { entry, ok, findings, locked, bytes, seconds } = result;
  const { label, cluster } = entry;
  const database = 'database' in entry ? entry.database : null;
  const deep = 'deep' in result ? result.deep : null;
  return {
    label,
    cluster,
    database,
    store: store.spec.name,
    ok,
    findings,
    locked,
    deep,
    bytes,
    duration_seconds: seconds,
  };
}

/** Verifies one backup; of all of them, `null` for one that was removed since they were listed. */
async function verifyOne(
  context: RepositoryContext,
  entry: AnyEntry,
  { all, quick, deep }: Flags,
): Promise<AnyResult | null> {
  const depth = quick === true ? 'stored' : 'plain';
  const expectedBytes = entry.manifest === null ? null : totalBytes(entry.manifest, 'stored');
  const progress = await context.log.progress(`verifying ${entry.label}`, expectedBytes);
  try {
    const options = { depth, onBytes: progress.add } as const;
    if ('database' in entry) return await verifyBackup(context, entry, options);
    const { verifyBaseBackup } = await import('../operations/base/base_verify.ts');
    return await verifyBaseBackup(context, entry, { ...options, deep: deep === true });
  } catch (error) {
    const isGone = error instanceof HoldfastError && error.code === 'BACKUP_NOT_FOUND';
    if (!isGone || all !== true) throw error;
    context.log.step(error.message);
    return null;
  } finally {
    progress.end();
  }
}

/** The backups that are meant, as they lie in one store. */
interface Chosen {
  readonly view: RepositoryContext;
  readonly entries: readonly AnyEntry[];
}

/** @throws HoldfastError BACKUP_NOT_FOUND where the store has none of them */
async function chooseIn(
  view: RepositoryContext,
  operands: readonly string[],
  flags: Flags,
): Promise<Chosen> {
  const entries = await chooseEntries(view, operands, flags);
  if (flags.deep === true && flags.all !== true && entries.every((entry) => 'database' in entry)) {
    throw new HoldfastError('USAGE', '--deep is about base backups and the WAL', {
      hint: 'Name a base backup, or add --all or --wal.',
    });
  }
  if (entries.length > 0) return { view, entries };
  throw new HoldfastError('BACKUP_NOT_FOUND', 'there are no backups to verify', {
    hint: 'Take one: scripts/backup_full.ts.',
  });
}

/** In the first store that has them; with `--all-stores` in each that has them. */
async function chooseCopies(
  context: RepositoryContext,
  operands: readonly string[],
  flags: Flags,
): Promise<readonly InStore<Chosen>[]> {
  const stores = chooseStores(context.repository, readStoreChoice(flags));
  const choose = (view: RepositoryContext) => chooseIn(view, operands, flags);
  if (flags['all-stores'] !== true) {
    const found = await firstWith(context, stores, choose);
    tellStore(context, found.store);
    return [found];
  }
  const { answers } = await inStores(context, stores, (view, store) =>
    choose(view).catch((error: unknown) => {
      if (!(error instanceof HoldfastError) || error.code !== 'BACKUP_NOT_FOUND') throw error;
      context.log.warn(`not in the store ${printable(store.spec.name)}: ${error.message}`);
      return null;
    }),
  );
  const found = answers.flatMap(({ store, result }) => (result === null ? [] : { store, result }));
  // Where none has it, the first one says so.
  return found.length > 0 ? found : [await firstWith(context, stores, choose)];
}

/** So many damaged backups are named in an alert. */
const namedMax = 10;

/** What alerts are told: one trouble, however many backups are damaged. */
function outcomeOf(results: readonly CopyResult[]): RunOutcome {
  const damaged = results.filter(({ result }) => !result.ok);
  const labels = damaged.map(({ store, result }) => `${result.entry.label} in ${store.spec.name}`);
  const named = labels.slice(0, namedMax).join(', ') + (labels.length > namedMax ? ', …' : '');
  const text = `${damaged.length} of ${formatCount(results.length, 'backup')} damaged: ${named}`;
  const error =
    damaged.length === 0
      ? null
      : new HoldfastError('DAMAGED', text, {
          hint: 'scripts/verify_backups.ts LABEL tells which files; another store may have it.',
        });
  const facts = { verified: results.length, damaged: damaged.length };
  return { event: 'verify', cluster: null, database: null, server: null, error, facts };
}

/** Runs the command. Status 4 when any backup is damaged. */
export async function verifyCommand(invocation: Invocation): Promise<CommandResult> {
  const context = needRepository(invocation.context);
  const { operands, flags } = invocation;
  if (flags.wal === true) {
    const [store] = chooseStores(context.repository, readStoreChoice(flags));
    const { verifyWalCommand } = await import('./verify_wal.ts');
    const isNamed = flags.store !== undefined && store !== undefined;
    return verifyWalCommand(isNamed ? await inStore(context, store) : context, operands, flags);
  }
  const isOneOfSeveral = context.repository.stores.length > 1;
  const results: CopyResult[] = [];
  for (const { store, result: chosen } of await chooseCopies(context, operands, flags)) {
    for (const entry of chosen.entries) {
      const result = await verifyOne(chosen.view, entry, flags);
      if (result === null) continue;
      results.push({ store, result });
      tell(context, { store, result }, isOneOfSeveral);
    }
  }
  const damaged = results.filter(({ result }) => !result.ok).length;
  if (results.length > 1) {
    const what = flags['all-stores'] === true ? 'copies' : 'backups';
    context.log.step(`${results.length - damaged} of ${results.length} ${what} are good`);
  }
  const status = damaged > 0 ? exitStatus.verification : exitStatus.done;
  const json = { exit_status: status, backups: results.map(describe) };
  return { status, json, outcomes: [outcomeOf(results)] };
}
