/** `restore_backup.ts --rollback` on a real server. */

import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { beforeName, restoringName } from '../../src/core/names.ts';
import { acquireDatabaseLock, restoreLockKey } from '../../src/postgres/advisory_lock.ts';
import { formatLockHolder } from '../../src/postgres/lock_holder.ts';
import type { RunOptions } from '../support/command.ts';
import { type LeftoverBench, nights, openLeftoverBench } from '../support/leftover_bench.ts';
import { jsonOf, quoted } from '../support/workbench.ts';

const [first, second, third] = nights;
let on: LeftoverBench;
beforeAll(async () => {
  on = await openLeftoverBench();
  await on.cluster.sql(['CREATE ROLE own', 'CREATE ROLE reader']);
});
afterAll(() => on?.close());
beforeEach(() => on.reset());

describe('--rollback', () => {
  it('takes a restore back, and itself, as often as it is asked to', async () => {
    const { before } = await on.restored('--latest', 'shop');
    expect([await on.stateOf('shop'), await on.stateOf(String(before))]).toEqual([
      'backed up',
      'live',
    ]);
    let taken = String(before);
    for (const [now, aside] of [
      ['live', 'backed up'],
      ['backed up', 'live'],
      ['live', 'backed up'],
    ] as const) {
      const result = await on.restored('--rollback', 'shop');
      expect(result).toMatchObject({ database: 'shop', rolled_back_to: taken, exit_status: 0 });
      expect(String(result.before) > taken).toBe(true);
      taken = String(result.before);
      expect(await on.databases()).toEqual(['shop', taken]);
      expect([await on.stateOf('shop'), await on.stateOf(taken)]).toEqual([now, aside]);
    }
  });

  it('is told by the restore, word for word, and so is the drop', async () => {
    await on.make(`o'dd "name"`, 'live');
    const target = ['--target-database', `o'dd "name"`];
    const outcome = await on.restore(['--latest', 'shop', ...target, '--force']);
    expect(outcome.status, outcome.stderr).toBe(0);
    const typed = `scripts/restore_backup.ts --rollback shop --target-database 'o'\\''dd "name"'`;
    expect(outcome.stderr).toContain(typed);
    expect(outcome.stderr).toContain(typed.replace('--rollback', '--drop-old'));
    await on.restored('--rollback', 'shop', ...target);
    expect(await on.stateOf(`o'dd "name"`)).toBe('live');
    await on.restored('--drop-old', 'shop', ...target);
    expect(await on.databases()).toEqual([`o'dd "name"`, 'shop']);
  });

  it('is told so that it can be typed for a name that begins with dashes', async () => {
    await on.make('--help', 'live');
    const target = ['--target-database=--help', '--force'];
    const outcome = await on.restore(['--latest', 'shop', ...target]);
    expect(outcome.status, outcome.stderr).toBe(0);
    const typed = 'scripts/restore_backup.ts --rollback shop --target-database=--help';
    expect(outcome.stderr).toContain(typed);
    expect(outcome.stderr).toContain(typed.replace('--rollback', '--drop-old'));
    const back = await on.restore(['--rollback=--help', '--force']);
    expect(back.stderr).toContain('scripts/restore_backup.ts --rollback=--help\n');
    expect(await on.stateOf('--help')).toBe('live');
    const drop = await on.restore(['--drop-old', '--force', '--', '--help']);
    expect(drop.status, drop.stderr).toBe(0);
  });

  it('takes the youngest of several, tells the others, and takes the one that is named', async () => {
    for (const [time, state] of [
      [second, 'second'],
      [third, 'third'],
      [first, 'first'],
    ] as const) {
      await on.make(beforeName('shop', time), state);
    }
    const dry = await on.restore(['--rollback', 'shop', '--dry-run', '--json']);
    expect(dry.status, dry.stderr).toBe(0);
    const { plan } = jsonOf<{ plan: Record<string, unknown> }>(dry);
    expect(plan).toMatchObject({
      takes: { name: beforeName('shop', third), connections: 0 },
      others: [{ name: beforeName('shop', second) }, { name: beforeName('shop', first) }],
    });
    expect(await on.stateOf('shop')).toBe('live');
    const text = await on.restore(['--rollback', 'shop', '--dry-run']);
    expect(text.stdout).toMatch(/swap: "shop" \(.* MB, .*\) becomes "shop__before_\d{8}T\d{6}Z"/);
    expect(text.stdout).toContain(`note:    "${beforeName('shop', first)}" (`);

    const { before } = await on.restored('--rollback', beforeName('shop', first));
    expect(await on.stateOf('shop')).toBe('first');
    expect(await on.stateOf(String(before))).toBe('live');
    expect((await on.databases()).length).toBe(4);
    await on.restored('--rollback', 'shop');
    expect(await on.stateOf('shop')).toBe('live');
  });

  it('moves owner, privileges, settings and comment with each database', async () => {
    const old = beforeName('shop', third);
    await on.make(old, 'old');
    await on.cluster.sql([
      `ALTER DATABASE ${quoted(old)} OWNER TO own`,
      `REVOKE ALL ON DATABASE ${quoted(old)} FROM PUBLIC`,
      `GRANT CONNECT ON DATABASE ${quoted(old)} TO reader WITH GRANT OPTION`,
      `ALTER DATABASE ${quoted(old)} SET work_mem = '7MB'`,
      `ALTER ROLE reader IN DATABASE ${quoted(old)} SET work_mem = '9MB'`,
      `ALTER DATABASE ${quoted(old)} CONNECTION LIMIT 17`,
      `COMMENT ON DATABASE ${quoted(old)} IS 'the old one''s'`,
    ]);
    const carried = async (name: string) =>
      on.cluster.sql(
        `SELECT d.oid, datdba, datacl::text, datconnlimit,
                shobj_description(d.oid, 'pg_database') AS comment,
                (SELECT array_agg(ROW (setrole, setconfig)::text ORDER BY setrole)
                   FROM pg_db_role_setting WHERE setdatabase = d.oid) AS settings
           FROM pg_database AS d WHERE datname = '${name}'`,
      );
    const [oldOne, live] = [await carried(old), await carried('shop')];
    const { before } = await on.restored('--rollback', 'shop');
    expect(await carried('shop')).toEqual(oldOne);
    expect(await carried(String(before))).toEqual(live);
  });

  it('ends the sessions of both, and refuses while a transaction is prepared in one', async () => {
    const old = beforeName('shop', third);
    await on.make(old, 'old');
    await on.cluster.sql(['BEGIN', 'DELETE FROM which', "PREPARE TRANSACTION 'half'"], old);
    const roll = () => on.restore(['--rollback', 'shop', '--force']);
    await on.expectUnchanged(roll, 3, /prepared transaction "half"/);
    await on.cluster.sql("ROLLBACK PREPARED 'half'", old);
    const sessions = [await on.cluster.connect('shop'), await on.cluster.connect(old)];
    const result = await on.restored('--rollback', 'shop');
    expect(result.sessions_ended).toBeGreaterThanOrEqual(sessions.length);
    for (const session of sessions) await expect(session.query('SELECT 1')).rejects.toThrow();
    expect(await on.stateOf('shop')).toBe('old');
  });

  it('brings a database back that is not there any more', async () => {
    await on.make(beforeName('shop', third), 'old');
    await on.cluster.sql('DROP DATABASE shop');
    expect(await on.restored('--rollback', 'shop')).toMatchObject({ before: null });
    expect(await on.databases()).toEqual(['shop']);
    expect(await on.stateOf('shop')).toBe('old');
  });

  it('puts aside under a younger name although the clock was set back', async () => {
    const future = beforeName('shop', new Date('2099-01-01T00:00:00Z'));
    await on.make(future, 'from the future');
    expect(await on.restored('--rollback', 'shop')).toMatchObject({
      before: 'shop__before_20990101T000001Z',
    });
    await on.restored('--rollback', 'shop');
    expect(await on.stateOf('shop')).toBe('live');
  });

  it('takes what the last restore replaced, although the clock was set back before that', async () => {
    await on.make(beforeName('shop', new Date('2099-01-01T00:00:00Z')), 'from the future');
    const { before } = await on.restored('--latest', 'shop');
    expect(before).toBe('shop__before_20990101T000001Z');
    await on.restored('--rollback', 'shop');
    expect(await on.stateOf('shop')).toBe('live');
  });

  it('works for the maintenance database itself', async () => {
    const old = beforeName('postgres', third);
    await on.make(old, 'old');
    const { before } = await on.restored('--rollback', old);
    expect(await on.stateOf('postgres')).toBe('old');
    await on.restored('--rollback', 'postgres');
    expect(await on.stateOf(String(before)).catch(() => 'gone')).toBe('gone');
    await on.restored('--drop-old', 'postgres');
    expect(await on.databases()).toEqual(['shop']);
  });
});

