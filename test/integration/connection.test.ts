import { execFile } from 'node:child_process';
import { appendFile, chmod, chown, copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/load.ts';
import { HoldfastError } from '../../src/core/errors.ts';
import {
  connect,
  connectTarget,
  conninfoDatabase,
  programEnvironment,
  type ResolvedTarget,
  resolveConnection,
} from '../../src/postgres/connection.ts';
import { makeClientCertificate, makeServerCertificate } from '../support/certificates.ts';
import { startTestCluster, type TestCluster, testEnvironment } from '../support/cluster.ts';

const run = promisify(execFile);
const oddName = `a b='c' "d" $(touch /tmp/never) \\ ü\n?`;

let cluster: TestCluster;
let folder: string;

async function installTls(): Promise<void> {
  await makeServerCertificate(folder);
  for (const name of ['server.crt', 'server.key', 'root.crt']) {
    const target = join(cluster.dataDirectory, name);
    await copyFile(join(folder, name), target);
    await chmod(target, 0o600);
    if (cluster.osUser !== null) await chown(target, cluster.osUser.uid, cluster.osUser.gid);
  }
  await writeFile(
    join(cluster.dataDirectory, 'pg_hba.conf'),
    [
      'local all all trust',
      'hostssl all with_certificate 127.0.0.1/32 cert',
      'hostssl all tls_only 127.0.0.1/32 trust',
      'hostnossl all plain_only 127.0.0.1/32 trust',
      'host all with_password 127.0.0.1/32 scram-sha-256',
      'host all rejected 127.0.0.1/32 reject',
      'host all no_privilege 127.0.0.1/32 trust',
      'host all postgres 127.0.0.1/32 trust',
      '',
    ].join('\n'),
  );
  await appendFile(
    join(cluster.dataDirectory, 'postgresql.conf'),
    "ssl = on\nssl_ca_file = 'root.crt'\n",
  );
  await cluster.restart();
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-connection-'));
  cluster = await startTestCluster({ tcp: true });
  await installTls();
  await cluster.sql('CREATE ROLE tls_only LOGIN');
  await cluster.sql('CREATE ROLE with_certificate LOGIN');
  await cluster.sql('CREATE ROLE plain_only LOGIN');
  await cluster.sql('CREATE ROLE no_privilege LOGIN');
  await cluster.sql(`SET password_encryption = 'scram-sha-256'`);
  await cluster.sql(`CREATE ROLE with_password LOGIN PASSWORD 'it''s: \\ @ ü'`);
  await cluster.sql('CREATE DATABASE closed');
  await cluster.sql('REVOKE CONNECT ON DATABASE closed FROM public');
  await cluster.sql(`CREATE DATABASE "${oddName.replaceAll('"', '""')}"`);
}, 60_000);

afterAll(async () => {
  await cluster?.stop();
  await rm(folder, { recursive: true, force: true });
});

type Variables = Readonly<Record<string, string>>;

async function resolve(variables: Variables, target?: string): Promise<ResolvedTarget> {
  const config = await loadConfig({
    flags: {},
    cwd: folder,
    projectDir: folder,
    environment: { ...testEnvironment, HOME: folder, ...variables },
  });
  return resolveConnection({ config, target });
}

const question =
  'SELECT current_user, current_database(), ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()';

/** What psql itself does with these variables: the row, or `null` when it cannot connect. */
async function psql(variables: Variables, database?: string): Promise<string | null> {
  const args = ['--no-psqlrc', '--no-password', '--csv', '--tuples-only', `--command=${question}`];
  if (database !== undefined) args.push(`--dbname=${database}`);
  const env = { ...testEnvironment, HOME: folder, PGCONNECT_TIMEOUT: '10', ...variables };
  try {
    return (await run(join(cluster.binDirectory, 'psql'), args, { env })).stdout;
  } catch {
    return null;
  }
}

/** What Holdfast does with them. */
async function holdfast(target: ResolvedTarget): Promise<string | null> {
  try {
    const { client } = await connectTarget(target);
    const { rows } = await client.query({ text: question, rowMode: 'array' });
    await client.end();
    const [row] = rows;
    return row === undefined
      ? null
      : `${row.map((value: unknown) => (value === true ? 't' : value === false ? 'f' : String(value))).join(',')}\n`;
  } catch (error) {
    if (error instanceof HoldfastError) return null;
    throw error;
  }
}

