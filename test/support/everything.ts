/** A database with everything in it that PostgreSQL has, under names that ask for trouble. */

import { quoted } from './workbench.ts';

/** A text of exactly that many bytes, as long as a name may be. */
function padded(text: string, bytes = 63): string {
  const missing = bytes - Buffer.byteLength(text);
  return `${text}${'é'.repeat(Math.floor(missing / 2))}${'x'.repeat(missing % 2)}`;
}

/** A file that is there if a name was ever executed. */
export const executedMarker = '/tmp/holdfast-oops';

export const names = {
  database: padded(`mäster "t" 'q' $(touch ${executedMarker})\n;%s `),
  owner: 'öwner "o" \'q\' $(id)\n;',
  app: 'app user',
  reader: 'reader',
  schema: 'odd "schema" \'q\'',
  table: padded('a "table"\n$(touch x) '),
  column: 'a "column"\n\'q\' ',
} as const;

const database = quoted(names.database);
const owner = quoted(names.owner);
const app = quoted(names.app);
const schema = quoted(names.schema);
const table = `${schema}.${quoted(names.table)}`;
const column = quoted(names.column);

/** Runs in `postgres`. */
export const rolesSql: readonly string[] = [
  `CREATE ROLE ${owner} LOGIN CREATEDB PASSWORD 'owner''s "secret"' CONNECTION LIMIT 77
     VALID UNTIL '2032-03-04 05:06:07+00'`,
  `CREATE ROLE ${names.reader} NOLOGIN`,
  `CREATE ROLE ${app} LOGIN PASSWORD 'at first' IN ROLE ${names.reader}`,
  `COMMENT ON ROLE ${app} IS 'it''s\nthe application'`,
  `ALTER ROLE ${app} SET search_path TO ${schema}, public`,
];

/** Runs in `postgres`, before {@link contentSql}. */
export const databaseSql: readonly string[] = [
  `CREATE DATABASE ${database} OWNER ${owner} TEMPLATE template0 ENCODING 'UTF8'
     LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'`,
];

/** Runs in `postgres`, after {@link contentSql}: some of it would be in the way before. */
export const propertiesSql: readonly string[] = [
  `ALTER DATABASE ${database} SET search_path TO public, ${schema}, "$user"`,
  `ALTER DATABASE ${database} SET "holdfast.setting" TO 'it''s "quoted"; $(id)'`,
  `ALTER DATABASE ${database} SET TimeZone TO 'America/New_York'`,
  `ALTER DATABASE ${database} SET bytea_output TO 'escape'`,
  `ALTER DATABASE ${database} SET DateStyle TO 'SQL, DMY'`,
  `ALTER DATABASE ${database} SET extra_float_digits TO 0`,
  `ALTER DATABASE ${database} SET default_transaction_read_only TO on`,
  `ALTER ROLE ${app} IN DATABASE ${database} SET work_mem TO '9MB'`,
  `ALTER DATABASE ${database} CONNECTION LIMIT 50`,
  `REVOKE ALL ON DATABASE ${database} FROM PUBLIC`,
  `GRANT CONNECT ON DATABASE ${database} TO ${app} WITH GRANT OPTION`,
  `GRANT TEMPORARY ON DATABASE ${database} TO ${names.reader}`,
  `COMMENT ON DATABASE ${database} IS 'holdfast''s "everything"\n$(id) ☃'`,
];

