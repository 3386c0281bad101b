/**
 * Every setting, once. From these tables come the type `Settings`, the validation, the names of
 * the environment variables, the flags, the help, holdfast.sample.yaml and the table in
 * docs/reference/settings.md (PRODUCT.md, "Settings").
 */

import type { Secret } from '../core/secret.ts';
import { alertTable } from './alert_settings.ts';
import { connectionTable } from './connection_settings.ts';
import { hookTable } from './hook_settings.ts';
import { kindnessTable } from './kindness_settings.ts';
import { monitorTable } from './monitor_settings.ts';
import { retentionTable } from './retention_settings.ts';
import { scheduleTable } from './schedule_settings.ts';
import type { Setting, ValuesOf } from './setting.ts';
import { storePathSetting, storeTable } from './store_settings.ts';

const compressions = ['zstd', 'gzip', 'none'] as const;
/** How a backup is compressed; `none` leaves the plain bytes. */
export type Compression = (typeof compressions)[number];

/** The levels that a compression takes, and the one it takes by itself. */
export const compressionLevels = {
  zstd: { min: 1, max: 19, default: 3 },
  gzip: { min: 1, max: 9, default: 6 },
  none: { min: 0, max: 19, default: 0 },
} as const satisfies Record<Compression, { min: number; max: number; default: number }>;

