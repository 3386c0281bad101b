import { describe, expect, it } from 'vitest';
import type { DatabaseProperties } from '../../../src/core/database_properties.ts';
import {
  createDatabaseSql,
  databasePropertiesSql,
  setClause,
} from '../../../src/core/database_sql.ts';
import { psqlIdentifier, quoteIdentifier } from '../../../src/core/quote.ts';

const plain: DatabaseProperties = {
  owner: 'app',
  acl: null,
  connection_limit: -1,
  tablespace: 'pg_default',
  comment: null,
  is_template: false,
  encoding: 'UTF8',
  locale_provider: 'libc',
  collate: 'en_US.UTF-8',
  ctype: 'C',
  locale: null,
  icu_rules: null,
  settings: [],
  role_settings: [],
  security_labels: [],
};
const name = quoteIdentifier('desk "1"');
const server = (serverVersionNum: number) => ({ serverVersionNum, tablespaceExists: false });

describe('creating the database again', () => {
  it('names the locale provider only where the server knows it', () => {
    const rest = `LC_COLLATE = 'en_US.UTF-8' LC_CTYPE = 'C'`;
    expect(createDatabaseSql(plain, name, server(140010))).toBe(
      `CREATE DATABASE "desk ""1""" WITH TEMPLATE = template0 ENCODING = 'UTF8' ${rest}`,
    );
    expect(createDatabaseSql(plain, name, server(150001))).toContain(
      `ENCODING = 'UTF8' LOCALE_PROVIDER = libc ${rest}`,
    );
  });

  it('writes the ICU locale and its rules, and the builtin one', () => {
    const icu = {
      ...plain,
      locale_provider: 'icu',
      locale: 'de-x',
      icu_rules: "&a < 'b'",
    } as const;
    expect(createDatabaseSql(icu, name, server(160001))).toMatch(
      /LOCALE_PROVIDER = icu .* ICU_LOCALE = 'de-x' ICU_RULES = '&a < ''b'''$/,
    );
    expect(createDatabaseSql(icu, name, server(150001))).not.toContain('ICU_RULES');
    const builtin = { ...plain, locale_provider: 'builtin', locale: 'C.UTF-8' } as const;
    expect(createDatabaseSql(builtin, name, server(180001))).toMatch(
      /LOCALE_PROVIDER = builtin .* BUILTIN_LOCALE = 'C.UTF-8'$/,
    );
  });

  it('says which version it takes when the server is too old for the provider', () => {
    const icu = { ...plain, locale_provider: 'icu', locale: 'de' } as const;
    expect(() => createDatabaseSql(icu, name, server(140000))).toThrow('locale provider icu');
  });

  it('puts it into its tablespace where there is one of that name', () => {
    const properties = { ...plain, tablespace: 'f ast' };
    const there = { serverVersionNum: 150000, tablespaceExists: true };
    expect(createDatabaseSql(properties, name, there)).toMatch(/ TABLESPACE = "f ast"$/);
    expect(createDatabaseSql(properties, name, server(150000))).not.toContain('TABLESPACE');
  });
});

