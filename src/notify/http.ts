/**
 * One HTTP request to a receiver of alerts. TLS is verified against the authorities of Node and of
 * the system. No redirect is followed, since the token would go along, and no proxy is used. Of a
 * URL only the host is ever told: the path of a webhook is its password.
 */

import type { IncomingMessage } from 'node:http';
import { HoldfastError } from '../core/errors.ts';
import type { Secret } from '../core/secret.ts';

/** What is sent, and where. */
export interface HttpRequest {
  /** For messages, with its article: `the receiver of alerts`. */
  readonly what: string;
  readonly method: 'GET' | 'POST';
  readonly url: Secret;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | null;
  /** Ends the request. */
  readonly signal: AbortSignal;
  /** Certificates of authorities (PEM) in place of Node's and the system's. */
  readonly authorities?: readonly string[] | undefined;
  /** What to do where the answer is no yes. */
  readonly hint: string;
  /** What to do where the answer has one of these statuses. */
  readonly hints?: Readonly<Record<number, string>>;
}

/**
 * The answers by which a receiver says that it does not want this very document, whoever sends it
 * and however often (RFC 9110, 15.5): bad request, too large, unsupported type, unprocessable.
 */
const documentRefusals = [400, 413, 415, 422];

/** Of an answer's body nothing is kept; what is longer, or slower, is cut off. */
const bodyBytesMax = 64 * 1024;
const bodyMsMax = 1000;

/** Waits until an answer has ended, but neither for long nor for much. */
function drained(response: IncomingMessage): Promise<void> {
  return new Promise((resolve) => {
    let bytes = 0;
    const cutOff = setTimeout(() => response.destroy(), bodyMsMax);
    response.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > bodyBytesMax) response.destroy();
    });
    // The status is what counts, and that is known.
    response.on('error', () => undefined);
    response.once('close', () => {
      clearTimeout(cutOff);
      resolve();
    });
  });
}

/** Whom Node trusts and whom the system does: a company's own authority is known to that. */
async function authoritiesOfAll(): Promise<string[]> {
  const { getCACertificates } = await import('node:tls');
  return [...getCACertificates('default'), ...getCACertificates('system')];
}

/** Sends the request; gives the answer's head once its body has ended. */
async function answerTo(request: HttpRequest, url: URL): Promise<IncomingMessage> {
  const { method, headers, body, signal, authorities } = request;
  const isTls = url.protocol === 'https:';
  const { request: begin } = await (isTls ? import('node:https') : import('node:http'));
  const trusted = isTls ? { ca: [...(authorities ?? (await authoritiesOfAll()))] } : {};
  const bytes = body === null ? null : Buffer.from(body, 'utf8');
  const length = bytes === null ? {} : { 'content-length': String(bytes.length) };
  signal.throwIfAborted();
  return new Promise((resolve, reject) => {
    const outgoing = begin(url, {
      method,
      headers: { ...headers, ...length },
      // A connection of its own, which ends with the answer.
      agent: false,
      signal,
      minVersion: 'TLSv1.2',
      rejectUnauthorized: true,
      ...trusted,
    });
    outgoing.once('response', (response) => {
      drained(response).then(() => resolve(response), reject);
    });
    // Stays on: a request that was cut off while its answer came may fail once more.
    outgoing.on('error', reject);
    outgoing.end(bytes ?? undefined);
  });
}

/** Where a redirect leads: the host alone, for the path may be as secret as the one asked for. */
function redirectTarget(location: string | undefined, url: URL): string {
  if (location === undefined || !URL.canParse(location, url.href)) return 'nowhere';
  const target = new URL(location, url);
  return target.origin === url.origin ? 'another path of that host' : target.origin;
}

function refusal(request: HttpRequest, url: URL, response: IncomingMessage): HoldfastError {
  const { what, hints } = request;
  const status = response.statusCode ?? 0;
  const hint = hints?.[status] ?? request.hint;
  if (status >= 300 && status < 400) {
    const to = redirectTarget(response.headers.location, url);
    return new HoldfastError(
      'STORE_REFUSED',
      `${what} at ${url.host} redirects to ${to} (${status}), and redirects are not followed`,
      { hint: 'Set the URL that it redirects to.' },
    );
  }
  return new HoldfastError('STORE_REFUSED', `${what} at ${url.host} answers ${status}`, {
    hint,
    details: { refuses_document: documentRefusals.includes(status) },
  });
}

/**
 * Sends a request, and takes no answer but 2xx for a yes.
 *
 * @throws HoldfastError CONFIG_INVALID: the URL is none; STORE_UNREACHABLE: no answer;
 *   STORE_REFUSED: another answer; what the signal was fired with
 */
export async function sendRequest(request: HttpRequest): Promise<void> {
  const { what, signal } = request;
  const text = request.url.reveal();
  if (!URL.canParse(text)) {
    throw new HoldfastError('CONFIG_INVALID', `the URL of ${what} cannot be read`, {
      hint: 'Write it as https://host/path.',
    });
  }
  const url = new URL(text);
  let response: IncomingMessage;
  try {
    response = await answerTo(request, url);
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    const reason = error instanceof Error ? error.message : String(error);
    // Not kept as a cause: its text may hold the URL.
    throw new HoldfastError(
      'STORE_UNREACHABLE',
      `${what} at ${url.host} does not answer: ${reason}`,
      { hint: 'Check the host and the port of its URL, and whether it is up.' },
    );
  }
  const status = response.statusCode ?? 0;
  if (status < 200 || status > 299) throw refusal(request, url, response);
}
