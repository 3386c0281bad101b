import { describe, expect, it } from 'vitest';
import {
  dumpArguments,
  globalsArguments,
  isPasswordPrivilegeError,
  programWarnings,
  restoreArguments,
} from '../../../src/postgres/dump.ts';

describe('the arguments of pg_dump', () => {
  it('ask for one uncompressed stream of one snapshot, and never for a password', () => {
    expect(dumpArguments({ snapshot: '00000003-1B-1', lockWaitTimeoutMs: 60_000 })).toEqual([
      '--format=custom',
      '--compress=0',
      '--no-password',
      '--snapshot=00000003-1B-1',
      '--lock-wait-timeout=60000',
    ]);
  });
});

describe('the arguments of pg_dumpall', () => {
  it('leave the passwords out where the role may not read them', () => {
    expect(globalsArguments()).toEqual(['--globals-only', '--no-password']);
    expect(globalsArguments({ noRolePasswords: true, database: "it's" })).toEqual([
      '--globals-only',
      '--no-password',
      '--no-role-passwords',
      "--database=dbname='it\\'s'",
    ]);
  });

  it('are changed so when pg_authid is refused, and only then', () => {
    const refused =
      'pg_dumpall: error: query failed: ERROR:  permission denied for table pg_authid\n';
    expect(isPasswordPrivilegeError(refused)).toBe(true);
    expect(isPasswordPrivilegeError('permission denied for table pg_authid_copy')).toBe(false);
  });
});

describe('the arguments of pg_restore', () => {
  it('stop at the first error, from a stream', () => {
    expect(restoreArguments({ database: 'a=b' })).toEqual([
      '--no-password',
      "--dbname=dbname='a=b'",
      '--exit-on-error',
    ]);
  });

  it('take a file for several jobs, whatever its name looks like', () => {
    const args = restoreArguments({ database: 'app', jobs: 4, file: '-rf', keepGoing: true });
    expect(args).toEqual(['--no-password', "--dbname=dbname='app'", '--jobs=4', '--', '-rf']);
    expect(restoreArguments({ database: 'app', singleTransaction: true })).toContain(
      '--single-transaction',
    );
  });
});

describe('warnings of the programs', () => {
  it('are told without the name of the program', () => {
    const stderr =
      'pg_dump: warning: subscriptions not dumped because current user is not a superuser\n' +
      'pg_dump: dumping contents\n/usr/lib/postgresql/15/bin/pg_restore: warning: errors ignored on restore: 2\n';
    expect(programWarnings(stderr)).toEqual([
      'subscriptions not dumped because current user is not a superuser',
      'errors ignored on restore: 2',
    ]);
  });
});
