/** Which base backup, timeline and WAL a recovery takes; proven before a byte is written. */

import { type BaseEntry, listBaseBackups } from '../../catalog/base_catalog.ts';
import type { WalArchive } from '../../catalog/wal_archive.ts';
import type { BaseManifest } from '../../core/base_manifest.ts';
import { HoldfastError } from '../../core/errors.ts';
import { formatLsn, segmentName } from '../../core/lsn.ts';
import { type PassedOver, passedOver } from '../../core/passed_over.ts';
import {
  type Candidate,
  candidatesFor,
  firstNeeded,
  judge,
  type KnownSegment,
  type RecoveryRequest,
  type Verdict,
} from '../../core/recovery.ts';
import { describeTarget } from '../../core/recovery_target.ts';
import { type ArchiveListing, segmentSuffix } from '../../core/wal_listing.ts';
import type { RunSegment, WalTree } from '../../core/wal_ranges.ts';
import { walTree } from '../../core/wal_ranges.ts';
import { openStreamedArchive, unfinishedFile } from '../archiving/streamed_archive.ts';
import { indexSegments } from '../archiving/wal_index.ts';
import type { RepositoryContext } from '../context.ts';
import { withWaitingWal } from './waiting_wal.ts';

/** A base backup whose manifest can be read. */
export type UsableBase = BaseEntry & { readonly manifest: BaseManifest };

/** How the target is reached. */
export interface PitrPlan {
  readonly cluster: string;
  readonly base: UsableBase;
  /** What is put together: the whole backup first, `base` itself last. */
  readonly chain: readonly [UsableBase, ...UsableBase[]];
  /** Younger base backups that cannot be restored. */
  readonly passedOver: readonly PassedOver[];
  readonly timeline: number;
  /** What is replayed from the archive, oldest first; none where the backup alone is enough. */
  readonly segments: readonly RunSegment[];
  readonly segmentBytes: number;
  /** Stands for the last segment, which is not complete ({@link unfinishedFile}); else `null`. */
  readonly unfinished: string | null;
  /** Where the WAL is, as the plan found it. */
  readonly archive: WalArchive;
  /** The server cannot take it from there: it is elsewhere, or encrypted. */
  readonly isBrought: boolean;
  /** Names of the history files in the archive. */
  readonly histories: readonly string[];
}

/** What can be recovered to on one timeline. Positions as PostgreSQL writes them. */
interface ReachableRange {
  readonly timeline: number;
  readonly from_lsn: string;
  /** When the oldest base backup was finished. */
  readonly from_time: string;
  readonly to_lsn: string;
  /** Of the last transaction in the WAL; `null` where there is none. */
  readonly to_time: string | null;
  readonly to_xid: number | null;
}

/** So many segments are looked into at once. */
const stepSegments = 16;

interface Scene {
  readonly context: RepositoryContext;
  readonly archive: WalArchive;
  readonly tree: WalTree;
  readonly bases: readonly BaseEntry[];
}

/** The cluster that is meant. @throws HoldfastError BACKUP_NOT_FOUND, USAGE */
async function chooseCluster(
  context: RepositoryContext,
  named: string | undefined,
): Promise<{ cluster: string; bases: BaseEntry[] }> {
  const all = await listBaseBackups(context.repository.storage);
  const wanted = named ?? context.config.settings.cluster ?? undefined;
  const clusters = [...new Set(all.map(({ cluster }) => cluster))];
  const names = clusters.map((each) => JSON.stringify(each)).join(', ');
  const cluster = wanted ?? clusters[0];
  if (wanted === undefined && clusters.length > 1) {
    throw new HoldfastError(
      'USAGE',
      `the repository has base backups of several clusters: ${names}`,
      {
        hint: 'Say which with --cluster.',
      },
    );
  }
  if (cluster === undefined || !clusters.includes(cluster)) {
    const of = cluster === undefined ? '' : ` of the cluster ${JSON.stringify(cluster)}`;
    throw new HoldfastError('BACKUP_NOT_FOUND', `there is no base backup${of}`, {
      hint:
        names === ''
          ? 'scripts/backup_incremental.ts takes one; restore_backup.ts restores full backups.'
          : `There are those of ${names}.`,
    });
  }
  return { cluster, bases: all.filter((entry) => entry.cluster === cluster) };
}

