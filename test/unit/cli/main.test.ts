import { execFile } from 'node:child_process';
import { access, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openRepository } from '../../../src/catalog/repository.ts';
import { startChild } from '../../../src/process/stream.ts';
import { startAlertReceiver } from '../../support/alert_receiver.ts';

const run = promisify(execFile);
const scripts = new URL('../../../scripts/', import.meta.url).pathname;
const recorder = new URL('../../support/record_modules.ts', import.meta.url).href;
const commands = [
  'backup_full.ts',
  'list_backups.ts',
  'quickstart.ts',
  'restore_backup.ts',
  'verify_backups.ts',
];
const heavy = ['ajv', 'cli-progress', 'nodemailer', 'pg', 'pino', 'typebox', 'yaml', 'zx'];

let folder: string;
let repository: string;
let environment: Record<string, string>;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-main-'));
  repository = join(folder, 'repository');
  await openRepository(repository, { create: true, now: new Date() });
  // No server is there, whatever runs on this machine.
  environment = { PATH: process.env.PATH ?? '', HOME: folder, PGHOST: folder };
});
afterAll(() => rm(folder, { recursive: true }));

/** Runs a command as a program; gives what it printed and which packages it has loaded. */
async function recorded(name: string, args: readonly string[], more: object = {}) {
  const record = join(folder, 'packages');
  const env = {
    ...environment,
    ...more,
    RECORD_MODULES_INTO: record,
    NODE_OPTIONS: `--import=${recorder}`,
  };
  const outcome = await run(join(scripts, name), args, { env }).catch((error) => error);
  const packages = (await readFile(record, 'utf8')).split('\n');
  return { ...outcome, packages, heavyLoaded: heavy.filter((each) => packages.includes(each)) };
}

describe('a command loads only what it needs', () => {
  it.each(commands)('%s --help loads the parser of arguments alone', async (name) => {
    const { stdout, packages, heavyLoaded } = await recorded(name, ['--help']);
    expect(stdout).toContain(name);
    expect(packages).toContain('yargs');
    expect(heavyLoaded).toEqual([]);
  });

  it('and so does a wrong flag', async () => {
    const { stderr, code, heavyLoaded } = await recorded('backup_full.ts', ['--nonsense']);
    expect(stderr).toContain('nonsense');
    expect(code).toBe(2);
    expect(heavyLoaded).toEqual([]);
  });

  it('a backup that fails loads nothing of alerts where none are set up', async () => {
    const args = ['app', '--backup-dir', repository];
    const { code, packages } = await recorded('backup_full.ts', args);
    expect(code).toBe(8);
    expect(packages).not.toContain('alerts');
    const receiver = await startAlertReceiver();
    const set = { ALERT_ENDPOINT: receiver.url };
    const alerting = await recorded('backup_full.ts', args, set);
    await receiver.close();
    expect(alerting.packages).toContain('alerts');
    expect(alerting.packages).not.toContain('nodemailer');
    expect(receiver.alerts).toMatchObject([{ event: 'backup', status: 'firing' }]);
  });

  it('a list needs no PostgreSQL, no children and no progress', async () => {
    const args = ['--backup-dir', repository, '--json'];
    const { stdout, heavyLoaded } = await recorded('list_backups.ts', args);
    expect(JSON.parse(stdout)).toMatchObject({ backups: [] });
    expect(heavyLoaded).toEqual(['ajv', 'pino']);
  });
});

describe('a command as a program', () => {
  it('is found through a link and from any folder', async () => {
    const link = join(folder, 'a link');
    await symlink(join(scripts, 'list_backups.ts'), link);
    const { stdout } = await run(link, ['--version'], { env: environment, cwd: '/' });
    expect(stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  it('whose reader has gone ends without a word', async () => {
    const child = startChild('sh', ['-c', `'${scripts}list_backups.ts' --help | true`], {
      environment,
    });
    child.stdin.end();
    await text(child.stdout);
    expect(await child.exited).toMatchObject({ status: 0 });
    expect(child.stderrTail()).toBe('');
  });

  it('keeps its --env-file to itself: Node would read it, and run what NODE_OPTIONS names', async () => {
    const envFile = join(folder, 'hostile.env');
    const marker = join(folder, 'was-run');
    const module = join(folder, 'hostile.mjs');
    await writeFile(module, `import fs from 'node:fs'; fs.writeFileSync('${marker}', '');`);
    await writeFile(envFile, `NODE_OPTIONS=--import=${module}\n`);
    for (const file of [envFile, join(folder, 'not-there.env')]) {
      const child = startChild(`${scripts}list_backups.ts`, ['--env-file', file], { environment });
      child.stdin.end();
      expect(await child.exited).toMatchObject({ status: 2 });
      expect(child.stderrTail()).toContain(file);
    }
    await expect(access(marker)).rejects.toThrow('ENOENT');
  });

  it('goes on when nobody reads along, and fails when its answer is lost', async () => {
    const script = `${scripts}list_backups.ts --backup-dir '${repository}'`;
    const status = async (command: string) => {
      const child = startChild('sh', ['-c', command], { environment });
      child.stdin.end();
      child.stdout.resume();
      return (await child.exited).status;
    };
    expect(
      await status(`'${scripts}verify_backups.ts' --all --backup-dir '${repository}' 2>/dev/full`),
    ).toBe(5);
    expect(await status(`${script} >/dev/full`)).toBe(3);
    expect(
      await status(
        `mkdir '${folder}/gone' && cd '${folder}/gone' && rmdir '${folder}/gone' && ${script}`,
      ),
    ).toBe(0);
  });
});
