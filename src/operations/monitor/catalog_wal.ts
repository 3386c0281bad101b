/** What the repository on this machine knows of the WAL of a server. */

import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { readStreamClaim, streamFolder } from '../../catalog/stream_folder.ts';
import { openWalArchive } from '../../catalog/wal_archive.ts';
import type { WaitingWal } from '../../core/health_archiver.ts';
import type { StreamClaim } from '../../core/stream_claim.ts';
import type { WalClaim } from '../../core/wal_claim.ts';
import { type FileSystem, fileSystemAt } from '../../process/file_facts.ts';
import { openFolder } from '../../storage/open.ts';
import type { Context } from '../context.ts';

/** What there is of one server. */
export interface CatalogWal {
  /** The claim of its archive; `null`: it has none here, or that of another server. */
  readonly claim: WalClaim | null;
  /** The claim of its stream; `null`: its WAL does not come by one. */
  readonly stream: StreamClaim | null;
}

/** Looks it up. What cannot be read is none: other checks tell of it. */
export async function catalogWalOf(
  { config }: Context,
  cluster: string,
  systemIdentifier: string,
): Promise<CatalogWal> {
  const { backup_dir: root } = config.settings;
  const isOf = (each: { readonly system_identifier: string } | null) =>
    each?.system_identifier === systemIdentifier;
  const claim = await openWalArchive(openFolder(root), cluster)
    .claim()
    .catch(() => null);
  const stream = await readStreamClaim(streamFolder(root, cluster)).catch(() => null);
  return { claim: isOf(claim) ? claim : null, stream: isOf(stream) ? stream : null };
}

/** What waits for the archiver, by the files of a server on this machine; `null`: out of sight. */
export async function waitingIn(pgWal: string): Promise<WaitingWal | null> {
  const folder = join(pgWal, 'archive_status');
  try {
    const ready = (await readdir(folder)).filter((name) => name.endsWith('.ready')).sort();
    const [first] = ready;
    // The names sort as the segments were written.
    const oldest = first === undefined ? null : await stat(join(folder, first)).catch(() => null);
    return { count: ready.length, oldestAt: oldest?.mtime ?? null };
  } catch {
    return null;
  }
}

/** The file system of pg_wal; `null` where that folder cannot be seen from here. */
export async function diskOfWal(pgWal: string): Promise<FileSystem | null> {
  const isThere = await stat(pgWal).then(
    (found) => found.isDirectory(),
    () => false,
  );
  return isThere ? fileSystemAt(pgWal) : null;
}
