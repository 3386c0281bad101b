/**
 * A watchdog elsewhere, which alerts when it hears nothing: the one thing that notices a machine
 * that is gone. It is pinged as healthchecks.io has it: https://healthchecks.io/docs/http_api/
 */

import { Secret } from '../core/secret.ts';
import { sendRequest } from './http.ts';

/** What the watchdog is told. */
export type Heartbeat = 'start' | 'success' | 'fail';

const paths: Readonly<Record<'start' | 'fail', string>> = { start: '/start', fail: '/fail' };

/** The URL of a ping: its path goes behind that of the watchdog, before what follows a `?`. */
export function heartbeatUrl(url: string, heartbeat: Heartbeat): string {
  if (heartbeat === 'success' || !URL.canParse(url)) return url;
  const parsed = new URL(url);
  parsed.pathname = `${parsed.pathname.replace(/\/+$/, '')}${paths[heartbeat]}`;
  return parsed.href;
}

/**
 * Pings the watchdog, once: a ping that comes late says what is not so any more.
 *
 * @throws HoldfastError STORE_UNREACHABLE, STORE_REFUSED; what the signal was fired with
 */
export async function sendHeartbeat(
  url: Secret,
  heartbeat: Heartbeat,
  signal: AbortSignal,
): Promise<void> {
  await sendRequest({
    what: 'the watchdog',
    method: 'GET',
    url: new Secret(heartbeatUrl(url.reveal(), heartbeat)),
    headers: { 'user-agent': 'holdfast' },
    body: null,
    signal,
    hint: 'Check HEARTBEAT_URL.',
  });
}
