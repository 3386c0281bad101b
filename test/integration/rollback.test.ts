/** `restore_backup.ts --rollback` and `--drop-old` on a real server. */

import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { restoringComment } from '../../src/core/leftovers.ts';
import { beforeName, restoringName } from '../../src/core/names.ts';
import { acquireDatabaseLock, restoreLockKey } from '../../src/postgres/advisory_lock.ts';
import { formatLockHolder } from '../../src/postgres/lock_holder.ts';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import type { Outcome, RunOptions } from '../support/command.ts';
import { jsonOf, openWorkbench, quoted, type Workbench } from '../support/workbench.ts';

let cluster: TestCluster;
let bench: Workbench;
const first = new Date('2026-11-19T02:00:00Z');
const second = new Date('2026-11-20T02:00:00Z');
const third = new Date('2026-11-21T02:00:00Z');

beforeAll(async () => {
  cluster = await startTestCluster({
    settings: { max_prepared_transactions: '5', wal_level: 'logical' },
  });
  bench = await openWorkbench(cluster);
  await cluster.sql(['CREATE ROLE own', 'CREATE ROLE reader']);
  await make('shop', 'backed up');
  await bench.backUp('shop');
});
afterAll(async () => {
  await cluster?.stop({ immediate: true });
  await bench?.remove();
});

async function databases(): Promise<string[]> {
  const rows = await cluster.sql(
    `SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres'
      ORDER BY datname COLLATE "C"`,
  );
  return rows.map(({ datname }) => String(datname));
}

/** Makes a database that can be told from every other one by its state. */
async function make(name: string, state: string): Promise<void> {
  await cluster.sql(`CREATE DATABASE ${quoted(name)}`);
  await cluster.sql(`CREATE TABLE which AS SELECT '${state}' AS state`, name);
}

const stateOf = async (database: string) =>
  (await cluster.sql('SELECT state FROM which', database)).map(({ state }) => state).join();

const restore = (argv: readonly string[], options?: RunOptions): Promise<Outcome> =>
  bench.run('restore_backup', argv, options);

async function restored(...argv: string[]): Promise<Record<string, unknown>> {
  const outcome = await restore([...argv, '--force', '--json']);
  expect(outcome.status, outcome.stderr).toBe(0);
  return jsonOf(outcome);
}

beforeEach(async () => {
  for (const name of await databases()) {
    await cluster.sql(`DROP DATABASE ${quoted(name)} (FORCE)`);
  }
  await make('shop', 'live');
});

/** Nothing is renamed or dropped while this is done. */
async function expectUnchanged(work: () => Promise<Outcome>, status: number, words: RegExp) {
  const look = () => cluster.sql('SELECT oid, datname FROM pg_database ORDER BY oid');
  const before = await look();
  const outcome = await work();
  expect(outcome.stderr).toMatch(words);
  expect(outcome.status).toBe(status);
  expect(await look()).toEqual(before);
  return outcome;
}

