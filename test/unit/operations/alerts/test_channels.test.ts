import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { parseAlert } from '../../../../src/core/alert.ts';
import { Secret } from '../../../../src/core/secret.ts';
import { testChannels } from '../../../../src/operations/alerts/test_channels.ts';
import type { Context } from '../../../../src/operations/context.ts';
import { reply, startMailServer } from '../../../support/mail_server.ts';

/** What the context was warned of. */
const warned: string[] = [];
const opened: { close(): unknown }[] = [];

afterEach(async () => {
  for (const server of opened.splice(0)) await server.close();
});

const none = {
  enabled: true,
  endpoint: null,
  token: null,
  min_priority: 'critical',
  slack_webhook_url: null,
  slack_min_priority: 'critical',
  smtp_url: null,
  email: null,
  email_from: null,
  email_min_priority: 'critical',
  heartbeat_url: null,
  runbook_url: null,
  timeout_seconds: 10,
} as const;

function contextOf(alerts: object, signal = new AbortController().signal): Context {
  return {
    config: { settings: { alerts: { ...none, ...alerts } }, projectDir: '/opt/holdfast' },
    host: 'db1',
    runId: 'r1',
    toolVersion: '0.0.0',
    clock: () => new Date(0),
    stopwatch: () => performance.now() / 1000,
    signal,
    log: { warn: (message: string) => warned.push(message) },
    randomBytes: (count: number) => new Uint8Array(count),
  } as unknown as Context;
}

/** A receiver that gives its answers in turn; `null`: it never answers. */
async function receiver(status: number | null) {
  const taken: { readonly url: string | undefined; readonly body: string }[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (text: string) => {
      body += text;
    });
    request.on('end', () => {
      taken.push({ url: request.url, body });
      if (status !== null) response.writeHead(status).end();
    });
  });
  const { promise, resolve } = Promise.withResolvers<void>();
  server.listen(0, '127.0.0.1', resolve);
  await promise;
  opened.push({
    close() {
      server.closeAllConnections();
      server.close();
    },
  });
  const { port } = server.address() as AddressInfo;
  return { taken, url: new Secret(`http://127.0.0.1:${port}/x`) };
}

describe('the test of the alerts', () => {
  it('goes through every channel, whatever it takes otherwise, and tells of each', async () => {
    const endpoint = await receiver(204);
    const slack = await receiver(410);
    const watchdog = await receiver(200);
    const mail = await startMailServer({
      authOptional: true,
      disabledCommands: ['AUTH', 'STARTTLS'],
      onRcptTo: ({ address }, _session, done) =>
        done(address.startsWith('gone') ? reply(550, 'unknown') : null),
    });
    opened.push(mail);
    const channels = await testChannels(
      contextOf({
        endpoint: endpoint.url,
        slack_webhook_url: slack.url,
        smtp_url: new Secret(`smtp://127.0.0.1:${mail.port}`),
        email: 'ops@example.com, gone@example.com',
        heartbeat_url: watchdog.url,
      }),
    );
    expect(channels).toMatchObject([
      { channel: 'endpoint', error: null },
      { channel: 'slack', error: { code: 'STORE_REFUSED' } },
      { channel: 'email', error: null },
    ]);
    expect(warned).toEqual([expect.stringContaining('gone@example.com')]);
    expect(parseAlert(Buffer.from(endpoint.taken[0]?.body ?? ''))).toMatchObject({
      event: 'test',
      host: 'db1',
    });
    expect(mail.mails).toMatchObject([{ from: 'holdfast@db1', to: ['ops@example.com'] }]);
    expect(watchdog.taken).toEqual([]);
  });

  it('gives up a channel that hangs', async () => {
    const { url } = await receiver(null);
    const context = contextOf({ endpoint: url, timeout_seconds: 0.2 });
    const channels = await testChannels(context);
    expect(channels).toMatchObject([
      { error: { code: 'STORE_UNREACHABLE', message: 'no answer within 0.2 s' } },
    ]);
  });

  it('ends when the run does', async () => {
    const { url } = await receiver(null);
    const end = new AbortController();
    const testing = testChannels(contextOf({ endpoint: url }, end.signal));
    const reason = new Error('interrupted');
    end.abort(reason);
    await expect(testing).rejects.toBe(reason);
  });

  it('tells of a channel that is set up by half', async () => {
    const channels = await testChannels(contextOf({ email: 'ops@example.com' }));
    expect(channels).toMatchObject([
      {
        channel: 'email',
        error: { code: 'CONFIG_INVALID', message: expect.stringContaining('SMTP_URL is not') },
      },
    ]);
    const other = contextOf({ smtp_url: new Secret('smtp://localhost') });
    expect(await testChannels(other)).toMatchObject([
      {
        channel: 'email',
        error: { message: expect.stringContaining('NOTIFICATION_EMAIL is not') },
      },
    ]);
  });

  it('has nothing to try without a channel, with a heartbeat alone, or switched off', async () => {
    const heartbeat = { heartbeat_url: new Secret('http://127.0.0.1:1/x') };
    expect(await testChannels(contextOf({}))).toEqual([]);
    expect(await testChannels(contextOf(heartbeat))).toEqual([]);
    const off = { enabled: false, email: 'ops@example.com', endpoint: heartbeat.heartbeat_url };
    expect(await testChannels(contextOf(off))).toEqual([]);
  });
});
