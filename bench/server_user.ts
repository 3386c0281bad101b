/** The user of a server, where root measures. */

import { chown, mkdir } from 'node:fs/promises';
import type { ScratchCluster } from '../src/postgres/cluster.ts';

/** What makes words for a shell run as the user of the server. */
export function asServerUser({ osUser }: ScratchCluster): (words: string) => string {
  if (osUser === null) return (words) => words;
  const { uid, gid } = osUser;
  return (words) => `setpriv --reuid=${uid} --regid=${gid} --clear-groups ${words}`;
}

/** Makes a folder that the user of the server may write into. */
export async function makeServerFolder(cluster: ScratchCluster, path: string): Promise<string> {
  await mkdir(path, { recursive: true });
  if (cluster.osUser !== null) await chown(path, cluster.osUser.uid, cluster.osUser.gid);
  return path;
}
