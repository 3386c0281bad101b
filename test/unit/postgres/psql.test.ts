/** What psql is told, and what its errors mean. */

import { expect, it } from 'vitest';
import { describePsqlFailure, psqlArguments } from '../../../src/postgres/psql.ts';

const failure = {
  status: 3,
  signal: null,
  database: 'shop__restoring',
  role: 'app',
  linesBefore: 1,
};

it('a name stands in its arguments as it is, and never as a connection string', () => {
  expect(psqlArguments("host=evil 'x'")).toContain("--dbname=dbname='host=evil \\'x\\''");
});

it('an error is told with the line of the file', () => {
  const stderr =
    'psql:<stdin>:4: NOTICE:  a notice\n' +
    'psql:<stdin>:13: ERROR:  relation "u" does not exist\nLINE 1: INSERT INTO u\n';
  const error = describePsqlFailure({ ...failure, stderr });
  expect(error.code).toBe('RESTORE_FAILED');
  expect(error.message).toContain('line 12: ERROR:  relation "u" does not exist');
  expect(error.message).not.toContain('notice');
});

it('a missing role is told with the statement that makes it', () => {
  const stderr = 'psql:<stdin>:9: ERROR:  role "App "x"" does not exist\n';
  const { hint } = describePsqlFailure({ ...failure, stderr });
  expect(hint).toBe('Type CREATE ROLE "App ""x"""; in psql and restore again.');
});

it('a lost server and a killed psql are told as what they are', () => {
  const lost = 'psql:<stdin>:9: server closed the connection unexpectedly\n';
  expect(describePsqlFailure({ ...failure, status: 2, stderr: lost }).code).toBe(
    'DATABASE_UNREACHABLE',
  );
  const killed = describePsqlFailure({ ...failure, status: null, signal: 'SIGKILL', stderr: '' });
  expect(killed.message).toContain('was ended by SIGKILL');
});
