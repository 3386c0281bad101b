/** How long a command takes to say what it is. */

import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Group } from './run_group.ts';
import type { Scene } from './scene.ts';

/** The group: `--help` of every command, beside a Node that does nothing. */
export async function startGroup(scene: Scene): Promise<Group> {
  const scripts = await readdir(join(import.meta.dirname, '..', 'scripts'));
  const commands = scripts.filter((name) => name.endsWith('.ts')).sort();
  const floor = 'node, an empty program';
  const node = process.execPath;
  return {
    title: 'Start',
    floor,
    contenders: [
      { name: floor, script: `"${node}" --input-type=module --eval ''` },
      ...commands.map((name) => ({
        name: `${name} --help`,
        script: scene.ours(name, '--help'),
      })),
    ],
  };
}
