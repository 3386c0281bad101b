import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../../../src/config/load.ts';
import {
  configuredTargets,
  conninfoDatabase,
  describeServer,
  programEnvironment,
  type ResolvedTarget,
  resolveConnection,
  withDatabase,
} from '../../../src/postgres/connection.ts';

let home: string;

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'holdfast-resolve-'));
  await writeFile(
    join(home, '.pgpass'),
    'localhost:*:*:ada:sock\n*:*:app:*:for-app\n*:*:other:*:for-other\n',
  );
  await chmod(join(home, '.pgpass'), 0o600);
  await writeFile(
    join(home, '.pg_service.conf'),
    '[s]\nhost=from-service\nuser=su\ndbname=sdb\n[odd]\nsslmode=maybe\n',
  );
});
afterAll(() => rm(home, { recursive: true }));

interface Given {
  readonly environment?: Record<string, string>;
  readonly env?: string;
  readonly yaml?: string;
  readonly target?: string;
  readonly fallbackDatabase?: string;
  readonly flags?: Record<string, string>;
}

async function configOf({ environment = {}, env = '', yaml = '', flags = {} }: Given) {
  await writeFile(join(home, '.env'), env, { mode: 0o600 });
  await writeFile(join(home, 'holdfast.yaml'), yaml, { mode: 0o600 });
  return loadConfig({
    flags,
    cwd: home,
    projectDir: home,
    environment: { HOME: home, ...environment },
  });
}

async function resolve(given: Given): Promise<ResolvedTarget> {
  const { target, fallbackDatabase } = given;
  return resolveConnection({ config: await configOf(given), target, fallbackDatabase });
}

/** `user:password@host:port/database` of the first candidate. */
async function brief(given: Given): Promise<string> {
  const [p] = (await resolve(given)).candidates;
  return `${p.user}:${p.password?.reveal() ?? ''}@${p.host}:${p.port}/${p.dbname}`;
}

const me = userInfo().username;

