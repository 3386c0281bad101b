import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Alert } from '../../../src/core/alert.ts';
import { Secret } from '../../../src/core/secret.ts';
import { type EmailOptions, emailChannel, parseSmtpUrl } from '../../../src/notify/email.ts';
import { makeServerCertificate } from '../../support/certificates.ts';
import { type MailServer, reply, startMailServer, startTalker } from '../../support/mail_server.ts';
import { sampleAlert } from '../../support/sample_alert.ts';

const alert = sampleAlert();

const password = 's3cr@t/:é';
const login = `ops%40example.com:${encodeURIComponent(password)}@`;
let folder: string;
let tls: { readonly key: string; readonly cert: string };
let authorities: readonly string[];
let others: readonly string[];
const opened: { close(): Promise<void> }[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-mail-'));
  await makeServerCertificate(folder);
  const read = (name: string) => readFile(join(folder, name), 'utf8');
  tls = { key: await read('server.key'), cert: await read('server.crt') };
  authorities = [await read('root.crt')];
  others = [await read('other.crt')];
});
afterAll(() => rm(folder, { recursive: true, force: true }));
afterEach(async () => {
  for (const server of opened.splice(0)) await server.close();
});

async function start(options: Parameters<typeof startMailServer>[0]): Promise<MailServer> {
  const server = await startMailServer({ ...tls, ...options });
  opened.push(server);
  return server;
}

/** A server that wants to know who sends. */
function withLogin(more: Parameters<typeof startMailServer>[0] = {}): Promise<MailServer> {
  return start({
    onAuth({ username, password: given }, _session, done) {
      const isRight = username === 'ops@example.com' && given === password;
      done(isRight ? null : reply(535, `no, not with ${given}`), { user: username });
    },
    ...more,
  });
}

const withoutLogin = { authOptional: true, disabledCommands: ['AUTH', 'STARTTLS'] };

/** Without the breaks within a header. */
function unfolded(source = ''): string {
  return source.replaceAll(/\r\n[ \t]+/g, ' ');
}

/** The subject, which is in the Q encoding (RFC 2047). */
function subjectOf(source: string): string {
  const [, header = ''] = /^Subject: (.*)\r$/m.exec(source) ?? [];
  const words = [...header.matchAll(/=\?UTF-8\?Q\?(.*?)\?=/g)].map(([, word = '']) => word);
  const bytes = words
    .join('')
    .replaceAll('_', ' ')
    .replaceAll(/=([0-9A-F]{2})/g, '%$1');
  return decodeURIComponent(bytes);
}

function channel(url: string, more: Partial<EmailOptions> = {}) {
  const warnings: string[] = [];
  const made = emailChannel({
    url: new Secret(url),
    to: 'a@example.com, "Ops, Nights" <b@example.com>',
    from: 'Holdfast <holdfast@example.com>',
    minPriority: 'info',
    timeoutMs: 30_000,
    onWarning: (message) => warnings.push(message),
    authorities,
    ...more,
  });
  const send = (what: Partial<Alert> = {}, signal = new AbortController().signal) =>
    made.send({ ...alert, ...what }, signal);
  return { send, warnings };
}

describe('an alert by mail', () => {
  it('goes over STARTTLS, with the password, to everybody', async () => {
    const server = await withLogin();
    await channel(`smtp://${login}localhost:${server.port}`).send();
    expect(server.mails).toMatchObject([
      {
        from: 'holdfast@example.com',
        to: ['a@example.com', 'b@example.com'],
        user: 'ops@example.com',
        isEncrypted: true,
      },
    ]);
    const source = unfolded(server.mails[0]?.source);
    expect(subjectOf(source)).toBe('[critical] the backup of "app" failed ("app" on db1)');
    expect(source).toMatch(/^Date: Sat, 21 Nov 2026 02:00:00 \+0000\r$/m);
    expect(source).toMatch(/^Auto-Submitted: auto-generated\r$/m);
    expect(source).toMatch(/^Importance: high\r$/im);
    expect(source).toContain('Content-Type: text/plain');
    expect(source).toContain('Content-Type: text/html');
  });

  it('goes over TLS from the start with smtps', async () => {
    const server = await withLogin({ secure: true });
    await channel(`smtps://${login}localhost:${server.port}`).send();
    expect(server.mails).toMatchObject([{ isEncrypted: true, user: 'ops@example.com' }]);
  });

  it('is the same mail when it is sent again, in the thread of its trouble', async () => {
    const server = await withLogin();
    const { send } = channel(`smtp://${login}localhost:${server.port}`);
    await send();
    await send();
    await send({ id: 'a2', status: 'resolved' });
    const headers = (name: string) =>
      server.mails.map(
        ({ source }) =>
          new RegExp(`^${name}: (<[^>]+>)\r$`, 'm').exec(unfolded(source))?.[1] ?? name,
      );
    const [first, again, resolved] = headers('Message-ID');
    expect(first).toMatch(/@example\.com>$/);
    expect(again).toBe(first);
    expect(resolved).not.toBe(first);
    expect(new Set(headers('References')).size).toBe(1);
    expect(headers('In-Reply-To')).toEqual(headers('References'));
  });

  it('lets a name with line breaks, quotes and Unicode be no more than a name', async () => {
    const server = await withLogin();
    const name = 'bücher\r\nBcc: evil@example.com\r\n\r\n.\r\nQUIT\r\n"$(id)" \u{1f418}';
    const { send } = channel(`smtp://${login}localhost:${server.port}`);
    await send({ database: name, title: name, message: `${name}\n.\n`, key: name });
    expect(server.mails).toHaveLength(1);
    const { to, source } = server.mails[0] ?? { to: [], source: '' };
    expect(to).toEqual(['a@example.com', 'b@example.com']);
    const [header = ''] = source.split('\r\n\r\n');
    expect(header).not.toMatch(/^Bcc:/im);
    expect(header).toMatch(/^Subject: =\?UTF-8\?/m);
  });

  it('goes without a password to the mail server of this machine as it comes', async () => {
    const server = await start({ authOptional: true });
    await channel(`smtp://127.0.0.1:${server.port}`, { authorities: others }).send();
    expect(server.mails).toMatchObject([{ isEncrypted: false, user: null }]);
  });
});

