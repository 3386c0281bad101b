/**
 * Verifies a WAL archive: every segment against its digest, its name and its server, decompressed
 * to the end; the history files against each other; no segment missing between two others. Deep, it
 * also has pg_waldump read every record.
 */

import { buffer } from 'node:stream/consumers';
import { whileUsingCluster } from '../../catalog/in_use.ts';
import { mapBounded } from '../../catalog/map_bounded.ts';
import { openWalArchive, type WalArchive } from '../../catalog/wal_archive.ts';
import { HoldfastError } from '../../core/errors.ts';
import { segmentName } from '../../core/lsn.ts';
import { formatSums, sha256Of } from '../../core/sums.ts';
import { claimName } from '../../core/wal_claim.ts';
import {
  type ArchivedHistory,
  type ArchiveListing,
  archivedPath,
  digestSuffix,
  pathBeside,
} from '../../core/wal_listing.ts';
import {
  contradictions,
  segmentCountOf,
  segmentsOfRun,
  type WalTree,
} from '../../core/wal_ranges.ts';
import type { RepositoryContext } from '../context.ts';
import { treeWithLosses } from './incremental_scene.ts';
import { indexSegments } from './wal_index.ts';
import { readSegment, type WalFinding } from './wal_segment.ts';

export interface WalVerifyOptions {
  /** pg_waldump reads every record. */
  readonly deep: boolean;
  /** Told of stored bytes as they are read. */
  readonly onBytes: (bytes: number) => void;
}

/** What a verification has found; `ok` is the absence of findings. */
export interface WalVerifyResult {
  readonly cluster: string;
  readonly ok: boolean;
  readonly findings: readonly WalFinding[];
  readonly segments: number;
  /** Stored bytes that were read. */
  readonly bytes: number;
  readonly seconds: number;
  /** Segments that had no digest beside them, which a killed run leaves: it was written now. */
  readonly digestsWritten: number;
  /** Segments that nobody here can decrypt: only their stored bytes were compared. */
  readonly sealed: number;
  /** Paths of what somebody else has put there. */
  readonly foreign: readonly string[];
}

/** One verification under way. */
class WalVerification {
  readonly findings: WalFinding[] = [];
  bytes = 0;
  digestsWritten = 0;
  sealed = 0;
  readonly #context: RepositoryContext;
  readonly #archive: WalArchive;
  readonly #listing: ArchiveListing;
  readonly #tree: WalTree;
  readonly #options: WalVerifyOptions;

  constructor(
    context: RepositoryContext,
    archive: WalArchive,
    listing: ArchiveListing,
    tree: WalTree,
    options: WalVerifyOptions,
  ) {
    this.#context = context;
    this.#archive = archive;
    this.#listing = listing;
    this.#tree = tree;
    this.#options = options;
  }

  async run(): Promise<void> {
    const owner = await this.#verifyClaim();
    for (const { name } of [...this.#listing.histories, ...this.#listing.backups]) {
      await this.#verifyDocument(name);
    }
    this.#verifyHistories();
    await this.#verifySegments(owner);
    this.#verifyChain();
    if (this.#options.deep) await this.#verifyRecords();
  }

  #add(name: string, check: WalFinding['check'], message: string): void {
    this.findings.push({ file: archivedPath(name) ?? name, check, message });
  }

  /** @returns the system identifier that all segments must have, where the claim tells it */
  async #verifyClaim(): Promise<string | null> {
    try {
      return (await this.#archive.claim())?.system_identifier ?? null;
    } catch (error) {
      this.#add(claimName, 'claim', messageOfDamage(error));
      return null;
    }
  }

  async #verifyDocument(name: string): Promise<void> {
    try {
      const digest = await this.#archive.digest(name);
      const bytes = await buffer(await this.#archive.read(name));
      if (digest === null) await this.#writeDigest(name, sha256Of(bytes));
      else if (digest !== sha256Of(bytes)) this.#add(name, 'digest', 'differs from its digest');
    } catch (error) {
      this.#add(name, 'digest', messageOfDamage(error));
    }
  }

  #verifyHistories(): void {
    for (const { name, problem } of this.#listing.histories) {
      if (problem !== null) this.#add(name, 'history', problem);
    }
    const readable = this.#listing.histories.filter(hasAncestors);
    for (const { timeline, message } of contradictions(readable)) {
      const name = readable.find((each) => each.timeline === timeline)?.name ?? '';
      this.#add(name, 'history', message);
    }
    for (const { timeline, origin } of this.#tree.timelines) {
      if (origin.kind !== 'unknown' || origin.problem !== null) continue;
      const name = `${timeline.toString(16).toUpperCase().padStart(8, '0')}.history`;
      this.#add(name, 'missing', `is missing: where timeline ${timeline} comes from is not known`);
    }
  }

