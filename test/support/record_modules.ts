/**
 * Preloaded into a command (`node --import`): writes the packages that it has loaded, one in each
 * line, into the file that RECORD_MODULES_INTO names; `alerts` stands for all that sends them.
 */

import { writeFileSync } from 'node:fs';
import { registerHooks } from 'node:module';

const packages = new Set<string>();
const packageName = /\/node_modules\/((?:@[^/]+\/)?[^/]+)\//;

registerHooks({
  load(url, context, nextLoad) {
    const name = packageName.exec(url)?.[1];
    if (name !== undefined) packages.add(name);
    if (/\/src\/(?:notify|operations\/alerts)\//.test(url)) packages.add('alerts');
    return nextLoad(url, context);
  },
});

process.on('exit', () => {
  writeFileSync(process.env.RECORD_MODULES_INTO ?? '/dev/stderr', [...packages].join('\n'));
});
