/**
 * Makes and keeps the indexes of what WAL segments hold. Several segments that follow each other
 * are unpacked into a private folder and read by one pg_waldump; what it says streams by.
 */

import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { mapBounded } from '../../catalog/map_bounded.ts';
import type { WalArchive } from '../../catalog/wal_archive.ts';
import { HoldfastError } from '../../core/errors.ts';
import { type Lsn, segmentName, segmentNumber } from '../../core/lsn.ts';
import { majorOfSegment, type SegmentHeader } from '../../core/wal_header.ts';
import {
  createIndexBuilder,
  endOfIndex,
  formatIndex,
  type IndexBuilder,
  parseIndex,
  type WalIndex,
} from '../../core/wal_index.ts';
import { indexSuffix, pathBeside } from '../../core/wal_listing.ts';
import type { RunSegment } from '../../core/wal_ranges.ts';
import { findWaldump, readWal } from '../../postgres/waldump.ts';
import { fileMode } from '../../process/durable.ts';
import type { Context } from '../context.ts';
import { createScratchFolder } from '../scratch_folder.ts';
import { readSegment, type SegmentExpectation } from './wal_segment.ts';

/** What a segment holds, or why nobody can tell. */
export interface SegmentIndex {
  readonly segment: RunSegment;
  readonly index: WalIndex | null;
  readonly problem: HoldfastError | null;
}

/** A run of segments, and which of them are meant. */
export interface IndexRequest {
  readonly archive: WalArchive;
  /** Without a break (segmentsOfRun): a record may begin in a segment and end in the next. */
  readonly run: readonly RunSegment[];
  /** The first one that is meant, by its place in the run. */
  readonly from: number;
  /** The place behind the last one that is meant. */
  readonly to: number;
  readonly segmentBytes: number;
  /** Reads the segments also where an index is kept: then what is wrong with them is found. */
  readonly anew?: boolean;
}

/** So much is unpacked at once, unless a single segment is larger. */
const batchBytesMax = 128 * 1024 * 1024;
const readsMax = 16;
const scratchPrefix = 'holdfast-wal-';
const scratchHint = 'Set TMPDIR to an existing folder: WAL is unpacked there to be read.';

/** Reads the index that is kept, or `null` where there is none that can be used. */
export async function readKeptIndex(archive: WalArchive, name: string): Promise<WalIndex | null> {
  if (archive.streamed.has(name)) return null;
  const key = `${archive.folder}/${pathBeside(name, indexSuffix)}`;
  try {
    const index = parseIndex(await buffer(await archive.storage.get(key)));
    return index.segment === name ? index : null;
  } catch (error) {
    const isOfTheFile =
      error instanceof HoldfastError && ['DAMAGED', 'BACKUP_NOT_FOUND'].includes(error.code);
    if (isOfTheFile) return null;
    throw error;
  }
}

/** Keeps an index. What cannot be kept is made again: that costs time and nothing else. */
async function keep(context: Context, archive: WalArchive, index: WalIndex): Promise<void> {
  // In the stream it may still grow, and it is not in the archive.
  if (archive.streamed.has(index.segment)) return;
  try {
    const key = `${archive.folder}/${pathBeside(index.segment, indexSuffix)}`;
    await archive.storage.put(key, formatIndex(index));
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    if (error.code === 'STORE_EXISTS') return;
    context.log.detail(`the index of ${index.segment} could not be kept: ${error.message}`);
  }
}

/** A segment as a plain file. */
interface Unpacked {
  readonly segment: RunSegment;
  readonly header: SegmentHeader;
}

/** Several segments that one pg_waldump reads. */
class Batch {
  readonly #context: Context;
  readonly #request: IndexRequest;
  readonly #folder: string;
  /** The name of every file has this timeline, so that pg_waldump takes them for one. */
  readonly #timeline: number;

  constructor(context: Context, request: IndexRequest, folder: string) {
    this.#context = context;
    this.#request = request;
    this.#folder = folder;
    this.#timeline = Math.max(...request.run.map(({ timeline }) => timeline));
  }

  #nameOf({ number }: RunSegment): string {
    return segmentName(this.#timeline, number, this.#request.segmentBytes);
  }

