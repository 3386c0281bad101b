/** Writes restore.sh for a test: `node render_restore_script.ts FACTS_JSON` → stdout. */

import {
  type RestoreScriptFacts,
  renderRestoreScript,
} from '../../src/operations/restore_script.ts';

const [facts = '{}'] = process.argv.slice(2);
process.stdout.write(renderRestoreScript(JSON.parse(facts) as RestoreScriptFacts));
