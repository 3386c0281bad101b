/** What is learnt from a text of SQL, wherever its chunks are cut. */

import { readFile } from 'node:fs/promises';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createSqlScanner, type SqlReading } from '../../../src/postgres/sql_scanner.ts';

function scan(text: string | Buffer, cuts: readonly number[] = []): SqlReading {
  const bytes = Buffer.from(text);
  const scanner = createSqlScanner();
  let from = 0;
  for (const cut of [...cuts, bytes.length].toSorted((a, b) => a - b)) {
    if (cut < from || cut > bytes.length) continue;
    // A copy that is overwritten afterwards: nothing may hold on to a chunk.
    const chunk = Buffer.from(bytes.subarray(from, cut));
    scanner.update(chunk);
    chunk.fill(0x5c);
    from = cut;
  }
  return scanner.finish();
}

const sectionOf = (text: string) => scan(text).sections[0];
const problemOf = (text: string) => scan(text).problem?.message ?? null;

/** Pieces of SQL, many of them odd, from which texts are put together. */
const fragments = [
  "SELECT 'a;b' ;\n",
  "SELECT E'a\\'; \\\\', '';\n",
  "SELECT E'a''b\\'c';\n",
  'SELECT "a;""b" ;\n',
  'DO $$ ; \\! $$;\n',
  'DO $a$ $$ $b$ $a $a$;\n',
  'SELECT 1 - 2 / 3, $1, a$b$c;\n',
  '-- a comment; with \'quotes" and \\ \n',
  '/* a /* nested; */ comment \\ */\n',
  'COPY t (a, b) FROM stdin;\n1\t\\N\n\\.x\n;\\! \n\\.\n',
  'COPY t FROM stdin;\n\\.\n',
  'COPY t FROM STDIN WITH (FORMAT csv);\r\n1,2\r\n\\.\r\n',
  "COPY (SELECT 'from stdin') TO stdout;\n",
  'CREATE TABLE t (a int);\n',
  'CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT CASE WHEN a THEN 1 END; END;\n',
  'CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2);\n',
  "INSERT INTO t VALUES (1, 'ünï\ncödé', NULL, E'\\n');\n",
  'ALTER TABLE t OWNER TO "Näme ""x""";\n',
  'GRANT ALL ON TABLE t TO reader WITH GRANT OPTION;\n',
  'ALTER DATABASE shop SET work_mem = 1;\n',
  "SET client_encoding = 'UTF8';\nSET transaction_timeout = 0;\n",
  '\\restrict abc\n',
  '\\unrestrict abc\n',
  '\\connect shop\n',
  "\\encoding SQL_ASCII\n\\connect -reuse-previous=on \"dbname='odd ''name'\"\n",
  "CREATE DATABASE shop WITH TEMPLATE = template0 ENCODING = 'UTF8' LC_COLLATE = 'C';\n",
  "SELECT 'ends in a backslash\\';\n",
  '-- PostgreSQL database dump\n',
  '-- PostgreSQL database dump complete\n',
  '/',
  '-',
  "'",
  '$',
  '\\! id\n',
  'E',
  ';\n',
  '(',
  '\0',
];

describe('wherever it is cut', () => {
  it('one byte at a time, and in random chunks', () => {
    const texts = fc.array(fc.constantFrom(...fragments), { maxLength: 25 });
    const cuts = fc.array(fc.nat(1500), { maxLength: 30 });
    fc.assert(
      fc.property(texts, cuts, (parts, where) => {
        const text = parts.join('');
        const whole = scan(text);
        expect(scan(text, where)).toEqual(whole);
        expect(scan(text, [...Buffer.from(text).keys()])).toEqual(whole);
      }),
      { numRuns: 400 },
    );
  });

  it('a text of what pg_dump writes is cut wherever its last line is not there yet', async () => {
    const name = new URL('../../support/fixtures/plain_dump.sql', import.meta.url);
    const bytes = await readFile(name);
    expect(scan(bytes).problem).toBe(null);
    const end = bytes.indexOf('-- PostgreSQL database dump complete') + 36;
    for (let length = 1; length < bytes.length; length += 1) {
      const { problem } = scan(bytes.subarray(0, length));
      if (length < end) expect(['cut', 'not-sql'], `${length} bytes`).toContain(problem?.kind);
      // Behind it nothing but a comment and \unrestrict follows; half a dash is told as cut.
      else if (!bytes.subarray(0, length).toString().endsWith('\n-'))
        expect(problem, `${length} bytes`).toBe(null);
    }
  });
});

