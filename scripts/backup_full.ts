#!/usr/bin/env -S sh -c 'exec "$(dirname "$(readlink -f "$0")")/run_node.sh" "$0" "$@"'
import { backupFull } from '../src/cli/backup_full_command.ts';
import { runCommandLine } from '../src/cli/main.ts';

await runCommandLine(backupFull);
