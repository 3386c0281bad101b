import { describe, expect, it } from 'vitest';
import {
  describeReceiveFailure,
  isWalRemoved,
  receiveArguments,
} from '../../../src/postgres/receivewal.ts';

const failure = (stderr: string, status: number | null = 1, signal: string | null = null) =>
  describeReceiveFailure({ stderr, status, signal, role: 'o"dd', slot: 'holdfast_main' });

const said = (words: string) =>
  `pg_receivewal: error: ${words}\npg_receivewal: error: disconnected\n`;

describe('receiveArguments', () => {
  it('flushes at once, ends with its connection, and never asks for a password', () => {
    const folder = `/b/it's "$(id)"`;
    const args = receiveArguments({ folder, slot: 's', end: null });
    expect(args).toContain(`--directory=${folder}`);
    expect(args).toEqual(expect.arrayContaining(['--synchronous', '--no-loop', '--no-password']));
    expect(args.join(' ')).not.toContain('endpos');
  });

  it('ends when everything before a position is there: it stops behind one, never at it', () => {
    const args = receiveArguments({ folder: '/b', slot: 's', end: 0x1_0000_0000n });
    expect(args).toContain('--endpos=0/FFFFFFFF');
  });
});

describe('describeReceiveFailure', () => {
  // The words of PostgreSQL 15, and those of 17 and 18 where they differ.
  it.each([
    ['FATAL:  must be superuser or replication role to start walsender', 'DATABASE_PRIVILEGE'],
    ['FATAL:  permission denied to start WAL sender', 'DATABASE_PRIVILEGE'],
    [
      'FATAL:  no pg_hba.conf entry for replication connection from host "10.0.0.1"',
      'DATABASE_AUTH',
    ],
    ['FATAL:  password authentication failed for user "x"', 'DATABASE_AUTH'],
    ['ERROR:  replication slot "holdfast_main" does not exist', 'ARCHIVING_FAILED'],
    ['ERROR:  replication slot "holdfast_main" is active for PID 31592', 'LOCKED'],
    ['ERROR:  can no longer get changes from replication slot "holdfast_main"', 'ARCHIVING_FAILED'],
    [
      'ERROR:  requested starting point 0/9000000 is ahead of the WAL flush position of this ' +
        'server 0/1516770',
      'ARCHIVING_FAILED',
    ],
    ['starting timeline 2 is not present in the server', 'ARCHIVING_FAILED'],
    ['FATAL:  number of requested standby connections exceeds max_wal_senders', 'DATABASE_REFUSED'],
    ['could not write 8192 bytes to WAL file "0001.partial": No space left on device', 'NO_SPACE'],
    ['could not fsync file "0001.partial": No space left on device', 'NO_SPACE'],
    [
      'connection to server on socket "/x/.s.PGSQL.5432" failed: No such file or directory',
      'DATABASE_UNREACHABLE',
    ],
    ['replication stream was terminated before stop point', 'DATABASE_UNREACHABLE'],
    [
      'could not receive data from WAL stream: server closed the connection',
      'DATABASE_UNREACHABLE',
    ],
    ['something that nobody has seen yet', 'ARCHIVING_FAILED'],
  ])('tells what %j means', (words, code) => {
    const error = failure(said(words));
    expect(error.code).toBe(code);
    expect(error.message).toContain(words);
    expect(error.message).not.toContain('disconnected');
    expect(error.hint).toBeDefined();
  });

  it('names the role as SQL does', () => {
    const { hint } = failure(said('FATAL:  permission denied to start WAL sender'));
    expect(hint).toContain('ALTER ROLE "o""dd" REPLICATION');
  });

  it('tells who was killed', () => {
    expect(failure('', null, 'SIGKILL').message).toBe('pg_receivewal was ended by SIGKILL');
  });

  it('knows when WAL is gone for good', () => {
    const words = 'ERROR:  requested WAL segment 000000010000000000000001 has already been removed';
    expect(isWalRemoved({ stderr: said(words) })).toBe(true);
    expect(isWalRemoved({ stderr: said('disconnected') })).toBe(false);
    expect(failure(said(words)).hint).toContain('base backup');
  });
});
