/**
 * The database that is measured: about 1.05 GB at scale 1, 782 MB of plain dump. It is made in the
 * server by SQL with a fixed seed, so that everybody measures the same bytes.
 */

const accountsAtScale1 = 4_000_000;
const documentsAtScale1 = 75_000;
/** Documents that one statement makes: their words are put together in memory. */
const documentsAtOnce = 7_500;
const referenceTablesMax = 60;

/** The same random numbers at every run; a parallel worker would have a seed of its own. */
const prepare: readonly string[] = [
  'SET synchronous_commit = off',
  'SET max_parallel_workers_per_gather = 0',
  "SET work_mem = '256MB'",
  "SET maintenance_work_mem = '256MB'",
  'SELECT setseed(0.42)',
];

/** What `pgbench --initialize --scale=40` makes, in the order of its own steps. */
function pgbench(scale: number): readonly string[] {
  const accounts = Math.round(accountsAtScale1 * scale);
  const branches = Math.max(1, Math.round(accounts / 100_000));
  return [
    `CREATE TABLE pgbench_branches (bid int NOT NULL, bbalance int, filler char(88))`,
    `CREATE TABLE pgbench_tellers (tid int NOT NULL, bid int, tbalance int, filler char(84))`,
    `CREATE TABLE pgbench_accounts (aid int NOT NULL, bid int, abalance int, filler char(84))`,
    `CREATE TABLE pgbench_history (tid int, bid int, aid int, delta int, mtime timestamp,
       filler char(22))`,
    `INSERT INTO pgbench_branches SELECT bid, 0, NULL FROM generate_series(1, ${branches}) AS bid`,
    `INSERT INTO pgbench_tellers SELECT tid, (tid - 1) / 10 + 1, 0, NULL
       FROM generate_series(1, ${branches * 10}) AS tid`,
    `INSERT INTO pgbench_accounts SELECT aid, (aid - 1) / 100000 + 1, 0, ''
       FROM generate_series(1, ${accounts}) AS aid`,
    'ALTER TABLE pgbench_branches ADD PRIMARY KEY (bid)',
    'ALTER TABLE pgbench_tellers ADD PRIMARY KEY (tid)',
    'ALTER TABLE pgbench_accounts ADD PRIMARY KEY (aid)',
  ];
}

/** Prose: the frequent words are very frequent, and most texts are long enough for TOAST. */
function documents(scale: number): readonly string[] {
  const count = Math.round(documentsAtScale1 * scale);
  const statements = [
    'CREATE TABLE vocabulary (number int PRIMARY KEY, word text NOT NULL)',
    `INSERT INTO vocabulary
       SELECT n, string_agg(chr(97 + floor(26 * random())::int), '')
       FROM generate_series(1, 6000) AS n, generate_series(1, 3 + n % 8) AS letter
       GROUP BY n ORDER BY n`,
    `CREATE TABLE documents (id int PRIMARY KEY, title text NOT NULL, body text NOT NULL,
       written_at timestamptz NOT NULL)`,
  ];
  for (let first = 1; first <= count; first += documentsAtOnce) {
    const last = Math.min(count, first + documentsAtOnce - 1);
    statements.push(`
      INSERT INTO documents
        SELECT id, 'Document ' || id, string_agg(word, ' '),
          timestamptz '2026-01-01 00:00:00Z' + id * interval '1 minute'
        FROM (
          SELECT id, 1 + floor(6000 * power(random(), 3))::int AS wanted
          FROM (
            SELECT id, 60 + floor(641 * random())::int AS words
            FROM generate_series(${first}, ${last}) AS id
          ) AS sized, generate_series(1, words)
        ) AS chosen
        JOIN vocabulary ON vocabulary.number = wanted
        GROUP BY id ORDER BY id`);
  }
  return [...statements, 'CREATE INDEX documents_written_at ON documents (written_at)'];
}

function events(scale: number): readonly string[] {
  return [
    `CREATE TABLE events (id bigint PRIMARY KEY, kind text NOT NULL, at timestamptz NOT NULL,
       payload jsonb NOT NULL)`,
    `INSERT INTO events
       SELECT id, (ARRAY['view', 'click', 'order', 'login'])[1 + floor(4 * random())::int],
         timestamptz '2026-01-01 00:00:00Z' + id * interval '7 seconds',
         jsonb_build_object(
           'session', md5(random()::text), 'user', floor(50000 * random()),
           'path', '/shop/' || floor(3000 * random()), 'ms', round((900 * random())::numeric, 3),
           'tags', jsonb_build_array('t' || floor(40 * random()), 't' || floor(40 * random())))
       FROM generate_series(1, ${Math.round(400_000 * scale)}) AS id`,
    'CREATE INDEX events_at ON events (at)',
    "CREATE INDEX events_user ON events ((payload ->> 'user'))",
  ];
}

