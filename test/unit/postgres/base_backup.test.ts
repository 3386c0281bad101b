/** The arguments of pg_basebackup, and what its words mean. */

import { describe, expect, it } from 'vitest';
import {
  type BaseBackupOptions,
  baseBackupArguments,
  baseBackupWarnings,
  damagedPageOf,
  describeBaseBackupFailure,
  isChecksumFailure,
  whyNoIncrement,
} from '../../../src/postgres/base_backup.ts';

const options: BaseBackupOptions = {
  major: 17,
  label: '20261121T020000Z-base-k3f9',
  checkpoint: 'fast',
  maxRateKb: null,
  zstd: { level: 3, threads: 2 },
  folder: null,
  parentManifest: null,
};

const end = { status: 1, signal: null, role: 'back"up' };
const failure = (stderr: string) => describeBaseBackupFailure({ ...end, stderr });

describe('the arguments', () => {
  it('stream one archive with its WAL, compressed by several threads', () => {
    const args = baseBackupArguments(options);
    expect(args).toContain('--pgdata=-');
    expect(args).toContain('--wal-method=fetch');
    expect(args).toContain('--manifest-checksums=SHA256');
    expect(args).toContain('--compress=client-zstd:level=3,workers=2');
    expect(args).toContain('--no-password');
    expect(args.some((arg) => arg.startsWith('--max-rate'))).toBe(false);
  });

  it('name no compression that PostgreSQL 14 does not know, and no worker for one thread', () => {
    const compress = (more: Partial<BaseBackupOptions>) =>
      baseBackupArguments({ ...options, ...more }).filter((arg) => arg.startsWith('--compress'));
    expect(compress({ major: 14 })).toEqual([]);
    expect(compress({ zstd: null })).toEqual([]);
    expect(compress({ zstd: { level: 9, threads: 1 } })).toEqual([
      '--compress=client-zstd:level=9',
    ]);
  });

  it('take folder, rate, checkpoint and parent as they are', () => {
    const args = baseBackupArguments({
      ...options,
      folder: '/tmp/it is',
      maxRateKb: 1024,
      checkpoint: 'spread',
      parentManifest: '/tmp/p/backup_manifest',
    });
    expect(args).toEqual(
      expect.arrayContaining([
        '--pgdata=/tmp/it is',
        '--max-rate=1024',
        '--checkpoint=spread',
        '--incremental=/tmp/p/backup_manifest',
      ]),
    );
  });
});

describe('a failure', () => {
  it.each([
    [
      'pg_basebackup: error: connection to server on socket "/s/.s.PGSQL.5432" failed: FATAL:  must be superuser or replication role to start walsender',
      'DATABASE_PRIVILEGE',
      'ALTER ROLE "back""up" REPLICATION.',
    ],
    [
      'pg_basebackup: error: connection to server failed: FATAL:  permission denied to start WAL sender\nDETAIL:  Only roles with the REPLICATION attribute may start a WAL sender process.',
      'DATABASE_PRIVILEGE',
      'REPLICATION',
    ],
    [
      'pg_basebackup: error: connection to server at "db" failed: FATAL:  no pg_hba.conf entry for replication connection from host "10.0.0.5", user "b", no encryption',
      'DATABASE_AUTH',
      'pg_hba.conf',
    ],
    [
      'pg_basebackup: error: connection to server failed: FATAL:  number of requested standby connections exceeds max_wal_senders (currently 10)',
      'DATABASE_REFUSED',
      'max_wal_senders',
    ],
    [
      'pg_basebackup: error: backup failed: ERROR:  requested WAL segment 000000010000000000000003 has already been removed',
      'DATABASE_REFUSED',
      'wal_keep_size',
    ],
    [
      'pg_basebackup: error: could not initiate base backup: ERROR:  WAL level not sufficient for making an online backup',
      'DATABASE_REFUSED',
      'wal_level',
    ],
    [
      'pg_basebackup: error: could not write to file "x": No space left on device',
      'NO_SPACE',
      'temp_dir',
    ],
    [
      'pg_basebackup: error: can only write single tablespace to stdout, database has 2',
      'DATABASE_REFUSED',
      'tablespace',
    ],
    [
      'pg_basebackup: error: could not read COPY data: FATAL:  terminating connection due to administrator command',
      'DATABASE_UNREACHABLE',
      'take it again',
    ],
    [
      'pg_basebackup: error: COPY stream ended before last file was finished',
      'DATABASE_UNREACHABLE',
      'take it again',
    ],
  ])('%s', (stderr, code, hint) => {
    const error = failure(stderr);
    expect(error.code).toBe(code);
    expect(error.hint).toContain(hint);
  });

  it('that nobody knows keeps its words, and a kill names the killer', () => {
    expect(failure('pg_basebackup: error: the sky fell').message).toBe(
      'pg_basebackup ended with status 1: the sky fell',
    );
    const killed = { ...end, status: null, signal: 'SIGKILL', stderr: '' };
    const error = describeBaseBackupFailure(killed);
    expect(error.message).toBe('pg_basebackup was ended by SIGKILL');
    expect(error.hint).toContain('out-of-memory');
  });
});

describe('damaged pages', () => {
  const page =
    'WARNING:  checksum verification failed in file "./base/5/16384", block 2: calculated 18C9 but expected 3C72';
  const stderr = `${page}\npg_basebackup: error: checksum error occurred\n`;

  it('are told from every other failure', () => {
    expect(isChecksumFailure({ ...end, stderr })).toBe(true);
    expect(isChecksumFailure({ ...end, status: null, signal: 'SIGKILL', stderr })).toBe(false);
    expect(isChecksumFailure({ ...end, stderr: page })).toBe(false);
    expect(isChecksumFailure({ ...end, stderr: `${page} checksum error occurred` })).toBe(false);
  });

  it('are named by file and block, and are no ordinary warnings', () => {
    expect(damagedPageOf(page)).toContain('file "./base/5/16384", block 2');
    expect(damagedPageOf('WARNING:  skipping special file "./x"')).toBeNull();
    expect(baseBackupWarnings(`${stderr}WARNING:  skipping special file "./x"`)).toEqual([
      'skipping special file "./x"',
    ]);
  });
});

describe('why there is no increment', () => {
  it.each([
    'WAL summaries are required on timeline 1 from 0/2000028 to 0/9000028, but no summaries for that timeline and LSN range exist',
    'incremental backups cannot be taken unless WAL summarization is enabled',
    "timeline 2 found in manifest, but not in this server's history",
  ])('%s', (words) => {
    const stderr = `pg_basebackup: error: could not initiate base backup: ERROR:  ${words}\n`;
    expect(whyNoIncrement(stderr)).toBe(words);
  });

  it('is not said of any other failure', () => {
    expect(whyNoIncrement('pg_basebackup: error: could not read COPY data')).toBeNull();
  });
});
