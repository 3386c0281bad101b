import { execFile } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { beginJob } from '../../src/catalog/jobs.ts';
import { openRepository } from '../../src/catalog/repository.ts';
import { shellQuote } from '../../src/core/quote.ts';
import { systemCrontab } from '../../src/operations/schedule/crontab_place.ts';
import { runCommand } from '../support/command.ts';

const foreign = Buffer.from('MAILTO=me\r\n0 1 * * * mail me%caf\xe9 %%\n# no line break', 'latin1');

/** What a block notes of a user without a crontab. */
const none = '# There was no crontab before.';

let folder: string;
let repository: string;
let spool: string;
let envFile: string;

/** A crontab(1) that keeps its crontab in a file, as strict, curt and inexact as Debian's. */
function fakeCrontab(write: string): string {
  return `#!/bin/sh
spool=${shellQuote(spool)}
case $1 in
  -l) [ -f "$spool" ] || { echo "no crontab for $(id -un)" >&2; exit 1; }; sed 's/\\r/\\\\r/' "$spool" ;;
  -e) cp "$spool" "$spool.edit"; sh -c "$VISUAL $spool.edit" ;;
  -r) rm "$spool" ;;
  -) ${write} ;;
esac
`;
}
const honest = `cat >"$spool.new"
  [ -z "$(tail -c 1 "$spool.new")" ] || { echo "missing newline before EOF" >&2; exit 1; }
  mv "$spool.new" "$spool"`;

async function useCrontab(write: string): Promise<void> {
  const program = join(folder, 'bin/crontab');
  await writeFile(program, fakeCrontab(write));
  await chmod(program, 0o755);
}

interface Given {
  readonly typed?: string;
  readonly environment?: Readonly<Record<string, string>>;
}

async function setup(argv: readonly string[], { typed, environment }: Given = {}) {
  const places = ['--backup-dir', repository, '--env-file', envFile];
  return runCommand('setup_cron', [...argv, ...places], {
    environment: { PATH: `${join(folder, 'bin')}:${process.env.PATH}`, ...environment },
    ...(typed === undefined ? {} : { typed }),
  });
}

const stateFolder = () => join(repository, 'state/crontab');
const spooled = () => readFile(spool).catch(() => null);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-cron-'));
  repository = join(folder, "re po 5% $HOME it's");
  spool = join(folder, 'spool');
  envFile = join(folder, 'settings of 100%.env');
  await mkdir(join(folder, 'bin'));
  await openRepository(repository, { create: true, now: new Date() });
});
beforeEach(async () => {
  await useCrontab(honest);
  await writeFile(envFile, 'PGDATABASE=app\nPGHOST=/nonexistent\n', { mode: 0o600 });
  await rm(spool, { force: true });
});
afterAll(() => rm(folder, { recursive: true }));

