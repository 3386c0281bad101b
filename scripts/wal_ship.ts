#!/usr/bin/env -S sh -c 'exec "$(dirname "$(readlink -f "$0")")/run_node.sh" "$0" "$@"'
import { runCommandLine } from '../src/cli/main.ts';
import { walShip } from '../src/cli/wal_ship_command.ts';

await runCommandLine(walShip);
