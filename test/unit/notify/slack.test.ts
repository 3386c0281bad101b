import { createServer } from 'node:http';
import { afterEach, describe, expect, it } from 'vitest';
import { Secret } from '../../../src/core/secret.ts';
import { slackChannel } from '../../../src/notify/slack.ts';
import { sampleAlert } from '../../support/sample_alert.ts';

const alert = sampleAlert({ priority: 'high', title: 'the backup of "bücher <b>" failed' });

const path = '/services/T0/B0/s3cret';
const servers: { close(): void; closeAllConnections(): void }[] = [];

afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

/** A chat that answers with a status, and remembers what it was told. */
async function startChat(status: number, headers: Readonly<Record<string, string>> = {}) {
  const taken: { url: string | undefined; type: string | undefined; body: string }[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (text: string) => {
      body += text;
    });
    request.on('end', () => {
      taken.push({ url: request.url, type: request.headers['content-type'], body });
      response.writeHead(status, headers).end('ok');
    });
  });
  servers.push(server);
  const { promise, resolve } = Promise.withResolvers<void>();
  server.listen(0, '127.0.0.1', resolve);
  await promise;
  const { port } = server.address() as { port: number };
  const url = new Secret(`http://127.0.0.1:${port}${path}`);
  const channel = slackChannel({ url, minPriority: 'info' });
  return { taken, port, send: () => channel.send(alert, AbortSignal.timeout(30_000)) };
}

describe('an alert into a chat', () => {
  it('is posted to the webhook as JSON', async () => {
    const { taken, send } = await startChat(200);
    await send();
    expect(taken).toMatchObject([{ url: path, type: 'application/json; charset=utf-8' }]);
    const { text, attachments } = JSON.parse(taken[0]?.body ?? '');
    expect(text).toBe('[high] the backup of "bücher &lt;b&gt;" failed');
    expect(attachments).toHaveLength(1);
  });

  it.each([
    [404, /webhook, its channel or its workspace is gone/],
    [410, /webhook, its channel or its workspace is gone/],
    [429, /sent later/],
    [500, /SLACK_WEBHOOK_URL/],
    [302, /redirects/],
  ])('is not delivered where it answers %i, and the webhook stays secret', async (status, hint) => {
    const location = { location: `http://127.0.0.1:1${path}`, 'retry-after': '30' };
    const { taken, port, send } = await startChat(status, location);
    const error = await send().catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({
      code: 'STORE_REFUSED',
      message: expect.stringContaining(`127.0.0.1:${port}`),
      hint: expect.stringMatching(hint),
    });
    expect(`${error} ${JSON.stringify(error)}`).not.toContain('s3cret');
    expect(taken).toHaveLength(1);
  });
});
