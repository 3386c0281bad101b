/** A receiver of alerts as somebody runs one: it takes what comes, and answers as the test wants. */

import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Alert, parseAlert } from '../../src/core/alert.ts';

/** One request that came. */
export interface Received {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/**
 * What it answers: a status; `hang`: nothing, ever; `drop`: it closes the connection; or what a
 * function writes.
 */
export type Answer =
  | number
  | 'hang'
  | 'drop'
  | { readonly write: (response: ServerResponse) => unknown };

/** A receiver that runs. */
export interface AlertReceiver {
  readonly url: string;
  readonly received: readonly Received[];
  /** The alerts of all requests that were answered with a yes, in their order. */
  readonly alerts: readonly Alert[];
  /** From now on it answers so; each request by itself where a function decides. */
  answerWith(answer: Answer | ((alert: Alert | null) => Answer)): void;
  /** Waits until so many requests have come. */
  receivedCount(count: number): Promise<void>;
  close(): Promise<void>;
}

/** The alert in a request; `null` where it is none: a ping, a message for a chat. */
function alertIn(body: string): Alert | null {
  try {
    return parseAlert(Buffer.from(body));
  } catch {
    return null;
  }
}

/** Starts it on a free port of this machine. @param path of its URL */
export async function startAlertReceiver(path = '/alerts'): Promise<AlertReceiver> {
  const received: Received[] = [];
  const alerts: Alert[] = [];
  const waiting: { readonly count: number; readonly resolve: () => void }[] = [];
  let answer: (alert: Alert | null) => Answer = () => 204;
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (text: string) => {
      body += text;
    });
    request.on('end', () => {
      const { method = '', url = '', headers } = request;
      received.push({ method, path: url, headers, body });
      const alert = alertIn(body);
      const said = answer(alert);
      if (typeof said === 'number') {
        if (alert !== null && said >= 200 && said < 300) alerts.push(alert);
        response.writeHead(said).end();
      } else if (said === 'drop') request.socket.destroy();
      else if (said !== 'hang') said.write(response);
      for (const each of waiting) if (received.length >= each.count) each.resolve();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}${path}`,
    received,
    alerts,
    answerWith(next) {
      answer = typeof next === 'function' ? next : () => next;
    },
    receivedCount: (count) =>
      new Promise((resolve) => {
        if (received.length >= count) resolve();
        else waiting.push({ count, resolve });
      }),
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