describe('--rollback', () => {
  it('takes a restore back, and itself, as often as it is asked to', async () => {
    const { before } = await restored('--latest', 'shop');
    expect([await stateOf('shop'), await stateOf(String(before))]).toEqual(['backed up', 'live']);
    let taken = String(before);
    for (const [now, aside] of [
      ['live', 'backed up'],
      ['backed up', 'live'],
      ['live', 'backed up'],
    ] as const) {
      const result = await restored('--rollback', 'shop');
      expect(result).toMatchObject({ database: 'shop', rolled_back_to: taken, exit_status: 0 });
      expect(String(result.before) > taken).toBe(true);
      taken = String(result.before);
      expect(await databases()).toEqual(['shop', taken]);
      expect([await stateOf('shop'), await stateOf(taken)]).toEqual([now, aside]);
    }
  });

  it('is told by the restore, word for word, and so is the drop', async () => {
    await make(`o'dd "name"`, 'live');
    const target = ['--target-database', `o'dd "name"`];
    const outcome = await restore(['--latest', 'shop', ...target, '--force']);
    expect(outcome.status, outcome.stderr).toBe(0);
    const typed = `restore_backup.ts --rollback shop --target-database 'o'\\''dd "name"'`;
    expect(outcome.stderr).toContain(typed);
    expect(outcome.stderr).toContain(typed.replace('--rollback', '--drop-old'));
    await restored('--rollback', 'shop', ...target);
    expect(await stateOf(`o'dd "name"`)).toBe('live');
    await restored('--drop-old', 'shop', ...target);
    expect(await databases()).toEqual([`o'dd "name"`, 'shop']);
  });

  it('takes the youngest of several, tells the others, and takes the one that is named', async () => {
    for (const [time, state] of [
      [second, 'second'],
      [third, 'third'],
      [first, 'first'],
    ] as const) {
      await make(beforeName('shop', time), state);
    }
    const dry = await restore(['--rollback', 'shop', '--dry-run', '--json']);
    expect(dry.status, dry.stderr).toBe(0);
    const { plan } = jsonOf<{ plan: Record<string, unknown> }>(dry);
    expect(plan).toMatchObject({
      takes: { name: beforeName('shop', third), connections: 0 },
      others: [{ name: beforeName('shop', second) }, { name: beforeName('shop', first) }],
    });
    expect(await stateOf('shop')).toBe('live');
    const text = await restore(['--rollback', 'shop', '--dry-run']);
    expect(text.stdout).toMatch(/swap: "shop" \(.* MB, .*\) becomes "shop__before_\d{8}T\d{6}Z"/);
    expect(text.stdout).toContain(`note:    "${beforeName('shop', first)}" (`);

    const { before } = await restored('--rollback', beforeName('shop', first));
    expect(await stateOf('shop')).toBe('first');
    expect(await stateOf(String(before))).toBe('live');
    expect((await databases()).length).toBe(4);
    await restored('--rollback', 'shop');
    expect(await stateOf('shop')).toBe('live');
  });

  it('moves owner, privileges, settings and comment with each database', async () => {
    const old = beforeName('shop', third);
    await make(old, 'old');
    await cluster.sql([
      `ALTER DATABASE ${quoted(old)} OWNER TO own`,
      `REVOKE ALL ON DATABASE ${quoted(old)} FROM PUBLIC`,
      `GRANT CONNECT ON DATABASE ${quoted(old)} TO reader WITH GRANT OPTION`,
      `ALTER DATABASE ${quoted(old)} SET work_mem = '7MB'`,
      `ALTER ROLE reader IN DATABASE ${quoted(old)} SET work_mem = '9MB'`,
      `ALTER DATABASE ${quoted(old)} CONNECTION LIMIT 17`,
      `COMMENT ON DATABASE ${quoted(old)} IS 'the old one''s'`,
    ]);
    const carried = async (name: string) =>
      cluster.sql(
        `SELECT d.oid, datdba, datacl::text, datconnlimit,
                shobj_description(d.oid, 'pg_database') AS comment,
                (SELECT array_agg(ROW (setrole, setconfig)::text ORDER BY setrole)
                   FROM pg_db_role_setting WHERE setdatabase = d.oid) AS settings
           FROM pg_database AS d WHERE datname = '${name}'`,
      );
    const [oldOne, live] = [await carried(old), await carried('shop')];
    const { before } = await restored('--rollback', 'shop');
    expect(await carried('shop')).toEqual(oldOne);
    expect(await carried(String(before))).toEqual(live);
  });

  it('ends the sessions of both, and refuses while a transaction is prepared in one', async () => {
    const old = beforeName('shop', third);
    await make(old, 'old');
    await cluster.sql(['BEGIN', 'DELETE FROM which', "PREPARE TRANSACTION 'half'"], old);
    const roll = () => restore(['--rollback', 'shop', '--force']);
    await expectUnchanged(roll, 3, /prepared transaction "half"/);
    await cluster.sql("ROLLBACK PREPARED 'half'", old);
    const sessions = [await cluster.connect('shop'), await cluster.connect(old)];
    const result = await restored('--rollback', 'shop');
    expect(result.sessions_ended).toBeGreaterThanOrEqual(sessions.length);
    for (const session of sessions) await expect(session.query('SELECT 1')).rejects.toThrow();
    expect(await stateOf('shop')).toBe('old');
  });

  it('brings a database back that is not there any more', async () => {
    await make(beforeName('shop', third), 'old');
    await cluster.sql('DROP DATABASE shop');
    expect(await restored('--rollback', 'shop')).toMatchObject({ before: null });
    expect(await databases()).toEqual(['shop']);
    expect(await stateOf('shop')).toBe('old');
  });

  it('puts aside under a younger name although the clock was set back', async () => {
    const future = beforeName('shop', new Date('2099-01-01T00:00:00Z'));
    await make(future, 'from the future');
    expect(await restored('--rollback', 'shop')).toMatchObject({
      before: 'shop__before_20990101T000001Z',
    });
    await restored('--rollback', 'shop');
    expect(await stateOf('shop')).toBe('live');
  });

  it('works for the maintenance database itself', async () => {
    const old = beforeName('postgres', third);
    await make(old, 'old');
    const { before } = await restored('--rollback', old);
    expect(await stateOf('postgres')).toBe('old');
    await restored('--rollback', 'postgres');
    expect(await stateOf(String(before)).catch(() => 'gone')).toBe('gone');
    await restored('--drop-old', 'postgres');
    expect(await databases()).toEqual(['shop']);
  });
});

