/** What a server was set to before archiving was switched on, so that it can be given back. */

import { readFile, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { SettingChange, SettingFact } from '../../core/archiving.ts';
import { type Static, Type } from '../../core/type_builder.ts';
import { documentBytes, documentReader } from '../../core/validate.ts';
import { errorNumber, makeFolders, replaceFile } from '../../process/durable.ts';
import type { ArchivingServer } from './archiving_server.ts';

const previousSchema = Type.Object({
  format: Type.Integer({ minimum: 1 }),
  settings: Type.Array(
    Type.Object({
      name: Type.String({ minLength: 1 }),
      /** What postgresql.auto.conf held; `null`: nothing. */
      before: Type.Union([Type.String(), Type.Null()]),
      /** What it was set to. */
      ours: Type.String(),
    }),
  ),
});

/** What one setting was before, and what it was set to. */
export type PreviousSetting = Static<typeof previousSchema>['settings'][number];

const parsePrevious = documentReader(previousSchema, {
  name: 'previous.json of the hooks',
  format: 1,
  code: 'DAMAGED',
});

function fileOf(server: ArchivingServer): string {
  return join(dirname(server.hook), 'previous.json');
}

/** What is remembered; nothing where archiving was never switched on. */
export async function readPrevious(server: ArchivingServer): Promise<PreviousSetting[]> {
  try {
    return parsePrevious(await readFile(fileOf(server))).settings;
  } catch (error) {
    if (errorNumber(error) === 'ENOENT') return [];
    throw error;
  }
}

/** Remembers what is about to be changed; what was remembered of a setting before stays. */
export async function rememberPrevious(
  server: ArchivingServer,
  facts: readonly SettingFact[],
  changes: readonly SettingChange[],
): Promise<void> {
  const known = await readPrevious(server);
  const settings = [...known];
  for (const { name, value } of changes) {
    const before = facts.find((fact) => fact.name === name)?.own ?? null;
    const index = settings.findIndex((each) => each.name === name);
    const earlier = settings[index];
    if (earlier === undefined) settings.push({ name, before, ours: value });
    // Somebody has changed it since: then that is what it was before.
    else
      settings[index] = {
        name,
        before: before === earlier.ours ? earlier.before : before,
        ours: value,
      };
  }
  await makeFolders(dirname(server.hook));
  await replaceFile(fileOf(server), documentBytes({ format: 1, settings }));
}

/** Forgets it, once everything is given back. */
export async function forgetPrevious(server: ArchivingServer): Promise<void> {
  await rm(fileOf(server), { force: true });
}
