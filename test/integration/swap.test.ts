import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { HoldfastError } from '../../src/core/errors.ts';
import { databaseOid } from '../../src/postgres/admin.ts';
import { type SwapOptions, swapDatabases } from '../../src/postgres/swap.ts';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';

let cluster: TestCluster;
const live = 'app "live"';
const restored = `${live}__restoring_20261121T020000Z`;
const before = `${live}__before_20261121T020000Z`;
const quoted = (name: string) => `"${name.replaceAll('"', '""')}"`;

beforeAll(async () => {
  cluster = await startTestCluster({ settings: { max_prepared_transactions: '5' } });
});
afterAll(async () => {
  await cluster.stop({ immediate: true });
});

beforeEach(async () => {
  await cluster.sql([
    ...[live, restored, before].map((name) => `DROP DATABASE IF EXISTS ${quoted(name)} (FORCE)`),
    `CREATE DATABASE ${quoted(live)}`,
    `CREATE DATABASE ${quoted(restored)}`,
  ]);
  await cluster.sql("CREATE TABLE which AS SELECT 'old' AS state", live);
  await cluster.sql("CREATE TABLE which AS SELECT 'new' AS state", restored);
});

/** What the swap is told, with fresh connections of a role. */
async function swapOptions(role = 'postgres', timeoutMs = 30_000): Promise<SwapOptions> {
  const admin = await cluster.connect('postgres', role);
  const second = await cluster.connect('postgres', role);
  const oldOid = await databaseOid(admin, live);
  const restoredOid = (await databaseOid(admin, restored)) ?? 0;
  return { admin, second, name: live, oldOid, restored, restoredOid, keepOldAs: before, timeoutMs };
}

const stateOf = async (database: string) =>
  (await cluster.sql('SELECT state FROM which', database)).map((row) => row.state);

async function failureOf(options: SwapOptions): Promise<HoldfastError> {
  const error = await swapDatabases(options).then(
    () => null,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof HoldfastError)) throw new Error(`no HoldfastError: ${error}`);
  return error;
}

/** Clients that connect, ask once and connect again, as fast as they can. */
function hammer(clients: number) {
  let running = true;
  const seen = { old: 0, new: 0, refused: 0 };
  async function loop() {
    while (running) {
      const { socketDirectory: host, port } = cluster;
      const client = new pg.Client({ host, port, user: 'postgres', database: live });
      client.on('error', () => undefined);
      try {
        await client.connect();
        const { rows } = await client.query<{ state: 'old' | 'new' }>('SELECT state FROM which');
        seen[rows[0]?.state ?? 'old'] += 1;
        await client.query('SELECT pg_sleep(0.01)');
      } catch {
        seen.refused += 1;
      } finally {
        await client.end().catch(() => undefined);
      }
    }
  }
  const loops = Array.from({ length: clients }, loop);
  return {
    seen,
    async stop() {
      running = false;
      await Promise.all(loops);
    },
  };
}

