import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { withFileLock } from '../../../../src/catalog/lock.ts';
import { Secret } from '../../../../src/core/secret.ts';
import { readAlertMemory } from '../../../../src/operations/alerts/memory.ts';
import { reportTroubles } from '../../../../src/operations/alerts/report.ts';
import { type DataChild, startChild } from '../../../../src/process/stream.ts';
import { alertRun, troubleOf } from '../../../support/alert_context.ts';
import { type AlertReceiver, startAlertReceiver } from '../../../support/alert_receiver.ts';
import { outcomeOf } from '../../../support/command.ts';
import { compileCache } from '../../../support/compile_cache.ts';
import { memoryFolder } from '../../../support/memory_folder.ts';

const hourMs = 3_600_000;
let stateDir: string;
let receiver: AlertReceiver;
const others: AlertReceiver[] = [];

beforeEach(async () => {
  stateDir = await mkdtemp(join(memoryFolder ?? tmpdir(), 'holdfast-alerts-'));
  receiver = await startAlertReceiver();
});
afterEach(async () => {
  for (const each of [receiver, ...others.splice(0)]) await each.close();
  await rm(stateDir, { recursive: true, force: true });
});

const keysOf = ({ alerts }: AlertReceiver) => alerts.map(({ key, status }) => `${status} ${key}`);

function start(...keys: string[]): DataChild {
  const child = new URL('../../../support/alert_child.ts', import.meta.url).pathname;
  const started = startChild(process.execPath, [child, stateDir, receiver.url, ...keys], {
    environment: { PATH: process.env.PATH ?? '', ...compileCache },
  });
  started.stdin.end();
  return started;
}

describe('a trouble', () => {
  it('is sent once, again after the set time, and when it is over; also of a run that is ended', async () => {
    const run = alertRun(stateDir, receiver.url);
    const firing = [troubleOf('backup/app')];
    const first = await reportTroubles(run.context, { firing });
    expect(first).toEqual({ made: 1, delivered: 1, waiting: 0, failures: [] });
    expect(receiver.alerts[0]).toMatchObject({
      host: 'db1',
      timestamp: '2026-11-21T02:00:00.000Z',
      details: { runbook: '/checkout/docs/alerts.md#backup' },
    });
    run.now += hourMs;
    expect(await reportTroubles(run.context, { firing })).toMatchObject({ made: 0, delivered: 0 });
    run.now += 23 * hourMs;
    await reportTroubles(run.context, { firing });
    run.now += hourMs;
    await reportTroubles(run.context, { ended: ['backup/app'] });
    expect(keysOf(receiver)).toEqual([
      'firing backup/app',
      'firing backup/app',
      'resolved backup/app',
    ]);
    expect(new Set(receiver.alerts.map(({ id }) => id)).size).toBe(3);
    expect(run.warnings).toEqual([]);
  });

  it('holds no secret and nothing without a bound, whatever somebody writes into it', async () => {
    const run = alertRun(stateDir, receiver.url, { runbook_url: 'https://wiki.example/alerts' });
    const url = 'postgresql://app:s3cret@db/x';
    const long = 'x'.repeat(1e6);
    const trouble = {
      ...troubleOf('backup/app'),
      title: `${url}\n${long}`,
      message: `${url} ${long}`,
      details: { hint: `${url} ${long}`, bytes: Number.NaN },
    };
    await reportTroubles(run.context, { news: [trouble] });
    const [{ body } = { body: '' }] = receiver.received;
    expect(body).not.toContain('s3cret');
    expect(body.length).toBeLessThan(20_000);
    expect(receiver.alerts[0]?.details).toMatchObject({
      bytes: null,
      runbook: 'https://wiki.example/alerts#backup',
    });
  });

  it('goes nowhere where nothing is set up, and nothing is written then', async () => {
    const run = alertRun(stateDir, receiver.url, { enabled: false });
    await reportTroubles(run.context, { firing: [troubleOf('backup/app')] });
    expect(receiver.received).toEqual([]);
    expect(await readdir(stateDir)).toEqual([]);
  });
});

