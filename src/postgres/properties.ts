/** Reads what a database carries itself (core/database_properties.ts), from PostgreSQL 14 to 18. */

import type { DatabaseAclEntry, DatabaseProperties } from '../core/database_properties.ts';
import { type Queryable, queryOne, queryRows } from './query.ts';

/** What pg_database calls the locale's columns, which came and were renamed between 15 and 17. */
function localeColumns(versionNum: number): string {
  const provider =
    "CASE datlocprovider WHEN 'c' THEN 'libc' WHEN 'i' THEN 'icu' ELSE 'builtin' END";
  if (versionNum >= 170000) {
    return `${provider} AS locale_provider, datlocale AS locale, daticurules AS icu_rules`;
  }
  if (versionNum >= 160000) {
    return `${provider} AS locale_provider, daticulocale AS locale, daticurules AS icu_rules`;
  }
  if (versionNum >= 150000) {
    return `${provider} AS locale_provider, daticulocale AS locale, NULL::text AS icu_rules`;
  }
  return `'libc' AS locale_provider, NULL::text AS locale, NULL::text AS icu_rules`;
}

type OwnRow = Omit<DatabaseProperties, 'acl' | 'settings' | 'role_settings' | 'security_labels'> & {
  readonly has_acl: boolean;
};

async function readAcl(client: Queryable, oid: number): Promise<DatabaseAclEntry[]> {
  return queryRows<DatabaseAclEntry>(
    client,
    `SELECT CASE WHEN a.grantee <> 0 THEN pg_get_userbyid(a.grantee)::text END AS grantee,
            pg_get_userbyid(a.grantor)::text AS grantor,
            a.privilege_type AS privilege, a.is_grantable AS grantable
       FROM pg_database AS d, aclexplode(d.datacl) WITH ORDINALITY AS a
            (grantor, grantee, privilege_type, is_grantable, position)
      WHERE d.oid = $1 ORDER BY a.position`,
    [oid],
  );
}

/** `ALTER DATABASE … SET` (role `null`) and `ALTER ROLE … IN DATABASE … SET`. */
async function readSettings(client: Queryable, oid: number) {
  return queryRows<{ role: string | null; settings: string[] }>(
    client,
    `SELECT CASE WHEN setrole <> 0 THEN pg_get_userbyid(setrole)::text END AS role,
            setconfig AS settings
       FROM pg_db_role_setting WHERE setdatabase = $1 ORDER BY setrole`,
    [oid],
  );
}

/**
 * @param oid of a database of this server, not only of the one that is connected to
 * @param versionNum server_version_num
 */
export async function readDatabaseProperties(
  client: Queryable,
  oid: number,
  versionNum: number,
): Promise<DatabaseProperties> {
  const { has_acl, ...own } = await queryOne<OwnRow>(
    client,
    `SELECT pg_get_userbyid(d.datdba)::text AS owner, d.datacl IS NOT NULL AS has_acl,
            d.datconnlimit AS connection_limit, t.spcname::text AS tablespace,
            shobj_description(d.oid, 'pg_database') AS comment, d.datistemplate AS is_template,
            pg_encoding_to_char(d.encoding)::text AS encoding,
            d.datcollate::text AS collate, d.datctype::text AS ctype, ${localeColumns(versionNum)}
       FROM pg_database AS d JOIN pg_tablespace AS t ON t.oid = d.dattablespace
      WHERE d.oid = $1`,
    [oid],
    { doing: 'reading what the database carries itself' },
  );
  const settings = await readSettings(client, oid);
  return {
    ...own,
    acl: has_acl ? await readAcl(client, oid) : null,
    settings: settings.find((each) => each.role === null)?.settings ?? [],
    role_settings: settings.flatMap(({ role, settings: list }) =>
      role === null ? [] : [{ role, settings: list }],
    ),
    security_labels: await queryRows<{ provider: string; label: string }>(
      client,
      `SELECT provider, label FROM pg_shseclabel
        WHERE classoid = 'pg_database'::regclass AND objoid = $1 ORDER BY provider`,
      [oid],
    ),
  };
}
