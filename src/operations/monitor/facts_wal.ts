/**
 * Gathers how far the WAL archives lead, in every store, from the catalog alone. A server is asked
 * only where its recovery point looks too old: an idle one loses nothing.
 */

import type { BaseEntry } from '../../catalog/base_catalog.ts';
import { readOnly } from '../../catalog/read_only.ts';
import { walClusters } from '../../catalog/wal_archive.ts';
import { chainOf, isGood, isUsable } from '../../core/base_chain.ts';
import type { HealthFinding } from '../../core/health.ts';
import { idleBytesMax } from '../../core/health_archiver.ts';
import {
  checkWalGaps,
  checkWalPoint,
  type OpenGap,
  tellFullPoint,
  type WalPointFacts,
} from '../../core/health_wal.ts';
import { type Lsn, requireLsn, segmentName } from '../../core/lsn.ts';
import { openGaps } from '../../core/open_gaps.ts';
import { hasTransaction } from '../../core/wal_index.ts';
import {
  isOnWay,
  runAt,
  segmentCountOf,
  segmentsOfRun,
  type TimelineWay,
} from '../../core/wal_ranges.ts';
import { readWalServer } from '../../postgres/wal_health.ts';
import { treeWithLosses } from '../archiving/incremental_scene.ts';
import { openStreamedArchive, type StreamedArchive } from '../archiving/streamed_archive.ts';
import type { RepositoryContext } from '../context.ts';
import type { ReadableListing } from './facts_backups.ts';
import { type CheckGroup, type MonitorContext, unknownFinding } from './monitor_context.ts';
import { askServers } from './server_asks.ts';
import { type LastCommit, lastCommitOf } from './wal_ends.ts';

/** An archive, and what is needed to compare it with its server. */
interface ArchivePoint {
  readonly facts: WalPointFacts;
  readonly timeline: number;
  readonly end: Lsn | null;
  readonly last: LastCommit | null;
}

interface ArchiveScene extends StreamedArchive {
  readonly context: RepositoryContext;
  readonly way: TimelineWay;
  readonly bases: readonly BaseEntry[];
  readonly isFirst: boolean;
  /** It lies on a disk that is mounted here. */
  readonly isFolder: boolean;
}

/** The good base backups from which the WAL leads to the end of a way, newest first. */
function basesOnWay({ bases, way }: ArchiveScene) {
  return bases
    .filter((base) => isGood(base) && chainOf(bases, base.label).links !== null)
    .filter(isUsable)
    .filter(({ manifest }) => isOnWay(way, manifest.stop_timeline, requireLsn(manifest.stop_lsn)))
    .toSorted((a, b) => (a.label < b.label ? 1 : -1));
}

/** When a segment came; `null` where nobody can tell. */
async function cameAt({ archive }: ArchiveScene, name: string | undefined): Promise<Date | null> {
  if (name === undefined || archive.streamed.has(name)) return null;
  return (await archive.stat(name))?.modifiedAt ?? null;
}

/** The gaps that no base backup lies behind, of this timeline or of one that leads to it. */
async function openGapsOf(scene: ArchiveScene): Promise<OpenGap[]> {
  const { way, listing } = scene;
  const { segmentBytes } = listing;
  const named = way.gaps.map((gap) => ({
    gap,
    first_segment: segmentName(gap.timeline, gap.first, segmentBytes),
    last_segment: segmentName(gap.timeline, gap.last, segmentBytes),
  }));
  const bases = basesOnWay(scene);
  const timelines = new Set(bases.map(({ manifest }) => manifest.start_timeline));
  let open = named;
  for (const timeline of timelines) open = openGaps(open, bases, timeline);
  return Promise.all(
    open.map(async ({ gap, first_segment, last_segment }) => {
      const before = way.runs.find(({ parts }) => parts.at(-1)?.last === gap.first - 1n);
      const last = before === undefined ? undefined : segmentsOfRun(before, segmentBytes).at(-1);
      return {
        firstSegment: first_segment,
        lastSegment: last_segment,
        segments: segmentCountOf(gap),
        since: await cameAt(scene, last?.name),
      };
    }),
  );
}

type PointPart = Pick<WalPointFacts, 'base' | 'recoverableAt' | 'isExact' | 'lastSegment'> & {
  readonly last: LastCommit | null;
  readonly end: Lsn | null;
};