describe('what the database carries itself', () => {
  it('needs only the owner where everything is as it is by default', () => {
    expect(databasePropertiesSql(plain, name)).toEqual({
      beforeSwap: [
        { what: 'owner', sql: 'ALTER DATABASE "desk ""1""" OWNER TO "app"', roles: ['app'] },
      ],
      afterSwap: [],
    });
  });

  it('builds an ACL from nothing, each grant after its grantor has the option', () => {
    const entry = { grantor: 'app', privilege: 'CONNECT', grantable: false } as const;
    const { beforeSwap } = databasePropertiesSql(
      {
        ...plain,
        acl: [
          { ...entry, grantee: 'guest', grantor: 'lead' },
          { ...entry, grantee: 'lead', grantor: 'boss' },
          { ...entry, grantee: 'lead', grantor: 'boss', grantable: true },
          { ...entry, grantee: 'boss', grantable: true },
          { ...entry, grantee: null },
          { ...entry, grantee: null, privilege: 'TEMPORARY' },
        ],
      },
      psqlIdentifier('target'),
    );
    const on = 'ON DATABASE :"target"';
    expect(beforeSwap.slice(1)).toEqual([
      { what: 'acl', sql: `REVOKE ALL ${on} FROM PUBLIC`, roles: [] },
      { what: 'acl', sql: `REVOKE ALL ${on} FROM "app"`, roles: ['app'] },
      { what: 'acl', sql: `GRANT CONNECT ${on} TO "boss" WITH GRANT OPTION`, roles: ['boss'] },
      { what: 'acl', sql: `GRANT CONNECT, TEMPORARY ${on} TO PUBLIC`, roles: [] },
      {
        what: 'acl',
        sql: `SET ROLE "boss";\nGRANT CONNECT ${on} TO "lead";\nRESET ROLE`,
        roles: ['lead', 'boss'],
      },
      {
        what: 'acl',
        sql: `SET ROLE "boss";\nGRANT CONNECT ${on} TO "lead" WITH GRANT OPTION;\nRESET ROLE`,
        roles: ['lead', 'boss'],
      },
      {
        what: 'acl',
        sql: `SET ROLE "lead";\nGRANT CONNECT ${on} TO "guest";\nRESET ROLE`,
        roles: ['guest', 'lead'],
      },
    ]);
  });

  it('comes to an end with grants whose grantor has nothing', () => {
    const acl = [
      { grantee: 'a', grantor: 'b', privilege: 'CREATE', grantable: true },
      { grantee: 'b', grantor: 'a', privilege: 'CREATE', grantable: true },
    ] as const;
    const { beforeSwap } = databasePropertiesSql({ ...plain, acl: [...acl] }, name);
    expect(beforeSwap.filter(({ sql }) => sql.startsWith('SET ROLE'))).toHaveLength(2);
  });

  it('keeps for after the swap what would keep the database from being dropped', () => {
    const { beforeSwap, afterSwap } = databasePropertiesSql(
      {
        ...plain,
        comment: "the desk's",
        is_template: true,
        connection_limit: 0,
        settings: ['work_mem=5MB'],
        role_settings: [{ role: 'app', settings: ['role=x'] }],
        security_labels: [{ provider: 'selinux', label: 'a:b' }],
      },
      name,
    );
    expect(beforeSwap.map(({ what }) => what)).toEqual([
      'owner',
      'comment',
      'security_label',
      'setting',
      'role_setting',
      'connection_limit',
    ]);
    expect(beforeSwap.find(({ what }) => what === 'role_setting')).toEqual({
      what: 'role_setting',
      sql: `ALTER ROLE "app" IN DATABASE "desk ""1""" SET "role" TO 'x'`,
      roles: ['app'],
    });
    expect(afterSwap).toEqual([
      { what: 'is_template', sql: 'ALTER DATABASE "desk ""1""" IS_TEMPLATE true', roles: [] },
    ]);
  });
});

describe('settings as the catalog holds them', () => {
  it.each([
    ['work_mem=5MB', `SET "work_mem" TO '5MB'`],
    ['DateStyle=ISO, DMY', `SET "DateStyle" TO 'ISO, DMY'`],
    ['app.secret=a=b', `SET "app.secret" TO 'a=b'`],
    ['search_path="$user", public', `SET "search_path" TO '$user', 'public'`],
    ['search_path="a ""b"", c",d', `SET "search_path" TO 'a "b", c', 'd'`],
    ['search_path=""', `SET "search_path" TO ''`],
    ['search_path=', `SET "search_path" TO ''`],
    ['search_path="open', `SET "search_path" TO '"open'`],
    ['search_path=a,', `SET "search_path" TO 'a,'`],
    ['local_preload_libraries=$libdir/a', `SET "local_preload_libraries" TO '$libdir/a'`],
  ])('%s', (raw, sql) => {
    expect(setClause(raw)).toBe(sql);
  });
});
