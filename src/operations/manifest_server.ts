/** What the manifests of all kinds of backups tell of the server. */

import type { Manifest } from '../core/manifest.ts';
import type { ServerFacts } from '../postgres/facts.ts';

/** Out of all that is known of it. */
export function manifestServer(facts: ServerFacts): Manifest['server'] {
  return {
    version: facts.version,
    version_num: facts.version_num,
    system_identifier: facts.system_identifier,
    wal_segment_bytes: facts.wal_segment_bytes,
    timeline: facts.timeline,
    lsn: facts.lsn,
    in_recovery: facts.in_recovery,
  };
}
