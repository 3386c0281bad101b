/** What the manifests of all kinds of backups share: parts of their schemas. */

import { ageRecipientPattern, gpgRecipientPattern, recipientsMax } from './recipients.ts';
import { Type } from './type_builder.ts';

/** An object with nothing else in it. */
export const closed = { additionalProperties: false } as const;
/** ISO 8601, UTC. */
export const Time = Type.String({
  pattern: '^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}(\\.\\d{3})?Z$',
});
/** A size, or another count. */
export const Bytes = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
/** In lower-case hexadecimal. */
export const Sha256 = Type.String({ pattern: '^[0-9a-f]{64}$' });
/** A position in the WAL, as PostgreSQL writes it. */
export const LsnText = Type.String({ pattern: '^[0-9A-F]{1,8}/[0-9A-F]{1,8}$' });
/** A name of somebody else's: any text but none. */
export const Name = Type.String({ minLength: 1 });
/** A file's name inside the backup's folder: never a path. */
export const FileName = Type.String({ pattern: '^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$' });

/** Size and digest of some bytes. */
export const Measured = Type.Object({ bytes: Bytes, sha256: Sha256 }, closed);

/** For whom something is encrypted: public keys, so that everybody may know. */
function Recipients(pattern: string) {
  return Type.Array(Type.String({ pattern }), { minItems: 1, maxItems: recipientsMax });
}

/** A filter by its name, with what its mirror has to know. Nothing in it is ever executed. */
export const Filter = Type.Union([
  Type.Object(
    { name: Type.Literal('zstd'), level: Type.Integer({ minimum: 1, maximum: 19 }) },
    closed,
  ),
  Type.Object(
    { name: Type.Literal('gzip'), level: Type.Integer({ minimum: 1, maximum: 9 }) },
    closed,
  ),
  Type.Object({ name: Type.Literal('age'), recipients: Recipients(ageRecipientPattern) }, closed),
  Type.Object({ name: Type.Literal('gpg'), recipients: Recipients(gpgRecipientPattern) }, closed),
]);

/** The server, as it told of itself when the backup began. */
export const Server = Type.Object(
  {
    version: Type.String(),
    /** `server_version_num`, e.g. 150018. */
    version_num: Type.Integer({ minimum: 90000 }),
    /** A string, since it does not fit a JSON number. */
    system_identifier: Type.String({ pattern: '^\\d{1,20}$' }),
    wal_segment_bytes: Bytes,
    timeline: Type.Integer({ minimum: 1 }),
    /** Of the last WAL record when the backup began; on a standby, the last one replayed. */
    lsn: LsnText,
    in_recovery: Type.Boolean(),
  },
  closed,
);

/** What a person should know of a backup. */
export const Warning = Type.Object({ code: Type.String(), message: Type.String() }, closed);
