/** Mail servers on this machine: real SMTP, and some that misbehave. */

import { createServer, type Socket } from 'node:net';
import { SMTPServer } from 'smtp-server';

type Options = NonNullable<ConstructorParameters<typeof SMTPServer>[0]>;

/** A mail that the server has taken. */
export interface TakenMail {
  readonly from: string;
  readonly to: readonly string[];
  /** The user who was logged in. */
  readonly user: string | null;
  readonly isEncrypted: boolean;
  /** Header and body, as they came. */
  readonly source: string;
}

export interface MailServer {
  readonly port: number;
  readonly mails: readonly TakenMail[];
  close(): Promise<void>;
}

/** An error with a reply code, as smtp-server answers it. */
export function reply(responseCode: number, text: string): Error {
  return Object.assign(new Error(text), { responseCode });
}

async function listening(server: { address(): unknown }): Promise<number> {
  const address = server.address() as { readonly port: number } | null;
  if (address === null) throw new Error('the server does not listen');
  return address.port;
}

/** Starts a real one on a free port of the loopback. */
export async function startMailServer(options: Options): Promise<MailServer> {
  const mails: TakenMail[] = [];
  const server = new SMTPServer({
    disableReverseLookup: true,
    closeTimeout: 100,
    onData(stream, session, done) {
      const chunks: Buffer[] = [];
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.on('end', () => {
        const { mailFrom, rcptTo } = session.envelope;
        mails.push({
          from: mailFrom === false ? '' : mailFrom.address,
          to: rcptTo.map(({ address }) => address),
          user: session.user ?? null,
          isEncrypted: session.secure,
          source: Buffer.concat(chunks).toString('utf8'),
        });
        done();
      });
    },
    ...options,
  });
  // A client that does not trust the certificate goes away: that is its test, not a failure here.
  server.on('error', () => undefined);
  const { promise, resolve } = Promise.withResolvers<void>();
  const inner = server.listen(0, '127.0.0.1', resolve);
  await promise;
  return {
    port: await listening(inner),
    mails,
    close: () => new Promise((done) => server.close(done)),
  };
}

/**
 * Starts a server that says and does what it is told.
 *
 * @param onLine what it does with each line of a client; `null` first, when the client has come
 */
export async function startTalker(
  onLine: (line: string | null, socket: Socket) => void,
): Promise<{ readonly port: number; readonly lines: string[]; close(): Promise<void> }> {
  const lines: string[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    onLine(null, socket);
    let rest = '';
    socket.setEncoding('utf8').on('data', (text: string) => {
      const parts = (rest + text).split('\r\n');
      rest = parts.pop() ?? '';
      for (const line of parts) {
        lines.push(line);
        onLine(line, socket);
      }
    });
  });
  const { promise, resolve } = Promise.withResolvers<void>();
  server.listen(0, '127.0.0.1', resolve);
  await promise;
  return {
    port: await listening(server),
    lines,
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((done) => server.close(done));
    },
  };
}
