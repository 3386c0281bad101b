import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Systemd } from '../../../../src/operations/schedule/systemd.ts';
import { readUnitStatus, runService } from '../../../../src/operations/schedule/systemd_status.ts';
import {
  installUnits,
  ourUnits,
  planUnits,
  uninstallUnits,
} from '../../../../src/operations/schedule/systemd_units.ts';
import { readTemplate } from '../../../../src/operations/template.ts';
import { defaultSchedule } from '../../../../src/schedule/default_schedule.ts';
import { renderSystemd, usualUnitHost } from '../../../../src/schedule/render_systemd.ts';

const files = renderSystemd(defaultSchedule(), usualUnitHost, readTemplate);
const withoutWeekly = files.filter(({ name }) => !name.includes('weekly'));

let root: string;
let calls: string[][];
let answer: (args: readonly string[]) => { status: number; stdout: string };
let systemd: Systemd;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'holdfast-units-'));
  calls = [];
  answer = () => ({ status: 0, stdout: '' });
  const run = async (args: readonly string[]) => {
    calls.push([...args]);
    return { ...answer(args), stderr: 'no', signal: null };
  };
  const unitDir = join(root, 'units');
  const [stampDir, cacheDir] = [join(root, 'timers'), join(root, 'cache')];
  const stateDirs = [join(root, 'state')];
  const places = { unitDir, stampDir, cacheDir, stateDirs };
  systemd = { isUser: false, ...places, control: run, journal: run };
  await mkdir(stampDir);
});
afterEach(() => rm(root, { recursive: true }));

async function install(wanted = files) {
  await installUnits(systemd, await planUnits(systemd, wanted));
}

const names = () => readdir(systemd.unitDir).then((all) => all.toSorted());

describe('an installation', () => {
  it('writes every unit, then switches the timers and the helper on', async () => {
    await install();
    expect(await names()).toEqual(files.map(({ name }) => name).toSorted());
    const daily = await readFile(join(systemd.unitDir, 'holdfast-daily.timer'), 'utf8');
    expect(daily).toBe(files.find(({ name }) => name === 'holdfast-daily.timer')?.text);
    expect(calls.map(([verb]) => verb)).toEqual(['daemon-reload', 'enable', 'restart', 'start']);
    const enabled = calls[1]?.slice(1) ?? [];
    expect(enabled).toContain('holdfast-wal-ship.service');
    expect(enabled.filter((name) => name.endsWith('.service'))).toHaveLength(1);
  });

  it('writes nothing the second time, and starts only the helper anew', async () => {
    await install();
    calls = [];
    const plan = await planUnits(systemd, files);
    expect(plan).toMatchObject({ write: [], remove: [] });
    await installUnits(systemd, plan);
    expect(calls.map(([verb]) => verb)).toEqual(['daemon-reload', 'enable', 'restart', 'start']);
    expect(calls[2]).toEqual(['restart', 'holdfast-wal-ship.service']);
  });

  it('removes the units of a job that is off now, and its stamp', async () => {
    await install();
    await writeFile(join(systemd.stampDir, 'stamp-holdfast-weekly.timer'), '');
    calls = [];
    await install(withoutWeekly);
    expect(await names()).toEqual(withoutWeekly.map(({ name }) => name).toSorted());
    expect(calls[0]).toEqual(['disable', '--now', 'holdfast-weekly.timer']);
    expect(await readdir(systemd.stampDir)).toEqual([]);
  });

  it('mends what a killed one has left', async () => {
    await install();
    await rm(join(systemd.unitDir, 'holdfast-daily.service'));
    const half = files.find(({ name }) => name === 'holdfast-daily.service')?.text ?? '';
    await writeFile(join(systemd.unitDir, '0a1b2c.partial'), half);
    await install();
    expect(await names()).toEqual(files.map(({ name }) => name).toSorted());
  });

  it.each([
    ['a file of somebody else', (path: string) => writeFile(path, '[Unit]\n')],
    ['a link, as of a masked unit', (path: string) => symlink('/dev/null', path)],
  ])('changes nothing where %s has the name', async (_, make) => {
    await mkdir(systemd.unitDir);
    await make(join(systemd.unitDir, 'holdfast-daily.timer'));
    await expect(planUnits(systemd, files)).rejects.toMatchObject({ code: 'USAGE' });
    expect(await names()).toEqual(['holdfast-daily.timer']);
    expect(calls).toEqual([]);
  });

  it('fails with what systemctl says', async () => {
    answer = ([verb]) => ({ status: verb === 'enable' ? 1 : 0, stdout: '' });
    await expect(install()).rejects.toMatchObject({
      code: 'CHILD_FAILED',
      message: 'systemctl enable: no',
    });
  });
});

