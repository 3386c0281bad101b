/** What `list_backups.ts` tells of the servers, and how it goes without them. */

import { createServer, type Server } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { beforeName, restoringName } from '../../src/core/names.ts';
import { acquireDatabaseLock, restoreLockKey } from '../../src/postgres/advisory_lock.ts';
import { type LeftoverBench, nights, openLeftoverBench } from '../support/leftover_bench.ts';
import { jsonOf } from '../support/workbench.ts';

const [first, second, third] = nights;
let on: LeftoverBench;

beforeAll(async () => {
  on = await openLeftoverBench();
});
afterAll(() => on?.close());
beforeEach(() => on.reset());

const list = (argv: readonly string[], environment: Readonly<Record<string, string>> = {}) =>
  on.bench.run('list_backups', argv, { environment });

interface Told {
  readonly backups: readonly unknown[];
  readonly leftovers: readonly { readonly name: string }[] | null;
  readonly leftoversMissing: string | null;
}

describe('the list of backups', () => {
  it('tells nothing of leftovers where there are none', async () => {
    const { status, stdout, stderr } = await list([]);
    expect([status, stderr]).toEqual([0, '']);
    expect(stdout.trimEnd().split('\n')).toHaveLength(2);
    const told = jsonOf<Told>(await list(['--json']));
    expect(told).toMatchObject({ leftovers: [], leftoversMissing: null });
  });

  it('tells what restores have left, with age, size, and what to type', async () => {
    await on.make('odd\nname', 'live');
    await on.make(beforeName('odd\nname', first), 'old');
    await on.make(beforeName('shop', second), 'old');
    await on.make(restoringName('shop', third), 'half');
    const { status, stdout } = await list([]);
    expect(status).toBe(0);
    const [, ...lines] = stdout.slice(stdout.indexOf('\n\n')).trim().split('\n');
    expect(lines).toHaveLength(5);
    expect(lines[0]).toMatch(/^"odd\\nname__before_20261119T020000Z" +"odd\\nname" +replaced +/);
    expect(lines[1]).toMatch(/^shop__before_\w+ +shop +replaced .* MB +0$/);
    expect(lines[2]).toMatch(/^shop__restoring_\w+ +shop +never finished .* MB +0$/);
    expect(lines[3]).toContain('--rollback');
    expect(lines[4]).toContain('--drop-old');
  });

  it('says of one that is being built that it is', async () => {
    await on.make(restoringName('shop', third), 'half');
    const client = await on.cluster.connect('postgres');
    const key = restoreLockKey('shop');
    const lock = await acquireDatabaseLock({ client, key, holder: 'holdfast', waitMs: 0 });
    expect((await list([])).stdout).toContain('being restored');
    await lock.release();
    await client.end();
  });

  it('of one database tells only its leftovers', async () => {
    await on.make(beforeName('shop', first), 'old');
    await on.make(beforeName('other', first), 'old');
    const told = jsonOf<Told>(await list(['shop', '--json']));
    expect(told.backups).toHaveLength(1);
    expect(told.leftovers).toMatchObject([
      { name: beforeName('shop', first), target: 'shop', createdAt: first.toISOString() },
    ]);
  });
});

describe('a server that cannot be asked', () => {
  /** Takes connections and never says a word. */
  async function silentServer(): Promise<{ readonly server: Server; readonly port: string }> {
    const server = createServer();
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve);
    });
    const address = server.address();
    return { server, port: String(typeof address === 'object' ? address?.port : '') };
  }

  it.each([
    ['is not there', { PGHOST: '/nonexistent' }, /no server listens on socket \/nonexistent/],
    ['refuses', { PGUSER: 'nobody' }, /role "nobody" does not exist/],
  ])('since it %s leaves the list whole', async (_how, environment, words) => {
    const { status, stdout, stderr } = await list([], environment);
    expect(status, stderr).toBe(0);
    expect(stdout).toMatch(/daily-\w{4} +shop /);
    expect(stderr).toMatch(words);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
    const told = jsonOf<Told>(await list(['--json'], environment));
    expect(told.leftovers).toBeNull();
    expect(told.leftoversMissing).toMatch(words);
    expect(told.backups).toHaveLength(1);
  });

  it('since it says nothing is not waited for', async () => {
    const { server, port } = await silentServer();
    const environment = { PGHOST: '127.0.0.1', PGPORT: port };
    const { status, stderr } = await list([], environment);
    server.close();
    expect(status, stderr).toBe(0);
    expect(stderr).toContain(`127.0.0.1:${port}`);
    expect(stderr).toContain('did not answer within 3 s');
  });
});
