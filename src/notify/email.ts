/**
 * Alerts by mail (SMTP, RFC 5321). A password goes over TLS only, and TLS is verified against the
 * authorities of Node and of the system. A mail server on this very machine that asks for no
 * password is talked to as it comes: its certificate is mostly one that nobody has signed.
 */

import type { Socket } from 'node:net';
import type { Alert, Priority } from '../core/alert.ts';
import { type AlertMail, alertMail } from '../core/alert_mail.ts';
import { oneLine } from '../core/alert_words.ts';
import { HoldfastError } from '../core/errors.ts';
import { printable } from '../core/printable.ts';
import { Secret } from '../core/secret.ts';
import type { Channel } from './channel.ts';

/** How mail is sent, and to whom. */
export interface EmailOptions {
  /** `smtp://user:password@host:587`, or `smtps://…`; user and password percent-encoded. */
  readonly url: Secret;
  /** Addresses with commas between. */
  readonly to: string;
  readonly from: string;
  readonly minPriority: Priority;
  /** How long one mail may take, in milliseconds. */
  readonly timeoutMs: number;
  /** Told of a recipient that the server refused while it took others. */
  readonly onWarning: (message: string) => void;
  /** Certificates of authorities (PEM) in place of Node's and the system's. */
  readonly authorities?: readonly string[];
}

/** What an SMTP URL says. */
export interface MailServer {
  readonly host: string;
  readonly port: number;
  /** TLS from the start, in place of STARTTLS. */
  readonly isTls: boolean;
  readonly user: string | null;
  readonly password: Secret | null;
}

function invalidUrl(why: string): HoldfastError {
  return new HoldfastError('CONFIG_INVALID', `SMTP_URL is no address of a mail server: ${why}`, {
    hint:
      'Write smtp://user:password@mail.example.com:587, with what has a meaning in URLs ' +
      'percent-encoded (@ is %40).',
  });
}

function decode(text: string, what: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw invalidUrl(`the percent-encoding of the ${what} is broken`);
  }
}

/**
 * Takes an SMTP URL apart. Without a port it is 587 for `smtp` (RFC 6409) and 465 for `smtps`
 * (RFC 8314).
 *
 * @throws HoldfastError CONFIG_INVALID, without quoting the URL, which holds a password
 */
export function parseSmtpUrl(url: Secret): MailServer {
  let parsed: URL;
  try {
    parsed = new URL(url.reveal());
  } catch {
    throw invalidUrl('it cannot be read');
  }
  const { protocol, hostname, port, username, password, pathname, search, hash } = parsed;
  if (protocol !== 'smtp:' && protocol !== 'smtps:') {
    throw invalidUrl('it begins with neither smtp:// nor smtps://');
  }
  if (hostname === '') throw invalidUrl('it names no host');
  // A `/`, `?` or `#` that belongs to the password ends it.
  if (!['', '/'].includes(pathname) || search !== '' || hash !== '') {
    throw invalidUrl('something stands behind the host and the port');
  }
  if (username === '' && password !== '') throw invalidUrl('it has a password without a user');
  if (username !== '' && password === '') throw invalidUrl('it has a user without a password');
  const isTls = protocol === 'smtps:';
  return {
    host: decode(hostname, 'host').replace(/^\[(.*)\]$/, '$1'),
    port: port === '' ? (isTls ? 465 : 587) : Number(port),
    isTls,
    user: username === '' ? null : decode(username, 'user'),
    password: password === '' ? null : new Secret(decode(password, 'password')),
  };
}

/** Whether what is sent there never leaves this machine. */
function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(?:\.\d{1,3}){3}$/.test(host);
}

/**
 * Connects as this machine resolves names: nodemailer asks DNS servers before /etc/hosts, and warns
 * on the console where there is no network but this machine's own.
 */
async function connected({ host, port }: MailServer, signal: AbortSignal): Promise<Socket> {
  const { connect } = await import('node:net');
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const socket = connect({ host, port, signal });
  // Stays on: a signal that fires when nobody listens any more would end this process.
  socket.on('error', (error) => {
    // Of a name with several addresses each try has failed.
    reject(error instanceof AggregateError ? (error.errors[0] ?? error) : error);
  });
  socket.once('connect', resolve);
  await promise;
  return socket;
}

