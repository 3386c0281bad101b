/** Alerts by HTTP POST: each is the JSON document that docs/schemas/alert.schema.json describes. */

import { type Priority, parseAlert } from '../core/alert.ts';
import type { Secret } from '../core/secret.ts';
import { documentBytes } from '../core/validate.ts';
import type { Channel } from './channel.ts';
import { sendRequest } from './http.ts';

/** Where alerts are sent, and how. */
export interface EndpointOptions {
  readonly url: Secret;
  /** The bearer token that goes with each; RFC 6750. */
  readonly token: Secret | null;
  readonly minPriority: Priority;
  /** Certificates of authorities (PEM) in place of Node's and the system's. */
  readonly authorities?: readonly string[];
}

/**
 * The endpoint as a channel. An alert is checked against its schema before it is sent. Its `id`
 * goes along as `Idempotency-Key` too, the same in every try: a receiver that has it can tell.
 */
export function endpointChannel(options: EndpointOptions): Channel {
  const { url, token, minPriority, authorities } = options;
  return {
    name: 'endpoint',
    minPriority,
    async send(alert, signal) {
      const bytes = documentBytes(alert);
      parseAlert(bytes);
      const authorization = token === null ? {} : { authorization: `Bearer ${token.reveal()}` };
      await sendRequest({
        what: 'the receiver of alerts',
        method: 'POST',
        url,
        headers: {
          'content-type': 'application/json; charset=utf-8',
          'user-agent': 'holdfast',
          'idempotency-key': alert.id,
          ...authorization,
        },
        body: Buffer.from(bytes).toString('utf8'),
        signal,
        authorities,
        hint: 'Check ALERT_ENDPOINT and ALERT_TOKEN, and what that server says of it.',
      });
    },
  };
}
