/**
 * scripts/monitor_backups.ts on a real server and repository: all is well, one trouble after the
 * other, and the days on which the repository or the server is not there.
 */

import { chmod, mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Ajv } from 'ajv';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { HealthFinding } from '../../src/core/health.ts';
import { type MonitorReport, parseMonitorReport } from '../../src/core/monitor_report.ts';
import { type AlertReceiver, startAlertReceiver } from '../support/alert_receiver.ts';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { type Outcome, runCommand } from '../support/command.ts';
import { flipped, openWorkbench, type TakenBackup, type Workbench } from '../support/workbench.ts';

const schemaFile = join(import.meta.dirname, '../../docs/schemas/monitor.schema.json');
/** The disks of this machine are not what is tested. */
const calm = { MAX_DISK_USED_PERCENT: '100', MIN_DAYS_UNTIL_FULL: '0' };

let cluster: TestCluster;
let bench: Workbench;
let receiver: AlertReceiver;
let taken: TakenBackup;

beforeAll(async () => {
  cluster = await startTestCluster();
  receiver = await startAlertReceiver();
  bench = await openWorkbench(cluster, { ...calm, PGDATABASE: 'shop', CLUSTER: 'main' });
  await cluster.sql('CREATE DATABASE shop');
  await cluster.sql('CREATE TABLE goods AS SELECT generate_series(1, 100) AS id', 'shop');
  taken = await bench.backUp('shop');
});

afterAll(async () => {
  await receiver?.close();
  await cluster?.stop({ immediate: true });
  await bench?.remove();
});

function reportOf({ stdout }: Outcome): MonitorReport {
  return parseMonitorReport(Buffer.from(stdout)) as MonitorReport;
}

function findingsOf(outcome: Outcome, check: HealthFinding['check']): readonly HealthFinding[] {
  return reportOf(outcome).findings.filter((finding) => finding.check === check);
}

/** As the schedule runs it, with alerts that go to the receiver. */
async function alertRun(environment: Readonly<Record<string, string>> = {}) {
  const before = receiver.alerts.length;
  const outcome = await bench.run('monitor_backups', ['alert', '--json'], {
    environment: { ALERT_ENDPOINT: receiver.url, ...environment },
  });
  const sent = receiver.alerts.slice(before).map(({ status, event }) => `${status} ${event}`);
  return { outcome, sent };
}

/** Names, sizes and times of all that lies in the repository, but for logs and memory. */
async function backupsAsTheyLie(): Promise<unknown> {
  const paths = await readdir(bench.repository, { recursive: true });
  const ours = paths.filter((path) => !/^(?:logs|state)(?:\/|$)/.test(path)).toSorted();
  return Promise.all(
    ours.map(async (path) => {
      const { size, mtimeMs, ino } = await stat(join(bench.repository, path));
      return { path, size, mtimeMs, ino };
    }),
  );
}

