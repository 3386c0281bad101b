/** What went wrong with a request to S3, as plain facts, and whether it may work out later. */

import type { Verdict } from './retry.ts';

/** A request that failed: what the server said, or what the network did. */
export interface S3Failure {
  /** S3's own word (`AccessDenied`), or Node's (`ECONNRESET`); `''`: there is none. */
  readonly code: string;
  /** Of the answer; `null`: there was none. */
  readonly status: number | null;
  readonly message: string;
  /** Of the answer, with names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
}

interface SdkError {
  readonly name?: string;
  readonly code?: unknown;
  readonly message?: string;
  readonly $metadata?: { readonly httpStatusCode?: number };
  readonly $response?: { readonly headers?: Readonly<Record<string, string>> };
  readonly errors?: readonly unknown[];
}

/** The facts of whatever the SDK has thrown. */
export function readFailure(error: unknown): S3Failure {
  const sdk = (error ?? {}) as SdkError;
  const status = sdk.$metadata?.httpStatusCode ?? null;
  // Several addresses of one host, none of which answered: Node tells of each by itself.
  const [first] = sdk.errors ?? [];
  if (sdk.code === undefined && first !== undefined && status === null) return readFailure(first);
  const code = status === null && typeof sdk.code === 'string' ? sdk.code : (sdk.name ?? '');
  const message = sdk.message === undefined || sdk.message === '' ? code : sdk.message;
  return { code, status, message, headers: sdk.$response?.headers ?? {} };
}

/** There is no such object (or, after a HEAD, no such bucket: S3 does not say there). */
export function isMissing({ code, status }: S3Failure): boolean {
  return code === 'NoSuchKey' || (code === 'NotFound' && status === 404);
}

/** A condition of ours did not hold: If-None-Match or If-Match. */
export function isConditionFailed({ code, status }: S3Failure): boolean {
  return code === 'PreconditionFailed' || status === 412;
}

/** The server does not know a header that we sent. */
export function isNotImplemented({ code, status }: S3Failure): boolean {
  return code === 'NotImplemented' || status === 501;
}

/** The network lost it, or somebody on the way. */
const lostCodes = new Set([
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'ENETUNREACH',
  'EHOSTUNREACH',
  'ENETDOWN',
  'EAI_AGAIN',
  'TimeoutError',
  'ERR_STREAM_PREMATURE_CLOSE',
]);

/** Nobody is there, as a server that starts again: or a name that was never right. */
const absentCodes = new Set(['ECONNREFUSED', 'ENOTFOUND']);

/** What servers answer when they, or the network, are at fault for now; whatever their status. */
const passingCodes = new Set([
  'RequestTimeout',
  'SlowDown',
  'InternalError',
  'ServiceUnavailable',
  'Throttling',
  'ThrottlingException',
  'TooManyRequests',
  'RequestLimitExceeded',
  'BandwidthLimitExceeded',
  'OperationAborted',
  'ConditionalRequestConflict',
  // The bytes were changed on their way.
  'BadDigest',
  'InvalidDigest',
  'XAmzContentSHA256Mismatch',
  'IncompleteBody',
]);

/** How often nobody at all is asked again, before it is a wrong address. */
const absentAttemptsMax = 3;

function retryAfterMs(headers: Readonly<Record<string, string>>): number | null {
  const seconds = Number(headers['retry-after'] ?? Number.NaN);
  return Number.isFinite(seconds) && seconds >= 0 ? Math.min(seconds, 60) * 1000 : null;
}

/**
 * Whether a request may succeed when it is sent again: after 5xx, 429, resets and time-outs; never
 * after 403, 404 or 412.
 *
 * @param hasAnswered whether this server has ever answered: if not, its address is doubtful
 */
export function judge(error: unknown, attempt: number, hasAnswered: boolean): Verdict {
  const failure = readFailure(error);
  const { code, status, headers } = failure;
  if (absentCodes.has(code)) {
    const isTransient = hasAnswered || attempt < absentAttemptsMax;
    return { isTransient, retryAfterMs: null };
  }
  const isCut = status !== null && status < 300;
  const isServers = status === 429 || (status !== null && status >= 500 && status !== 501);
  const isTransient = lostCodes.has(code) || passingCodes.has(code) || isServers || isCut;
  return { isTransient, retryAfterMs: retryAfterMs(headers) };
}
