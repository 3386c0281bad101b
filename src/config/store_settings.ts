/**
 * The settings of a store beside BACKUP_DIR: a bucket, or another folder. The group `s3` is the one
 * bucket that the environment can name; each entry of `stores` has the same settings, and takes
 * from `s3` what it leaves out.
 */

import type { Setting } from './setting.ts';

const text = { type: 'string', minLength: 1 } as const;
const flag = { type: 'boolean' } as const;
const days = { type: 'integer', minimum: 1, maximum: 36_500 } as const;

/** Every setting of a store, in the order in which they are told. */
export const storeTable = {
  enabled: {
    schema: flag,
    env: ['ENABLE_S3_UPLOAD'],
    default: true,
    description: 'Whether the store is used. Without a bucket (or a path) there is none anyway.',
    example: true,
  },
  bucket: {
    schema: { type: 'string', pattern: '^[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]$' },
    env: ['BACKUP_BUCKET', 'AWS_S3_BUCKET'],
    default: null,
    description: 'The bucket that copies of the backups go to.',
    allowed: 'the name of a bucket: 3 to 63 lower-case letters, digits, dots and dashes',
    example: 'acme-backups',
  },
  prefix: {
    schema: {
      type: 'string',
      pattern: "^(?!.*(^|/)\\.{0,2}(/|$))[A-Za-z0-9!_.*'()/=+@,:-]{1,512}$",
    },
    env: ['BACKUP_PREFIX'],
    default: null,
    description:
      'What the keys of all objects begin with, so that several repositories fit into one bucket.',
    allowed: 'a path without a slash at either end, such as holdfast/main',
    example: 'holdfast',
  },
  region: {
    schema: text,
    env: ['AWS_REGION', 'AWS_DEFAULT_REGION'],
    default: null,
    defaultText: "that of the SDK's own configuration, else us-east-1",
    description: "The bucket's region.",
    example: 'eu-central-1',
  },
  endpoint: {
    schema: { type: 'string', pattern: '^https?://[^/?#@\\s]+/?$' },
    env: ['AWS_ENDPOINT_URL_S3'],
    default: null,
    defaultText: 'Amazon S3',
    description: 'The server of the store, where it is not Amazon S3.',
    allowed: 'a URL such as https://s3.example.com',
    example: 'https://s3.example.com',
  },
  path_style: {
    schema: flag,
    env: ['S3_PATH_STYLE'],
    default: null,
    defaultText: 'on with an endpoint of your own, else off',
    description: 'Whether the bucket stands in the path of a URL and not in the name of the host.',
    example: true,
  },
  ca_file: {
    schema: text,
    env: ['AWS_CA_BUNDLE'],
    default: null,
    defaultText: 'those of the operating system and of Node',
    description: "The certificates of the authorities that the store's certificate may be of.",
    example: '/etc/holdfast/s3-ca.pem',
    path: true,
  },
  profile: {
    schema: text,
    env: ['AWS_PROFILE'],
    default: null,
    description: "The profile in the AWS SDK's shared files that holds the credentials.",
    example: 'backup',
  },
  access_key_id: {
    schema: text,
    env: ['AWS_ACCESS_KEY_ID'],
    default: null,
    defaultText: "the SDK's chain: shared files, web identity, the machine's role",
    description: 'The access key of the store.',
    example: 'AKIAEXAMPLE',
  },
  secret_access_key: {
    schema: text,
    env: ['AWS_SECRET_ACCESS_KEY'],
    default: null,
    defaultText: 'as for the access key',
    description: 'What belongs to the access key.',
    example: 'secret',
    secret: true,
  },
  session_token: {
    schema: text,
    env: ['AWS_SESSION_TOKEN'],
    default: null,
    description: 'What belongs to a temporary access key.',
    example: 'token',
    secret: true,
  },
  required: {
    schema: flag,
    env: ['S3_REQUIRED'],
    default: true,
    description:
      'Whether a run fails when this store does. Without it that is a warning. In both cases the ' +
      'copies in the other stores stay, and the next run brings what is missing here.',
    example: false,
  },
  server_side_encryption: {
    schema: { type: 'string', enum: ['none', 'AES256', 'aws:kms'] as const },
    env: ['S3_SERVER_SIDE_ENCRYPTION'],
    default: null,
    defaultText: 'AES256 on Amazon S3, none elsewhere',
    description: 'How the store encrypts what lies in it. It holds the key: see `encryption`.',
    example: 'aws:kms',
  },
  kms_key_id: {
    schema: text,
    env: ['S3_KMS_KEY_ID'],
    default: null,
    defaultText: "the account's own",
    description: 'The key for `aws:kms`.',
    example: '1234abcd-12ab-34cd-56ef-1234567890ab',
  },
  storage_class: {
    schema: { type: 'string', pattern: '^[A-Z][A-Z0-9_]{2,39}$' },
    env: ['S3_STORAGE_CLASS'],
    default: null,
    defaultText: 'STANDARD_IA for weekly and monthly backups on Amazon S3, else that of the bucket',
    description: 'The storage class of the objects.',
    allowed: 'a storage class, such as STANDARD_IA',
    example: 'STANDARD_IA',
  },
  tags: {
    schema: flag,
    env: ['S3_TAGS'],
    default: false,
    description:
      'Whether objects are tagged with the tier of their backup, for lifecycle rules of the ' +
      'bucket. It takes a permission more, and not every server knows tags.',
    example: true,
  },
  object_lock_mode: {
    schema: { type: 'string', enum: ['GOVERNANCE', 'COMPLIANCE'] as const },
    env: ['S3_OBJECT_LOCK_MODE'],
    default: null,
    defaultText: 'no lock of our own; what the bucket sets by default holds',
    description: 'How objects are locked against removal, with `object_lock_days`.',
    example: 'COMPLIANCE',
  },
  object_lock_days: {
    schema: days,
    env: ['S3_OBJECT_LOCK_DAYS'],
    default: null,
    description: 'How many days an object is locked against removal after it was written.',
    example: 30,
  },
  part_mb: {
    schema: { type: 'integer', minimum: 5, maximum: 5120 },
    env: ['S3_PART_MB'],
    default: 8,
    description:
      'The size in MB (of 1024²) of the first parts of an upload; later ones grow, so that ' +
      '10,000 are enough for 5 TB.',
    example: 16,
  },
  equal_parts: {
    schema: flag,
    env: ['S3_EQUAL_PARTS'],
    default: false,
    description:
      'Whether all parts of an upload have the same size, as Cloudflare R2 wants it. Then no ' +
      'file may be larger than 10,000 times `part_mb`.',
    example: true,
  },
  connections: {
    schema: { type: 'integer', minimum: 1, maximum: 64 },
    env: ['S3_CONNECTIONS'],
    default: 4,
    description: 'How many parts of one file are on their way at once. Each takes memory.',
    example: 8,
  },
  max_rate_mb: {
    schema: { type: 'number', minimum: 0.01, maximum: 100_000 },
    env: ['S3_MAX_RATE_MB'],
    flag: 'max-rate',
    default: null,
    defaultText: 'no limit',
    description:
      'The most that goes to a store other than BACKUP_DIR, in MB (of 1024²) per second.',
    example: 10,
  },
  stall_seconds: {
    schema: { type: 'integer', minimum: 1, maximum: 86_400 },
    env: ['S3_STALL_SECONDS'],
    default: 300,
    description:
      'After so many seconds in which a store takes nothing it is left behind: it does not hold ' +
      "the backup, and with it the server's snapshot, for ever.",
    example: 60,
  },
  retention_days: {
    schema: days,
    env: ['S3_RETENTION_DAYS'],
    default: null,
    defaultText: 'as in BACKUP_DIR',
    description: '`retention_days` in this store.',
    example: 90,
  },
  retention_daily: {
    schema: days,
    env: ['S3_RETENTION_DAILY'],
    default: null,
    defaultText: 'as in BACKUP_DIR',
    description: '`retention_daily` in this store.',
    example: 30,
  },
  retention_weekly: {
    schema: { type: 'integer', minimum: 1, maximum: 5200 },
    env: ['S3_RETENTION_WEEKLY'],
    default: null,
    defaultText: 'as in BACKUP_DIR',
    description: '`retention_weekly` in this store.',
    example: 12,
  },
  retention_monthly: {
    schema: { type: 'integer', minimum: 1, maximum: 1200 },
    env: ['S3_RETENTION_MONTHLY'],
    default: null,
    defaultText: 'as in BACKUP_DIR',
    description: '`retention_monthly` in this store.',
    example: 36,
  },
  wal_retention_days: {
    schema: days,
    env: ['S3_WAL_RETENTION_DAYS'],
    default: null,
    defaultText: 'as in BACKUP_DIR',
    description: '`wal_retention_days` in this store.',
    example: 30,
  },
} as const satisfies Readonly<Record<string, Setting>>;

/** What only an entry of `stores` has: a folder in place of a bucket. */
export const storePathSetting = {
  schema: text,
  env: [],
  default: null,
  description: 'The folder of a store that is no bucket.',
  example: '/mnt/nas/holdfast',
  path: true,
} as const satisfies Setting;