describe('--rollback refuses', () => {
  it('with 5 where there is nothing to go back to, and tells what there is', async () => {
    const roll = () => restore(['--rollback', 'shop', '--force', '--json']);
    const outcome = await expectUnchanged(roll, 5, /no restore has left an old database of "shop"/);
    expect(jsonOf<{ error: { code: string } }>(outcome).error.code).toBe('BACKUP_NOT_FOUND');
    const other = beforeName('other', third);
    await make(other, 'other');
    await make(restoringName('shop', third), 'unfinished');
    await expectUnchanged(roll, 5, new RegExp(`hint: The server has: "${other}"`));
  });

  it('with 6 while a restore of the database is running', async () => {
    await make(beforeName('shop', third), 'old');
    const client = await cluster.connect('postgres');
    const holder = formatLockHolder({
      operation: 'restore',
      startedAt: second,
      host: 'db9',
      pid: 4711,
    });
    const key = restoreLockKey('shop');
    const lock = await acquireDatabaseLock({ client, key, holder, waitMs: 0 });
    for (const flag of ['--rollback', '--drop-old']) {
      const run = () => restore([flag, 'shop', '--force']);
      await expectUnchanged(run, 6, /locked by restore on db9 \(process 4711\)/);
    }
    await lock.release();
    await client.end();
  });

  it('without a terminal, with another answer, and in production without the name', async () => {
    await make(beforeName('shop', third), 'old');
    for (const flag of ['--rollback', '--drop-old']) {
      const ask = (options?: RunOptions) => () => restore([flag, 'shop'], options);
      await expectUnchanged(ask(), 2, /no terminal to ask on/);
      await expectUnchanged(ask({ typed: 'no' }), 2, /"no" was typed/);
      const environment = { ENVIRONMENT: 'production' };
      await expectUnchanged(ask({ typed: 'yes', environment }), 2, /"yes" was typed/);
    }
    const environment = { ENVIRONMENT: 'production' };
    const outcome = await restore(['--rollback', 'shop'], { typed: 'shop', environment });
    expect(outcome.status, outcome.stderr).toBe(0);
    expect(await stateOf('shop')).toBe('old');
  });

  it.each([
    [['--rollback', 'shop', 'other'], /"other" is one too many/],
    [['--rollback', 'shop', '--drop-old'], /--drop-old is one too many/],
    [['--rollback', 'shop', '--latest', 'shop'], /--latest has no part in it/],
    [['--drop-old', 'shop', '--verify-only'], /--verify-only has no part in it/],
    [['--drop-old'], /does not say whose/],
  ] as const)('%j with 2', async (argv, words) => {
    await make(beforeName('shop', third), 'old');
    await expectUnchanged(() => restore([...argv, '--force']), 2, words);
  });
});

