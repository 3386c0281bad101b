/** The checks of runs, the schedule, the log files, alerts and stores, on real records and files. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFile, chmod, chown, mkdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { beginJob } from '../../../../src/catalog/jobs.ts';
import { beginRun } from '../../../../src/catalog/runs.ts';
import { alertMemoryFormat } from '../../../../src/core/alert_memory.ts';
import { documentBytes } from '../../../../src/core/validate.ts';
import {
  dayMs,
  hourMs,
  type MonitorScene,
  openMonitorScene,
} from '../../../support/monitor_scene.ts';

/** In the zone of this machine, as cron has it. */
const begin = new Date(2026, 10, 21, 2, 0, 5);
const source = join(import.meta.dirname, '../../../../src/catalog');
let scene: MonitorScene;
beforeEach(async () => {
  scene = await openMonitorScene(begin, { required: false });
});
afterEach(() => scene.close());

const stateDir = () => join(scene.root, 'state');
const job = (runId: string, name = 'daily', command = 'backup_full.ts') =>
  beginJob({ stateDir: stateDir(), job: name, runId, command, startedAt: scene.now() });
const look = () => scene.run({ group: 'runs' });

/** A process that records something, and is killed while it works. */
async function killed(module: string, call: string): Promise<void> {
  const script = `
    import * as records from ${JSON.stringify(join(source, module))};
    await records.${call};
    process.stdout.write('begun');
    setInterval(() => undefined, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module-typescript', '--eval', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(child, 'exit');
  await once(child.stdout, 'data');
  child.kill('SIGKILL');
  await ended;
}

describe('runs', () => {
  it('are fine when they ended well, and where there was none yet', async () => {
    expect((await look()).all).toEqual([]);
    await (await job('r1')).end(0, scene.now());
    const found = await look();
    expect(found.one('runs', 'daily').level).toBe('ok');
    expect(found.one('schedule', 'daily').level).toBe('ok');
  });

  it('that were killed are critical until the same job has succeeded', async () => {
    const options = { stateDir: stateDir(), job: 'daily', runId: 'r1', command: 'backup_full.ts' };
    const call = `beginJob({ ...${JSON.stringify(options)}, startedAt: new Date() })`;
    await killed('jobs.ts', call);
    expect((await look()).one('runs', 'daily').level).toBe('critical');
    const next = await job('r2');
    expect((await look()).one('runs', 'daily').level).toBe('critical');
    await next.end(3, scene.now());
    expect((await look()).one('runs', 'daily').level).toBe('warning');
    await (await job('r3')).end(0, scene.now());
    expect((await look()).one('runs', 'daily').level).toBe('ok');
  });

  it('of nobody in particular are critical when killed, until a good backup has come', async () => {
    const label = '20261121T010000Z-daily-abcd';
    const run = {
      stateDir: stateDir(),
      runId: `r1-${label}`,
      command: 'backup_full',
      cluster: 'main',
      database: 'shop',
      folder: `full/main/shop/${label}`,
    };
    const startedAt = new Date(begin.getTime() - hourMs);
    const call = `beginRun({ ...${JSON.stringify(run)}, startedAt: new Date(${+startedAt}) })`;
    await killed('runs.ts', call);
    const live = await beginRun({ ...run, runId: 'r2', startedAt });
    const finding = (await look()).one('runs', 'backup_full main/shop');
    expect(finding).toMatchObject({ level: 'critical', since: startedAt.toISOString() });
    await live.end();
    await scene.backup({ at: new Date(startedAt.getTime() - hourMs) });
    expect((await look()).of('runs')).toHaveLength(1);
    await scene.backup({ at: begin, stores: ['nas'] });
    expect((await look()).of('runs')).toEqual([]);
  });

  it('that take longer than a day are a warning', async () => {
    await job('r1');
    scene.pass(dayMs);
    expect((await look()).one('runs', 'daily').level).toBe('ok');
    scene.pass(1);
    expect((await look()).one('runs', 'daily').level).toBe('warning');
  });

  it('are not told from records that are damaged', async () => {
    await mkdir(join(stateDir(), 'jobs'), { recursive: true });
    await writeFile(join(stateDir(), 'jobs/daily.json'), '{');
    await mkdir(join(stateDir(), 'runs'), { recursive: true });
    await writeFile(join(stateDir(), 'runs/x.json'), 'nonsense');
    expect((await look()).all).toEqual([]);
  });
});

describe('the schedule', () => {
  it('is a warning an hour after a job should have begun, and only for what was installed', async () => {
    await (await job('r1')).end(0, scene.now());
    scene.setClock(new Date(2026, 10, 22, 3, 0, 0));
    expect((await look()).one('schedule', 'daily').level).toBe('ok');
    scene.pass(1);
    const found = await look();
    expect(found.one('schedule', 'daily')).toMatchObject({
      level: 'warning',
      since: new Date(2026, 10, 22, 2).toISOString(),
    });
    expect(found.of('schedule')).toHaveLength(1);
    await (await job('r2')).end(0, scene.now());
    expect((await look()).one('schedule', 'daily').level).toBe('ok');
  });

  it('goes by the zone that is set, and leaves out what is off', async () => {
    await (await job('r1', 'weekly')).end(0, scene.now());
    scene.set({ SCHEDULE_WEEKLY: '30 14 * * *', SCHEDULE_TIME_ZONE: 'Asia/Kolkata' });
    scene.setClock(new Date('2026-11-24T10:00:00.001Z'));
    const { since } = (await look()).one('schedule', 'weekly');
    expect(since?.slice(10), '14:30 of India').toBe('T09:00:00.000Z');
    scene.set({ SCHEDULE_WEEKLY: 'off' });
    expect((await look()).of('schedule')).toEqual([]);
  });
});

describe('the log files and the alerts', () => {
  const line = (at: Date, facts: object) =>
    `${JSON.stringify({ level: 'error', time: at.toISOString(), run: 'r1', ...facts })}\n`;
  const ofDisk = { command: 'backup_full.ts', code: 'NO_SPACE', exit_status: 3, msg: 'full' };
  const logs = () => join(scene.root, 'logs');
  const lookAtLogs = () => scene.run({ group: 'logs' });

  it('are fine without any, and with nothing but other lines', async () => {
    expect((await lookAtLogs()).one('log_errors').level).toBe('ok');
    await mkdir(logs());
    const info = '{"level":"info","msg":"no \\"error\\" at all"}\n{"level":"err';
    await writeFile(join(logs(), 'holdfast-20261121.jsonl'), info);
    const found = await lookAtLogs();
    expect(found.one('log_errors', 'logs').level).toBe('ok');
    expect(found.one('alerts', 'outbox')).toMatchObject({ level: 'ok' });
  });

  it('tell errors of the last day, also from the file of the day before', async () => {
    await mkdir(logs());
    const yesterday = new Date(begin.getTime() - 20 * hourMs);
    await writeFile(join(logs(), 'holdfast-20261120.jsonl'), line(yesterday, ofDisk));
    const today = join(logs(), 'holdfast-20261121.1.jsonl');
    await writeFile(today, line(begin, { ...ofDisk, msg: 'a\nb' }));
    await writeFile(join(logs(), 'holdfast-20261101.jsonl'), line(begin, ofDisk));
    await writeFile(join(logs(), 'cron.log'), line(begin, ofDisk));
    await appendFile(today, line(begin, { ...ofDisk, command: 'monitor_backups.ts' }));
    const finding = (await lookAtLogs()).one('log_errors', 'backup_full/NO_SPACE');
    expect(finding).toMatchObject({ level: 'warning', values: { errors: 2 } });
    expect(finding.found).toContain('a b');
    scene.pass(dayMs + 1);
    expect((await lookAtLogs()).one('log_errors', 'logs').level).toBe('ok');
  });

  it('reads no more than the ends of files that are large', async () => {
    await mkdir(logs());
    const path = join(logs(), 'holdfast-20261121.jsonl');
    await writeFile(path, line(begin, ofDisk));
    await appendFile(path, 'x'.repeat(9 * 1024 * 1024));
    await appendFile(path, `\n${line(begin, { ...ofDisk, code: 'LOCKED' })}`);
    const found = await lookAtLogs();
    expect(found.of('log_errors').map(({ subject }) => subject)).toEqual(['backup_full/LOCKED']);
    expect(found.one('log_errors').found).toContain('the files are large');
  });

  it('tell what no channel has taken, and that the record of it is damaged', async () => {
    const folder = join(stateDir(), 'alerts');
    await mkdir(folder, { recursive: true });
    const alert = {
      format: 1,
      source: 'holdfast',
      id: 'a1',
      event: 'backup',
      priority: 'high',
      status: 'firing',
      title: 'a backup failed',
      message: 'it failed',
      cluster: null,
      database: null,
      host: 'db1',
      timestamp: begin.toISOString(),
      key: 'backup/main/shop',
      details: {},
    };
    const outbox = [{ alert, channels: ['slack'] }];
    const memory = { format: alertMemoryFormat, troubles: [], outbox, dropped: 0 };
    await writeFile(join(folder, 'memory.json'), documentBytes(memory));
    expect((await lookAtLogs()).one('alerts').level).toBe('ok');
    scene.pass(hourMs);
    expect((await lookAtLogs()).one('alerts')).toMatchObject({
      level: 'warning',
      found: '1 for slack',
    });
    scene.set({ ENABLE_NOTIFICATIONS: 'false' });
    expect((await lookAtLogs()).of('alerts')).toEqual([]);
    scene.set({ ENABLE_NOTIFICATIONS: undefined });
    await writeFile(join(folder, 'memory.json'), '{"format": 1}');
    expect((await lookAtLogs()).one('alerts').level).toBe('unknown');
  });
});

describe('the stores of a repository', () => {
  const lookAtStores = () => scene.run({ group: 'repository' });

  it('are fine, also one that nothing was written to yet', async () => {
    expect((await lookAtStores()).of('repository').map(({ level }) => level)).toEqual(['ok', 'ok']);
  });

  it('are told when they cannot be read, are another one, or have lost holdfast.json', async () => {
    await scene.backup({ at: begin, stores: ['local', 'nas'] });
    const head = { format: 1, repository_id: 'other', created_at: begin.toISOString() };
    await rm(join(scene.nas, 'holdfast.json'), { force: true });
    expect((await lookAtStores()).one('repository', 'nas').message).toContain('no holdfast.json');
    await writeFile(join(scene.nas, 'holdfast.json'), JSON.stringify(head));
    expect((await lookAtStores()).one('repository', 'nas').message).toContain('another repository');
    await writeFile(join(scene.nas, 'holdfast.json'), '{');
    expect((await lookAtStores()).one('repository', 'nas').level).toBe('warning');
    await rename(scene.nas, `${scene.nas}.away`);
    await symlink(scene.nas, scene.nas);
    const found = await lookAtStores();
    expect(found.one('repository', 'nas').level).toBe('warning');
    expect(found.one('repository', 'local').level).toBe('ok');
  });

  it('are critical when this user may not write them, or they are of another one', async () => {
    await scene.backup({ at: begin });
    // Root may write whatever its mode is, and nobody else may give a folder away.
    if (process.getuid?.() === 0) await chown(scene.root, 65_534, 65_534);
    else await chmod(join(scene.root, 'full'), 0o500);
    const finding = (await lookAtStores()).one('repository', 'local');
    await chmod(join(scene.root, 'full'), 0o700);
    expect(finding).toMatchObject({ level: 'critical' });
    expect(finding.mend).not.toBeNull();
  });
});
