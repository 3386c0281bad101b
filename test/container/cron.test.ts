/**
 * A server with Debian's own cron: the schedule goes into the crontab of postgres, beside lines of
 * others, and into /etc/cron.d; jobs of every minute run with what cron gives them.
 */

import { GenericContainer, type StartedTestContainer } from 'testcontainers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { shellQuote as quote } from '../../src/core/quote.ts';
import { checkout, idle, labImage, mountedCheckout } from './support/lab.ts';
import { until } from './support/server.ts';

const home = "/opt/hold fast 100% it's";
const setup = quote(`${home}/scripts/setup_cron.ts`);
/** The repository of the crontab of postgres, and that of /etc/cron.d. */
const repository = "/srv/re po 5%% $HOME it's";
const systemRepository = '/srv/system';
const env = [
  `BACKUP_DIR="${repository}"`,
  'PGDATABASE=app',
  'MIN_DISK_SPACE_GB=0',
  'SCHEDULE_DAILY=* * * * *',
  'SCHEDULE_MONITOR=* * * * *',
  'SCHEDULE_WEEKLY=off',
  'SCHEDULE_MONTHLY=off',
];
/** cron looks every minute, and a job may take its time on a machine that is busy. */
const cronSeconds = 240;
/** What postgres has in its crontab: a percent sign begins what the command reads. */
const foreign = [
  'MAILTO=""',
  '# a line of somebody else, at 100%',
  '* * * * * cat >/tmp/foreign\\%file%first line%second line\r',
  '',
  '@daily true',
].join('\n');

let container: StartedTestContainer;

const sh = (script: string) => container.exec(['bash', '-c', script]);
async function ok(script: string): Promise<string> {
  const { stdout, output, exitCode } = await sh(script);
  if (exitCode !== 0) throw new Error(`${script}\nended with ${exitCode}:\n${output}`);
  return stdout;
}
const write = (path: string, text: string) => `printf %s ${quote(text)} > ${quote(path)}`;
const system = `--system --backup-dir ${systemRepository}`;
/** What a command prints, byte for byte: testcontainers takes each `\r` away. */
const bytesOf = async (command: string) =>
  Buffer.from((await ok(`${command} | od -A n -v -t x1`)).replace(/\s/g, ''), 'hex').toString();
/** Without cron's own three lines; `crontab -l` of Debian does not tell a `\r` from its name. */
const crontab = () => bytesOf('sed 1,3d /var/spool/cron/crontabs/postgres');
const ownersBelow = (path: string) => ok(`find ${quote(path)} -printf '%U %G\\n' | sort -u`);
const postgresIds = () => ok("printf '%s %s\\n' $(id -u postgres) $(id -g postgres)");

interface Job {
  readonly name: string;
  readonly next: string;
  readonly last_run: { readonly state: string; readonly exit_status: number } | null;
}

async function jobs(flags = ''): Promise<Job[]> {
  const { stdout } = await sh(`${setup} status --json ${flags}`);
  return JSON.parse(stdout).jobs;
}

async function haveEnded(flags: string): Promise<boolean> {
  const found = await jobs(flags);
  return found.length === 2 && found.every(({ last_run: run }) => run?.state === 'ended');
}

beforeAll(async () => {
  container = await new GenericContainer(labImage('HOLDFAST_IMAGE_SERVER'))
    .withNetworkMode('none')
    .withBindMounts([{ source: checkout, target: mountedCheckout, mode: 'ro' }])
    .withCommand(idle)
    .start();
  await ok(`
    set -e
    mkdir ${quote(home)}
    tar -C ${mountedCheckout} -c package.json scripts src templates | tar -C ${quote(home)} -x
    ln -s ${mountedCheckout}/node_modules ${quote(`${home}/node_modules`)}
    pg_createcluster 15 main --start
    cd /
    runuser -u postgres -- createdb app
    runuser -u postgres -- psql --quiet --dbname=app \\
      --command='CREATE TABLE events AS SELECT generate_series(1, 1000) AS id'
    ${write('/tmp/crontab', `${foreign}\n`)}
    crontab -u postgres /tmp/crontab
    ${write(`${home}/.env`, `${env.join('\n')}\n`)}
  `);
}, 300_000);

afterAll(async () => {
  await container?.stop({ timeout: 1000 });
});

