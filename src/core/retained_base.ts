/** A base backup, as far as retention asks. Pure. */

import type { BaseManifest } from './base_manifest.ts';
import { parseBaseLabel } from './label.ts';
import { type Lsn, requireLsn } from './lsn.ts';

/** What the manifest of a base backup tells. */
export interface RetainedFacts {
  readonly parent: string | null;
  readonly systemIdentifier: string;
  /** On which it ends. */
  readonly timeline: number;
  readonly start: Lsn;
  /** Where it is consistent. */
  readonly stop: Lsn;
  readonly finishedAt: Date;
  /** The WAL that makes it consistent. */
  readonly walRanges: readonly {
    readonly timeline: number;
    readonly start: Lsn;
    readonly end: Lsn;
  }[];
}

/** A base backup, as far as retention asks. */
export interface RetainedBase {
  readonly label: string;
  /** By the label. */
  readonly startedAt: Date;
  /**
   * `usable`: the cluster had damaged pages, or nobody has read the backup yet: it takes no good
   * one's place.
   */
  readonly health: 'good' | 'usable' | 'damaged';
  /** `null`: its manifest cannot be read. */
  readonly facts: RetainedFacts | null;
  /** Why it must stay, whatever its age; `null`: nothing of the kind. */
  readonly promise: string | null;
}

/** What the catalog tells of a base backup. */
export interface CatalogedBase {
  readonly label: string;
  /** `null`: it cannot be used. */
  readonly manifest: Pick<
    BaseManifest,
    | 'parent'
    | 'server'
    | 'damaged_pages'
    | 'start_lsn'
    | 'stop_lsn'
    | 'stop_timeline'
    | 'wal_ranges'
    | 'finished_at'
    | 'read_back'
  > | null;
  /** What the latest check has found it to be. */
  readonly check: { readonly kind: string } | null;
}

function factsOf(manifest: NonNullable<CatalogedBase['manifest']>): RetainedFacts {
  return {
    parent: manifest.parent,
    systemIdentifier: manifest.server.system_identifier,
    timeline: manifest.stop_timeline,
    start: requireLsn(manifest.start_lsn),
    stop: requireLsn(manifest.stop_lsn),
    finishedAt: new Date(manifest.finished_at),
    walRanges: manifest.wal_ranges.map(({ timeline, start_lsn, end_lsn }) => ({
      timeline,
      start: requireLsn(start_lsn),
      end: requireLsn(end_lsn),
    })),
  };
}

function healthOf(
  manifest: CatalogedBase['manifest'],
  check: CatalogedBase['check'],
): RetainedBase['health'] {
  if (manifest === null || check?.kind === 'damaged') return 'damaged';
  const isUnread = manifest.read_back.depth === 'none' && check === null;
  return isUnread || manifest.damaged_pages.length > 0 ? 'usable' : 'good';
}

/**
 * A base backup as retention sees it. One that was read back before it was committed is good until
 * somebody finds it damaged.
 *
 * @param promise why it must stay; `null`: nothing of the kind
 */
export function retainedBase(
  { label, manifest, check }: CatalogedBase,
  promise: string | null,
): RetainedBase {
  const facts = manifest === null ? null : factsOf(manifest);
  const startedAt = parseBaseLabel(label)?.startedAt ?? new Date(0);
  return { label, startedAt, health: healthOf(manifest, check), facts, promise };
}
