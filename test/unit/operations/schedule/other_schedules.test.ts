import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { blockMarks } from '../../../../src/core/crontab.ts';
import { shellQuote } from '../../../../src/core/quote.ts';
import type { RepositoryContext } from '../../../../src/operations/context.ts';
import {
  type OtherPlaces,
  requireNoOther,
  type SchedulePlace,
} from '../../../../src/operations/schedule/other_schedules.ts';
import { repositoryLine, unitHeader } from '../../../../src/schedule/render_systemd.ts';

const repository = '/srv/my "backups" 5%';
const { username: name, uid, gid } = userInfo();

let folder: string;
let places: OtherPlaces;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-places-'));
  places = { cronFile: join(folder, 'holdfast'), unitFolders: [join(folder, 'units')] };
  await mkdir(join(folder, 'units'));
});
afterEach(() => rm(folder, { recursive: true }));

/** @param crontab what crontab(1) prints; `null`: there is no such program */
async function look(own: SchedulePlace, crontab: string | null = null): Promise<void> {
  if (crontab !== null) {
    const program = join(folder, 'crontab');
    await writeFile(program, `#!/bin/sh\nprintf %s ${shellQuote(crontab)}\n`);
    await chmod(program, 0o755);
  }
  const context = {
    repository: { root: repository },
    environment: { PATH: folder },
    signal: new AbortController().signal,
  } as unknown as RepositoryContext;
  await requireNoOther(context, own, { name, uid, gid, home: folder }, places);
}

const blockOf = (path: string) => `mine\n${blockMarks(path).join('\n')}\n`;
const unit = (path: string) => `${unitHeader}\n${repositoryLine(path)}\n[Service]\n`;

describe('a second schedule of a repository', () => {
  it('is refused where a crontab has the first', async () => {
    const refused = { code: 'CONFIRMATION_NEEDED', hint: expect.stringContaining('uninstall') };
    await expect(look('systemd', blockOf(repository))).rejects.toMatchObject(refused);
    await expect(look('cron.d', blockOf(repository))).rejects.toMatchObject(refused);
    await look('crontab', blockOf(repository));
  });

  it('is refused where /etc/cron.d or systemd has the first', async () => {
    await writeFile(places.cronFile, blockOf(repository));
    await expect(look('crontab')).rejects.toThrow(`${places.cronFile} has the schedule already`);
    await rm(places.cronFile);
    await writeFile(join(folder, 'units/holdfast-daily.service'), unit(repository));
    await expect(look('crontab')).rejects.toThrow('systemd has the schedule already');
    await look('systemd');
  });

  it('is none where the first is that of another, or is no schedule', async () => {
    await writeFile(places.cronFile, blockOf('/srv/other'));
    await writeFile(join(folder, 'units/holdfast-daily.service'), unit('/srv/other'));
    await writeFile(join(folder, 'units/holdfast-own.service'), `# ${unit(repository)}`);
    await writeFile(join(folder, 'units/other.service'), unit(repository));
    for (const own of ['crontab', 'cron.d', 'systemd'] as const) await look(own, blockOf('/x'));
    for (const own of ['crontab', 'cron.d', 'systemd'] as const) await look(own);
  });
});
