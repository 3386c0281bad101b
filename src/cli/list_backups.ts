/** The command scripts/list_backups.ts. */

import { exitStatus, HoldfastError } from '../core/errors.ts';
import { parseLabel, type Tier } from '../core/label.ts';
import { printable } from '../core/printable.ts';
import { formatAge, formatBytes, formatCount, formatDuration } from '../core/units.ts';
import { listBaseStores } from '../operations/base/list_base_stores.ts';
import type { RepositoryContext } from '../operations/context.ts';
import type { BackupFacts } from '../operations/full/list.ts';
import { type CopiedBackupList, listStores } from '../operations/full/list_stores.ts';
import { chooseStores, firstWith, inStore } from '../operations/store_choice.ts';
import { describeBases } from './base_table.ts';
import type { CommandResult, Flags, Invocation } from './command.ts';
import { copiesOf } from './copies_column.ts';
import { describeLeftovers } from './leftover_table.ts';
import { listTables } from './list_tables.ts';
import { needRepository } from './open_context.ts';
import { readStoreChoice } from './store_options.ts';
import { formatTable } from './table.ts';

const header = ['label', 'database', 'state', 'age', 'stored', 'database size', 'rows', 'took'];

function stateOf(backup: BackupFacts): string {
  if (backup.state === 'damaged') return 'DAMAGED';
  const warnings = backup.details?.warnings.length ?? 0;
  const state = backup.check?.kind ?? 'not verified';
  return warnings === 0 ? state : `${state}, ${formatCount(warnings, 'warning')}`;
}

function row(backup: BackupFacts, now: Date): string[] {
  const { details } = backup;
  const name = [backup.label, printable(backup.database), stateOf(backup)];
  if (details === null) return [...name, '', '', '', '', ''];
  const ageSeconds = (now.getTime() - Date.parse(details.startedAt)) / 1000;
  return [
    ...name,
    formatAge(ageSeconds),
    formatBytes(details.storedBytes),
    formatBytes(details.databaseBytes),
    details.rows === null ? '' : String(details.rows),
    formatDuration(details.durationSeconds),
  ];
}

/** The list as people read it; columns for clusters and stores only where there are several. */
function describeList(list: CopiedBackupList, now: Date, showsStores: boolean): string {
  const clusters = new Set(list.backups.map(({ cluster }) => cluster));
  const several = clusters.size > 1;
  const lines = list.backups.map((backup) => [
    ...row(backup, now),
    ...(several ? [printable(backup.cluster)] : []),
    ...(showsStores ? [copiesOf(backup)] : []),
  ]);
  const more = [...(several ? ['cluster'] : []), ...(showsStores ? ['copies'] : [])];
  const table = formatTable([...header, ...more], lines);
  const problems = list.backups
    .filter(({ problem }) => problem !== null)
    .map(({ label, problem }) => `${label}: ${problem?.message}\n`);
  const unfinished = list.unfinished.map(({ database, label, modifiedAt, store }) => {
    const where = showsStores ? ` in ${printable(store)}` : '';
    const what = `${label} of ${printable(database)}: no backup`;
    return `${what}, unfinished${where} since ${modifiedAt}\n`;
  });
  return [table, ...problems, ...unfinished].join('');
}

/**
 * The list for the flags of a command.
 *
 * @param database only its backups
 * @throws HoldfastError BACKUP_NOT_FOUND when a database was named that has none
 */
export async function listFor(
  context: RepositoryContext,
  database: string | undefined,
  flags: Flags,
): Promise<CommandResult> {
  const filter = {
    cluster: flags.cluster as string | undefined,
    tier: flags.type as Tier | undefined,
  };
  const { listLeftovers } = await import('../operations/restore/list_leftovers.ts');
  const isAboutAll = database === undefined && filter.tier === undefined;
  const stores = chooseStores(context.repository, readStoreChoice(flags));
  const [list, left] = await Promise.all([
    listStores(context, stores, { database, ...filter }),
    listLeftovers(context, database),
  ]);
  const { answered, failures, ...backups } = list;
  const bases = isAboutAll
    ? await listBaseStores(context, answered, { cluster: filter.cluster })
    : { base_backups: [], unfinished_base_backups: [] };
  if (database !== undefined && list.backups.length === 0) {
    // It knows which databases have backups, and which of them is meant.
    await firstWith(context, answered, (view) => view.catalog.latestBackup(database, filter));
  }
  const empty = list.backups.length === 0 && list.unfinished.length === 0;
  const now = context.clock();
  const showsStores = stores.length > 1;
  const emptyText =
    bases.base_backups.length > 0 ? 'no backup of a single database\n' : 'no backups\n';
  const table = empty ? emptyText : describeList(list, now, showsStores);
  const leftovers = describeLeftovers(left.leftovers ?? [], now);
  const below = `${describeBases(bases, now, showsStores)}${leftovers}`;
  const stores_missing = failures.map(({ store, error: { code, message } }) => {
    return { store: store.spec.name, code, message };
  });
  const json = { ...backups, ...(isAboutAll ? bases : {}), stores_missing, ...left };
  return { status: exitStatus.done, json, text: `${table}${below}` };
}

/** @throws HoldfastError USAGE where more than one is named */
export function oneDatabase([database, second]: readonly string[]): string | undefined {
  if (second === undefined) return database;
  throw new HoldfastError('USAGE', `one database, not also ${JSON.stringify(second)}`, {
    hint: 'Name one, or none for all.',
  });
}

/** Runs the command. */
export async function listCommand(invocation: Invocation): Promise<CommandResult> {
  const database = oneDatabase(invocation.operands);
  const given = needRepository(invocation.context);
  const { store } = readStoreChoice(invocation.flags);
  // What is about one store alone never asks another one.
  const [only] = chooseStores(given.repository, { store });
  const context = store === undefined || only === undefined ? given : await inStore(given, only);
  if (invocation.flags.wal === true) {
    if (database !== undefined || invocation.flags.type !== undefined) {
      throw new HoldfastError('USAGE', '--wal is about whole clusters, not a database or a tier', {
        hint: 'For one cluster: list_backups.ts --wal --cluster NAME.',
      });
    }
    const { listWalCommand } = await import('./list_wal.ts');
    return listWalCommand(context, invocation.flags);
  }
  return database !== undefined && parseLabel(database) !== null
    ? listTables(context, database, invocation.flags)
    : listFor(context, database, invocation.flags);
}