describe('a schedule in a crontab', () => {
  it('is shown and asked for, and comes and goes without a trace', async () => {
    await writeFile(spool, foreign);
    const refused = await setup([]);
    expect(refused.status).toBe(2);
    expect(refused.stderr).toContain('backup_full.ts --type weekly');
    expect(refused.stderr).toContain('left out: incremental, since the WAL is not archived yet');
    expect(await spooled()).toEqual(foreign);

    const installed = await setup([], { typed: 'yes' });
    expect(installed.status, installed.stderr).toBe(0);
    expect(installed.stderr).toContain('installed 4 jobs in the crontab of ');
    // There is no backup yet: the monitor says so, and setup ends well all the same.
    expect(installed.stderr).toContain("the monitor's first look: CRITICAL");
    const [kept = ''] = await readdir(stateFolder());
    expect(await readFile(join(stateFolder(), kept))).toEqual(foreign);
    const text = await spooled();
    expect(text?.subarray(0, foreign.length)).toEqual(foreign);
    const block = text?.subarray(foreign.length + 1).toString() ?? '';
    const printed = (await setup(['print'])).stdout;
    const [first = '', note = '', ...rest] = block.split('\n');
    expect(note).toBe('# The line before this block had no line break at its end.');
    expect([first, ...rest].join('\n')).toBe(printed);

    const again = await setup(['--yes']);
    expect(again.status).toBe(0);
    expect(again.stderr).toContain('has the schedule already');
    expect(await spooled()).toEqual(text);
    expect(await readdir(stateFolder())).toEqual([kept]);

    expect((await setup(['uninstall'])).status).toBe(2);
    expect(await spooled()).toEqual(text);
    const gone = await setup(['uninstall', '--yes']);
    expect(gone.status, gone.stderr).toBe(0);
    // This crontab program takes no text without a line break at its end.
    expect(await spooled()).toEqual(Buffer.concat([foreign, Buffer.from('\n')]));
    expect((await setup(['uninstall', '--yes'])).stderr).toContain('has no schedule of ');
  }, 120_000);

  it('is removed with the crontab, where there was none', async () => {
    const none = await setup(['status', '--json']);
    expect(none.status).toBe(3);
    expect(JSON.parse(none.stdout)).toMatchObject({ installed: false, jobs: [] });
    expect((await setup(['--yes'])).status).toBe(0);
    expect((await setup(['uninstall', '--yes'])).status).toBe(0);
    expect(await spooled()).toBeNull();
  }, 120_000);

  it('is there once after two installations at the same time', async () => {
    const [one, other] = await Promise.all([setup(['--yes']), setup(['--yes'])]);
    for (const { status, stderr } of [one, other]) {
      expect([0, 6], stderr).toContain(status);
      if (status === 6) expect(stderr).toContain('somebody has changed the crontab of ');
    }
    expect((await spooled())?.toString()).toBe(
      (await setup(['print'])).stdout.replace(/\n/, `\n${none}\n`),
    );
  }, 120_000);

  it('tells when each job runs next and how it ended last, and what differs', async () => {
    expect((await setup(['--yes'])).status).toBe(0);
    const job = await beginJob({
      stateDir: join(repository, 'state'),
      job: 'daily',
      runId: 'run',
      command: 'backup_full.ts',
      startedAt: new Date(Date.now() - 90_000),
    });
    await job.end(8, new Date());
    const told = await setup(['status']);
    expect(told.status).toBe(0);
    expect(told.stdout).toMatch(/^job +when +next run +last run +status +took$/m);
    expect(told.stdout).toMatch(/^daily +0 2 \* \* \* .* \d\d:00 .* failed \(8\) +1 min 30 s$/m);
    expect(told.stdout).toMatch(/^monitor +\*\/15 \* \* \* \* .* never +- +-$/m);
    const listed = (await setup(['list'])).stdout.trimEnd().split('\n');
    expect(listed).toHaveLength(4);

    await writeFile(envFile, 'PGDATABASE=app\nPGHOST=/nonexistent\nSCHEDULE_WEEKLY=off\n');
    const drifted = await setup(['status', '--json']);
    expect(JSON.parse(drifted.stdout)).toMatchObject({
      installed: true,
      up_to_date: false,
      jobs: [
        { name: 'daily', last_run: { exit_status: 8, duration_seconds: expect.any(Number) } },
        { name: 'weekly', last_run: null },
        { name: 'monthly' },
        { name: 'monitor' },
      ],
    });
    expect((await setup(['--yes'])).status).toBe(0);
    expect((await setup(['list'])).stdout).not.toContain('weekly');
  }, 120_000);

  it('starts its jobs with nothing of this environment, whatever is in the names', async () => {
    expect((await setup(['--yes'])).status).toBe(0);
    const [line] = (await setup(['list'])).stdout
      .split('\n')
      .filter((each) => /monitor$|alert/.test(each));
    const command = line?.split(' ').slice(5).join(' ') ?? '';
    // What cron makes of it: a percent sign behind a backslash is one.
    const said = command.replaceAll('\\%', '%');
    const environment = { HOME: folder, LOGNAME: 'me', SHELL: '/bin/sh', PATH: '/usr/bin:/bin' };
    const run = promisify(execFile)('/bin/sh', ['-c', said], { env: environment, cwd: folder });
    const ended = await run.then(
      ({ stdout, stderr }) => ({ code: 0, said: stdout + stderr }),
      ({ code, stdout, stderr }) => ({ code, said: stdout + stderr }),
    );
    expect(ended).toEqual({ code: 2, said: '' });
    const log = join(repository, 'logs/cron.log');
    const text = await readFile(log, 'utf8');
    expect(text).toMatch(
      /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ monitor_backups\.ts alert --job monitor /,
    );
    expect(text).toContain('there is no good full backup');
    expect((await stat(log)).mode & 0o777).toBe(0o600);
    const { jobs } = JSON.parse((await setup(['status', '--json'])).stdout);
    const lastRun = { exit_status: 2, last_success_at: expect.stringMatching(/Z$/) };
    expect(jobs.at(-1)).toMatchObject({ name: 'monitor', last_run: lastRun });
  }, 120_000);
});