describe('swapping a restored database in', () => {
  it('goes through under a storm of reconnecting clients, who then find the new database', async () => {
    const storm = hammer(8);
    const idle = await cluster.connect(live);
    await sleep(300);
    const result = await swapDatabases(await swapOptions());
    expect(result.sessionsEnded).toBeGreaterThan(0);
    const { old } = storm.seen;
    const refusedAtCommit = storm.seen.refused;
    await sleep(500);
    await storm.stop();
    expect(storm.seen.new).toBeGreaterThan(20);
    // A handful had begun their question before the commit; nobody asks the old one for long.
    expect(storm.seen.old - old).toBeLessThanOrEqual(8);
    // Those that waited behind the rename are told once that the name has moved.
    expect(storm.seen.refused - refusedAtCommit).toBeLessThanOrEqual(16);
    await expect(idle.query('SELECT 1')).rejects.toThrow();
    expect(await stateOf(live)).toEqual(['new']);
    expect(await stateOf(before)).toEqual(['old']);
    expect(await databaseOid(await cluster.connect(), restored)).toBeNull();
  });

  it('renames only, where there is no old database', async () => {
    const options = await swapOptions();
    await cluster.sql(`DROP DATABASE ${quoted(live)}`);
    await swapDatabases({ ...options, oldOid: null });
    expect(await stateOf(live)).toEqual(['new']);
  });

  it.each([live, restored])(
    'names the prepared transaction in %j and changes nothing',
    async (within) => {
      await cluster.sql(
        ['BEGIN', 'INSERT INTO which VALUES (1)', "PREPARE TRANSACTION 'pay''ment 7'"],
        within,
      );
      const error = await failureOf(await swapOptions());
      expect(error.code).toBe('SWAP_FAILED');
      expect(error.message).toContain('"pay\'ment 7"');
      expect(error.message).toContain('untouched');
      expect(
        error.message.endsWith(within === live ? 'is open in it' : JSON.stringify(within)),
      ).toBe(true);
      expect(error.hint).toContain("ROLLBACK PREPARED 'pay''ment 7'");
      expect(await stateOf(live)).toEqual(['old']);
      expect(await stateOf(restored)).toEqual(['new']);
      await cluster.sql("ROLLBACK PREPARED 'pay''ment 7'", within);
    },
  );

  it('says whose session an ordinary owner cannot end', async () => {
    await cluster.sql([
      'DROP ROLE IF EXISTS keeper',
      'CREATE ROLE keeper LOGIN CREATEDB',
      `ALTER DATABASE ${quoted(live)} OWNER TO keeper`,
      `ALTER DATABASE ${quoted(restored)} OWNER TO keeper`,
    ]);
    const superuser = await cluster.connect(live);
    const error = await failureOf(await swapOptions('keeper'));
    expect(error.code).toBe('SWAP_FAILED');
    expect(error.message).toContain('session of role "postgres"');
    expect(error.hint).toContain('pg_signal_backend');
    expect((await superuser.query('SELECT state FROM which')).rows).toEqual([{ state: 'old' }]);
    await superuser.end();

    await swapDatabases(await swapOptions('keeper'));
    expect(await stateOf(live)).toEqual(['new']);
  });

  it('says which privilege a role lacks that may not rename', async () => {
    await cluster.sql(['DROP ROLE IF EXISTS guest', 'CREATE ROLE guest LOGIN']);
    const error = await failureOf(await swapOptions('guest'));
    expect(error.code).toBe('SWAP_FAILED');
    expect(error.message).toContain('must be owner of database');
    expect(error.hint).toContain('CREATEDB');
    expect(await stateOf(live)).toEqual(['old']);
  });

  it('leaves both as they are when the kept name is taken', async () => {
    const options = await swapOptions();
    await cluster.sql(`CREATE DATABASE ${quoted(before)}`);
    const error = await failureOf(options);
    expect(error.code).toBe('SWAP_FAILED');
    expect(error.message).toContain('already exists');
    expect(await stateOf(live)).toEqual(['old']);
  });

  it('stops when the name belongs to another database by now', async () => {
    const options = await swapOptions();
    const error = await failureOf({ ...options, oldOid: (options.oldOid ?? 0) + 1_000_000 });
    expect(error.message).toContain('is not the database that it was');
    expect(await stateOf(live)).toEqual(['old']);
  });

  it('is undone by the server when its session dies between the renames', async () => {
    const { admin } = await swapOptions();
    await admin.query('BEGIN');
    await admin.query(`ALTER DATABASE ${quoted(live)} RENAME TO ${quoted(before)}`);
    const dies = admin as pg.Client & { connection: { stream: { destroy(): void } } };
    dies.connection.stream.destroy();
    await expect.poll(() => stateOf(live).catch(() => [])).toEqual(['old']);
    expect(await stateOf(restored)).toEqual(['new']);
  });

  it('can be interrupted while it waits for a session, and changes nothing', async () => {
    await cluster.sql(['DROP ROLE IF EXISTS keeper', 'CREATE ROLE keeper LOGIN CREATEDB']);
    await cluster.sql([
      `ALTER DATABASE ${quoted(live)} OWNER TO keeper`,
      `ALTER DATABASE ${quoted(restored)} OWNER TO keeper`,
    ]);
    const superuser = await cluster.connect(live);
    const controller = new AbortController();
    const options = { ...(await swapOptions('keeper')), signal: controller.signal };
    setTimeout(() => controller.abort(), 500);
    const error = await failureOf(options);
    expect(error.code).toBe('INTERRUPTED');
    await superuser.end();
    expect(await stateOf(live)).toEqual(['old']);
  });
});
