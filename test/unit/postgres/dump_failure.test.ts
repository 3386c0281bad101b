import { describe, expect, it } from 'vitest';
import { describeDumpFailure, type ProgramFailure } from '../../../src/postgres/dump_failure.ts';

const describeIt = (stderr: string, more: Partial<ProgramFailure> = {}) =>
  describeDumpFailure({
    program: 'pg_dump',
    stderr,
    status: 1,
    database: 'app',
    role: 'backup',
    ...more,
  });

/** As pg_dump 15 prints it. */
const refusedTable = (name: string, query: string) =>
  `pg_dump: error: query failed: ERROR:  permission denied for table ${name}\n` +
  `pg_dump: detail: Query was: ${query}\n`;

describe('a dump that is refused a table', () => {
  it('names it with its schema, and the GRANT that mends it', () => {
    const error = describeIt(
      refusedTable('t 1', 'LOCK TABLE public.t, "my schema"."t 1" IN ACCESS SHARE MODE'),
    );
    expect(error.code).toBe('DATABASE_PRIVILEGE');
    expect(error.status).toBe(8);
    expect(error.message).toContain(
      'pg_dump of database "app" ended with status 1: query failed: ERROR:  permission denied for table t 1',
    );
    expect(error.hint).toContain('GRANT SELECT ON TABLE "my schema"."t 1" TO "backup";');
    expect(error.hint).toContain('GRANT pg_read_all_data TO "backup";');
  });

  it('does not guess the schema where two have that name', () => {
    const error = describeIt(refusedTable('t', 'LOCK TABLE a.t, b.t IN ACCESS SHARE MODE'));
    expect(error.hint).toContain('ON TABLE "t" TO');
  });

  it('names no role when it is not known', () => {
    const stderr = 'pg_dump: error: query failed: ERROR:  permission denied for schema x y z\n';
    const error = describeIt(stderr, { role: undefined });
    expect(error.hint).toContain('GRANT USAGE ON SCHEMA "x y z" TO <role>;');
  });

  it('names the large object by its number', () => {
    const stderr = 'pg_dump: error: query failed: ERROR:  permission denied for large object 16403';
    expect(describeIt(stderr).hint).toContain('GRANT SELECT ON LARGE OBJECT 16403 TO "backup";');
  });
});

describe('what a program says when it fails', () => {
  it.each([
    [
      'pg_dump: error: query failed: ERROR:  query would be affected by row-level security policy for table "v"',
      'DATABASE_PRIVILEGE',
      'ALTER ROLE "backup" BYPASSRLS;',
    ],
    [
      'pg_restore: error: could not execute query: ERROR:  must be member of role "o"w"\nCommand was: ALTER TABLE t OWNER TO "o""w";',
      'DATABASE_PRIVILEGE',
      'GRANT "o""w" TO "backup";',
    ],
    [
      'pg_restore: error: could not execute query: ERROR:  must be able to SET ROLE "own"',
      'DATABASE_PRIVILEGE',
      'GRANT "own" TO "backup";',
    ],
    [
      'pg_dump: error: aborting because of server version mismatch\npg_dump: detail: server version: 18.0; pg_dump version: 15.18',
      'TOOL_TOO_OLD',
      "the server's version",
    ],
    [
      'pg_restore: error: unsupported version (1.16) in file header',
      'TOOL_TOO_OLD',
      'a pg_restore as new as',
    ],
    [
      'pg_dump: error: query failed: ERROR:  out of shared memory\nHINT:  You might need to increase "max_locks_per_transaction".',
      'DATABASE_REFUSED',
      'max_locks_per_transaction',
    ],
    [
      'pg_restore: error: could not execute query: ERROR:  could not extend file "base/1/2": No space left on device',
      'NO_SPACE',
      'Free space',
    ],
    [
      'pg_dump: error: Dumping the contents of table "t" failed: PQgetCopyData() failed.\npg_dump: detail: Error message from server: FATAL:  terminating connection due to administrator command',
      'DATABASE_UNREACHABLE',
      'ended the session',
    ],
    [
      'pg_dump: error: could not translate host name "nowhere" to address: Name or service not known',
      'DATABASE_UNREACHABLE',
      'PGHOST',
    ],
    [
      'pg_dump: error: connection to server at "db" (10.0.0.1), port 5432 failed: Connection refused',
      'DATABASE_UNREACHABLE',
      'PGHOST',
    ],
    [
      'pg_dump: error: connection to server on socket "/x" failed: FATAL:  database "app" does not exist',
      'DATABASE_NOT_FOUND',
      'that the server has',
    ],
    [
      'pg_dump: error: connection to server on socket "/x" failed: FATAL:  password authentication failed for user "backup"',
      'DATABASE_AUTH',
      'pg_hba.conf',
    ],
    [
      'pg_restore: error: could not execute query: ERROR:  permission denied to create extension "postgis"',
      'DATABASE_PRIVILEGE',
      'superuser',
    ],
  ])('%s', (stderr, code, hint) => {
    const error = describeIt(stderr);
    expect(error.code).toBe(code);
    expect(error.hint).toContain(hint);
  });

  it('keeps its own words where no rule fits, without progress and warnings', () => {
    const error = describeIt(
      'pg_restore: warning: something\npg_restore: error: could not execute query: ERROR:  type "x" does not exist\nCommand was: CREATE TABLE t (a x);',
      { program: 'pg_restore' },
    );
    expect(error.code).toBe('RESTORE_FAILED');
    expect(error.message).toBe(
      'pg_restore of database "app" ended with status 1: could not execute query: ERROR:  type "x" does not exist; Command was: CREATE TABLE t (a x);',
    );
    expect(describeIt('').code).toBe('DUMP_FAILED');
  });

  it.each([
    { status: 137, signal: null },
    { status: null, signal: 'SIGKILL' },
  ])('that was killed points at the out-of-memory killer: %j', (end) => {
    const error = describeIt('', end);
    expect(error.code).toBe('DUMP_FAILED');
    expect(error.hint).toContain('out-of-memory');
  });
});