const typesSql = `
  CREATE SCHEMA ${schema} AUTHORIZATION ${owner};
  CREATE SCHEMA ext;
  GRANT USAGE ON SCHEMA ext TO PUBLIC;
  CREATE EXTENSION hstore SCHEMA ext;
  CREATE EXTENSION citext SCHEMA ext;
  CREATE EXTENSION pg_trgm;
  CREATE EXTENSION btree_gist;
  CREATE EXTENSION holdfast_config;
  INSERT INTO config_all VALUES ('a', 'one'), ('b', E'two\\nlines');
  INSERT INTO config_own (key, value) VALUES ('colour of mine', 'green');
  SELECT setval('config_number', 41);
  CREATE TYPE state AS ENUM ('new', 'open ''quoted''', 'done');
  CREATE TYPE point3 AS (x int, y int, z text);
  CREATE TYPE span AS RANGE (subtype = float8, subtype_diff = float8mi);
  CREATE DOMAIN short AS text COLLATE "C" DEFAULT 'd' CHECK (length(VALUE) < 40);
  CREATE COLLATION german FROM "C";
  CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql IMMUTABLE RETURN $1 * 2;
  CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS
    $f$ BEGIN NEW.touched := coalesce(NEW.touched, 0) + 1; RETURN NEW; END $f$;
  CREATE PROCEDURE nothing() LANGUAGE sql AS $f$ SELECT 1 $f$;
  CREATE AGGREGATE total (int) (sfunc = int4pl, stype = int, initcond = '0');
`;

const tablesSql = `
  CREATE TABLE kinds (
    id int GENERATED ALWAYS AS IDENTITY (START 100 INCREMENT 7) PRIMARY KEY,
    dropped text,
    doubled int GENERATED ALWAYS AS (small * 2) STORED,
    small int, f float8, n numeric, t timestamptz, d date, i interval, b bytea, j jsonb,
    a text[], r int4range, m int4multirange, s span, p point3, e state, h ext.hstore, c ext.citext,
    w short, x xml, u uuid, v tsvector, g point, bits bit varying, "from" inet, z text COLLATE german
  );
  ALTER TABLE kinds DROP COLUMN dropped;
  INSERT INTO kinds (small, f, n, t, d, i, b, j, a, r, m, s, p, e, h, c, w, u, v, g, bits, "from", z)
  VALUES
    (1, 'NaN', 'NaN', 'infinity', '-infinity', '1 mon -2 days', '\\x00ff5c', '{"a": [1, null]}',
     '{a,NULL,"b,c","\\\\N"}', 'empty', '{[1,3),[7,)}', '[1.5,2.5)', '(1,2,"q ""x""")', 'new',
     'a=>1, "b c"=>NULL', 'MiXed', 'd', '00000000-0000-0000-0000-000000000001',
     'fat:2 cat:3', '(1,2)', B'0101', '10.0.0.1/8', E'tab\\tnewline\\nbackslash\\\\N\\r'),
    (2, '-Infinity', 'Infinity', '0044-03-15 12:00 BC', '9999-12-31', '-00:00:01.5', '', 'null',
     '{}', '[3,)', '{}', '(,)', NULL, 'done', '', '', '', NULL, '', NULL, B'', '::1', ''),
    (3, 1e-310, '-Infinity', '2026-03-29 02:30:00.123456+02', NULL, NULL, NULL, NULL, NULL, NULL,
     NULL, NULL, NULL, 'open ''quoted''', NULL, NULL, '☃', NULL, NULL, NULL, NULL, NULL, '\\.'),
    (4, 0.1, 1e-20, now(), current_date, NULL, decode(repeat('00ff', 5000), 'hex'), NULL, NULL,
     NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, repeat('lang ', 5000));
  CREATE TABLE numbered (id serial PRIMARY KEY, big bigserial, ref int REFERENCES kinds
    ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED, touched int, name text);
  INSERT INTO numbered (ref, name) SELECT 100, md5(n::text) FROM generate_series(1, 20000) AS n;
  DELETE FROM numbered WHERE id % 10 = 3;
  SET CONSTRAINTS ALL IMMEDIATE;
  CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON numbered FOR EACH ROW EXECUTE FUNCTION touch();
  CREATE TRIGGER never BEFORE DELETE ON numbered FOR EACH ROW EXECUTE FUNCTION touch();
  ALTER TABLE numbered DISABLE TRIGGER never;
  CREATE INDEX numbered_trgm ON numbered USING gin (name gin_trgm_ops);
  CREATE UNIQUE INDEX numbered_part ON numbered (lower(name)) WHERE id < 10;
  CREATE STATISTICS numbered_stats ON ref, touched FROM numbered;
  ALTER TABLE numbered ALTER name SET STATISTICS 500, CLUSTER ON numbered_pkey;
  CREATE SEQUENCE lone START 5 INCREMENT -3 MINVALUE -100 MAXVALUE 100 CYCLE;
  SELECT nextval('lone'), nextval('lone');
  CREATE SEQUENCE untouched START 17;
  CREATE TABLE ${table} (${column} text PRIMARY KEY, "$(id)" int DEFAULT 3, "ünï" text);
  INSERT INTO ${table} VALUES (E'a\\nb', 1, 'é'), ('"', 2, ''''), ('$(touch x)', NULL, NULL);
  ALTER TABLE ${table} OWNER TO ${owner};
  COMMENT ON TABLE ${table} IS E'a comment\\nof two lines; DROP TABLE kinds;';
  COMMENT ON COLUMN ${table}.${column} IS '$(id)';
  GRANT SELECT, UPDATE ON ${table} TO ${app};
  GRANT SELECT (${column}) ON ${table} TO ${names.reader};
  CREATE TABLE no_columns ();
  INSERT INTO no_columns DEFAULT VALUES;
  INSERT INTO no_columns DEFAULT VALUES;
  CREATE TABLE empty (id int, EXCLUDE USING gist (id WITH =));
  CREATE UNLOGGED TABLE unlogged AS SELECT 1 AS a;
  CREATE TABLE parent (a int);
  CREATE TABLE child (b text) INHERITS (parent);
  INSERT INTO parent VALUES (1), (2);
  INSERT INTO child VALUES (3, 'c'), (4, 'd'), (5, 'e');
`;

