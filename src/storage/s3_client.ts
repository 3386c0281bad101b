/** The SDK's client, set up as the options say. */

import { readFile } from 'node:fs/promises';
import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { getCACertificates } from 'node:tls';
import { S3Client, type S3ClientConfig } from '@aws-sdk/client-s3';
import { toHoldfastError } from '../core/errors.ts';
import type { Rate } from './rate.ts';
import type { S3Options } from './s3_options.ts';

/** Where S3 is assumed to lie when nothing says so; servers of other makers mostly agree. */
const regionWithout = 'us-east-1';

const connectMs = 10_000;

/** What the client tells and asks while it works. */
export interface ClientHooks {
  /** What may be sent. */
  readonly sending: Rate;
  /** An answer came, with the time that the server believes it is (`Date`), if it told. */
  readonly onAnswer: (date: string | undefined) => void;
}

/** The SDK warns on the console; what matters comes as an error. */
const silent = {
  trace: () => undefined,
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

/** The authorities that a store's certificate may be of. */
async function authorities(caFile: string | null): Promise<string[]> {
  if (caFile === null) return [...getCACertificates('default'), ...getCACertificates('system')];
  try {
    return [await readFile(caFile, 'utf8')];
  } catch (error) {
    throw toHoldfastError(error, `reading the certificates in ${caFile}`);
  }
}

async function configOf(options: S3Options): Promise<S3ClientConfig> {
  const { endpoint, region, credentials, profile, pathStyle, idleMs } = options;
  const agent = { keepAlive: true };
  const isPlain = endpoint?.startsWith('http://') === true;
  const ca = isPlain ? {} : { ca: await authorities(options.caFile) };
  return {
    ...(endpoint === null ? {} : { endpoint }),
    ...(region === null ? {} : { region }),
    ...(profile === null ? {} : { profile }),
    ...(credentials === null
      ? {}
      : {
          credentials: {
            accessKeyId: credentials.accessKeyId,
            secretAccessKey: credentials.secretAccessKey.reveal(),
            ...(credentials.sessionToken === null
              ? {}
              : { sessionToken: credentials.sessionToken.reveal() }),
          },
        }),
    forcePathStyle: pathStyle ?? endpoint !== null,
    // withRetries does it: the SDK's own would send a body again that has gone by.
    maxAttempts: 1,
    // Other makers' servers answer 501 to checksums that nobody has asked for: see s3_upload.ts.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    // A clock that is off makes false labels: it is told, not papered over.
    disableClockSkewCorrection: true,
    expectContinueHeader: false,
    logger: silent,
    requestHandler: {
      httpAgent: new HttpAgent(agent),
      httpsAgent: new HttpsAgent({ ...agent, ...ca }),
      connectionTimeout: connectMs,
      socketTimeout: idleMs,
    },
  };
}

/** Sees what goes out, after it was signed, and what comes back. */
function hook(client: S3Client, { sending, onAnswer }: ClientHooks): void {
  client.middlewareStack.add(
    (next) => async (args) => {
      const request = args.request as { body?: unknown };
      if (sending.isLimited && request.body instanceof Uint8Array) {
        request.body = sending.paced(request.body);
      }
      const result = await next(args);
      const { headers } = result.response as { headers?: Record<string, string> };
      onAnswer(headers?.date);
      return result;
    },
    { step: 'deserialize', priority: 'low', name: 'holdfastHook' },
  );
}

/** A client, and the region that it works with. */
export interface OpenClient {
  readonly client: S3Client;
  readonly region: string;
}

/**
 * Sets up a client; nothing is sent yet.
 *
 * @throws HoldfastError STORE_REFUSED when the file of certificates cannot be read
 */
export async function openClient(options: S3Options, hooks: ClientHooks): Promise<OpenClient> {
  const config = await configOf(options);
  let client = new S3Client(config);
  const region = await client.config.region().catch(() => null);
  if (region === null) client = new S3Client({ ...config, region: regionWithout });
  hook(client, hooks);
  return { client, region: region ?? regionWithout };
}