/** Holdfast and the programs in Holdfast's environment do what psql does by itself. */
async function expectSame(variables: Variables): Promise<string | null> {
  const target = await resolve({ PGDATABASE: 'postgres', ...variables });
  const ours = await holdfast(target);
  const theirs = await psql({ PGDATABASE: 'postgres', ...variables });
  expect(ours, JSON.stringify(variables)).toBe(theirs);
  if (target.candidates.length === 1) {
    const handedOn = programEnvironment(target.candidates[0], testEnvironment);
    expect(await psql(handedOn), JSON.stringify(variables)).toBe(theirs);
  }
  return ours;
}

const tcp = (): Record<string, string> => ({ PGHOST: '127.0.0.1', PGPORT: String(cluster.port) });
const socket = (): Record<string, string> => ({
  PGHOST: cluster.socketDirectory,
  PGPORT: String(cluster.port),
});

async function failure(target: Promise<ResolvedTarget>): Promise<HoldfastError> {
  try {
    const { client } = await connectTarget(await target);
    await client.end();
  } catch (error) {
    if (error instanceof HoldfastError) return error;
    throw error;
  }
  throw new Error('connected');
}

describe('where Holdfast connects, psql connects, and the other way round', () => {
  it('through a Unix socket, whatever sslmode says', async () => {
    for (const PGSSLMODE of ['disable', 'prefer', 'require', 'verify-full']) {
      const row = await expectSame({ ...socket(), PGUSER: 'postgres', PGSSLMODE });
      expect(row).toBe('postgres,postgres,f\n');
    }
  });

  it('with each sslmode, on servers that want TLS, refuse it, or take both', async () => {
    const root = join(folder, 'root.crt');
    const other = join(folder, 'other.crt');
    const seen = new Map<string, number>();
    for (const PGUSER of ['tls_only', 'plain_only', 'postgres']) {
      for (const PGSSLMODE of [
        'disable',
        'allow',
        'prefer',
        'require',
        'verify-ca',
        'verify-full',
      ]) {
        for (const PGSSLROOTCERT of ['', root, other]) {
          for (const host of ['localhost', '127.0.0.1', 'db.example.com', 'a.b.example.com']) {
            const hostaddr = host.endsWith('.com') ? { PGHOSTADDR: '127.0.0.1' } : {};
            // The names matter to verify-full alone.
            if (host !== 'localhost' && PGSSLMODE !== 'verify-full') continue;
            const variables = { ...tcp(), PGHOST: host, ...hostaddr, PGUSER, PGSSLMODE };
            const rootcert = PGSSLROOTCERT === '' ? {} : { PGSSLROOTCERT };
            const row = String(await expectSame({ ...variables, ...rootcert }));
            seen.set(row, (seen.get(row) ?? 0) + 1);
          }
        }
      }
    }
    expect([...seen.keys()].sort()).toEqual([
      'null',
      'plain_only,postgres,f\n',
      'postgres,postgres,f\n',
      'postgres,postgres,t\n',
      'tls_only,postgres,t\n',
    ]);
  }, 120_000);

  it("with the client's certificate, whose key is closed to others", async () => {
    await makeClientCertificate(folder);
    const key = join(folder, 'client.key');
    const PGSSLCERT = join(folder, 'client.crt');
    const variables = { ...tcp(), PGUSER: 'with_certificate', PGSSLMODE: 'require' };
    await chmod(key, 0o600);
    expect(await expectSame({ ...variables, PGSSLCERT, PGSSLKEY: key })).toMatch(/^with_cert/);
    expect(await expectSame(variables)).toBeNull();
    expect(await expectSame({ ...variables, PGSSLCERT })).toBeNull();
    await chmod(key, 0o644);
    expect(await expectSame({ ...variables, PGSSLCERT, PGSSLKEY: key })).toBeNull();
  });

  it('with a password that is right, wrong, or missing', async () => {
    const variables = { ...tcp(), PGUSER: 'with_password' };
    expect(await expectSame({ ...variables, PGPASSWORD: `it's: \\ @ ü` })).toMatch(
      /^with_password/,
    );
    expect(await expectSame({ ...variables, PGPASSWORD: 'wrong' })).toBeNull();
    expect(await expectSame(variables)).toBeNull();
    const bound = { ...variables, PGPASSWORD: `it's: \\ @ ü`, PGCHANNELBINDING: 'require' };
    expect(await expectSame({ ...bound, PGSSLMODE: 'require' })).toMatch(/t\n$/);
    expect(await expectSame({ ...bound, PGSSLMODE: 'disable' })).toBeNull();
    expect(await expectSame({ ...bound, PGUSER: 'tls_only', PGSSLMODE: 'require' })).toBeNull();
  });

  it('with a password file, by its modes and patterns', async () => {
    const PGPASSFILE = join(folder, 'pgpass');
    const variables = { ...tcp(), PGUSER: 'with_password', PGPASSFILE };
    const right = `it's\\: \\\\ @ ü`;
    const lines: [string, boolean][] = [
      [`127.0.0.1:${cluster.port}:postgres:with_password:${right}`, true],
      [`# comment\n*:*:*:*:${right}`, true],
      [`*:*:*:*:wrong\n*:*:*:*:${right}`, false],
      [`*:*:other:*:wrong\n*:*:*:with\\_password:${right}\r`, true],
      [`localhost:*:*:*:${right}`, false],
      [`*:*:*:*:it's: \\ @ ü`, false],
      [`*:*:*:${right}`, false],
    ];
    for (const [text, works] of lines) {
      await writeFile(PGPASSFILE, `${text}\n`);
      await chmod(PGPASSFILE, 0o600);
      expect((await expectSame(variables)) !== null, text).toBe(works);
    }
    await writeFile(PGPASSFILE, `*:*:*:*:${right}\n`);
    await chmod(PGPASSFILE, 0o644);
    expect(await expectSame(variables)).toBeNull();
    expect((await resolve(variables)).warnings).toEqual([
      expect.stringContaining(`${PGPASSFILE} is open to other users`),
    ]);
  });

  it('with a service file, which beats the variables beside it', async () => {
    const PGSERVICEFILE = join(folder, 'services');
    await writeFile(
      PGSERVICEFILE,
      `# ours\n[other]\nhost=nowhere.invalid\n\n[mine]\nhost=127.0.0.1\nport=${cluster.port}\n` +
        'user=tls_only\nsslmode=require\nconnect_timeout=9\n',
    );
    const row = await expectSame({ PGSERVICEFILE, PGSERVICE: 'mine', PGUSER: 'postgres' });
    expect(row).toBe('tls_only,postgres,t\n');
    await expect(resolve({ PGSERVICEFILE, PGSERVICE: 'none' })).rejects.toThrow(/service "none"/);
  });

  it('with several hosts, of which the first that answers and is wanted is taken', async () => {
    const port = String(cluster.port);
    const variables = { PGUSER: 'tls_only', PGHOST: '127.0.0.1,127.0.0.1', PGPORT: `1,${port}` };
    expect(await expectSame(variables)).toBe('tls_only,postgres,t\n');
    expect(await expectSame({ ...variables, PGTARGETSESSIONATTRS: 'primary' })).not.toBeNull();
    expect(await expectSame({ ...variables, PGTARGETSESSIONATTRS: 'standby' })).toBeNull();
    expect(
      await expectSame({ ...variables, PGTARGETSESSIONATTRS: 'prefer-standby' }),
    ).not.toBeNull();
    expect(await expectSame({ ...variables, PGTARGETSESSIONATTRS: 'read-write' })).not.toBeNull();
    const { parameters, client } = await connectTarget(await resolve(variables, 'postgres'));
    await client.end();
    expect(parameters.port).toBe(cluster.port);
  });

  it('with PGOPTIONS, and with none of what the environment holds for others', async () => {
    const [parameters] = (
      await resolve({ ...socket(), PGUSER: 'postgres', PGOPTIONS: '-c search_path=x' }, 'postgres')
    ).candidates;
    const client = await connect(parameters, { applicationName: 'a test' });
    const shown = await client.query(
      "SELECT current_setting('search_path') AS path, current_setting('application_name') AS name",
    );
    expect(shown.rows).toEqual([{ path: 'x', name: 'a test' }]);
    await client.end();
  });

  it('to a database whose name is anything but plain, by name, URL and conninfo', async () => {
    const variables = { ...socket(), PGUSER: 'postgres' };
    const byName = await resolve(variables, oddName);
    const url = `postgresql://postgres@/${encodeURIComponent(oddName)}?host=${encodeURIComponent(cluster.socketDirectory)}`;
    const byUrl = await resolve({ PGPORT: String(cluster.port) }, url);
    for (const target of [byName, byUrl]) {
      const client = await connect(target.candidates[0]);
      const { rows } = await client.query('SELECT current_database() AS name');
      await client.end();
      expect(rows).toEqual([{ name: oddName }]);
    }
    const handedOn = programEnvironment(byName.candidates[0], testEnvironment);
    expect(
      await psql({ ...handedOn, PGDATABASE: 'postgres' }, conninfoDatabase(oddName)),
    ).not.toBeNull();
    expect(await psql(handedOn)).not.toBeNull();
  });
});

