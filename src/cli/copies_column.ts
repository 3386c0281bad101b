/** Where the copies of a backup lie, in a column of a table. */

import { printable } from '../core/printable.ts';

/** As the lists tell it; names of stores. */
interface CopiesAndMissing {
  readonly stores: readonly string[];
  readonly damaged_in: readonly string[];
  readonly missing_in: readonly string[];
}

/** `local, s3 (DAMAGED), not in nas` */
export function copiesOf({ stores, damaged_in, missing_in }: CopiesAndMissing): string {
  return [
    ...stores.map((name) => `${printable(name)}${damaged_in.includes(name) ? ' (DAMAGED)' : ''}`),
    ...missing_in.map((name) => `NOT in ${printable(name)}`),
  ].join(', ');
}
