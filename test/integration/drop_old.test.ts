/** `restore_backup.ts --drop-old` on a real server, by itself and with a restore. */

import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { restoringComment } from '../../src/core/leftovers.ts';
import { beforeName, restoringName } from '../../src/core/names.ts';
import { type LeftoverBench, nights, openLeftoverBench } from '../support/leftover_bench.ts';
import { jsonOf, quoted } from '../support/workbench.ts';

const [first, second, third] = nights;
let on: LeftoverBench;
beforeAll(async () => {
  on = await openLeftoverBench();
});
afterAll(() => on?.close());
beforeEach(() => on.reset());

describe('--drop-old', () => {
  it('drops every old database of that name, ends sessions, and touches nothing else', async () => {
    const old = [beforeName('shop', first), beforeName('shop', third)];
    for (const name of old) await on.make(name, 'old');
    const kept = [beforeName('shop2', third), 'shop__before_noon', 'shop2'];
    for (const name of kept) await on.make(name, 'kept');
    const session = await on.cluster.connect(beforeName('shop', first));
    const dry = await on.restore(['--drop-old', 'shop', '--dry-run']);
    expect(dry.stdout).toMatch(
      /drop: {4}"shop__before_20261119T020000Z" \(.*MB, .*, 1 connection\)/,
    );
    expect((await on.databases()).length).toBe(6);
    const result = await on.restored('--drop-old', 'shop');
    expect(result).toMatchObject({
      database: 'shop',
      dropped: [{ name: old[1] }, { name: old[0] }],
      stays: [],
    });
    expect(await on.databases()).toEqual(['shop', ...kept].sort());
    await expect(session.query('SELECT 1')).rejects.toThrow();
    const again = () => on.restore(['--drop-old', 'shop', '--force']);
    await on.expectUnchanged(again, 5, /no restore has left/);
  });

  it('drops the one that is named, and no other', async () => {
    for (const time of [first, second]) await on.make(beforeName('shop', time), 'old');
    await on.restored('--drop-old', beforeName('shop', second));
    expect(await on.databases()).toEqual(['shop', beforeName('shop', first)]);
  });

  it('drops what killed restores have left, and leaves what somebody else has made', async () => {
    const [killed, mine, empty] = [first, second, third].map((time) => restoringName('shop', time));
    await on.make(String(killed), 'half');
    await on.make(String(mine), 'mine');
    await on.cluster.sql(`CREATE DATABASE ${quoted(String(empty))}`);
    await on.cluster.sql(
      `COMMENT ON DATABASE ${quoted(String(killed))} IS '${restoringComment('shop')}'`,
    );
    const outcome = await on.restore(['--drop-old', 'shop', '--force']);
    expect(outcome.status, outcome.stderr).toBe(0);
    expect(outcome.stderr).toContain('left by a restore that never ended');
    expect(await on.databases()).toEqual(['shop', mine]);
    const named = () => on.restore(['--drop-old', String(mine), '--force']);
    await on.expectUnchanged(named, 3, /no restore that was killed has surely left it/);
  });

  it('keeps all that there is of a database that is not there', async () => {
    const old = beforeName('shop', third);
    await on.make(old, 'old');
    await on.cluster.sql('DROP DATABASE shop');
    const drop = () => on.restore(['--drop-old', 'shop', '--force']);
    await on.expectUnchanged(drop, 8, /all that there is of it\nhint: --rollback "shop"/);
    await on.restored('--drop-old', old);
    expect(await on.databases()).toEqual([]);
  });

  it('tells what to type about slots, subscriptions and prepared transactions', async () => {
    const names = [first, second, third].map((time) => beforeName('shop', time));
    const [slot = '', subscription = '', prepared = ''] = names;
    for (const name of names) await on.make(name, 'old');
    await on.make(beforeName('shop', new Date('2026-11-18T02:00:00Z')), 'free');
    await on.cluster.sql("SELECT pg_create_logical_replication_slot('the_slot', 'pgoutput')", slot);
    const connect = `CONNECTION 'host=/nowhere' PUBLICATION p WITH (connect = false)`;
    await on.cluster.sql(`CREATE SUBSCRIPTION "my sub" ${connect}`, subscription);
    await on.cluster.sql(['BEGIN', 'DELETE FROM which', "PREPARE TRANSACTION 'half'"], prepared);
    const outcome = await on.restore(['--drop-old', 'shop', '--force', '--json']);
    expect(outcome.status, outcome.stderr).toBe(3);
    expect(outcome.stderr).toContain("SELECT pg_drop_replication_slot('the_slot');");
    expect(outcome.stderr).toContain('DROP SUBSCRIPTION "my sub";');
    expect(outcome.stderr).toContain("ROLLBACK PREPARED 'half';");
    type Stays = { stays: { name: string; reasons: { sql: string[] }[] }[]; dropped: unknown[] };
    const { stays, dropped } = jsonOf<Stays>(outcome);
    expect(stays.map(({ name }) => name)).toEqual([prepared, subscription, slot]);
    expect(dropped).toMatchObject([{ name: 'shop__before_20261118T020000Z' }]);
    expect(await on.databases()).toEqual(['shop', ...names]);
    // What was told to be typed takes it all away.
    for (const { name, reasons } of stays) {
      for (const { sql } of reasons) for (const text of sql) await on.cluster.sql(text, name);
    }
    await on.restored('--drop-old', 'shop');
    expect(await on.databases()).toEqual(['shop']);
  });
});

describe('--drop-old with a restore', () => {
  it('drops what was replaced after the swap, and only that', async () => {
    const older = beforeName('shop', first);
    await on.make(older, 'older');
    const argv = ['--latest', 'shop', '--drop-old'];
    const dry = await on.restore([...argv, '--dry-run']);
    expect(dry.stdout).toMatch(/then: {4}drop "shop__before_\d{8}T\d{6}Z"/);
    const result = await on.restored(...argv);
    expect(result).toMatchObject({ old_dropped: true });
    expect(await on.databases()).toEqual(['shop', older]);
    expect(await on.stateOf('shop')).toBe('backed up');
  });

  it('is done also when the old one cannot be dropped, which it says', async () => {
    await on.cluster.sql("SELECT pg_create_logical_replication_slot('holds', 'pgoutput')", 'shop');
    const outcome = await on.restore(['--latest', 'shop', '--drop-old', '--force', '--json']);
    expect(outcome.status, outcome.stderr).toBe(0);
    const { before, old_dropped } = jsonOf(outcome);
    expect(old_dropped).toBe(false);
    expect(outcome.stderr).toContain('the replication slot "holds" belongs to it');
    expect(outcome.stderr).toContain(`the old database stays as "${before}"`);
    expect(await on.databases()).toEqual(['shop', before]);
    await on.cluster.sql("SELECT pg_drop_replication_slot('holds')", String(before));
  });
});
