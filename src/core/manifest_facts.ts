/** What a list of backups tells of a manifest: small, whatever the number of its tables. */

import type { Manifest } from './manifest.ts';
import { totalBytes } from './manifest_sizes.ts';
import { type Static, Type } from './type_builder.ts';

const Count = Type.Integer({ minimum: 0 });
const MaybeCount = Type.Union([Count, Type.Null()]);

/** The schema of {@link ManifestFacts}. */
export const manifestFactsSchema = Type.Object(
  {
    tier: Type.String(),
    startedAt: Type.String(),
    finishedAt: Type.String(),
    durationSeconds: Type.Number({ minimum: 0 }),
    storedBytes: Count,
    /** `null` where nobody measured them. */
    plainBytes: MaybeCount,
    databaseBytes: Count,
    serverVersion: Type.String(),
    /** `null` when the dump could not be counted. */
    tables: MaybeCount,
    rows: MaybeCount,
    warnings: Type.Array(Type.String()),
  },
  { additionalProperties: false },
);

/** Sizes in bytes, times ISO 8601 UTC, durations in seconds. */
export type ManifestFacts = Readonly<Static<typeof manifestFactsSchema>>;

/** The facts of a manifest. */
export function manifestFacts(manifest: Manifest): ManifestFacts {
  const { tables } = manifest;
  return {
    tier: manifest.tier,
    startedAt: manifest.started_at,
    finishedAt: manifest.finished_at,
    durationSeconds: manifest.duration_seconds,
    storedBytes: totalBytes(manifest, 'stored'),
    plainBytes: totalBytes(manifest, 'plain'),
    databaseBytes: manifest.database_bytes,
    serverVersion: manifest.server.version,
    tables: tables === null ? null : tables.length,
    rows: tables === null ? null : tables.reduce((sum, { rows }) => sum + rows, 0),
    warnings: manifest.warnings.map(({ message }) => message),
  };
}