describe('--rollback refuses', () => {
  it('with 5 where there is nothing to go back to, and tells what there is', async () => {
    const roll = () => on.restore(['--rollback', 'shop', '--force', '--json']);
    const outcome = await on.expectUnchanged(
      roll,
      5,
      /no restore has left an old database of "shop"/,
    );
    expect(jsonOf<{ error: { code: string } }>(outcome).error.code).toBe('BACKUP_NOT_FOUND');
    const other = beforeName('other', third);
    await on.make(other, 'other');
    await on.make(restoringName('shop', third), 'unfinished');
    await on.expectUnchanged(roll, 5, new RegExp(`hint: The server has: "${other}"`));
  });

  it('with 6 while a restore of the database is running', async () => {
    await on.make(beforeName('shop', third), 'old');
    const client = await on.cluster.connect('postgres');
    const holder = formatLockHolder({
      operation: 'restore',
      startedAt: second,
      host: 'db9',
      pid: 4711,
    });
    const key = restoreLockKey('shop');
    const lock = await acquireDatabaseLock({ client, key, holder, waitMs: 0 });
    for (const flag of ['--rollback', '--drop-old']) {
      const run = () => on.restore([flag, 'shop', '--force']);
      await on.expectUnchanged(run, 6, /locked by restore on db9 \(process 4711\)/);
    }
    await lock.release();
    await client.end();
  });

  it('without a terminal, with another answer, and in production without the name', async () => {
    await on.make(beforeName('shop', third), 'old');
    for (const flag of ['--rollback', '--drop-old']) {
      const ask = (options?: RunOptions) => () => on.restore([flag, 'shop'], options);
      await on.expectUnchanged(ask(), 2, /no terminal to ask on/);
      await on.expectUnchanged(ask({ typed: 'no' }), 2, /"no" was typed/);
      const environment = { ENVIRONMENT: 'production' };
      await on.expectUnchanged(ask({ typed: 'yes', environment }), 2, /"yes" was typed/);
    }
    const environment = { ENVIRONMENT: 'production' };
    const outcome = await on.restore(['--rollback', 'shop'], { typed: 'shop', environment });
    expect(outcome.status, outcome.stderr).toBe(0);
    expect(await on.stateOf('shop')).toBe('old');
  });

  it.each([
    [['--rollback', 'shop', 'other'], /"other" is one too many/],
    [['--rollback', 'shop', '--drop-old'], /--drop-old is one too many/],
    [['--rollback', 'shop', '--latest', 'shop'], /--latest has no part in it/],
    [['--drop-old', 'shop', '--verify-only'], /--verify-only has no part in it/],
    [['--drop-old'], /does not say whose/],
  ] as const)('%j with 2', async (argv, words) => {
    await on.make(beforeName('shop', third), 'old');
    await on.expectUnchanged(() => on.restore([...argv, '--force']), 2, words);
  });
});

