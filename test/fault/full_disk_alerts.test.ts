/** A disk that is full: whoever listens hears of it all the same, and nothing half stays behind. */

import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { readAlertMemory } from '../../src/operations/alerts/memory.ts';
import { reportTroubles } from '../../src/operations/alerts/report.ts';
import { alertRun, troubleOf } from '../support/alert_context.ts';
import { type AlertReceiver, startAlertReceiver } from '../support/alert_receiver.ts';
import { fillUp, mountSmall, unmountAll } from '../support/small_disk.ts';

let disk: string;
let receiver: AlertReceiver;

beforeAll(async () => {
  disk = await mkdtemp(join(tmpdir(), 'holdfast-full-alerts-'));
  mountSmall(disk, 1e6);
  receiver = await startAlertReceiver();
});
afterAll(async () => {
  await receiver?.close();
  unmountAll();
  await rm(disk, { recursive: true, force: true });
});

it('sends without a memory, keeps what was kept, and remembers again when there is room', async () => {
  const stateDir = join(disk, 'state');
  await mkdir(stateDir);
  const run = alertRun(stateDir, receiver.url);
  receiver.answerWith(503);
  await reportTroubles(run.context, { firing: [troubleOf('before')] });
  receiver.answerWith(204);
  const free = fillUp(disk, 0);
  const firing = [troubleOf('before'), troubleOf('check/space')];
  const report = await reportTroubles(run.context, { firing });
  // What was told before is known still; what waits is left to a run that can strike it out.
  expect(report).toMatchObject({ made: 1, delivered: 1 });
  expect(receiver.alerts.map(({ key }) => key)).toEqual(['check/space']);
  expect(run.warnings.at(-1)).toMatch(/not remembered: .*no space left/);
  expect((await readAlertMemory(stateDir)).outbox).toHaveLength(1);
  free();
  await reportTroubles(run.context, { firing });
  await reportTroubles(run.context, { ended: ['before', 'check/space'] });
  expect(receiver.alerts.map(({ key, status }) => `${status} ${key}`)).toEqual([
    'firing check/space',
    'firing before',
    'firing check/space',
    'resolved before',
    'resolved check/space',
  ]);
  expect(await readdir(join(stateDir, 'alerts'))).toEqual(['memory.json']);
});