describe('a receiver that is down and comes back', () => {
  it.each([
    ['answers 500', 500],
    ['hangs up', 'drop'],
    ['hangs', 'hang'],
  ] as const)('%s: gets all of it later, in order, once', async (_, answer) => {
    receiver.answerWith(answer);
    const timeout_seconds = answer === 'hang' ? 0.1 : 10;
    const run = alertRun(stateDir, receiver.url, { timeout_seconds });
    for (const [index, key] of ['a', 'b', 'c'].entries()) {
      const report = await reportTroubles(run.context, { firing: [troubleOf(key)] });
      expect(report).toMatchObject({ failures: [{ channel: 'endpoint' }], waiting: index + 1 });
      run.now += 60_000;
    }
    // One try in each run at most, and always of the oldest.
    const tried = receiver.received.map(({ body }) => JSON.parse(body).key);
    expect(tried.length).toBeLessThanOrEqual(3);
    expect(new Set([...tried, 'a'])).toEqual(new Set(['a']));
    expect(run.warnings[0]).toContain('it is kept and sent later');
    receiver.answerWith(204);
    const last = alertRun(stateDir, receiver.url);
    const report = await reportTroubles(last.context, { firing: [troubleOf('d')] });
    expect(report).toMatchObject({ delivered: 4, waiting: 0, failures: [] });
    expect(keysOf(receiver)).toEqual(['firing a', 'firing b', 'firing c', 'firing d']);
    const tries = receiver.received.filter(({ body }) => JSON.parse(body).key === 'a');
    expect(new Set(tries.map(({ headers }) => headers['idempotency-key'])).size).toBe(1);
  });

  it('that fails in the middle gets the rest later and nothing twice', async () => {
    receiver.answerWith(503);
    const run = alertRun(stateDir, receiver.url);
    const firing = ['a', 'b', 'c', 'd'].map((key) => troubleOf(key));
    await reportTroubles(run.context, { firing });
    receiver.answerWith((alert) => (alert?.key === 'c' ? 503 : 204));
    expect(await reportTroubles(run.context, {})).toMatchObject({ delivered: 2, waiting: 2 });
    receiver.answerWith(204);
    expect(await reportTroubles(run.context, {})).toMatchObject({ delivered: 2, waiting: 0 });
    expect(keysOf(receiver)).toEqual(['firing a', 'firing b', 'firing c', 'firing d']);
  });

  it('keeps no other channel from its alerts', async () => {
    const chat = await startAlertReceiver('/chat');
    others.push(chat);
    const silent = createServer();
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const { port } = silent.address() as { port: number };
    const run = alertRun(stateDir, `http://127.0.0.1:${port}/`, {
      slack_webhook_url: new Secret(chat.url),
      timeout_seconds: 2,
    });
    chat.answerWith({ write: (response) => response.writeHead(200).end('ok') });
    const news = [troubleOf('x')];
    const report = await reportTroubles(run.context, { news }).catch((error) => error);
    silent.close();
    expect(report).toMatchObject({ delivered: 1, waiting: 1 });
    expect(report.failures).toMatchObject([
      { channel: 'endpoint', error: { code: 'STORE_UNREACHABLE' } },
    ]);
    const { outbox } = await readAlertMemory(stateDir);
    expect(outbox.map(({ channels }) => channels)).toEqual([['endpoint']]);
  });

  it('that refuses one alert for good, and takes others, is not kept from them for ever', async () => {
    receiver.answerWith((alert) => (alert?.key === 'poison' ? 400 : 204));
    const run = alertRun(stateDir, receiver.url);
    const alone = await reportTroubles(run.context, { firing: [troubleOf('poison')] });
    expect(alone).toMatchObject({ delivered: 0, waiting: 1 });
    const report = await reportTroubles(run.context, { firing: [troubleOf('next')] });
    expect(report).toMatchObject({ delivered: 1, waiting: 0 });
    await reportTroubles(run.context, {});
    expect(keysOf(receiver)).toEqual(['firing next', 'firing alerts/dropped']);
  });
});

describe('two processes at once', () => {
  it('send everything, each alert once, whoever sends it', async () => {
    receiver.answerWith(204);
    const names = ['a', 'b', 'c', 'd'];
    const children = names.map((name) => start(`${name}/1`, `${name}/2`, `${name}/3`));
    const outcomes = await Promise.all(children.map(outcomeOf));
    expect(outcomes.map(({ status }) => status)).toEqual([0, 0, 0, 0]);
    await reportTroubles(alertRun(stateDir, receiver.url).context, {});
    const keys = receiver.alerts.map(({ key }) => key);
    expect(keys.toSorted()).toEqual(names.flatMap((name) => [1, 2, 3].map((n) => `${name}/${n}`)));
    for (const name of names) {
      const own = keys.filter((key) => key.startsWith(name));
      expect(own).toEqual(own.toSorted());
    }
    expect((await readAlertMemory(stateDir)).outbox).toEqual([]);
  });

  it('of which one sends: the other leaves its alert to it', async () => {
    const { promise: answering, resolve: answerNow } = Promise.withResolvers<void>();
    receiver.answerWith((alert) =>
      alert?.key === 'slow'
        ? { write: (response) => answering.then(() => response.writeHead(204).end()) }
        : 204,
    );
    const slow = start('slow');
    await receiver.receivedCount(1);
    const second = await reportTroubles(alertRun(stateDir, receiver.url).context, {
      firing: [troubleOf('second')],
    });
    expect(second).toMatchObject({ made: 1, delivered: 0, waiting: 2, failures: [] });
    answerNow();
    expect(JSON.parse((await outcomeOf(slow)).stdout)).toMatchObject({ delivered: 2, waiting: 0 });
    expect(receiver.received.map(({ body }) => JSON.parse(body).key)).toEqual(['slow', 'second']);
  });
});

