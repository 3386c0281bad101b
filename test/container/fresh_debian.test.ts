/**
 * A stranger's first minutes: a clone on a bare Debian 12 that has Debian's own npm (on Node 18)
 * and nothing else, where root types `npm run quickstart`.
 */

import { access } from 'node:fs/promises';
import { GenericContainer, type StartedTestContainer } from 'testcontainers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkout, idle, labImage, mountedCheckout, outputOf } from './support/lab.ts';

const home = '/opt/holdfast';

/** How this machine reaches npm's registry: its settings, proxies and certificates. */
async function npmSurroundings() {
  const files: { source: string; target: string }[] = [];
  const certificates = '/etc/ssl/certs/ca-certificates.crt';
  const userConfig = (await outputOf('npm', ['config', 'get', 'userconfig'])).trim();
  const globalConfig = (await outputOf('npm', ['config', 'get', 'globalconfig'])).trim();
  for (const [source, target] of [
    [userConfig, '/root/.npmrc'],
    [globalConfig, '/etc/npmrc'],
    [certificates, certificates],
  ] as const) {
    if (
      await access(source).then(
        () => true,
        () => false,
      )
    )
      files.push({ source, target });
  }
  const names = /^(https?_proxy|no_proxy|npm_config_registry)$/i;
  const environment = Object.fromEntries(
    Object.entries(process.env).filter(([name, value]) => names.test(name) && value !== undefined),
  ) as Record<string, string>;
  return { files, environment: { ...environment, NODE_EXTRA_CA_CERTS: certificates } };
}

describe('npm run quickstart on a fresh Debian 12', () => {
  let container: StartedTestContainer;

  async function sh(script: string) {
    return container.exec(['sh', '-c', script]);
  }

  beforeAll(async () => {
    const { files, environment } = await npmSurroundings();
    container = await new GenericContainer(labImage('HOLDFAST_IMAGE_FRESH'))
      .withNetworkMode('host')
      .withBindMounts([{ source: checkout, target: mountedCheckout, mode: 'ro' }])
      .withCopyFilesToContainer(files)
      .withEnvironment(environment)
      .withCommand(idle)
      .start();
    // What a clone would hold: the files that git knows or would add, nothing that is ignored.
    const listed = await outputOf('git', [
      ...['ls-files', '-z', '--cached', '--others', '--exclude-standard', '--deduplicate'],
    ]);
    await container.copyContentToContainer([{ content: listed, target: '/tmp/files' }]);
    const copied = await sh(
      `mkdir ${home} && tar -C ${mountedCheckout} --null --files-from=/tmp/files -c | tar -C ${home} -x`,
    );
    expect(copied.exitCode, copied.output).toBe(0);
  }, 300_000);

  afterAll(async () => {
    await container?.stop();
  });

  it('starts without Node 24, without PostgreSQL and without zstd', async () => {
    const { stdout } = await sh('node --version; command -v initdb pg_dump zstd; ls /usr/lib');
    expect(stdout).toMatch(/^v18\./);
    expect(stdout).not.toMatch(/initdb|pg_dump|zstd|postgresql/);
  });

  it('ends well, having said what it installs', async () => {
    const { output, exitCode } = await sh(`cd ${home} && npm run quickstart`);
    expect(exitCode, output).toBe(0);
    expect(output).toContain('installing Node 24 and the npm packages');
    expect(output).toContain('all 1500 rows were there');
    expect(output).toContain('installing the system packages postgresql postgresql-client zstd');
  });

  it('leaves no server behind: none that runs, none that would start at the next boot', async () => {
    const { stdout } = await sh('ps -eo comm | grep postgres; ls -A /etc/postgresql');
    expect(stdout).toBe('');
    const dropins = await sh('ls /etc/postgresql-common/createcluster.d');
    expect(dropins.stdout).toBe('');
  });

  it('has nothing left to install the second time, and says nothing', async () => {
    const again = await sh(`sh ${home}/scripts/bootstrap.sh --postgres`);
    expect(again).toMatchObject({ output: '', exitCode: 0 });
  });
});
