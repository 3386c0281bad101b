import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Alert } from '../../../src/core/alert.ts';
import { Secret } from '../../../src/core/secret.ts';
import { heartbeatUrl, sendHeartbeat } from '../../../src/notify/heartbeat.ts';
import { endpointChannel } from '../../../src/notify/http_endpoint.ts';
import { type AlertReceiver, startAlertReceiver } from '../../support/alert_receiver.ts';
import { makeServerCertificate } from '../../support/certificates.ts';

const alert: Alert = {
  format: 1,
  source: 'holdfast',
  id: '0b8a2c54-3c1e-4a49-8f5b-6a2d8c1f9e70',
  event: 'backup',
  priority: 'high',
  status: 'firing',
  title: 'backup of "a\nb" failed',
  message: 'der Plattenplatz ist aus: ✗',
  cluster: null,
  database: 'a\nb',
  host: 'db1',
  timestamp: '2026-11-21T02:00:00.000Z',
  key: 'backup/on/db1/a\nb',
  details: { code: 'NO_SPACE', exit_status: 3 },
};
const never = new AbortController().signal;

let receiver: AlertReceiver;

beforeAll(async () => {
  receiver = await startAlertReceiver('/hooks/s3cret-path?key=s3cret-key');
});
afterAll(() => receiver.close());

function channel(url = receiver.url, token: Secret | null = new Secret('t0ken')) {
  return endpointChannel({ url: new Secret(url), token, minPriority: 'info' });
}

/** What a failed try says, and that it tells no secret. */
async function failureOf(sending: Promise<void>) {
  const error = await sending.then(
    () => Promise.reject(new Error('it was delivered')),
    (thrown) => thrown,
  );
  const told = JSON.stringify([error.message, error.hint, error.details, String(error.cause)]);
  expect(told).not.toMatch(/s3cret|t0ken/);
  return error;
}

describe('the endpoint', () => {
  it('gets the document as the schema has it, with its id and the token', async () => {
    receiver.answerWith(200);
    await channel().send(alert, never);
    const [request] = receiver.received.slice(-1);
    expect(request).toMatchObject({
      method: 'POST',
      path: '/hooks/s3cret-path?key=s3cret-key',
      headers: {
        'content-type': 'application/json; charset=utf-8',
        'idempotency-key': alert.id,
        authorization: 'Bearer t0ken',
      },
    });
    expect(JSON.parse(request?.body ?? '')).toEqual(alert);
  });

  it('gets no token where there is none', async () => {
    receiver.answerWith(204);
    await channel(receiver.url, null).send(alert, never);
    expect(receiver.received.at(-1)?.headers).not.toHaveProperty('authorization');
  });

  it('is never sent what does not fit the schema', async () => {
    const count = receiver.received.length;
    const wrong = { ...alert, priority: 'loud' } as unknown as Alert;
    await expect(channel().send(wrong, never)).rejects.toMatchObject({ code: 'DAMAGED' });
    expect(receiver.received).toHaveLength(count);
  });

  it.each([
    [500, false],
    [401, false],
    [429, false],
    [400, true],
    [413, true],
  ])('that answers %i has not taken it', async (status, refuses) => {
    receiver.answerWith(status);
    const error = await failureOf(channel().send(alert, never));
    expect(error).toMatchObject({ code: 'STORE_REFUSED', details: { refuses_document: refuses } });
    expect(error.message).toContain(`answers ${status}`);
  });

  it('that redirects is not followed: the token would go along', async () => {
    const other = await startAlertReceiver('/s3cret');
    receiver.answerWith({
      write: (response) => response.writeHead(307, { location: other.url }).end(),
    });
    const error = await failureOf(channel().send(alert, never));
    expect(error.message).toContain(`redirects to ${new URL(other.url).origin} (307)`);
    expect(other.received).toEqual([]);
    await other.close();
  });

  it('that hangs up without an answer has not taken it', async () => {
    receiver.answerWith('drop');
    const error = await failureOf(channel().send(alert, never));
    expect(error).toMatchObject({ code: 'STORE_UNREACHABLE' });
  });

  it('that never answers is waited for as long as the signal lets', async () => {
    receiver.answerWith('hang');
    const count = receiver.received.length;
    const end = new AbortController();
    const sending = channel().send(alert, end.signal);
    await receiver.receivedCount(count + 1);
    const reason = new Error('too late');
    end.abort(reason);
    await expect(sending).rejects.toBe(reason);
  });

  it('that says yes and then talks without end has taken it', async () => {
    receiver.answerWith({
      write(response) {
        response.writeHead(200);
        const talk = setInterval(() => response.write(Buffer.alloc(16_384)), 1);
        response.on('close', () => clearInterval(talk));
      },
    });
    await channel().send(alert, never);
    receiver.answerWith(204);
  });

  it('that nobody listens at is told by its host alone', async () => {
    const gone = await startAlertReceiver('/s3cret');
    await gone.close();
    const error = await failureOf(channel(gone.url).send(alert, never));
    expect(error).toMatchObject({ code: 'STORE_UNREACHABLE' });
    expect(error.message).toContain(`${new URL(gone.url).host} does not answer: `);
  });

  it('whose URL is none is told without it', async () => {
    const error = await failureOf(channel('http://s3cret:x y@[z').send(alert, never));
    expect(error).toMatchObject({ code: 'CONFIG_INVALID' });
  });
});

