#!/usr/bin/env -S sh -c 'exec "$(dirname "$(readlink -f "$0")")/run_node.sh" "$0" "$@"'
import { backupIncremental } from '../src/cli/backup_incremental_command.ts';
import { runCommandLine } from '../src/cli/main.ts';

await runCommandLine(backupIncremental);