describe('names', () => {
  const long = 'x'.repeat(63);
  const alike = `${'x'.repeat(62)}y`;
  const names = ['ünï "quoted"\n$(date) 字', long, alike, `${'ü'.repeat(31)}z`];

  it.each(names)('%j goes back and its old one is dropped, and no other', async (name) => {
    const others = names.filter((each) => each !== name);
    for (const each of names) {
      await make(each, `live ${each.length}`);
      await make(beforeName(each, third), `old ${each.length}`);
    }
    const { before } = await restored('--rollback', name);
    expect(await stateOf(name)).toBe(`old ${name.length}`);
    expect(await stateOf(String(before))).toBe(`live ${name.length}`);
    await restored('--drop-old', name);
    const left = ['shop', ...names, ...others.map((each) => beforeName(each, third))];
    expect((await databases()).sort()).toEqual(left.sort());
    for (const each of others) expect(await stateOf(each)).toBe(`live ${each.length}`);
  });

  it('that were shortened and whose database is gone want it named', async () => {
    const old = beforeName(long, third);
    await make(old, 'old');
    const roll = (...argv: string[]) => restore(['--rollback', ...argv, '--force']);
    await expectUnchanged(() => roll(old), 2, /does not tell for certain/);
    await expectUnchanged(() => roll(long), 5, new RegExp(`may be meant.*"${old}"`));
    const wrong = () => roll(old, '--target-database', alike);
    await expectUnchanged(wrong, 2, /was not left by a restore of/);
    const outcome = await roll(old, '--target-database', long);
    expect(outcome.status, outcome.stderr).toBe(0);
    expect(await stateOf(long)).toBe('old');
  });
});