function toKnown(
  scene: Scene,
  run: readonly RunSegment[],
  from: number,
  to: number,
): Promise<KnownSegment[]> {
  const { segmentBytes } = scene.tree;
  return indexSegments(scene.context, { archive: scene.archive, run, from, to, segmentBytes });
}

/** Why nothing behind a candidate's segments can be replayed though later WAL is there. */
function gapBehind({ gap }: Candidate<BaseEntry>, { segmentBytes }: WalTree): string | null {
  if (gap === null) return null;
  const [first, last] = [gap.first, gap.last].map((number) => {
    return segmentName(gap.timeline, number, segmentBytes);
  });
  return `${first === last ? `${first} is` : `${first} to ${last} are`} missing in the archive`;
}

/** Looks into as many segments as decide. */
async function judgeCandidate(
  scene: Scene,
  candidate: Candidate<BaseEntry>,
  request: RecoveryRequest,
): Promise<Verdict & { readonly problem: string | null }> {
  const { segmentBytes } = scene.tree;
  const { segments } = candidate;
  const known: KnownSegment[] = [];
  const first = firstNeeded(candidate, request, segmentBytes);
  for (let at = first; ; at += stepSegments) {
    const isAll = at >= segments.length;
    const verdict = judge(candidate, request, known, { segmentBytes, isAll });
    const problem = known.find((each) => each.problem !== null)?.problem?.message ?? null;
    if (verdict.kind === 'beyond') {
      return { ...verdict, problem: problem ?? gapBehind(candidate, scene.tree) };
    }
    if (verdict.kind !== 'undecided') return { ...verdict, problem };
    const end = Math.min(segments.length, at + stepSegments);
    known.push(...(await toKnown(scene, segments, at, end)));
  }
}

/** The last transaction in segments that can be read, looked for from their end. */
async function lastCommit(scene: Scene, run: readonly RunSegment[]) {
  for (let end = run.length; end > 0; end -= stepSegments) {
    const known = await toKnown(scene, run, Math.max(0, end - stepSegments), end);
    const broken = known.findIndex(({ problem }) => problem !== null);
    const good = known.slice(0, broken === -1 ? undefined : broken + 1);
    const commit = good.map(({ index }) => index?.last_commit).findLast((each) => each != null);
    if (commit != null) return commit;
  }
  return null;
}

async function rangeOf(scene: Scene, timeline: number): Promise<ReachableRange[]> {
  const found = candidatesFor(scene.bases, scene.tree, timeline);
  const oldest = found.at(-1);
  if (oldest?.base.manifest == null) return [];
  // Behind a gap only a younger base backup leads on.
  const newest = found.find(({ segments }) => segments.length > 0) ?? oldest;
  const last = await lastCommit(scene, newest.segments);
  return [
    {
      timeline,
      from_lsn: formatLsn(oldest.stop),
      from_time: oldest.base.manifest.finished_at,
      to_lsn: last?.end_lsn ?? formatLsn(newest.stop),
      to_time: last?.at ?? null,
      to_xid: last?.xid ?? null,
    },
  ];
}

function describeRange(range: ReachableRange): string {
  const { timeline, from_lsn: from, from_time: begun, to_lsn: to, to_time: ended } = range;
  const until =
    ended === null
      ? 'no transaction after it'
      : `the last transaction, ${range.to_xid}, at ${ended}`;
  return `timeline ${timeline}: ${from} (a backup finished at ${begun}) to ${to} (${until})`;
}

async function unreachable(
  scene: Scene,
  request: RecoveryRequest,
  why: string,
): Promise<HoldfastError> {
  const numbers = new Set([
    ...scene.tree.timelines.map(({ timeline }) => timeline),
    ...scene.bases.flatMap(({ manifest }) => manifest?.stop_timeline ?? []),
  ]);
  const ranges: ReachableRange[] = [];
  for (const timeline of [...numbers].sort((a, b) => a - b)) {
    ranges.push(...(await rangeOf(scene, timeline)));
  }
  const text = `${describeTarget(request.target)} cannot be reached: ${why}`;
  const reach = ranges.map(describeRange).join('; ');
  return new HoldfastError('TARGET_UNREACHABLE', text, {
    hint: reach === '' ? 'No base backup can be used.' : `What can be reached: ${reach}.`,
    details: { reachable: ranges },
  });
}

