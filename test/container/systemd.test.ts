/**
 * A server that runs by itself: a fresh Debian 12 with PostgreSQL and systemd, a `.env` of five
 * lines, one command, and what can be seen of it from outside.
 */

import { CronExpressionParser } from 'cron-parser';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseCronFields, toOnCalendar } from '../../src/core/cron_fields.ts';
import { mountedCheckout } from './support/lab.ts';
import { type Server, startServer, until } from './support/server.ts';

const quote = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;

const home = '/opt/hold fast 100%';
const setup = `${quote(`${home}/scripts/setup_systemd.ts`)}`;
const repository = '/srv/my "back\\ups" 100% $(touch /tmp/evil) $HOME';
const env = [
  `BACKUP_DIR='${repository}'`,
  'SCHEDULE_ALL_DATABASES=true',
  'SCHEDULE_TIME_ZONE=America/New_York',
  'ALERT_ENDPOINT=http://127.0.0.1:8099/alerts',
  'ALERT_TOKEN=sesame',
];
const database = `app's "100%" $(touch /tmp/evil)`;

/** Keeps each alert that arrives, with its bearer token, as a line of a file. */
const receiver = `
const { createServer } = require('node:http');
const { appendFileSync } = require('node:fs');
createServer((request, response) => {
  let body = '';
  request.on('data', (chunk) => { body += chunk; });
  request.on('end', () => {
    const { authorization } = request.headers;
    appendFileSync('/var/log/alerts', JSON.stringify({ authorization, ...JSON.parse(body) }) + '\\n');
    response.writeHead(204).end();
  });
}).listen(8099, '127.0.0.1');`;

const receiverUnit = `[Service]
ExecStart=${mountedCheckout}/node_modules/.bin/node /var/lib/receiver.cjs
[Install]
WantedBy=sysinit.target
`;

interface ReceivedAlert {
  readonly authorization: string;
  readonly event: string;
  readonly key: string;
  readonly status: string;
  readonly title: string;
  readonly details: Readonly<Record<string, unknown>>;
}

const services = ['daily', 'weekly', 'monthly', 'monitor'].map((job) => `holdfast-${job}.service`);

let server: Server;

const write = (path: string, text: string) => `printf %s ${quote(text)} > ${quote(path)}`;
/** A statement as postgres, in the database of that name, whatever is in it. */
const psql = (name: string, sql: string) =>
  `cd / && PGDATABASE=${quote(name)} runuser -u postgres -- ` +
  `psql --quiet --tuples-only --command=${quote(sql)}`;
const journal = (unit: string) => server.ok(`journalctl --sync; journalctl -o cat -u ${unit}`);

async function alerts(): Promise<ReceivedAlert[]> {
  const text = await server.ok('cat /var/log/alerts 2>/dev/null || :');
  const lines = text.split('\n').filter((line) => line !== '');
  return lines.map((line): ReceivedAlert => JSON.parse(line));
}

/** The jobs as `status --json` tells them. */
async function jobs() {
  const { stdout } = await server.sh(`${setup} status --json`);
  const found: { jobs: { job: string; next: string; last_run: { state: string } | null }[] } =
    JSON.parse(stdout);
  return new Map(found.jobs.map((job) => [job.job, job]));
}

