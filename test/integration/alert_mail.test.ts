/** A backup that fails, told by mail and in a chat; and that it is mended. */

import { chmod, mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { type AlertReceiver, startAlertReceiver } from '../support/alert_receiver.ts';
import { makeServerCertificate } from '../support/certificates.ts';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { type Outcome, outcomeOf, spawnCommand } from '../support/command.ts';
import { type MailServer, reply, startMailServer } from '../support/mail_server.ts';
import { openWorkbench, quoted, type Workbench } from '../support/workbench.ts';

const odd = 'odd "name"\r\nBcc: x@example.com $(id) <b>';
const password = 'p@ss/w:rd';

let cluster: TestCluster;
let bench: Workbench;
let chat: AlertReceiver;
let mail: MailServer;
let isRefusing = false;
let environment: Record<string, string>;

beforeAll(async () => {
  cluster = await startTestCluster();
  bench = await openWorkbench(cluster);
  const folder = join(bench.folder, 'tls');
  await mkdir(folder);
  await chmod(folder, 0o755);
  await makeServerCertificate(folder);
  const read = (name: string) => readFile(join(folder, name), 'utf8');
  chat = await startAlertReceiver('/services/T0/B0/hook-secret');
  mail = await startMailServer({
    key: await read('server.key'),
    cert: await read('server.crt'),
    onAuth({ username, password: given }, _session, done) {
      const isRight = username === 'backup' && given === password;
      done(isRight ? null : reply(535, 'no'), { user: username });
    },
    onMailFrom: (_address, _session, done) => done(isRefusing ? reply(451, 'later') : null),
  });
  const login = `backup:${encodeURIComponent(password)}`;
  environment = {
    ...bench.environment,
    SMTP_URL: `smtp://${login}@localhost:${mail.port}`,
    NOTIFICATION_EMAIL: 'ops@example.com',
    EMAIL_FROM: 'holdfast@example.com',
    SLACK_WEBHOOK_URL: chat.url,
    NODE_EXTRA_CA_CERTS: join(folder, 'root.crt'),
  };
});
beforeEach(() => {
  isRefusing = false;
});
afterAll(async () => {
  await mail?.close();
  await chat?.close();
  await cluster?.stop({ immediate: true });
  await bench?.remove();
});

/** As a program of its own: what it trusts is said when Node starts. */
function backUp(database: string): Promise<Outcome> {
  return outcomeOf(spawnCommand('backup_full', [database], { environment }));
}

/** The value of a header of a mail, without its breaks. */
function header(index: number, name: string): string {
  const [head = ''] = (mail.mails[index]?.source ?? '').split('\r\n\r\n');
  const unfolded = head.replaceAll(/\r\n[ \t]+/g, ' ');
  return new RegExp(`^${name}: ([^\r]*)`, 'm').exec(unfolded)?.[1] ?? '';
}

it('is told once by each channel, without a secret, and mended in the same thread', async () => {
  const failed = await backUp(odd);
  expect(failed.status, failed.stderr).toBe(8);
  expect(mail.mails).toMatchObject([
    { to: ['ops@example.com'], user: 'backup', isEncrypted: true, from: 'holdfast@example.com' },
  ]);
  expect(header(0, 'Bcc')).toBe('');
  expect(chat.received).toHaveLength(1);
  expect(chat.received[0]?.body).toContain('[high] backup of');
  expect(chat.received[0]?.body).not.toContain('<b>');
  expect((await backUp(odd)).status).toBe(8);
  expect([mail.mails.length, chat.received.length]).toEqual([1, 1]);

  await cluster.sql(`CREATE DATABASE ${quoted(odd)}`);
  const good = await backUp(odd);
  expect(good.status, good.stderr).toBe(0);
  expect([mail.mails.length, chat.received.length]).toEqual([2, 2]);
  expect(chat.received[1]?.body).toContain('[resolved]');
  expect(header(1, 'References')).toBe(header(0, 'References'));
  expect(header(1, 'Message-ID')).not.toBe(header(0, 'Message-ID'));
  const said = `${failed.stderr}${good.stderr}`;
  for (const secret of [password, encodeURIComponent(password), 'hook-secret']) {
    expect(said).not.toContain(secret);
  }
});

it('waits for a mail server that takes nothing, and fails no backup', async () => {
  const [mails, messages] = [mail.mails.length, chat.received.length];
  isRefusing = true;
  const failed = await backUp('missing');
  expect(failed.status, failed.stderr).toBe(8);
  expect(failed.stderr).toContain('451 later');
  expect([mail.mails.length, chat.received.length]).toEqual([mails, messages + 1]);
  isRefusing = false;
  const good = await backUp('postgres');
  expect(good.status, good.stderr).toBe(0);
  expect([mail.mails.length, chat.received.length]).toEqual([mails + 1, messages + 1]);
  expect(mail.mails.at(-1)?.source).toContain('missing');
});
