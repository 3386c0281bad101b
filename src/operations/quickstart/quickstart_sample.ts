/** The sample database of the quickstart: a small shop, the same on every machine. */

/** So many orders; customers, lines and events follow from it. About 40 MB on the server. */
const sampleOrders = 60_000;

/** The statements that fill an empty database, each with what it does. */
export const sampleStatements: readonly (readonly [string, string])[] = [
  [
    'customers',
    `CREATE TABLE customers (
       id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
       name text NOT NULL,
       mail text UNIQUE NOT NULL,
       since date NOT NULL);
     INSERT INTO customers (name, mail, since)
       SELECT 'Customer ' || i, 'c' || i || '@example.com', date '2020-01-01' + (i * 37 % 2000)
         FROM generate_series(1, ${sampleOrders / 6}) AS i`,
  ],
  [
    'orders, partitioned by year',
    `CREATE TABLE orders (
       id bigint NOT NULL,
       customer_id bigint NOT NULL REFERENCES customers,
       placed timestamptz NOT NULL,
       total numeric(12, 2) NOT NULL,
       PRIMARY KEY (id, placed)) PARTITION BY RANGE (placed);
     CREATE TABLE orders_2025 PARTITION OF orders
       FOR VALUES FROM ('2025-01-01 00:00:00+00') TO ('2026-01-01 00:00:00+00');
     CREATE TABLE orders_2026 PARTITION OF orders
       FOR VALUES FROM ('2026-01-01 00:00:00+00') TO ('2027-01-01 00:00:00+00');
     INSERT INTO orders
       SELECT i, 1 + i * 7919 % ${sampleOrders / 6},
              timestamptz '2025-01-01 00:00:00+00' + i * interval '17 minutes',
              (i::bigint * 104729 % 100000) / 100.0
         FROM generate_series(1, ${sampleOrders}) AS i`,
  ],
  [
    'events with jsonb',
    `CREATE TABLE events (id bigserial PRIMARY KEY, payload jsonb NOT NULL);
     INSERT INTO events (payload)
       SELECT jsonb_build_object('order', i, 'kind', (ARRAY['placed', 'paid', 'sent'])[1 + i % 3],
                                 'note', repeat(md5(i::text), 2))
         FROM generate_series(1, ${sampleOrders}) AS i`,
  ],
  [
    'a view, a materialized view and an index',
    `CREATE VIEW open_orders AS SELECT * FROM orders WHERE placed > '2026-11-01 00:00:00+00';
     CREATE MATERIALIZED VIEW sales AS
       SELECT date_trunc('month', placed AT TIME ZONE 'UTC') AS month, sum(total) AS total
         FROM orders GROUP BY 1;
     CREATE INDEX events_payload ON events USING gin (payload jsonb_path_ops)`,
  ],
];

/** The tables that are compared row by row. */
export const sampleTables = ['customers', 'orders', 'events', 'sales'] as const;
