/** Proves that a server can call the hook, and claims the archive for it. */

import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { openWalArchive } from '../../catalog/wal_archive.ts';
import { HoldfastError } from '../../core/errors.ts';
import { printable } from '../../core/printable.ts';
import { shellQuote } from '../../core/quote.ts';
import {
  claimName,
  describeClaim,
  formatClaim,
  isClaimOf,
  type WalClaim,
} from '../../core/wal_claim.ts';
import { runOnServer, wordsFromServer } from '../../postgres/archiving.ts';
import { makeFolders, replaceFile, writeNewFile } from '../../process/durable.ts';
import type { RepositoryContext } from '../context.ts';
import type { ArchivingServer } from './archiving_server.ts';
import { walEncryption } from './wal_encryption.ts';
import { hookFile, hookPath, renderWalFetch, renderWalPush, writeHook } from './wal_hooks.ts';
import { markersFolder } from './wal_markers.ts';

const elsewhereHint =
  'It runs in a container or on another host, or as a user who may not enter the repository: ' +
  'stream its WAL instead, scripts/wal_stream.ts; or give the repository to that user.';

/** Who ran the self-test, and where. */
type Place = Pick<WalClaim, 'system_identifier' | 'host' | 'data_directory'>;

function unproven(server: ArchivingServer, why: string, cause?: unknown): HoldfastError {
  const { description, hook } = server;
  const message = `the server at ${description} cannot call ${printable(hook)}: ${why}`;
  return new HoldfastError('ARCHIVING_FAILED', message, { hint: elsewhereHint, cause });
}

/** A claim for the hook that only tests itself: nothing can be pushed with it. */
function nobody(systemIdentifier: string, time: Date): WalClaim {
  return {
    system_identifier: systemIdentifier,
    host: 'nobody',
    data_directory: '/nowhere',
    claimed_at: time.toISOString(),
    claim_id: 'self-test',
  };
}

/**
 * Has the server itself run the hook, as its own user: what it writes must appear in the archive
 * that this process sees (PRODUCT.md: a server in a container or on another host does not see our
 * path).
 *
 * @throws HoldfastError ARCHIVING_FAILED with what the server's shell says
 */
export async function proveHook(
  context: RepositoryContext,
  server: ArchivingServer,
): Promise<Place> {
  const { client, archive, hook, facts } = server;
  const systemIdentifier = facts.system_identifier;
  const candidate = `${hook}.new`;
  const token = Buffer.from(context.randomBytes(16)).toString('hex');
  const answer = join(archive, `.self-test-${token}`);
  await makeFolders(archive);
  await writeHook(
    candidate,
    renderWalPush({
      archive,
      markers: markersFolder(context.repository.stateDir, server.cluster),
      claim: nobody(systemIdentifier, context.clock()),
      segmentBytes: facts.wal_segment_bytes,
      compressionLevel: context.config.settings.wal_compression_level,
      path: await hookPath(context.environment),
      encryption: await walEncryption(context),
    }),
  );
  const command = `${shellQuote(candidate)} --self-test ${token}`;
  try {
    try {
      await runOnServer(client, command);
    } catch (error) {
      if (!(error instanceof HoldfastError) || error.code !== 'DATABASE_REFUSED') throw error;
      const words = await wordsFromServer(client, command);
      throw unproven(server, words === '' ? error.message : words, error);
    }
    const text = await readFile(answer, 'utf8').catch((cause) => {
      throw unproven(server, `it wrote into another folder of the name ${archive}`, cause);
    });
    const [host = '', user = '', ...rest] = text.replace(/\n$/, '').split('\n');
    context.log.detail(`the server runs the hook on ${printable(host)} as ${printable(user)}`);
    return { system_identifier: systemIdentifier, host, data_directory: rest.join('\n') };
  } finally {
    await rm(answer, { force: true });
    await rm(candidate, { force: true });
  }
}

/** What the archive is claimed as, and whether that is new. */
export interface Claimed {
  readonly claim: WalClaim;
  readonly isNew: boolean;
}