/** The settings at the top of holdfast.yaml, in the order in which they are told. */
export const generalTable = {
  backup_dir: {
    schema: { type: 'string', minLength: 1 },
    env: ['BACKUP_DIR'],
    flag: 'backup-dir',
    default: ({ projectDir }) => `${projectDir}/backups`,
    defaultText: '`backups` in the checkout',
    description: 'The repository: the folder that holds the backups, logs and locks.',
    example: '/var/backups/holdfast',
    path: true,
  },
  local_copy: {
    schema: { type: 'boolean' },
    env: ['LOCAL_COPY'],
    default: true,
    description:
      'Whether backups are kept in BACKUP_DIR. Without it they go to the other stores alone: ' +
      'BACKUP_DIR holds logs, locks, and WAL until it is carried away.',
    example: false,
  },
  cluster: {
    schema: { type: 'string', minLength: 1 },
    env: ['CLUSTER'],
    default: null,
    defaultText: "the server's system identifier",
    description:
      'The name of the database cluster in the repository. Two servers that share a repository ' +
      'never share a name.',
    example: 'main',
  },
  database_url: {
    schema: { type: 'string', minLength: 1 },
    env: ['DATABASE_URL'],
    default: null,
    description:
      'A connection URL for what the libpq variables do not say. It gives the server, role and ' +
      'password; its database is the default one.',
    example: 'postgresql://app@db.example.com:5432/mastertrade',
    secret: true,
  },
  compression: {
    schema: { type: 'string', enum: compressions },
    env: ['COMPRESSION'],
    flag: 'compression',
    default: 'zstd',
    description: 'How backups are compressed.',
    example: 'gzip',
  },
  compression_level: {
    schema: { type: 'integer', minimum: 0, maximum: 19 },
    env: ['COMPRESSION_LEVEL'],
    flag: 'compression-level',
    default: ({ before }) => compressionLevels[before.compression as Compression].default,
    defaultText: '3 for zstd, 6 for gzip',
    description: 'The compression level: 1 to 19 for zstd, 1 to 9 for gzip.',
    allowed: 'a whole number, 1 to 19 for zstd, 1 to 9 for gzip',
    example: 6,
  },
  encryption: {
    schema: { type: 'string', enum: ['none', 'age', 'gpg'] as const },
    env: ['BACKUP_ENCRYPTION'],
    flag: 'encrypt',
    default: 'none',
    description:
      'How backups and WAL are encrypted, for the recipients alone: by the program age or by ' +
      'gpg. This machine needs public keys only.',
    example: 'age',
  },
  age_recipients: {
    schema: { type: 'string', minLength: 1 },
    env: ['AGE_RECIPIENTS'],
    default: null,
    description:
      'Who can decrypt with age: public keys (`age1…`, `ssh-ed25519 …`) with commas between, or ' +
      'the path of a file with one in each line.',
    example: 'age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p',
  },
  age_identity_file: {
    schema: { type: 'string', minLength: 1 },
    env: ['AGE_IDENTITY_FILE'],
    flag: 'identity',
    default: null,
    description:
      'The file with the private key for a restore from age. It belongs on the machine that ' +
      'restores, not on the one that backs up.',
    example: '/root/holdfast-identity.txt',
    path: true,
  },
  gpg_recipients: {
    schema: { type: 'string', minLength: 1 },
    env: ['GPG_RECIPIENTS'],
    default: null,
    description: 'Who can decrypt with gpg: fingerprints of public keys, with commas between.',
    example: 'D2A5E3F1B8C94A7F6E0D1C2B3A495867F1E2D3C4',
  },
  gpg_home: {
    schema: { type: 'string', minLength: 1 },
    env: ['GPG_HOME'],
    default: null,
    defaultText: "gpg's own: ~/.gnupg",
    description: 'The folder of the keyring that gpg uses.',
    example: '/etc/holdfast/gnupg',
    path: true,
  },
  signing_key: {
    schema: { type: 'string', minLength: 1 },
    env: ['SIGNING_KEY'],
    default: null,
    description:
      'The OpenSSH key that signs the manifest of every new backup: a private key without a ' +
      'passphrase, or a public one whose private half ssh-agent holds.',
    example: '/etc/holdfast/signing_key',
    path: true,
  },
  allowed_signers: {
    schema: { type: 'string', minLength: 1 },
    env: ['ALLOWED_SIGNERS'],
    default: null,
    description:
      'The file of those whose signatures count, as ssh-keygen(1) tells. Where it is set, a ' +
      'backup that none of them has signed is not restored and does not pass verification.',
    example: '/etc/holdfast/allowed_signers',
    path: true,
  },
  base_backup_days: {
    schema: { type: 'integer', minimum: 1, maximum: 365 },
    env: ['BASE_BACKUP_DAYS'],
    default: 7,
    description:
      'How many days after the last whole base backup backup_incremental.ts takes the next one. ' +
      'In between it takes an incremental one each day, where the server can tell what changed ' +
      '(PostgreSQL 17 and newer).',
    example: 3,
  },
  wal_compression_level: {
    schema: { type: 'integer', minimum: 1, maximum: 19 },
    env: ['WAL_COMPRESSION_LEVEL'],
    default: 1,
    description:
      'The level of zstd for WAL segments, 1 to 19. The server waits for each: a high level may ' +
      'not keep up with it.',
    example: 3,
  },
  threads: {
    schema: { type: 'integer', minimum: 1, maximum: 256 },
    env: ['THREADS'],
    flag: 'threads',
    default: ({ cores }) => (cores > 2 ? cores - 1 : cores),
    defaultText: 'all processors, less one where there are more than two',
    description:
      'How many threads the compressors may use, all together when several databases are backed ' +
      'up at once.',
    example: 2,
  },
  backup_jobs: {
    schema: { type: 'integer', minimum: 1, maximum: 64 },
    env: ['BACKUP_JOBS'],
    flag: 'parallel',
    default: 1,
    description:
      'How many databases are backed up at once. Each keeps a processor of its server busy, and ' +
      'has at least one thread of a compressor.',
    example: 2,
  },
  ...kindnessTable,
  table_digests: {
    schema: { type: 'boolean' },
    env: ['TABLE_DIGESTS'],
    default: true,
    description:
      'Count and digest the rows of every table, and the whole dump, while it streams by. ' +
      'Without it pg_dump writes straight into the compressor, which is faster, and a restore ' +
      'has nothing to compare.',
    example: false,
  },
  read_back: {
    schema: { type: 'string', enum: ['none', 'stored', 'plain'] },
    env: ['READ_BACK'],
    flag: 'read-back',
    default: 'stored',
    description:
      'How a backup is read back before it is committed: `none`, `stored` (the digests of what ' +
      'lies in the store) or `plain` (also decompressed to the end). A base backup is ' +
      "decompressed with `stored` too, to compare it with PostgreSQL's own list of its files.",
    example: 'plain',
  },
  min_disk_space_gb: {
    schema: { type: 'number', minimum: 0, maximum: 1_000_000 },
    env: ['MIN_DISK_SPACE_GB'],
    default: 10,
    description:
      'The space in GB (powers of 1000) that should stay free where the repository lies: less is ' +
      'a warning. A backup that will not fit at all, by the size of the last one, is refused.',
    example: 50,
  },
  restore_jobs: {
    schema: { type: 'integer', minimum: 1, maximum: 256 },
    env: ['RESTORE_JOBS'],
    flag: 'jobs',
    default: 1,
    description:
      'How many jobs pg_restore runs at once. More than one unpacks the dump to a temporary file ' +
      'first.',
    example: 4,
  },
  temp_dir: {
    schema: { type: 'string', minLength: 1 },
    env: ['TMPDIR'],
    default: ({ temporaryDir }) => temporaryDir,
    defaultText: "the operating system's",
    description: 'The folder for temporary files, such as a dump that is unpacked for a restore.',
    example: '/var/tmp',
    path: true,
  },
  pg_bin_dir: {
    schema: { type: 'string', minLength: 1 },
    env: ['PG_BIN_DIR'],
    default: null,
    defaultText: "found by the server's version",
    description: 'The folder of pg_dump, pg_restore and psql, where they are not to be searched.',
    example: '/usr/lib/postgresql/17/bin',
    path: true,
  },
  base_backup_checkpoint: {
    schema: { type: 'string', enum: ['fast', 'spread'] as const },
    env: ['BASE_BACKUP_CHECKPOINT'],
    default: 'fast',
    description:
      'How a base backup begins: with a checkpoint at once, a burst of writes on the server, or ' +
      'spread over minutes.',
    example: 'spread',
  },
  base_backup_max_rate_mb: {
    schema: { type: 'integer', minimum: 1, maximum: 1024 },
    env: ['BASE_BACKUP_MAX_RATE_MB'],
    default: null,
    defaultText: 'no limit',
    description: 'The most that a base backup reads from the server, in MB (of 1024²) per second.',
    example: 100,
  },
  environment: {
    schema: { type: 'string', minLength: 1 },
    env: ['ENVIRONMENT'],
    default: null,
    description:
      'What kind of system this is. With `production` or `prod` a restore always wants the ' +
      "database's name typed, or `--force`.",
    example: 'production',
  },
  ...retentionTable,
  log_keep_days: {
    schema: { type: 'integer', minimum: 1, maximum: 36_500 },
    env: ['LOG_KEEP_DAYS'],
    default: 30,
    description: 'How many days the log files in `logs/` are kept.',
    example: 90,
  },
  log_max_mb: {
    schema: { type: 'integer', minimum: 1, maximum: 100_000 },
    env: ['LOG_MAX_MB'],
    default: 10,
    description: 'The size in MB at which a log file is closed and the next one begun.',
    example: 50,
  },
} as const satisfies Readonly<Record<string, Setting>>;

