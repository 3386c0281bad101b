import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type DataChild, startChild } from '../../src/process/stream.ts';
import { testEnvironment } from '../support/cluster.ts';
import { outcomeOf } from '../support/command.ts';
import { until } from '../support/fault.ts';
import type { Seen } from '../support/quickstart_child.ts';

const timeoutMs = 300_000;
const testTimeoutMs = 900_000;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-quickstart-test-'));
  await chmod(folder, 0o755);
});
afterAll(() => rm(folder, { recursive: true }));

function start(file: string): DataChild {
  const script = join(import.meta.dirname, '../support/quickstart_child.ts');
  const argv = [script, file, '--backup-dir', join(folder, 'repository')];
  const child = startChild(process.execPath, argv, { environment: testEnvironment });
  child.stdin.end();
  return child;
}

/** Programs that have a folder among their arguments. */
function usersOf(path: string): string[] {
  return readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(path);
    } catch {
      return false;
    }
  });
}

describe('the quickstart', () => {
  it(
    'backs up and restores on a server of its own, brings a dropped table back, says what is next',
    async () => {
      const file = join(folder, 'seen.json');
      // The child may become another user.
      await writeFile(file, '');
      await chmod(file, 0o666);
      const { status, stdout, stderr } = await outcomeOf(start(file));
      expect(stderr).not.toContain('error: ');
      expect(status, stderr).toBe(0);
      const words = stdout.replaceAll(/\s+/g, ' ');
      expect(words).toMatch(/restored under another name in .* tables with \d+ rows are equal/);
      const shown = /^ {2}(repository\/full\/\S+)$/m.exec(stdout)?.[1] ?? '';
      const manifest = await readFile(join(folder, shown, 'manifest.json'), 'utf8');
      expect(JSON.parse(manifest)).toMatchObject({ kind: 'full', read_back: { depth: 'plain' } });
      expect(stdout).toContain('scripts/list_backups.ts --backup-dir repository');

      // At the moment of the comparison: gone there, whole here, and nobody archives from here.
      const seen: Seen = JSON.parse(await readFile(file, 'utf8'));
      expect(seen).toMatchObject({ inUse: '', restored: '1500|1|1500', archiveMode: 'off' });
      expect(words).toContain('all 1500 rows were there, also the 500 that came after');
      const told = /dropped at (\S+)\. The whole server was restored beside it to (\S+) \(UTC\)/;
      const [, dropped, target] = told.exec(words) ?? [];
      const moment = (clock = '') => Date.parse(`2026-11-21T${clock}Z`);
      expect((moment(dropped) - moment(target) + 86_400_000) % 86_400_000).toBe(1000);
      // Nothing is left of it but the first backup.
      expect(existsSync(seen.folder)).toBe(false);
      expect(usersOf(seen.folder)).toEqual([]);
      expect(await readdir(join(folder, 'repository'))).not.toContain('incremental');
    },
    testTimeoutMs,
  );

  it.each(['SIGINT', 'SIGKILL'] as const)(
    'ended by %s while it restores, leaves neither server nor folder',
    async (signal) => {
      const script = join(import.meta.dirname, '../../scripts/quickstart.ts');
      const argv = ['--backup-dir', join(folder, 'repository'), '--json'];
      const child = startChild(script, argv, { environment: testEnvironment });
      child.stdin.end();
      let hasEnded = false;
      const outcome = outcomeOf(child).finally(() => {
        hasEnded = true;
      });
      const scratch = await until(
        'the restored server',
        () => {
          const found = /base backup of socket (.*)\/\.s\.PGSQL/.exec(child.stderrTail())?.[1];
          if (found === undefined && hasEnded) throw new Error(child.stderrTail());
          if (found === undefined) return null;
          // On a machine that lets this test wait it may have come to its end already.
          return hasEnded || existsSync(join(found, 'restored/postmaster.pid')) ? found : null;
        },
        timeoutMs,
      );
      if (!hasEnded) process.kill(child.pid ?? 0, signal);
      const { status, stdout } = await outcome;
      if (signal === 'SIGINT') {
        expect([0, 130], stdout).toContain(status);
        expect(JSON.parse(stdout)).toMatchObject(
          status === 0 ? { exit_status: 0 } : { error: { code: 'INTERRUPTED' } },
        );
        expect(existsSync(scratch)).toBe(false);
      }
      const isOver = () => !existsSync(scratch) && usersOf(scratch).length === 0;
      await until('the end of the servers', () => isOver() || null, timeoutMs);
      // Each quickstart's first backup, of a server of its own, stays.
      const clusters = await readdir(join(folder, 'repository/full'));
      expect(clusters).toHaveLength(signal === 'SIGINT' ? 2 : 3);
    },
    testTimeoutMs,
  );
});
