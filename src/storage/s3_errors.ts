/** What the failures of S3 mean for whoever runs the command, and what to type then. */

import { HoldfastError } from '../core/errors.ts';
import { shellQuote } from '../core/quote.ts';
import { readFailure, type S3Failure } from './s3_failure.ts';

/** What was being done, and where. */
export interface S3Doing {
  readonly verb: 'reading' | 'writing' | 'removing' | 'listing';
  /** `''`: the store itself. */
  readonly key: string;
  /** The permission that it takes, in the words of IAM: `s3:PutObject`. */
  readonly permission: string;
}

/** What an error tells of the store it comes from. */
export interface S3Place {
  readonly description: string;
  readonly bucket: string;
  /** The key in the bucket, prefix and all, of the object that it is about. */
  readonly objectKey: string;
  readonly region: string;
  /** `null`: Amazon S3. */
  readonly endpoint: string | null;
  /** By how much our clock is ahead of the server's last answer; `null`: it gave no date. */
  readonly clockAheadMs: number | null;
}

type Explanation = readonly [code: 'STORE_REFUSED' | 'STORE_UNREACHABLE', hint: string];

/** `STORE_REFUSED` where S3 said no for good. */
const refused = (hint: string): Explanation => ['STORE_REFUSED', hint];
const unreachable = (hint: string): Explanation => ['STORE_UNREACHABLE', hint];

/** `12 minutes ahead of`; without a date of the server's, that it is off. */
function clockText(aheadMs: number | null): string {
  if (aheadMs === null) return "this machine's clock is not that of the store";
  const minutes = Math.max(1, Math.round(Math.abs(aheadMs) / 60_000));
  const where = aheadMs > 0 ? 'ahead of' : 'behind';
  const unit = minutes === 1 ? 'minute' : 'minutes';
  return `this machine's clock is ${minutes} ${unit} ${where} the store's`;
}

/** More than this and S3 refuses signatures (15 minutes), less something for the way. */
const skewMs = 14 * 60_000;

function signatureHint(place: S3Place): Explanation {
  const { clockAheadMs, endpoint } = place;
  if (clockAheadMs !== null && Math.abs(clockAheadMs) > skewMs) return clockHint(place);
  const style =
    endpoint === null ? '' : ' If it is right, set S3_PATH_STYLE=true, and AWS_REGION to its own.';
  return refused(`Check AWS_SECRET_ACCESS_KEY: it does not belong to the access key.${style}`);
}

function clockHint({ clockAheadMs }: S3Place): Explanation {
  const text = clockText(clockAheadMs);
  return refused(`Set the clock (timedatectl set-ntp true): ${text}.`);
}

function regionHint({ headers, message }: S3Failure, { region }: S3Place): Explanation {
  const named = headers['x-amz-bucket-region'] ?? /expecting '([^']+)'/.exec(message)?.[1];
  const right = named === undefined ? "the bucket's region" : named;
  return refused(`Set AWS_REGION to ${right}: ${region} is not where the bucket lies.`);
}

function thawHint({ bucket, objectKey }: S3Place): Explanation {
  const request = shellQuote('{"Days":7,"GlacierJobParameters":{"Tier":"Standard"}}');
  return refused(
    'It lies in a class that has to be thawed, which takes hours: aws s3api restore-object ' +
      `--bucket ${shellQuote(bucket)} --key ${shellQuote(objectKey)} --restore-request ${request}`,
  );
}

const tlsCode =
  /^(?:CERT_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|ERR_TLS_|ERR_SSL_|EPROTO|HOSTNAME_MISMATCH)/;

function networkHint({ code }: S3Failure, { endpoint }: S3Place): Explanation {
  const at = endpoint ?? 'Amazon S3';
  if (tlsCode.test(code)) {
    return unreachable(
      `Set AWS_CA_BUNDLE to a file with the certificates of the authority of ${at}.`,
    );
  }
  if (code === 'ENOTFOUND') {
    return unreachable(
      endpoint === null
        ? 'Check AWS_REGION, the name of the bucket, and the name server of this machine.'
        : `Check AWS_ENDPOINT_URL_S3; where the bucket's name has no host, set S3_PATH_STYLE=true.`,
    );
  }
  return unreachable(`Check that ${at} is up and reachable from here, then run it again.`);
}

