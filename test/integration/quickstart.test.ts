import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { executeCommand } from '../../src/cli/execute.ts';
import { quickstart } from '../../src/cli/quickstart_command.ts';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-quickstart-test-'));
  await chmod(folder, 0o755);
});
afterEach(() => rm(folder, { recursive: true }));

async function run(...more: string[]) {
  const [stdin, stdout, stderr] = [new PassThrough(), new PassThrough(), new PassThrough()];
  const status = await executeCommand(quickstart, {
    argv: ['--backup-dir', join(folder, 'repository'), ...more],
    // What would lead elsewhere if it were read.
    environment: { PATH: process.env.PATH, PGHOST: 'db.invalid', BACKUP_DIR: '/nonexistent' },
    cwd: folder,
    stdin,
    stdout,
    stderr,
    signal: new AbortController().signal,
  });
  stdout.end();
  stderr.end();
  return { status, stdout: await text(stdout), stderr: await text(stderr) };
}

describe('the quickstart', () => {
  it('backs up, verifies and restores on a server of its own, says what is next, and again', async () => {
    const { status, stdout, stderr } = await run();
    expect(stderr).not.toContain('error: ');
    expect(status).toBe(0);
    const words = stdout.replaceAll(/\s+/g, ' ');
    expect(words).toMatch(/restored under another name in .* tables with \d+ rows are equal/);
    const shown = /^ {2}(repository\/full\/\S+)$/m.exec(stdout)?.[1] ?? '';
    const manifest = await readFile(join(folder, shown, 'manifest.json'), 'utf8');
    expect(JSON.parse(manifest)).toMatchObject({ kind: 'full', read_back: { depth: 'plain' } });
    expect(stdout).toContain('scripts/list_backups.ts --backup-dir repository');

    const second = await run('--json', '--quiet');
    expect(JSON.parse(second.stdout)).toMatchObject({ exit_status: 0 });
    expect(JSON.parse(second.stdout).label).not.toBe(JSON.parse(manifest).label);
  });
});