describe('a process that is killed', () => {
  it('while its alert is on the way leaves it to the next, under the same id', async () => {
    receiver.answerWith('hang');
    const child = start('backup/app');
    await receiver.receivedCount(1);
    process.kill(child.pid ?? 0, 'SIGKILL');
    await child.exited;
    receiver.answerWith(204);
    const run = alertRun(stateDir, receiver.url);
    const firing = [troubleOf('backup/app')];
    const report = await reportTroubles(run.context, { firing });
    // It was there already: nothing new is made of it.
    expect(report).toMatchObject({ made: 0, delivered: 1, waiting: 0 });
    const ids = receiver.received.map(({ headers }) => headers['idempotency-key']);
    expect(ids).toHaveLength(2);
    expect(new Set(ids).size).toBe(1);
  });
});

describe('a memory that cannot be used', () => {
  const path = () => join(stateDir, 'alerts', 'memory.json');

  it('and is damaged is kept aside and told, and alerts go on', async () => {
    await mkdir(join(stateDir, 'alerts'));
    await writeFile(path(), '{"format": 1, "troubles": [');
    const run = alertRun(stateDir, receiver.url);
    await reportTroubles(run.context, { firing: [troubleOf('backup/app')] });
    expect(keysOf(receiver)).toEqual(['firing backup/app', 'firing alerts/memory']);
    expect(run.warnings[0]).toContain('memory.json.damaged');
    expect(await readFile(`${path()}.damaged`, 'utf8')).toContain('"troubles": [');
    expect((await readAlertMemory(stateDir)).troubles).toHaveLength(1);
  });

  it('because its folder is no folder: alerts are sent, each time, and that is told', async () => {
    await writeFile(join(stateDir, 'alerts'), '');
    const run = alertRun(stateDir, receiver.url);
    for (const _ of [1, 2]) {
      const report = await reportTroubles(run.context, { firing: [troubleOf('backup/app')] });
      expect(report).toMatchObject({ made: 1, delivered: 1, waiting: 0 });
    }
    expect(run.warnings[0]).toContain('alerts are sent but not remembered');
  });

  it('because there is no repository: the alert of that goes out', async () => {
    const missing = alertRun(join(stateDir, 'unmounted', 'state'), receiver.url);
    await reportTroubles(missing.context, { firing: [troubleOf('check/repository')] });
    const none = alertRun(null, receiver.url);
    await reportTroubles(none.context, { firing: [troubleOf('check/repository')] });
    expect(receiver.alerts).toHaveLength(2);
    expect(await readdir(stateDir)).toEqual([]);
  });

  it.each([
    ['STATE_DIRECTORY', 'given', ''],
    ['XDG_STATE_HOME', 'own', 'holdfast'],
    ['HOME', 'home', '.local/state/holdfast'],
  ])(
    'since it is not mounted: one of this machine by %s, until it is back',
    async (name, folder, below) => {
      await mkdir(join(stateDir, folder));
      await mkdir(join(stateDir, 'back'));
      const environment = { [name]: join(stateDir, folder) };
      const firing = [troubleOf('check/repository/x')];
      const runOf = (dir: string | null) => alertRun(dir, receiver.url, {}, environment);
      const before = runOf(join(stateDir, 'back'));
      await reportTroubles(before.context, { firing: [troubleOf('check/space/x')] });
      receiver.answerWith(500);
      const first = runOf(null);
      expect(await reportTroubles(first.context, { firing })).toMatchObject({
        made: 1,
        waiting: 1,
      });
      receiver.answerWith(200);
      const second = runOf(null);
      expect(await reportTroubles(second.context, { firing })).toMatchObject({
        made: 0,
        waiting: 0,
      });
      expect(await readdir(join(stateDir, folder, below))).toEqual([
        expect.stringMatching(/^[0-9a-f]{16}$/),
      ]);
      const back = runOf(join(stateDir, 'back'));
      await reportTroubles(back.context, { endedUnder: ['check/repository/'] });
      const again = runOf(join(stateDir, 'back'));
      expect(await reportTroubles(again.context, { endedUnder: ['check/'] })).toMatchObject({
        made: 1,
      });
      expect(keysOf(receiver)).toEqual([
        'firing check/space/x',
        'firing check/repository/x',
        'resolved check/repository/x',
        'resolved check/space/x',
      ]);
      const runs = [before, first, second, back, again];
      expect(runs.flatMap(({ warnings }) => warnings)).toEqual([expect.stringContaining('500')]);
    },
  );

  it('because somebody holds its lock: alerts are sent all the same', async () => {
    await mkdir(join(stateDir, 'alerts'));
    await withFileLock(join(stateDir, 'alerts', 'memory.lock'), { waitMs: 0 }, async () => {
      const run = alertRun(stateDir, receiver.url);
      const report = await reportTroubles(run.context, { firing: [troubleOf('backup/app')] });
      expect(report).toMatchObject({ made: 1, delivered: 1 });
      expect(run.warnings[0]).toContain('not remembered');
    });
  });
});