describe('what is meant by a target', () => {
  it.each([['plain'], ['a=b'], ["it's"], ['host=h dbname=d'], ['$(x)'], ['a\nb'], ['Ünï']])(
    'the name %j is a name',
    async (target) => {
      const { database, key } = await resolve({ environment: { PGHOST: 'h' }, target });
      expect({ database, key }).toEqual({ database: target, key: null });
    },
  );

  it('a key of databases comes first, and its connection beats the variables', async () => {
    const yaml =
      'databases:\n  a: { host: ya, user: yu }\n  b: { url: "postgresql://u:p@hb:1/db" }\n  c: { dbname: real }\n';
    const environment = {
      PGHOST: 'env',
      PGPORT: '7',
      PGUSER: 'eu',
      PGDATABASE: 'no',
      PGPASSWORD: 'x',
    };
    expect(await brief({ yaml, environment, target: 'a' })).toBe('yu:x@ya:7/a');
    expect(await brief({ yaml, environment, target: 'b' })).toBe('u:p@hb:1/db');
    expect(await brief({ yaml, environment, target: 'c' })).toBe('eu:x@env:7/real');
    expect(await brief({ yaml, environment, target: 'constructor' })).toBe(
      'eu:x@env:7/constructor',
    );
    expect((await resolve({ yaml, target: 'c' })).key).toBe('c');
  });

  it('flags beat what a key says, and its password goes to no other server or role', async () => {
    const yaml =
      'databases:\n  a: { url: "postgresql://u:p@ha:1/db" }\n  s: { service: s, password: p }\n';
    const flagged = (flags: Record<string, string>, target = 'a') => brief({ yaml, target, flags });
    expect(await flagged({})).toBe('u:p@ha:1/db');
    expect(await flagged({ host: 'ha', port: '1', username: 'u' })).toBe('u:p@ha:1/db');
    expect(await flagged({ host: 'hb' })).toBe('u:@hb:5432/db');
    expect(await flagged({ port: '2' })).toBe('u:@ha:2/db');
    expect(await flagged({ username: 'v' })).toBe('v:@ha:1/db');
    expect(await flagged({ host: 'hb', username: 'v' }, 's')).toMatch(/^v:@hb:5432\//);
  });

  it('without a target the settings, the fallback or the role name the database', async () => {
    expect(await brief({ environment: { PGHOST: 'h', PGDATABASE: 'd' } })).toBe(`${me}:@h:5432/d`);
    expect(await brief({ environment: { PGHOST: 'h' }, fallbackDatabase: 'postgres' })).toBe(
      `${me}:@h:5432/postgres`,
    );
    expect(await brief({ environment: { PGHOST: 'h', PGUSER: 'u' } })).toBe('u:@h:5432/u');
  });

  it('a name that no server can have is refused', async () => {
    for (const target of ['', 'x'.repeat(64), 'ü'.repeat(32), 'a\0b']) {
      await expect(resolve({ target })).rejects.toMatchObject({ code: 'USAGE' });
    }
  });

  it('what commands mean without a database', async () => {
    expect(
      configuredTargets(
        await configOf({ yaml: 'databases: [x, y]\n', environment: { PGDATABASE: 'z' } }),
      ),
    ).toEqual(['x', 'y']);
    expect(configuredTargets(await configOf({ environment: { DB_NAME: 'z' } }))).toEqual(['z']);
    expect(
      configuredTargets(await configOf({ env: 'DATABASE_URL=postgresql://h/u%20v\n' })),
    ).toEqual(['u v']);
    expect(configuredTargets(await configOf({}))).toEqual([]);
  });
});

describe('which parameter counts', () => {
  const url = 'postgresql://uu:up@uh:9/ud';

  it('a service beats the variables, the target beats the service', async () => {
    const environment = { PGSERVICE: 's', PGHOST: 'env', PGPORT: '7' };
    expect(await brief({ environment })).toBe('su:@from-service:7/sdb');
    expect(await brief({ environment, target: 'd' })).toBe('su:@from-service:7/d');
    expect(await brief({ environment, target: url })).toBe('uu:up@uh:9/ud');
  });

  it('DATABASE_URL beats DB_* and defaults, and loses to PG* of the same place', async () => {
    expect(await brief({ environment: { DATABASE_URL: url } })).toBe('uu:up@uh:9/ud');
    expect(await brief({ environment: { DATABASE_URL: url, DB_HOST: 'x', DB_PORT: '1' } })).toBe(
      'uu:up@uh:9/ud',
    );
    expect(await brief({ environment: { DATABASE_URL: url, PGUSER: 'pu' }, target: 't' })).toBe(
      'pu:up@uh:9/t',
    );
    expect(
      await brief({ environment: { DATABASE_URL: url }, env: 'PGHOST=weak\nPGPORT=3\n' }),
    ).toBe('uu:up@uh:9/ud');
    expect(
      await brief({
        environment: { DATABASE_URL: 'postgresql://uh/d' },
        yaml: 'connection: { port: 3 }',
      }),
    ).toBe(`${me}:@uh:5432/d`);
  });

  it("DATABASE_URL's password goes to no other server", async () => {
    expect(
      await brief({ env: `DATABASE_URL=${url}\n`, environment: { PGHOST: 'else' }, target: 't' }),
    ).toBe(`${me}:@else:5432/t`);
    expect(await brief({ environment: { DATABASE_URL: url }, target: 'postgresql://else/t' })).toBe(
      `${me}:@else:5432/t`,
    );
  });

  it('the password file is asked for each database, and localhost means the default socket', async () => {
    expect(await brief({ environment: { PGHOST: 'h' }, target: 'app' })).toBe(
      `${me}:for-app@h:5432/app`,
    );
    expect(
      await brief({ environment: { PGHOST: '/var/run/postgresql', PGUSER: 'ada' }, target: 'x' }),
    ).toContain('ada:sock@');
    expect(
      await brief({ environment: { PGHOST: '/elsewhere', PGUSER: 'ada' }, target: 'x' }),
    ).toContain('ada:@');
    const [app] = (await resolve({ environment: { PGHOST: 'h' }, target: 'app' })).candidates;
    expect(app.passwordFrom).toBe(`${join(home, '.pgpass')} line 2`);
    expect((await withDatabase(app, 'other')).password?.reveal()).toBe('for-other');
    expect((await withDatabase(app, 'unlisted')).password?.reveal()).toBe('for-app');
  });

  it('hosts, addresses and ports are lists that have to fit', async () => {
    const { candidates } = await resolve({
      environment: { PGHOST: 'a,b,', PGPORT: '1,,3' },
      target: 'd',
    });
    expect(candidates.map(describeServer)).toEqual([
      'a:1',
      'b:5432',
      expect.stringMatching(/^socket .*\.3$/),
    ]);
    const one = await resolve({ environment: { PGHOST: 'n', PGHOSTADDR: '::1' }, target: 'd' });
    expect(one.candidates.map(describeServer)).toEqual(['n (::1):5432']);
    await expect(resolve({ environment: { PGHOST: 'a,b', PGPORT: '1,2,3' } })).rejects.toThrow(
      /3 ports do not fit 2 hosts/,
    );
    await expect(resolve({ environment: { PGHOST: 'a,b', PGHOSTADDR: '::1' } })).rejects.toThrow(
      /1 addresses/,
    );
  });

  it('values of URLs and service files are checked like settings', async () => {
    for (const target of [
      'postgresql://h:0/d',
      'postgresql://h:x/d',
      'postgresql://h/d?sslmode=on',
      'postgresql://h/d?hots=x',
      'postgresql://h/d?connect_timeout=soon',
    ]) {
      await expect(resolve({ target }), target).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    }
    await expect(resolve({ environment: { PGSERVICE: 'odd' } })).rejects.toThrow(
      /"maybe" is not one of disable/,
    );
    const system = { environment: { PGSSLROOTCERT: 'system' }, target: 'postgresql://h/d' };
    expect((await resolve(system)).candidates[0].sslmode).toBe('verify-full');
    await expect(
      resolve({ ...system, target: 'postgresql://h/d?sslmode=require' }),
    ).rejects.toThrow(/too weak/);
    await expect(resolve({ target: 'postgresql://h/d?sslnegotiation=direct' })).rejects.toThrow(
      /too weak/,
    );
  });
});

describe('what the programs get', () => {
  it('is every variable from the parameters, and none of the surroundings', async () => {
    const [parameters] = (await resolve({ target: 'postgresql://u:p@h:1/d?options=-c%20x%3Dy' }))
      .candidates;
    const base = { PATH: '/bin', PGSERVICE: 'x', PGHOSTADDR: '1', PGPASSFILE: 'y' };
    expect(programEnvironment(parameters, base)).toEqual({
      PATH: '/bin',
      PGHOST: 'h',
      PGPORT: '1',
      PGUSER: 'u',
      PGDATABASE: 'd',
      PGPASSWORD: 'p',
      PGPASSFILE: '/dev/null/none',
      PGAPPNAME: 'holdfast',
      PGCONNECT_TIMEOUT: '10',
      PGOPTIONS: '-c x=y',
      PGSSLMODE: 'prefer',
      PGGSSENCMODE: 'disable',
    });
  });

  it("quotes a database's name so that libpq's rules give it back", () => {
    const unquote = (conninfo: string) => {
      const inside = /^dbname='((?:\\[\s\S]|[^'\\])*)'$/.exec(conninfo)?.[1];
      return inside?.replaceAll(/\\([\s\S])/g, '$1');
    };
    fc.assert(
      fc.property(fc.string(), (name) => {
        expect(unquote(conninfoDatabase(name))).toBe(name);
      }),
    );
    expect(conninfoDatabase("it's \\")).toBe("dbname='it\\'s \\\\'");
  });
});