/** The settings of one server, under `connection:`. */
export type ConnectionSettings = ValuesOf<typeof connectionTable>;

/**
 * One database under `databases:`: a connection of its own. What it leaves out is taken from the
 * URL, then from `connection`; without a `dbname` its key is the name.
 */
export interface DatabaseEntry extends Partial<ConnectionSettings> {
  readonly url?: Secret;
}

/** The settings of one store, under `s3:`. */
export type StoreSettings = ValuesOf<typeof storeTable>;

/** When which job runs, under `schedule:`. */
export type ScheduleSettings = ValuesOf<typeof scheduleTable>;

/** What the monitor takes for healthy, under `monitor:`. */
export type MonitorSettings = ValuesOf<typeof monitorTable>;

/** Where alerts go, under `alerts:`. */
export type AlertSettings = ValuesOf<typeof alertTable>;

/** The user's own programs, under `hooks:`. */
export type HookSettings = ValuesOf<typeof hookTable>;

/** One store under `stores:`: a bucket, or the folder `path`; what is left out is that of `s3`. */
export interface StoreEntry extends Partial<StoreSettings> {
  readonly path?: string;
}

/** Every setting's value, after flags, environment, `.env`, holdfast.yaml and defaults. */
export interface Settings extends ValuesOf<typeof generalTable> {
  readonly connection: ConnectionSettings;
  readonly s3: StoreSettings;
  readonly schedule: ScheduleSettings;
  readonly monitor: MonitorSettings;
  readonly alerts: AlertSettings;
  readonly hooks: HookSettings;
  /** By name, in the order of the file; empty without a configuration. */
  readonly stores: Readonly<Record<string, StoreEntry>>;
  /** By key, in the order of the file; empty without a configuration. */
  readonly databases: Readonly<Record<string, DatabaseEntry>>;
}

/** The settings that stand in a group of holdfast.yaml. */
export const groupTables = {
  connection: connectionTable,
  s3: storeTable,
  schedule: scheduleTable,
  monitor: monitorTable,
  alerts: alertTable,
  hooks: hookTable,
} as const;

type Groups = typeof groupTables;

/** The path of a setting in holdfast.yaml: `compression`, `connection.host`, `s3.bucket`. */
export type SettingPath =
  | keyof typeof generalTable
  | { [G in keyof Groups]: `${G}.${string & keyof Groups[G]}` }[keyof Groups];

/** What an entry under `databases:` may say. */
export const databaseEntryTable: Readonly<Record<string, Setting>> = {
  url: generalTable.database_url,
  ...connectionTable,
};

/** What an entry under `stores:` may say. */
export const storeEntryTable: Readonly<Record<string, Setting>> = {
  path: storePathSetting,
  ...storeTable,
};

/** Every setting with its path, in the order in which they are told. */
export function allSettings(): readonly (readonly [SettingPath, Setting])[] {
  const grouped = Object.entries(groupTables).flatMap(([group, table]) =>
    Object.entries(table).map(([name, setting]) => [`${group}.${name}`, setting]),
  );
  return [...Object.entries(generalTable), ...grouped] as [SettingPath, Setting][];
}