  /** @throws HoldfastError DAMAGED when something is wrong with it */
  async #unpack(segment: RunSegment): Promise<Unpacked> {
    const { archive, segmentBytes } = this.#request;
    const expected: SegmentExpectation = { segmentBytes, systemIdentifier: null, way: null };
    const file = await open(join(this.#folder, this.#nameOf(segment)), 'w+', fileMode);
    try {
      const reading = await readSegment(this.#context, { archive, segment, expected, file });
      const [finding] = reading.findings;
      if (finding === undefined && reading.isSealed) {
        throw new HoldfastError('WRONG_KEY', `${segment.name} is encrypted, and no key was given`, {
          hint: 'With the private key its records can be read: --identity FILE.',
        });
      }
      if (finding !== undefined || reading.header === null) {
        throw new HoldfastError('DAMAGED', `${segment.name} ${finding?.message ?? ''}`);
      }
      return { segment, header: reading.header };
    } finally {
      await file.close();
    }
  }

  /**
   * Unpacks what comes before a segment, as far back as the record goes within which it begins.
   *
   * @returns oldest first; `null` when that is not to be had
   */
  async #unpackBefore(place: number, { header }: Unpacked): Promise<Unpacked[] | null> {
    const before: Unpacked[] = [];
    let earliest = header;
    for (let at = place - 1; earliest.continuedBytes > 0; at -= 1) {
      // One in which another record ends is where the record begins.
      const isFilled = earliest.continuedBytes >= earliest.segmentBytes - earliest.pageBytes;
      if (before.length > 0 && !isFilled) break;
      const segment = this.#request.run[at];
      const unpacked = segment === undefined ? null : await this.#unpack(segment).catch(ofDamage);
      if (unpacked === null) return null;
      before.unshift(unpacked);
      earliest = unpacked.header;
    }
    return before;
  }

  /** Makes the indexes of the segments from one place to another, as far as they can be read. */
  async index(from: number, to: number): Promise<SegmentIndex[]> {
    const { run } = this.#request;
    const wanted = run.slice(from, to);
    const threads = this.#context.config.settings.threads;
    const read = await mapBounded(wanted, threads, (segment) =>
      this.#unpack(segment).catch(toProblem),
    );
    const damaged = read.findIndex((each) => each instanceof HoldfastError);
    const good = read.slice(0, damaged === -1 ? undefined : damaged) as Unpacked[];
    const [first] = good;
    const indexes = first === undefined ? [] : await this.#indexGood(from, first, good);
    const problem = read[indexes.length];
    const segment = wanted[indexes.length];
    if (problem instanceof HoldfastError && segment !== undefined) {
      indexes.push({ segment, index: null, problem });
    }
    return indexes;
  }

  async #indexGood(
    from: number,
    first: Unpacked,
    good: readonly Unpacked[],
  ): Promise<SegmentIndex[]> {
    const before = await this.#unpackBefore(from, first);
    const all = [...(before ?? []), ...good];
    const builders = good.map(({ segment }) => createIndexBuilder(segment.name));
    const end = await this.#read(all, good, builders);
    const indexes: SegmentIndex[] = [];
    for (const [place, { segment }] of good.entries()) {
      const index = builders[place]?.build() ?? null;
      const isLast = from + place === this.#request.run.length - 1;
      if (end.problem !== null && segment.number === end.number && !end.isEnd(isLast, segment)) {
        const text = `${segment.name} cannot be read to its end: ${end.problem}`;
        indexes.push({ segment, index, problem: new HoldfastError('DAMAGED', text) });
        break;
      }
      // What began before is not known where the segment before is missing: it may come yet.
      const isWhole = place > 0 || before !== null;
      if (isWhole && index !== null) await keep(this.#context, this.#request.archive, index);
      indexes.push({ segment, index, problem: null });
    }
    return indexes;
  }

  /** Lets pg_waldump read, and gives each record to the segment in which it ends. */
  async #read(
    all: readonly Unpacked[],
    good: readonly Unpacked[],
    builders: readonly IndexBuilder[],
  ) {
    const [first, last] = [all[0], all.at(-1)] as [Unpacked, Unpacked];
    const { config, environment, signal } = this.#context;
    const { segmentBytes, pageBytes } = first.header;
    const major = majorOfSegment(first.header);
    if (major === null) {
      throw new HoldfastError(
        'TOOL_TOO_OLD',
        `${first.segment.name} is of a version of PostgreSQL that this version does not know`,
        { hint: 'Use a newer version of Holdfast.' },
      );
    }
    const pgBinDir = config.settings.pg_bin_dir;
    const tool = await findWaldump({ environment, pgBinDir, signal }, major);
    const firstNumber = (good[0] as Unpacked).segment.number;
    let reached: Lsn | null = null;
    const { problem, isUnwritten } = await readWal(
      {
        tool,
        folder: this.#folder,
        first: this.#nameOf(first.segment),
        last: this.#nameOf(last.segment),
        start: await this.#startWithin(first, good),
        sizes: { segmentBytes, pageBytes },
        environment,
        signal,
      },
      (record) => {
        reached = record.end;
        const number = segmentNumber(record.end - 1n, segmentBytes);
        if (number >= firstNumber) builders[Number(number - firstNumber)]?.add(record);
      },
    );
    return {
      problem,
      number: reached === null ? firstNumber : segmentNumber(reached, segmentBytes),
      /** An unfinished segment ends anywhere; a complete one only where nothing was written. */
      isEnd: (isLast: boolean, { name }: RunSegment) =>
        isLast && (isUnwritten || name.endsWith('.partial')),
    };
  }