describe('names', () => {
  const long = 'x'.repeat(63);
  const alike = `${'x'.repeat(62)}y`;
  const names = ['ünï "quoted"\n$(date) 字', long, alike, `${'ü'.repeat(31)}z`];

  it.each(names)('%j goes back and its old one is dropped, and no other', async (name) => {
    const others = names.filter((each) => each !== name);
    for (const each of names) {
      await on.make(each, `live ${each.length}`);
      await on.make(beforeName(each, third), `old ${each.length}`);
    }
    const { before } = await on.restored('--rollback', name);
    expect(await on.stateOf(name)).toBe(`old ${name.length}`);
    expect(await on.stateOf(String(before))).toBe(`live ${name.length}`);
    await on.restored('--drop-old', name);
    const left = ['shop', ...names, ...others.map((each) => beforeName(each, third))];
    expect((await on.databases()).sort()).toEqual(left.sort());
    for (const each of others) expect(await on.stateOf(each)).toBe(`live ${each.length}`);
  });

  it('that were shortened and whose database is gone want it named', async () => {
    const old = beforeName(long, third);
    await on.make(old, 'old');
    const roll = (...argv: string[]) => on.restore(['--rollback', ...argv, '--force']);
    await on.expectUnchanged(() => roll(old), 2, /does not tell for certain/);
    await on.expectUnchanged(() => roll(long), 5, new RegExp(`may be meant.*"${old}"`));
    const wrong = () => roll(old, '--target-database', alike);
    await on.expectUnchanged(wrong, 2, /was not left by a restore of/);
    const outcome = await roll(old, '--target-database', long);
    expect(outcome.status, outcome.stderr).toBe(0);
    expect(await on.stateOf(long)).toBe('old');
  });
});
