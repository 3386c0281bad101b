import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HoldfastError } from '../../../src/core/errors.ts';
import {
  chooseTool,
  type FindToolsOptions,
  findTool,
  listTools,
  parseToolVersion,
  type Tool,
} from '../../../src/postgres/tools.ts';

describe('the answer to --version', () => {
  it.each([
    ['pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)', '15.18', 15],
    ['pg_restore (PostgreSQL) 18beta1', '18beta1', 18],
    ['psql (PostgreSQL) 16devel', '16devel', 16],
    ['pg_dump (PostgreSQL) 9.6.24', '9.6.24', 9],
  ])('%s', (answer, version, major) => {
    expect(parseToolVersion(answer)).toEqual({ version, major });
  });

  it('of another program is none', () => {
    expect(parseToolVersion('pgcopydb version 0.17')).toBeNull();
  });
});

const tool = (version: string): Tool => ({
  path: `/opt/${version}/pg_dump`,
  version,
  major: Number.parseInt(version, 10),
  directory: `/opt/${version}`,
});

describe('choosing by version', () => {
  const all = ['16.2', '15.9', '15.18', '18beta1', '14.3', '17.0'].map(tool);
  it.each([
    ['the same major, its newest release', { serverMajor: 15 }, '15.18'],
    ['the lowest newer one where it lacks', { serverMajor: 13 }, '14.3'],
    ["a restore: the target's own where new enough", { serverMajor: 17, minimumMajor: 15 }, '17.0'],
    ['a restore into an older server', { serverMajor: 14, minimumMajor: 16 }, '16.2'],
    ['no wish: the newest', {}, '18beta1'],
  ])('%s', (_, wish, version) => {
    expect(chooseTool(all, wish)?.version).toBe(version);
  });

  it('never an older one', () => {
    expect(chooseTool(all, { serverMajor: 19 })).toBeNull();
    expect(chooseTool([], { serverMajor: 15 })).toBeNull();
  });
});

describe('looking for programs', () => {
  let root: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'holdfast tools '));
  });
  afterEach(() => {
    rmSync(root, { recursive: true });
  });

  /** A program that only knows its version. */
  function install(path: string, version: string): string {
    const file = join(root, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, `#!/bin/sh\necho "pg_dump (PostgreSQL) ${version}"\n`);
    chmodSync(file, 0o755);
    return file;
  }
  const options = (more: Partial<FindToolsOptions> = {}): FindToolsOptions => ({
    program: 'pg_dump',
    environment: { PATH: join(root, 'usr/bin') },
    root,
    ...more,
  });

  it('finds the layouts of Debian, RHEL, Homebrew and Postgres.app, and PATH', async () => {
    install('usr/lib/postgresql/15/bin/pg_dump', '15.18');
    install('usr/pgsql-16/bin/pg_dump', '16.2');
    install('opt/homebrew/opt/postgresql@17/bin/pg_dump', '17.1');
    install('Applications/Postgres.app/Contents/Versions/18/bin/pg_dump', '18.0');
    install('usr/bin/pg_dump', '14.9');
    const found = await listTools(options());
    expect(found.map(({ major }) => major).sort()).toEqual([14, 15, 16, 17, 18]);
    const { path, directory } = await findTool(options({ serverMajor: 16 }));
    expect(path).toBe(join(root, 'usr/pgsql-16/bin/pg_dump'));
    expect(directory).toBe(join(root, 'usr/pgsql-16/bin'));
  });

  it("passes over Debian's wrapper, and counts a link to a program once", async () => {
    const wrapper = install('usr/share/postgresql-common/pg_wrapper', '18.0');
    mkdirSync(join(root, 'usr/bin'));
    symlinkSync(wrapper, join(root, 'usr/bin/pg_dump'));
    const real = install('usr/lib/postgresql/15/bin/pg_dump', '15.18');
    mkdirSync(join(root, 'usr/pgsql-15/bin'), { recursive: true });
    symlinkSync(real, join(root, 'usr/pgsql-15/bin/pg_dump'));
    expect((await listTools(options())).map(({ path }) => path)).toEqual([real]);
  });

  it('looks nowhere else when pg_bin_dir is set', async () => {
    install('usr/lib/postgresql/15/bin/pg_dump', '15.18');
    install('custom/pg_dump', '17.0');
    const pgBinDir = join(root, 'custom');
    expect((await findTool(options({ serverMajor: 15, pgBinDir }))).version).toBe('17.0');
    const error = await findTool(options({ serverMajor: 18, pgBinDir })).catch((e) => e);
    expect(error.message).toContain('setting pg_bin_dir');
  });

  it('says what was found and which package to install when all are too old', async () => {
    install('etc/os-release', '');
    writeFileSync(join(root, 'etc/os-release'), 'ID=debian\nVERSION_CODENAME=bookworm\n');
    install('usr/lib/postgresql/15/bin/pg_dump', '15.18');
    const error = await findTool(options({ serverMajor: 18 })).catch((e) => e);
    expect(error).toBeInstanceOf(HoldfastError);
    expect(error.code).toBe('TOOL_TOO_OLD');
    expect(error.status).toBe(8);
    expect(error.message).toContain('pg_dump 18 or newer');
    expect(error.message).toContain('15.18');
    if (process.platform === 'linux') expect(error.hint).toContain('postgresql-client-18');
  });

  it('says that none is there, or only a broken one', async () => {
    const broken = install('usr/bin/pg_dump', '15.18');
    writeFileSync(broken, '#!/bin/sh\nexit 1\n');
    const error = await findTool(options({ serverMajor: 15 })).catch((e) => e);
    expect(error).toMatchObject({ code: 'TOOL_TOO_OLD', status: 8 });
    expect(error.message).toContain('there is none on this machine');
    const any = await findTool(options({})).catch((e) => e);
    expect(any.code).toBe('PROGRAM_MISSING');
  });

  it('takes a pg_bin_dir without the program for a wrong setting', async () => {
    install('usr/lib/postgresql/15/bin/pg_dump', '15.18');
    const pgBinDir = join(root, 'nothing here');
    const error = await findTool(options({ serverMajor: 15, pgBinDir })).catch((e) => e);
    expect(error).toMatchObject({ code: 'CONFIG_INVALID', status: 2 });
    expect(error.message).toContain(`${pgBinDir} holds no pg_dump`);
  });
});
