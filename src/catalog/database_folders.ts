/** The folders of databases, in the tree of backups and in that of their checks. */

import { decodeComponent } from '../core/names.ts';
import type { Storage } from '../storage/storage.ts';

/** One folder of a database, by its decoded names. */
export interface DatabaseFolder {
  readonly folder: string;
  readonly cluster: string;
  readonly database: string;
}

/** Which databases; what is absent does not restrict. */
export interface DatabaseFilter {
  readonly cluster?: string | undefined;
  readonly database?: string | undefined;
}

/** Finds the folders of databases. One whose name nobody has encoded is taken by that name. */
export async function databaseFolders(
  storage: Storage,
  top: string,
  filter: DatabaseFilter = {},
): Promise<DatabaseFolder[]> {
  const found: DatabaseFolder[] = [];
  for (const clusterPart of await storage.children(top)) {
    const cluster = decodeComponent(clusterPart) ?? clusterPart;
    if (filter.cluster !== undefined && filter.cluster !== cluster) continue;
    for (const databasePart of await storage.children(`${top}/${clusterPart}`)) {
      const database = decodeComponent(databasePart) ?? databasePart;
      if (filter.database !== undefined && filter.database !== database) continue;
      found.push({ folder: `${top}/${clusterPart}/${databasePart}`, cluster, database });
    }
  }
  return found;
}
