/**
 * `quickstart_child.ts FILE ARGUMENT…` runs the quickstart as scripts/quickstart.ts does; while it
 * is about to compare, which its line tells, it asks both servers itself what they hold and writes
 * that into FILE as JSON. A process of its own: that of root becomes another user.
 */

import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { executeCommand } from '../../src/cli/execute.ts';
import { quickstart } from '../../src/cli/quickstart_command.ts';
import { installedServers, testEnvironment } from './cluster.ts';

const [file = '', ...argv] = process.argv.slice(2);
const psql = join((await installedServers()).at(-1)?.binDirectory ?? '', 'psql');

/** What the child has seen, before anything was compared or copied back. */
export interface Seen {
  /** The private folder of both servers. */
  readonly folder: string;
  /** Rows, first and last; empty where there is no such table. */
  readonly inUse: string;
  readonly restored: string;
  /** Of the restored one. */
  readonly archiveMode: string;
}

function ask(host: string, sql: string): string {
  const args = ['-XqAt', '-h', host, '-U', 'postgres', '-d', 'shop', '-c', sql];
  return execFileSync(psql, args, { env: testEnvironment, cwd: '/', encoding: 'utf8' }).trim();
}

function look(folder: string): Seen {
  const restored = join(folder, 'restored');
  return {
    folder,
    inUse: ask(folder, "SELECT to_regclass('payments')"),
    restored: ask(restored, 'SELECT count(*), min(id), max(id) FROM payments'),
    archiveMode: ask(restored, 'SHOW archive_mode'),
  };
}

let said = '';
let hasLooked = false;
const stderr = new Writable({
  write(chunk: Buffer, _encoding, done) {
    process.stderr.write(chunk);
    said += chunk.toString();
    const folder = /base backup of socket (.*)\/\.s\.PGSQL/.exec(said)?.[1];
    if (!hasLooked && folder !== undefined && /^11\. /m.test(said)) {
      hasLooked = true;
      writeFileSync(file, JSON.stringify(look(folder)));
    }
    done();
  },
});
const status = await executeCommand(quickstart, {
  argv,
  // What would lead elsewhere if it were read.
  environment: { PATH: testEnvironment.PATH, PGHOST: 'db.invalid', BACKUP_DIR: '/nonexistent' },
  cwd: join(file, '..'),
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: Object.assign(stderr, { isTTY: false }),
  signal: new AbortController().signal,
});
process.exit(status);