/** How far the newest good base backup leads, with the WAL behind it. */
async function pointOf(scene: ArchiveScene): Promise<PointPart> {
  const { way, listing, archive, context, isFirst, isFolder } = scene;
  const none: PointPart = {
    base: null,
    recoverableAt: null,
    isExact: true,
    lastSegment: null,
    last: null,
    end: null,
  };
  const [base] = basesOnWay(scene);
  if (base === undefined) return none;
  const { manifest, label } = base;
  const finishedAt = new Date(manifest.finished_at);
  const found: PointPart = { ...none, base: { label, finishedAt }, recoverableAt: finishedAt };
  const run = runAt(way, requireLsn(manifest.start_lsn), listing.segmentBytes);
  // It holds what makes it consistent, and nothing came behind it yet.
  if (run === null) return found;
  const segments = segmentsOfRun(run, listing.segmentBytes);
  const lastSegment = segments.at(-1)?.name ?? null;
  const last = await lastCommitOf(context, {
    archive,
    segments,
    segmentBytes: listing.segmentBytes,
    mayRead: isFirst && isFolder,
  });
  const at = last.at ?? (await cameAt(scene, segments.at(-1)?.name));
  const isLater = at !== null && at > finishedAt;
  return {
    ...found,
    recoverableAt: isLater ? at : finishedAt,
    isExact: !isLater || last.at !== null,
    lastSegment,
    last,
    end: last.end !== null && last.end > run.end ? last.end : run.end,
  };
}

/** What one archive in one store leads to; `null` where there is no WAL in it. */
async function archivePoint(
  { store, view, bases }: ReadableListing,
  cluster: string,
  isFirst: boolean,
): Promise<ArchivePoint | null> {
  // The indexes of segments are made and not kept: nothing is written into the repository.
  const storage = readOnly(view.repository.storage);
  const context = { ...view, repository: { ...view.repository, storage } };
  const streamed = await openStreamedArchive(context, cluster, { withStream: isFirst });
  const { archive, listing } = streamed;
  const tree = await treeWithLosses(context, archive, listing);
  const way = tree.timelines.toSorted((a, b) => b.timeline - a.timeline)[0];
  if (way === undefined || listing.segments.length === 0) return null;
  const own = bases.filter((base) => base.cluster === cluster);
  const isFolder = store.spec.kind === 'folder';
  const scene: ArchiveScene = { ...streamed, context, way, bases: own, isFirst, isFolder };
  const gaps = await openGapsOf(scene);
  const { last, end, ...point } = await pointOf(scene);
  const facts: WalPointFacts = {
    cluster,
    store: isFirst ? null : store.spec.name,
    isRequired: store.spec.isRequired,
    ...point,
    firstAt: await cameAt(scene, listing.segments[0]?.name),
    isComplete: false,
    gaps,
    pastGaps: way.gaps.length - gaps.length,
  };
  return { facts, timeline: way.timeline, end, last };
}

/** A store that has nothing of a cluster whose WAL the first one has. */
function lackingPoint({ store }: ReadableListing, { facts }: ArchivePoint): ArchivePoint {
  const lacking: WalPointFacts = {
    ...facts,
    store: store.spec.name,
    isRequired: store.spec.isRequired,
    base: null,
    recoverableAt: null,
    lastSegment: null,
    gaps: [],
    pastGaps: 0,
  };
  return { facts: lacking, timeline: 0, end: null, last: null };
}

/** What a server says of how far it is. */
interface ServerPosition {
  readonly cluster: string;
  readonly timeline: number;
  readonly lsn: Lsn;
  readonly lastXid: number;
  readonly isWriting: boolean;
}

/**
 * Whether an archive has all that its server has committed: hardly anything was written since, and
 * the transaction that ended last is in it.
 */
function isComplete({ end, last, timeline }: ArchivePoint, at: ServerPosition): boolean {
  if (end === null || last?.index == null || at.isWriting || at.timeline !== timeline) return false;
  return at.lsn - end <= BigInt(idleBytesMax) && hasTransaction(last.index, at.lastXid);
}

