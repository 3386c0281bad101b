/** What a list of backups tells of a manifest: small, whatever the number of its tables. */

import type { Manifest, ManifestFile } from './manifest.ts';
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
    /** Of the dump alone; {@link dumpKind} says which bytes were counted. */
    dumpBytes: Count,
    /** `plain`, or how it is stored: sizes of one kind can be compared. */
    dumpKind: Type.String(),
    /** How the stored bytes were read back before the commit; `none`: nobody did. */
    readBack: Type.String(),
    /** It holds what a restore in place has replaced. */
    isSafety: Type.Boolean(),
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

/** The size of a dump before the filters where that is known, else as stored, and which it is. */
function dumpSize(dump: ManifestFile | undefined): Pick<ManifestFacts, 'dumpBytes' | 'dumpKind'> {
  if (dump === undefined) return { dumpBytes: 0, dumpKind: 'none' };
  if (dump.plain !== null) return { dumpBytes: dump.plain.bytes, dumpKind: 'plain' };
  const words = dump.filters.map((filter) =>
    'level' in filter ? `${filter.name}-${filter.level}` : filter.name,
  );
  return { dumpBytes: dump.stored.bytes, dumpKind: words.join('+') || 'stored' };
}

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
    ...dumpSize(manifest.files.find(({ role }) => role === 'dump')),
    readBack: manifest.read_back.depth,
    isSafety: manifest.safety === true,
    serverVersion: manifest.server.version,
    tables: tables === null ? null : tables.length,
    rows: tables === null ? null : tables.reduce((sum, { rows }) => sum + rows, 0),
    warnings: manifest.warnings.map(({ message }) => message),
  };
}
