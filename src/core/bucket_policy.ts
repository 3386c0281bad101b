/**
 * What a key has to be allowed to do in a bucket, and what the bucket should do by itself. The
 * documents are those of `aws iam put-user-policy` and of
 * `aws s3api put-bucket-lifecycle-configuration` (Amazon S3, "Actions, resources, and condition
 * keys"; "Lifecycle configuration elements"). Pure.
 */

/** The bucket that they are about. */
export interface PolicyBucket {
  readonly bucket: string;
  /** What all keys begin with; `null`: nothing. */
  readonly prefix: string | null;
  /** Whether objects are locked. */
  readonly isLocked: boolean;
  /** Whether objects are tagged. */
  readonly isTagged: boolean;
  /** Of `aws:kms`: the key's id or ARN, `*` for the account's own; `null` without it. */
  readonly kmsKeyId: string | null;
}

/** One statement of a policy. */
interface Statement {
  readonly Sid: string;
  readonly Effect: 'Allow';
  readonly Action: readonly string[];
  readonly Resource: string;
  readonly Condition?: object;
}

/** After so many days an upload that nobody has ended is none any more. */
const abortDays = 7;
/** Of a versioned bucket: for so long a removed backup can be brought back. */
const versionDays = 30;
/** A monthly backup is rarely asked for after so many days. */
const colderDays = 30;

function kmsResource(id: string): string {
  if (id === '*' || id.startsWith('arn:')) return id;
  return `arn:aws:kms:*:*:${id.startsWith('alias/') ? id : `key/${id}`}`;
}

/**
 * The least that a key needs.
 *
 * @param mayDelete without it retention removes nothing, and nobody who takes over the machine does
 */
export function accessPolicy(place: PolicyBucket, mayDelete: boolean) {
  const { bucket, prefix, isLocked, isTagged, kmsKeyId } = place;
  const whole = `arn:aws:s3:::${bucket}`;
  const objects = `${whole}/${prefix === null ? '' : `${prefix}/`}*`;
  const onlyPrefix =
    prefix === null ? {} : { Condition: { StringLike: { 's3:prefix': [`${prefix}/*`] } } };
  const allow = { Effect: 'Allow' } as const;
  const statements: Statement[] = [
    { Sid: 'List', ...allow, Action: ['s3:ListBucket'], Resource: whole, ...onlyPrefix },
    { Sid: 'Uploads', ...allow, Action: ['s3:ListBucketMultipartUploads'], Resource: whole },
    {
      Sid: 'Objects',
      ...allow,
      Action: [
        's3:GetObject',
        's3:PutObject',
        's3:AbortMultipartUpload',
        's3:ListMultipartUploadParts',
        ...(mayDelete ? ['s3:DeleteObject'] : []),
        ...(isTagged ? ['s3:PutObjectTagging'] : []),
        ...(isLocked ? ['s3:GetObjectRetention', 's3:PutObjectRetention'] : []),
      ],
      Resource: objects,
    },
  ];
  if (kmsKeyId !== null) {
    const actions = ['kms:GenerateDataKey', 'kms:Decrypt'];
    statements.push({ Sid: 'Key', ...allow, Action: actions, Resource: kmsResource(kmsKeyId) });
  }
  return { Version: '2012-10-17', Statement: statements };
}

/**
 * What the bucket should do by itself: clean up uploads that broke off and versions long removed,
 * and put monthly backups where they cost less, told by their tags.
 */
export function lifecycleRules({ prefix, isTagged }: PolicyBucket) {
  const Prefix = prefix === null ? '' : `${prefix}/`;
  const on = { Status: 'Enabled', Filter: { Prefix } } as const;
  const monthly = { And: { Prefix, Tags: [{ Key: 'tier', Value: 'monthly' }] } };
  const colder = {
    ID: 'holdfast-monthly-colder',
    Status: 'Enabled',
    Filter: monthly,
    // Of the cold classes the one that is read without a thaw.
    Transitions: [{ Days: colderDays, StorageClass: 'GLACIER_IR' }],
  };
  return {
    Rules: [
      {
        ID: 'holdfast-aborted-uploads',
        ...on,
        AbortIncompleteMultipartUpload: { DaysAfterInitiation: abortDays },
      },
      {
        ID: 'holdfast-old-versions',
        ...on,
        NoncurrentVersionExpiration: { NoncurrentDays: versionDays },
      },
      ...(isTagged ? [colder] : []),
    ],
  };
}
