#!/usr/bin/env -S sh -c 'exec "$(dirname "$(readlink -f "$0")")/run_node.sh" "$0" "$@"'
import { runCommandLine } from '../src/cli/main.ts';
import { setupCron } from '../src/cli/setup_cron_command.ts';

await runCommandLine(setupCron);