  async #verifySegments(owner: string | null): Promise<void> {
    const { segmentBytes, segments } = this.#listing;
    const ways = new Map(this.#tree.timelines.map((way) => [way.timeline, way]));
    let systemIdentifier = owner;
    await mapBounded(segments, this.#context.config.settings.threads, async (segment) => {
      const way = ways.get(segment.timeline) ?? null;
      const expected = { segmentBytes, systemIdentifier, way };
      const input = { archive: this.#archive, segment, expected };
      const reading = await readSegment(this.#context, input);
      this.findings.push(...reading.findings);
      this.bytes += reading.storedBytes;
      this.#options.onBytes(reading.storedBytes);
      if (reading.isSealed) this.sealed += 1;
      if (reading.findings.length > 0 || reading.plain === null) return;
      // Without a claim the first good one tells whose they all are.
      systemIdentifier ??= reading.header?.systemIdentifier ?? null;
      if (!reading.hasDigest) await this.#writeDigest(segment.name, reading.plain.sha256);
    });
  }

  /** What a killed run has left out; where it cannot be written the next verification does it. */
  async #writeDigest(name: string, sha256: string): Promise<void> {
    const key = `${this.#archive.folder}/${pathBeside(name, digestSuffix)}`;
    try {
      await this.#archive.storage.put(key, Buffer.from(formatSums([{ name, sha256 }])));
      this.digestsWritten += 1;
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      this.#context.log.detail(`the digest of ${name} could not be written: ${error.message}`);
    }
  }

  #verifyChain(): void {
    const { segmentBytes, timelines } = this.#tree;
    const told = new Set<string>();
    for (const { gaps } of timelines) {
      for (const gap of gaps) {
        const first = segmentName(gap.timeline, gap.first, segmentBytes);
        const last = segmentName(gap.timeline, gap.last, segmentBytes);
        if (told.has(`${first}-${last}`)) continue;
        told.add(`${first}-${last}`);
        const count = segmentCountOf(gap);
        const rest = count === 1 ? '' : `, and so is every one up to ${last} (${count} segments)`;
        this.#add(first, 'missing', `is missing${rest}`);
      }
    }
  }

  /** Every segment once, with those before it on its way. */
  async #verifyRecords(): Promise<void> {
    const { segmentBytes, timelines } = this.#tree;
    const seen = new Set<string>();
    const damaged = new Set(this.findings.map(({ file }) => file));
    for (const way of timelines) {
      for (const run of way.runs.map((each) => segmentsOfRun(each, segmentBytes))) {
        const from = run.findIndex(({ name }) => !seen.has(name));
        if (from === -1) continue;
        for (const { name } of run) seen.add(name);
        const request = { archive: this.#archive, run, from, to: run.length, segmentBytes };
        for (const each of await indexSegments(this.#context, { ...request, anew: true })) {
          const { name } = each.segment;
          if (each.problem === null || each.problem.code === 'WRONG_KEY') continue;
          if (damaged.has(archivedPath(name) ?? name)) continue;
          this.#add(name, 'records', each.problem.message);
        }
      }
    }
  }
}

function hasAncestors(
  history: ArchivedHistory,
): history is ArchivedHistory & { ancestors: NonNullable<ArchivedHistory['ancestors']> } {
  return history.ancestors !== null;
}

/** Errors that are about a file; any other says that nothing can be known about it now. */
function messageOfDamage(error: unknown): string {
  if (error instanceof HoldfastError && error.code === 'DAMAGED') return error.message;
  throw error;
}

/**
 * Verifies the WAL archive of a cluster.
 *
 * @throws HoldfastError when the store cannot be read; LOCKED while a prune removes of it; deep:
 *   TOOL_TOO_OLD without pg_waldump
 */
export function verifyWal(
  context: RepositoryContext,
  cluster: string,
  options: WalVerifyOptions,
): Promise<WalVerifyResult> {
  const { stateDir } = context.repository;
  return whileUsingCluster(stateDir, cluster, () => verifyHeld(context, cluster, options));
}

/** The same, while nothing of it is removed. */
async function verifyHeld(
  context: RepositoryContext,
  cluster: string,
  options: WalVerifyOptions,
): Promise<WalVerifyResult> {
  const begun = context.stopwatch();
  const archive = openWalArchive(context.repository.storage, cluster);
  const listing = await archive.list();
  const tree = await treeWithLosses(context, archive, listing);
  const verification = new WalVerification(context, archive, listing, tree, options);
  await verification.run();
  const { bytes, digestsWritten, sealed } = verification;
  const findings = verification.findings.toSorted((a, b) => (a.file < b.file ? -1 : 1));
  return {
    cluster,
    ok: findings.length === 0,
    findings,
    segments: listing.segments.length,
    bytes,
    seconds: context.stopwatch() - begun,
    digestsWritten,
    sealed,
    foreign: listing.foreign,
  };
}
