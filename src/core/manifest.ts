/**
 * The manifest: what a backup is, written last, so that it is the commit (REPOSITORY.md,
 * "manifest.json"). The same schema checks it when it is written and when it is read.
 */

import { type Static, Type } from 'typebox';
import { databasePropertiesSchema } from './database_properties.ts';

/** The format that this version writes. A larger one is refused on reading, never guessed at. */
export const manifestFormat = 1;

/** Names of the files of a logical backup (REPOSITORY.md). */
export const manifestName = 'manifest.json';
export const sumsName = 'SHA256SUMS';
export const restoreScriptName = 'restore.sh';

const closed = { additionalProperties: false } as const;
const Time = Type.String({ pattern: '^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}(\\.\\d{3})?Z$' });
const Bytes = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
const Sha256 = Type.String({ pattern: '^[0-9a-f]{64}$' });
const Name = Type.String({ minLength: 1 });
/** A file's name inside the backup's folder: never a path. */
const FileName = Type.String({ pattern: '^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$' });

const Measured = Type.Object({ bytes: Bytes, sha256: Sha256 }, closed);

/** A filter by its name, with what its mirror has to know. Nothing in it is ever executed. */
const Filter = Type.Union([
  Type.Object(
    { name: Type.Literal('zstd'), level: Type.Integer({ minimum: 1, maximum: 19 }) },
    closed,
  ),
  Type.Object(
    { name: Type.Literal('gzip'), level: Type.Integer({ minimum: 1, maximum: 9 }) },
    closed,
  ),
]);

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

const Server = Type.Object(
  {
    version: Type.String(),
    /** `server_version_num`, e.g. 150018. */
    version_num: Type.Integer({ minimum: 90000 }),
    /** A string, since it does not fit a JSON number. */
    system_identifier: Type.String({ pattern: '^\\d{1,20}$' }),
    wal_segment_bytes: Bytes,
    timeline: Type.Integer({ minimum: 1 }),
    /** Of the last WAL record when the backup began; on a standby, the last one replayed. */
    lsn: Type.String({ pattern: '^[0-9A-F]{1,8}/[0-9A-F]{1,8}$' }),
    in_recovery: Type.Boolean(),
  },
  closed,
);

const Warning = Type.Object({ code: Type.String(), message: Type.String() }, closed);

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
