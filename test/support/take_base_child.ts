/** Takes a base backup as a program: `node take_base_child.ts full --json`. */

import { runCommandLine } from '../../src/cli/main.ts';
import { takeBase } from './base_backup.ts';

await runCommandLine(takeBase);