describe('a connection that fails says where, in whose words, and what to do', () => {
  it('a port where nobody listens, a socket that is not there, a name that does not exist', async () => {
    const refused = await failure(resolve({ PGHOST: '127.0.0.1', PGPORT: '1' }, 'x'));
    expect(refused.code).toBe('DATABASE_UNREACHABLE');
    expect(refused.message).toMatch(/^127\.0\.0\.1:1, database "x".*ECONNREFUSED/);
    const missing = await failure(resolve({ PGHOST: '/nonexistent' }, 'x'));
    expect(missing.message).toMatch(/^socket \/nonexistent\/\.s\.PGSQL\.5432.*ENOENT/);
    const unknown = await failure(resolve({ PGHOST: 'no-such-host.invalid' }, 'x'));
    expect(unknown.code).toBe('DATABASE_UNREACHABLE');
    const several = await failure(resolve({ PGHOST: '127.0.0.1,/nonexistent', PGPORT: '1' }, 'x'));
    expect(several.message).toMatch(/ECONNREFUSED.*; socket.*ENOENT/);
  });

  it('a server that accepts and never answers ends after the time-out', async () => {
    const { createServer } = await import('node:net');
    const server = createServer();
    const port = await new Promise<number>((resolvePort) => {
      server.listen(0, '127.0.0.1', () => {
        const address = server.address();
        resolvePort(typeof address === 'object' && address !== null ? address.port : 0);
      });
    });
    const variables = { PGHOST: '127.0.0.1', PGPORT: String(port), PGCONNECT_TIMEOUT: '1' };
    const error = await failure(resolve(variables, 'x'));
    expect(error.code).toBe('DATABASE_UNREACHABLE');
    expect(error.message).toMatch(/timeout/);
    const controller = new AbortController();
    const [parameters] = (await resolve({ ...variables, PGCONNECT_TIMEOUT: '60' }, 'x')).candidates;
    const pending = connect(parameters, { signal: controller.signal });
    controller.abort();
    await expect(pending).rejects.toMatchObject({ code: 'INTERRUPTED' });
    server.close();
  });

  it('a wrong password names its source and never itself', async () => {
    const variables = { ...tcp(), PGUSER: 'with_password', PGPASSWORD: 'hunter2' };
    const wrong = await failure(resolve(variables, 'postgres'));
    expect(wrong.code).toBe('DATABASE_AUTH');
    expect(wrong.message).toContain('password authentication failed for user "with_password"');
    expect(wrong.hint).toContain('PGPASSWORD');
    expect(`${wrong.stack} ${wrong.hint} ${JSON.stringify(wrong)}`).not.toContain('hunter2');
    const { PGPASSWORD: _, ...without } = variables;
    const none = await failure(resolve(without, 'postgres'));
    expect(none.code).toBe('DATABASE_AUTH');
    expect(none.hint).toContain('.pgpass');
  });

  it('a database that does not exist, and one that the role may not enter', async () => {
    const missing = await failure(resolve({ ...tcp(), PGUSER: 'postgres' }, 'no such one'));
    expect(missing.code).toBe('DATABASE_NOT_FOUND');
    const closed = await failure(resolve({ ...tcp(), PGUSER: 'no_privilege' }, 'closed'));
    expect(closed.code).toBe('DATABASE_PRIVILEGE');
    const stranger = await failure(resolve({ ...socket(), PGUSER: 'stranger' }, 'postgres'));
    expect(stranger.code).toBe('DATABASE_AUTH');
    expect(stranger.hint).toContain('PGUSER');
    const hba = await failure(resolve({ ...tcp(), PGUSER: 'stranger' }, 'postgres'));
    expect(hba.code).toBe('DATABASE_AUTH');
    expect(hba.hint).toContain('pg_hba.conf');
    const rejected = await failure(resolve({ ...tcp(), PGUSER: 'rejected' }, 'postgres'));
    expect(rejected).toMatchObject({ code: 'DATABASE_AUTH' });
    expect(rejected.hint).toContain('reject in pg_hba.conf');
    expect(rejected.hint).not.toContain('password');
  });

  it('a certificate of another authority or name', async () => {
    const variables = { ...tcp(), PGUSER: 'postgres', PGSSLMODE: 'verify-full' };
    const other = { ...variables, PGSSLROOTCERT: join(folder, 'other.crt') };
    const untrusted = await failure(resolve({ ...other, PGHOST: 'localhost' }, 'postgres'));
    expect(untrusted.code).toBe('DATABASE_UNREACHABLE');
    expect(untrusted.hint).toContain('PGSSLROOTCERT');
    const root = { ...variables, PGSSLROOTCERT: join(folder, 'root.crt') };
    const misnamed = await failure(resolve(root, 'postgres'));
    expect(misnamed.message).toContain('does not match host name "127.0.0.1"');
    const none = await failure(resolve(variables, 'postgres'));
    expect(none.code).toBe('CONFIG_INVALID');
  });
});
