/** What restores leave on a real server, and what is told about it. */

import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { restoringComment } from '../../src/core/leftovers.ts';
import { beforeName, restoringName } from '../../src/core/names.ts';
import { acquireDatabaseLock, restoreLockKey } from '../../src/postgres/advisory_lock.ts';
import { type Leftover, readLeftovers } from '../../src/postgres/leftovers.ts';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { quoted } from '../support/workbench.ts';

let cluster: TestCluster;
const early = new Date('2026-11-20T02:00:00Z');
const late = new Date('2026-11-21T02:00:00Z');
const odd = 'ünï "quoted"\n$(date)';
const long = 'x'.repeat(63);
const alike = `${'x'.repeat(62)}y`;

beforeAll(async () => {
  cluster = await startTestCluster();
  await cluster.sql('CREATE ROLE guest LOGIN');
});
afterAll(() => cluster?.stop({ immediate: true }));

async function make(...names: string[]): Promise<void> {
  for (const name of names) await cluster.sql(`CREATE DATABASE ${quoted(name)}`);
}

async function read(role?: string): Promise<Leftover[]> {
  const client = await cluster.connect('postgres', role);
  try {
    return await readLeftovers(client);
  } finally {
    await client.end();
  }
}

afterEach(async () => {
  const rows = await cluster.sql(
    "SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres'",
  );
  for (const { datname } of rows) {
    await cluster.sql(`DROP DATABASE ${quoted(String(datname))} (FORCE)`);
  }
});

describe('leftovers', () => {
  it('are none on a server without any, whatever its databases are called', async () => {
    await make('app', 'app__before_noon', 'app__before_20269921T020000Z');
    expect(await read()).toEqual([]);
  });

  it('are told oldest first, with their targets, sizes, and times, whatever they are called', async () => {
    await make('app', odd, long, alike);
    const names = [
      beforeName('app', late),
      beforeName(odd, early),
      beforeName(long, early),
      beforeName(alike, early),
      restoringName('gone', late),
    ];
    await make(...names);
    const leftovers = await read();
    const told = leftovers.map(({ name, target, kind, createdAt }) => [
      name,
      target,
      kind,
      createdAt.getTime(),
    ]);
    expect(told).toEqual([
      [names[1], odd, 'before', early.getTime()],
      [names[2], long, 'before', early.getTime()],
      [names[3], alike, 'before', early.getTime()],
      [names[0], 'app', 'before', late.getTime()],
      [names[4], 'gone', 'restoring', late.getTime()],
    ]);
    const [first] = await cluster.sql(
      `SELECT oid, pg_database_size(oid)::int AS bytes FROM pg_database
        WHERE datname = '${beforeName('app', late)}'`,
    );
    expect(leftovers[3]).toMatchObject({ ...first, connections: 0, inUse: false });
  });

  it('of a shortened name tell their target by the comment, or not at all', async () => {
    const name = restoringName(long, late);
    await make(name, beforeName(long, late));
    const comment = restoringComment(long);
    await cluster.sql(`COMMENT ON DATABASE ${quoted(name)} IS '${comment}'`);
    expect((await read()).map(({ kind, target }) => [kind, target])).toEqual([
      ['restoring', long],
      ['before', null],
    ]);
  });

  it('are in use while somebody is connected', async () => {
    const name = beforeName('app', late);
    await make(name);
    const session = await cluster.connect(name);
    expect(await read()).toMatchObject([{ connections: 1, inUse: true }]);
    await session.end();
    await expect.poll(() => read()).toMatchObject([{ connections: 0, inUse: false }]);
  });

  it('that are being built are in use while the restore holds its lock, wherever', async () => {
    await make('app', restoringName('app', late), restoringName('other', late));
    for (const database of ['postgres', 'template1']) {
      const client = await cluster.connect(database);
      const lock = await acquireDatabaseLock({
        client,
        key: restoreLockKey('app'),
        holder: 'holdfast restore',
        waitMs: 0,
      });
      const inUse = new Map((await read()).map((leftover) => [leftover.target, leftover.inUse]));
      expect([inUse.get('app'), inUse.get('other')]).toEqual([true, false]);
      await lock.release();
      await client.end();
      expect((await read()).map((leftover) => leftover.inUse)).toEqual([false, false]);
    }
  });

  it('are told to an ordinary role too, without the size of what it may not enter', async () => {
    const name = beforeName('app', late);
    await make(name, beforeName('open', early));
    await cluster.sql(`REVOKE CONNECT ON DATABASE ${quoted(name)} FROM PUBLIC`);
    const [open, closed] = await read('guest');
    expect(open?.bytes).toBeGreaterThan(1_000_000);
    expect(closed).toMatchObject({ target: 'app', bytes: null });
  });
});
