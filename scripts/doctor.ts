#!/usr/bin/env -S sh -c 'exec "$(dirname "$(readlink -f "$0")")/run_node.sh" "$0" "$@"'
import { doctor } from '../src/cli/doctor_command.ts';
import { runCommandLine } from '../src/cli/main.ts';

await runCommandLine(doctor);
