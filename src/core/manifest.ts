/**
 * The manifest: what a backup is, written last, so that it is the commit (REPOSITORY.md,
 * "manifest.json"). The same schema checks it when it is written and when it is read.
 */

import { databasePropertiesSchema } from './database_properties.ts';
import {
  Bytes,
  closed,
  FileName,
  Filter,
  Measured,
  Name,
  Server,
  Sha256,
  Time,
  Warning,
} from './manifest_parts.ts';
import { type Static, Type } from './type_builder.ts';

/** The format that this version writes. A larger one is refused on reading, never guessed at. */
export const manifestFormat = 1;

/** Names of the files of a logical backup (REPOSITORY.md). */
export const manifestName = 'manifest.json';
export const sumsName = 'SHA256SUMS';
/** OpenSSH's signature of the manifest's bytes, where somebody signs; of no backup a part. */
export const signatureName = 'manifest.json.sig';
export const restoreScriptName = 'restore.sh';

const File = Type.Object(
  {
    name: FileName,
    role: Type.Union([
      Type.Literal('dump'),
      Type.Literal('globals'),
      Type.Literal('restore_script'),
    ]),
    /** In the order in which they were applied; a restore applies their mirrors backwards. */
    filters: Type.Array(Filter),
    /** The bytes as they lie in the store: anyone can check them, with no key. */
    stored: Measured,
    /**
     * The bytes before the first filter: they prove the whole chain. `null` where the dump went
     * from pg_dump straight into the compressor, whose own checksum then proves them.
     */
    plain: Type.Union([Measured, Type.Null()]),
  },
  closed,
);

const Table = Type.Object(
  {
    schema: Name,
    name: Name,
    /** The topmost partitioned table, where this is a partition: rows are compared there. */
    root: Type.Optional(Type.Object({ schema: Name, name: Name }, closed)),
    rows: Bytes,
    /** Of the rows in COPY's text format, as they stand in the dump. */
    bytes: Bytes,
    sha256: Sha256,
  },
  closed,
);

/** The schema that is published as docs/schemas/manifest.schema.json. */
export const manifestSchema = Type.Object(
  {
    format: Type.Literal(manifestFormat),
    label: Type.String({ pattern: '^\\d{8}T\\d{6}Z-[a-z]+-[a-z0-9]{4}$' }),
    kind: Type.Literal('full'),
    tier: Type.Union([
      Type.Literal('daily'),
      Type.Literal('weekly'),
      Type.Literal('monthly'),
      Type.Literal('manual'),
    ]),
    engine: Type.Literal('postgres'),
    tool: Type.Object({ name: Type.Literal('holdfast'), version: Type.String() }, closed),
    /** Which client program made the dump; a restore needs its major version or a newer one. */
    pg_dump: Type.Object(
      { version: Type.String(), major: Type.Integer({ minimum: 9 }), archive: Type.String() },
      closed,
    ),
    cluster: Name,
    /** The host that took the backup. */
    host: Name,
    database: Name,
    /** Taken before a restore in place dropped this very database: what somebody wanted rid of. */
    safety: Type.Optional(Type.Literal(true)),
    server: Server,
    properties: databasePropertiesSchema,
    started_at: Time,
    finished_at: Time,
    duration_seconds: Type.Number({ minimum: 0 }),
    database_bytes: Bytes,
    files: Type.Array(File, { minItems: 1 }),
    /**
     * One entry for each table with data in the dump; `null` when nobody looked, or when it could
     * not be read so.
     */
    tables: Type.Union([Type.Array(Table), Type.Null()]),
    large_objects: Type.Union([
      Type.Object({ count: Bytes, bytes: Bytes, sha256: Sha256 }, closed),
      Type.Null(),
    ]),
    /** How many relations of each kind the database held, by pg_class.relkind. */
    relations: Type.Record(Type.String({ pattern: '^[a-zA-Z]$' }), Bytes),
    warnings: Type.Array(Warning),
    /** How the stored bytes were read back before the commit. */
    read_back: Type.Object(
      {
        /** `stored`: hashed again from the store; `plain`: also decompressed to the end. */
        depth: Type.Union([Type.Literal('none'), Type.Literal('stored'), Type.Literal('plain')]),
        seconds: Type.Number({ minimum: 0 }),
      },
      closed,
    ),
  },
  {
    ...closed,
    $id: 'https://holdfast.invalid/schemas/manifest-1.json',
    title: 'Holdfast manifest, format 1',
  },
);

export type Manifest = Static<typeof manifestSchema>;
export type ManifestFile = Static<typeof File>;
export type ManifestTable = Static<typeof Table>;
export type ManifestWarning = Static<typeof Warning>;
export type FilterSpec = Static<typeof Filter>;
export type MeasuredBytes = Static<typeof Measured>;