describe('statements', () => {
  it.each(fragments.slice(0, 20))('%j is one statement, or none', (fragment) => {
    const section = sectionOf(`${fragment}CREATE TABLE last (a int);\n`);
    expect(section?.createdTables).toBeGreaterThan(0);
    expect(section?.statements).toBeLessThanOrEqual(2);
  });

  it('rows of COPY, and INSERT statements', () => {
    const rows = 'COPY a FROM stdin;\n1\n2\n3\n\\.\nCOPY b (\n x) FROM stdin ;\nx\n\\.\n';
    const text = `${rows}INSERT INTO c VALUES (1);INSERT INTO c VALUES (';');\n`;
    expect(sectionOf(text)).toMatchObject({ copies: 2, rows: 4, inserts: 2, statements: 4 });
  });

  it('the roles that it needs', () => {
    const section = sectionOf(
      'CREATE ROLE here;\nALTER TABLE a OWNER TO plain;\nALTER TABLE b OWNER TO "Odd ""one""";\n' +
        'GRANT SELECT ON TABLE a TO reader;\nREVOKE ALL ON SCHEMA public FROM PUBLIC;\n' +
        'GRANT ALL ON TABLE a TO "public";\nALTER TABLE a OWNER TO plain;\n',
    );
    expect([...(section?.roles ?? [])]).toEqual([
      ['plain', 2],
      ['Odd "one"', 3],
      ['reader', 4],
      ['public', 6],
    ]);
  });

  it.each([
    'CREATE DATABASE a;',
    'DROP DATABASE IF EXISTS "a b";',
    '/* x */ alter /* y */ database a RENAME TO b;',
    "COMMENT ON DATABASE a IS 'x';",
    'GRANT CONNECT, TEMPORARY ON DATABASE a TO b;',
    'REVOKE ALL ON DATABASE a FROM PUBLIC;',
    "SECURITY LABEL FOR x ON DATABASE a IS 'y';",
    "ALTER ROLE b IN DATABASE a SET work_mem TO '1MB';",
    'ALTER ROLE "b c" IN DATABASE a RESET ALL;',
  ])('%s is about a database as a whole', (text) => {
    expect(scan(text).pieces.map(({ kind, start }) => [kind, start])).toEqual([
      ['database', text.indexOf(text.trim().startsWith('/*') ? 'alter' : (text[0] ?? ''))],
    ]);
  });

  it.each(['COMMENT ON TABLE a IS $$ON DATABASE x$$;', 'CREATE TABLE database (a int);'])(
    '%s is not',
    (text) => {
      expect(scan(text).pieces).toEqual([]);
    },
  );

  it('the databases of pg_dumpall, and what each would be made with', () => {
    const text =
      "CREATE DATABASE \"Odd\" WITH TEMPLATE = template0 ENCODING = 'LATIN1' LC_CTYPE = 'C';\n" +
      '\\connect "Odd"\nCREATE TABLE a (a int);\n\\connect postgres\nSELECT 1;\n';
    const { sections, databases } = scan(text);
    expect(sections.map(({ database, createdTables }) => [database, createdTables])).toEqual([
      [null, 0],
      ['Odd', 1],
      ['postgres', 0],
    ]);
    expect(databases).toEqual([{ name: 'Odd', options: "ENCODING = 'LATIN1' LC_CTYPE = 'C'" }]);
  });
});

