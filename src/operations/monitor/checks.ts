/** The groups of checks that the monitor makes: one line each. */

import { backupsGroup } from './backup_checks.ts';
import { integrityGroup } from './facts_integrity.ts';
import type { CheckGroup } from './monitor_context.ts';

/** Every group, in no order that matters: findings are sorted. */
export const checkGroups: readonly CheckGroup[] = [backupsGroup, integrityGroup];