beforeAll(async () => {
  server = await startServer();
  await server.ok(`
    set -e
    mkdir ${quote(home)}
    cd ${mountedCheckout}
    tar -c package.json scripts src templates docs/alerts.md | tar -C ${quote(home)} -x
    ln -s ${mountedCheckout}/node_modules ${quote(`${home}/node_modules`)}
    ${write('/var/lib/receiver.cjs', receiver)}
    ${write('/etc/systemd/system/receiver.service', receiverUnit)}
    systemctl enable --now receiver
    pg_createcluster 15 main --start
    cd /
    ${psql('postgres', `CREATE DATABASE "${database.replaceAll('"', '""')}"`)}
    ${psql(database, 'CREATE TABLE events AS SELECT generate_series(1, 1000) AS id')}
    umask 077
    ${write(`${home}/.env`, `${env.join('\n')}\n`)}
  `);
}, 300_000);

afterAll(async () => {
  await server?.stop();
});

describe('after five lines and one command', () => {
  it('refuses what only this shell knows, and changes nothing', async () => {
    const { output, exitCode } = await server.sh(`PGUSER=nobody ${setup} --yes`);
    expect(exitCode, output).toBe(2);
    expect(output).toContain('PGUSER=nobody');
    expect(await server.ok('ls /etc/systemd/system')).not.toContain('holdfast');
  });

  it('asks first, where nobody says --yes', async () => {
    const { output, exitCode } = await server.sh(`${setup} < /dev/null`);
    expect(exitCode, output).toBe(2);
    expect(output).toContain('writes /etc/systemd/system/holdfast-daily.timer');
    expect(await server.ok('ls /etc/systemd/system')).not.toContain('holdfast');
  });

  it('is installed, the repository is that of postgres, and the monitor has looked', async () => {
    const { output, exitCode } = await server.sh(`${setup} --yes`);
    expect(exitCode, output).toBe(0);
    expect(output).toContain('installed 4 jobs in /etc/systemd/system');
    expect(output).toContain('the monitor has run: ');
    expect(await server.ok(`stat -c '%U %a' ${quote(repository)}`)).toBe('postgres 700\n');
    const root = await server.ok(`find ${quote(repository)} ! -user postgres`);
    expect(root).toBe('');
  });

  it('gives a disk of its own, which only has lost+found, to postgres too', async () => {
    const disk = '/srv/disk';
    await server.ok(`mkdir --parents ${disk}/lost+found && ${setup} print --backup-dir ${disk}`);
    expect(await server.ok(`stat -c %U ${disk}`), 'a question changes nothing').toBe('root\n');
    const { output, exitCode } = await server.sh(`${setup} --backup-dir ${disk} < /dev/null`);
    expect(exitCode, output).toBe(2);
    expect(await server.ok(`stat -c %U ${disk} ${disk}/lost+found`)).toBe('postgres\nroot\n');
  });

  it('changes nothing the second time', async () => {
    const before = await server.ok('cd /etc/systemd/system; ls -l --full-time holdfast-*');
    const again = JSON.parse(await server.ok(`${setup} --yes --json`));
    expect(again).toMatchObject({ written: [], removed: [] });
    expect(await server.ok('cd /etc/systemd/system; ls -l --full-time holdfast-*')).toBe(before);
  });

  it('starts each job at its next time, in the zone that was set', async () => {
    const planned = await jobs();
    const days = { daily: '0 2 * * *', weekly: '0 3 * * 0', monthly: '0 4 1 * *' };
    const now = Number(await server.ok('date +%s')) * 1000;
    for (const [job, text] of Object.entries(days)) {
      const next = Date.parse(planned.get(job)?.next ?? '');
      const options = { currentDate: new Date(next + 1000), tz: 'America/New_York' };
      const delay = next - CronExpressionParser.parse(text, options).prev().getTime();
      expect(next, job).toBeGreaterThan(now);
      expect(delay, job).toBeLessThanOrEqual(5 * 60_000);
    }
  });

  it.each([...services, 'holdfast-alert@.service'])(
    '%s is sound, and may do little',
    async (unit) => {
      const verified = await server.sh(`systemd-analyze verify /etc/systemd/system/${unit}`);
      expect(verified).toMatchObject({ output: '', exitCode: 0 });
      const instance = unit.replace('@', '@daily');
      const security = await server.ok(`systemd-analyze security --no-pager ${instance}`);
      const level = /exposure level for \S+: ([\d.]+)/.exec(security)?.[1];
      expect(Number(level), security).toBeLessThanOrEqual(2);
    },
  );

  it('keeps the token out of the units', async () => {
    expect((await server.sh('grep -r sesame /etc/systemd')).stdout).toBe('');
    expect(await server.ok(`stat -c '%U %a' ${quote(`${home}/.env`)}`)).toBe('root 600\n');
  });
});

describe('the services', () => {
  it('back everything up, in every tier', async () => {
    await server.ok(`systemctl start ${services.join(' ')}`);
    const list = await server.ok(`${quote(`${home}/scripts/list_backups.ts`)} --json`);
    const { backups } = JSON.parse(list) as { backups: { database: string; label: string }[] };
    for (const tier of ['daily', 'weekly', 'monthly']) {
      const own = backups.filter(({ label }) => label.includes(`-${tier}-`));
      expect(own.map((each) => each.database).toSorted()).toEqual(
        [database, 'postgres'].toSorted(),
      );
    }
    expect(await server.ok('ls /tmp')).not.toContain('evil');
  });

  it('say in the journal what they did, without colours', async () => {
    const said = await journal('holdfast-daily');
    expect(said).toContain('2 of 2 databases are backed up');
    expect(said).not.toContain('\u001b');
    expect(await journal('holdfast-monitor')).not.toContain('error: ');
  });

  it('are told of by the status', async () => {
    const table = await server.ok(`${setup} status`);
    for (const job of ['daily', 'weekly', 'monthly']) {
      expect(table).toMatch(new RegExp(`^${job} .* ok .* inactive$`, 'm'));
    }
    expect(table).toMatch(/^monitor .* (?:ok|warning|critical|unknown) .* inactive$/m);
  });

  it('archive the WAL, where setup_archiving.ts has set that up', async () => {
    const scripts = quote(`${home}/scripts`);
    await server.ok(`
      set -e
      ${scripts}/setup_archiving.ts --yes
      systemctl restart postgresql@15-main
      ${setup} --yes
      systemctl start holdfast-incremental`);
    expect(await server.ok('systemctl is-active holdfast-wal-ship')).toBe('active\n');
    expect(await journal('holdfast-incremental')).toContain('can be recovered');
    for (const unit of ['holdfast-wal-ship.service', 'holdfast-incremental.service']) {
      await server.ok(`systemd-analyze verify /etc/systemd/system/${unit}`);
      const security = await server.ok(`systemd-analyze security --no-pager ${unit}`);
      expect(Number(/exposure level for \S+: ([\d.]+)/.exec(security)?.[1])).toBeLessThanOrEqual(2);
    }
  });
});

describe('when something is wrong', () => {
  const locks = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted";
  const endLocker =
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ~ '^BEGIN; LOCK'";

  it('a run that fails alerts, and the next good one says that it is over', async () => {
    await server.ok('systemctl stop postgresql@15-main');
    const failed = await server.sh('systemctl start holdfast-daily');
    expect(failed.exitCode).not.toBe(0);
    const firing = (await alerts()).find(
      ({ event, status }) => event === 'backup' && status === 'firing',
    );
    expect(firing).toMatchObject({
      authorization: 'Bearer sesame',
      details: { job: 'daily', code: 'DATABASE_UNREACHABLE' },
    });
    await server.ok('systemctl start postgresql@15-main && systemctl start holdfast-daily');
    const over = (await alerts()).filter(({ key }) => key === firing?.key);
    expect(over.map(({ status }) => status)).toEqual(['firing', 'resolved']);
  });

  it('a run that is killed is told of by OnFailure=, and leaves no program behind', async () => {
    await server.ok(`
      (${psql(database, 'BEGIN; LOCK TABLE events; SELECT pg_sleep(600)')}) >/dev/null 2>&1 &
      until (${psql('postgres', locks)}) | grep -q 1; do sleep 0.1; done
      systemctl start --no-block holdfast-weekly
      until pgrep pg_dump >/dev/null; do sleep 0.1; done
      systemctl kill --signal=KILL --kill-who=main holdfast-weekly`);
    const told = async () =>
      (await alerts()).filter(({ key }) => key === 'check/runs/weekly').map(({ status }) => status);
    await until(async () => (await told()).length > 0);
    expect(await server.ok('systemctl is-active holdfast-weekly; pgrep pg_dump; :')).toBe(
      'failed\n',
    );
    await server.ok(psql('postgres', endLocker));
    await server.ok('systemctl start holdfast-weekly');
    await until(async () => {
      await server.ok('systemctl start holdfast-monitor');
      return (await told()).length > 1;
    });
    expect(await told()).toEqual(['firing', 'resolved']);
  });

  it('what was missed while the machine was off is made up for at its next start', async () => {
    const labels = async () => {
      const folder = `${quote(`${repository}/full`)}`;
      return (await server.ok(`find ${folder} -name '*-monthly-*' -type d`)).trim().split('\n');
    };
    const before = await labels();
    // A drop-in of the user's: without it the start is delayed by chance, as always.
    const dropIn = '/etc/systemd/system/holdfast-monthly.timer.d';
    await server.ok(`
      mkdir ${dropIn} && printf '[Timer]\\nRandomizedDelaySec=0\\n' > ${dropIn}/now.conf
      systemctl stop holdfast-monthly.timer
      touch --date='40 days ago' /var/lib/systemd/timers/stamp-holdfast-monthly.timer`);
    await server.reboot();
    await until(async () => (await labels()).length === before.length + 2);
    await until(async () => (await jobs()).get('monthly')?.last_run?.state === 'ended');
    await server.ok(`rm -r ${dropIn}`);
    expect(await server.ok('systemctl is-active holdfast-wal-ship')).toBe('active\n');
  });
});

describe('the times of a crontab', () => {
  const texts = [
    '0 2 * * *',
    '*/15 * * * *',
    '5 * * * *',
    '30 1 * * 1-5',
    '0 3 * * 0',
    '0 4 1 * *',
    '0 4 13 * 5',
    '7,37 8-18/2 1-7 jan,jul *',
    '59 23 31 12 *',
    '0 0 29 2 *',
  ];
  const count = 12;
  const from = '2026-11-21 22:00:00';

  it.each(texts)('%s come at the same moments by systemd', async (text) => {
    const lists = toOnCalendar(parseCronFields(text, 'schedule.daily'), 'UTC');
    const command = `TZ=UTC systemd-analyze calendar --iterations=${count} --base-time='${from}'`;
    const output = await server.ok(lists.map((each) => `${command} ${quote(each)}`).join(' && '));
    const times = [...output.matchAll(/\w{3} (\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d) UTC/g)];
    const moments = times.map(([, day, time]) => Date.parse(`${day}T${time}Z`));
    const schedule = CronExpressionParser.parse(text, { currentDate: `${from}Z`, tz: 'UTC' });
    const expected = schedule.take(count).map((each) => each.getTime());
    const merged = [...new Set(moments)].toSorted((a, b) => a - b).slice(0, count);
    expect(merged).toEqual(expected);
  });
});

describe('at the end', () => {
  it('a job that is off loses its units', async () => {
    await server.ok(`echo SCHEDULE_MONTHLY=off >> ${quote(`${home}/.env`)}; ${setup} --yes`);
    expect(await server.ok('ls /etc/systemd/system /var/lib/systemd/timers')).not.toContain(
      'holdfast-monthly',
    );
  });

  it('an uninstallation leaves nothing but the backups', async () => {
    await server.ok(`${setup} uninstall --yes`);
    const left = await server.ok("find /etc /run /tmp /usr /var -name '*holdfast*'");
    expect(left).toBe('');
    const units = await server.ok("systemctl list-units --all --no-legend 'holdfast*'");
    expect(units).toBe('');
    expect(await server.ok(`ls ${quote(`${repository}/full`)}`)).not.toBe('');
  });
});

describe('the systemd of a user', () => {
  const runtime = '/run/user/101';
  const asUser = `runuser -u postgres -- env HOME=/var/lib/postgresql XDG_RUNTIME_DIR=${runtime}`;

  it('runs it without root, and forgets it again', async () => {
    // What logind does at a login, with a PAM module that this image does not have.
    await server.ok(`
      set -e
      install --directory --owner=postgres --mode=0700 ${runtime}
      systemd-run --quiet --unit=manager --property=User=postgres --property=Delegate=yes \\
        --property=Type=notify --setenv=XDG_RUNTIME_DIR=${runtime} /lib/systemd/systemd --user
      chgrp postgres ${quote(`${home}/.env`)} && chmod 640 ${quote(`${home}/.env`)}`);
    const installed = await server.sh(`${asUser} ${setup} --user --yes`);
    expect(installed.exitCode, installed.output).toBe(0);
    expect(installed.output).toContain('loginctl enable-linger postgres');
    await server.ok(`${asUser} systemctl --user start holdfast-daily`);
    const status = await server.ok(`${asUser} ${setup} --user status`);
    expect(status).toMatch(/^daily .* ok .* inactive$/m);
    await server.ok(`${asUser} ${setup} --user uninstall --yes`);
    expect(await server.ok("find /var/lib/postgresql -name 'holdfast-*.*'")).toBe('');
  });
});
