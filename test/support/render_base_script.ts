/** Writes the restore.sh of a base backup for a test: `node render_base_script.ts FACTS_JSON`. */

import {
  type BaseScriptFacts,
  renderBaseScript,
} from '../../src/operations/base/base_restore_script.ts';

const [facts = '{}'] = process.argv.slice(2);
process.stdout.write(renderBaseScript(JSON.parse(facts) as BaseScriptFacts));
