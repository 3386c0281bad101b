import { describe, expect, it } from 'vitest';
import {
  createErrorCollector,
  errorsKeptMax,
  type RestoreError,
} from '../../../src/postgres/restore_errors.ts';

function collect(text: string) {
  const told: RestoreError[] = [];
  const collector = createErrorCollector((error) => told.push(error));
  for (const line of text.split('\n')) collector.line(line);
  return { ...collector.finish(), told };
}

describe('what pg_restore says while it goes on', () => {
  it('is told error by error, with the statement and the details of the server', () => {
    const { count, errors, told } =
      collect(`pg_restore: error: could not execute query: ERROR:  extension "pg_nope" is not available
DETAIL:  Could not open extension control file.
HINT:  The extension must first be installed.
Command was: COMMENT ON EXTENSION pg_nope IS 'a text';
DETAIL: this is in the statement, no detail
Command was: this too


pg_restore: error: could not execute query: ERROR:  relation "x
y" does not exist
LINE 1: ALTER TABLE public."x
Command was: ALTER TABLE public."x
y" OWNER TO postgres;

pg_restore: error: COPY failed for table "a b": ERROR:  duplicate key value
CONTEXT:  COPY a b, line 3
pg_restore: warning: errors ignored on restore: 3`);
    expect(count).toBe(3);
    expect(errors).toEqual(told);
    expect(errors).toEqual([
      {
        command: 'COMMENT ON EXTENSION pg_nope IS',
        message:
          'could not execute query: ERROR:  extension "pg_nope" is not available; ' +
          'Could not open extension control file.; The extension must first be installed.',
      },
      {
        command: 'ALTER TABLE public."x',
        message: 'could not execute query: ERROR:  relation "x',
      },
      {
        command: null,
        message: 'COPY failed for table "a b": ERROR:  duplicate key value; COPY a b, line 3',
      },
    ]);
  });

  it('holds no password', () => {
    const { errors } =
      collect(`pg_restore: error: could not execute query: ERROR:  no password=geheim
Command was: CREATE SUBSCRIPTION s CONNECTION 'host=x password=geheim' PUBLICATION p;`);
    expect(errors[0]?.command).toBe('CREATE SUBSCRIPTION s CONNECTION');
    expect(JSON.stringify(errors)).not.toContain('geheim');
  });

  it('counts an error without a statement, such as the end of a cut file', () => {
    const { errors } = collect('pg_restore: error: could not read from input file: end of file');
    const message = 'could not read from input file: end of file';
    expect(errors).toEqual([{ command: null, message }]);
  });

  it('keeps only so many, and counts all', () => {
    const line = `pg_restore: error: ${'x'.repeat(5000)}\n`;
    const { count, errors, told } = collect(line.repeat(errorsKeptMax + 7));
    expect([count, told.length, errors.length]).toEqual([107, 107, errorsKeptMax]);
    expect(errors[0]?.message.length).toBe(1000);
  });

  it('is nothing without errors', () => {
    expect(collect('pg_restore: warning: something\n\n')).toEqual({
      count: 0,
      errors: [],
      told: [],
    });
  });
});