const partitionsSql = `
  CREATE TABLE by_state (id int, s state) PARTITION BY HASH (s);
  CREATE TABLE by_state_0 PARTITION OF by_state FOR VALUES WITH (MODULUS 3, REMAINDER 0);
  CREATE TABLE by_state_1 PARTITION OF by_state FOR VALUES WITH (MODULUS 3, REMAINDER 1);
  CREATE TABLE by_state_2 PARTITION OF by_state FOR VALUES WITH (MODULUS 3, REMAINDER 2);
  INSERT INTO by_state SELECT n, (enum_range(NULL::state))[1 + n % 3]
    FROM generate_series(1, 300) AS n;
  CREATE TABLE by_time (at date NOT NULL, place text, PRIMARY KEY (at, place))
    PARTITION BY RANGE (at);
  CREATE TABLE ${schema}.by_time_2025 PARTITION OF by_time
    FOR VALUES FROM ('2025-01-01') TO ('2026-01-01') PARTITION BY LIST (place);
  CREATE TABLE by_time_2025_a PARTITION OF ${schema}.by_time_2025 FOR VALUES IN ('a', 'b''s');
  CREATE TABLE by_time_2025_else PARTITION OF ${schema}.by_time_2025 DEFAULT;
  CREATE TABLE by_time_rest PARTITION OF by_time DEFAULT;
  CREATE INDEX by_time_place ON by_time (place);
  INSERT INTO by_time SELECT '2025-11-01'::date + n, (ARRAY['a', 'b''s', 'c'])[1 + n % 3]
    FROM generate_series(1, 100) AS n;
`;

