/** A bucket is asked once for all that lies in the folders of backups, and not for each of them. */

import type { CatalogFilter } from '../catalog/catalog.ts';
import { checksOf } from '../catalog/checks.ts';
import { databaseFolders } from '../catalog/database_folders.ts';
import { fullFolder } from '../catalog/repository.ts';
import { surveyed } from '../catalog/surveyed.ts';
import type { Storage } from '../storage/storage.ts';

/** A store as one look has shown it. */
export interface SurveyedBackups {
  readonly storage: Storage;
  /** The folders that were looked at; nothing else in it is known at once. */
  readonly tops: readonly string[];
}

/**
 * Looks at the backups that are meant, and at what is known of them.
 *
 * @throws HoldfastError when the store cannot be read
 */
export async function surveyBackups(
  given: Storage,
  { cluster, database }: CatalogFilter,
): Promise<SurveyedBackups> {
  if (given.survey === undefined) return { storage: given, tops: [fullFolder] };
  const tops =
    database === undefined
      ? [fullFolder]
      : (await databaseFolders(given, fullFolder, { cluster, database })).map(
          (each) => each.folder,
        );
  return { storage: await surveyed(given, [...tops, ...tops.map(checksOf)]), tops };
}
