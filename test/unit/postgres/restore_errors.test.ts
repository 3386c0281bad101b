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
  it('is told error by error, with its object and the details of the server', () => {
    const { count, errors, told } = collect(`pg_restore: while PROCESSING TOC:
pg_restore: from TOC entry 2; 3079 16385 EXTENSION pg_nope (no owner)
pg_restore: error: could not execute query: ERROR:  extension "pg_nope" is not available
DETAIL:  Could not open extension control file.
HINT:  The extension must first be installed.
Command was: CREATE EXTENSION IF NOT EXISTS pg_nope WITH SCHEMA public;
DETAIL: this is in the command, no detail


pg_restore: from TOC entry 3378; 0 16390 TABLE DATA a b postgres
pg_restore: error: COPY failed for table "a b": ERROR:  duplicate key value
CONTEXT:  COPY a b, line 3
pg_restore: warning: errors ignored on restore: 2`);
    expect(count).toBe(2);
    expect(errors).toEqual(told);
    expect(errors).toEqual([
      {
        object: 'EXTENSION pg_nope (no owner)',
        message:
          'could not execute query: ERROR:  extension "pg_nope" is not available; ' +
          'Could not open extension control file.; The extension must first be installed.',
      },
      {
        object: 'TABLE DATA a b postgres',
        message: 'COPY failed for table "a b": ERROR:  duplicate key value; COPY a b, line 3',
      },
    ]);
  });

  it('counts an error without an object, such as the end of a cut file', () => {
    expect(
      collect('pg_restore: error: could not read from input file: end of file').errors,
    ).toEqual([{ object: null, message: 'could not read from input file: end of file' }]);
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