const accessSql = `
  CREATE VIEW seen WITH (security_barrier) AS SELECT id, name FROM numbered WHERE id < 100;
  CREATE RULE into_seen AS ON INSERT TO seen
    DO INSTEAD INSERT INTO numbered (name) VALUES (NEW.name);
  CREATE MATERIALIZED VIEW counted AS SELECT s, count(*) FROM by_state GROUP BY s;
  CREATE UNIQUE INDEX counted_s ON counted (s);
  CREATE MATERIALIZED VIEW unfilled AS SELECT * FROM counted WITH NO DATA;
  ALTER TABLE numbered ENABLE ROW LEVEL SECURITY;
  ALTER TABLE numbered FORCE ROW LEVEL SECURITY;
  CREATE POLICY own ON numbered FOR SELECT TO ${app} USING (name = current_user);
  GRANT SELECT ON ALL TABLES IN SCHEMA public TO ${names.reader};
  ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO ${names.reader};
  ALTER DEFAULT PRIVILEGES FOR ROLE ${owner} REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
  CREATE TEXT SEARCH CONFIGURATION plain (COPY = simple);
  CREATE CAST (point3 AS text) WITH INOUT;
  CREATE TABLE ddl_log (at timestamptz DEFAULT now(), tag text);
  CREATE FUNCTION log_ddl() RETURNS event_trigger LANGUAGE plpgsql AS
    $f$ BEGIN INSERT INTO public.ddl_log (tag) VALUES (tg_tag); END $f$;
  CREATE EVENT TRIGGER log_ddl ON ddl_command_end EXECUTE FUNCTION log_ddl();
  CREATE EVENT TRIGGER sleeping ON sql_drop EXECUTE FUNCTION log_ddl();
  ALTER EVENT TRIGGER sleeping DISABLE;
  CREATE TABLE logged ();
`;

/** Where the foreign tables get their rows from. */
export interface Foreign {
  /** A CSV file with the columns id and name, which the server may read. */
  readonly file: string;
  readonly socketDirectory: string;
  readonly port: number;
}

function replicationSql({ file, socketDirectory, port }: Foreign): readonly string[] {
  return [
    `CREATE EXTENSION file_fdw;
     CREATE EXTENSION postgres_fdw;
     CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
     CREATE FOREIGN TABLE from_file (id int, name text) SERVER files
       OPTIONS (filename '${file}', format 'csv');
     CREATE TABLE near_and_far (id int, name text) PARTITION BY RANGE (id);
     CREATE TABLE near PARTITION OF near_and_far FOR VALUES FROM (100) TO (200);
     CREATE FOREIGN TABLE in_file PARTITION OF near_and_far FOR VALUES FROM (0) TO (100)
       SERVER files OPTIONS (filename '${file}', format 'csv');
     INSERT INTO near_and_far VALUES (101, 'near');
     CREATE SERVER "far ""away""" FOREIGN DATA WRAPPER postgres_fdw
       OPTIONS (host '${socketDirectory}', port '${port}', dbname 'postgres');
     CREATE USER MAPPING FOR ${app} SERVER "far ""away""" OPTIONS (user 'x', password 'y''z');
     CREATE FOREIGN TABLE far (datname name) SERVER "far ""away"""
       OPTIONS (schema_name 'pg_catalog', table_name 'pg_database');`,
    `CREATE PUBLICATION chosen FOR TABLE kinds (id, small), numbered WHERE (id > 5)
       WITH (publish = 'insert, update');
     CREATE PUBLICATION schemas FOR TABLES IN SCHEMA ext;
     CREATE PUBLICATION everything FOR ALL TABLES;
     CREATE SUBSCRIPTION "sub $(id)" CONNECTION 'host=/nowhere dbname=x password=hidden'
       PUBLICATION "a ""pub""", b WITH (connect = false, slot_name = 'holdfast_slot');`,
    `SELECT lo_from_bytea(424242, '\\x00010203ff');
     SELECT lo_from_bytea(424243, decode(repeat('c0ffee', 400000), 'hex'));
     SELECT lo_create(424244);
     GRANT SELECT ON LARGE OBJECT 424242 TO ${app};
     ALTER LARGE OBJECT 424243 OWNER TO ${owner};
     COMMENT ON LARGE OBJECT 424242 IS 'a "large" object';`,
  ];
}

/** Runs in the database, each as one statement list. */
export function contentSql(foreign: Foreign): readonly string[] {
  return [typesSql, tablesSql, partitionsSql, accessSql, ...replicationSql(foreign)];
}