describe('a password', () => {
  it('is not sent where the server offers no TLS', async () => {
    const server = await startTalker((line, socket) => {
      if (line === null) socket.write('220 hello\r\n');
      else if (line.startsWith('EHLO')) socket.write('250-hello\r\n250 AUTH PLAIN LOGIN\r\n');
      else socket.write('502 no\r\n');
    });
    opened.push(server);
    const { send } = channel(`smtp://${login}localhost:${server.port}`);
    await expect(send()).rejects.toMatchObject({
      code: 'STORE_REFUSED',
      hint: expect.stringContaining('STARTTLS'),
    });
    expect(server.lines.map((line) => line.split(' ')[0])).toEqual(['EHLO', 'STARTTLS']);
  });

  it('is not sent to a server whose certificate nobody vouches for', async () => {
    const server = await withLogin();
    const { send } = channel(`smtp://${login}localhost:${server.port}`, { authorities: others });
    await expect(send()).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
    const stranger = channel(`smtp://${login}127.0.0.1:${server.port}`);
    await expect(stranger.send()).rejects.toThrow(/altnames/);
    expect(server.mails).toEqual([]);
    const direct = await withLogin({ secure: true });
    const url = `smtps://${login}localhost:${direct.port}`;
    await expect(channel(url, { authorities: others }).send()).rejects.toMatchObject({
      hint: expect.stringContaining('a certificate that this machine trusts'),
    });
    await expect(channel(url.replace('localhost', '127.0.0.1')).send()).rejects.toThrow(/altnames/);
    expect(direct.mails).toEqual([]);
  });

  it('that is wrong is told, and not repeated even where the server repeats it', async () => {
    const server = await withLogin();
    const { send } = channel(`smtp://ops%40example.com:s3cret-wrong@localhost:${server.port}`);
    const error = await send().catch((thrown: Error) => thrown);
    expect(error).toMatchObject({
      code: 'STORE_REFUSED',
      message: expect.stringContaining('535 no, not with [redacted]'),
      hint: expect.stringContaining('password in SMTP_URL'),
    });
    expect(error).not.toHaveProperty('cause');
    expect(`${error} ${JSON.stringify(error)}`).not.toContain('s3cret');
  });

  it('is not left out where the server knows no logins', async () => {
    const server = await start({ authOptional: true, disabledCommands: ['AUTH'] });
    const { send } = channel(`smtp://${login}localhost:${server.port}`);
    await expect(send()).rejects.toMatchObject({ code: expect.stringMatching(/^STORE_/) });
    expect(server.mails).toEqual([]);
  });
});