describe('commands to psql', () => {
  it.each([
    '\\! id',
    'SELECT 1; \\! id',
    'SELECT 1 \\g |id',
    '-- x\r\\! id',
    '/* x */ \\! id',
    "SELECT 'x' \\! id",
    'DO $a$ $a$ \\! id',
    'SELECT 1 \\;',
    '\\connect a b',
    '\\connect `id`',
    '\\connect a \\! id',
    '\\restrict a \\! id',
    '\\restrict `id`',
    'SELECT 1 \\restrict a',
    '\\.',
    `\\! ${'x'.repeat(10_000)}`,
  ])('%s is refused', (line) => {
    expect(problemOf(`CREATE TABLE t (a int);\n${line}\n;`)).toMatch(
      /^line 2 is a command to psql/,
    );
  });

  it.each([
    "SELECT '\\! id';",
    "SELECT E'\\'\\! id';",
    'SELECT "\\! id";',
    'DO $x$ \\! id $x$;',
    '-- \\! id\n;',
    '/* \\! /* */ \\! */;',
    'COPY t FROM stdin;\n\\! id\n\\.',
    '\\restrict abc',
    '\\connect shop',
  ])('%j is none', (text) => {
    expect(problemOf(`SELECT 1;\n${text}`)).toBe(null);
  });

  it('tells from which line on another psql may read it in another way', () => {
    expect(scan("SELECT 1;\nSELECT 'a\\';\nSELECT 2;").ambiguousLine).toBe(2);
    expect(scan("SELECT 1;\nSELECT E'a\\\\', 'a\\\\', 'a\\b';").ambiguousLine).toBe(null);
    expect(scan("\n\nSET client_encoding = 'SJIS';").ambiguousLine).toBe(3);
    expect(scan('SELECT 1a$b$;').ambiguousLine).toBe(1);
    expect(scan('COPY t FROM stdin; SELECT 1;\n\\.\n').ambiguousLine).toBe(2);
  });
});

describe('what is wrong with a text', () => {
  it.each([
    ['SELECT 1; SELECT 1', /^ends in the middle of a statement/],
    ['SELECT 1', /^holds no whole statement/],
    ['-- nothing', /^holds no whole statement/],
    ["SELECT 1; SELECT 'a", /^ends inside of quotes/],
    ['SELECT 1; DO $$ a', /^ends inside of quotes/],
    ['SELECT 1; /* a', /^ends inside of a comment/],
    ['COPY t FROM stdin;\n1\n', /^ends in the middle of the rows/],
    ['COPY t FROM stdin;\n1\n\\.x', /^ends in the middle of the rows/],
    ['-- PostgreSQL database dump\nSELECT 1;\n', /^lacks the last line/],
    ['-- PostgreSQL database dump\n-- PostgreSQL database dump complet', /^lacks the last line/],
    ['SELECT 1;\n\0', /^line 2 holds a zero byte/],
    ['hello;', /^line 1 begins with "hello"/],
    ['hello', /^holds no whole statement/],
    ['-- MariaDB dump 10.19\n', /^is a dump of MariaDB/],
  ])('%j', (text, words) => {
    expect(problemOf(text)).toMatch(words);
  });

  it('nothing is, with COPY to the very end, and with a byte order mark', () => {
    expect(problemOf('COPY t FROM stdin;\n1\n\\.')).toBe(null);
    expect(problemOf('\ufeffSELECT 1;')).toBe(null);
    expect(scan('\ufeffSELECT 1;').pieces).toMatchObject([{ start: 0, end: 3 }]);
  });
});

it('keeps nothing of a text that has no end', () => {
  const scanner = createSqlScanner();
  const chunk = Buffer.alloc(512 * 1024, 'x ');
  scanner.update(Buffer.from('SELECT 1; SELECT '));
  const before = process.memoryUsage().arrayBuffers;
  for (let part = 0; part < 32; part += 1) scanner.update(chunk);
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(8 * 1024 * 1024);
  expect(scanner.finish().problem?.kind).toBe('cut');
});