describe('where there is no repository', () => {
  it.each([['status'], ['list'], ['print'], ['uninstall']])('%s begins none', async (action) => {
    const nowhere = join(folder, 'not mounted');
    const owner = ['--run-as', userInfo().username];
    const argv = [action, '--backup-dir', nowhere, '--env-file', envFile, ...owner];
    const environment = { PATH: `${join(folder, 'bin')}:${process.env.PATH}` };
    const { status, stderr } = await runCommand('setup_cron', argv, { environment });
    expect(status, stderr).toBe(action === 'status' ? 3 : 0);
    await expect(stat(nowhere)).rejects.toMatchObject({ code: 'ENOENT' });
  });
});

describe('no schedule is installed', () => {
  it.each([
    [
      'with settings of this shell',
      ['--yes'],
      { PGHOST: 'db', PGPASSWORD: 's3cret' },
      'PGPASSWORD=…',
    ],
    ['for no database', ['--yes'], {}, 'SCHEDULE_ALL_DATABASES=true'],
    ['at times that are none', ['--yes'], {}, 'the hour 25 is not within 0 to 23'],
    ['in a zone that cron does not know', ['--yes'], {}, "and cron goes by the machine's own"],
  ])('%s', async (what, argv, environment, fact) => {
    const lines: Readonly<Record<string, string>> = {
      'for no database': '',
      'at times that are none': 'PGDATABASE=app\nSCHEDULE_DAILY=0 25 * * *\n',
      'in a zone that cron does not know': 'PGDATABASE=app\nSCHEDULE_TIME_ZONE=Asia/Kathmandu\n',
    };
    await writeFile(envFile, lines[what] ?? 'PGDATABASE=app\n');
    const refused = await setup(argv, { environment });
    expect(refused).toMatchObject({ status: 2, stderr: expect.stringContaining(fact) });
    expect(refused.stderr).not.toContain('s3cret');
    expect(await spooled()).toBeNull();
  });

  it('between damaged marks', async () => {
    const damaged = `# BEGIN holdfast ${repository}\n0 0 * * * mine\n`;
    await writeFile(spool, damaged);
    for (const action of ['install', 'uninstall', 'status', 'list']) {
      const refused = await setup([action, '--yes']);
      expect(refused).toMatchObject({ status: 2, stderr: expect.stringContaining('has no end') });
    }
    expect((await spooled())?.toString()).toBe(damaged);
  });

  it('by a program that refuses this user, or writes something else', async () => {
    await useCrontab('cat >/dev/null; echo "You (me) are not allowed" >&2; exit 1');
    const denied = await setup(['--yes']);
    expect(denied).toMatchObject({ status: 3, stderr: expect.stringContaining('not allowed') });
    await writeFile(spool, 'mine\n');
    await useCrontab('sed s/daily/weekly/ >"$spool"');
    const mangled = await setup(['--yes']);
    expect(mangled).toMatchObject({
      status: 3,
      stderr: expect.stringContaining('is not what was written\nhint: What it was before is in '),
    });
  });

  it('by words that are no action', async () => {
    expect(await setup(['instal'])).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('Name one of install, status, list, uninstall, print'),
    });
  });
});

it('the system’s crontab is a file that everybody may read and only its owner may write', async () => {
  const place = await systemCrontab(folder);
  expect(await place.read()).toBeNull();
  await place.write('0 0 * * * postgres \xe9\n');
  const file = join(folder, 'holdfast');
  expect(await readFile(file, 'latin1')).toBe('0 0 * * * postgres \xe9\n');
  expect((await stat(file)).mode & 0o777).toBe(0o644);
  await place.write(null);
  expect(await place.read()).toBeNull();
  await expect(systemCrontab(join(folder, 'no cron'))).rejects.toMatchObject({
    code: 'PROGRAM_MISSING',
  });
});
