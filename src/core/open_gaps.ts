/** Which gaps of a WAL archive still stand in the way of what is recovered from now on. Pure. */

import { type ChainLink, isUsable } from './base_chain.ts';
import type { BaseManifest } from './base_manifest.ts';
import { requireLsn, segmentName, segmentNumber } from './lsn.ts';

/** A gap, as far as this asks: the names of segments. */
interface Gap {
  readonly last_segment: string;
}

type Base = ChainLink & {
  readonly manifest: Pick<BaseManifest, 'start_lsn' | 'start_timeline'> | null;
};

/** What comes behind the timeline in the name of a segment: it sorts by position. */
const place = (segment: string): string => segment.slice(8);

/**
 * Those that no base backup lies behind. A recovery from that one does not have to go across, so
 * such a gap has cost moments of the past and costs no new ones.
 *
 * @param timeline of the server: a base backup of another one may lie on no way to it
 */
export function openGaps<G extends Gap>(
  gaps: readonly G[],
  bases: readonly Base[],
  timeline: number,
): G[] {
  const beginnings = bases.filter(isUsable).flatMap(({ manifest }) => {
    if (manifest.start_timeline !== timeline) return [];
    const { wal_segment_bytes: bytes } = manifest.server;
    const number = segmentNumber(requireLsn(manifest.start_lsn), bytes);
    return [place(segmentName(timeline, number, bytes))];
  });
  return gaps.filter(({ last_segment: last }) => !beginnings.some((each) => each > place(last)));
}