describe('--drop-old', () => {
  it('drops every old database of that name, ends sessions, and touches nothing else', async () => {
    const old = [beforeName('shop', first), beforeName('shop', third)];
    for (const name of old) await make(name, 'old');
    const kept = [beforeName('shop2', third), 'shop__before_noon', 'shop2'];
    for (const name of kept) await make(name, 'kept');
    const session = await cluster.connect(beforeName('shop', first));
    const dry = await restore(['--drop-old', 'shop', '--dry-run']);
    expect(dry.stdout).toMatch(
      /drop: {4}"shop__before_20261119T020000Z" \(.*MB, .*, 1 connection\)/,
    );
    expect((await databases()).length).toBe(6);
    const result = await restored('--drop-old', 'shop');
    expect(result).toMatchObject({
      database: 'shop',
      dropped: [{ name: old[1] }, { name: old[0] }],
      stays: [],
    });
    expect(await databases()).toEqual(['shop', ...kept].sort());
    await expect(session.query('SELECT 1')).rejects.toThrow();
    const again = () => restore(['--drop-old', 'shop', '--force']);
    await expectUnchanged(again, 5, /no restore has left/);
  });

  it('drops the one that is named, and no other', async () => {
    for (const time of [first, second]) await make(beforeName('shop', time), 'old');
    await restored('--drop-old', beforeName('shop', second));
    expect(await databases()).toEqual(['shop', beforeName('shop', first)]);
  });

  it('drops what killed restores have left, and leaves what somebody else has made', async () => {
    const [killed, mine, empty] = [first, second, third].map((time) => restoringName('shop', time));
    await make(String(killed), 'half');
    await make(String(mine), 'mine');
    await cluster.sql(`CREATE DATABASE ${quoted(String(empty))}`);
    await cluster.sql(
      `COMMENT ON DATABASE ${quoted(String(killed))} IS '${restoringComment('shop')}'`,
    );
    const outcome = await restore(['--drop-old', 'shop', '--force']);
    expect(outcome.status, outcome.stderr).toBe(0);
    expect(outcome.stderr).toContain('left by a restore that never ended');
    expect(await databases()).toEqual(['shop', mine]);
    const named = () => restore(['--drop-old', String(mine), '--force']);
    await expectUnchanged(named, 3, /no restore that was killed has surely left it/);
  });

  it('keeps all that there is of a database that is not there', async () => {
    const old = beforeName('shop', third);
    await make(old, 'old');
    await cluster.sql('DROP DATABASE shop');
    const drop = () => restore(['--drop-old', 'shop', '--force']);
    await expectUnchanged(drop, 8, /all that there is of it\nhint: --rollback "shop"/);
    await restored('--drop-old', old);
    expect(await databases()).toEqual([]);
  });

  it('tells what to type about slots, subscriptions and prepared transactions', async () => {
    const names = [first, second, third].map((time) => beforeName('shop', time));
    const [slot = '', subscription = '', prepared = ''] = names;
    for (const name of names) await make(name, 'old');
    await make(beforeName('shop', new Date('2026-11-18T02:00:00Z')), 'free');
    await cluster.sql("SELECT pg_create_logical_replication_slot('the_slot', 'pgoutput')", slot);
    const connect = `CONNECTION 'host=/nowhere' PUBLICATION p WITH (connect = false)`;
    await cluster.sql(`CREATE SUBSCRIPTION "my sub" ${connect}`, subscription);
    await cluster.sql(['BEGIN', 'DELETE FROM which', "PREPARE TRANSACTION 'half'"], prepared);
    const outcome = await restore(['--drop-old', 'shop', '--force', '--json']);
    expect(outcome.status, outcome.stderr).toBe(3);
    expect(outcome.stderr).toContain("SELECT pg_drop_replication_slot('the_slot');");
    expect(outcome.stderr).toContain('DROP SUBSCRIPTION "my sub";');
    expect(outcome.stderr).toContain("ROLLBACK PREPARED 'half';");
    type Stays = { stays: { name: string; reasons: { sql: string[] }[] }[]; dropped: unknown[] };
    const { stays, dropped } = jsonOf<Stays>(outcome);
    expect(stays.map(({ name }) => name)).toEqual([prepared, subscription, slot]);
    expect(dropped).toMatchObject([{ name: 'shop__before_20261118T020000Z' }]);
    expect(await databases()).toEqual(['shop', ...names]);
    // What was told to be typed takes it all away.
    for (const { name, reasons } of stays) {
      for (const { sql } of reasons) for (const text of sql) await cluster.sql(text, name);
    }
    await restored('--drop-old', 'shop');
    expect(await databases()).toEqual(['shop']);
  });
});

describe('--drop-old with a restore', () => {
  it('drops what was replaced after the swap, and only that', async () => {
    const older = beforeName('shop', first);
    await make(older, 'older');
    const argv = ['--latest', 'shop', '--drop-old'];
    const dry = await restore([...argv, '--dry-run']);
    expect(dry.stdout).toMatch(/then: {4}drop "shop__before_\d{8}T\d{6}Z"/);
    const result = await restored(...argv);
    expect(result).toMatchObject({ old_dropped: true });
    expect(await databases()).toEqual(['shop', older]);
    expect(await stateOf('shop')).toBe('backed up');
  });

  it('is done also when the old one cannot be dropped, which it says', async () => {
    await cluster.sql("SELECT pg_create_logical_replication_slot('holds', 'pgoutput')", 'shop');
    const outcome = await restore(['--latest', 'shop', '--drop-old', '--force', '--json']);
    expect(outcome.status, outcome.stderr).toBe(0);
    const { before, old_dropped } = jsonOf(outcome);
    expect(old_dropped).toBe(false);
    expect(outcome.stderr).toContain('the replication slot "holds" belongs to it');
    expect(outcome.stderr).toContain(`the old database stays as "${before}"`);
    expect(await databases()).toEqual(['shop', before]);
    await cluster.sql("SELECT pg_drop_replication_slot('holds')", String(before));
  });
});