  /** Where the records end that an index of the first segment tells of, to read no more of it. */
  async #startWithin(first: Unpacked, good: readonly Unpacked[]): Promise<Lsn | undefined> {
    if (good.includes(first)) return undefined;
    const kept = await readKeptIndex(this.#request.archive, first.segment.name);
    const end = kept === null ? null : endOfIndex(kept);
    const isInside =
      end !== null && segmentNumber(end, first.header.segmentBytes) === first.segment.number;
    return isInside ? end : undefined;
  }
}

/** What keeps one segment from being read. */
const problemCodes = new Set<string>(['DAMAGED', 'BACKUP_NOT_FOUND', 'WRONG_KEY']);

function toProblem(error: unknown): HoldfastError {
  if (error instanceof HoldfastError && problemCodes.has(error.code)) return error;
  throw error;
}

function ofDamage(error: unknown): null {
  toProblem(error);
  return null;
}

/** Makes the indexes from one place of the run to another, in batches that fit the temp folder. */
async function makeIndexes(
  context: Context,
  request: IndexRequest,
  from: number,
  to: number,
): Promise<SegmentIndex[]> {
  const perBatch = Math.max(1, Math.floor(batchBytesMax / request.segmentBytes));
  const made: SegmentIndex[] = [];
  while (made.length < to - from) {
    const begin = from + made.length;
    const parent = context.config.settings.temp_dir;
    const folder = await createScratchFolder(parent, scratchPrefix, scratchHint);
    try {
      const batch = new Batch(context, request, folder.path);
      made.push(...(await batch.index(begin, Math.min(to, begin + perBatch))));
    } finally {
      await folder.remove();
    }
  }
  return made;
}

/**
 * Tells what segments of a run hold: by the indexes that are kept, and where there are none by
 * reading the segments. New indexes are kept in the archive, where that can be written.
 *
 * @returns in the order of the run; a segment that cannot be read has a problem in place of an
 *   index, one that cannot be read to its end has both
 * @throws HoldfastError TOOL_TOO_OLD without pg_waldump of that version, NO_SPACE where it is
 *   unpacked
 */
export async function indexSegments(
  context: Context,
  request: IndexRequest,
): Promise<SegmentIndex[]> {
  const { archive, run, from, to } = request;
  if (request.anew === true) return makeIndexes(context, request, from, to);
  const kept = await mapBounded(run.slice(from, to), readsMax, async (segment) => {
    const index = await readKeptIndex(archive, segment.name);
    return { segment, index, problem: null };
  });
  const indexes: SegmentIndex[] = [];
  while (indexes.length < kept.length) {
    const next = kept.slice(indexes.length);
    const missing = next.findIndex(({ index }) => index === null);
    indexes.push(...next.slice(0, missing === -1 ? undefined : missing));
    if (missing === -1) break;
    const present = next.slice(missing).findIndex(({ index }) => index !== null);
    const begin = from + indexes.length;
    const end = present === -1 ? to : begin + present;
    indexes.push(...(await makeIndexes(context, request, begin, end)));
  }
  return indexes;
}
