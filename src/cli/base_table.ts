/** Base backups, in a table of their own below the list of backups. */

import { printable } from '../core/printable.ts';
import { formatAge, formatBytes, formatCount, formatDuration } from '../core/units.ts';
import type { BaseFacts, BaseList } from '../operations/base/list_bases.ts';
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

function row(base: BaseFacts, now: Date, hasParents: boolean): string[] {
  const { details } = base;
  const front = [base.label, printable(base.cluster), stateOf(base)];
  const end = [...(hasParents ? [details?.parent ?? ''] : []), printable(retentionOf(base))];
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

/** The table, with what is wrong with any of them below it; empty where there is nothing. */
export function describeBases(list: BaseList, now: Date): string {
  const { base_backups: bases, unfinished_base_backups: unfinished } = list;
  if (bases.length === 0 && unfinished.length === 0) return '';
  const problems = bases
    .filter(({ problem }) => problem !== null)
    .map(({ label, problem }) => `${label}: ${printable(problem ?? '')}\n`);
  const begun = unfinished.map(
    ({ cluster, label, modifiedAt }) =>
      `${label} of ${printable(cluster)}: no base backup, unfinished since ${modifiedAt}\n`,
  );
  const hasParents = bases.some(({ details }) => details?.parent != null);
  const table = formatTable(
    [...header, ...(hasParents ? [parentHeader] : []), retentionHeader],
    bases.map((base) => row(base, now, hasParents)),
  );
  return ['\n', table, ...problems, ...begun].join('');
}
