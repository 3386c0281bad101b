/**
 * Brings the WAL that a recovery replays into a folder beside the new data directory: out of a
 * bucket, out of another folder, out of an encrypted archive. The server then takes it from there
 * with neither network nor key.
 */

import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { access, mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { mapBounded } from '../../catalog/map_bounded.ts';
import type { Store } from '../../catalog/stores.ts';
import { openStreamed } from '../../catalog/stream_folder.ts';
import { openWalArchive, storedSuffix, type WalArchive } from '../../catalog/wal_archive.ts';
import { HoldfastError, toHoldfastError } from '../../core/errors.ts';
import { printable } from '../../core/printable.ts';
import { formatBytes, formatCount } from '../../core/units.ts';
import { claimName, formatClaim } from '../../core/wal_claim.ts';
import { formatDigests } from '../../core/wal_digest.ts';
import { archivedPath, digestSuffix, pathBeside } from '../../core/wal_listing.ts';
import type { RunSegment } from '../../core/wal_ranges.ts';
import { readBack } from '../../pipeline/read_back.ts';
import { folderMode, writeNewFile } from '../../process/durable.ts';
import { freeBytesAt } from '../../process/file_facts.ts';
import { openFolder } from '../../storage/open.ts';
import type { Storage } from '../../storage/storage.ts';
import { isKeyMissing, readSegment, walFilters } from '../archiving/wal_segment.ts';
import { flowContext, type RepositoryContext } from '../context.ts';
import type { PitrPlan } from './pitr_plan.ts';

/** Says of which server the WAL in a folder is, so that nothing else is ever taken for it. */
const markName = 'holdfast_wal';
/** A little more than what is stored. */
const spaceFactor = 1.02;
/** Told of an archive: this file of it is not as it should be. */
const fileCodes = new Set<string>(['DAMAGED', 'BACKUP_NOT_FOUND']);

/** Where the WAL of a recovery goes. */
export interface WalPlace {
  readonly folder: string;
  /** It was begun by a restore that was killed. */
  readonly isBegun: boolean;
}

function markText({ base }: PitrPlan): string {
  return `WAL of the system ${base.manifest.server.system_identifier}, brought for a recovery\n`;
}

async function stateOf(folder: string, plan: PitrPlan): Promise<'free' | 'begun' | 'foreign'> {
  const names = await readdir(folder).catch(() => []);
  if (names.length === 0) return 'free';
  const mark = await readFile(join(folder, markName), 'utf8').catch(() => null);
  return mark === markText(plan) ? 'begun' : 'foreign';
}

/** The stored bytes of the segments, which no more than a listing has to be read for. */
async function storedBytes({ archive, segments }: Pick<PitrPlan, 'archive' | 'segments'>) {
  const { storage, folder } = archive;
  const names = new Set(segments.map(({ name }) => name));
  let bytes = 0;
  for (const timeline of new Set(segments.map(({ name }) => name.slice(0, 8)))) {
    for await (const page of storage.list(`${folder}/${timeline}`)) {
      for (const object of page) {
        const suffix = storedSuffix(object);
        const file = object.key.slice(object.key.lastIndexOf('/') + 1);
        if (suffix !== null && names.has(file.slice(0, -suffix.length))) bytes += object.bytes;
      }
    }
  }
  return bytes;
}

/**
 * Finds the folder that the WAL goes to: beside the data directory, or below TMPDIR where that
 * cannot be written or has no room. Nothing is touched.
 *
 * @param pgdata where the cluster goes
 * @param basesBytes that the data directory takes beside it
 * @returns `null` where the server takes its WAL from the archive itself
 * @throws HoldfastError NO_SPACE
 */
export async function findWalPlace(
  { config }: RepositoryContext,
  plan: PitrPlan,
  pgdata: string,
  basesBytes: number,
): Promise<WalPlace | null> {
  if (!plan.isBrought || plan.segments.length === 0) return null;
  const bytes = Math.ceil((await storedBytes(plan)) * spaceFactor);
  const digest = createHash('sha256').update(pgdata).digest('hex').slice(0, 16);
  const { temp_dir: temporary } = config.settings;
  const candidates = [
    { folder: `${pgdata}.wal`, needed: bytes + basesBytes },
    { folder: join(temporary, `holdfast-wal-${digest}`), needed: bytes },
  ];
  const states = await Promise.all(candidates.map(({ folder }) => stateOf(folder, plan)));
  const begun = candidates[states.indexOf('begun')];
  if (begun !== undefined) return { folder: begun.folder, isBegun: true };
  const told: string[] = [];
  for (const [place, { folder, needed }] of candidates.entries()) {
    const shown = JSON.stringify(folder);
    const free = await freeBytesAt(folder);
    const mayWrite = await access(dirname(folder), constants.W_OK).then(
      () => true,
      () => false,
    );
    if (states[place] === 'foreign') told.push(`${shown} holds something else`);
    else if (!mayWrite) told.push(`${shown} cannot be made`);
    else if (free === null || free >= needed) return { folder, isBegun: false };
    else
      told.push(`${formatBytes(free)} are left for ${shown}, and it needs ${formatBytes(needed)}`);
  }
  throw new HoldfastError('NO_SPACE', `the WAL finds no place: ${told.join('; ')}`, {
    hint: 'Restore onto a larger file system, or set TMPDIR to a folder with room for the WAL.',
  });
}

/** What is brought, and from where. */
interface Bringing {
  readonly context: RepositoryContext;
  readonly plan: PitrPlan;
  /** Asked one after the other. */
  readonly sources: readonly (() => Promise<WalArchive>)[];
  /** The folder as an archive: compressed segments, none of them encrypted. */
  readonly target: WalArchive;
  readonly storage: Storage;
}

/** Takes the encryption off a segment on its way; what comes is compressed. */
async function copySegment({ context, target }: Bringing, from: WalArchive, name: string) {
  const found = await from.stat(name);
  if (found === null) throw new HoldfastError('BACKUP_NOT_FOUND', `${name} is not there`);
  const digests = await from.digests(name);
  const key = `${target.folder}/${archivedPath(name)}`;
  await target.storage.remove(key);
  const { stored } = await readBack({
    body: await from.storage.get(found.key),
    filters: walFilters(storedSuffix(found)).slice(1),
    sinks: [async (body) => void (await target.storage.put(key, body))],
    context: flowContext(context),
  });
  if (digests?.stored != null && digests.stored !== stored.sha256) {
    throw new HoldfastError('DAMAGED', `${name} differs from its stored digest`);
  }
  return digests?.plain ?? null;
}

/** Copies a segment and looks whether it is whole; its digest comes last and says that it is. */
async function bringFrom(bringing: Bringing, from: WalArchive, segment: RunSegment): Promise<void> {
  const { context, plan, target } = bringing;
  const { name } = segment;
  const digest = await copySegment(bringing, from, name);
  const { system_identifier: systemIdentifier } = plan.base.manifest.server;
  const expected = { segmentBytes: plan.segmentBytes, systemIdentifier, way: null };
  const reading = await readSegment(context, { archive: target, segment, expected });
  const [finding] = reading.findings;
  const plain = reading.plain?.sha256 ?? '';
  const isSame = digest === null || digest === plain;
  if (finding !== undefined || !isSame) {
    const why = finding?.message ?? 'differs from its digest';
    throw new HoldfastError('DAMAGED', `${name} ${why}`);
  }
  const text = formatDigests(name, `${name}.zst`, { plain, stored: null });
  await target.storage.put(
    `${target.folder}/${pathBeside(name, digestSuffix)}`,
    Buffer.from(text, 'utf8'),
  );
}

/** @throws HoldfastError DAMAGED where no source has it whole; WRONG_KEY, USAGE without a key */
async function bringSegment(bringing: Bringing, segment: RunSegment): Promise<void> {
  const { context, plan, target, storage, sources } = bringing;
  const { name } = segment;
  if (await target.digest(name)) return;
  const path = plan.archive.streamed.get(name);
  const body = path === undefined ? null : await openStreamed(path);
  if (body !== null) {
    await storage.remove(`stream/${name}`);
    await storage.put(`stream/${name}`, body);
    return;
  }
  const problems: HoldfastError[] = [];
  for (const open of sources) {
    try {
      const from = await open();
      await bringFrom(bringing, from, segment);
      if (problems.length > 0) context.log.step(`${name} comes from ${from.storage.description}`);
      return;
    } catch (thrown) {
      const error = toHoldfastError(thrown, `bringing ${name}`);
      const isOfTheStore = error.code === 'STORE_UNREACHABLE' || error.code === 'STORE_REFUSED';
      if (!fileCodes.has(error.code) && !isOfTheStore) throw error;
      await target.storage.remove(`${target.folder}/${archivedPath(name)}`);
      if (problems.length === 0)
        context.log.warn(`${name} is looked for elsewhere: ${error.message}`);
      problems.push(error);
    }
  }
  const [first] = problems;
  throw new HoldfastError('DAMAGED', `no store has ${name} whole: ${first?.message ?? 'none'}`, {
    hint: 'Restore to a target before it: verify_backups.ts --wal tells what can be replayed.',
    cause: first,
  });
}

/** History files are small, and the server asks for all that there are. */
async function bringHistories({ plan, target }: Bringing): Promise<void> {
  const { archive } = plan;
  for (const name of plan.histories) {
    if (await target.stat(name)) continue;
    if ((await archive.stat(name)) === null) continue;
    await target.storage.put(`${target.folder}/${name}`, await archive.read(name));
  }
}

/** Several at a time. */
async function bringSegments(bringing: Bringing): Promise<void> {
  const { context, plan } = bringing;
  const { segments, segmentBytes } = plan;
  const title = `bringing ${formatCount(segments.length, 'segment')} of WAL`;
  const progress = await context.log.progress(title, segments.length * segmentBytes);
  try {
    await mapBounded(segments, context.config.settings.threads, async (segment) => {
      context.signal.throwIfAborted();
      await bringSegment(bringing, segment);
      progress.add(segmentBytes);
    });
  } finally {
    progress.end();
  }
}

/**
 * Brings what the plan replays. What a killed run has brought stays, and the rest follows.
 *
 * @param stores besides the one of the context: asked for what that one has damaged
 * @returns where the commands of the server find it
 * @throws HoldfastError DAMAGED, WRONG_KEY, USAGE without a key, NO_SPACE, what the stores throw
 */
export async function bringWal(
  context: RepositoryContext,
  plan: PitrPlan,
  place: WalPlace,
  stores: readonly Store[],
): Promise<void> {
  const { folder } = place;
  const { cluster } = plan;
  const server = plan.base.manifest.server;
  await mkdir(folder, { recursive: true, mode: folderMode });
  if (!place.isBegun) await writeNewFile(join(folder, markName), Buffer.from(markText(plan)));
  const storage = openFolder(folder);
  const target = openWalArchive(storage, cluster, new Map(), new Map(), 'wal');
  const { storage: chosen, local } = context.repository;
  const others = stores.map((store) => async () => openWalArchive(await store.open(), cluster));
  const own = local === chosen ? [] : [() => Promise.resolve(openWalArchive(local, cluster))];
  const sources = [() => Promise.resolve(plan.archive), ...others, ...own];
  const bringing: Bringing = { context, plan, sources, target, storage };
  if ((await storage.stat(`wal/${claimName}`)) === null) {
    const claim = {
      system_identifier: server.system_identifier,
      host: context.host,
      data_directory: folder,
      claimed_at: context.clock().toISOString(),
      claim_id: 'brought',
    };
    await storage.put(`wal/${claimName}`, Buffer.from(`${formatClaim(claim)}\n`, 'utf8'));
  }
  try {
    await bringHistories(bringing);
    await bringSegments(bringing);
  } catch (error) {
    // What has come stays for the next try, but without a key nothing has.
    if (isKeyMissing(error) && !place.isBegun) await removeWal(place);
    throw error;
  }
  context.log.step(`the WAL lies in ${printable(folder)}`);
}

/** Removes WAL that was brought: the server that needed it has gone on by itself. */
export async function removeWal({ folder }: WalPlace): Promise<void> {
  await rm(folder, { recursive: true, force: true });
}
