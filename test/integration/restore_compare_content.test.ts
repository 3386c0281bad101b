/** The content of a restored database against its backup: every change is found, no other is. */

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { describeDifference } from '../../src/core/compare_content.ts';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { compareWithBackup, restoreByHand } from '../support/restored_copy.ts';
import { openWorkbench, quoted, type TakenBackup, type Workbench } from '../support/workbench.ts';

let cluster: TestCluster;
let bench: Workbench;

beforeAll(async () => {
  cluster = await startTestCluster();
  bench = await openWorkbench(cluster);
});
afterAll(async () => {
  await cluster?.stop({ immediate: true });
  await bench?.remove();
});

/** A database that was backed up, and the copy that pg_restore made of it. */
async function backedUp(name: string, sql: readonly string[]): Promise<TakenBackup> {
  await cluster.sql(`CREATE DATABASE ${quoted(name)}`);
  await cluster.sql(sql, name);
  const taken = await bench.backUp(name);
  await restoreByHand(cluster, bench, taken, `${name} copy`);
  return taken;
}

async function differences(taken: TakenBackup, database: string): Promise<string[]> {
  const comparison = await compareWithBackup(cluster, taken, database);
  expect(comparison.relationNotes).toEqual([]);
  return comparison.differences.map(describeDifference);
}

/**
 * A type, a value of it, and another one that is as long in COPY's text wherever the type has one,
 * so that neither the number of rows nor that of bytes gives it away.
 */
const types: readonly (readonly [type: string, value: string, other: string])[] = [
  ['boolean', 'true', 'false'],
  ['smallint', '-32768', '-32767'],
  ['integer', '2147483647', '2147483646'],
  ['bigint', '-9223372036854775808', '-9223372036854775807'],
  ['numeric', '0.10000000000000000001', '0.10000000000000000002'],
  ['numeric', 'NaN', '0.1'],
  ['real', '0.1', '0.10000001'],
  ['double precision', '0.1', '0.10000000000000002'],
  ['double precision', '-0', '0'],
  ['double precision', '1e-310', '2e-310'],
  ['double precision', 'Infinity', '-Infinity'],
  ['money', '-12.34', '-12.35'],
  ['text', 'a\\b\tc', 'a\\b\nc'],
  ['text', '', 'N'],
  ['varchar(9)', 'é', 'è'],
  ['char(4)', 'a', 'b'],
  ['"char"', 'a', 'b'],
  ['name', 'one', 'two'],
  ['bytea', '\\x00ff5c', '\\x00ff5d'],
  ['date', '4713-01-01 BC', '4713-01-02 BC'],
  ['date', 'infinity', '-infinity'],
  ['time', '23:59:59.999999', '23:59:59.999998'],
  ['timetz', '12:00:00+02', '12:00:00+03'],
  ['timestamp', '2026-03-29 02:30:00.000001', '2026-03-29 02:30:00.000002'],
  ['timestamptz', '2026-03-29 02:30:00.1+02', '2026-03-29 02:30:00.2+02'],
  ['interval', '1 mon -2 days 03:04:05', '1 mon -3 days 03:04:05'],
  ['interval', '1 mon', '30 days'],
  ['uuid', '00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000002'],
  ['json', '{"a": [1, null]}', '{"a":  [1,null]}'],
  ['jsonb', '{"a": [1, null]}', '{"a": [2, null]}'],
  ['jsonpath', '$.a[*]', '$.b[*]'],
  ['xml', '<a b="c">d</a>', '<a b="c">e</a>'],
  ['bit(4)', '0101', '0110'],
  ['bit varying', '0101', '0110'],
  ['inet', '10.0.0.1/8', '10.0.0.2/8'],
  ['cidr', '10.1.0.0/16', '10.2.0.0/16'],
  ['macaddr', '08:00:2b:01:02:03', '08:00:2b:01:02:04'],
  ['macaddr8', '08:00:2b:01:02:03:04:05', '08:00:2b:01:02:03:04:06'],
  ['point', '(0.1,0.2)', '(0.1,0.3)'],
  ['line', '{1,2,3}', '{1,2,4}'],
  ['lseg', '[(0,0),(1,1)]', '[(0,0),(1,2)]'],
  ['box', '(1,1),(0,0)', '(2,1),(0,0)'],
  ['path', '((0,0),(1,1))', '[(0,0),(1,1)]'],
  ['polygon', '((0,0),(1,1),(2,0))', '((0,0),(1,1),(3,0))'],
  ['circle', '<(0,0),1>', '<(0,0),2>'],
  ['tsvector', 'cat:3 fat:2', 'cat:3 fat:4'],
  ['tsquery', 'cat & fat', 'cat | fat'],
  ['int4range', '[1,4)', '[1,5)'],
  ['numrange', '[1.5,2.5)', '(1.5,2.5)'],
  ['tstzrange', '[2026-01-01 00:00+00,)', '[2026-01-02 00:00+00,)'],
  ['int4multirange', '{[1,3),[7,)}', '{[1,3),[8,)}'],
  ['int[]', '{1,NULL,3}', '{1,NULL,4}'],
  ['int[]', '{{1,2},{3,4}}', '{{1,2},{3,5}}'],
  ['text[]', '{"a,b",NULL,"NULL"}', '{"a,c",NULL,"NULL"}'],
  ['timestamptz[]', '{"2026-01-01 00:00+00"}', '{"2026-01-01 01:00+00"}'],
  ['bytea[]', '{"\\\\x00"}', '{"\\\\x01"}'],
  ['oid', '4294967295', '4294967294'],
  ['xid', '100', '101'],
  ['tid', '(0,1)', '(0,2)'],
  ['pg_lsn', '0/16B3748', '0/16B3749'],
  ['regclass', 'pg_class', 'pg_type'],
  ['regtype', 'integer', 'boolean'],
  ['regrole', 'postgres', 'pg_monitor'],
  ['aclitem', 'postgres=r/postgres', 'postgres=w/postgres'],
  ['state', 'new', 'old'],
  ['pair', '(1,"q ""x""")', '(2,"q ""x""")'],
  ['pair[]', '{"(1,a)"}', '{"(1,b)"}'],
  ['short', 'd', 'e'],
  ['span', '[1.5,2.5)', '[1.5,2.5]'],
  ['hstore', 'a=>1', 'a=>2'],
  ['citext', 'MiXed', 'MIxed'],
  ['ltree', 'a.b', 'a.c'],
  ['cube', '(1.1, 2.2)', '(1.1, 2.3)'],
];

