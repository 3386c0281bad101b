/**
 * The claim in the archives of other stores: a copy of the one that the hooks look at, so that a
 * clone of the server, which has the same settings, never carries into the original's bucket.
 */

import type { Store } from '../../catalog/stores.ts';
import { openWalArchive, type WalArchive, walFolder } from '../../catalog/wal_archive.ts';
import { localName } from '../../config/stores.ts';
import { HoldfastError, toHoldfastError } from '../../core/errors.ts';
import { printable } from '../../core/printable.ts';
import {
  claimName,
  describeClaim,
  formatClaim,
  isClaimOf,
  type WalClaim,
} from '../../core/wal_claim.ts';
import type { RepositoryContext } from '../context.ts';

/** The stores that WAL is carried to: all but the one that the hooks write into. */
export function otherStores({ repository }: RepositoryContext): readonly Store[] {
  return repository.stores.filter(({ spec }) => spec.name !== localName);
}

/** @throws HoldfastError ARCHIVE_CLAIMED */
export function claimedInStore(name: string, found: WalClaim): HoldfastError {
  const message =
    `another server carries its WAL into the archive in the store ${printable(name)}: ` +
    describeClaim(found);
  return new HoldfastError('ARCHIVE_CLAIMED', message, {
    hint:
      'A clone gets a CLUSTER name, or a bucket, of its own; after a failover or a move, on the ' +
      'new server: setup_archiving.ts take-over (of a stream: wal_stream.ts --take-over).',
  });
}

async function put({ storage, folder }: WalArchive, claim: WalClaim): Promise<void> {
  await storage.put(`${folder}/${claimName}`, Buffer.from(`${formatClaim(claim)}\n`, 'utf8'));
}

/**
 * Makes sure that the archive in a store is claimed by the same server as the one of the hooks.
 *
 * @param found what the archive says now
 * @returns whether nobody had claimed it: it is new, or was emptied
 * @throws HoldfastError ARCHIVE_CLAIMED; what the store throws
 */
export async function ensureStoreClaim(
  archive: WalArchive,
  name: string,
  claim: WalClaim,
  found: WalClaim | null,
): Promise<boolean> {
  if (found === null) {
    try {
      await put(archive, claim);
      return true;
    } catch (error) {
      if (!(error instanceof HoldfastError) || error.code !== 'STORE_EXISTS') throw error;
      return ensureStoreClaim(archive, name, claim, await archive.claim());
    }
  }
  if (formatClaim(found) === formatClaim(claim)) return false;
  // The same server at the same place, which has claimed its own archive anew.
  if (!isClaimOf(found, claim)) throw claimedInStore(name, found);
  await archive.storage.remove(`${archive.folder}/${claimName}`);
  await put(archive, claim);
  return false;
}

/**
 * The claim of another server in one of the other stores; `null` where there is none. A store that
 * does not answer is asked again before anything is carried to it.
 */
export async function foreignStoreClaim(
  context: RepositoryContext,
  cluster: string,
  server: Pick<WalClaim, 'system_identifier' | 'host' | 'data_directory'>,
): Promise<{ readonly store: string; readonly claim: WalClaim } | null> {
  for (const store of otherStores(context)) {
    try {
      const claim = await openWalArchive(await store.open(), cluster).claim();
      if (claim !== null && !isClaimOf(claim, server)) return { store: store.spec.name, claim };
    } catch (error) {
      const { message } = toHoldfastError(error);
      context.log.detail(`whose WAL ${printable(store.spec.name)} holds is not known: ${message}`);
    }
  }
  return null;
}

/**
 * Puts a claim in the place of whatever stands in the other stores: a take-over. It is the one
 * object of a repository that is ever replaced.
 *
 * @returns what could not be done, in words
 */
export async function replaceStoreClaims(
  context: RepositoryContext,
  cluster: string,
  claim: WalClaim,
): Promise<string[]> {
  const problems: string[] = [];
  for (const store of otherStores(context)) {
    const { name } = store.spec;
    try {
      const archive = openWalArchive(await store.open(), cluster);
      if ((await archive.storage.stat(`${archive.folder}/${claimName}`)) === null) continue;
      await archive.storage.remove(`${archive.folder}/${claimName}`);
      await put(archive, claim);
    } catch (error) {
      const { message } = toHoldfastError(error);
      problems.push(
        `the archive in the store ${printable(name)} was not taken over: ${message}; ` +
          'take it over again when the store answers',
      );
    }
  }
  return problems;
}

/** The newest timeline that a store knows of a cluster. @throws what the store throws */
export async function newestTimeline(archive: WalArchive): Promise<number> {
  const names = await archive.storage.children(walFolder(archive.cluster));
  const timelines = names
    .filter((name) => /^[0-9A-F]{8}\.history$/.test(name))
    .map((name) => Number.parseInt(name.slice(0, 8), 16));
  return Math.max(1, ...timelines);
}
