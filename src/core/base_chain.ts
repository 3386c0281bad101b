/** Which base backups an incremental one needs, and which one a new one may build upon. Pure. */

import type { BaseManifest } from './base_manifest.ts';

/** What counts of a base backup here. */
export interface ChainLink {
  readonly label: string;
  /** `null`: it cannot be used. */
  readonly manifest: Pick<BaseManifest, 'parent' | 'server' | 'damaged_pages'> | null;
  /** What the latest check has found it to be. */
  readonly check: { readonly kind: string } | null;
}

/** Whether a backup can be restored, as far as is known: nobody has found it damaged. */
export function isUsable<Link extends ChainLink>(
  link: Link,
): link is Link & { readonly manifest: NonNullable<Link['manifest']> } {
  return link.manifest !== null && link.check?.kind !== 'damaged';
}

/** Whether it is usable, and no page of the cluster was damaged when it was taken. */
export function isGood(link: ChainLink): boolean {
  return isUsable(link) && link.manifest.damaged_pages.length === 0;
}

/** The backups that one needs, or the one that is missing or damaged. */
export type Chain<Link extends ChainLink> =
  | {
      /** The whole one first, the backup itself last. */
      readonly links: readonly [Link, ...Link[]];
      readonly broken: null;
    }
  | {
      readonly links: null;
      /** The label. */
      readonly broken: string;
    };

/**
 * What has to be there to restore a backup.
 *
 * @param links all base backups of the cluster, in any order
 */
export function chainOf<Link extends ChainLink>(
  links: readonly Link[],
  label: string,
): Chain<Link> {
  const byLabel = new Map(links.map((link) => [link.label, link]));
  let wanted = label;
  let above: readonly Link[] = [];
  for (;;) {
    const link = byLabel.get(wanted);
    // A parent is always older (its codec says so), so this ends.
    if (link === undefined || !isUsable(link)) return { links: null, broken: wanted };
    const { parent } = link.manifest;
    if (parent === null) return { links: [link, ...above], broken: null };
    above = [link, ...above];
    wanted = parent;
  }
}

/**
 * The backup that a new incremental one shall build upon: the youngest good one of the cluster
 * whose whole chain is there.
 *
 * @returns `null` when there is none
 */
export function chooseParent<Link extends ChainLink>(
  links: readonly Link[],
  systemIdentifier: string,
): Link | null {
  const youngestFirst = links.toSorted((a, b) => (a.label < b.label ? 1 : -1));
  return (
    youngestFirst.find(
      (link) =>
        isGood(link) &&
        link.manifest?.server.system_identifier === systemIdentifier &&
        chainOf(links, link.label).links !== null,
    ) ?? null
  );
}
