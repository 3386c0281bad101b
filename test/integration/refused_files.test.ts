/** SQL that could harm, files that are cut, and what is no dump: refused, and nothing is touched. */

import { access, chmod, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { findTool } from '../../src/postgres/tools.ts';
import { testEnvironment } from '../support/cluster.ts';
import { openSqlScene, type SqlScene } from '../support/sql_scene.ts';

let scene: SqlScene;
beforeAll(async () => {
  scene = await openSqlScene();
});
beforeEach(() => scene.reset());
afterAll(() => scene?.close());

describe('what could harm', () => {
  it.each([
    ['a shell command', '\\! touch pwned'],
    ['one behind a statement', 'SELECT 1; \\! touch pwned'],
    ['one in a statement', 'SELECT 1 \\! touch pwned\n;'],
    ['one behind a carriage return in a comment', '-- a comment\r\\! touch pwned'],
    ['output to a program', '\\o |touch pwned'],
    ['\\copy to a program', "\\copy state to program 'touch pwned'"],
    ['\\g to a program', 'SELECT 1 \\g |touch pwned'],
    ['another file', '\\i /etc/passwd'],
    ['backquotes behind \\connect', '\\connect `touch pwned`'],
    ['backquotes behind \\restrict', '\\restrict `touch pwned`'],
    ['a variable', '\\set x `touch pwned`'],
  ])('%s is refused before anything happens', async (_what, line) => {
    const cwd = join(scene.bench.folder, 'here');
    await mkdir(cwd, { recursive: true });
    const path = await scene.write('hostile.sql', `CREATE TABLE state (state text);\n${line}\n`);
    const outcome = await scene.restore([path, 'shop'], { cwd });
    await scene.expectUntouched(outcome, 4, /line 2 is a command to psql itself/);
    await expect(access(join(cwd, 'pwned'))).rejects.toThrow();
    await expect(access('pwned')).rejects.toThrow();
  });

  it('what only psql would take for a command, it does not carry out', async () => {
    const path = await scene.write(
      'deceiving.sql',
      "SET standard_conforming_strings = off;\nSELECT 'a\\' ';\n\\! touch pwned\n--';\n" +
        'CREATE TABLE state (state text);\n',
    );
    await scene.expectUntouched(
      await scene.restore([path, 'shop']),
      3,
      /line 3: .*commands are restricted/,
    );
    const hidden = await scene.write(
      'hidden.sql',
      "SET standard_conforming_strings = off;\nCREATE TABLE t (a text);\nSELECT 'a\\'';\n" +
        "\\! touch pwned\n';\n",
    );
    const outcome = await scene.restore([hidden, 'shop']);
    expect(outcome.status).not.toBe(0);
    expect(await scene.databases()).toEqual(['shop']);
    await expect(access('pwned')).rejects.toThrow();
  });

  it('a psql without the restricted mode restores what cannot deceive it', async () => {
    const tool = await findTool({
      program: 'psql',
      serverMajor: scene.cluster.major,
      environment: testEnvironment,
    });
    const folder = join(scene.bench.folder, 'older');
    await mkdir(folder);
    const script = [
      '#!/bin/sh',
      'case "$*" in',
      `*--help=commands*) '${tool.path}' "$@" | grep --invert-match restrict ;;`,
      `*) exec '${tool.path}' "$@" ;;`,
      'esac',
    ];
    await writeFile(join(folder, 'psql'), script.join('\n'), { mode: 0o755 });
    const environment = { PG_BIN_DIR: folder };
    const path = await scene.write('older.sql', await scene.dump(['--inserts', 'source']));
    await scene.expectUntouched(
      await scene.restore([path, 'shop'], { environment }),
      8,
      /has no restricted mode, and from line \d+ on/,
    );
    const copies = await scene.write('copies.sql', scene.plain);
    await scene.expectRestored(await scene.restore([copies, 'shop'], { environment }));
  });

  it('--keep-going is refused: psql would take the rows of a table that failed for SQL', async () => {
    const path = await scene.write('keep.sql', scene.plain);
    await scene.expectUntouched(
      await scene.restore([path, 'shop', '--keep-going']),
      2,
      /rows for commands/,
    );
  });

  it('commands on other databases are not carried out', async () => {
    const path = await scene.write(
      'others.sql',
      "CREATE TABLE state AS SELECT 'mine' AS state;\n/* a */ DROP /* b */ DATABASE shop;\n" +
        'ALTER DATABASE "shop" RENAME TO gone;\n',
    );
    const outcome = await scene.restore([path, 'copy']);
    expect(outcome.status, outcome.stderr).toBe(0);
    expect(await scene.databases()).toEqual(['copy', 'shop']);
    expect(outcome.stderr).toMatch(/line 3 is about the database itself.*RENAME TO gone/);
  });
});

describe('files that are not whole', () => {
  it('cut anywhere, in whatever way it is compressed', async () => {
    const whole = scene.plain.indexOf('-- PostgreSQL database dump complete');
    for (let part = 1; part <= 12; part += 1) {
      const end = Math.floor((whole * part) / 12);
      const cut = await scene.restore([
        await scene.write('cut.sql', scene.plain.subarray(0, end)),
        'shop',
      ]);
      await scene.expectUntouched(
        cut,
        4,
        /cut|ends in|ends inside|no whole statement|lacks the last line/,
      );
    }
    for (const pack of [gzipSync, zstdCompressSync]) {
      const packed = pack(scene.plain);
      for (const end of [packed.length - 3, packed.length >> 1, 40, 11]) {
        const cut = await scene.restore([
          await scene.write('cut', packed.subarray(0, end)),
          'shop',
        ]);
        await scene.expectUntouched(cut, 4, /cannot be decompressed/);
      }
      const garbage = Buffer.concat([packed, Buffer.from('garbage')]);
      const outcome = await scene.restore([await scene.write('tail', garbage), 'shop']);
      await scene.expectUntouched(outcome, 4, /cannot be decompressed/);
    }
  });

  type Wrong = readonly [what: string, make: () => Promise<Buffer | string>, words: RegExp];
  const wrong: readonly Wrong[] = [
    ['an empty file', async () => '', /is empty/],
    ['a page', async () => '<!DOCTYPE html><html>404</html>', /page of HTML/],
    ['prose', async () => 'Dear all,\nthe backup; is attached.\n', /line 1 begins with "dear"/],
    ['a list', async () => 'one\ntwo\n', /no whole statement of SQL/],
    ['gzip of garbage', async () => gzipSync(Buffer.from([1, 0, 2, 0])), /neither a dump nor text/],
    [
      'garbage like gzip',
      async () => Buffer.from([31, 139, 8, 0, 9, 9, 9, 9, 9, 9]),
      /decompressed/,
    ],
    ['gpg', async () => Buffer.from([0x85, 1, 0x0c, 3, 0xff, 0xfe]), /encrypted with gpg/],
    [
      'the tar format',
      () => scene.dump(['--format=tar', 'source']),
      /tar format[\s\S]*pg_restore --file/,
    ],
    ['UTF-16', async () => Buffer.from('\ufeffSELECT 1;', 'utf16le'), /UTF-16[\s\S]*iconv/],
    [
      'MySQL',
      async () => '-- MySQL dump 10.13  Distrib 8\nDROP TABLE IF EXISTS `a`;\n',
      /dump of MySQL/,
    ],
    ['SQLite', async () => 'PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\n', /dump of SQLite/],
    [
      'a zero byte',
      async () => `CREATE TABLE t (a int);${' '.repeat(2000)}\n\0;`,
      /line 2 holds a zero/,
    ],
    ['no table', async () => 'SET work_mem = 100;\n', /makes nothing/],
    ['rows only', () => scene.dump(['--data-only', 'source']), /makes no table/],
  ];
  it('age, without a key', async () => {
    const file = await scene.write('file', 'age-encryption.org/v1\n-> X25519 x\n');
    const words = /file: it is encrypted with age, and no identity was given[\s\S]*--identity FILE/;
    await scene.expectUntouched(await scene.restore([file, 'shop']), 2, words);
  });

  it.each(wrong)('%s', async (_what, make, words) => {
    await scene.expectUntouched(
      await scene.restore([await scene.write('file', await make()), 'shop']),
      4,
      words,
    );
  });

  it('a folder of the directory format, and a pipe', async () => {
    const folder = join(scene.bench.folder, 'directory');
    await mkdir(folder);
    await scene.write('directory/toc.dat', 'PGDMP');
    await scene.expectUntouched(
      await scene.restore([folder, 'shop']),
      4,
      /directory format[\s\S]*pg_restore --file/,
    );
    await scene.expectUntouched(await scene.restore(['/dev/null', 'shop']), 2, /is no file/);
    await rm(folder, { recursive: true });
  });

  it('a file that may not be read', async () => {
    const path = await scene.write('secret.sql', scene.plain);
    await chmod(path, 0);
    const isRoot = await readFile(path).then(
      () => true,
      () => false,
    );
    const outcome = await scene.restore([path, 'shop']);
    if (isRoot) await scene.expectRestored(outcome);
    else await scene.expectUntouched(outcome, 7, /may not be read/);
    await rm(path);
  });
});