describe('a schedule for cron', () => {
  it('is refused where its owner could not read the settings', async () => {
    await ok(`chmod 600 ${quote(`${home}/.env`)}`);
    const { output, exitCode } = await sh(`${setup} --yes`);
    expect(exitCode, output).toBe(2);
    expect(output).toContain(`postgres may not read ${home}/.env`);
    await ok(`chown postgres ${quote(`${home}/.env`)}`);
  });

  it('goes into the crontab of postgres, who owns the repository that root has begun', async () => {
    const { output, exitCode } = await sh(`${setup} --yes`);
    expect(exitCode, output).toBe(0);
    expect(output).toContain('installed 2 jobs in the crontab of postgres');
    expect(output).toContain('no cron is running here');
    expect(output).toContain("the monitor's first look: CRITICAL");
    expect((await crontab()).startsWith(`${foreign}\n# BEGIN holdfast ${repository}\n`)).toBe(true);
    expect(await ownersBelow(repository)).toBe(await postgresIds());
  });

  it('goes into /etc/cron.d, by root alone', async () => {
    const { output, exitCode } = await sh(`runuser -u postgres -- ${setup} --yes ${system}`);
    expect(exitCode, output).not.toBe(0);
    const twice = await sh(`${setup} --yes --system`);
    expect(twice.exitCode, twice.output).toBe(2);
    expect(twice.output).toContain('the crontab of postgres has the schedule already');
    // An empty folder that root has made is nobody's repository yet; one that is begun is.
    await ok(`mkdir ${systemRepository}`);
    const installed = await sh(`${setup} --yes ${system} --run-as postgres`);
    expect(installed.exitCode, installed.output).toBe(0);
    expect(await ok('stat --format="%a %U %G" /etc/cron.d/holdfast')).toBe('644 root root\n');
    expect(await ok('cat /etc/cron.d/holdfast')).toContain('\n* * * * * postgres ');
    expect(await ownersBelow(systemRepository)).toBe(await postgresIds());
    const other = await sh(`${setup} print ${system} --run-as nobody`);
    expect(other.exitCode, other.output).toBe(2);
    expect(other.output).toContain(`${systemRepository} belongs to postgres`);
  });

  it('runs with what cron gives, and status tells how', async () => {
    await ok('cron');
    for (const flags of ['', system]) await until(() => haveEnded(flags), cronSeconds);
    // What begins meanwhile ends by itself: nothing is under way when the rest is looked at.
    await ok('kill "$(cat /run/crond.pid)"');
    for (const flags of ['', system]) await until(() => haveEnded(flags), cronSeconds);
    for (const folder of [repository, systemRepository]) {
      const manifests = await ok(`find ${quote(`${folder}/full`)} -name manifest.json`);
      expect(manifests).toMatch(/\/app\/\d{8}T\d{6}Z-daily-/);
      const log = await ok(`cat ${quote(`${folder}/logs/cron.log`)}`);
      expect(log).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ backup_full\.ts --type daily /m);
      expect(log).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ monitor_backups\.ts alert /m);
      expect(await ownersBelow(folder)).toBe(await postgresIds());
    }
    const [daily] = await jobs();
    expect(daily).toMatchObject({ name: 'daily', last_run: { exit_status: 0 } });
    expect(Date.parse(daily?.next ?? '')).toBeGreaterThan(Date.now() - 120_000);
    const { stdout } = await sh(`${setup} status ${system}`);
    expect(stdout).toMatch(/^daily +\* \* \* \* \* +\d{4}-.* ok +[\d.]+ s$/m);
    expect(await bytesOf("cat '/tmp/foreign%file'")).toBe('first line\nsecond line\r\n');
    expect(await ok('ls /var/mail /var/spool/mail 2>/dev/null || :')).not.toMatch(/postgres/);
  }, 600_000);

  it('is taken out without a trace', async () => {
    for (const flags of ['', system]) await ok(`${setup} uninstall --yes ${flags}`);
    expect(await crontab()).toBe(`${foreign}\n`);
    const { stdout, exitCode } = await sh('ls /etc/cron.d/holdfast; crontab -u root -l');
    expect(exitCode).not.toBe(0);
    expect(stdout).toBe('');
    expect((await sh(`${setup} status`)).exitCode).toBe(3);
  });

  it('comes and goes also where postgres has no crontab, and where it may have none', async () => {
    await ok(`crontab -u postgres -r; ${setup} --yes; ${setup} uninstall --yes`);
    expect((await sh('crontab -u postgres -l')).output).toContain('no crontab for postgres');
    await ok('echo postgres >/etc/cron.deny');
    const { output, exitCode } = await sh(`${setup} --yes`);
    expect(exitCode, output).toBe(3);
    expect(output).toContain('not allowed');
    await ok('mv /usr/bin/crontab /tmp/crontab.away');
    const missing = await sh(`${setup} status`);
    expect(missing.exitCode, missing.output).toBe(3);
    expect(missing.output).toContain('apt-get install cron');
  });
});
