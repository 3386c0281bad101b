/**
 * The manifest of a base backup: a whole cluster as its files were, with the WAL that makes them
 * consistent (REPOSITORY.md). Like that of a full backup it is written last and is the commit.
 */

import {
  Bytes,
  closed,
  FileName,
  Filter,
  LsnText,
  Measured,
  Name,
  Server,
  Time,
  Warning,
} from './manifest_parts.ts';
import { type Static, Type } from './type_builder.ts';

/** The format that this version writes. A larger one is refused on reading, never guessed at. */
export const baseManifestFormat = 1;

/** PostgreSQL's own list of the files in a base backup (manual, "Backup Manifest Format"). */
export const serverManifestName = 'backup_manifest';

const LabelText = Type.String({ pattern: '^\\d{8}T\\d{6}Z-(base|incr)-[a-z0-9]{4}$' });
const Oid = Type.Integer({ minimum: 1, maximum: 4_294_967_295 });
const Timeline = Type.Integer({ minimum: 1 });

const File = Type.Object(
  {
    name: FileName,
    role: Type.Union([
      /** The data directory, as a tar archive. */
      Type.Literal('base'),
      /** One tablespace, as a tar archive. */
      Type.Literal('tablespace'),
      Type.Literal('backup_manifest'),
      /** A configuration file that lies outside the data directory. */
      Type.Literal('config'),
      Type.Literal('restore_script'),
    ]),
    /** In the order in which they were applied; a restore applies their mirrors backwards. */
    filters: Type.Array(Filter),
    /** The bytes as they lie in the store: anyone can check them, with no key. */
    stored: Measured,
    /** The bytes before the first filter: they prove the whole chain. */
    plain: Measured,
  },
  closed,
);

const Tablespace = Type.Object({ oid: Oid, name: Name, file: FileName }, closed);

const WalRange = Type.Object({ timeline: Timeline, start_lsn: LsnText, end_lsn: LsnText }, closed);

/** The schema that is published as docs/schemas/base_manifest.schema.json. */
export const baseManifestSchema = Type.Object(
  {
    format: Type.Literal(baseManifestFormat),
    label: LabelText,
    kind: Type.Union([Type.Literal('base'), Type.Literal('incr')]),
    /** Of an incremental one: the backup that it needs; it has one of its own or is whole. */
    parent: Type.Union([LabelText, Type.Null()]),
    engine: Type.Literal('postgres'),
    tool: Type.Object({ name: Type.Literal('holdfast'), version: Type.String() }, closed),
    pg_basebackup: Type.Object(
      { version: Type.String(), major: Type.Integer({ minimum: 9 }) },
      closed,
    ),
    cluster: Name,
    /** The host that took the backup. */
    host: Name,
    server: Server,
    started_at: Time,
    finished_at: Time,
    duration_seconds: Type.Number({ minimum: 0 }),
    checkpoint: Type.Union([Type.Literal('fast'), Type.Literal('spread')]),
    /** Where recovery has to begin, and on which timeline. */
    start_lsn: LsnText,
    start_timeline: Timeline,
    /** Where the cluster is consistent: what lies before it cannot be recovered to. */
    stop_lsn: LsnText,
    stop_timeline: Timeline,
    /** The WAL that makes it consistent, which is in the backup; oldest first. */
    wal_ranges: Type.Array(WalRange, { minItems: 1 }),
    /**
     * All files of the cluster together, as they were backed up; of an incremental one, all
     * databases together as the server told.
     */
    cluster_bytes: Bytes,
    /** How many files of the cluster are in it. */
    cluster_files: Bytes,
    tablespaces: Type.Array(Tablespace),
    /** Whether the cluster's pages have checksums, so that damage can be seen. */
    page_checksums: Type.Boolean(),
    /**
     * What the server said of pages whose checksum was wrong: then the backup is whole, and the
     * cluster itself is damaged. At most 100 lines.
     */
    damaged_pages: Type.Array(Type.String()),
    files: Type.Array(File, { minItems: 2 }),
    /**
     * Configuration that lies outside the data directory: which file of the backup it is, and
     * where it lay, relative to the folder of `config_file`.
     */
    config: Type.Array(
      Type.Object(
        {
          file: FileName,
          setting: Type.Union([
            Type.Literal('config_file'),
            Type.Literal('hba_file'),
            Type.Literal('ident_file'),
            Type.Literal('include'),
          ]),
          path: Name,
        },
        closed,
      ),
    ),
    warnings: Type.Array(Warning),
    /**
     * Before the commit every file in it was compared with PostgreSQL's own list: as it was read
     * back, or (`stored`) as it was written, where nobody could decrypt what is stored; the stored
     * bytes were read back in both cases. `none`: as it was written, and nothing was read back.
     */
    read_back: Type.Object(
      {
        depth: Type.Optional(Type.Union([Type.Literal('none'), Type.Literal('stored')])),
        seconds: Type.Number({ minimum: 0 }),
      },
      closed,
    ),
  },
  {
    ...closed,
    $id: 'https://holdfast.invalid/schemas/base-manifest-1.json',
    title: 'Holdfast manifest of a base backup, format 1',
  },
);

export type BaseManifest = Static<typeof baseManifestSchema>;
export type BaseManifestFile = Static<typeof File>;
export type BaseTablespace = Static<typeof Tablespace>;
export type BaseConfigFile = BaseManifest['config'][number];
