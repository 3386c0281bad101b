/** Puts together what a manifest says. Pure: every fact is handed in. */

import type { Tier } from '../../core/label.ts';
import {
  type Manifest,
  type ManifestFile,
  type ManifestTable,
  type ManifestWarning,
  manifestFormat,
} from '../../core/manifest.ts';
import type { ArchiveReading } from '../../postgres/archive.ts';
import type { DatabaseFacts, ServerFacts } from '../../postgres/facts.ts';
import type { Tool } from '../../postgres/tools.ts';
import { manifestServer } from '../manifest_server.ts';

/** What is known when everything has been written and read back. */
export interface BackupFacts {
  readonly label: string;
  readonly tier: Tier;
  readonly cluster: string;
  readonly host: string;
  readonly safety?: true | undefined;
  readonly toolVersion: string;
  readonly pgDump: Tool;
  readonly server: ServerFacts;
  readonly database: DatabaseFacts;
  readonly startedAt: Date;
  readonly finishedAt: Date;
  readonly durationSeconds: number;
  readonly files: readonly ManifestFile[];
  /** `null` where nobody looked into the dump. */
  readonly reading: ArchiveReading | null;
  readonly warnings: readonly ManifestWarning[];
  readonly readBack: Manifest['read_back'];
}

/**
 * The tables of a dump, each with the topmost partitioned table that it belongs to; `null` where
 * the stream could not be understood to its end, since half a list would lie.
 */
function manifestTables(
  reading: ArchiveReading | null,
  roots: DatabaseFacts['partitionRoots'],
): ManifestTable[] | null {
  if (reading === null || reading.problem !== null) return null;
  return reading.tables.map(({ oid, schema, name, rows, bytes, sha256 }) => {
    const root = roots.get(oid);
    return { schema, name, ...(root === undefined ? {} : { root }), rows, bytes, sha256 };
  });
}

/** The manifest of a backup. */
export function buildManifest(facts: BackupFacts): Manifest {
  const { server, database, reading, pgDump } = facts;
  return {
    format: manifestFormat,
    label: facts.label,
    kind: 'full',
    tier: facts.tier,
    engine: 'postgres',
    tool: { name: 'holdfast', version: facts.toolVersion },
    pg_dump: {
      version: pgDump.version,
      major: pgDump.major,
      archive: reading?.header?.version ?? 'unknown',
    },
    cluster: facts.cluster,
    host: facts.host,
    database: database.name,
    ...(facts.safety === undefined ? {} : { safety: facts.safety }),
    server: manifestServer(server),
    properties: database.properties,
    started_at: facts.startedAt.toISOString(),
    finished_at: facts.finishedAt.toISOString(),
    duration_seconds: Math.round(facts.durationSeconds * 1000) / 1000,
    database_bytes: database.bytes,
    files: [...facts.files],
    tables: manifestTables(reading, database.partitionRoots),
    large_objects: reading?.largeObjects ?? null,
    relations: { ...database.relations },
    warnings: [...facts.warnings],
    read_back: facts.readBack,
  };
}
