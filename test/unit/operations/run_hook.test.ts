import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { HoldfastError } from '../../../src/core/errors.ts';
import { shellQuote } from '../../../src/core/quote.ts';
import type { Context } from '../../../src/operations/context.ts';
import { hooksAround, withHooks } from '../../../src/operations/run_hook.ts';

let folder: string;
let calls: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'holdfast-run-hook-'));
});
beforeEach(() => {
  calls = join(folder, 'calls');
  writeFileSync(calls, '');
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A hook that writes down when it is called, and ends with a status. */
function hook(status: number): string {
  const path = join(folder, `hook ${status}`);
  const line = `echo "$HOLDFAST_HOOK $HOLDFAST_ERROR_CODE" >> ${shellQuote(calls)}`;
  writeFileSync(path, `#!/bin/sh\n${line}\nexit ${status}\n`, { mode: 0o755 });
  return path;
}

const called = () => readFileSync(calls, 'utf8').trim().split(/ ?\n/);

function contextOf(hooks: object, signal = new AbortController().signal) {
  const warned: string[] = [];
  const log = {
    warn: (message: string) => warned.push(message),
    detail: () => undefined,
    error: () => undefined,
    about: () => log,
  };
  const context = {
    config: {
      settings: {
        backup_dir: '/srv/backups',
        hooks: {
          before_backup: null,
          after_backup: null,
          before_restore: null,
          after_restore: null,
          on_failure: null,
          timeout_seconds: 60,
          failure: 'fail',
          ...hooks,
        },
      },
    },
    log,
    host: 'db1',
    runId: 'r1',
    clock: () => new Date(0),
    environment: { PATH: process.env.PATH ?? '' },
    signal,
  } as unknown as Context;
  return { context, warned };
}

const about = { database: 'app', cluster: null, server: null } as const;
const backup = { event: 'backup', ...about } as const;
const restore = { event: 'restore', ...about } as const;

describe('hooks around work', () => {
  it('are those of its kind, and the first is called once', async () => {
    const path = hook(0);
    const all = { before_backup: path, before_restore: path, after_restore: path };
    const { context } = contextOf(all);
    const hooks = hooksAround(context, restore);
    await hooks.before();
    await hooks.before();
    expect(await hooks.after({})).toBeNull();
    expect(called()).toEqual(['before_restore', 'after_restore']);
  });

  it('stop it or not, as the settings say', async () => {
    const { context } = contextOf({ before_backup: hook(3) });
    await expect(hooksAround(context, backup).before()).rejects.toMatchObject({
      code: 'HOOK_FAILED',
      status: 3,
    });
    const kind = contextOf({ before_backup: hook(3), after_backup: hook(4), failure: 'warn' });
    const hooks = hooksAround(kind.context, backup);
    await hooks.before();
    expect(await hooks.after({})).toBeNull();
    expect(hooks.warnings).toEqual([
      expect.stringContaining('ended with status 3'),
      expect.stringContaining('ended with status 4'),
    ]);
    expect(kind.warned).toEqual(hooks.warnings);
  });

  it('hear of a failure, and what they do changes nothing', async () => {
    const { context, warned } = contextOf({ on_failure: hook(5) });
    const error = new HoldfastError('NO_SPACE', 'no space left');
    const work = withHooks(context, backup, () => Promise.reject(error));
    await expect(work).rejects.toBe(error);
    expect(called()).toEqual(['on_failure NO_SPACE']);
    expect(warned).toEqual([expect.stringContaining('the hook on_failure')]);
  });

  it('hear of an interruption when nothing else may begin', async () => {
    const reason = new HoldfastError('INTERRUPTED', 'interrupted by SIGTERM');
    const path = hook(0);
    const all = { before_backup: path, after_backup: path, on_failure: path };
    const { context } = contextOf(all, AbortSignal.abort(reason));
    const work = withHooks(context, backup, (hooks) => hooks.before());
    await expect(work).rejects.toBe(reason);
    expect(await hooksAround(context, backup).after({})).toBe(reason);
    expect(called()).toEqual(['on_failure INTERRUPTED']);
  });

  it('hear nothing of a restore that was asked for wrongly, but of a backup', async () => {
    const { context } = contextOf({ on_failure: hook(0) });
    const wrong = new HoldfastError('USAGE', 'there is no such flag');
    await expect(withHooks(context, restore, () => Promise.reject(wrong))).rejects.toBe(wrong);
    expect(called()).toEqual(['']);
    await expect(withHooks(context, backup, () => Promise.reject(wrong))).rejects.toBe(wrong);
    expect(called()).toEqual(['on_failure USAGE']);
  });

  it('run where others may write them, and that is told', async () => {
    const path = join(folder, 'open');
    writeFileSync(path, '#!/bin/sh\n', { mode: 0o755 });
    chmodSync(path, 0o757);
    const { context, warned } = contextOf({ before_backup: path });
    await hooksAround(context, backup).before();
    expect(warned).toEqual([expect.stringContaining('chmod o-w')]);
  });
});
