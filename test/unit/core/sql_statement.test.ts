/** What one statement of SQL is for. */

import { describe, expect, it } from 'vitest';
import {
  connectedDatabase,
  createdDatabase,
  isCommand,
  isNeedless,
  neededRole,
  statementKind,
} from '../../../src/core/sql_statement.ts';

describe('statements', () => {
  it.each([
    ['create table t', 'create table'],
    ['create unlogged table t', 'create table'],
    ['create index i on t', 'create'],
    ['create user u', 'server'],
    ['create user mapping for u server s', 'create'],
    ['alter role r superuser', 'server'],
    ['drop group g', 'server'],
    ['create tablespace t location', 'server'],
    ['alter system set x', 'server'],
    ['grant a to b', 'server'],
    ['revoke admin option for a from b', 'server'],
    ['grant create on tablespace t to r', 'server'],
    ['grant select on t to r', 'role'],
    ['alter default privileges for role a grant select on tables to b', 'role'],
    ['comment on role r is', 'server'],
    ['drop owned by r', 'server'],
    ['drop owned_by', 'other'],
    ['create database d', 'database'],
    ['alter role "" in database d set x', 'database'],
    ['alter role r set x', 'server'],
    ['grant connect on database d to r', 'database'],
    ['grant select on table database to r', 'role'],
    ['comment on database d is', 'database'],
    ['comment on table d is', 'other'],
    ['copy t from stdin', 'copy'],
    ['copy t from', 'other'],
    ['copy to stdout', 'other'],
    ['set x', 'setting'],
    ['', 'other'],
  ])('%s', (words, kind) => {
    expect(statementKind(words === '' ? [] : words.split(' '))).toBe(kind);
  });

  it('begin with a command of SQL', () => {
    expect(['select', 'copy', undefined, 'hello', 'pragma'].map(isCommand)).toEqual([
      true,
      true,
      true,
      false,
      false,
    ]);
  });
});

describe('names', () => {
  it.each([
    ['ALTER TABLE t OWNER TO App', 'app'],
    ['ALTER TABLE t OWNER TO "App ""1"""', 'App "1"'],
    ['GRANT ALL ON t TO r WITH GRANT OPTION', 'r'],
    ['GRANT ALL ON t TO r GRANTED BY s', 'r'],
    ['REVOKE ALL ON t FROM PUBLIC', null],
    ['ALTER TABLE t OWNER TO CURRENT_USER', null],
    ['ALTER TABLE t RENAME COLUMN a TO b x', null],
  ])('%s needs %j', (text, role) => {
    expect(neededRole(text)).toBe(role);
  });

  it('of a database, with its encoding and collation and nothing else', () => {
    const text =
      'CREATE DATABASE "A" WITH TEMPLATE = template0 ENCODING = \'UTF8\' LOCALE_PROVIDER = icu ' +
      "ICU_LOCALE = 'de''x' TABLESPACE = fast OWNER = me";
    expect(createdDatabase(text)).toEqual({
      name: 'A',
      options: "ENCODING = 'UTF8' LOCALE_PROVIDER = icu ICU_LOCALE = 'de''x'",
    });
    expect(createdDatabase('CREATE TABLE t (a int)')).toBe(null);
  });
});

describe('commands to psql', () => {
  it.each([
    ['\\connect shop', 'shop'],
    ['\\c shop', 'shop'],
    ['\\connect "Odd ""name"""', 'Odd "name"'],
    [String.raw`\connect -reuse-previous=on "dbname='a \\ \'b'"`, "a \\ 'b"],
    ['\\connect shop user', null],
    ['\\connect `id`', null],
    ["\\connect 'x'", null],
    ['\\connect :x', null],
    ['\\! id', null],
  ])('%s names %j', (text, database) => {
    expect(connectedDatabase(text)).toBe(database);
  });

  it('that a restore does not need', () => {
    expect(['\\restrict aB1', '\\unrestrict x', '\\encoding SQL_ASCII'].every(isNeedless)).toBe(
      true,
    );
    expect(['\\restrict `id`', '\\restrict', '\\encoding `id`', '\\! x'].some(isNeedless)).toBe(
      false,
    );
  });
});
