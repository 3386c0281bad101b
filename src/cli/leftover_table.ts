/** What restores have left, as it is shown below the list of backups. */

import { printable } from '../core/printable.ts';
import { formatAge, formatBytes } from '../core/units.ts';
import type { ListedLeftover } from '../operations/restore/list_leftovers.ts';
import { formatTable } from './table.ts';

const header = ['left by a restore', 'of', 'what it is', 'age', 'size', 'connections'];

function whatItIs({ kind, inUse }: ListedLeftover): string {
  if (kind === 'before') return 'replaced';
  return inUse ? 'being restored' : 'never finished';
}

/** The leftovers as people read them; nothing where there are none. */
export function describeLeftovers(leftovers: readonly ListedLeftover[], now: Date): string {
  if (leftovers.length === 0) return '';
  const several = new Set(leftovers.map(({ server }) => server)).size > 1;
  const rows = leftovers.map((leftover) => {
    const { name, target, createdAt, bytes, connections, server } = leftover;
    const ageSeconds = (now.getTime() - Date.parse(createdAt)) / 1000;
    return [
      printable(name),
      target === null ? '?' : printable(target),
      whatItIs(leftover),
      formatAge(ageSeconds),
      bytes === null ? '?' : formatBytes(bytes),
      String(connections),
      ...(several ? [server] : []),
    ];
  });
  return (
    `\n${formatTable([...header, ...(several ? ['server'] : [])], rows)}` +
    'scripts/restore_backup.ts --rollback DATABASE goes back to the youngest that was replaced;\n' +
    'scripts/restore_backup.ts --drop-old DATABASE drops them\n'
  );
}