describe('where all is well', () => {
  it('it says so, how much would be lost, and ends with 0', async () => {
    const outcome = await bench.run('monitor_backups', []);
    expect(outcome.status, outcome.stdout).toBe(0);
    expect(outcome.stdout).toMatch(
      /^recoverable +work lost +newest point\nshop of main +\d+ s +20/,
    );
    expect(outcome.stdout).toMatch(/^ok +backup_age +main\/shop: the last good full backup/m);
    expect(outcome.stdout).toMatch(/^ok +integrity /m);
    expect(outcome.stdout).toMatch(/^ok +archiver /m);
    expect(outcome.stdout).toMatch(/\nAll is well: \d+ findings\.\n$/);
  });

  it('check --quiet says nothing, and report everything', async () => {
    const quiet = await bench.run('monitor_backups', ['check', '--quiet']);
    expect(quiet).toMatchObject({ status: 0, stdout: '' });
    const long = await bench.run('monitor_backups', ['report']);
    expect(long.stdout).toMatch(
      /backup_age.*\n +expected +a full backup that ended at most 25 h ago/,
    );
    expect(long.stdout.length).toBeGreaterThan(500);
  });

  it('--json is one document of the published schema', async () => {
    const outcome = await bench.run('monitor_backups', ['--json']);
    const schema = JSON.parse(await readFile(schemaFile, 'utf8'));
    const validate = new Ajv({ strict: true, allowUnionTypes: true }).compile(schema);
    expect(validate(JSON.parse(outcome.stdout)), JSON.stringify(validate.errors)).toBe(true);
    const [point] = reportOf(outcome).headline.filter(({ database }) => database === 'shop');
    expect(point).toMatchObject({ cluster: 'main', at: taken.manifest.started_at });
  });

  it('--prometheus writes the metrics of the same run', async () => {
    const file = join(bench.folder, 'holdfast.prom');
    const outcome = await bench.run('monitor_backups', ['check', '--prometheus', file]);
    expect(outcome.status, outcome.stderr).toBe(0);
    const text = await readFile(file, 'utf8');
    expect(text).toMatch(/^holdfast_backup_age_seconds\{cluster="main",database="shop"\} [\d.]+$/m);
    // All but those of several stores, of drills, of archived WAL and of a disk that fills up.
    for (const name of [
      ...[
        'last_backup_bytes',
        'backups',
        'disk_free_bytes',
        'disk_size_bytes',
        'clock_skew_seconds',
      ],
      ...['wal_waiting_segments', 'wal_free_bytes', 'slot_retained_bytes', 'check_status'],
    ]) {
      expect(text).toMatch(new RegExp(`^holdfast_${name}\\{.*\\} -?[\\d.e-]+$`, 'm'));
    }
    expect(text).toMatch(/^holdfast_monitor_status 0$/m);
    expect((await stat(file)).mode & 0o777).toBe(0o644);
    const wrong = await bench.run('monitor_backups', ['--prometheus', '/x/holdfast.txt']);
    expect(wrong.status).toBe(2);
    expect(wrong.stderr).toContain('does not end in .prom');
  });

  it('nothing is alerted', async () => {
    const { outcome, sent } = await alertRun();
    expect(outcome.status, outcome.stdout).toBe(0);
    expect(sent).toEqual([]);
    expect(JSON.parse(outcome.stdout).alerts).toMatchObject({ made: 0, waiting: 0 });
  });
});