/**
 * Whose claim stands in the way, or `null`.
 *
 * @throws HoldfastError ARCHIVE_CLAIMED also where the archive is that of another system
 */
export async function foreignClaim(
  context: RepositoryContext,
  { cluster, facts }: ArchivingServer,
  place: Place,
): Promise<WalClaim | null> {
  const found = await openWalArchive(context.repository.local, cluster).claim();
  if (found === null || isClaimOf(found, place)) return null;
  if (found.system_identifier !== facts.system_identifier) {
    throw new HoldfastError(
      'ARCHIVE_CLAIMED',
      `the archive of cluster ${JSON.stringify(cluster)} holds the WAL of the system ` +
        `${found.system_identifier}, and this server is ${facts.system_identifier}`,
      { hint: 'Give this server a CLUSTER name of its own.' },
    );
  }
  return found;
}

/** The error for a server that is not the one of the claim. */
export function claimedError(found: WalClaim): HoldfastError {
  return new HoldfastError(
    'ARCHIVE_CLAIMED',
    `another server writes into this archive: ${describeClaim(found)}`,
    {
      hint:
        'A clone gets a CLUSTER name of its own; after a failover or a move: ' +
        'setup_archiving.ts take-over.',
    },
  );
}

/**
 * Claims the archive for a server, in the place of whoever has it, and puts the hooks that go with
 * the claim in their place. Where the claim moves, the hooks come first: for a moment nobody's
 * hook has the claim, and the servers try again.
 */
export async function claimArchive(
  context: RepositoryContext,
  server: ArchivingServer,
  place: Place,
): Promise<Claimed> {
  const { archive, cluster, facts, hook } = server;
  const { repository, config, environment } = context;
  const found = await openWalArchive(repository.local, cluster).claim();
  const isNew = found === null || !isClaimOf(found, place);
  const claim = isNew
    ? {
        ...place,
        claimed_at: context.clock().toISOString(),
        claim_id: Buffer.from(context.randomBytes(8)).toString('hex'),
      }
    : found;
  const file = join(archive, claimName);
  const line = Buffer.from(`${formatClaim(claim)}\n`, 'utf8');
  // Of two servers that claim a new archive at once, one fails here.
  if (found === null) await writeNewFile(file, line);
  await writeHook(hook, await renderPush(context, server, claim));
  await writeHook(
    hookFile(repository.root, cluster, 'wal_fetch'),
    renderWalFetch({
      archive,
      systemIdentifier: facts.system_identifier,
      segmentBytes: facts.wal_segment_bytes,
      path: await hookPath(environment),
      jobs: config.settings.threads,
    }),
  );
  if (found !== null && isNew) await replaceFile(file, line);
  return { claim, isNew };
}

/** The text of wal_push for a server and its claim, as the settings are now. */
async function renderPush(
  context: RepositoryContext,
  { archive, cluster, facts }: ArchivingServer,
  claim: WalClaim,
): Promise<string> {
  return renderWalPush({
    archive,
    markers: markersFolder(context.repository.stateDir, cluster),
    claim,
    segmentBytes: facts.wal_segment_bytes,
    compressionLevel: context.config.settings.wal_compression_level,
    path: await hookPath(context.environment),
    encryption: await walEncryption(context),
  });
}

/** What begins the line of wal_push that says how it stores segments. */
const suffixLine = /^suffix=.*$/m;
const encryptLine = /^encrypt\(\) .*$/m;

/**
 * Writes wal_push anew where it stores WAL for others than the settings say by now: whoever
 * switches encryption on is not to find plain WAL.
 *
 * @returns whether it was
 */
export async function refreshHook(
  context: RepositoryContext,
  server: ArchivingServer,
): Promise<boolean> {
  const claim = await openWalArchive(context.repository.local, server.cluster).claim();
  const present = await readFile(server.hook, 'utf8').catch(() => null);
  if (claim === null || present === null) return false;
  const text = await renderPush(context, server, claim);
  const isSame = [suffixLine, encryptLine].every((line) => {
    return line.exec(text)?.[0] === line.exec(present)?.[0];
  });
  if (isSame) return false;
  await writeHook(server.hook, text);
  return true;
}