describe('a mail that is not taken', () => {
  it.each([
    [550, 'mailbox unavailable'],
    [421, 'try later'],
    [451, 'greylisted'],
  ])('is told with the server’s own words: %i %s', async (code, words) => {
    const server = await start({
      ...withoutLogin,
      onRcptTo: (_address, _session, done) => done(reply(code, words)),
    });
    const { send } = channel(`smtp://localhost:${server.port}`);
    await expect(send()).rejects.toMatchObject({
      code: 'STORE_REFUSED',
      message: expect.stringContaining(`${code} ${words}`),
    });
  });

  it.each([
    [554, true],
    [451, false],
  ])('for what is in it is told apart from one that may be taken later: %i', async (code, is) => {
    const server = await start({
      ...withoutLogin,
      onData: (stream, _session, done) => {
        stream.resume().on('end', () => done(reply(code, 'I do not like it')));
      },
    });
    await expect(channel(`smtp://localhost:${server.port}`).send()).rejects.toMatchObject({
      code: 'STORE_REFUSED',
      details: { refuses_document: is },
    });
  });

  it('is told by a server that greets with a refusal', async () => {
    const server = await startTalker((_line, socket) => {
      socket.end('421 too busy\r\n');
    });
    opened.push(server);
    await expect(channel(`smtp://localhost:${server.port}`).send()).rejects.toMatchObject({
      code: 'STORE_REFUSED',
      message: expect.stringContaining('421 too busy'),
    });
  });

  it('is delivered where others take it, and who does not is told', async () => {
    const server = await start({
      ...withoutLogin,
      onRcptTo: ({ address }, _session, done) =>
        done(address === 'b@example.com' ? reply(550, 'unknown') : null),
    });
    const { send, warnings } = channel(`smtp://localhost:${server.port}`);
    await send();
    expect(server.mails).toMatchObject([{ to: ['a@example.com'] }]);
    expect(warnings).toEqual([expect.stringContaining('b@example.com')]);
  });

  it('is given up when a server hangs', async () => {
    const server = await startTalker(() => undefined);
    opened.push(server);
    const { send } = channel(`smtp://localhost:${server.port}`, { timeoutMs: 300 });
    await expect(send()).rejects.toMatchObject({
      code: 'STORE_UNREACHABLE',
      message: expect.stringMatching(/^the mail server localhost:\d+ has not taken the mail/),
    });
  });

  it('is given up when a server answers a little now and then', async () => {
    const server = await startTalker((line, socket) => {
      if (line !== null) return;
      const timer = setInterval(() => socket.write('220-wait\r\n'), 50);
      socket.on('close', () => clearInterval(timer));
    });
    opened.push(server);
    const { send } = channel(`smtp://localhost:${server.port}`, { timeoutMs: 500 });
    await expect(send()).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
  });

  it('is not taken for delivered when the server goes away in the middle', async () => {
    const server = await startTalker((line, socket) => {
      if (line === null) socket.write('220 hello\r\n');
      else if (line === 'DATA') socket.write('354 go on\r\n');
      else if (line.startsWith('Subject')) socket.destroy();
      else if (/^(?:EHLO|MAIL|RCPT)/.test(line)) socket.write('250 yes\r\n');
    });
    opened.push(server);
    const { send } = channel(`smtp://localhost:${server.port}`);
    await expect(send()).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
    expect(server.lines).toContain('DATA');
  });

  it('is given up at once when the run ends', async () => {
    const server = await startTalker(() => undefined);
    opened.push(server);
    const end = new AbortController();
    const sending = channel(`smtp://localhost:${server.port}`).send({}, end.signal);
    const reason = new Error('interrupted');
    end.abort(reason);
    await expect(sending).rejects.toBe(reason);
  });

  it('is told where nobody listens', async () => {
    const server = await startTalker(() => undefined);
    await server.close();
    const { send } = channel(`smtp://localhost:${server.port}`);
    await expect(send()).rejects.toMatchObject({
      code: 'STORE_UNREACHABLE',
      message: expect.stringContaining('ECONNREFUSED'),
    });
  });
});

describe('SMTP_URL', () => {
  const parse = (url: string) => parseSmtpUrl(new Secret(url));

  it.each([
    ['smtp://mail.example.com', 'mail.example.com', 587, false],
    ['smtps://mail.example.com/', 'mail.example.com', 465, true],
    ['smtp://mail.example.com:25', 'mail.example.com', 25, false],
    ['smtp://[::1]:2525', '::1', 2525, false],
  ])('%s', (url, host, port, isTls) => {
    expect(parse(url)).toEqual({ host, port, isTls, user: null, password: null });
  });

  it('has user and password percent-encoded', () => {
    const { user, password: secret } = parse(`smtp://${login}mail.example.com`);
    expect(user).toBe('ops@example.com');
    expect(secret?.reveal()).toBe(password);
  });

  it.each([
    'http://mail.example.com',
    'smtp://',
    'smtp://user:hunter2#5@mail.example.com',
    'smtp://user:hunter2/x@mail.example.com',
    'smtp://user:%E0%A4hunter2@mail.example.com',
    'smtp://user@mail.example.com',
    'smtp://:hunter2@mail.example.com',
    'smtp://mail.example.com:99999',
    'hunter2',
  ])('%s is refused without being repeated', (url) => {
    const thrown = expect.objectContaining({
      code: 'CONFIG_INVALID',
      message: expect.not.stringContaining('hunter2'),
    });
    expect(() => parse(url)).toThrow(thrown);
  });
});