async function transportFor(server: MailServer, options: EmailOptions, signal: AbortSignal) {
  const [{ createTransport }, { getCACertificates }] = await Promise.all([
    import('nodemailer'),
    import('node:tls'),
  ]);
  const { host, port, isTls, user, password } = server;
  const { timeoutMs } = options;
  const own = options.authorities;
  const ca = own ?? [...getCACertificates('default'), ...getCACertificates('system')];
  return createTransport({
    host,
    port,
    secure: isTls,
    requireTLS: !isTls && password !== null,
    ignoreTLS: password === null && isLoopback(host),
    ...(user === null || password === null
      ? {}
      : { auth: { user, pass: password.reveal() }, forceAuth: true }),
    tls: { ca: [...ca], rejectUnauthorized: true, minVersion: 'TLSv1.2' },
    getSocket: (_, done) => {
      connected(server, signal).then(
        (connection) => done(null, { connection }),
        (error: Error) => done(error),
      );
    },
    connectionTimeout: timeoutMs,
    greetingTimeout: timeoutMs,
    socketTimeout: timeoutMs,
    socketCloseTimeout: 0,
    disableFileAccess: true,
    disableUrlAccess: true,
  });
}

/** What is known of a failure by nodemailer's words and numbers. */
interface MailFailure {
  readonly code?: string;
  readonly message: string;
  readonly response?: string;
  /** Whether the answer is 5xx: the same again will not be taken. */
  readonly permanent?: boolean;
  readonly rejectedErrors?: readonly MailFailure[];
}

/** The server's own words where it said any; it may repeat the password, in either spelling. */
function wordsOf(failure: MailFailure, { user, password }: MailServer): string {
  const said = failure.rejectedErrors?.[0]?.response ?? failure.response;
  let words = oneLine(said ?? failure.message, 500);
  if (password === null) return words;
  const plain = password.reveal();
  const spellings = [plain, `\0${user}\0${plain}`].flatMap((text) => [
    text,
    Buffer.from(text).toString('base64'),
  ]);
  for (const spelling of spellings) words = words.replaceAll(spelling, '[redacted]');
  return words;
}

const hints: Readonly<Record<string, string>> = {
  EAUTH: 'Check the user and the password in SMTP_URL, percent-encoded as in every URL.',
  ETLS:
    'The mail server has to offer STARTTLS (or TLS, with smtps://) with a certificate that this ' +
    'machine trusts: no password is sent without.',
  EENVELOPE: 'Check NOTIFICATION_EMAIL and EMAIL_FROM: the server refuses one of them.',
};
const elseHint = 'Check the host and the port in SMTP_URL, and whether the mail server is up.';

/** Also where nodemailer calls it a failure of the connection. */
function isOfTls({ code, message }: MailFailure): boolean {
  return code === 'ETLS' || (code === 'ESOCKET' && /certificate|\bSSL\b|\bTLS\b/i.test(message));
}

function failed(failure: MailFailure, server: MailServer): HoldfastError {
  const where = printable(`${server.host}:${server.port}`);
  // Not kept as a cause: its text may hold what the server repeats.
  return new HoldfastError(
    failure.response === undefined ? 'STORE_UNREACHABLE' : 'STORE_REFUSED',
    `the mail server ${where} has not taken the mail: ${wordsOf(failure, server)}`,
    {
      hint: isOfTls(failure) ? hints.ETLS : (hints[failure.code ?? ''] ?? elseHint),
      // Its sender and recipients were fine: a filter does not want what is in it.
      details: { refuses_document: failure.code === 'EMESSAGE' && failure.permanent === true },
    },
  );
}

async function deliver(
  mail: AlertMail,
  server: MailServer,
  options: EmailOptions,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const transport = await transportFor(server, options, signal);
  const { subject, text, html, messageId, thread, date, isUrgent } = mail;
  const sent = await transport.sendMail({
    from: options.from,
    to: options.to,
    subject,
    text,
    html,
    messageId,
    inReplyTo: thread,
    references: [thread],
    date: new Date(date),
    priority: isUrgent ? 'high' : 'normal',
    // Nobody's holiday notice answers it. RFC 3834, 5.
    headers: { 'Auto-Submitted': 'auto-generated' },
    signal,
  });
  return sent.rejected.map(String);
}

/**
 * Mail as a channel. Where the server takes the mail for some recipients and refuses others it is
 * delivered: sending it again would bring it twice to those who have it. Who was refused is told.
 *
 * @throws HoldfastError CONFIG_INVALID for an SMTP_URL that is none; `send` throws as the port
 *   says, and what the signal was fired with
 */
export function emailChannel(options: EmailOptions): Channel {
  const server = parseSmtpUrl(options.url);
  const { from, minPriority, timeoutMs, onWarning } = options;

  async function send(alert: Alert, signal: AbortSignal): Promise<void> {
    const limit = AbortSignal.timeout(timeoutMs);
    try {
      const mail = alertMail(alert, from);
      const refused = await deliver(mail, server, options, AbortSignal.any([signal, limit]));
      if (refused.length === 0) return;
      const who = refused.map(printable).join(', ');
      onWarning(`the mail server took the mail for others, and refused it for ${who}`);
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      const late = new Error(`no answer within ${timeoutMs / 1000} s`);
      const failure = error instanceof Error ? error : new Error(String(error));
      throw failed(limit.aborted ? late : failure, server);
    }
  }

  return { name: 'email', minPriority, send };
}
