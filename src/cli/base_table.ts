/** Base backups, in a table of their own below the list of backups. */

import { printable } from '../core/printable.ts';
import { formatAge, formatBytes, formatCount, formatDuration } from '../core/units.ts';
import type { CopiedBaseFacts, CopiedBaseList } from '../operations/base/list_base_stores.ts';
import type { BaseFacts } from '../operations/base/list_bases.ts';
import { copiesOf } from './copies_column.ts';
import { formatTable } from './table.ts';

const header = ['base backup', 'cluster', 'state', 'age', 'stored', 'cluster size', 'from', 'took'];
/** Only where there is a backup that needs another one. */
const parentHeader = 'builds upon';
const retentionHeader = 'retention';

function stateOf({ state, check, details }: BaseFacts): string {
  if (state === 'damaged') return 'DAMAGED';
  const pages = details?.damagedPages ?? 0;
  if (pages > 0) return `holds ${formatCount(pages, 'damaged page')}`;
  const warnings = details?.warnings.length ?? 0;
  const word = check?.kind ?? 'not verified';
  return warnings === 0 ? word : `${word}, ${formatCount(warnings, 'warning')}`;
}

function retentionOf({ retention }: BaseFacts): string {
  if (retention === null) return '';
  return retention.action === 'keep' ? retention.reason : 'goes with the next prune';
}

/** Which columns are only there where they tell something. */
interface Columns {
  readonly hasParents: boolean;
  readonly showsStores: boolean;
}

function row(base: CopiedBaseFacts, now: Date, columns: Columns): string[] {
  const { hasParents, showsStores } = columns;
  const { details } = base;
  const front = [base.label, printable(base.cluster), stateOf(base)];
  const end = [
    ...(hasParents ? [details?.parent ?? ''] : []),
    printable(retentionOf(base)),
    ...(showsStores ? [copiesOf(base)] : []),
  ];
  if (details === null) return [...front, '', '', '', '', '', ...end];
  return [
    ...front,
    formatAge((now.getTime() - Date.parse(details.startedAt)) / 1000),
    formatBytes(details.storedBytes),
    formatBytes(details.clusterBytes),
    `${details.timeline}:${details.stopLsn}`,
    formatDuration(details.durationSeconds),
    ...end,
  ];
}

/**
 * The table, with what is wrong with any of them below it; empty where there is nothing.
 *
 * @param showsStores whether a column tells where the copies lie
 */
export function describeBases(list: CopiedBaseList, now: Date, showsStores: boolean): string {
  const { base_backups: bases, unfinished_base_backups: unfinished } = list;
  if (bases.length === 0 && unfinished.length === 0) return '';
  const problems = bases
    .filter(({ problem }) => problem !== null)
    .map(({ label, problem }) => `${label}: ${printable(problem ?? '')}\n`);
  const begun = unfinished.map(({ cluster, label, modifiedAt, store }) => {
    const where = showsStores ? ` in ${printable(store)}` : '';
    const what = `${label} of ${printable(cluster)}: no base backup`;
    return `${what}, unfinished${where} since ${modifiedAt}\n`;
  });
  const hasParents = bases.some(({ details }) => details?.parent != null);
  const table = formatTable(
    [
      ...header,
      ...(hasParents ? [parentHeader] : []),
      retentionHeader,
      ...(showsStores ? ['copies'] : []),
    ],
    bases.map((base) => row(base, now, { hasParents, showsStores })),
  );
  return ['\n', table, ...problems, ...begun].join('');
}