const literal = (text: string) => `E'${text.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;

describe('a single row that was changed', () => {
  const tableOf = (index: number) => quoted(`${index} ${types[index]?.[0]}`);

  it('is found whatever its type, and its table is named', async () => {
    const sql = [
      ...['hstore', 'citext', 'ltree', 'cube'].map((name) => `CREATE EXTENSION ${name}`),
      `CREATE TYPE state AS ENUM ('new', 'old')`,
      'CREATE TYPE pair AS (x int, y text)',
      'CREATE DOMAIN short AS text CHECK (length(VALUE) < 3)',
      'CREATE TYPE span AS RANGE (subtype = float8)',
      ...types.flatMap(([type, value], index) => [
        `CREATE TABLE ${tableOf(index)} (id int, value ${type})`,
        `INSERT INTO ${tableOf(index)} VALUES
           (1, ${literal(value)}), (2, NULL), (3, ${literal(value)})`,
      ]),
    ];
    const taken = await backedUp('types', sql);
    expect(await differences(taken, 'types copy')).toEqual([]);
    for (const [index, [, , other]] of types.entries()) {
      const change = `UPDATE ${tableOf(index)} SET value = ${literal(other)} WHERE id = 3`;
      await cluster.sql(change, 'types copy');
    }
    const expected = types.map(
      (_, index) => `"public".${tableOf(index)} has other values in its 3 rows`,
    );
    expect((await differences(taken, 'types copy')).sort()).toEqual(expected.sort());
  });
});

describe('what is no difference', () => {
  /** Puts the rows of a table into another order on the disk. */
  const reorder = (table: string) => [
    `CREATE TABLE moved AS SELECT * FROM ${table}`,
    `DELETE FROM ${table}`,
    `INSERT INTO ${table} SELECT * FROM moved ORDER BY md5(moved::text)`,
    'DROP TABLE moved',
  ];

  it('rows in another order, unless one was changed or is there instead of another', async () => {
    const taken = await backedUp('ordered', [
      `CREATE TABLE goods AS
         SELECT n AS id, repeat(md5(n::text), n % 40) AS name FROM generate_series(1, 5000) AS n`,
      `CREATE TABLE large AS SELECT repeat(md5(n::text), 20000) AS t FROM generate_series(1, 9) n`,
      'CREATE TABLE untouched AS SELECT 1 AS a',
    ]);
    for (const table of ['goods', 'large']) await cluster.sql(reorder(table), 'ordered copy');
    expect(await differences(taken, 'ordered copy')).toEqual([]);

    const digits = "translate(name, '0123456789', '1234567890')";
    await cluster.sql(`UPDATE goods SET name = ${digits} WHERE id = 4321`, 'ordered copy');
    const changed = ['"public"."goods" has other values in its 5000 rows'];
    expect(await differences(taken, 'ordered copy')).toEqual(changed);
    await cluster.sql("UPDATE goods SET name = '' WHERE id = 4321", 'ordered copy');
    expect(await differences(taken, 'ordered copy')).toEqual(changed);

    await cluster.sql(
      [
        "UPDATE large SET t = left(t, -1) || '.' WHERE t LIKE md5('7') || '%'",
        'DELETE FROM goods WHERE id = 4321',
        'INSERT INTO goods SELECT * FROM goods WHERE id = 1321',
      ],
      'ordered copy',
    );
    expect(await differences(taken, 'ordered copy')).toEqual([
      ...changed,
      '"public"."large" has other values in its 9 rows',
    ]);
  });

  it('rows in other partitions: what is changed is told of the partitioned table', async () => {
    const taken = await backedUp('parted', [
      'CREATE SCHEMA "odd ""s"""',
      'CREATE TABLE "odd ""s""".parted (a int, b text, c int) PARTITION BY RANGE (a)',
      'CREATE TABLE low PARTITION OF "odd ""s""".parted FOR VALUES FROM (0) TO (500)',
      'CREATE TABLE high (c int, dropped int, b text, a int)',
      'ALTER TABLE high DROP dropped',
      'ALTER TABLE "odd ""s""".parted ATTACH PARTITION high FOR VALUES FROM (500) TO (1000)',
      `INSERT INTO "odd ""s""".parted SELECT n, md5(n::text), n / 7 FROM generate_series(0, 999) n`,
    ]);
    await cluster.sql(
      [
        'CREATE TABLE kept AS SELECT * FROM "odd ""s""".parted',
        'DROP TABLE low, high',
        'CREATE TABLE low PARTITION OF "odd ""s""".parted FOR VALUES FROM (0) TO (50)',
        'CREATE TABLE high PARTITION OF "odd ""s""".parted FOR VALUES FROM (50) TO (1000)',
        'INSERT INTO "odd ""s""".parted SELECT * FROM kept',
        'DROP TABLE kept',
      ],
      'parted copy',
    );
    expect(await differences(taken, 'parted copy')).toEqual([]);
    await cluster.sql('UPDATE "odd ""s""".parted SET c = 71 WHERE a = 499', 'parted copy');
    expect(await differences(taken, 'parted copy')).toEqual([]);
    await cluster.sql('UPDATE "odd ""s""".parted SET c = 72 WHERE a = 499', 'parted copy');
    expect(await differences(taken, 'parted copy')).toEqual([
      '"odd ""s"""."parted" has other values in its 1000 rows',
    ]);
    await cluster.sql('DELETE FROM "odd ""s""".parted WHERE a = 600', 'parted copy');
    expect(await differences(taken, 'parted copy')).toEqual([
      '"odd ""s"""."parted" has 999 of 1000 rows',
    ]);
  });

  it('columns that a restore has put into another order', async () => {
    const taken = await backedUp('inherited', [
      'CREATE TABLE parent (a int, t text)',
      'CREATE TABLE child (b text, "c, ""d""" bytea) INHERITS (parent)',
      'ALTER TABLE parent ADD late timestamptz',
      `INSERT INTO child VALUES
         (1, E'tab\\t', 'new\nline', '\\x00', now()),
         (2, NULL, '', NULL, NULL)`,
      'INSERT INTO parent VALUES (3)',
    ]);
    const columns = `SELECT string_agg(attname, ' ' ORDER BY attnum) AS names FROM pg_attribute
                      WHERE attrelid = 'child'::regclass AND attnum > 0`;
    const [before] = await cluster.sql(columns, 'inherited');
    const [after] = await cluster.sql(columns, 'inherited copy');
    expect(after).not.toEqual(before);
    expect(await differences(taken, 'inherited copy')).toEqual([]);
    await cluster.sql("UPDATE child SET b = 'x' WHERE a = 2", 'inherited copy');
    expect(await differences(taken, 'inherited copy')).toEqual([
      '"public"."child" has other values in its 2 rows',
    ]);
    // The same bytes in another column of the same row.
    await cluster.sql("UPDATE child SET b = '', t = NULL, a = 2 WHERE a = 2", 'inherited copy');
    await cluster.sql("UPDATE child SET b = t, t = '' WHERE a = 2", 'inherited copy');
    expect(await differences(taken, 'inherited copy')).toEqual([
      '"public"."child" has other values in its 2 rows',
    ]);
  });

  it('what the database, the role or the server has set', async () => {
    const settings = [
      "TimeZone TO 'America/New_York'",
      'bytea_output TO escape',
      "DateStyle TO 'SQL, DMY'",
      'IntervalStyle TO iso_8601',
      'extra_float_digits TO -10',
      'quote_all_identifiers TO on',
      'search_path TO odd, public',
      'xmlbinary TO hex',
      'client_encoding TO LATIN1',
      'default_transaction_read_only TO on',
    ];
    await cluster.sql('CREATE DATABASE settled');
    await cluster.sql(
      [
        'CREATE SCHEMA odd',
        `CREATE TABLE odd.kinds AS SELECT '2026-03-29 02:30:00.1+02'::timestamptz AS a,
           '\\x00ff'::bytea AS b, '1 mon -2 days'::interval AS c, 0.1::float4 AS d,
           0.1::float8 + 0.2 AS e, 'odd'::regnamespace AS f, 'pg_class'::regclass AS g,
           ARRAY['2026-03-04'::date] AS h, '12:00+02'::timetz AS i, 'é'::text AS j`,
      ],
      'settled',
    );
    for (const setting of settings) await cluster.sql(`ALTER DATABASE settled SET ${setting}`);
    const taken = await bench.backUp('settled');
    await restoreByHand(cluster, bench, taken, 'settled copy');
    expect(await differences(taken, 'settled copy')).toEqual([]);
    for (const setting of ["TimeZone TO 'Asia/Tokyo'", 'quote_all_identifiers TO on']) {
      await cluster.sql(`ALTER DATABASE "settled copy" SET ${setting}`);
    }
    await cluster.sql('CREATE ROLE clerk SUPERUSER LOGIN');
    await cluster.sql('ALTER ROLE clerk SET bytea_output TO escape');
    await cluster.sql('ALTER ROLE clerk SET client_encoding TO LATIN9');
    const as = await bench.backUp('settled', [], { PGUSER: 'clerk' });
    expect(await differences(as, 'settled copy')).toEqual([]);
    expect(as.manifest.tables).toEqual(taken.manifest.tables);
  });
});

describe('beside the rows of plain tables', () => {
  let taken: TakenBackup;

  beforeAll(async () => {
    taken = await backedUp('kinds', [
      'CREATE TABLE no_columns ()',
      'INSERT INTO no_columns SELECT FROM generate_series(1, 7)',
      'CREATE TABLE empty (a int)',
      'CREATE UNLOGGED TABLE unlogged AS SELECT n AS a FROM generate_series(1, 9) AS n',
      'CREATE TABLE made (n int, dropped int, twice int GENERATED ALWAYS AS (n * 2) STORED)',
      'INSERT INTO made SELECT generate_series(1, 40)',
      'ALTER TABLE made DROP dropped',
      'CREATE TABLE numbered (id int GENERATED ALWAYS AS IDENTITY, own serial, t text)',
      "INSERT INTO numbered (t) SELECT 'x' FROM generate_series(1, 5)",
      'ALTER TABLE numbered ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY',
      'CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM numbered',
      'CREATE VIEW seen AS SELECT * FROM numbered',
      'CREATE SEQUENCE alone START 5 INCREMENT -3 MINVALUE -9223372036854775807 MAXVALUE 100',
      "SELECT setval('alone', -9007199254740993)",
      `SELECT lo_from_bytea(42, '\\x00010203'), lo_create(43),
              lo_from_bytea(44, decode(repeat('c0ffee', 100000), 'hex'))`,
    ]);
  });

  it('nothing differs after a restore', async () => {
    expect(await differences(taken, 'kinds copy')).toEqual([]);
  });

  it.each([
    [
      'rows without columns',
      'INSERT INTO no_columns DEFAULT VALUES',
      /"no_columns" has 8 of 7 rows/,
    ],
    ['an empty table that is not', 'INSERT INTO empty VALUES (NULL)', /"empty" has 1 of 0 rows/],
    ['an unlogged table', 'UPDATE unlogged SET a = 8 WHERE a = 9', /"unlogged" has other values/],
    ['a column beside a generated one', 'UPDATE made SET n = 0 WHERE n = 7', /"made" has other/],
    ['a table with security by row', "UPDATE numbered SET t = 'y' WHERE id = 3", /"numbered" has/],
    ['a table that is missing', 'DROP TABLE empty', /^"public"."empty" is missing$/],
    [
      'a sequence',
      "SELECT setval('alone', -9007199254740992)",
      /"alone" stands at -9007199254740992, true, not at -9007199254740993, true/,
    ],
    [
      'a sequence that was not called',
      "SELECT setval('numbered_own_seq', 5, false)",
      /at 5, false/,
    ],
    ['a missing sequence', 'DROP SEQUENCE alone', /^the sequence "public"."alone" is missing$/],
    ['one byte of a large object', "SELECT lo_put(44, 150000, '\\x00')", /the 3 large objects are/],
    ['a large object less', 'SELECT lo_unlink(43)', /there are 2 of 3 large objects/],
    [
      'a large object under another number',
      'SELECT lo_unlink(43), lo_create(45)',
      /the 3 large objects are not the same/,
    ],
  ])('%s', async (_what, change, words) => {
    await cluster.sql('DROP DATABASE IF EXISTS changed');
    await cluster.sql('CREATE DATABASE changed TEMPLATE "kinds copy"');
    await cluster.sql(change, 'changed');
    const comparison = await compareWithBackup(cluster, taken, 'changed');
    const [found, ...others] = comparison.differences.map(describeDifference);
    expect(others).toEqual([]);
    expect(found).toMatch(words);
  });

  it('a table that the backup does not have is told, and is no difference', async () => {
    await cluster.sql('DROP DATABASE IF EXISTS changed');
    await cluster.sql('CREATE DATABASE changed TEMPLATE "kinds copy"');
    await cluster.sql('CREATE TABLE more AS SELECT 1 AS a', 'changed');
    const comparison = await compareWithBackup(cluster, taken, 'changed');
    expect(comparison).toMatchObject({ differences: [], tables: 5, rows: 61 });
    expect(comparison.relationNotes).toEqual([
      '5 tables were backed up, 6 were restored',
      '"public"."more" has rows, and is not in the backup',
    ]);
  });
});