/** Asks the servers, where a point is too old, whether there is anything newer. */
async function withServers(
  { context, now }: MonitorContext,
  points: readonly ArchivePoint[],
): Promise<readonly ArchivePoint[]> {
  const { max_recovery_age_minutes: max } = context.config.settings.monitor;
  const isLate = ({ facts }: ArchivePoint) => checkWalPoint(facts, max, now).level !== 'ok';
  if (!points.some((point) => point.facts.recoverableAt !== null && isLate(point))) return points;
  const answers = await askServers(context, async ({ cluster, client, facts }) => {
    const { lastXid, isWriting } = await readWalServer(client);
    const { timeline, lsn, in_recovery: inRecovery } = facts;
    // A standby does not know what its primary has committed since.
    if (inRecovery) return null;
    return { cluster, timeline, lsn: requireLsn(lsn), lastXid, isWriting };
  });
  return points.map((point) => {
    const position = answers.find(({ answer }) => answer?.cluster === point.facts.cluster)?.answer;
    if (position == null || !isLate(point)) return point;
    return { ...point, facts: { ...point.facts, isComplete: isComplete(point, position) } };
  });
}

/** The newest full backup of each database whose cluster has no WAL. */
function fullPoints(
  { now }: MonitorContext,
  { full }: ReadableListing,
  withWal: ReadonlySet<string>,
): HealthFinding[] {
  const newest = new Map<string, HealthFinding>();
  for (const { cluster, database, label, state, details } of full.backups) {
    if (state === 'damaged' || details === null || withWal.has(cluster)) continue;
    const startedAt = new Date(details.startedAt);
    const point = { cluster, database, label, startedAt };
    newest.set(JSON.stringify([cluster, database]), tellFullPoint(point, now));
  }
  return [...newest.values()];
}

/** The archives of one store; what cannot be read of one is told, and hides no other. */
async function pointsIn(
  { context }: MonitorContext,
  listing: ReadableListing,
  isFirst: boolean,
): Promise<{ readonly points: readonly ArchivePoint[]; readonly unknown: HealthFinding[] }> {
  const points: ArchivePoint[] = [];
  const unknown: HealthFinding[] = [];
  for (const cluster of await walClusters(listing.view.repository.storage)) {
    try {
      const point = await archivePoint(listing, cluster, isFirst);
      if (point !== null) points.push(point);
    } catch (thrown) {
      if (context.signal.aborted) throw context.signal.reason;
      const subject = isFirst ? cluster : `${cluster} in ${listing.store.spec.name}`;
      unknown.push(unknownFinding({ check: 'recovery_point', subject }, thrown));
    }
  }
  return { points, unknown };
}

/** Checks how far the WAL leads in every store. */
async function checkRecovery(monitor: MonitorContext): Promise<readonly HealthFinding[]> {
  const { now, context } = monitor;
  const { max_recovery_age_minutes: max } = context.config.settings.monitor;
  const findings: HealthFinding[] = [];
  const all: ArchivePoint[] = [];
  let first: readonly ArchivePoint[] = [];
  for (const [index, listing] of (await monitor.listing()).entries()) {
    const isFirst = index === 0;
    const { name } = listing.store.spec;
    if (listing.error !== null) {
      // Other checks say that the store does not answer; here it counts where there is WAL.
      if (!isFirst && first.length === 0) continue;
      findings.push(unknownFinding({ check: 'recovery_point', subject: name }, listing.error));
      continue;
    }
    try {
      const { points, unknown } = await pointsIn(monitor, listing, isFirst);
      const known = new Set(points.map(({ facts }) => facts.cluster));
      if (isFirst) {
        first = points;
        findings.push(...fullPoints(monitor, listing, known));
      }
      const lacking = first.filter(({ facts }) => !isFirst && !known.has(facts.cluster));
      all.push(...points, ...lacking.map((point) => lackingPoint(listing, point)));
      findings.push(...unknown);
    } catch (thrown) {
      if (context.signal.aborted) throw context.signal.reason;
      findings.push(unknownFinding({ check: 'recovery_point', subject: name }, thrown));
    }
  }
  for (const { facts } of await withServers(monitor, all)) {
    findings.push(checkWalPoint(facts, max, now), checkWalGaps(facts));
  }
  return findings;
}

/** The recovery point and the gaps of every WAL archive. */
export const recoveryGroup: CheckGroup = {
  name: 'recovery',
  checks: ['recovery_point', 'wal_gaps'],
  needs: 'repository',
  run: checkRecovery,
};