type Explain = (failure: S3Failure, place: S3Place, doing: S3Doing) => Explanation;

const keyHint: Explain = () => refused('Check AWS_ACCESS_KEY_ID: the store does not know it.');
const expiredHint: Explain = () =>
  refused('Get a new temporary key (AWS_SESSION_TOKEN), or use a role that renews it.');
const bucketHint: Explain = (_, { bucket, endpoint }) => {
  const server = endpoint === null ? '' : ` --endpoint-url ${shellQuote(endpoint)}`;
  return refused(`Check BACKUP_BUCKET, or create it: aws s3 mb s3://${bucket}${server}`);
};

const byCode: Readonly<Record<string, Explain>> = {
  InvalidAccessKeyId: keyHint,
  InvalidClientTokenId: keyHint,
  SignatureDoesNotMatch: (_, place) => signatureHint(place),
  RequestTimeTooSkewed: (_, place) => clockHint(place),
  RequestExpired: (_, place) => clockHint(place),
  ExpiredToken: expiredHint,
  ExpiredTokenException: expiredHint,
  TokenRefreshRequired: expiredHint,
  InvalidToken: expiredHint,
  NoSuchBucket: bucketHint,
  PermanentRedirect: regionHint,
  AuthorizationHeaderMalformed: regionHint,
  IllegalLocationConstraintException: regionHint,
  InvalidObjectState: (_, place) => thawHint(place),
  CredentialsProviderError: () =>
    refused('Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give a role.'),
  NoSuchUpload: () =>
    refused('Somebody has aborted the upload: check that no other run prunes this store.'),
  InvalidObjectLockConfiguration: () =>
    refused('Create the bucket with Object Lock, or unset S3_OBJECT_LOCK_MODE.'),
  ObjectLockConfigurationNotFoundError: () =>
    refused('Create the bucket with Object Lock, or unset S3_OBJECT_LOCK_MODE.'),
  KeyTooLongError: () => refused('Choose a shorter CLUSTER or BACKUP_PREFIX.'),
};

function explain(failure: S3Failure, place: S3Place, doing: S3Doing): Explanation {
  const known = byCode[failure.code];
  if (known !== undefined) return known(failure, place, doing);
  const { status } = failure;
  if (status === null) return networkHint(failure, place);
  if (status === 301 || status === 307) return regionHint(failure, place);
  if (status === 401 || status === 403) {
    const { clockAheadMs } = place;
    if (clockAheadMs !== null && Math.abs(clockAheadMs) > skewMs) return clockHint(place);
    return refused(
      `Give the key the permission ${doing.permission} on the bucket and its objects.`,
    );
  }
  if (status === 429 || status >= 500) {
    return unreachable('Run it again later; if it stays, look at the log of the server.');
  }
  return refused('Check the settings of this store against what its server is able to do.');
}

/** `writing a/b in s3 store s3://bucket`. */
function whereOf({ verb, key }: S3Doing, description: string): string {
  return key === '' ? `${verb} ${description}` : `${verb} ${key} in ${description}`;
}

/** The error of the port for whatever the SDK has thrown. */
export function s3Error(thrown: unknown, doing: S3Doing, place: S3Place): HoldfastError {
  if (thrown instanceof HoldfastError) return thrown;
  const failure = readFailure(thrown);
  const { code, status, message } = failure;
  const [kind, hint] = explain(failure, place, doing);
  const said = message.includes(code) || code === '' ? message : `${code}: ${message}`;
  return new HoldfastError(kind, `${whereOf(doing, place.description)}: ${said}`, {
    hint,
    cause: thrown,
    details: { s3_code: code, http_status: status },
  });
}
