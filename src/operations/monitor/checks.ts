/** The groups of checks that the monitor makes: one line each. */

import { backupsGroup } from './backup_checks.ts';
import { clocksGroup } from './facts_clock.ts';
import { integrityGroup } from './facts_integrity.ts';
import { serversGroup } from './facts_servers.ts';
import { spaceGroup } from './facts_space.ts';
import { recoveryGroup } from './facts_wal.ts';
import { logsGroup } from './log_checks.ts';
import type { CheckGroup } from './monitor_context.ts';
import { repositoryGroup } from './repository_checks.ts';
import { runsGroup } from './run_checks.ts';

/** Every group, in no order that matters: findings are sorted. */
export const checkGroups: readonly CheckGroup[] = [
  backupsGroup,
  integrityGroup,
  recoveryGroup,
  serversGroup,
  spaceGroup,
  clocksGroup,
  repositoryGroup,
  runsGroup,
  logsGroup,
];
