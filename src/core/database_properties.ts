/**
 * What a database carries itself, beside its contents: pg_dump writes it only with `--create`, and
 * then under the old name, so it is recorded in the manifest and written again on a restore
 * (core/database_sql.ts).
 */

import { type Static, type TSchema, Type } from './type_builder.ts';

const closed = { additionalProperties: false } as const;
const Name = Type.String({ minLength: 1 });
const Nullable = <T extends TSchema>(type: T) => Type.Union([type, Type.Null()]);

const AclEntry = Type.Object(
  {
    /** `null` stands for PUBLIC. */
    grantee: Nullable(Name),
    grantor: Name,
    /** What a database has (manual, "Privileges"). */
    privilege: Type.Union([
      Type.Literal('CONNECT'),
      Type.Literal('CREATE'),
      Type.Literal('TEMPORARY'),
    ]),
    /** WITH GRANT OPTION. */
    grantable: Type.Boolean(),
  },
  closed,
);

/**
 * A setting as pg_db_role_setting.setconfig holds it: `name=value`. The value of a variable that
 * is a list of names, such as search_path, is itself a list of quoted identifiers.
 */
const RawSetting = Type.String({ pattern: '^[^=]+=' });

/** The schema of `properties` in the manifest. */
export const databasePropertiesSchema = Type.Object(
  {
    owner: Name,
    /** `aclexplode(datacl)` in its own order; `null` where datacl is null: the default. */
    acl: Nullable(Type.Array(AclEntry)),
    /** datconnlimit; -1: no limit. */
    connection_limit: Type.Integer({ minimum: -1, maximum: 2147483647 }),
    tablespace: Name,
    comment: Nullable(Type.String()),
    is_template: Type.Boolean(),
    /** pg_encoding_to_char(encoding), e.g. `UTF8`. */
    encoding: Name,
    /** Before PostgreSQL 15 always `libc`; `builtin` from 17 on. */
    locale_provider: Type.Union([
      Type.Literal('libc'),
      Type.Literal('icu'),
      Type.Literal('builtin'),
    ]),
    /** datcollate and datctype. */
    collate: Type.String(),
    ctype: Type.String(),
    /** daticulocale (15, 16) or datlocale (17+); `null` with libc. */
    locale: Nullable(Type.String()),
    /** daticurules (16+). */
    icu_rules: Nullable(Type.String()),
    /** `ALTER DATABASE … SET`. */
    settings: Type.Array(RawSetting),
    /** `ALTER ROLE … IN DATABASE … SET`. */
    role_settings: Type.Array(
      Type.Object({ role: Name, settings: Type.Array(RawSetting) }, closed),
    ),
    /** pg_shseclabel. */
    security_labels: Type.Array(Type.Object({ provider: Name, label: Type.String() }, closed)),
  },
  closed,
);

export type DatabaseProperties = Static<typeof databasePropertiesSchema>;
export type DatabaseAclEntry = Static<typeof AclEntry>;
