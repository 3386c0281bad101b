/**
 * The connection's settings: libpq's parameter key words with libpq's own environment variables
 * (PostgreSQL manual, "Parameter Key Words" and "Environment Variables").
 */

import type { Setting } from './setting.ts';

/** libpq's `sslmode`, weakest first. */
const sslModes = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'] as const;

const port = '([1-9]\\d{0,3}|[1-5]\\d{4}|6[0-4]\\d{3}|65[0-4]\\d{2}|655[0-2]\\d|6553[0-5])';
const text = { type: 'string', minLength: 1 } as const;
const negotiated = ['disable', 'prefer', 'require'] as const;
const tlsVersions = ['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3'] as const;

/** Every setting of a connection by libpq's key word, in the order in which they are told. */
export const connectionTable = {
  host: {
    schema: text,
    env: ['PGHOST', 'DB_HOST'],
    flag: 'host',
    default: null,
    defaultText: 'the Unix socket of this machine',
    description:
      "The server's host name or address, or the folder of its Unix socket (it begins with a " +
      'slash); several with commas between are tried in turn.',
    example: 'db.example.com',
  },
  hostaddr: {
    schema: text,
    env: ['PGHOSTADDR'],
    default: null,
    description: "The server's numeric address, where the name is not to be looked up.",
    example: '192.0.2.10',
  },
  port: {
    schema: { type: 'string', pattern: `^${port}?(,${port}?)*$` },
    env: ['PGPORT', 'DB_PORT'],
    flag: 'port',
    default: null,
    defaultText: '5432',
    description: "The server's port, or one for each host with commas between.",
    allowed: 'a port from 1 to 65535, or several with commas between',
    example: 5433,
  },
  user: {
    schema: text,
    env: ['PGUSER', 'DB_USER'],
    flag: 'username',
    default: null,
    defaultText: 'the operating-system user',
    description: 'The role to connect as.',
    example: 'backup',
  },
  password: {
    schema: text,
    env: ['PGPASSWORD', 'DB_PASSWORD'],
    default: null,
    defaultText: 'from the password file',
    description: 'The password. A password file (`~/.pgpass`) is the better place for it.',
    example: 'a password',
    secret: true,
  },
  dbname: {
    schema: text,
    env: ['PGDATABASE', 'DB_NAME'],
    default: null,
    description: 'The database that is meant where a command names none.',
    example: 'mastertrade',
  },
  passfile: {
    schema: text,
    env: ['PGPASSFILE'],
    default: null,
    defaultText: '`~/.pgpass`',
    description: 'The password file; others may have no access to it (mode 0600).',
    example: '/etc/holdfast/pgpass',
    path: true,
  },
  service: {
    schema: text,
    env: ['PGSERVICE'],
    default: null,
    description: 'A section of the connection service file. It beats the other settings here.',
    example: 'production',
  },
  servicefile: {
    schema: text,
    env: ['PGSERVICEFILE'],
    default: null,
    defaultText: '`~/.pg_service.conf`',
    description: 'The connection service file.',
    example: '/etc/holdfast/pg_service.conf',
    path: true,
  },
  sysconfdir: {
    schema: text,
    env: ['PGSYSCONFDIR'],
    default: null,
    defaultText: '`/etc/postgresql-common`, as on Debian',
    description: 'The folder of the system-wide `pg_service.conf`.',
    example: '/etc/sysconfig/pgsql',
    path: true,
  },
  options: {
    schema: text,
    env: ['PGOPTIONS'],
    default: null,
    description: 'Command-line options for the server process of each connection.',
    example: '-c statement_timeout=0',
  },
  connect_timeout: {
    schema: { type: 'integer', minimum: 0, maximum: 86_400 },
    env: ['PGCONNECT_TIMEOUT'],
    default: 10,
    description: 'The seconds to wait for a connection, for each host; 0 waits for ever.',
    example: 30,
  },
  sslmode: {
    schema: { type: 'string', enum: sslModes },
    env: ['PGSSLMODE'],
    default: null,
    defaultText: 'prefer',
    description: 'Whether TLS is used and what of the certificate is checked, as libpq does.',
    example: 'verify-full',
  },
  sslrootcert: {
    schema: text,
    env: ['PGSSLROOTCERT'],
    default: null,
    defaultText: '`~/.postgresql/root.crt`',
    description:
      'The certificates of the authorities that are trusted; `system` takes those of the ' +
      'operating system.',
    example: '/etc/ssl/certs/db-root.pem',
    path: true,
    pathWords: ['system'],
  },
  sslcert: {
    schema: text,
    env: ['PGSSLCERT'],
    default: null,
    defaultText: '`~/.postgresql/postgresql.crt`',
    description: "The client's certificate.",
    example: '/etc/holdfast/client.crt',
    path: true,
  },
  sslkey: {
    schema: text,
    env: ['PGSSLKEY'],
    default: null,
    defaultText: '`~/.postgresql/postgresql.key`',
    description: "The client's private key; others may have no access to it.",
    example: '/etc/holdfast/client.key',
    path: true,
  },
  sslcrl: {
    schema: text,
    env: ['PGSSLCRL'],
    default: null,
    defaultText: '`~/.postgresql/root.crl`',
    description: 'The list of revoked certificates.',
    example: '/etc/holdfast/root.crl',
    path: true,
  },
  sslsni: {
    schema: { type: 'string', enum: ['0', '1'] },
    env: ['PGSSLSNI'],
    default: null,
    defaultText: '1',
    description: "Whether the server's name is sent in the TLS handshake.",
    example: '0',
  },
  sslnegotiation: {
    schema: { type: 'string', enum: ['postgres', 'direct'] },
    env: ['PGSSLNEGOTIATION'],
    default: null,
    defaultText: 'postgres',
    description: 'How TLS is begun; `direct` needs PostgreSQL 17.',
    example: 'direct',
  },
  ssl_min_protocol_version: {
    schema: { type: 'string', enum: tlsVersions },
    env: ['PGSSLMINPROTOCOLVERSION'],
    default: null,
    defaultText: 'TLSv1.2',
    description: 'The oldest TLS version that is accepted.',
    example: 'TLSv1.3',
  },
  ssl_max_protocol_version: {
    schema: { type: 'string', enum: tlsVersions },
    env: ['PGSSLMAXPROTOCOLVERSION'],
    default: null,
    description: 'The newest TLS version that is accepted.',
    example: 'TLSv1.3',
  },
  channel_binding: {
    schema: { type: 'string', enum: negotiated },
    env: ['PGCHANNELBINDING'],
    default: null,
    defaultText: 'prefer',
    description: 'Whether the password exchange is bound to the TLS connection.',
    example: 'require',
  },
  gssencmode: {
    schema: { type: 'string', enum: ['disable', 'prefer'] },
    env: ['PGGSSENCMODE'],
    default: null,
    defaultText: 'disable',
    description: 'Known for the sake of those who set it; GSSAPI encryption is never used.',
    example: 'disable',
  },
  target_session_attrs: {
    schema: {
      type: 'string',
      enum: ['any', 'read-write', 'read-only', 'primary', 'standby', 'prefer-standby'],
    },
    env: ['PGTARGETSESSIONATTRS'],
    default: null,
    defaultText: 'any',
    description: 'Which of several hosts is taken.',
    example: 'primary',
  },
} as const satisfies Readonly<Record<string, Setting>>;

/** libpq's key words that are settings here; `servicefile` and `sysconfdir` are none of libpq's. */
export type ConnectionKey = keyof typeof connectionTable;

/** libpq's other variables that change nothing here: Holdfast's sessions set what they need. */
export const harmlessVariables = [
  'PGAPPNAME',
  'PGCLIENTENCODING',
  'PGDATESTYLE',
  'PGGEQO',
  'PGGSSDELEGATION',
  'PGGSSLIB',
  'PGKRBSRVNAME',
  'PGLOADBALANCEHOSTS',
  'PGLOCALEDIR',
  'PGMAXPROTOCOLVERSION',
  'PGSSLCERTMODE',
  'PGSSLCOMPRESSION',
  'PGTZ',
] as const;

/** Those that ask for a protection that is not given: known, and each earns a warning. */
export const unsupportedVariables = [
  'PGMINPROTOCOLVERSION',
  'PGREQUIREAUTH',
  'PGREQUIREPEER',
  'PGREQUIRESSL',
  'PGSSLCRLDIR',
] as const;