describe('an endpoint with TLS', () => {
  let folder: string;
  let close: () => void;
  let url: string;
  let authorities: string[];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'holdfast-endpoint-'));
    await makeServerCertificate(folder);
    const [key, cert, root] = await Promise.all(
      ['server.key', 'server.crt', 'root.crt'].map((name) => readFile(join(folder, name), 'utf8')),
    );
    authorities = [root ?? ''];
    const server = createServer({ key, cert }, (request, response) => {
      request.resume().on('end', () => response.writeHead(204).end());
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    url = `https://localhost:${(server.address() as AddressInfo).port}/`;
    close = () => server.close();
  });
  afterAll(async () => {
    close();
    await rm(folder, { recursive: true });
  });

  const options = { token: null, minPriority: 'info' } as const;

  it('is talked to when its certificate is good for its name', async () => {
    const sent = endpointChannel({ ...options, url: new Secret(url), authorities });
    await sent.send(alert, never);
    const address = url.replace('localhost', '127.0.0.1');
    const other = endpointChannel({ ...options, url: new Secret(address), authorities });
    await expect(other.send(alert, never)).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
  });

  it('is not talked to when nobody who is trusted has signed it', async () => {
    const error = await failureOf(channel(url).send(alert, never));
    expect(error.message).toMatch(/certificate/);
  });

  it('is talked to when the system trusts who signed it', async () => {
    const program = `
      import { Secret } from './src/core/secret.ts';
      import { endpointChannel } from './src/notify/http_endpoint.ts';
      const url = new Secret(process.argv[1]);
      const channel = endpointChannel({ url, token: null, minPriority: 'info' });
      await channel.send(JSON.parse(process.argv[2]), new AbortController().signal);
      console.log('delivered');`;
    const args = ['--input-type=module', '--eval', program, '--', url, JSON.stringify(alert)];
    const { stdout } = await promisify(execFile)(process.execPath, args, {
      cwd: new URL('../../..', import.meta.url).pathname,
      env: { ...process.env, SSL_CERT_FILE: join(folder, 'root.crt') },
    });
    expect(stdout).toBe('delivered\n');
  });
});

describe('the watchdog', () => {
  it.each([
    ['https://hc.example/abc', 'https://hc.example/abc', '/abc/start'],
    ['https://hc.example/abc/', 'https://hc.example/abc/', '/abc/start'],
    ['https://hc.example/abc?rid=1', 'https://hc.example/abc?rid=1', '/abc/start?rid=1'],
  ])('%s has a URL for each ping', (url, success, start) => {
    expect(heartbeatUrl(url, 'success')).toBe(success);
    expect(heartbeatUrl(url, 'start')).toBe(`https://hc.example${start}`);
    expect(heartbeatUrl(url, 'fail')).toBe(`https://hc.example${start.replace('start', 'fail')}`);
  });

  it('is pinged, and what it refuses is told', async () => {
    const watchdog = await startAlertReceiver('/s3cret');
    const url = new Secret(watchdog.url);
    await sendHeartbeat(url, 'start', never);
    await sendHeartbeat(url, 'success', never);
    expect(watchdog.received.map(({ method, path }) => `${method} ${path}`)).toEqual([
      'GET /s3cret/start',
      'GET /s3cret',
    ]);
    watchdog.answerWith(404);
    expect(await failureOf(sendHeartbeat(url, 'fail', never))).toMatchObject({
      code: 'STORE_REFUSED',
    });
    await watchdog.close();
  });
});
