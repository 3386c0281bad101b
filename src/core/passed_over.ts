/** Which base backups a recovery would have taken, were they and their chains whole. Pure. */

import { type ChainLink, chainOf } from './base_chain.ts';

/** A base backup that was left out, and why: a sentence to be read after its label. */
export interface PassedOver {
  readonly label: string;
  readonly why: string;
}

/**
 * The backups that are younger than the one that is taken and cannot be restored, newest first.
 *
 * @param links all base backups of the cluster, in any order
 * @param chosen the label of the one that is taken; `null` where none is
 */
export function passedOver(links: readonly ChainLink[], chosen: string | null): PassedOver[] {
  return links
    .filter(({ label }) => chosen === null || label > chosen)
    .toSorted((a, b) => (a.label < b.label ? 1 : -1))
    .flatMap(({ label }) => {
      const { broken } = chainOf(links, label);
      if (broken === null) return [];
      const why =
        broken === label ? 'it is damaged' : `it needs ${broken}, which is missing or damaged`;
      return [{ label, why }];
    });
}