function whyNot(verdicts: readonly Verdict[], problem: string | null): string {
  if (problem !== null) return `the WAL cannot be replayed so far (${problem})`;
  if (verdicts.length === 0) return 'no base backup lies on that timeline';
  return verdicts.some(({ kind }) => kind === 'beyond')
    ? 'no record in the archived WAL lies behind it on that timeline; a server that runs ' +
        'archives what it has with scripts/backup_incremental.ts --base none'
    : 'it lies before the first base backup is consistent';
}

/** The segments up to the one in which the server stops: without one, where the backup ends. */
function neededOf(
  { segments, stop }: Candidate<BaseEntry>,
  { stopsIn }: Verdict,
  segmentBytes: number,
): readonly RunSegment[] {
  const last = stopsIn?.number ?? (stop - 1n) / BigInt(segmentBytes);
  return segments.filter(({ number }) => number <= last);
}

/** What nobody should take is as good as found damaged. */
function without(bases: readonly BaseEntry[], avoid: ReadonlySet<string>, at: Date): BaseEntry[] {
  return bases.map((base) =>
    avoid.has(base.label) ? { ...base, check: { kind: 'damaged', at } } : base,
  );
}

/** Whether the server cannot take the WAL from where it is: not on this machine, or encrypted. */
function isOutOfReach(
  { repository }: RepositoryContext,
  listing: ArchiveListing,
  needed: readonly RunSegment[],
): boolean {
  if (repository.storage !== repository.local) return true;
  const sealed = listing.segments.filter(({ suffix }) => suffix !== segmentSuffix);
  const names = new Set(sealed.map(({ name }) => name));
  return needed.some(({ name }) => names.has(name));
}

function isUsableBase(base: BaseEntry): base is UsableBase {
  return base.manifest !== null;
}

/**
 * Finds the newest base backup from which the target is reached.
 *
 * @param named its name in the repository; it may be left out where there is only one
 * @param avoid labels of backups that were found damaged just now
 * @param wholeOnly leaves out what would have to be put together
 * @throws HoldfastError TARGET_UNREACHABLE with what can be reached on each timeline,
 *   BACKUP_NOT_FOUND without base backups, USAGE where the cluster has to be named
 */
export async function planPitr(
  context: RepositoryContext,
  request: RecoveryRequest,
  named: string | undefined,
  avoid: ReadonlySet<string> = new Set(),
  wholeOnly = false,
): Promise<PitrPlan> {
  const { cluster, bases: all } = await chooseCluster(context, named);
  const bases = without(all, avoid, context.clock());
  const reading = await withWaitingWal(context, cluster);
  const { archive, listing } = await openStreamedArchive(reading, cluster);
  const tree = walTree(listing);
  const scene: Scene = { context, archive, tree, bases };
  const verdicts: Verdict[] = [];
  let problem: string | null = null;
  for (const candidate of candidatesFor(bases, tree, request.timeline)) {
    if (wholeOnly && candidate.chain.length > 1) continue;
    const verdict = await judgeCandidate(scene, candidate, request);
    const { base, timeline } = candidate;
    const [whole, ...more] = candidate.chain.filter(isUsableBase);
    if (verdict.kind === 'reached' && isUsableBase(base) && whole !== undefined) {
      const { segmentBytes } = tree;
      const segments = neededOf(candidate, verdict, segmentBytes);
      const unfinished = unfinishedFile(archive, segments);
      const wal = { archive, isBrought: isOutOfReach(context, listing, segments) };
      const histories = listing.histories.map(({ name }) => name);
      const rest = { timeline, segments, segmentBytes, unfinished, histories, ...wal };
      const over = passedOver(bases, base.label);
      return { cluster, base, chain: [whole, ...more], passedOver: over, ...rest };
    }
    verdicts.push(verdict);
    problem ??= verdict.problem;
  }
  throw await unreachable(scene, request, whyNot(verdicts, problem));
}