describe('a byte that somebody flipped', () => {
  let whole: Buffer;
  let path: string;
  beforeAll(async () => {
    path = join(taken.folder, 'database.dump.zst');
    whole = await readFile(path);
    await chmod(path, 0o600);
    await writeFile(path, flipped(whole));
  });

  it('is critical, explained, and alerted once with what to do', async () => {
    const shown = await bench.run('monitor_backups', []);
    expect(shown.status, shown.stdout).toBe(2);
    expect(shown.stdout).toMatch(
      /^CRITICAL +integrity .*\n +expected .*\n +found .*\n[\s\S]* +do +/m,
    );
    const [log = ''] = await readdir(join(bench.repository, 'logs'));
    const lines = await readFile(join(bench.repository, 'logs', log), 'utf8');
    expect(lines).toMatch(/"msg":"found".*"check":"integrity"|"check":"integrity".*"msg":"found"/);
    const first = await alertRun();
    expect(first.outcome.status).toBe(2);
    expect(first.sent).toContain('firing check.integrity');
    const alert = receiver.alerts.findLast(({ event }) => event === 'check.integrity');
    expect(alert).toMatchObject({ priority: 'critical' });
    expect(alert?.details.runbook).toMatch(/docs\/alerts\.md#integrity$/);
    expect((await alertRun()).sent).toEqual([]);
  });

  it('is resolved when the bytes are right again', async () => {
    await writeFile(path, whole);
    const { outcome, sent } = await alertRun();
    expect(outcome.status, outcome.stdout).toBe(0);
    expect(sent).toContain('resolved check.integrity');
    expect((await alertRun()).sent).toEqual([]);
  });
});

describe('a server that does not answer', () => {
  it('makes its own checks unknown, alerts that, and hides no other', async () => {
    const nowhere = { PGHOST: '127.0.0.1', PGPORT: '1' };
    const { outcome, sent } = await alertRun(nowhere);
    const report = reportOf(outcome);
    expect(findingsOf(outcome, 'archiver').map(({ level }) => level)).not.toContain('ok');
    expect(findingsOf(outcome, 'integrity')).toMatchObject([{ level: 'ok' }]);
    expect(report.headline.map(({ database }) => database)).toContain('shop');
    expect(outcome.status).toBeGreaterThan(0);
    expect(sent.length).toBeGreaterThan(0);
    const again = await alertRun();
    expect(again.outcome.status, again.outcome.stdout).toBe(0);
    expect(again.sent).toEqual(sent.map((text) => text.replace('firing', 'resolved')));
  });
});

describe('on another host', () => {
  it('without a database in its settings, it tells what the backups tell, and asks nobody', async () => {
    const environment = { BACKUP_DIR: bench.repository, MIN_DISK_SPACE_GB: '0', ...calm };
    const outcome = await runCommand('monitor_backups', ['--json'], { environment });
    const report = reportOf(outcome);
    expect(outcome.status, outcome.stdout).toBe(0);
    expect(report.headline).toMatchObject([{ cluster: 'main', database: 'shop' }]);
    const checks = new Set(report.findings.map(({ check }) => check));
    expect([...checks]).toEqual(expect.arrayContaining(['backup_age', 'integrity', 'space']));
    expect(checks.has('archiver')).toBe(false);
  });

  it('the repository may be read-only; where it is backed up to, that is critical', async () => {
    const full = join(bench.repository, 'full');
    await chmod(full, 0o500);
    try {
      const environment = { BACKUP_DIR: bench.repository, MIN_DISK_SPACE_GB: '0', ...calm };
      const elsewhere = await runCommand('monitor_backups', ['--json'], { environment });
      expect(findingsOf(elsewhere, 'repository')).toMatchObject([{ level: 'ok' }]);
      const here = await bench.run('monitor_backups', ['--json']);
      // Nothing keeps root from writing.
      const level = process.geteuid?.() === 0 ? 'ok' : 'critical';
      expect(findingsOf(here, 'repository')).toMatchObject([{ level }]);
    } finally {
      await chmod(full, 0o700);
    }
  });
});

describe('the repository', () => {
  it('is left as it was, whatever is looked at', async () => {
    const before = await backupsAsTheyLie();
    for (const action of ['check', 'report', 'verify'])
      expect((await bench.run('monitor_backups', [action])).status).toBe(0);
    expect(await backupsAsTheyLie()).toEqual(before);
  });

  it('need not take logs or memory: the run goes on and says so', async () => {
    const aside: [string, string][] = ['logs', 'state'].map((name) => {
      const path = join(bench.repository, name);
      return [path, join(bench.folder, `${name}.aside`)];
    });
    for (const [path, to] of aside) {
      await rename(path, to);
      // Nothing can be made below a file, by root neither.
      await writeFile(path, '');
    }
    try {
      const outcome = await bench.run('monitor_backups', ['--json']);
      expect(reportOf(outcome).headline.map(({ database }) => database)).toContain('shop');
      expect(outcome.stderr).toMatch(/this run has no whole log file/);
    } finally {
      for (const [path, from] of aside) {
        await rm(path);
        await rename(from, path);
      }
    }
  });

  it('that is damaged, or gone, is critical; it is not begun anew, and that is alerted', async () => {
    const head = join(bench.repository, 'holdfast.json');
    const bytes = await readFile(head);
    await chmod(head, 0o600);
    await writeFile(head, '{"format"');
    const damaged = await alertRun();
    expect(damaged.outcome.status).toBe(2);
    expect(findingsOf(damaged.outcome, 'repository')).toMatchObject([{ level: 'critical' }]);
    expect(damaged.sent).toEqual(['firing check.repository']);
    await writeFile(head, bytes);
    expect((await alertRun()).sent).toEqual(['resolved check.repository']);

    const gone = join(bench.folder, 'not mounted');
    await mkdir(gone);
    const lost = await alertRun({ BACKUP_DIR: gone });
    expect(lost.outcome.status).toBe(2);
    expect(lost.sent).toEqual(['firing check.repository']);
    expect(findingsOf(lost.outcome, 'archiver')).toHaveLength(1);
    expect(await readdir(gone)).toEqual([]);
  });
});

describe('alert', () => {
  it('--test tries every channel, and says which does not deliver', async () => {
    const endpoint = { ALERT_ENDPOINT: receiver.url };
    const good = await bench.run('monitor_backups', ['alert', '--test'], { environment: endpoint });
    expect(good.status, good.stderr).toBe(0);
    expect(good.stdout).toMatch(/endpoint .* delivered/);
    expect(receiver.alerts.at(-1)).toMatchObject({ event: 'test', status: 'firing' });
    const dead = { ...endpoint, SLACK_WEBHOOK_URL: 'http://127.0.0.1:1/hook' };
    const bad = await bench.run('monitor_backups', ['alert', '--test', '--json'], {
      environment: dead,
    });
    expect(bad.status).toBe(2);
    const { channels } = JSON.parse(bad.stdout);
    expect(channels).toMatchObject([{ delivered: true }, { delivered: false }]);
    const none = await bench.run('monitor_backups', ['alert', '--test']);
    expect(none.status).toBe(2);
    expect(none.stderr).toContain('no channel of the alerts is set');
  });

  it('--job-failed tells of a job that died, and not of one that told it itself', async () => {
    const environment = { ALERT_ENDPOINT: receiver.url };
    const tell = async () => {
      const before = receiver.alerts.length;
      const argv = ['alert', '--job-failed', 'daily'];
      const outcome = await bench.run('monitor_backups', argv, { environment });
      expect(outcome.status, outcome.stderr).toBe(0);
      return receiver.alerts.slice(before).map(({ event, title }) => `${event}: ${title}`);
    };
    const failed = await bench.run('backup_full', ['nowhere', '--job', 'daily'], { environment });
    expect(failed.status).toBe(8);
    expect(await tell()).toEqual([]);
    // The monitor sees it too, and does not tell by other names what the run has told.
    const { outcome, sent } = await alertRun();
    const { findings } = reportOf(outcome);
    const wrong = findings.filter(({ level }) => level !== 'ok').map(({ check }) => check);
    expect(wrong).toEqual(expect.arrayContaining(['runs', 'log_errors']));
    expect(sent).toEqual([]);
    const path = join(bench.repository, 'state', 'jobs', 'daily.json');
    const record = JSON.parse(await readFile(path, 'utf8'));
    const killed = { ...record, finished_at: null, exit_status: null };
    killed.process = { ...record.process, pid: 1, started: '0' };
    await writeFile(path, JSON.stringify(killed));
    const title = 'runs: daily: the job daily began and never ended: its process is gone';
    expect(await tell()).toEqual([`check.runs: ${title}`]);
    // It is one trouble, for systemd and for the monitor, told once.
    expect((await alertRun()).sent).not.toContain('firing check.runs');
    await writeFile(path, JSON.stringify({ ...record, exit_status: 0 }));
    expect((await alertRun()).sent).toContain('resolved check.runs');
  });

  it('wants to be typed right: status 2, and what there is', async () => {
    const wrong = await bench.run('monitor_backups', ['chek']);
    expect(wrong.status).toBe(2);
    expect(wrong.stderr).toContain('check, report, alert, verify');
    expect((await bench.run('monitor_backups', ['check', '--test'])).status).toBe(2);
    const name = ['alert', '--job-failed', '../x'];
    expect((await bench.run('monitor_backups', name)).stderr).toContain('is no name of a job');
  });
});