describe('an uninstallation', () => {
  it('leaves nothing of ours, and all of what is not', async () => {
    await install();
    await writeFile(join(systemd.unitDir, 'holdfast-own.service'), '[Unit]\n');
    await writeFile(join(systemd.unitDir, 'other.partial'), 'x');
    await mkdir(join(systemd.unitDir, 'holdfast-daily.service.d'));
    await mkdir(join(systemd.cacheDir, 'holdfast/node'), { recursive: true });
    const [stateDir = ''] = systemd.stateDirs;
    await mkdir(join(stateDir, 'holdfast/0123456789abcdef/alerts'), { recursive: true });
    await writeFile(join(systemd.stampDir, 'stamp-holdfast-daily.timer'), '');
    calls = [];
    const removed = await uninstallUnits(systemd);
    expect(removed).toEqual(files.map(({ name }) => name).toSorted());
    expect(await names()).toEqual([
      'holdfast-daily.service.d',
      'holdfast-own.service',
      'other.partial',
    ]);
    expect(await readdir(systemd.cacheDir)).toEqual([]);
    expect(await readdir(stateDir)).toEqual([]);
    expect(await readdir(systemd.stampDir)).toEqual([]);
    expect(calls.map(([verb]) => verb)).toEqual(['disable', 'daemon-reload', 'reset-failed']);
  });

  it('finds nothing where nothing was installed', async () => {
    expect(await ourUnits(systemd)).toEqual([]);
    expect(await uninstallUnits(systemd)).toEqual([]);
  });
});

describe('the status', () => {
  it('tells each job by its timer and its service, the helper by its service alone', async () => {
    await install();
    answer = ([verb, , ...units]) => ({
      status: 0,
      stdout: verb !== 'show' ? '' : units.map(shown).join('\n'),
    });
    const units = await readUnitStatus(systemd, null);
    expect(units.map(({ job }) => job)).toEqual([
      'daily',
      'incremental',
      'monitor',
      'monthly',
      'wal-ship',
      'weekly',
    ]);
    expect(units[0]).toMatchObject({
      starter: 'holdfast-daily.timer',
      isActive: true,
      isEnabled: true,
      next: '2026-11-22T02:03:11Z',
      state: 'failed',
      result: 'oom-kill',
      run: null,
    });
    expect(units[4]).toMatchObject({ starter: 'holdfast-wal-ship.service', next: null });
  });

  function shown(id: string): string {
    const service = [`Result=oom-kill`, `Id=${id}`, 'ActiveState=failed', 'UnitFileState=static'];
    const timer = [
      'NextElapseUSecRealtime=Sun 2026-11-22 02:03:11 UTC',
      ...['Result=success', `Id=${id}`, 'ActiveState=active', 'UnitFileState=enabled'],
    ];
    return `${(id.endsWith('.timer') ? timer : service).join('\n')}\n`;
  }

  it.each([
    ['1', '2', 2],
    ['2', '9', null],
    ['0', '0', null],
  ])('tells of a service that was started how it ended: code %s', async (code, status, told) => {
    answer = ([verb]) => ({
      status: verb === 'start' ? 1 : 0,
      stdout:
        verb === 'show'
          ? `Result=exit-code\nExecMainCode=${code}\nExecMainStatus=${status}\nInvocationID=ab\n`
          : 'error: no\n-- No entries --\n',
    });
    expect(await runService(systemd, 'x.service')).toEqual({
      exitStatus: told,
      result: 'exit-code',
      lines: ['error: no'],
    });
  });
});