function shop(scale: number): readonly string[] {
  const customers = Math.round(50_000 * scale);
  const orders = Math.round(200_000 * scale);
  return [
    `CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL, email text NOT NULL UNIQUE)`,
    `CREATE TABLE orders (id int PRIMARY KEY, customer_id int NOT NULL, at timestamptz NOT NULL,
       total numeric(12, 2) NOT NULL DEFAULT 0)`,
    `CREATE TABLE order_lines (order_id int NOT NULL, line int NOT NULL, item text NOT NULL,
       quantity int NOT NULL, price numeric(10, 2) NOT NULL, PRIMARY KEY (order_id, line))`,
    `INSERT INTO customers
       SELECT id, 'Customer ' || md5(random()::text), 'c' || id || '@example.org'
       FROM generate_series(1, ${customers}) AS id`,
    `INSERT INTO orders
       SELECT id, 1 + floor(${customers} * random())::int,
         timestamptz '2026-01-01 00:00:00Z' + id * interval '11 seconds'
       FROM generate_series(1, ${orders}) AS id`,
    `INSERT INTO order_lines
       SELECT id, line, 'item ' || floor(9000 * random()), 1 + floor(5 * random())::int,
         round((100 * random())::numeric, 2)
       FROM generate_series(1, ${orders}) AS id, generate_series(1, 1 + id % 7) AS line`,
    'ALTER TABLE orders ADD FOREIGN KEY (customer_id) REFERENCES customers',
    'ALTER TABLE order_lines ADD FOREIGN KEY (order_id) REFERENCES orders ON DELETE CASCADE',
    'CREATE INDEX orders_customer ON orders (customer_id)',
  ];
}

/** Bytes that no compressor makes smaller: 750 digests of 64 bytes each are 48 kB. */
function attachments(scale: number): readonly string[] {
  return [
    'CREATE TABLE attachments (id int PRIMARY KEY, name text NOT NULL, content bytea NOT NULL)',
    'ALTER TABLE attachments ALTER content SET STORAGE external',
    `INSERT INTO attachments
       SELECT id, 'scan-' || id || '.jpg',
         string_agg(sha512(convert_to(random()::text, 'UTF8')), ''::bytea)
       FROM generate_series(1, ${Math.max(1, Math.round(500 * scale))}) AS id,
         generate_series(1, 750) AS piece
       GROUP BY id ORDER BY id`,
  ];
}

/** Many small things: here the number of statements and of locks counts, not the bytes. */
function smallThings(scale: number): readonly string[] {
  const length = Math.ceil(referenceTablesMax * Math.min(1, scale));
  const tables = Array.from({ length }, (_, index) => {
    const name = `reference_${String(index + 1).padStart(2, '0')}`;
    return [
      `CREATE TABLE ${name} (code text PRIMARY KEY, meaning text NOT NULL)`,
      `INSERT INTO ${name} SELECT 'C' || n, md5(random()::text) FROM generate_series(1, 200) AS n`,
    ];
  });
  return [
    ...tables.flat(),
    `CREATE VIEW recent_orders AS SELECT * FROM orders WHERE at > timestamptz '2026-01-15'`,
    `CREATE MATERIALIZED VIEW sales AS
       SELECT customer_id, count(*) AS orders FROM orders GROUP BY customer_id`,
    `CREATE FUNCTION refuse_empty() RETURNS trigger LANGUAGE plpgsql AS $$
       BEGIN
         IF NEW.title = '' THEN RAISE EXCEPTION 'a document needs a title'; END IF;
         RETURN NEW;
       END $$`,
    `CREATE TRIGGER documents_title BEFORE INSERT OR UPDATE ON documents
       FOR EACH ROW EXECUTE FUNCTION refuse_empty()`,
    `SELECT lo_from_bytea(0, sha512('one'::bytea)), lo_from_bytea(0, sha512('two'::bytea))`,
  ];
}

/**
 * The statements that fill an empty database, each to be run by itself, all in one session: the
 * seed of the random numbers is the session's.
 *
 * @param scale 1 is about 1.05 GB; 0.01 is enough to see that everything works
 */
export function databaseStatements(scale: number): readonly string[] {
  return [
    ...prepare,
    ...pgbench(scale),
    ...documents(scale),
    ...events(scale),
    ...shop(scale),
    ...attachments(scale),
    ...smallThings(scale),
    'VACUUM ANALYZE',
    'CHECKPOINT',
  ];
}
